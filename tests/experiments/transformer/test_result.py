"""Alarms, leads and correlations from numbers written by hand, and a summary that says the opposite of the opposite."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from experiments.transformer.measuring import MEASURES
from experiments.transformer.summary import summarise
from linsim.monitoring.alarm import Alarm
from tests.experiments.transformer.synthetic import BUDGETS, RATES, falling, result, turning

GROWING = {"hessian_trace": lambda b: np.exp(b / 150)}


def test_monitors_keep_their_names_and_seeds():
    dataset = result(monitors={name: lambda b, at=at: b + at for at, name in enumerate(MEASURES)})
    for at, name in enumerate(MEASURES):
        for seed in range(2):
            np.testing.assert_array_equal(dataset["monitor"].sel(measure=name, seed=seed), BUDGETS + at)
    np.testing.assert_allclose(dataset["monitor_error"], 0.02 * dataset["monitor"])


def test_the_alarm_rings_for_the_exponential_monitor_alone_and_its_lead_is_in_e_folds():
    dataset = result(after=turning(at=1000), monitors=GROWING, error=0.0)
    rings = dataset["alarm_steps"]
    others = [name for name in MEASURES if name != "hessian_trace"]
    assert np.isnan(rings.sel(measure=others)).all()
    # Growth rate x mean budget of 5 checkpoints exceeds 1 from 150 on, at the first window already: 7 are needed.
    np.testing.assert_array_equal(rings.sel(measure="hessian_trace"), [1000, 1000])
    lead = dataset["alarm_lead"].sel(measure="hessian_trace")
    steps = dataset["inflection_steps"]
    np.testing.assert_allclose(steps[1], 1000, rtol=0.02)  # a spline through a parabola in log budget
    np.testing.assert_allclose(lead[1], np.log(steps[1] / 1000))
    assert np.isnan(lead[0]).all()
    assert np.isnan(dataset["alarm_lead"].sel(measure=others)).all()


def test_too_few_budgets_for_the_alarm_leave_it_silent():
    dataset = result(monitors=GROWING, alarm=Alarm(window=8, consecutive=3))
    assert np.isnan(dataset["alarm_steps"]).all()
    assert "None can ring with so few budgets." in summarise(dataset)


def test_rank_correlations_are_those_of_scipy():
    generator = np.random.default_rng(0)
    jumps = generator.standard_normal(9)
    dataset = result(after=turning(), monitors={"fisher": lambda b: jumps})
    for rate in range(2):
        for seed in range(2):
            forgetting = dataset["forgetting"][:, rate, seed].values
            found = dataset["rank_correlation"].sel(measure="fisher")[rate, seed]
            if rate == 0:  # nothing is forgotten there: a constant has no ranks
                assert np.isnan(found)
            else:
                np.testing.assert_allclose(found, spearmanr(jumps, forgetting).statistic)
                clock = spearmanr(BUDGETS, forgetting).statistic
                np.testing.assert_allclose(dataset["budget_rank_correlation"][rate, seed], clock)


def test_a_monitor_that_could_not_be_read_has_no_alarm_and_its_other_budgets_count():
    def partly(b):
        return np.where(b > 1000, np.nan, b)

    dataset = result(after=turning(), monitors={"fisher": partly})
    forgetting = dataset["forgetting"][:, 1, 0].values
    expected = spearmanr(BUDGETS[:-2], forgetting[:-2]).statistic
    np.testing.assert_allclose(dataset["rank_correlation"].sel(measure="fisher")[1, 0], expected)


def test_diverged_runs_have_no_harm():
    diverged = np.zeros((9, 2, 2), bool)
    diverged[:, 1] = True
    dataset = result(after=turning(), diverged=diverged)
    assert np.isnan(dataset["harm"].sel(learning_rate=RATES[1])).all()
    assert "18 of 36 fine-tuning runs diverged" in summarise(dataset)


EARLY = {"after": turning(at=100)}
SAID = {
    "progressive sensitivity": ({}, "absolute noise of 0.02 grows: by a factor 2.72, ", "in 2 of 2 seeds."),
    "no progressive sensitivity": ({"noise": lambda x: x**0}, "absolute noise of 0.02 does not grow: by a factor 1.00"),
    "sensitivity falls late": (
        {"noise": lambda x: np.minimum(x, 16) / np.maximum(x / 16, 1)},
        "from 800 steps on it falls by 43%",
    ),
    "no inflection": ({}, "No inflection appears: at no rate, for no seed", "12 stay silent, and no harm follows"),
    "an inflection": (EARLY, "An inflection appears at rate 0.001 in 2 of 2 seeds, after 100 steps, harm 69.6%"),
    "missed": (
        EARLY,
        "12 stay silent although harm follows. None can ring before its budget 7, 1000 steps.",
    ),
    "in time": (
        {"after": turning(at=1200, steepness=1.0), "monitors": GROWING},
        "2 ring before the first turn of their seed, by 0.18 e-folds",
        "10 stay silent although",
    ),
    "late": (EARLY | {"monitors": GROWING}, "2 ring only after it", "rings"),
    "false alarm": (
        {"monitors": GROWING},
        "2 ring although no harm follows: false alarms",
        "in 2 of 2 seeds, first at 1000 steps",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_the_summary_says_what_the_numbers_say(name):
    given, *said = SAID[name]
    text = summarise(result(**given))
    for part in said:
        assert part in text, text


def test_sensitivity_is_judged_seed_by_seed_beyond_two_standard_errors():
    dataset = result(noise=lambda x: 1 + 0.05 * (x > 1), error=0.02)
    assert "absolute noise of 0.02 does not grow" in summarise(dataset)  # 5 % with an error of 2.9 %
    dataset["rise_under_absolute_noise_error"][:, 1] /= 10
    assert "absolute noise of 0.02 grows for some seeds only" in summarise(dataset)


def test_names_and_units_are_in_the_result():
    dataset = result()
    assert all("long_name" in variable.attrs for variable in dataset.variables.values())
    assert dataset["alarm_steps"].attrs["units"] == "pre-training steps"
    np.testing.assert_allclose(dataset["forgetting"][:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(dataset["pretrain_loss_before"], falling())
