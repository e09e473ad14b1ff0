"""Efforts, lines and bounds against brute force: integration of modes, search over budgets, drawn data."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from linsim.errors import InvalidInput
from linsim.theory.data.effort import best_budget, effort_to_level, last_loss_bounds, level_of_line, overwriting_index
from linsim.theory.stages import critical_effort


def flowed(start, goal, effort):
    """A mode in units of its strength after v sigma T, by Runge-Kutta."""
    return solve_ivp(lambda _, s: 4 * s * (goal - s), (0, effort), [start], "DOP853", rtol=1e-10, atol=1e-13).y[0, -1]


@pytest.mark.parametrize("factor", [2.5, 4.0, 8.0])
def test_the_line_is_where_a_mode_has_twice_its_strength(factor):
    kappa = np.log(2 * (factor - 1) / (factor - 2)) / (4 * factor)
    assert critical_effort(2, np.asarray(factor)) == pytest.approx(kappa)
    assert flowed(1.0, factor, kappa) == pytest.approx(2)
    # At the level of the line it is there: (c - 2) / (c - 1) of the way is left.
    assert float(level_of_line(factor)) == pytest.approx(((factor - 2) / (factor - 1)) ** 2)
    assert float(effort_to_level(level_of_line(factor), factor)) == pytest.approx(kappa)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("factor", [1.5, 4.0])
def test_the_effort_to_a_level_leaves_that_level(level, factor):
    after = flowed(1.0, factor, float(effort_to_level(level, factor)))
    assert ((factor - after) / (factor - 1)) ** 2 == pytest.approx(level)


def test_nothing_is_to_do_for_the_whole_loss():
    assert float(effort_to_level(1.0, 4.0)) == 0
    bounds = last_loss_bounds(1.0)
    assert float(bounds.least) == float(bounds.most) == 0


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_index_is_where_reach_is_kappa(exponent):
    index = float(overwriting_index(2.0, exponent, 0.4, 4.0))
    assert 2.0 * index**-exponent * 0.4 == pytest.approx(np.log(3) / 16)
    assert float(overwriting_index(2.0, exponent, 0.8, 4.0)) == pytest.approx(index * 2 ** (1 / exponent))


@pytest.mark.parametrize(("effort", "factor", "start"), [(0.05, 4.0, 1e-3), (0.2, 1.5, 1e-2), (0.01, 6.0, 1e-4)])
def test_the_best_budget_is_that_of_a_search(effort, factor, start):
    stated = float(best_budget(effort, factor, start))
    budgets = stated * np.linspace(0.8, 1.2, 41)
    losses = [(flowed(flowed(start, 1.0, each), factor, effort) - 1) ** 2 for each in budgets]
    assert int(np.argmin(losses)) == 20
    assert losses[20] < 1e-12


def test_a_budget_that_is_best_before_it_begins_is_negative():
    assert float(best_budget(1.0, 4.0, 0.9)) < 0


def test_bounds_hold_on_drawn_data_and_are_reached():
    rng, margin = np.random.default_rng(0), []
    for _ in range(200):
        modes = rng.integers(1, 6)
        strengths, variances, factors = (
            rng.uniform(0.2, 2, modes),
            rng.uniform(0.1, 3, modes),
            rng.uniform(0.2, 6, modes),
        )
        time = 10 ** rng.uniform(-2, 0.5)
        grown = np.exp(-4 * variances * factors * strengths * time)
        after = factors * strengths / (1 + (factors - 1) * grown)
        gaps = variances * ((factors - 1) * strengths) ** 2
        level = np.sum(variances * (after - factors * strengths) ** 2) / gaps.sum()
        base = np.sum(variances * (after - strengths) ** 2) / gaps.sum()
        bounds = last_loss_bounds(max(float(level), 1e-60))
        assert bounds.least - 1e-12 <= base <= bounds.most + 1e-12
        margin.append(base - bounds.least)
        if modes == 1:
            assert margin[-1] == pytest.approx(0, abs=1e-12)
    # One mode done and another, a thousandfold slower, not begun.
    weights = np.array([0.7, 0.3])
    left = np.array([0.0, 1.0])
    assert weights @ (1 - left) ** 2 == pytest.approx(float(last_loss_bounds(weights @ left**2).most))


@pytest.mark.parametrize(
    "call",
    [
        lambda: overwriting_index(1.0, 1.0, 0.4, 2.0),
        lambda: overwriting_index(1.0, 0.0, 0.4, 4.0),
        lambda: best_budget(0.1, 1.0, 0.1),
        lambda: best_budget(0.1, 4.0, 1.0),
        lambda: effort_to_level(0.0, 4.0),
        lambda: level_of_line([3.0, 1.0]),
        lambda: last_loss_bounds(1.1),
    ],
)
def test_numbers_outside_their_domains_are_refused(call):
    with pytest.raises(InvalidInput):
        call()
