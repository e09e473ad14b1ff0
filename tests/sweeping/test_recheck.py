"""A sample computed again: it agrees where the sweep is right, and says so loudly where it is not."""

from dataclasses import replace

import numpy as np
import pytest

import linsim.dynamics.programs
import linsim.sweeping.checks.recheck
from experiments.words import distrust, rechecked
from linsim.dynamics.choosing import SOLVERS, choose
from linsim.dynamics.measuring import USUAL
from linsim.dynamics.modes.chains import Chains
from linsim.dynamics.modes.descent_modes import Modes
from linsim.measure import Measure
from linsim.measures.built_in import built_in
from linsim.phase import Phase
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.plain_descent import is_quick
from linsim.sweeping.checks.recheck import TRUSTED, other_solver, recheck
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep
from tests.problems import aligned_problem, balanced_problem, gaussian_problem
from tests.sweeping.test_stability import PHASES, small

AXES = {"pretrain_learning_rate": [4e-3, 9e-3], "learning_rate": [1e-3, 1e-2, 50.0]}
PROBLEM = aligned_problem(seeds=3, budgets=(5, 40), finetune_steps=30)


@pytest.fixture(scope="module")
def right():
    return sweep(PROBLEM, AXES, rechecked=0)


def again(dataset, problem=PROBLEM, axes=AXES, precision="float64", lanes=64, measuring=USUAL):
    taken = Axes.of(axes)
    return recheck(dataset, problem, taken, measuring, choose(taken.representative(problem)).solver, precision, lanes)


def test_a_sweep_that_is_right_is_trusted_and_says_by_how_much(right):
    found = again(right)
    assert (found.lanes, found.by, found.trusted) == (36, "full matrices in NumPy", True)
    # Two solvers, 70 steps of rounding; but never the same bits.
    assert 0 < found.deviation < 1e-13


def test_what_it_found_is_stored_and_told():
    result = sweep(PROBLEM, AXES, precision="float32", rechecked=20)
    assert (result.attrs["recheck_lanes"], result.attrs["recheck_trusted"]) == (20, 1)
    # 70 steps of rounding at 6e-8.
    assert 1e-9 < result.attrs["recheck_deviation"] < 70 * 6e-8
    (line,) = rechecked(result)
    assert line.startswith("20 random lanes computed again by full matrices in NumPy deviate by up to ")
    assert distrust(result) == ""


def test_the_sample_is_as_large_as_asked_for(right, monkeypatch):
    assert again(right, lanes=7).lanes == 7
    assert again(right, lanes=10**6).lanes == 36
    with running(recheck=0):
        assert "recheck_lanes" not in sweep(PROBLEM, AXES).attrs
    with running(recheck=5):
        assert sweep(PROBLEM, AXES).attrs["recheck_lanes"] == 5
        assert "recheck_lanes" not in sweep(PROBLEM, AXES, rechecked=0).attrs


@pytest.mark.parametrize("name", ["pretrain_loss_after", "finetune_loss_after"])
@pytest.mark.parametrize("error", [1e-4, -1e-4, np.inf])
def test_a_planted_error_is_found(right, name, error):
    wrong = right.copy(deep=True)
    wrong[name].values[:, 1] += error  # one of two pre-training rates
    found = again(wrong)
    assert not found.trusted
    assert found.deviation > TRUSTED["float64"]


@pytest.mark.parametrize(
    "name",
    ["pretrain_loss_after", "finetune_loss_after"],
)
def test_nan_without_a_flag_is_found(right, name):
    wrong = right.copy(deep=True)
    wrong[name].values[...] = np.nan
    assert not again(wrong).trusted


@pytest.mark.parametrize("value", [True, False])
def test_flags_of_divergence_that_are_wrong_are_found(right, value):
    assert right["diverged"].values.any()
    assert not right["diverged"].values.all()
    wrong = right.copy(deep=True)
    wrong["diverged"].values[...] = value
    assert not again(wrong).trusted


def test_every_lane_may_be_in_the_sample(right):
    # One lane of 36 is wrong, in turn: samples of as many lanes, drawn with replacement, find most of them.
    found = 0
    for lane in range(36):
        wrong = right.copy(deep=True)
        wrong["diverged"].values.flat[lane] ^= True
        found += not again(wrong).trusted
    # From four of six trajectories, drawn with replacement: 52 % in the mean; 36 draws leave 63 % of their lanes.
    assert found >= 6


def test_a_solver_that_is_wrong_is_found(monkeypatch):
    right_step = linsim.dynamics.programs.continued

    def wrong(solver, carry, target, phase, lanes, steps, keys):
        return right_step(solver, carry, target, phase, lanes, steps - (solver.name == "modes"), keys)

    monkeypatch.setattr(linsim.dynamics.programs, "continued", wrong)
    result = sweep(PROBLEM, AXES)
    assert result.attrs["recheck_trusted"] == 0
    warning = distrust(result)
    assert warning.startswith("DO NOT TRUST THIS RESULT; one of the two solvers is wrong here: ")
    assert "or the rate is so large" not in warning  # such lanes are unstable, and left out
    assert f": {result.attrs['recheck_apart']} of the lanes computed again" in warning
    assert "the worst at pretrain_steps = " in warning


