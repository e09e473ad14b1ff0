"""The closed form of a mode against its differential equation, many digits, its limits, its edges, its derivatives."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.dynamics.modes.mode_flow import expm1_ratio, mode_flow, mode_layers, rise_time

EPS = float(np.finfo(np.float64).eps)

strengths = st.floats(0.05, 4.0)
starts = st.floats(1e-8, 3.0)
signs = st.sampled_from([-1.0, 1.0])
balances = st.one_of(st.just(0.0), st.floats(-3.0, 3.0))

flow = jax.jit(mode_flow)
slopes = jax.jit(jax.vmap(jax.grad(mode_flow, argnums=range(5))))


def exact(start, drive, stiffness, time, balance):
    """The docstring's formula in as many digits as mpmath is set to; both sides over R, or its limit at R = 0."""
    sign = -1 if start < 0 else 1
    size, a, b, t, l = (mpmath.mpf(x) for x in (sign * start, sign * drive, stiffness, time, balance))
    if size == 0 and l == 0:
        return mpmath.mpf(0)
    y = 2 * size + mpmath.sqrt(l**2 + 4 * size**2)
    root = mpmath.sqrt(4 * a**2 + b**2 * l**2)
    left = mpmath.exp(-2 * root * t)
    kept, spent = 1 + left, (1 - left) / root if root else 2 * t
    above, below = y * (kept + 2 * a * spent) + b * l**2 * spent, b * y * spent + kept - 2 * a * spent
    if below == 0 or (l and above == 0):
        return mpmath.inf  # unbounded without stiffness, beyond all digits
    return sign * (above / below - (l**2 * below / above if l else 0)) / 4


@given(starts, signs, st.floats(-3.0, 4.0), st.floats(0.0, 4.0), st.floats(0.0, 10.0), balances)
def test_flow_solves_its_differential_equation(start, sign, drive, stiffness, time, balance):
    # Growth is at most e^(4 * 4 * t); times are cut where an unbounded mode (stiffness 0) would leave float64's ease.
    time = min(time, 3.0 / (1 + abs(drive)))
    solution = solve_ivp(
        lambda _, s: 2 * np.sqrt(balance**2 + 4 * s**2) * (drive - stiffness * s),
        (0, time),
        [sign * start],
        "DOP853",
        rtol=1e-12,
        atol=1e-25,
    )
    found = float(flow(sign * start, drive, stiffness, time, balance))
    # The equation grows perturbations no faster than the solution itself, so the integrator's relative error is about
    # its tolerance times the number of its steps, at most some hundreds. A mode that crosses 0 keeps the absolute
    # error that it had where it was as large as it ever was, or as the balance.
    largest = max(np.max(np.abs(solution.y)), abs(balance)) if balance else 0.0
    np.testing.assert_allclose(found, solution.y[0, -1], rtol=1e-9, atol=1e-10 * largest)


GRID = (
    (0.0, 1e-300, 1e-12, 0.5, 2.0, 1e3, -1e-12, -0.5),
    (0.0, 1e-12, 0.7, 30.0, -1e-12, -0.7),
    (0.0, 0.3, 1.0, 5.0),
    (0.0, 1e-300, 1e-12, 0.3, 50.0, 1e4, 1e8),
    (0.0, 1e-100, 1e-12, 1e-3, 0.7, -1.3, 1e6),
)


@cache
def on_the_grid():
    """Points, the flow there, and its derivatives: compiled once for all tests."""
    points = np.asarray(list(product(*GRID)))
    return points, np.asarray(flow(*points.T)), np.stack(slopes(*points.T), axis=1)


