"""Rich and lazy networks: descent against NumPy, closed forms, what linear dynamics allows, and what is concluded."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from experiments.rich_and_lazy import Config, experiment, main, run
from experiments.rich_and_lazy.finding import find, table
from experiments.rich_and_lazy.matching import at_equal_loss, at_tuned_rates, losses_of
from linsim.commands.config import FinetuneConfig, PretrainConfig, ShiftConfig
from linsim.finding import Finding
from tests.computed import computed

CONFIG = Config(
    dim=3,
    seeds=2,
    taus=(0.0, 3.0),
    balances=(0.02, 30.0),
    levels=(0.2, 0.5),
    pretrain=PretrainConfig(learning_rate=0.002, steps=6000, first=2, budgets=30),
    finetune=FinetuneConfig(steps=50, rates=16, lowest_rate=1e-4, highest_rate=1e-2, regularizations=(0.0,)),
    shift=ShiftConfig(rescale_from=2),
)
PRETRAIN = np.diag(2 / np.arange(1, 4))
FINETUNE = np.diag([2, 4, 8 / 3])


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def descended(first, second, target, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    for _ in range(steps):
        slope = 2 * (second @ first - target)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


def test_losses_are_those_of_a_script_in_numpy(small):
    for balance in (0.02, 30.0):
        cell = small.sel(tau=3, balance=balance).isel(seed=1, learning_rate=9, pretrain_steps=20)
        start = (cell["initial_weights_1"].values, cell["initial_weights_2"].values)
        checkpoint = descended(*start, PRETRAIN, 0.002, int(cell["pretrain_steps"]))
        first, second = descended(*checkpoint, FINETUNE, float(cell["learning_rate"]), 50)
        for name, target in (("pretrain", PRETRAIN), ("finetune", FINETUNE)):
            # The same recurrence in float64: rounding of some 1e3 steps.
            np.testing.assert_allclose(cell[f"{name}_loss_after"], np.sum((second @ first - target) ** 2), rtol=1e-9)
        trace = 2 * 3 * sum(np.sum(layer**2) for layer in checkpoint)
        np.testing.assert_allclose(cell["hessian_trace"], trace, rtol=1e-9)


def test_closed_form_and_descent_differ_by_the_lag_of_descent(small):
    slow = small.sel(balance=0.02).isel(learning_rate=slice(9))
    ratio = slow["pretrain_loss_after"] / slow["predicted_pretrain_loss_after"]
    # A step of rate x curvature = 0.002 x 16 delays descent by half of that in its own exponents: 2 % of a loss that
    # falls by some e-folds, less on the median.
    assert float(np.abs(ratio - 1).max()) < 0.1
    assert float(np.abs(ratio - 1).median()) < 0.005


def test_no_network_beats_the_triangle_and_lazy_ones_reach_it(small):
    away = np.linalg.norm(FINETUNE - PRETRAIN)
    sides = np.sqrt(small["pretrain_loss_after"]) + np.sqrt(small["finetune_loss_after"])
    assert float(sides.min()) > away * (1 - 1e-12)  # rounding
    last = sides.sel(balance=30.0).isel(pretrain_steps=-1)
    # Linear dynamics to relative order (m / l)^2 with m = |A_ft| + |D| = 7.
    assert float(last.max()) < away * (1 + (7 / 30) ** 2)
    assert float(sides.sel(balance=0.02).isel(pretrain_steps=-1).max()) > 1.02 * away


def test_linear_dynamics_is_what_a_lazy_network_does(small):
    lazy = small.sel(balance=30.0)
    # As above; losses are squares, and budgets are read between rates to 1e-3.
    off = np.abs(lazy["curve_at_equal_loss"] / lazy["lazy_curve_at_equal_loss"] - 1).sel(tau=3)
    assert float(off.max()) < 2 * (7 / 30) ** 2 + 0.02
    bound = lazy["lazy_harm"].sel(tau=3)
    np.testing.assert_allclose(lazy["harm_at_equal_loss"].sel(tau=3, level=0.2), bound, rtol=0.15)
    assert float(small["harm_at_equal_loss"].sel(tau=3, balance=0.02, level=0.2).min()) > 3 * float(bound.max())


def test_the_bound_is_the_square_of_a_cosine(small):
    for seed in range(2):
        cell = small.sel(tau=0, balance=30.0).isel(seed=seed)
        missing = PRETRAIN - cell["initial_weights_2"].values @ cell["initial_weights_1"].values
        shift = FINETUNE - PRETRAIN
        cosine = max(np.sum(shift * missing) / np.linalg.norm(shift) / np.linalg.norm(missing), 0)
        np.testing.assert_allclose(cell["lazy_harm"], cosine**2 / (1 - cosine**2), rtol=1e-9, atol=1e-12)


def test_matching_finds_the_rate_of_an_exact_exponential():
    budgets, rates = np.array([1, 2, 4]), np.geomspace(0.01, 10, 40)
    size, start = np.array([1.0, 0.25, 0.5]), np.array([4.0, 2.0, 1.0])
    curve = ("pretrain_steps", "learning_rate", "seed")
    after = size[:, None, None] * (rates**0.5)[None, :, None]
    losses = xr.Dataset(
        {
            "pretrain_loss_after": (curve, after),
            "finetune_loss_after": (curve, np.exp(-rates)[None, :, None] * start[:, None, None]),
        },
        {"pretrain_steps": budgets, "learning_rate": rates, "seed": [0]},
    )
    shares = np.array([0.3, 1e-9])
    levels = xr.DataArray(shares, {"level": shares}, ("level",))
    found = at_equal_loss(losses, levels).isel(seed=0)
    rate = -np.log(0.3)
    np.testing.assert_allclose(found["rate"][0], rate, rtol=2e-3)  # cubics over steps of 19 %: 0.19^3 / 6
    np.testing.assert_allclose(found["curve"][0], size * np.sqrt(rate), rtol=2e-3)
    for name, value in (("harm", 1), ("least", 0.25 * np.sqrt(rate)), ("last", 0.5 * np.sqrt(rate))):
        np.testing.assert_allclose(found[name][0], value, rtol=2e-3)
    np.testing.assert_allclose(found["harm"][0], 1, rtol=1e-6)
    np.testing.assert_allclose(found["excess"], found["last"] - found["least"])
    assert found.isel(level=1)[["harm", "rate", "curve", "least"]].to_dataarray().isnull().all()  # no rate gets there
    own = size * np.sqrt(np.log(start / 0.3))
    tuned = at_tuned_rates(losses, levels)
    np.testing.assert_allclose(tuned[0, 0], own[-1] / own.min() - 1, rtol=1e-2)
    assert bool(tuned[1].isnull().all())


def test_runs_that_diverged_or_are_unstable_are_not_read():
    lanes = ("pretrain_steps", "learning_rate", "regularization", "seed")
    flags = {name: (lanes, np.zeros((3, 4, 1, 1), bool)) for name in ("diverged", "unstable")}
    losses = {f"{task}_loss_after": (lanes, np.ones((3, 4, 1, 1))) for task in ("pretrain", "finetune")}
    chart = xr.Dataset(losses | flags)
    chart["diverged"][2, 3], chart["unstable"][0, 2] = True, True
    for loss in losses_of(chart).values():
        np.testing.assert_array_equal(np.argwhere(np.isinf(loss.values[..., 0])), [[0, 2], [2, 3]])


def test_sensitivity_grows_in_the_rich_network_and_hardly_in_the_lazy_one(small):
    growth = small["hessian_trace"].isel(pretrain_steps=-1) / small["hessian_trace"].isel(pretrain_steps=0)
    assert float(growth.sel(tau=3, balance=0.02).min()) > 20
    assert float(growth.sel(tau=3, balance=30.0).max()) < 1.05


def test_laziness_flattens_the_u_by_spoiling_the_best_checkpoint(small):
    finding = Finding.of(small)
    part, numbers = small.sel(tau=3, level=0.5), finding.numbers
    harm = part["harm_at_equal_loss"].median("seed")
    assert finding.verdict == "seen"
    assert numbers["harm_rich"] == numbers["harm_most"] == float(harm.sel(balance=0.02))
    assert numbers["harm_lazy"] == float(harm.sel(balance=30.0)) < numbers["harm_rich"]
    assert numbers["balance_lazy"] == 30
    assert numbers["least_lazy"] - numbers["least_most"] > abs(numbers["last_lazy"] - numbers["last_most"])
    assert "spoiling the best checkpoint" in finding.sentence
    assert [line.split(" | ")[0].strip() for line in table(small)] == ["l, tau = 3", "0.02", "30"]


def changed(small, **variables):
    """The result with other values of some variables."""
    return small.assign({name: change(small[name]) for name, change in variables.items()})


def test_a_u_that_is_gone_is_removed_and_not_flattened(small):
    gone = changed(small, harm_at_equal_loss=lambda harm: harm.where(small["balance"] < 1, 0.001))
    assert find(gone).sentence.startswith("Laziness removes the U")


def test_the_largest_harm_is_told_where_it_is(small):
    middle = small.isel(balance=[0, 0, 1]).assign_coords(balance=[0.02, 1.0, 30.0])
    numbers = find(changed(middle, harm_at_equal_loss=lambda harm: harm.where(middle["balance"] != 1, 9.0))).numbers
    assert (numbers["harm_most"], numbers["balance_most"]) == (9, 1)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--shift.rescale-factor", "1"), "shift: got two tasks without a difference"),
        (("--balances", "1", "0"), "balances: got (1.0, 0.0); allowed: strictly increasing values"),
        (("--levels", "0.5", "1.5"), "levels: got (0.5, 1.5); allowed: shares below 1"),
        (("--network.tau", "3"), "network.tau: got 3.0"),
        (("--finetune.strengths", "3"), "finetune.strengths: got 3; allowed: its default"),
        (("--finetune.regularizations", "0", "1"), "finetune.regularizations: got (0.0, 1.0); allowed: one strength"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, said):
    assert main([*flags, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith(said)


def test_minibatches_have_no_closed_form_and_it_is_said():
    few = dataclasses.replace(CONFIG.pretrain, steps=20, budgets=4, batch_size=4)
    noisy = run(dataclasses.replace(CONFIG, taus=(3.0,), pretrain=few))
    assert noisy["predicted_pretrain_loss_after"].isnull().all()
    assert noisy["lazy_harm"].isnull().all()
    assert noisy["lazy_curve_at_equal_loss"].isnull().all()
    assert any("none: minibatches" in line for line in Finding.of(noisy).details)
