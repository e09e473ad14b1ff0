"""Rates tuned per checkpoint: runs against plain descent, rules against formulas, the finding against both."""

import dataclasses

import numpy as np
import pytest

from experiments.tuned_rate import Config, experiment, main, run
from experiments.tuned_rate.finding import find, table
from experiments.tuned_rate.losses import SampleConfig
from experiments.tuned_rate.rules import RULES, Curves, best, first_below
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig
from linsim.finding import Finding
from linsim.theory.stages import tuned
from tests.computed import computed

SMALL = Config(
    dim=3,
    seeds=2,
    factors=(2.0, 4.0),
    pretrain=PretrainConfig(steps=2000, budgets=8, learning_rate=0.02),
    finetune=FinetuneConfig(steps=40, rates=12, lowest_rate=1e-3, highest_rate=0.2, strengths=1),
    largest_rate=0.02,
    sample=SampleConfig(size=6),
)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def descend(first, second, target, rate, steps):
    """Descent on ||W_2 W_1 - A||^2."""
    for _ in range(steps):
        pull = 2 * rate * (second @ first - target)
        first, second = first - second.T @ pull, second - pull @ first.T
    return first, second


def test_a_run_is_plain_descent_on_the_sample_measured_on_both_tasks(result):
    cell = result.isel(factor=1, seed=1, pretrain_steps=3)
    layers = cell["initial_weights_1"].values, cell["initial_weights_2"].values
    layers = descend(*layers, cell["pretrain_target"].values, 0.02, int(cell["pretrain_steps"]))
    rate = float(cell["learning_rate"][7])
    first, second = descend(*layers, cell["sample_target"].values, rate, 40)
    for name, target in ("pretrain_loss_after", "pretrain_target"), ("heldout_loss_after", "finetune_target"):
        loss = np.sum((second @ first - cell[target].values) ** 2)
        # The same operations in another order: 1e2 steps of rounding, 1e-16 each, grown by modes that rise.
        np.testing.assert_allclose(cell[name].sel(trained_on="sample")[7], loss, rtol=1e-9)


def test_the_sample_misses_the_task_by_noise_over_the_root_of_its_size(result):
    error = result["sample_target"] - result["finetune_target"]
    np.testing.assert_allclose(error[0], error[1], atol=1e-14)  # one draw for all tasks, off by the rounding of an SVD
    # 18 entries of variance 1/6: their mean square has a relative standard error of sqrt(2 / 18) = 1/3.
    assert 0.2 < float((error[0] ** 2).mean()) * 6 < 2
    assert float(np.abs(error.isel(seed=0) - error.isel(seed=1)).max()) > 0.1


def test_stops_go_on_where_the_run_stands(result):
    at_rate = result.sel(learning_rate=0.02)
    assert int(result["stop_steps"][-1]) == 40
    for name in ("pretrain_loss_after", "heldout_loss_after"):
        np.testing.assert_allclose(result[f"stopped_{name}"][..., -1], at_rate[name], rtol=1e-12)


def test_on_the_population_modes_follow_the_flow_and_the_largest_rate_is_the_best(result):
    here = result.sel(trained_on="population", rule="tuned")
    np.testing.assert_allclose(here["rule_time"], 0.8, rtol=1e-12)
    pretrain = np.diag(result["pretrain_target"])
    least = result.isel(learning_rate=0, pretrain_steps=-1, seed=0).sel(trained_on="population")
    for factor in range(2):
        goal = np.diag(result["finetune_target"][factor])
        last = np.asarray(tuned(pretrain, goal, 0.0, 0.04))  # at the last budget all modes are learned
        for name, target in ("heldout_loss_after", goal), ("pretrain_loss_after", pretrain):
            # Exponents 4 sigma T = 1.3 are off by 2 eta sigma = 0.016 of themselves, losses by twice that.
            np.testing.assert_allclose(least[name][factor], np.sum((last - target) ** 2), rtol=0.05)


