"""Inflection points located in curves whose minimum is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.errors import InvalidInput
from linsim.theory.inflection import locate

BUDGETS = np.unique(np.geomspace(10, 10_000, 40).round().astype(int))


def test_a_curve_that_never_turns_has_no_inflection_and_no_harm():
    found = locate(BUDGETS, 1.0 / BUDGETS)
    assert np.isnan(found.steps)
    assert found.harm == 0


@given(st.floats(30, 3000), st.floats(0.5, 3), st.floats(0.5, 3))
def test_the_minimum_is_found_between_budgets(turn, fall, rise):
    # L = x^-fall / fall + x^rise / rise with x = budget / turn has its minimum at the turn.
    x = BUDGETS / turn
    curve = x**-fall / fall + x**rise / rise
    found = locate(BUDGETS, curve)
    # A cubic spline is off by O(h^4) in value and O(h^3) in the place of the minimum, h = 0.18 in log budget.
    assert found.steps == pytest.approx(turn, rel=0.02)
    assert found.harm == pytest.approx(curve[-1] / curve.min() - 1)


def test_rounding_is_no_inflection():
    curve = np.maximum(1 / BUDGETS, 1e-3)
    curve[-1] *= 1 + 1e-12
    assert np.isnan(locate(BUDGETS, curve).steps)
    curve[-1] *= 1 + 1e-6
    assert np.isfinite(locate(BUDGETS, curve).steps)


def test_below_the_floor_losses_are_equal():
    curve = np.maximum(1 / BUDGETS**8.0, 1e-30)
    curve[-1] = 5e-29  # the wiggle of a loss that is nothing but rounding
    assert locate(BUDGETS, curve).harm > 1
    found = locate(BUDGETS, curve, floor=1e-24)
    assert found.harm == 0
    assert np.isnan(found.steps)


def test_diverged_lanes_are_kept_out_of_the_minimum_and_count_as_harm():
    curve = np.linspace(2, 1, len(BUDGETS))
    diverged = np.zeros(len(BUDGETS), bool)
    diverged[-5:] = True
    curve[-5:] = 1e-3  # a diverged lane may end on any number
    found = locate(BUDGETS, curve, diverged)
    assert found.steps == BUDGETS[-6]
    assert found.harm == np.inf
    everything = locate(BUDGETS, np.full(len(BUDGETS), np.nan))
    assert np.isnan(everything.steps)
    assert np.isnan(everything.harm)


def test_a_single_budget_and_a_curve_that_rises_from_the_start():
    assert np.isnan(locate(BUDGETS[:1], np.ones(1)).steps)
    assert locate(BUDGETS, BUDGETS.astype(float)).steps == BUDGETS[0]


def test_budgets_and_losses_must_match():
    with pytest.raises(InvalidInput, match="budgets: got 39 values"):
        locate(BUDGETS[1:], np.ones(len(BUDGETS)))
