"""The mode of L balanced layers against numerical integration, exact integrals, its limits, and its derivatives."""

from functools import cache, partial
from itertools import product

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.errors import InvalidInput

EPS = float(np.finfo(np.float64).eps)

depths = st.integers(1, 8)
starts = st.one_of(st.floats(1e-3, 3.0), st.floats(10.0, 100.0), st.just(0.7))
drives = st.one_of(st.floats(-2.0, 2.0), st.sampled_from([0.0, 0.7, 1e-6, -1e-6]))
signs = st.sampled_from([-1.0, 1.0])


def flow(*arguments):
    """`deep_mode_flow` of numbers as arrays of one type, so that every depth compiles once."""
    *values, depth = arguments
    return float(deep_mode_flow(*(np.asarray(value, np.float64) for value in values), depth))


@jax.jit
def integrated(start, drive, stiffness, time, depth):
    """s(t) by integration of log |s|, which neither overflows nor crosses 0; the depth is data."""

    def slope(_, log_size, __):
        size = jnp.exp(log_size)
        return 2 * depth * size ** (1 - 2 / depth) * (jnp.sign(start) * drive - stiffness * size)

    control = diffrax.PIDController(rtol=1e-13, atol=1e-13)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Dopri8(),
        0.0,
        time,
        None,
        jnp.log(jnp.abs(start)),
        stepsize_controller=control,
        max_steps=100_000,
    )
    return jnp.sign(start) * jnp.exp(solution.ys[-1])


def speed(value, drive, stiffness, depth):
    """ds/dt."""
    return 2 * depth * np.abs(value) ** (2 - 2 / depth) * (drive - stiffness * value)


@given(depths, starts, signs, drives, st.floats(0.1, 2.0), st.floats(1e-3, 20.0))
def test_flow_solves_its_differential_equation(depth, start, sign, drive, stiffness, clock):
    time = clock / (2 * depth * stiffness * max(start, abs(drive) / stiffness) ** (2 - 2 / depth))
    if depth == 1:  # crosses 0, and is an exponential
        limit = sign * drive / stiffness
        expected = limit + (sign * start - limit) * np.exp(-2 * stiffness * time)
        found = flow(sign * start, sign * drive, stiffness, time, 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * EPS * (start + abs(limit)))
        return
    found = flow(sign * start, sign * drive, stiffness, time, depth)
    expected = float(integrated(sign * start, sign * drive, stiffness, time, float(depth)))
    # Errors of 1e-13 a step in log s grow, while a small mode rises, as its speed does: by (s / s_0)^(1 - 2/L), at most
    # 2000^(3/4) = 300; steps are some tens.
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("depth", [3, 4, 7, 8, 50])
def test_flow_takes_exactly_the_time_of_the_integral_at_any_scale(depth):
    # (start, end, a): rising from far below, falling from far above and close above, to zero, past none, the other way.
    cases = [
        (1e-12, 0.5, 1.0),
        (1e-12, 1 - 1e-6, 1.0),
        (0.9, 0.99999, 1.0),
        (30.0, 1.5, 1.0),
        (1.0 + 1e-6, 1.0 + 1e-9, 1.0),
        (1e6, 2.0, 1e-3),
        (3.0, 0.1, -0.5),
        (1e3, 1e-9, -1e-4),
        (2.0, 1e-6, 0.0),
    ]
    for start, end, drive in cases:
        with mpmath.workdps(30):
            first, last = (mpmath.mpf(s) ** (mpmath.mpf(1) / depth) for s in (start, end))
            points = [first * (last / first) ** (mpmath.mpf(k) / 16) for k in range(17)]
            time = mpmath.quad(lambda y, a=drive: 1 / (2 * y ** (depth - 1) * (a - y**depth)), points)
        found = flow(start, drive, 1.0, float(time), depth)
        # s moves by speed x t x EPS where t is rounded, and by that again for each of the roundings on the way.
        moved = abs(speed(end, drive, 1.0, depth)) * float(time) * EPS
        assert abs(found - end) <= 32 * (moved + EPS * end), (start, end, drive, found)


@given(depths, starts, signs, drives, st.floats(0.1, 2.0))
def test_flow_begins_at_the_start_and_ends_at_the_fixed_point(depth, start, sign, drive, stiffness):
    assert flow(sign * start, drive, stiffness, 0.0, depth) == sign * start
    # From 1e-3 the slowest mode here, towards 1e-6 / 2 at L = 8, needs 1e12; 0 is reached as a power of the time.
    limit = drive / stiffness if depth == 1 or sign * drive > 0 else 0.0
    found = flow(sign * start, drive, stiffness, 1e40, depth)
    np.testing.assert_allclose(found, limit, rtol=16 * EPS, atol=1e-20)


@given(depths, starts, signs, drives, st.floats(0.1, 2.0), st.floats(0.0, 0.1), st.floats(0.0, 0.1))
def test_flow_in_two_pieces_is_the_flow_in_one(depth, start, sign, drive, stiffness, first, second):
    middle = flow(sign * start, drive, stiffness, first, depth)
    twice = flow(middle, drive, stiffness, second, depth)
    once = flow(sign * start, drive, stiffness, first + second, depth)
    # The stop rounds s, which then moves as its speed: rounding times d ln(speed) along the way, at most
    # 2 L s^(1 - 2/L) |a| t < 16 * 20 * 2 * 0.1. Values that pass 0 (L = 1) keep the size that they had.
    np.testing.assert_allclose(twice, once, rtol=256 * EPS, atol=8 * EPS * start if depth == 1 else 0)