def test_closed_form_and_simulation_agree_to_first_order_in_the_rate(result):
    kept = result.sel(rule=["fixed", "tuned", "stopped"], trained_on="sample")
    error = np.abs(kept["predicted_rule_pretrain_loss"] / kept["rule_pretrain_loss"] - 1)
    # Pre-training lags by rate x sigma = 0.04 of its time; where modes rise, as e^(4 sigma t), losses feel it most.
    assert float(error.median()) < 0.01
    assert float(error.max()) < 0.4
    np.testing.assert_array_equal(kept["predicted_rule_harm"] >= 0.05, kept["rule_harm"] >= 0.05)


def test_tuning_removes_the_u_on_the_near_task_and_not_on_the_far_one(result):
    harm = result["rule_harm"].sel(trained_on="sample")
    assert (harm.sel(rule="fixed") >= 0.05).all()
    assert (harm.sel(rule="tuned", factor=2.0) < 0.05).all()
    assert (harm.sel(rule="tuned", factor=4.0) >= 0.05).all()
    found = Finding.of(result)
    numbers = {"removed": 1, "kept": 1, "removed_up_to": 2.0, "least_end": pytest.approx(1)}
    assert (found.verdict, found.numbers) == ("seen", numbers | {"least_fall": found.numbers["least_fall"]})
    assert found.numbers["least_fall"] > 1.05
    assert "removes the U at ×2, where the tuned rate falls" in found.sentence and "but not at ×4" in found.sentence
    lines = [line for line in experiment.tell(result).split("\nThe claims")[0].splitlines() if line]
    assert len(lines) <= 12 and max(map(len, lines)) <= 120
    assert all(rule in table(result)[0] for rule in RULES)


def test_harm_over_the_largest_rate_is_that_of_the_rule_at_the_rate_allowed(result):
    allowed = result.sel(learning_rate=0.02)
    for name in ("fixed", "tuned"):
        np.testing.assert_allclose(allowed[f"{name}_harm"], result["rule_harm"].sel(rule=name), rtol=1e-12)
    # The tuner has the fixed rate to choose from.
    heldout = result["rule_heldout_loss"]
    assert (heldout.sel(rule="tuned") <= heldout.sel(rule="fixed") * (1 + 1e-12)).all()


def test_a_task_on_which_the_fixed_rate_is_unstable_says_nothing_of_tuning():
    fast = run(dataclasses.replace(SMALL, largest_rate=0.07))  # the edges are at 2 / (4 x 4) and 2 / (4 x 8)
    found = Finding.of(fast)
    assert fast["unstable"].sel(learning_rate=0.07).values.tolist() == [False, True]
    assert (found.verdict, found.numbers["kept"]) == ("not seen", 0)
    told = "At ×4 runs at the fixed rate diverged or are unstable: whether tuning removes a U there cannot be told."
    assert told in found.details
    assert table(fast)[2].split()[:2] == ["x4", "unstable"]


def test_two_budgets_are_too_few_for_a_turn(result):
    assert find(result.isel(pretrain_steps=[0, -1])).verdict == "cannot tell"


def test_leaving_the_largest_rate_allowed_is_not_enough(result):
    here = (result["rule"] == "tuned") & (result["trained_on"] == "sample") & (result["factor"] == 4.0)
    last = result["pretrain_steps"] == result["pretrain_steps"][-1]
    found = find(result.assign(rule_time=result["rule_time"].where(~(here & last), 0.68 * 0.8)))
    assert found.verdict == "seen" and found.numbers["least_end"] == pytest.approx(0.68)
    assert "ends at 68 % of the largest allowed" in found.sentence


def test_harm_that_is_not_material_is_no_turn(result):
    assert find(result).verdict == "seen"
    immaterial = result.assign(rule_inflection_steps=result["rule_inflection_steps"] * np.nan)
    assert find(immaterial).verdict == "not seen"