def test_flow_has_all_digits_at_any_start_drive_stiffness_time_and_balance():
    points, found, _ = on_the_grid()
    with mpmath.workdps(400):
        for (start, drive, stiffness, time, balance), ours in zip(points, found, strict=True):
            theirs = float(exact(start, drive, stiffness, time, balance))
            if abs(theirs) > 1e290:
                continue
            # Exponents are rounded: e^(2 R t) is off by that many rounding errors, up to where s has arrived, 2 R t is
            # at most 700 + ln(1 / start). Where the drive turns a mode of balance l towards 0, s crosses it with an
            # absolute error of the size of l, or of the start; elsewhere every digit of s counts.
            rate = 2 * np.hypot(2 * drive, stiffness * balance) * time
            turned = max(abs(start), abs(balance)) if balance and drive * start < 0 else 0.0
            allowed = EPS * (16 + 2 * min(rate, 1400.0)) * max(abs(theirs), turned) + 1e-305
            assert abs(ours - theirs) <= allowed, (start, drive, stiffness, time, balance, ours, theirs)


def test_flow_at_time_zero_is_the_start_exactly_and_its_slope_is_the_differential_equation():
    points, values, slope = (array[on_the_grid()[0][:, 3] == 0] for array in on_the_grid())
    start, drive, stiffness, _, balance = points.T
    np.testing.assert_array_equal(values, start)
    # Some operations on either side, on the two terms and on what they multiply.
    speed = 2 * np.hypot(balance, 2 * start)
    allowed = 16 * EPS * speed * (np.abs(drive) + np.abs(stiffness * start)) + 1e-300
    assert np.all(np.abs(slope[:, 3] - speed * (drive - stiffness * start)) <= allowed)
    np.testing.assert_allclose(slope[:, 0], 1.0, rtol=8 * EPS)  # at start 0 too, from which no mode moves by itself


@given(starts, strengths, st.floats(0.1, 4.0), balances)
def test_flow_ends_at_the_fixed_point(start, drive, stiffness, balance):
    np.testing.assert_allclose(flow(start, drive, stiffness, 1e6, balance), drive / stiffness, rtol=16 * EPS)


@given(starts, st.floats(0.1, 4.0), st.floats(0.1, 4.0))
def test_flow_against_the_sign_of_the_start_ends_at_zero_when_balanced_and_beyond_it_when_not(start, drive, stiffness):
    assert float(flow(start, -drive, stiffness, 1e6, 0.0)) == 0
    np.testing.assert_allclose(flow(start, -drive, stiffness, 1e6, 0.5), -drive / stiffness, rtol=16 * EPS)


@given(starts, signs, st.floats(-3.0, 3.0), st.floats(0.1, 4.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), balances)
def test_flow_in_two_pieces_is_the_flow_in_one(start, sign, drive, stiffness, first, second, balance):
    middle = flow(sign * start, drive, stiffness, first, balance)
    twice, once = (
        float(flow(begin, drive, stiffness, time, balance))
        for begin, time in ((middle, second), (sign * start, first + second))
    )
    # The stop is rounded; what it may be amplified by is a change of e^(2 R t) at most, R t < 2 * hypot(3, 6) * 2.
    np.testing.assert_allclose(twice, once, rtol=1e-13, atol=EPS * 1e2 * max(start, abs(balance)))


@given(starts, signs, st.floats(-3.0, 4.0), st.floats(0.0, 4.0), st.floats(0.0, 1.0))
def test_a_small_balance_tends_to_none(start, sign, drive, stiffness, time):
    # With the drive against the start a balance moves s past 0, to about l e^(2 R t); 2 R t < 30 and l is 1e-40.
    limit, found = (float(flow(sign * start, drive, stiffness, time, balance)) for balance in (0.0, 1e-40))
    np.testing.assert_allclose(found, limit, rtol=16 * EPS, atol=1e-26)


@given(starts, strengths, st.floats(0.0, 2.0), st.floats(0.1, 3.0))
def test_input_variance_is_a_change_of_the_clock(start, strength, time, variance):
    # Theory 1.3 in its own form: c = sigma v, u = 2 t.
    grown = np.exp(4 * strength * variance * time)
    c = strength * variance
    expected = c * start * grown / (variance * start * (grown - 1) + c)
    np.testing.assert_allclose(flow(start, c, variance, time), expected, rtol=1e-13)  # exponents up to 48


