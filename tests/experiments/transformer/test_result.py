"""Alarms, leads and correlations from numbers written by hand, and what is found in them, and in what is stored."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from experiments.transformer import experiment
from experiments.transformer.cross_entropy import effects, in_words
from experiments.transformer.measuring import MEASURES
from figures.gallery import STORED
from linsim.finding import Finding
from linsim.monitoring.alarm import Alarm
from linsim.storage import store
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
    assert any("None can ring with so few budgets." in line for line in Finding.of(dataset).details)


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
    assert "18 of 36 fine-tuning runs diverged." in Finding.of(dataset).details


EARLY = {"after": turning(at=100)}
SAID = {
    "progressive sensitivity": ({}, "not seen", {"growth": 28**0.3, "sensitive": 2, "turned": 0, "alarms_quiet": 12}),
    "no progressive sensitivity": ({"noise": lambda x: x**0}, "not seen", {"growth": 1, "sensitive": 0}),
    "an inflection": (EARLY, "seen", {"turned": 2, "seeds": 2, "learning_rate": 0.001, "harm": 0.1 * np.log(14) ** 2}),
    "missed": (EARLY, "seen", {"alarms_missing": 12}),
    "in time": (
        {"after": turning(at=1200, steepness=1.0), "monitors": GROWING},
        "seen",
        {"alarms_in_time": 2, "alarms_missing": 10},
    ),
    "late": (EARLY | {"monitors": GROWING}, "seen", {"alarms_late": 2, "alarms_missing": 10}),
    "false alarm": ({"monitors": GROWING}, "not seen", {"alarms_false": 2, "alarms_quiet": 10}),
    "an inflection in one of two seeds": ({"after": turning(at=[100, 1400])}, "cannot tell", {"turned": 1}),
}


@pytest.mark.parametrize("name", SAID)
def test_the_finding_says_what_the_numbers_say(name):
    given, verdict, numbers = SAID[name]
    found = Finding.of(result(**given))
    assert found.verdict == verdict
    assert {each: found.numbers[each] for each in numbers} == pytest.approx(
        numbers, rel=0.01
    )  # splines between budgets
    counts = [value for each, value in found.numbers.items() if each.startswith("alarms_")]
    assert sum(counts) == len(MEASURES) * 2


def test_sensitivity_that_falls_late_is_told_from_its_peak():
    rises_and_falls = result(noise=lambda x: np.minimum(x, 16) / np.maximum(x / 16, 1))
    assert "and falls by 43 % from 800 steps on" in Finding.of(rises_and_falls).sentence


@pytest.mark.parametrize("few", [{"pretrain_steps": slice(2)}, {"pretrain_steps": slice(1)}])
def test_too_few_budgets_or_runs_that_all_diverged_tell_nothing(few):
    assert Finding.of(experiment.found(result(**EARLY).isel(few))).verdict == "cannot tell"
    assert Finding.of(result(diverged=np.ones((9, 2, 2), bool))).verdict == "cannot tell"


def test_sensitivity_is_judged_seed_by_seed_beyond_two_standard_errors():
    dataset = result(noise=lambda x: 1 + 0.05 * (x > 1), error=0.02)
    assert Finding.of(dataset).numbers["sensitive"] == 0  # 5 % with an error of 2.9 %
    dataset["rise_under_relative_noise_error"][:, 1] /= 10
    assert Finding.of(experiment.found(dataset)).numbers["sensitive"] == 1


VERDICTS = {"transformer": ("not seen",), "transformer_24": ("seen",)}
"""Of results that are stored with the figures, as they take minutes."""


@pytest.mark.parametrize("name", VERDICTS)
def test_stored_results_carry_what_is_found_in_them_now(name):
    stored = store.load(STORED / name)
    assert Finding.of(stored) == Finding.of(experiment.found(stored))
    assert (Finding.of(stored).verdict,) == VERDICTS[name]
    told = experiment.tell(stored)
    assert len([line for line in told.splitlines() if line]) <= 16  # the last one is that of the solver


def test_what_is_read_as_cross_entropy_is_what_the_numbers_say():
    peaked = {"fisher": lambda b: 1 + 3 * np.exp(-(np.log(b / 400) ** 2)), "hessian_trace": lambda b: b}
    dataset = result(monitors=peaked, error=0.01)
    # The loss of fine-tuning turns at the first rate, more in the second seed, and falls at the second rate.
    short, long = np.array([4, 3, 2, 1, 1.2, 1.4, 1.6, 1.8, 2]), np.linspace(1, 0.9, 9)
    dataset["finetune_loss_after"][:, 0], dataset["finetune_loss_after"][:, 1] = (
        np.stack([short, short + (short > 1)], axis=1),
        long[:, None],
    )
    found = effects(dataset)
    np.testing.assert_allclose(found.finetune, [[1, 2], [0, 0]], rtol=0.02)  # splines between budgets
    np.testing.assert_allclose(found.tuned, 0)
    fisher = peaked["fisher"](BUDGETS * 1.0)
    np.testing.assert_allclose(found.fisher_left, fisher[-1] / fisher.max())
    assert found.fisher_falls == 2
    total = falling() + dataset["rise_under_relative_noise"][..., 1].values
    np.testing.assert_allclose(found.noise[-1], total[-1] / total.min(axis=0) - 1, rtol=0.05, atol=1e-3)
    assert found.noise.sizes == {"scale": 4, "seed": 2}
    line = in_words(found)
    assert "harm to the fine-tuning loss itself, in % by rate, is 15" in line
    assert "beyond two standard errors in 2 of 2 seeds" in line
    numbers = Finding.of(experiment.found(dataset)).numbers
    assert numbers["finetune_harm"] == pytest.approx(1.5, rel=0.02)
    assert numbers["finetune_harm_tuned"] == 0
    assert numbers["noise_turns"] == int((found.noise > 0.01).sum())


def test_a_trace_that_falls_within_its_errors_is_not_counted_and_diverged_runs_do_not_count():
    dataset = result(monitors={"fisher": lambda b: 1 - 0.05 * (b > 1000)}, error=0.1)
    dataset["diverged"][:, 0] = True
    found = effects(dataset)
    assert found.fisher_falls == 0
    assert np.isnan(found.finetune[0]).all()
    np.testing.assert_allclose(found.tuned, found.finetune[1])
    assert "unknown, " in in_words(found)


def test_the_smaller_language_turns_in_the_fine_tuning_loss_and_the_larger_does_not():
    numbers = {name: Finding.of(store.load(STORED / name)).numbers for name in VERDICTS}
    assert numbers["transformer"]["finetune_harm"] < 0.01
    assert numbers["transformer_24"]["finetune_harm"] > 0.3
    for each in numbers.values():  # in both sensitivity peaks, and neither a tuned rate nor noise makes a turn
        assert each["finetune_harm_tuned"] < 0.01
        assert each["fisher_falls"] == each["seeds"]
        assert each["fisher_left"] < 0.9
        assert each["noise_turns"] == 0


def test_names_and_units_are_in_the_result():
    dataset = result()
    assert all("long_name" in variable.attrs for variable in dataset.variables.values())
    assert dataset["alarm_steps"].attrs["units"] == "steps"
    np.testing.assert_allclose(dataset["forgetting"][:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(dataset["pretrain_loss_before"], falling())
