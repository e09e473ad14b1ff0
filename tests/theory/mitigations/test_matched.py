"""Checkpoints at matched fine-tuning loss: against integration of both weights, and where nothing helps."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from linsim.errors import InvalidInput
from linsim.theory.mitigations.matched import _tuned, matched_excess
from linsim.theory.stages import tuned

SIGMA = np.array([2.0, 1.0, 0.4])


@pytest.mark.parametrize("goal", [[8.0, 4.0, 1.6], [2.0, 0.3, 1.0], [0.0, 1.0, 0.8]])
def test_losses_are_where_both_weights_take_them(goal):
    begun, goal, level = np.array([1.9, 0.7, 0.1]), np.array(goal), 0.1
    told = matched_excess(begun, SIGMA, goal, level)

    def velocity(_, state):
        first, second = state.reshape(2, 3)
        pull = 2 * (goal - first * second)
        return np.concatenate([pull * second, pull * first])

    start = np.tile(np.sqrt(begun), 2)
    end = solve_ivp(velocity, (0, float(told.time)), start, "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    reached, apart = end[:3] * end[3:], np.sum((goal - SIGMA) ** 2)
    assert np.sum((reached - goal) ** 2) == pytest.approx(level * apart, rel=1e-8)
    assert np.sum((reached - SIGMA) ** 2) == pytest.approx(told.excess * (1 - level**0.5) ** 2 * apart, rel=1e-8)


def test_its_search_takes_modes_where_the_closed_form_does():
    begun, goal = np.array([0.0, 0.5, 1.0, 2.0, 1.0]), np.array([1.0, 3.0, 0.0, -1.0, 0.5])
    for time in (0.0, 0.1, 3.0):
        np.testing.assert_allclose(_tuned(begun, goal, np.asarray(time)), tuned(begun, goal, 0.0, time), rtol=1e-12)


def test_a_level_that_is_not_reached_or_passed_already_is_told():
    assert matched_excess([1.0, 1.0], [1.0, 1.0], [-1.0, 2.0], 0.1).time == np.inf
    passed = matched_excess([0.1, 1.0], [1.0, 1.0], [0.0, 1.0], 0.5)
    assert np.isnan(passed.time) and np.isnan(passed.excess)


def test_one_pace_leaves_nothing_to_gain_and_others_do():
    assert matched_excess([1.0, 1.0], [1.0, 1.0], [3.0, 3.0], 0.2).excess == pytest.approx(1, abs=1e-9)
    rng = np.random.default_rng(0)
    sigma = np.sort(rng.uniform(0.2, 3, (300, 3)))[:, ::-1]
    goal = sigma * np.sort(rng.uniform(1.1, 6, (300, 3)))[:, ::-1]
    full, shrunk, early, muon = (
        matched_excess(each, sigma, goal, 0.1).excess
        for each in (sigma, 0.6 * sigma, sigma * [1, 0.99, 0.5], np.minimum(sigma, 0.6 * sigma[:, :1]))
    )
    assert np.all(shrunk > full - 1e-9) and np.all(early > full - 1e-9)
    assert np.mean(muon < full - 1e-6) > 0.3


@pytest.mark.parametrize("level", [0.0, 1.0, 2.0, np.nan])
def test_levels_outside_are_refused(level):
    with pytest.raises(InvalidInput, match="level: got"):
        matched_excess([1.0], [1.0], [2.0], level)


def test_one_task_and_one_number_are_refused():
    for arguments in (([1.0], [1.0], [1.0], 0.5), (1.0, 1.0, 2.0, 0.5)):
        with pytest.raises(InvalidInput):
            matched_excess(*arguments)
