"""Averages of weights: steps of an average, its delays, and interpolated matrices."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.mitigations.averages import average_delay, averaged_mode, interpolated


@pytest.mark.parametrize("horizon", [0.01, 0.5, 8.0])
def test_an_average_of_steps_is_where_the_closed_form_says(horizon):
    w = m = 0.1
    rate = 2e-4
    for _ in range(round(2 / rate)):
        w, m = w - rate * 2 * (w * w - 1) * w, m + rate / horizon * (w - m)
    # Of steps of 2e-4: their curvature times the time, some e-folds.
    assert float(averaged_mode(0.01, 1.0, 2.0, horizon)) == pytest.approx(m**2, rel=3e-3)


def test_it_begins_at_the_start_and_ends_at_the_target_at_every_horizon():
    for horizon in (1e-20, 0.012, 0.014, 1.0, 1e4):
        assert float(averaged_mode(0.01, 1.0, 0.0, horizon)) == pytest.approx(0.01)
        assert float(averaged_mode(0.01, 1.0, 1e9, horizon)) == pytest.approx(1)
    first, second = averaged_mode(0.01, 1.0, 1.0, [1 / 78.001, 1 / 77.999])  # b = 20 lies between
    assert first == pytest.approx(second, rel=1e-5)


def test_the_delay_is_that_of_small_modes_and_more_at_half():
    # Times at which path and average pass a level, from a start far below.
    times = np.linspace(0, 40, 400_001)
    path, late = (averaged_mode(1e-12, 1.0, times, horizon) for horizon in (1e-20, 2.0))
    passed = [[np.interp(level, each, times) for each in (path, late)] for level in (1e-6, 0.5)]
    assert passed[0][1] - passed[0][0] == pytest.approx(float(average_delay(1.0, 2.0)), rel=1e-3)
    assert passed[1][1] - passed[1][0] == pytest.approx(2.2045, rel=1e-3)  # by quadrature


def test_interpolated_weights_are_on_the_bound_where_factors_are_shared():
    before = np.array([2.0, 1.0, 0.5])
    for factors, on_bound in (([4, 4, 1], True), ([0, 0, 0], True), ([4, 2, 1], False)):
        after = before * factors
        for share in (0.2, 0.5, 0.9):
            s = interpolated(before, after, share)
            excess = np.linalg.norm(s - before) + np.linalg.norm(s - after) - np.linalg.norm(after - before)
            assert (abs(excess) < 1e-12) == on_bound


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: averaged_mode(0.0, 1.0, 1.0, 1.0), "start: got"),
        (lambda: averaged_mode(2.0, 1.0, 1.0, 1.0), "start / target: got"),
        (lambda: averaged_mode(0.1, 1.0, -1.0, 1.0), "time: got"),
        (lambda: averaged_mode(0.1, 1.0, 1.0, 1e6), "target * horizon: got"),
        (lambda: average_delay(1.0, -1.0), "horizon: got"),
        (lambda: interpolated(1.0, 2.0, 1.5), "share: got"),
    ],
)
def test_what_has_no_average_is_refused(unchecked, call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
