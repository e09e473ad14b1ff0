"""Scores of records whose answer is known."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from experiments.monitors.account import first_run
from experiments.monitors.scores import (
    Family,
    alarm_scores,
    monitor_scores,
    paired_spreads,
    quantiles,
    spearman,
    spread_of_inflections,
    with_intervals,
)

BUDGETS = np.exp(0.5 * np.arange(20))


def records(alarm_of, *, transfers=12, thresholds=1, peaks=None, values=None):
    """Transfers of three cells, the first half harmful with inflections at checkpoints 8 to 12."""
    turning = 8 + np.arange(transfers) % 5
    harmful = np.repeat((np.arange(transfers) < transfers // 2)[:, None], 3, axis=1)
    alarms = np.asarray([[alarm_of(int(at), bool(bad)) for at, bad in zip(turning, harmful[:, 0], strict=True)]])
    shape = (1, transfers, 3)
    places = np.arange(20)[None, :, None]
    loss = 1 + 0.1 * np.abs(places - turning[:, None, None]) * np.ones((1, 1, 3))
    forgetting = np.broadcast_to(places * (1.0 + np.arange(transfers))[:, None, None], loss.shape)
    return Family(
        budgets=np.tile(BUDGETS, (transfers, 1)),
        inflection=np.where(harmful, BUDGETS[turning][:, None], np.nan),
        harmful=harmful,
        harmless=~harmful,
        loss=loss,
        forgetting=forgetting,
        base=np.tile(np.linspace(1, 0, 20), (transfers, 1)),
        alarms=np.broadcast_to(alarms[..., None, None], (*shape, thresholds)),
        peaks=np.ones(shape) if peaks is None else np.broadcast_to(peaks[None, :, None], shape),
        values=np.ones((*shape, 20)) if values is None else np.broadcast_to(values, (*shape, 20)),
        needs=7,
    )


def scores(given, sample=None):
    everything = np.arange(len(given.budgets)) if sample is None else sample
    found = alarm_scores(given)(everything) | monitor_scores(given)(everything)
    return {name: float(np.ravel(value)[0]) for name, value in found.items()}


def test_an_alarm_one_e_fold_before_each_inflection_has_lead_1_and_no_miss():
    found = scores(records(lambda at, bad: at - 2 if bad else 20))
    assert found["lead"] == pytest.approx(1)
    assert (found["in_time"], found["missed"], found["late"], found["false_alarm"]) == (1, 0, 0, 0)
    assert found["informedness"] == 1
    assert found["regret_of_harmful"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("shift", "kind", "lead"), [(-3, "early", 1.5), (-1, "timely", 0.5), (0, "timely", 0), (3, "late", -1.5)]
)
def test_alarms_are_early_timely_or_late(shift, kind, lead):
    found = scores(records(lambda at, bad: at + shift))
    assert found[kind] == 1 and sum(found[other] for other in ("early", "timely", "late", "missed")) == 1
    assert found["lead"] == pytest.approx(lead)
    assert found["false_alarm"] == 1 and found["informedness"] == (0 if lead >= 0 else -1)
    assert found["regret_of_harmful"] == pytest.approx(0.1 * abs(shift))


@pytest.mark.parametrize(("needs", "missed"), [(7, 0), (9, 0), (10, 2), (12, 4), (13, 5), (14, 6), (21, 6)])
def test_cells_that_turn_before_an_alarm_can_ring_are_out_of_reach(needs, missed):
    """Harmful transfers turn at checkpoints 8, 9, 10, 11, 12, 8, counted from 0; a first alarm comes at needs - 1."""
    given = dataclasses.replace(records(lambda at, bad: max(at - 1, needs - 1) if bad else 20), needs=needs)
    found = scores(given)
    assert np.count_nonzero(given.reachable) == 3 * (6 - missed) and not given.reachable[given.harmless].any()
    assert found["late"] == (pytest.approx(missed / 6) if needs < 21 else 0)
    assert found["informedness"] == pytest.approx(1 - missed / 6)
    expected = 1 if missed < 6 else np.nan
    assert found["in_time_of_reachable"] == pytest.approx(expected, nan_ok=True)
    assert found["informedness_of_reachable"] == pytest.approx(expected, nan_ok=True)


def test_false_and_late_alarms_count_against_the_reachable_as_against_all():
    found = scores(dataclasses.replace(records(lambda at, bad: at if at < 10 else at + 1), needs=10))
    assert found["false_alarm"] == 1 and found["in_time"] == 0.5  # those that turn at 8 and 9: 3 of 6
    assert found["in_time_of_reachable"] == pytest.approx(1 / 4)  # those at 9 of those at 9, 10, 11 and 12
    assert found["informedness_of_reachable"] == pytest.approx(1 / 4 - 1)


def test_spreads_are_compared_over_the_cells_in_which_both_ring():
    """The reference leads by 0.5 and 1.5 e-folds in turn; the other by twice that, in the first four transfers."""
    given = records(lambda at, bad: 20)
    leads = np.where(np.arange(12) < 4, 1 + 2 * (np.arange(12) % 2), 5)  # checkpoints, half an e-fold apart
    turning = 8 + np.arange(12) % 5
    beside = np.where(np.arange(12) < 4, turning - 2 * leads, 20)
    alarms = np.stack([turning - leads, beside])[:, :, None, None] * np.ones((1, 1, 3, 1), int)
    found = paired_spreads(dataclasses.replace(given, alarms=alarms), 0)(np.arange(12))
    np.testing.assert_allclose(found["spread_in_common"][1], 1.0)
    np.testing.assert_allclose(found["spread_above_halved"][:, 0], [0, 0.5], atol=1e-12)
    fewer = alarms.copy()
    fewer[0, 1:3] = 20  # what is left of both leads by 0.5 and 1.5 (reference), by 1 and 3 (other)
    found = paired_spreads(dataclasses.replace(given, alarms=fewer), 0)(np.array([0, 1, 2, 2, 3]))
    np.testing.assert_allclose(found["spread_above_halved"][:, 0], [0, 0.5], atol=1e-12)
    np.testing.assert_allclose(found["spread_in_common"][1], 1.0)
    fewer[0] = 20
    none = paired_spreads(dataclasses.replace(given, alarms=fewer), 0)(np.arange(12))
    assert np.isnan(none["spread_in_common"]).all()


def test_a_constant_monitor_misses_all_and_separates_nothing():
    found = scores(records(lambda at, bad: 20))
    assert (found["missed"], found["false_alarm"], found["informedness"]) == (1, 0, 0)
    assert found["separation"] == found["separation_of_values"] == 0.5
    assert found["correlation_along"] == found["correlation_across"] == 0
    assert np.isnan(found["lead"]) and np.isnan(found["base_loss_at_alarm"])


def test_separation_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    given = records(lambda at, bad: 20, peaks=rng.integers(0, 4, 12).astype(float))
    bad, fine = given.peaks[0][given.harmful], given.peaks[0][given.harmless]
    pairs = [(one > other) + 0.5 * (one == other) for one in bad for other in fine]
    assert scores(given)["separation"] == pytest.approx(np.mean(pairs))
    assert scores(records(lambda at, bad: 20, peaks=(np.arange(12) < 6).astype(float)))["separation"] == 1


def test_separation_of_values_takes_the_last_one_whatever_the_alarm_looks_at():
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, (1, 12, 3, 20)).astype(float)
    given = records(lambda at, bad: 20, peaks=-(np.arange(12) < 6).astype(float), values=values)
    bad, fine = values[0, ..., -1][given.harmful], values[0, ..., -1][given.harmless]
    pairs = [(one > other) + 0.5 * (one == other) for one in bad for other in fine]
    found = scores(given)
    assert found["separation_of_values"] == pytest.approx(np.mean(pairs)) and found["separation"] == 0
    bound = with_intervals(monitor_scores(given), 12, 50, 0)["separation_of_values"][0]
    assert bound[1] < bound[0] < bound[2]
    fewer = dataclasses.replace(given, harmful=given.harmful & False)
    assert np.isnan(scores(fewer)["separation_of_values"])


def test_correlations_of_a_monitor_that_is_forgetting_are_1_and_of_its_inverse_minus_1():
    given = records(lambda at, bad: 20)
    bent = dataclasses.replace(given, forgetting=np.sqrt(given.forgetting))
    told = np.moveaxis(bent.forgetting, 1, 2)[None]
    assert [scores(dataclasses.replace(bent, values=told))[name] for name in CORRELATIONS] == pytest.approx([1, 1])
    against = [scores(dataclasses.replace(bent, values=1 - told))[name] for name in CORRELATIONS]
    assert against == pytest.approx([-1, -1])
    clock = scores(dataclasses.replace(bent, values=np.broadcast_to(np.arange(1.0, 21), told.shape)))
    assert [clock[name] for name in CORRELATIONS] == pytest.approx([1, 0])  # rises, in all transfers alike


CORRELATIONS = ("correlation_along", "correlation_across")


def test_rank_correlation_is_that_of_scipy():
    one, other = np.random.default_rng(0).integers(0, 9, (2, 5, 30)).astype(float)
    expected = [spearmanr(*pair).statistic for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(spearman(one, other), expected)


def test_quantiles_pass_over_nan():
    values = np.random.default_rng(0).standard_normal((3, 30, 4))
    values[values > 1] = np.nan
    np.testing.assert_allclose(quantiles(values, (0.25, 0.5)), np.nanquantile(values, (0.25, 0.5), axis=1))
    np.testing.assert_allclose(quantiles(values[0, :, 0], (0.3,)), np.nanquantile(values[0, :, 0], (0.3,)))
    assert np.isnan(quantiles(np.full((1, 3, 1), np.nan), (0.5,))).all()


def test_intervals_are_over_transfers_so_that_copies_of_cells_do_not_narrow_them():
    rng = np.random.default_rng(0)
    given = records(lambda at, bad: int(rng.integers(5, 22)), transfers=30)
    cells = {"inflection": 1, "harmful": 1, "harmless": 1, "loss": 2, "forgetting": 2}
    cells |= {"alarms": 2, "peaks": 2, "values": 2}
    copies = {name: np.repeat(getattr(given, name), 2, axis=axis) for name, axis in cells.items()}
    twice = dataclasses.replace(given, **copies)
    one, other = (with_intervals(alarm_scores(which), 30, 200, 0)["in_time"][0, 0] for which in (given, twice))
    np.testing.assert_allclose(one, other)
    assert one[1] < one[0] < one[2]
    error = np.sqrt(one[0] * (1 - one[0]) / 15)  # binomial, of the 15 harmful transfers
    assert 3 * error < one[2] - one[1] < 5 * error  # 3.9 if normal


def test_the_spread_of_inflections_is_that_within_transfers():
    given = records(lambda at, bad: 20)
    spread = dataclasses.replace(given, inflection=given.inflection * np.exp([-0.5, 0.0, 0.5]))
    found = spread_of_inflections(spread)(np.arange(12))
    assert found["within"] == pytest.approx(0.5)  # 2 degrees of freedom a transfer: (0.25 + 0.25) / 2
    alone = dataclasses.replace(spread, harmful=spread.harmful & (np.arange(3) == 0))
    assert np.isnan(spread_of_inflections(alone)(np.arange(12))["within"])


def test_a_run_is_complete_at_its_last_flag():
    flags = np.array([1, 0, 1, 1, 0, 1, 1, 1, 1], bool)
    assert [first_run(flags, length) for length in (1, 2, 3, 4, 5, 10)] == [0, 3, 7, 8, 9, 9]
