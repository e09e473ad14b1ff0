"""Losses and regularisers against their definitions, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from linsim import losses, network
from linsim.spectra import power_covariance
from linsim.tasks import random_basis

RNG = np.random.default_rng(0)
WEIGHTS = network.gaussian((4, 6, 3), 1.0, jax.random.key(0))
TARGET = jnp.asarray(RNG.standard_normal((3, 4)))
COVARIANCE = jnp.asarray(power_covariance(random_basis(4, RNG), 1.0))


def test_population_loss_is_the_expected_squared_error():
    error = np.asarray(WEIGHTS[1] @ WEIGHTS[0]) - TARGET
    variances, directions = np.linalg.eigh(COVARIANCE)
    expected = sum(v * np.sum((error @ d) ** 2) for v, d in zip(variances, directions.T, strict=True))
    np.testing.assert_allclose(losses.population_loss(WEIGHTS, TARGET, COVARIANCE), expected, rtol=1e-13)
    np.testing.assert_allclose(losses.population_loss(WEIGHTS, TARGET), np.sum(error**2), rtol=1e-13)


def test_gradient_of_the_population_loss_carries_a_factor_two():
    # P = W for one layer, so dL/dW = 2 (W - A) S: the convention without 1/2.
    weight = jnp.ones((3, 4))
    (gradient,) = jax.grad(losses.population_loss)((weight,), TARGET, COVARIANCE)
    np.testing.assert_allclose(gradient, 2 * (weight - TARGET) @ COVARIANCE, rtol=1e-12)


def test_sampled_loss_averages_to_population_loss_plus_the_noise_floor():
    variances, directions = np.linalg.eigh(COVARIANCE)
    root = (directions * np.sqrt(variances)) @ directions.T
    noise, samples = jnp.asarray(0.3), 200_000
    batch = losses.draw_batch(jax.random.key(1), TARGET, jnp.asarray(root), noise, samples)
    errors = jax.vmap(lambda x, y: losses.sampled_loss(WEIGHTS, x[None], y[None]))(*batch)
    expected = losses.population_loss(WEIGHTS, TARGET, COVARIANCE) + 3 * noise**2
    standard_error = np.std(errors) / np.sqrt(samples)
    assert abs(losses.sampled_loss(WEIGHTS, *batch) - expected) < 4 * standard_error


def test_regularizers_are_their_formulas():
    anchor = jax.tree.map(lambda weight: weight + 0.5, WEIGHTS)
    size = sum(float(np.sum(np.asarray(weight) ** 2)) for weight in WEIGHTS)
    entries = sum(weight.size for weight in WEIGHTS)
    strength = jnp.asarray(3.0)
    np.testing.assert_allclose(losses.weight_decay(WEIGHTS, strength), 1.5 * size, rtol=1e-13)
    np.testing.assert_allclose(losses.weight_penalty(WEIGHTS, anchor, strength), 1.5 * entries * 0.25, rtol=1e-13)
    product, other = losses.end_to_end(WEIGHTS), losses.end_to_end(anchor)
    expected = 3 * np.sum((np.asarray(product) - np.asarray(other)) ** 2)
    np.testing.assert_allclose(losses.product_penalty(product, other, strength), expected, rtol=1e-13)
