"""Lowest points of curves whose minimum is known, and certificates that do not lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.theory.turning import lowest

GRID = np.linspace(0.0, 5.0, 40)


def search(curve, rounding=1e-14):
    """The lowest point of one curve."""
    points = lowest(lambda places, _: curve(places), GRID, curve(GRID)[None], rounding)
    return type(points)(*(each[0] for each in points))


@given(st.floats(0.3, 4.7), st.floats(0.2, 4))
def test_the_root_of_the_slope_is_found_and_bracketed(place, rise):
    # e^-x + e^(rise x) / rise has its minimum at 0.
    turn = search(lambda x: np.exp(-(x - place)) + np.exp(rise * (x - place)) / rise)
    # Off by h^2 L''' / 6 L'' = 1e-8 (rise - 1) / 6, and by what rounding of 1e-14 / h can hide in a slope of L'' x.
    assert float(turn.place) == pytest.approx(place, abs=1e-7)
    assert bool(turn.certified)
    assert float(turn.low) < place < float(turn.high)
    assert float(turn.high - turn.low) < 1e-2
    assert float(turn.value) == pytest.approx(1 + 1 / rise)


@pytest.mark.parametrize(("curve", "place"), [(lambda x: -x, 5.0), (lambda x: x, 0.0)])
def test_a_monotone_curve_has_no_certificate(curve, place):
    turn = search(curve)
    assert not bool(turn.certified)
    assert float(turn.place) == pytest.approx(place, abs=1e-9)


def test_a_turn_below_rounding_is_not_certified():
    assert bool(search(lambda x: 1e-6 * (x - 2.5) ** 2).certified)
    assert not bool(search(lambda x: 1 + 1e-6 * (x - 2.5) ** 2, rounding=1e-9).certified)


def test_of_two_minima_the_lower_is_taken():
    turn = search(lambda x: np.cos(3 * x) + 0.1 * x)
    first = (np.pi - np.arcsin(0.1 / 3) * 0) / 3  # near the first minimum of the cosine
    assert float(turn.place) == pytest.approx(first, abs=0.05)
    assert bool(turn.certified)


bumps = st.lists(st.tuples(st.floats(-0.5, 5.5), st.floats(0.4, 2), st.floats(-1, 1)), max_size=3)


@given(bumps, st.floats(-0.5, 0.5), st.booleans())
def test_the_lowest_point_is_within_the_range_and_not_above_the_curve(parts, slope, flat):
    # Smooth curves with and without turns, with minima at both ends, and with a plateau.
    def curve(x):
        told = slope * x + sum(h * np.exp(-((x - c) ** 2) / (2 * w**2)) for c, w, h in parts)
        return np.maximum(told, 0.1) if flat else told + 0.0 * x

    point = search(curve)
    dense = np.asarray(curve(np.linspace(0.0, 5.0, 8001)))
    assert 0 <= float(point.place) <= 5
    assert float(point.value) <= min(dense[0], dense[-1]) + 1e-12
    # Minima 0.13 apart, as the grid is, are one of these curves' width of 0.4 at least: no lower one is missed by more
    # than the curvature, at most 3 / 0.4^2 for three bumps, times half the squared distance of 0.13 / 2.
    # The dense grid misses the minimum by half its spacing of 6.2e-4: 0.92e-6 likewise.
    assert dense.min() - 1e-6 <= float(point.value) <= dense.min() + 0.04
    if bool(point.certified):
        assert 0 <= float(point.low) < float(point.high) <= 5


@pytest.mark.parametrize("slope", [-1.0, 1.0, -1e-3, 1e-3])
def test_what_only_falls_or_rises_has_its_lowest_point_at_an_end_and_no_certificate(slope):
    point = search(lambda x: slope * x)
    assert float(point.place) == (5.0 if slope < 0 else 0.0)
    assert float(point.value) == min(5 * slope, 0.0)
    assert not bool(point.certified)


def test_many_curves_at_once_are_each_found_as_alone():
    places = np.asarray([-1.0, 0.7, 2.5, 4.2, 7.0])  # of the minimum, those at the ends outside the range

    def curves(at, which):
        return (at - places[which]) ** 2

    values = curves(GRID[None], np.arange(5)[:, None])
    together = lowest(curves, GRID, values, 1e-14)
    np.testing.assert_allclose(together.place, np.clip(places, 0, 5), atol=1e-8)
    np.testing.assert_array_equal(together.certified, [False, True, True, True, False])
    for number in range(5):
        alone = lowest(lambda at, _, n=number: curves(at, n), GRID, values[number : number + 1], 1e-14)
        assert [each[0] for each in alone] == [each[number] for each in together]
