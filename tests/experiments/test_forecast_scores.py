"""Judging forecasts: scores against sums by hand, rules on curves that are known, and what is concluded."""

import numpy as np
import pytest

from experiments.forecast_scores import Config, experiment
from experiments.forecast_scores.cells import AHEAD, cells_of
from experiments.forecast_scores.finding import calibrated, find
from experiments.forecast_scores.regrets import POLICIES, policies
from experiments.forecast_scores.rules import Chances, phenomenology, quadratic, ratio, slope, turned
from experiments.forecast_scores.scores import brier, log_score, mean_of, separation, skill_of, with_interval
from experiments.forecast_scores.tables import CALIBRATION, TRANSFERS, TRANSFORMER, Curves, stored
from experiments.forecast_scores.theory_fit import bank, chance
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.forecasting.columns import COLUMNS
from tests.computed import computed

CONFIG = Config(networks=100, transfers=6, stopped=14, resamples=40)
PRIOR, FAILS = "networks of the prior", ["digits", "cross-entropy", TRANSFORMER]
VERDICTS = {
    "half of the domains": ([PRIOR, "other spectra", "rotations", "three layers", *FAILS], "seen"),
    "domains where it fails": ([PRIOR, *FAILS], "not seen"),
    "one domain of many": ([PRIOR, "other spectra", *FAILS], "cannot tell"),
}
BUDGETS = np.array([1.0, 2, 4, 8, 16])


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_result(small, name):
    domains, verdict = VERDICTS[name]
    names = [str(each) for each in small["domain"].values]
    found = small.isel(domain=[names.index(each) for each in domains])
    clear = found["skill"].copy()
    for at, each in enumerate(domains):  # of few transfers intervals are wide: judged as at the defaults
        clear[{"domain": at, "statistic": 1}] = -0.1 if each in FAILS else 0.1
        clear[{"domain": at, "statistic": 2}] = 0.05 if each in FAILS[1:] else -0.05 if each in FAILS else 0.9
    finding = find(found.assign(skill=clear))
    assert finding.verdict == verdict, finding.sentence
    assert len(finding.sentence) <= 160


def test_nothing_clear_of_a_constant_is_not_told(small):
    wide = small["skill"].copy()
    wide[{"statistic": 1}], wide[{"statistic": 2}] = -1.0, 1.0
    assert find(small.assign(skill=wide)).verdict == "cannot tell"
    wide[{"statistic": 1, "domain": 0}] = 0.1  # its own prior says nothing of domains outside it
    assert find(small.assign(skill=wide)).verdict == "cannot tell"


def test_it_is_told_and_labelled(small):
    assert "regret of stopping" in Finding.of(small).details[1]
    assert all("long_name" in small[name].attrs for name in small.variables)
    assert small["tables"].sel(domain=small["domain"][0]) == 100
    assert len(calibrated(small)) == small.sizes["domain"]
    assert experiment.tell(small).count("\n") > 10


def test_stored_tables_are_whole_and_there_are_forty_runs_of_transformers():
    tables = stored()
    assert list(tables)[-1] == TRANSFORMER and len(tables) == 8
    runs = tables[TRANSFORMER]
    assert runs.losses.shape[1] >= 40 and len(np.unique(runs.group)) >= 8
    for name, curves in tables.items():
        ratios = curves.budgets[:, 1:] / curves.budgets[:, :-1]
        assert np.abs(np.log(ratios / np.sqrt(2))).max() < 0.35, name  # rounding of budgets from 4 steps on
        if name != TRANSFORMER:
            assert len(np.unique(curves.group)) == TRANSFERS > CALIBRATION


def test_cells_know_nothing_of_what_comes():
    budgets = 10 * 2 ** (np.arange(22) / 2)
    after = np.where(np.arange(22) < 12, 2.0 - 0.1 * np.arange(22), 1.0 + 0.2 * np.arange(22))
    losses = np.stack([np.geomspace(4, 1, 22), np.geomspace(5, 2, 22), after, np.geomspace(3, 1, 22)])
    cells = cells_of(Curves(budgets[None], losses[:, None], np.array([3]), np.array([4.0])))
    assert [len(each) for each in cells.budgets] == [6, 10, 14]
    assert cells.worse.tolist() == [[False, False, False], [False, True, True], [True, True, True]]
    assert np.isinf(cells.turn[0]) or cells.turn[0] > 0
    assert cells.turn[2] < 0 and AHEAD[-1] == 6
    for steps, table in zip(cells.budgets, cells.columns, strict=True):
        assert {len(column) for column in table.values()} == {len(steps)}


