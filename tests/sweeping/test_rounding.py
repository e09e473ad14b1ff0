"""Where rounding decides, the result says so: saddles that exact arithmetic never leaves; and nowhere else."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from experiments.words import distrust
from linsim.dynamics.choosing import choose
from linsim.dynamics.matrices.matrix_flow import matrix_flow
from linsim.dynamics.matrices.rounding import TRUSTED, flow_rounding, moved
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.sweeping.along import along
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks import rounding as room
from linsim.sweeping.checks.rounding import rounding
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

RATES = {"learning_rate": [1e-3, 1e-2]}
BASES = {"exact": np.eye(2), "turned": random_basis(2, np.random.default_rng(0))}


def start(basis, first, second):
    """W_1 = diag(first) U^T, W_2 = U diag(second)."""
    return first[:, None] * basis.T, basis * second


SADDLES = {
    "reversal": (np.full(2, 0.1), np.full(2, -0.1)),
    "a mode at 0": (np.asarray([0.1, 0.0]), np.asarray([0.1, 0.0])),
}


def saddle(name, basis, budgets=(100, 2000), finetune_steps=200):
    """Two modes of strength 2: from 0.1 each takes a flow time of about 1 of the 20 that there are."""
    task = LinearTask.create(np.full(2, 2.0), left=basis, right=basis)
    weights = stack_seeds([start(basis, *SADDLES[name])])
    return Problem(Transfer(task, task), weights, Phase(0.01), Phase(0.01), np.asarray(budgets), finetune_steps)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("solver", ["modes", "dense", "gram", "flow"])
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("name", SADDLES)
def test_a_saddle_that_only_rounding_leaves_is_told(name, basis, solver):
    result = sweep(saddle(name, BASES[basis]), RATES, solver=solver)
    assert result.attrs["rounding_trusted"] == 0
    assert result.attrs["rounding_deviation"] > 0.1
    assert distrust(result).startswith("DO NOT TRUST THIS RESULT; it is rounding: last places of")


def passing(sign, budgets, finetune_steps):
    """Bases so unrelated that full matrices do not keep any symmetry; fine-tuning on the task of the other sign."""
    rng = np.random.default_rng(1)
    left, right = random_basis(2, rng), random_basis(2, rng)
    task, other = (LinearTask.create(np.full(2, 2.0), left=side, right=right) for side in (left, -left))
    weights = stack_seeds([(0.1 * right.T, sign * 0.1 * left)])
    return Problem(Transfer(task, other), weights, Phase(0.01), Phase(0.01), np.asarray(budgets), finetune_steps)


def test_it_is_told_too_where_all_have_arrived_in_the_end():
    # A flow time of 80: rounding has let go at 9, and every network has learned all of the task at 20.
    result = sweep(passing(-1, (100, 8000), 1), {"learning_rate": [1e-6]}, solver="dense")
    assert result["pretrain_loss_before"][-1] < 1e-12
    assert result.attrs["rounding_trusted"] == 0


def test_it_is_told_of_fine_tuning_that_has_to_turn_round_what_was_learned():
    result = sweep(passing(1, (50, 200), 8000), {"learning_rate": [1e-2]}, solver="dense")
    assert np.max(result["finetune_loss_after"]) < 1e-12
    assert result.attrs["rounding_trusted"] == 0
    early = sweep(passing(1, (50, 200), 300), {"learning_rate": [1e-2]}, solver="dense")
    assert early.attrs["rounding_trusted"] == 1


@pytest.mark.parametrize("name", SADDLES)
def test_a_saddle_that_is_not_left_within_the_budgets_is_trusted(name):
    # e^(4 sigma t) = e^8 = 3e3 at t = 1, and twice that in the loss's square root: from 1e-15 far below 1e-6.
    found = sweep(saddle(name, BASES["turned"], budgets=(50, 80), finetune_steps=20), RATES).attrs
    assert found["rounding_trusted"] == 1
    assert found["rounding_deviation"] < 1e-9


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("problem", "solver"),
    [
        (aligned_problem(), "auto"),
        (aligned_problem(3), "auto"),
        (aligned_problem(1), "auto"),
        (aligned_problem(), "flow"),
        (balanced_problem(), "flow"),
        (gaussian_problem(), "auto"),
        (gaussian_problem(1), "flow"),
    ],
)
def test_an_ordinary_problem_is_not_rounding(problem, solver):
    found = sweep(problem, RATES, solver=solver).attrs
    assert (found["rounding_trusted"], found["rounding_lanes"]) == (1, 12)
    # A move of 1e-15 in weights whose modes grow by 1e3 at most, and all in the same proportion.
    assert found["rounding_deviation"] < 1e-12


def test_lanes_that_diverged_or_are_unstable_say_nothing():
    problem = saddle("reversal", BASES["turned"])
    result = sweep(problem, RATES, rechecked=0)
    axes = Axes.of(RATES)
    modes = choose(problem).solver
    assert not rounding(result, problem, axes, modes, 8).trusted
    result["unstable"] = result["diverged"] | True
    assert rounding(result, problem, axes, modes, 8)[:2] == (0, 0.0)


@pytest.mark.parametrize("quick", [True, False])
def test_pre_training_that_is_chaotic_later_says_nothing_of_an_earlier_budget(quick, monkeypatch):
    monkeypatch.setattr(room, "is_quick", lambda *_: quick)
    problem = aligned_problem(budgets=(1, 400), finetune_steps=5, pretrain=Phase(0.45))
    problem = replace(problem, initial=tuple(1e-3 * layer for layer in problem.initial))  # flat at first
    result = sweep(problem, RATES, rechecked=8)
    assert result["unstable"].isel(pretrain_steps=1).all()
    assert not result["unstable"].isel(pretrain_steps=0).any()
    assert result.attrs["rounding_deviation"] < 1e-9
    assert result.attrs["rounding_lanes"] > 0


def test_without_a_recheck_none_is_made_and_it_can_be_too_costly(monkeypatch):
    problem = saddle("reversal", BASES["turned"])
    with running(recheck=0):
        assert "rounding_lanes" not in sweep(problem, RATES).attrs
    monkeypatch.setattr(room, "AFFORDABLE", 1.0)
    found = sweep(problem, RATES, rechecked=4).attrs
    assert (found["rounding_lanes"], found["rounding_trusted"]) == (0, 1)
    assert found["rounding_by"].startswith("nothing: ")


def test_a_result_along_something_is_as_trusted_as_the_least_of_its_parts():
    reversal = saddle("reversal", BASES["turned"])
    starts = {"facing": (reversal.initial[0], -reversal.initial[1]), "reversed": reversal.initial}
    problems = {name: replace(reversal, initial=weights) for name, weights in starts.items()}
    result = along({"start": [*starts]}, lambda start: partial(sweep, problems[start], RATES))
    precisions = {"facing": "float64", "reversed": "float32"}
    weaker = along(
        {"start": [*starts]}, lambda start: partial(sweep, problems["facing"], RATES, precision=precisions[start])
    )
    assert result.attrs["rounding_trusted"] == 0
    assert result.attrs["rounding_worst"].startswith("start = reversed, ")
    assert result.attrs["rounding_lanes"] == 8
    assert "facing: " in weaker.attrs["rounding_floor"]  # which is none of the check's


def test_moved_weights_differ_by_a_few_units_in_the_last_place_and_zeros_move():
    weights = stack_seeds([start(np.eye(3), np.asarray([1.0, 1e-3, 0.0]), np.zeros(3))] * 2)
    first, second = moved(weights)
    change = np.abs(first - weights[0])
    assert np.all(change > 0)
    assert np.max(change) < 32 * np.finfo(float).eps
    np.testing.assert_array_equal(first[0], first[1])  # the same move whatever the seed: common random numbers
    assert 0 < np.max(np.abs(second)) < 32 * np.finfo(float).eps
    assert all(np.all(each != 0) for each in moved(tuple(np.zeros_like(weight) for weight in weights)))


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("name", SADDLES)
def test_the_matrix_flow_says_from_when_on_it_is_rounding(name, basis):
    weights, target = start(BASES[basis], *SADDLES[name]), 2 * np.eye(2)
    # It leaves at ln(1/eps) / (2 sigma) = 9; at 30 both runs have learned all, and agree.
    found = flow_rounding(weights, target, [[0.0, 1.0], [5.0, 30.0]])
    assert found.trusted.tolist() == [[True, True], [True, False]]
    assert found.deviation[-1, -1] > 0.1
    assert not flow_rounding(weights, target, 30.0).trusted


def test_the_matrix_flow_remembers_that_rounding_let_go_where_both_runs_agree_again():
    problem = passing(-1, (50, 100), 1)
    target = problem.transfer.pretrain.target
    weights = tuple(layer[0] for layer in problem.initial)
    first, second = matrix_flow(weights, target, 40.0)
    np.testing.assert_allclose(second @ first, 0, atol=1e-100)  # what cancels in these coordinates does for ever
    assert not flow_rounding(weights, target, 40.0).trusted
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[
        0
    ]  # of the hidden layer: the same network, rounded otherwise
    weights = turned @ weights[0], weights[1] @ turned.T
    first, second = matrix_flow(weights, target, 40.0)
    np.testing.assert_allclose(second @ first, target, atol=1e-12)
    assert not flow_rounding(weights, target, 40.0).trusted
    assert flow_rounding(weights, target, 4.0).trusted


def test_an_ordinary_matrix_flow_is_not_rounding_at_any_time():
    rng = np.random.default_rng(3)
    layer = rng.normal(size=(3, 3)) / 10
    target = np.diag([2.0, 1.0, 0.5]) + rng.normal(size=(3, 3)) / 5
    facing = np.sign(np.linalg.det(target))  # else one mode would have to turn round, which is a saddle
    weights = layer, (layer.T * np.asarray([1.0, 1.0, facing])[:, None])
    found = flow_rounding(weights, target, [0.0, 1.0, 5.0, 50.0, 1e4])
    assert found.trusted.all()
    assert np.max(found.deviation) < 1e-11 < TRUSTED
    assert matrix_flow(weights, target, 1.0)[0].shape == (3, 3)


def test_one_layer_is_never_rounding():
    assert flow_rounding((np.zeros((2, 3)),), np.ones((2, 3)), 1e3, input_covariance=np.diag([1.0, 1e-3, 0.0])).trusted