def test_rates_at_which_runs_diverge_are_said_to_diverge(result):
    stopped = result["rule"].isin(["stopped", "stopped within 1 %"])
    harm = result["rule_harm"].where(result["rule"] != "fixed").where(~stopped, np.inf)
    lost = result.assign(rule_harm=harm, rule_time=result["rule_time"].where(~stopped, 0.02))  # stopped at once
    finite = lost.assign(rule_harm=harm.where(~np.isinf(harm), 1e5))  # where the first step leads
    for dataset in lost, finite:
        assert [row.count("unstable") for row in table(dataset)[1:]] == [3, 3]
        assert "With early stopping all curves are unstable." in find(dataset).details
    # A run that diverges only after its best step has a stop of its own.
    own = lost.assign(
        rule_harm=harm.where(~np.isinf(harm), 0.1),
        rule_inflection_steps=result["rule_inflection_steps"].where(~stopped, 100.0),
        rule_time=result["rule_time"].where(~stopped, 0.1),
    )
    assert any(line.startswith("With early stopping 4 of 4 curves turn; against tuning") for line in find(own).details)


def test_random_starts_on_drawn_inputs_have_no_closed_form(result):
    config = dataclasses.replace(
        SMALL, network=NetworkConfig(init="gaussian"), sample=SampleConfig(size=6, inputs="normal"), factors=(2.0,)
    )
    other = run(config)
    assert "predicted_rule_harm" not in other
    assert other["late_time"].isnull().all()
    assert other.attrs["prediction"].startswith("none: ")
    assert float(other["sample_input_covariance"].std("seed").max()) > 0
    # Seeds have starts of their own, on the population too.
    assert float(other["pretrain_loss_after"].sel(trained_on="population").std("seed").max()) > 0
    still = run(dataclasses.replace(config, largest_rate=50.0, sample=SampleConfig(size=6)))
    assert still["rule_harm"].sel(rule="fixed").isnull().all()
    assert Finding.of(still).verdict == "cannot tell"


def test_the_best_time_is_that_of_a_parabola_and_ties_go_to_the_first():
    times = np.geomspace(0.1, 10, 7)
    heldout = 2 + (np.log(times) - np.log(1.3)) ** 2
    chosen = best(Curves(times, np.log(times)[None], heldout[None]))
    np.testing.assert_allclose([chosen.time[0], chosen.pretrain[0], chosen.heldout[0]], [1.3, np.log(1.3), 2.0])
    flat = best(Curves(times, times[None], 1e-20 / times[None]), floor=1e-12)
    assert flat.time[0] == times[0]
    # Converged but for rounding, and then beyond the edge of stability: neither decides.
    heldout = 0.5 + np.array([0.3, 0.1, 1e-3, 2e-16, 0.0, 1e-16, 0.6])
    converged = best(Curves(times, times[None], np.stack([heldout, heldout[[0, 1, 2, 5, 3, 4, 6]]])), floor=1e-12)
    np.testing.assert_array_equal(converged.time, times[3])
    ends = best(Curves(times, times[None], 100 - times[None]))
    assert ends.time[0] == times[-1]
    lost = best(Curves(times, np.full((1, 7), np.inf), np.full((1, 7), np.inf)))
    assert np.isnan([*lost]).all()


def test_a_level_is_reached_between_two_times_or_never():
    times = np.array([1.0, 2.0, 4.0])
    curves = Curves(times, np.array([[0.0, 1.0, 3.0]] * 3), np.array([[4.0, 2.0, 1.0]] * 3))
    chosen = first_below(curves, np.array([3.0, 5.0, 0.5]))
    np.testing.assert_allclose(chosen.time, [1.5, 1.0, np.nan])
    np.testing.assert_allclose(chosen.pretrain, [0.5, 0.0, np.nan])
    np.testing.assert_allclose(chosen.heldout, [3.0, 4.0, np.nan])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--factors", "2", "1"], "factors: got (2.0, 1.0); allowed: strictly increasing values"),
        (["--largest-rate", "0"], "largest_rate: got 0.0; allowed: a finite number > 0"),
        (["--sample.size", "4"], "sample.size: got 4; allowed: >= 8"),
        (["--sample.noise", "-1"], "sample.noise: got -1.0"),
        (["--finetune.strengths", "3"], "finetune.strengths: got 3; allowed: 1: here the rate alone is tuned"),
        (["--finetune.momentum", "0.9"], "finetune.momentum: got 0.9; allowed: 0.0"),
        (["--shift.rescale-factor", "2"], "shift.rescale_factor: got 2.0; allowed: nothing: it comes from --factors"),
    ],
)
def test_bad_input_is_one_line(arguments, told, refused):
    assert told in refused(main, arguments)