def test_in_float32_the_same_solver_will_do(right, monkeypatch):
    monkeypatch.setattr(linsim.sweeping.checks.recheck, "other_solver", lambda *_: None)
    monkeypatch.setattr(linsim.sweeping.checks.recheck, "is_quick", lambda *_: False)
    found = again(right, precision="float32")
    assert (found.by, found.trusted) == ("modes in float64", True)
    assert found.deviation < 1e-13  # the same program for another number of lanes
    wrong = right.copy(deep=True)
    wrong["pretrain_loss_after"].values[...] *= 1.01
    assert not again(wrong, precision="float32").trusted
    assert again(right).lanes == 0  # in float64 that would be the sweep itself


def test_the_other_solver_is_exact_and_no_flow():
    flow = next(solver for solver in SOLVERS if not solver.stepping)
    for problem in (PROBLEM, gaussian_problem(), balanced_problem(), gaussian_problem(3)):
        for solver in SOLVERS:
            other = other_solver(problem, solver, 1)
            if other is not None:
                assert solver.stepping
                assert other.stepping
                assert other.refusal(problem) is None
    assert other_solver(PROBLEM, flow, 1) is None
    assert other_solver(PROBLEM, choose(PROBLEM).solver, 10**12) is None  # it would take too long


def test_the_other_solver_steps_otherwise():
    problem = gaussian_problem()  # of width 6, where gram has nothing to make narrower
    for solver in SOLVERS:
        other = other_solver(problem, solver, 1)
        assert other is None or type(other).advance is not type(solver).advance


def test_what_costs_the_same_by_chance_is_another_solver_all_the_same():
    problem = aligned_problem(1, inputs=6, outputs=6)
    modes, dense = (solver for solver in SOLVERS if solver.name in ("modes", "dense"))
    assert modes.cost(problem) == dense.cost(problem)
    assert other_solver(problem, modes, 1) is dense
    assert other_solver(problem, dense, 1) is modes


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", PHASES)
def test_numpy_descends_as_the_solvers_do(name):
    problem = small(3, 5, PHASES[name], pretrain=PHASES[name], budgets=(3, 20))
    rates = {"learning_rate": [1e-3, 0.02], "pretrain_learning_rate": [0.01, 0.03]}
    result = sweep(problem, rates, solver="dense")
    assert result.attrs["recheck_by"] == result.attrs["rounding_by"] == "full matrices in NumPy"
    # 45 steps of rounding.
    assert result.attrs["recheck_deviation"] < 1e-13
    wrong = replace(problem, finetune=replace(problem.finetune, weight_decay=1e-6))
    assert again(result, wrong, rates).deviation > 1e-9


def test_what_numpy_would_take_long_for_or_does_not_know_is_for_a_solver(right):
    assert is_quick(PROBLEM, 4, 64)
    assert not is_quick(replace(PROBLEM, finetune_steps=10**6), 4, 64)
    assert not is_quick(replace(PROBLEM, finetune=Phase(0.1, batch_size=3)), 4, 64)
    assert not is_quick(replace(PROBLEM, idealised=True), 4, 64)


def test_measures_are_compared_as_losses_are(monkeypatch):
    measures = [built_in(name, PROBLEM.transfer) for name in ("product_distance", "imbalance", "product@along")]
    axes = {"learning_rate": [1e-3, 1e-2, 50.0]}
    right = sweep(PROBLEM, axes, measures=measures)
    assert right.attrs["recheck_trusted"]
    # Rounding of aligned layers leaves an imbalance of 1e-15, told in units of 1e-6, below which all are equal.
    assert 0 < right.attrs["recheck_deviation"] < 1e-8
    end_to_end = Chains.end_to_end
    monkeypatch.setattr(Chains, "end_to_end", lambda *given: 1.001 * end_to_end(*given))
    wrong = sweep(PROBLEM, axes, measures=[replace(measures[0])])
    assert not wrong.attrs["recheck_trusted"]
    assert wrong.attrs["recheck_deviation"] == pytest.approx(1e-3, rel=1e-6)


def test_a_measure_that_the_other_solver_cannot_give_is_left_out():
    def only_in_modes(seen):
        return seen.weights[0][0, 0] if isinstance(seen._solver, Modes) else seen.nothing

    result = sweep(PROBLEM, {"learning_rate": [1e-3]}, measures=[Measure("only", of=only_in_modes)])
    assert (result.attrs["recheck_by"], result.attrs["recheck_trusted"]) == ("dense in float64", 1)