def test_two_layers_are_the_logistic_curve_and_any_shapes_broadcast():
    times = np.linspace(0, 3, 5)[:, None]
    start, drive = np.asarray([0.1, -0.3]), np.asarray([1.0, 0.5])
    found = deep_mode_flow(start, drive, 1.0, times, 2)
    # Compiled or vectorised, operations may be fused and round otherwise.
    np.testing.assert_allclose(found, mode_flow(start[None], drive[None], 1.0, times), rtol=8 * EPS)
    deep = deep_mode_flow(start, drive, 1.0, times, 3)
    each = [[flow(s, a, 1.0, t, 3) for s, a in zip(start, drive, strict=True)] for t in times[:, 0]]
    np.testing.assert_allclose(deep, each, rtol=64 * EPS)


def test_fifty_layers_rise_at_once_when_their_turn_has_come():
    # ds/dt = 2 L a s^(2 - 2/L) alone is infinite at t = s_0^(2/L - 1) / (2 (L - 2) a); before, no target is felt.
    escape = 1e-6 ** (2 / 50 - 1) / (2 * 48)
    before, after, much_later = (flow(1e-6, 1.0, 1.0, share * escape, 50) for share in (0.9, 1.1, 10.0))
    np.testing.assert_allclose(before, 1e-6 * 0.1 ** (-1 / 0.96), rtol=1e-4)  # a share s of the gradient, 1e-5
    assert 1 - 1e-12 < after <= 1
    assert much_later == 1


def test_a_single_layer_forgets_a_start_far_from_its_target_to_the_last_digit():
    np.testing.assert_allclose(flow(1e6, 1.0, 1.0, 50.0, 1), 1.0, rtol=4 * EPS)
    np.testing.assert_allclose(flow(1e6, 1.0, 1.0, 5.0, 1), 1 + (1e6 - 1) * np.exp(-10.0), rtol=16 * EPS)


def test_zero_stays_zero_and_a_target_below_all_scales_is_zero():
    assert flow(0.0, 1.0, 1.0, 1e3, 4) == flow(0.0, -1.0, 1.0, 1e3, 4) == 0
    for time in (0.0, 1e-3, 1.0, 1e6):
        expected = (0.5**-1.75 + 1.75 * 16 * time) ** (-1 / 1.75)
        for drive in (0.0, 1e-200):
            np.testing.assert_allclose(flow(0.5, drive, 1.0, time, 8), expected, rtol=8 * EPS)


def test_without_a_restoring_force_the_mode_follows_its_power_law():
    # ds/dt = 2 L a s^(2 - 2/L) with b = 0, theory 1.4 on an input direction that is fitted, not restored.
    for drive in (0.3, 0.0, -0.7):
        found = flow(0.5, drive, 0.0, 0.2, 4)
        np.testing.assert_allclose(found, (0.5**-0.5 - 0.5 * 8 * drive * 0.2) ** -2.0, rtol=8 * EPS)
    assert flow(0.5, 0.3, 0.0, 2.0, 4) == np.inf  # beyond the time at which it escapes, 2^(1/2) / (0.5 * 8 * 0.3)
    for stiffness in (0.0, 1e-15):
        np.testing.assert_allclose(flow(0.5, 0.3, stiffness, 2.0, 1), 0.5 + 2 * 0.3 * 2.0, rtol=32 * EPS)


@cache
def derivatives(depth):
    """Of the flow in its four arguments."""
    return jax.jit(jax.grad(partial(deep_mode_flow, depth=depth), argnums=(0, 1, 2, 3)))


@pytest.mark.parametrize("depth", [1, 4])
def test_derivatives_are_those_of_the_flow(depth):
    for start, drive in [(0.1, 1.0), (0.9, 1.0), (2.5, 1.0), (0.5, -0.7), (-0.4, -1.0), (0.6, 0.0), (0.5, 0.5)]:
        for time in (0.0, 0.05, 0.6):
            arguments = (start, drive, 1.0, time)
            found = derivatives(depth)(*arguments)
            value = flow(*arguments, depth)
            np.testing.assert_allclose(found[3], speed(value, drive, 1.0, depth), rtol=1e-13, atol=1e-15)
            for index in range(3):
                up, down = (
                    flow(*(x + step * (i == index) for i, x in enumerate(arguments)), depth) for step in (1e-4, -1e-4)
                )
                # The third derivative is of the order of 16^3 at most: 1e-8 / 6 of it, and EPS / 1e-4 of rounding.
                np.testing.assert_allclose(found[index], (up - down) / 2e-4, rtol=1e-5, atol=1e-7)


def test_derivatives_are_finite_where_arguments_vanish():
    points = product([0.0, 1e-12, 0.5, -0.5, 1.0], [0.0, 1.0, -0.5], [0.0, 1.0], [0.0, 1e-12, 0.1, 1e4])
    bounded = [point for point in points if abs(flow(*point, 4)) < 1e100]  # without stiffness some escape
    assert len(bounded) > 100
    for point in bounded:
        assert np.all(np.isfinite(derivatives(4)(*point))), point
        assert np.all(np.isfinite(derivatives(1)(*point))), point


def test_a_depth_that_is_no_positive_integer_is_refused():
    with pytest.raises(InvalidInput, match="depth: got 0; allowed: an integer >= 1"):
        deep_mode_flow(0.1, 1.0, 1.0, 1.0, 0)
