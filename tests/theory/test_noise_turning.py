"""The noise inflection against the closed time of one mode, and against matrices under noise."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.errors import InvalidInput
from linsim.measures.sensitivity import expected_loss
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.prices import NoiseCost, noise_price, turning_time


@given(st.floats(0.3, 3), st.floats(1e-8, 1e-2), st.floats(0.05, 1.8))
def test_a_single_mode_turns_at_its_closed_time(strength, start, share):
    price = share * strength
    found = noise_inflection(np.asarray([strength]), np.asarray([start]), price, 1e-3, 1e3)
    exact = float(turning_time(strength, start, price))
    if not np.isfinite(found.time):
        # The way on from sigma - G/2 to sigma costs (G/2)^2 of a loss of G sigma: less than harm that counts.
        assert share**2 / 4 < 1e-7
        return
    assert found.time == pytest.approx(max(exact, 1e-3), rel=1e-5)
    if exact > 2e-3:
        assert found.bracket[0] < exact < found.bracket[1]


def test_the_minimum_is_that_of_full_matrices_under_noise():
    strengths, starts, scale = np.asarray([3.0, 1.2, 0.5, 0.1]), np.full(4, np.exp(-8)), 0.2
    price = float(noise_price(scale, 4, 4))
    found = noise_inflection(strengths, starts, price, 1e-2, 1e2)
    layers = [np.diag(np.sqrt(starts))] * 2
    rate, losses = 2e-4, []
    for _ in range(30_000):
        losses.append(float(_noisy(layers, strengths, scale)))
        residual = layers[1] @ layers[0] - np.diag(strengths)
        layers = [layers[0] - 2 * rate * layers[1].T @ residual, layers[1] - 2 * rate * residual @ layers[0].T]
    best = int(np.argmin(losses))
    # Descent lags the flow by eta sigma = 6e-4 of the time.
    assert best * rate == pytest.approx(found.time, rel=5e-3)
    constant = scale**4 * 4**3
    assert losses[best] - constant == pytest.approx(found.loss, rel=1e-4)
    assert found.harm > 0


def test_under_relative_noise_the_minimum_is_that_of_full_matrices_too():
    strengths, starts, scale = np.asarray([3.0, 1.2, 0.5, 0.1]), np.full(4, np.exp(-8)), 0.4
    cost = NoiseCost.relative(scale, 4)
    found = noise_inflection(strengths, starts, cost.price, 1e-2, 6.0, cost.collective)
    layers = [np.diag(np.sqrt(starts))] * 2
    rate, losses = 2e-4, []
    for _ in range(30_000):
        inner, outer = (scale**2 * np.mean(layer**2) for layer in layers)
        residual = layers[1] @ layers[0] - np.diag(strengths)
        rise = 4 * inner * np.sum(layers[1] ** 2) + 4 * outer * np.sum(layers[0] ** 2) + inner * outer * 4**3
        losses.append(np.sum(residual**2) + rise)
        layers = [layers[0] - 2 * rate * layers[1].T @ residual, layers[1] - 2 * rate * residual @ layers[0].T]
    best = int(np.argmin(losses))
    # Descent lags the flow by eta sigma = 6e-4 of the time.
    assert best * rate == pytest.approx(found.time, rel=5e-3)
    assert losses[best] == pytest.approx(found.loss, rel=1e-4)
    assert found.harm == pytest.approx(losses[-1] / losses[best] - 1, rel=5e-3)  # likewise, of the mode on its way


def test_at_a_single_time_nothing_turns():
    found = noise_inflection(np.asarray([2.0]), np.asarray([1e-3]), 0.3, 2.0, 2.0, 0.1)
    learned = float(mode_flow(1e-3, 2.0, 1.0, 2.0))
    assert np.isnan(found.time)
    assert found.loss == pytest.approx((2 - learned) ** 2 + 0.3 * learned + 0.1 * learned**2, rel=1e-12)


def _noisy(layers, strengths, scale):
    """2.1 in NumPy; `expected_loss` at the end confirms it."""
    first, second = layers
    residual = second @ first - np.diag(strengths)
    sizes = np.sum(first**2) + np.sum(second**2)
    return np.sum(residual**2) + scale**2 * 4 * sizes + scale**4 * 4**3


def test_the_loss_used_above_is_the_exact_expectation():
    layers, strengths = [np.diag([0.3, 0.2, 0.1, 0.4])] * 2, np.asarray([3.0, 1.2, 0.5, 0.1])
    exact = float(expected_loss(tuple(map(jnp.asarray, layers)), np.diag(strengths), 0.2))
    assert float(_noisy(layers, strengths, 0.2)) == pytest.approx(exact, rel=1e-12)


def test_without_noise_there_is_no_inflection():
    found = noise_inflection(np.asarray([2.0, 1.0]), np.full(2, 1e-3), 0.0, 1e-2, 1e2)
    assert np.isnan(found.time)
    assert np.isnan(found.bracket[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": np.ones(3)}, "starts: got"),
        ({"strengths": np.asarray([1.0, -1.0])}, "strengths: got"),
        ({"price": -0.1}, "price: got -0.1"),
        ({"first": 0.0}, "first: got 0.0"),
        ({"last": 1e-3}, "last: got 0.001"),
        ({"collective": -0.1}, "collective: got -0.1"),
    ],
)
def test_bad_input_names_the_field(changes, message):
    given = {"strengths": np.ones(2), "starts": np.full(2, 1e-3), "price": 0.1, "first": 1e-2, "last": 1e2}
    with pytest.raises(InvalidInput, match=message):
        noise_inflection(**(given | changes))
