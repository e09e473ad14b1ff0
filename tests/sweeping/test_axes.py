"""Any declared field of either phase is an axis: the numbers are those of separate runs with the value put in."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import linsim.sweeping.computing
from linsim.errors import InvalidInput
from linsim.phase import SWEPT, Phase
from linsim.sweeping.axes import Axes, declared
from linsim.sweeping.plan import Plan
from linsim.sweeping.sweep import chart, sweep
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

LOSSES = ("pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "forgetting")
FULL = Phase(0.01, product_penalty=0.2, weight_penalty=0.1, weight_decay=0.05, momentum=0.3)
VALUES = {
    "learning_rate": [2e-3, 9e-3, 1.1e-2],
    "product_penalty": [0.0, 0.4, 1.0],
    "weight_penalty": [0.0, 0.3, 0.8],
    "weight_decay": [0.0, 0.02, 0.3],
    "momentum": [0.0, 0.5, 0.8],
}


def small(**changes):
    """Trained for so few steps that a test is cheap, and so fast that every field matters."""
    return gaussian_problem(scale=0.4, budgets=np.asarray((5, 40)), finetune_steps=30, **changes)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("solver", ["modes", "dense", "gram"])
def test_every_declared_field_of_both_phases_is_what_separate_runs_have(solver):
    problem = small(pretrain=FULL, finetune=FULL)
    if solver == "modes":
        problem = aligned_problem(budgets=(5, 40), finetune_steps=30, pretrain=FULL, finetune=FULL)
    if solver == "gram":
        # Penalties in weight space and a start out of balance are not for it.
        plain = replace(FULL, weight_penalty=None)
        problem = balanced_problem(budgets=np.asarray((5, 40)), finetune_steps=30, pretrain=plain, finetune=plain)
    for axis in declared():
        field, pretraining = axis.removeprefix("pretrain_"), axis.startswith("pretrain_")
        phase = problem.pretrain if pretraining else problem.finetune
        if getattr(phase, field) is None:
            continue
        swept = sweep(problem, {axis: VALUES[field]}, solver=solver, rechecked=0)
        assert np.ptp(swept["pretrain_loss_after"].values, axis=1).min() > 1e-9  # the field does matter
        value = VALUES[field][1]
        fixed = replace(phase, **{field: value})
        alone = replace(problem, **{"pretrain" if pretraining else "finetune": fixed})
        single = sweep(alone, {}, solver=solver, rechecked=0)
        for name in LOSSES:
            # The same 70 stable steps of lanes in another company: a few roundings.
            there = swept[name].sel({axis: value}, drop=True) if axis in swept[name].dims else swept[name]
            np.testing.assert_allclose(there, single[name], rtol=1e-12, atol=1e-14, err_msg=f"{axis} {name}")


def test_a_pre_training_axis_beside_seeds_and_fine_tuning_axes_is_what_charts_have():
    problem = small(pretrain=Phase(0.01, momentum=0.1, weight_decay=0.01))
    axes = {"pretrain_momentum": [0.1, 0.6], "learning_rate": [2e-3, 9e-3], "pretrain_learning_rate": [4e-3, 9e-3]}
    whole = sweep(problem, axes, rechecked=0)
    assert whole["pretrain_loss_before"].dims == (
        "pretrain_steps",
        "pretrain_momentum",
        "pretrain_learning_rate",
        "seed",
    )
    for momentum in axes["pretrain_momentum"]:
        for rate in axes["pretrain_learning_rate"]:
            alone = replace(problem, pretrain=replace(problem.pretrain, momentum=momentum, learning_rate=rate))
            single = sweep(alone, {"learning_rate": axes["learning_rate"]}, rechecked=0)
            there = whole.sel(pretrain_momentum=momentum, pretrain_learning_rate=rate)
            for name in LOSSES:
                np.testing.assert_allclose(there[name], single[name], rtol=1e-12, atol=1e-14)


def test_small_blocks_and_chunks_give_the_numbers_of_one_large_chunk(monkeypatch):
    problem = small(seeds=3, pretrain=Phase(0.01, momentum=0.1))
    axes = {"pretrain_momentum": [0.1, 0.3, 0.6], "learning_rate": [2e-3, 4e-3, 9e-3], "product_penalty": [0.0, 1.0]}
    large = sweep(problem, axes, rechecked=0)
    # Blocks of 2 x 2 trajectories, the last ones short in both; two chunks a block along the rates, short as well.
    cuts = Plan((2, 3, 3, 2, 3), (2, 1, 2, 2, 2), (2, 2, 3, 2, 2), 3)
    monkeypatch.setattr(linsim.sweeping.computing, "cut", lambda *_: cuts)
    pieces = sweep(problem, axes, rechecked=0)
    assert len(cuts.boxes()) == 12
    for name in large.data_vars:
        np.testing.assert_allclose(pieces[name], large[name], rtol=1e-12, atol=1e-14, err_msg=str(name))


def heavy_ball(problem, seed, budget, finetune, momentum):
    """By NumPy alone: plain descent on the population loss, then heavy-ball descent from its end."""

    def gradients(weights, task):
        first, second = weights
        error = 2 * (second @ first - task.target) @ task.input_covariance
        return [second.T @ error, error @ first.T]

    weights = [layer[seed].copy() for layer in problem.initial]
    for _ in range(budget):
        slopes = gradients(weights, problem.transfer.pretrain)
        weights = [
            weight - problem.pretrain.learning_rate * slope for weight, slope in zip(weights, slopes, strict=True)
        ]
    velocity = [np.zeros_like(weight) for weight in weights]
    for _ in range(problem.finetune_steps):
        slopes = gradients(weights, problem.transfer.finetune)
        velocity = [momentum * old + slope for old, slope in zip(velocity, slopes, strict=True)]
        weights = [weight - finetune * step for weight, step in zip(weights, velocity, strict=True)]
    error = weights[1] @ weights[0] - problem.transfer.pretrain.target
    return np.trace(error @ problem.transfer.pretrain.input_covariance @ error.T)


def test_a_lane_of_swept_momentum_is_heavy_ball_descent():
    problem = small()
    result = sweep(problem, {"learning_rate": [2e-3, 9e-3], "momentum": [0.0, 0.7]}, rechecked=0)
    lane = result["pretrain_loss_after"].sel(pretrain_steps=40, learning_rate=9e-3, momentum=0.7, seed=1)
    # 70 steps of rounding.
    np.testing.assert_allclose(lane, heavy_ball(problem, 1, 40, 9e-3, 0.7), rtol=1e-12)


@pytest.mark.parametrize("regularizer", ["product_penalty", "weight_decay"])
def test_a_chart_is_the_sweep_of_its_axes(regularizer):
    problem, rates, strengths = small(), np.asarray([2e-3, 9e-3]), np.asarray([0.0, 0.5])
    by_chart = chart(problem, rates, strengths, regularizer, predicted=False, rechecked=0, tolerance=None)
    by_sweep = sweep(problem, {"learning_rate": rates.tolist(), regularizer: strengths.tolist()}, rechecked=0)
    xr.testing.assert_equal(by_sweep.rename({regularizer: "regularization"}), by_chart)
    assert by_sweep[regularizer].attrs["long_name"] == f"fine-tuning {SWEPT[regularizer].words}"


def test_nothing_swept_is_a_lane_a_budget_and_seed():
    result = sweep(small(), {}, rechecked=0)
    assert result["pretrain_loss_after"].dims == ("pretrain_steps", "seed")


def test_values_that_diverge_take_no_others_with_them():
    result = sweep(small(), {"learning_rate": [2e-3, 50.0]}, rechecked=0)
    assert result["diverged"].values.any(axis=(0, 2)).tolist() == [False, True]
    alone = sweep(small(), {"learning_rate": [2e-3]}, rechecked=0)
    np.testing.assert_allclose(
        result["pretrain_loss_after"].values[:, :1], alone["pretrain_loss_after"], rtol=1e-12, atol=0
    )


BAD = [
    ({"seed": [1.0]}, "axes: got seed; allowed: one of learning_rate, .*pretrain_momentum"),
    ({"pretrain_steps": [1.0]}, "axes: got pretrain_steps"),
    ({"pretrain_pretrain_momentum": [0.1]}, "axes: got pretrain_pretrain_momentum"),
    ({"batch_size": [1.0]}, "axes: got batch_size"),
    ({"momentum": []}, r"axes\['momentum'\]: got .*at least one"),
    ({"momentum": [0.5, 1.0]}, r"axes\['momentum'\]: got 1.0; allowed: a finite number < 1"),
    ({"momentum": [-0.1]}, r"axes\['momentum'\]: got -0.1"),
    ({"momentum": [0.5, 0.5]}, r"axes\['momentum'\]: got .*strictly increasing"),
    ({"learning_rate": [0.0]}, r"axes\['learning_rate'\]: got 0.0; allowed: a finite number > 0"),
    ({"learning_rate": [float("inf")]}, r"axes\['learning_rate'\]: got inf"),
    ({"pretrain_weight_decay": [float("nan")]}, r"axes\['pretrain_weight_decay'\]: got nan"),
]


@pytest.mark.parametrize(("axes", "message"), BAD, ids=[str(axes) for axes, _ in BAD])
def test_bad_axes_are_one_line(axes, message):
    with pytest.raises(InvalidInput, match=message):
        Axes.of(axes)


@pytest.mark.parametrize("given", [["a"], [1j], [[0.5]], [[0.1], [0.1, 0.2]], 0.5, "0.5", None], ids=str)
def test_values_that_are_no_numbers_are_one_line(given):
    with pytest.raises(InvalidInput, match=r"axes\['momentum'\]: got .*a list of (finite )?numbers"):
        Axes.of({"momentum": given})


@pytest.mark.parametrize(
    "given",
    [np.asarray([0.1, 0.5]), (each for each in (0.1, 0.5)), {0.1: "", 0.5: ""}.keys()],
    ids=["array", "generator", "keys"],
)
def test_an_axis_may_be_whatever_gives_numbers(given):
    assert Axes.of({"momentum": given}).values["momentum"].dtype == np.float64


def test_what_excludes_an_axis_is_one_line():
    import optax

    with pytest.raises(InvalidInput, match=r"finetune.momentum: got 0.5; allowed: None beside an optimizer"):
        sweep(small(finetune=Phase(0.01, optimizer=optax.adam)), {"momentum": [0.1, 0.5]})
    with pytest.raises(InvalidInput, match="solver: got flow.*penalty in weight space"):
        sweep(aligned_problem(2), {"weight_penalty": [0.0, 0.5]}, solver="flow")
