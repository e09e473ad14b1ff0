"""Forecasts: of shapes alone, of what is missing, with what would help; and how its networks learn."""

import json

import numpy as np
import pytest

import linsim as ls
from linsim.forecasting import bins
from linsim.forecasting.columns import COLUMNS, OPTIONAL, features_of, shape_of
from linsim.forecasting.forecast import forecast_of, judged
from linsim.forecasting.forecaster import FILE, choice_of, stored
from linsim.forecasting.learning import examples, learn
from linsim.forecasting.prior import draw
from linsim.forecasting.simulation import simulate
from linsim.forecasting.table import Run

BUDGETS = np.array([100.0, 200, 400, 800, 1600, 3200])
FALLING = {"base_loss": np.array([9.0, 8.5, 6.0, 3.0, 1.5, 0.7])}
RISEN = FALLING | {"pretrain_loss_after": np.array([5.0, 3.0, 2.0, 2.5, 3.5, 4.5])}


def table(columns, budgets=BUDGETS):
    return {"budget": budgets} | columns


def test_only_shapes_count():
    plain = ls.forecast(table(RISEN))[0]
    scaled = ls.forecast(table({name: 7.3 * column for name, column in RISEN.items()}, 1e9 * BUDGETS))[0]
    assert scaled.probability == pytest.approx(plain.probability, abs=1e-9)
    assert scaled.verdict == plain.verdict
    assert scaled.turn.low == pytest.approx(1e9 * plain.turn.low)


def test_a_run_that_has_turned_is_called_harm_and_its_turn_is_found():
    told = ls.forecast(table(RISEN))[0]
    assert told.verdict == "harm" and told.probability[8] > 0.8
    assert told.turn.low <= 400 <= told.turn.high


def test_little_known_is_cannot_tell_with_what_would_help():
    told = ls.forecast(table(FALLING))[0]
    assert told.verdict == "cannot_tell" and told.helps in OPTIONAL and told.helps in told.reason


def test_no_loss_is_the_share_of_the_prior():
    told = ls.forecast({"budget": [2.3e12, 2.5e12, 3e12], "base_loss": [None] * 3})[0]
    assert told.verdict == "cannot_tell" and "base_loss" in told.reason
    assert list(told.probability.values()) == pytest.approx(stored().worse.tolist())
    assert told.turn.high is None


def test_curves_like_nothing_in_the_prior_are_not_told():
    wild = np.array([1.0, 1e4, 1e-1, 1e4, 1e-1, 1e4])
    told = ls.forecast(table({"base_loss": wild, "finetune_loss_before": wild[::-1]}))[0]
    assert told.verdict == "cannot_tell" and "resemble nothing" in told.reason


def test_verdicts_follow_the_levels():
    known, every = stored(), choice_of(COLUMNS)
    low, high = float(known.harmless[every]), float(known.harmful[every])
    assert 0 < low < 0.5 <= high < 1
    chances = (low / 2, (low + high) / 2, (1 + high) / 2)
    assert [judged(chance, 0.5, every, known)[0] for chance in chances] == ["no_harm", "cannot_tell", "harm"]


def test_json_has_the_keys_of_the_contract_and_no_others():
    told = ls.forecast(table(RISEN))[0].as_json()
    assert list(told) == ["run", "probability", "turn", "verdict", "reason"]
    assert list(told["probability"]) == ["2", "4", "8"]
    assert list(told["turn"]) == ["low", "median", "high", "level"]
    json.loads(json.dumps(told, allow_nan=False))


def test_the_artefact_is_small_and_holds_arrays_alone():
    from importlib.resources import files

    data = files("linsim.forecasting").joinpath(FILE)
    assert len(data.read_bytes()) < 2 * 2**20
    assert stored().members.first.dtype == np.float64


def test_what_is_missing_is_no_feature():
    whole = features_of(BUDGETS, RISEN)
    assert np.array_equal(features_of(BUDGETS, RISEN, ["base_loss"]), features_of(BUDGETS, FALLING))
    assert whole.shape == features_of(BUDGETS, FALLING).shape and not np.array_equal(
        whole, features_of(BUDGETS, FALLING)
    )


def test_a_power_law_has_its_slope():
    told = shape_of(BUDGETS, BUDGETS**-0.5)
    assert told[8] == pytest.approx(-0.5) and told[0] == pytest.approx(0.5 * 0.2)


def test_networks_learn_what_can_be_learned():
    """Some networks: better than the share by the log score on what they have not seen."""
    networks, fresh = draw(1200, seed=2), draw(300, seed=3)
    known = examples(networks.budgets, simulate(networks, 2), masks=1, seed=0)
    judge = examples(fresh.budgets, simulate(fresh, 3), masks=1, seed=0)
    members = learn(known, members=1, width=16, epochs=150, seed=0, bins=bins.BINS)
    chance = np.clip(members(judge.features)[0][:, -1], 1e-4, 1 - 1e-4)
    harm, share = judge.worse[:, -1], known.worse[:, -1].mean()

    def score(chance):
        return -np.mean(np.log(np.where(harm, chance, 1 - chance)))

    assert score(chance) < score(np.full(len(harm), share))
    again = learn(known, members=1, width=16, epochs=150, seed=0, bins=bins.BINS)
    assert np.allclose(again(judge.features)[0], members(judge.features)[0])


def test_another_forecaster_may_be_asked():
    known = stored()
    run = Run("a", BUDGETS, FALLING)
    strict = known._replace(harmful=np.full(8, 0.0), strangest=np.full(8, np.inf))
    assert forecast_of(run, strict).verdict == "harm"


def test_stopping_is_by_the_chance_of_its_horizon():
    rule = ls.Stopping()
    assert rule.stops(BUDGETS, RISEN) and not rule.stops(BUDGETS[:3], {"base_loss": FALLING["base_loss"][:3]})
    assert np.isnan(rule.foreseen(BUDGETS[:2], {"base_loss": [2.0, 1.0]}))
    assert ls.Stopping(chance=0.999).stops(BUDGETS, RISEN) is False
    with pytest.raises(ls.InvalidInput, match="horizon"):
        ls.Stopping(horizon=3)
    with pytest.raises(ls.InvalidInput, match="losses"):
        rule.foreseen(BUDGETS, {})


def test_the_ratio_is_the_mean_of_squared_factors():
    sigma, goal = np.array([3.0, 2.0, 1.0]), np.array([3.0, 4.0, 5.0])
    assert ls.loss_ratio(np.array([3.0, 0, 0]), sigma, goal) == pytest.approx((16 + 25) / 5)
    assert np.isinf(ls.loss_ratio(sigma, sigma, goal)) and np.isnan(ls.loss_ratio(sigma, sigma, sigma))
    assert ls.mode_slope(2.5) == pytest.approx(4.0)


def test_stopping_refuses_columns_that_it_does_not_know_and_mixed_units():
    with pytest.raises(ls.InvalidInput, match="losses: got 'finetune_loss_befor'"):
        ls.Stopping().foreseen([1, 2, 4], {"base_loss": [3.0, 2.0, 1.0], "finetune_loss_befor": [3.0, 2.0, 1.0]})
    with pytest.raises(ls.InvalidInput, match="budgets: got 1e.09 times the one before; allowed: at most 1000 times"):
        ls.Stopping().foreseen([100, 200, 200e9], {"base_loss": [3.0, 2.0, 1.0]})