def test_scores_are_what_they_are_by_hand():
    p, y = np.array([0.9, 0.2, 0.5, 0.1]), np.array([True, False, True, True])
    assert brier(p, y).tolist() == pytest.approx([0.01, 0.04, 0.25, 0.81])
    assert log_score(p, y)[3] == pytest.approx(-np.log(0.1))
    assert separation(p, y) == pytest.approx(2 / 3)
    assert separation(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert np.isnan(separation(p, np.ones(4, bool)))
    assert skill_of(brier(p, y), np.full(4, 0.25))(np.arange(4)) == pytest.approx(1 - brier(p, y).mean() / 0.25)


def test_intervals_are_over_groups():
    """Cells of a group are copies: the interval is that of the few groups, not of the many cells."""
    rng = np.random.default_rng(0)
    each = rng.normal(size=20)
    few = with_interval(mean_of(each), np.arange(20), 300, 0)
    copies = with_interval(mean_of(np.repeat(each, 50)), np.repeat(np.arange(20), 50), 300, 0)
    assert copies == pytest.approx(few)
    assert few[1] < few[0] < few[2]


def test_rules_tell_what_they_say():
    columns = {"base_loss": np.geomspace(8, 1, 5), "finetune_loss_before": np.full(5, 4.0)}
    columns["pretrain_loss_after"] = np.array([3.0, 2, 1, 1.5, 3])
    assert turned(BUDGETS, columns) == 1.0
    assert ratio(BUDGETS, columns) == pytest.approx(np.log(4))
    assert slope(BUDGETS, columns) == pytest.approx(1.0)
    for rule in (phenomenology, quadratic):
        falling = rule(BUDGETS, columns | {"pretrain_loss_after": 1 + BUDGETS**-0.7})
        assert falling < rule(BUDGETS, columns) > 0.05
    exact = {"pretrain_loss_after": 0.5 + 2 * BUDGETS**-0.7 + 0.01 * BUDGETS}
    told = (0.5 + 2 * 128**-0.7 + 1.28) / (0.5 + 2 * 16**-0.7 + 0.16)
    assert phenomenology(BUDGETS, exact) == pytest.approx(np.log(told), rel=1e-6)


def test_a_rule_becomes_a_chance_by_how_often_it_came_true():
    rng = np.random.default_rng(1)
    told = rng.uniform(size=4000)
    chances = Chances.of(told, rng.uniform(size=4000) < told)
    assert chances(np.array([0.1, 0.9])) == pytest.approx([0.1, 0.9], abs=0.08)
    constant = Chances.of(np.zeros(100), np.arange(100) < 20)
    assert constant(np.zeros(1))[0] == pytest.approx(20.5 / 101)


def test_the_theory_fit_knows_a_curve_of_its_own_family():
    known = bank(0)
    place = int(known.places[7])
    steps = np.arange(place - 24, place + 1, 4)
    for number in np.flatnonzero(known.worse[:, 7] == 1)[:2]:
        columns = {name: np.exp(known.logs[at, number, steps]) for at, name in enumerate(COLUMNS)}
        assert chance(known, np.exp(np.log(2) / 4 * steps), columns) > 0.5


def test_policies_pay_what_they_choose():
    """A curve with its least value at the fifth of ten budgets."""
    budgets = 2.0 ** np.arange(10)
    after = 1 + 0.2 * (np.arange(10) - 4) ** 2
    losses = np.stack([np.geomspace(9, 1, 10), np.geomspace(9, 8, 10), after, np.ones(10)])
    told = dict(zip(POLICIES, policies(budgets, losses, zero=2.0), strict=True))
    assert told["to the end"].regret == pytest.approx((after[-1] - 1) / 2) and told["to the end"].share == 1
    assert told["at the 3rd checkpoint"].regret == pytest.approx((after[2] - 1) / 2)
    every = told["rehearsal, every checkpoint"]
    assert every.regret == 0 and every.tunings == 6 and every.share == budgets[5] / budgets[-1]
    assert told["rehearsal, every 4th checkpoint"].regret == pytest.approx((after[3] - 1) / 2)
    assert told["forecast, nothing tuned"].tunings == 0
    assert told["forecast, tuned at each checkpoint"].regret <= told["to the end"].regret


@pytest.mark.parametrize(
    "given", [{"networks": 3}, {"transfers": 1}, {"transfers": 51}, {"stopped": 0}, {"resamples": 1}, {"seed": -1}]
)
def test_bad_input_is_refused(given):
    with pytest.raises(InvalidInput, match=next(iter(given))):
        experiment.run(Config(**given))
