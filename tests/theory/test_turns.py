"""Turns of curves whose least value is known: place, interval, harm and excess, and what is not resolved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.errors import InvalidInput
from linsim.theory.turns import Criteria, doubtful, further, locate, material

BUDGETS = np.unique(np.geomspace(10, 10_000, 40).round().astype(int))
DENSE = np.unique(np.geomspace(10, 10_000, 5000).round().astype(int))


def test_a_curve_that_never_turns_has_no_inflection_and_no_harm():
    found = locate(BUDGETS, 1.0 / BUDGETS, scale=1.0)
    assert np.isnan(found.steps)
    assert (found.harm, found.excess, found.lowest) == (0, 0, BUDGETS[-1])
    assert not found.inside


@given(st.floats(30, 3000), st.floats(0.5, 3), st.floats(0.5, 3))
def test_place_and_least_value_are_found_between_budgets(turn, fall, rise):
    # L = x^-fall / fall + x^rise / rise with x = budget / turn has its least value 1 / fall + 1 / rise at the turn.
    def curve(budgets):
        x = budgets / turn
        return x**-fall / fall + x**rise / rise

    budgets = np.unique(np.geomspace(10, 10_000, 80).round().astype(int))
    found = locate(budgets, curve(budgets))
    assert found.resolved
    # A cubic spline is off by O(h^4) in value and O(h^3) in the place of the minimum, h = 0.09 in log budget.
    assert found.lowest == pytest.approx(turn, rel=0.02)
    assert found.least == pytest.approx(1 / fall + 1 / rise, rel=2e-3)
    assert found.harm == pytest.approx(curve(budgets[-1:])[0] / found.least - 1)
    assert found.inside and found.low <= found.lowest <= found.high
    level = 1.02 * found.least
    for end in (found.low, found.high):  # ends of the range, or where the curve crosses the level
        at_end = end in (BUDGETS[0], BUDGETS[-1])
        assert at_end or curve(np.array([end]))[0] == pytest.approx(level, rel=5e-3)


def test_on_a_plateau_the_answer_is_an_interval():
    found = locate(BUDGETS, np.maximum(0.5, np.abs(np.log(BUDGETS / 300)) ** 2), scale=10.0)
    # The curve is 0.5 from 148 to 608; with corners that budgets a fifth apart do not resolve, it is told within those.
    assert 145 < found.low < 175 and 575 < found.high < 615


@pytest.mark.parametrize("rise", [1e-12, 3e-8, 0.0099])
def test_a_rise_that_is_not_material_is_no_turn_but_has_a_lowest_point(rise):
    curve = np.maximum(100 / BUDGETS, 1.0)
    curve[-1] *= 1 + rise
    found = locate(BUDGETS, curve, scale=10.0)
    assert np.isnan(found.steps) and np.isfinite(found.lowest)
    assert found.harm == pytest.approx(rise, rel=1e-3)
    curve[-1] = 1.02
    assert np.isfinite(locate(BUDGETS, curve, scale=10.0).steps)
    assert np.isnan(locate(BUDGETS, curve, scale=30.0).steps)  # 2 % of next to nothing
    assert np.isfinite(locate(BUDGETS, curve, scale=30.0, criteria=Criteria(least_excess=1e-4)).steps)


def test_without_a_scale_harm_alone_decides():
    found = locate(BUDGETS, 1e-9 * (1 + np.log(BUDGETS / 300) ** 2))
    assert np.isfinite(found.steps) and np.isnan(found.excess)
    assert bool(material(np.array([0.5]), np.array([np.nan]), Criteria()))


def test_below_the_floor_losses_are_equal():
    curve = np.maximum(1 / BUDGETS**8.0, 1e-30)
    curve[-1] = 5e-29  # the wiggle of a loss that is nothing but rounding
    assert locate(BUDGETS, curve).harm > 1
    found = locate(BUDGETS, curve, floor=1e-24)
    assert found.harm == 0
    assert np.isnan(found.steps)


def test_what_is_unknown_is_in_no_number():
    curve = 1 + np.log(BUDGETS / 300) ** 2
    unknown = np.zeros(len(BUDGETS), bool)
    unknown[[3, 4]] = True
    wrong = np.where(unknown, -5.0, curve)  # a diverged lane may end on any number
    assert locate(BUDGETS, wrong, unknown).steps == pytest.approx(300, rel=0.01)
    unknown[-1] = True  # nothing is known of what the longest budget costs
    found = locate(BUDGETS, wrong, unknown)
    assert np.isnan([found.steps, found.harm, found.last, found.excess]).all() and not found.resolved
    assert found.lowest == pytest.approx(300, rel=0.01)
    nothing = locate(BUDGETS, np.full(len(BUDGETS), np.nan))
    assert np.isnan([nothing.steps, nothing.harm, nothing.lowest, nothing.low]).all()


def test_curves_known_at_different_budgets_are_told_as_if_alone():
    rng = np.random.default_rng(0)
    curves = 1 + np.log(BUDGETS[:, None] / rng.uniform(50, 2000, 6)) ** 2
    unknown = rng.random(curves.shape) < 0.2
    together = locate(BUDGETS, curves, unknown, scale=5.0)
    for number in range(6):
        alone = locate(BUDGETS, curves[:, number], unknown[:, number], scale=5.0)
        np.testing.assert_array_equal([each[number] for each in together], list(alone))


def test_a_single_budget_and_a_curve_that_rises_from_the_start():
    assert np.isnan(locate(BUDGETS[:1], np.ones(1)).steps)
    rising = locate(BUDGETS, BUDGETS.astype(float))
    assert rising.steps == BUDGETS[0] and not rising.inside


bumps = st.lists(st.tuples(st.floats(2, 10), st.floats(0.15, 2), st.floats(-1, 1)), min_size=1, max_size=4)


@given(bumps, st.floats(-0.3, 0.3))
def test_refined_until_nothing_is_doubtful_the_answer_is_that_of_very_many_budgets(parts, slope):
    def curve(budgets):
        x = np.log(budgets)
        return 5 + slope * x + sum(h * np.exp(-((x - c) ** 2) / (2 * w**2)) for c, w, h in parts)

    budgets = np.unique(np.geomspace(10, 10_000, 12).round().astype(int))
    for _ in range(20):
        counts = doubtful(budgets, curve(budgets), scale=5.0)
        if not counts.any():
            break
        budgets = np.union1d(budgets, further(budgets, counts, 12))
    found, true = (locate(each, curve(each), scale=5.0) for each in (budgets, DENSE))
    assert found.resolved
    assert found.least <= curve(budgets).min()
    # Bumps narrower than the gaps between 12 budgets, 0.63 in the logarithm, may be missed; these are as wide at least
    # as a quarter of that, and a miss of one changes the least value by less than its height, which is then < 2 %.
    assert found.least == pytest.approx(true.least, rel=0.02 if min(w for _, w, _ in parts) > 0.4 else 0.25)


def test_few_budgets_resolve_nothing_unless_they_are_neighbours():
    few = np.array([10, 100, 1000])
    assert not locate(few, np.array([3.0, 1.0, 2.0])).resolved
    assert locate(np.array([1, 2, 3]), np.array([3.0, 1.0, 2.0])).resolved
    assert doubtful(np.array([1, 2, 3]), np.array([3.0, 1.0, 2.0])).sum() == 0


def test_further_budgets_are_new_whole_steps_and_doubtful_intervals_come_first():
    budgets = np.array([10, 20, 21, 40, 80])
    counts = np.array([5, 7, 0, 1])
    added = further(budgets, counts, 2)
    assert added.tolist() == [14, 57]  # nothing lies between 20 and 21
    assert further(budgets, counts, 100).tolist() == [*range(11, 20), *range(41, 80)]
    assert len(further(budgets, np.zeros(4, int), 5)) == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scale": 0.0}, "scale"),
        ({"criteria": Criteria(tolerance=0.0)}, "tolerance"),
        ({"criteria": Criteria(tolerance=1.0)}, "tolerance"),
        ({"criteria": Criteria(least_harm=-0.1)}, "least_harm"),
        ({"criteria": Criteria(least_excess=1.5)}, "least_excess"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(given, field):
    with pytest.raises(InvalidInput, match=f"{field}: got"):
        locate(BUDGETS, np.ones(len(BUDGETS)), **given)


def test_budgets_and_losses_must_match():
    with pytest.raises(InvalidInput, match="budgets: got 39 values"):
        locate(BUDGETS[1:], np.ones(len(BUDGETS)))
