"""The closed form of a mode against its differential equation, its limits, and its edges."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.dynamics.mode_flow import mode_flow

strengths = st.floats(0.05, 4.0)
starts = st.floats(1e-8, 3.0)


@given(starts, st.floats(-3.0, 4.0), st.floats(0.0, 4.0), st.floats(0.0, 10.0), st.sampled_from([-1.0, 1.0]))
def test_flow_solves_its_differential_equation(start, drive, stiffness, time, sign):
    # Growth is at most e^(4 * 4 * t); times are cut where an unbounded mode (stiffness 0) would leave float64's ease.
    time = min(time, 3.0 / (1 + abs(drive)))
    solution = solve_ivp(
        lambda _, s: 4 * np.abs(s) * (sign * drive - stiffness * s),
        (0, time),
        [sign * start],
        "DOP853",
        rtol=1e-12,
        atol=1e-25,
    )
    found = float(mode_flow(sign * start, sign * drive, stiffness, time))
    # The equation grows perturbations no faster than the solution itself, so the integrator's relative error is about
    # its tolerance times the number of its steps, at most some hundreds.
    np.testing.assert_allclose(found, solution.y[0, -1], rtol=1e-9)


@given(starts, strengths, st.floats(0.1, 4.0))
def test_flow_begins_at_the_start_and_ends_at_the_fixed_point(start, drive, stiffness):
    assert float(mode_flow(start, drive, stiffness, 0.0)) == start
    np.testing.assert_allclose(mode_flow(start, drive, stiffness, 1e6), drive / stiffness, rtol=1e-14)


def test_flow_takes_an_array_of_times_and_stays_finite_at_extremes():
    times = jnp.asarray([0.0, 1.0, 1e2, 1e4, 1e8])
    assert np.all(np.isfinite(mode_flow(jnp.asarray(1e-12), jnp.asarray(2.0), jnp.asarray(1.0), times)))
    np.testing.assert_array_equal(mode_flow(jnp.zeros(5), jnp.asarray([2.0]), jnp.asarray([1.0]), times), 0.0)
    decayed = mode_flow(jnp.asarray(0.5), jnp.asarray(-1.0), jnp.asarray(1.0), times)
    assert np.all(np.diff(decayed) <= 0)
    assert decayed[-1] == 0


def test_flow_through_zero_drive_is_continuous_with_a_finite_slope():
    values = [float(mode_flow(0.5, drive, 1.0, 2.0)) for drive in (-1e-9, 0.0, 1e-9)]
    np.testing.assert_allclose(values, 0.5 / (1 + 4 * 0.5 * 2.0), rtol=1e-8)
    slope = jax.grad(lambda drive: mode_flow(0.5, drive, 1.0, 2.0))(0.0)
    difference = (mode_flow(0.5, 1e-5, 1.0, 2.0) - mode_flow(0.5, -1e-5, 1.0, 2.0)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@given(strengths, st.floats(1e-8, 1e-2))
def test_half_of_a_mode_is_learned_at_the_rise_time(strength, start):
    rise = np.log(strength / start - 1) / (4 * strength)  # theory: ~ ln(sigma / s0) / (4 sigma)
    np.testing.assert_allclose(mode_flow(start, strength, 1.0, rise), strength / 2, rtol=1e-9)