def test_the_balance_is_conserved_by_the_layers_of_a_mode():
    for value, balance in product((0.0, 1e-300, 1e-12, -0.3, 5.0), (0.0, 1e-12, -0.7, 3.0, -1e6)):
        inner, outer = (float(layer) for layer in mode_layers(value, balance))
        np.testing.assert_allclose(inner * outer, abs(value), rtol=8 * EPS)
        np.testing.assert_allclose(outer**2 - inner**2, balance, rtol=8 * EPS, atol=8 * EPS * inner * outer)


def test_balanced_layers_are_equal_to_the_last_bit_and_so_never_cross_0():
    products = np.random.default_rng(0).uniform(0, 3, 1000)
    inner, outer = mode_layers(products, 0.0)
    np.testing.assert_array_equal(inner, outer)
    # By a difference of one bit a target of the other sign would be reached after this time.
    later = mode_flow(products, -2.0, 1.0, 50.0, (outer - inner) * (outer + inner))
    assert np.all(np.asarray(later) >= 0)


def test_flow_takes_an_array_of_times_and_stays_finite_at_extremes():
    times = jnp.asarray([0.0, 1.0, 1e2, 1e4, 1e8])
    assert np.all(np.isfinite(flow(1e-12, 2.0, 1.0, times)))
    np.testing.assert_array_equal(flow(0.0, 2.0, 1.0, times), 0.0)
    decayed = flow(0.5, -1.0, 1.0, times)
    assert np.all(np.diff(decayed) <= 0)
    assert decayed[-1] == 0


def test_derivatives_are_those_of_the_formula_in_many_digits_also_where_arguments_vanish():
    points = np.asarray(
        list(product((0.0, 1e-12, 0.5, -0.5), (0.0, 1e-9, 0.7, -0.7), (0.0, 1.0), (0.3, 2.0), (0.0, 1e-9, 0.7, -1.3)))
    )
    points = points[(points[:, 0] != 0) | (points[:, 4] != 0)]
    found = np.stack(slopes(*points.T), axis=1)
    with mpmath.workdps(60):
        for point, ours in zip(points, found, strict=True):
            for index, slope in enumerate(ours):
                theirs = mpmath.diff(lambda x, i=index, p=point: exact(*p[:i], x, *p[i + 1 :]), point[index])
                # Terms of the derivative are of order 1 + |l| + |s| here, times e^(2 R t) < 2e4 at most.
                np.testing.assert_allclose(slope, float(theirs), rtol=1e-11, atol=1e-13, err_msg=f"{point} {index}")


def test_derivatives_are_finite_wherever_the_value_is():
    _, values, found = on_the_grid()
    bounded = np.abs(values) < 1e150
    assert np.mean(bounded) > 0.9
    assert np.all(np.isfinite(found[bounded]))


@given(strengths, st.floats(1e-8, 1e-2))
def test_half_of_a_mode_is_learned_at_the_rise_time(strength, start):
    rise = float(rise_time(strength, start))
    np.testing.assert_allclose(rise, np.log(strength / start - 1) / (4 * strength), rtol=8 * EPS)
    # d ln s / dt = 2 sigma at half of the way, times a rounding error of the exponent, at most 21.
    np.testing.assert_allclose(flow(start, strength, 1.0, rise), strength / 2, rtol=64 * EPS)


def test_the_ratio_that_flows_are_written_in_is_accurate_on_both_sides_of_its_series():
    for x in (-1e3, -1.0, -1.0001e-5, -0.9999e-5, 0.0, 1e-12, 1e-4):
        theirs = float(mpmath.expm1(x) / x) if x else 1.0
        np.testing.assert_allclose(float(expm1_ratio(jnp.asarray(x))), theirs, rtol=4 * EPS)
        assert np.isfinite(jax.grad(expm1_ratio)(x))
