"""Expected losses under noise against brute force, samples, and training."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim import losses, network
from linsim.errors import InvalidInput
from linsim.measures import sensitivity
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, random_basis
from linsim.theory import prices

# Few enough weights that every pattern of signs can be listed: 2^n patterns.
SHAPES = [(2, 2), (2, 1, 3), (2, 1, 2, 1, 1)]
# Rectangular everywhere, too many weights to list.
WIDTHS = [(5, 4, 3), (3, 6, 2), (3, 4, 4, 2, 3)]
seeds = st.integers(0, 2**16)
scales = st.floats(1e-3, 2.0)
strengths = st.floats(0.05, 4.0)


def problem(widths, seed):
    """Random weights, target and covariance, nothing shared; all in NumPy."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths)]
    factor = rng.standard_normal((widths[0], widths[0]))
    return weights, rng.standard_normal((widths[-1], widths[0])), factor @ factor.T, rng


def loss_of(weights, target, covariance):
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return np.einsum("...oi,ij,...oj->...", product - target, covariance, product - target)


def jaxed(weights):
    return tuple(jnp.asarray(weight) for weight in weights)


@settings(max_examples=30)
@given(st.sampled_from(SHAPES), seeds, st.lists(scales, min_size=4, max_size=4), st.booleans())
def test_expected_loss_is_the_mean_over_every_pattern_of_signs(widths, seed, drawn, by_rows):
    # L is a quadratic polynomial in each single weight, so its mean over independent signs +-gamma_l, of which all
    # 2^n patterns can be listed, is its mean over Gaussian noise of the same variance: an exact check without samples.
    weights, target, covariance, rng = problem(widths, seed)
    gammas = drawn[: len(weights)]
    if by_rows:  # a scale of its own for every output unit, or none
        gammas = [gamma * rng.integers(0, 4, len(weight)) for gamma, weight in zip(gammas, weights, strict=True)]
    signs = np.asarray(list(itertools.product([-1.0, 1.0], repeat=sum(weight.size for weight in weights))))
    parts = np.split(signs, np.cumsum([weight.size for weight in weights])[:-1], axis=1)
    columns = [np.reshape(gamma, (-1, 1)) for gamma in gammas]
    noisy = [w + g * part.reshape(-1, *w.shape) for w, g, part in zip(weights, columns, parts, strict=True)]
    values = loss_of(noisy, target, covariance)
    found = sensitivity.expected_loss(jaxed(weights), target, gammas, covariance)
    # A sum of 2^n positive terms of float64 is good to n roundings, each term to some tens more.
    np.testing.assert_allclose(found, values.mean(), rtol=1e-12)
    increase = sensitivity.expected_increase(jaxed(weights), gammas, covariance)
    # The brute force subtracts losses as large as the largest pattern's: that many roundings, absolutely.
    np.testing.assert_allclose(
        increase, values.mean() - loss_of(weights, target, covariance), atol=1e-13 * values.max()
    )


@pytest.mark.parametrize("widths", WIDTHS[1:])
def test_expected_loss_is_the_mean_over_gaussian_noise(widths):
    weights, target, covariance, rng = problem(widths, 0)
    gammas, samples = 0.1 + 0.1 * np.arange(len(weights)), 100_000
    noisy = [w + g * rng.standard_normal((samples, *w.shape)) for w, g in zip(weights, gammas, strict=True)]
    values = loss_of(noisy, target, covariance)
    found = sensitivity.expected_loss(jaxed(weights), target, gammas, covariance)
    assert abs(found - values.mean()) < 4 * values.std() / np.sqrt(samples)


@settings(max_examples=15)
@given(st.sampled_from(WIDTHS[:2]), seeds, scales, scales)
def test_orders_of_two_layers_add_up_to_the_increase(widths, seed, first, second):
    weights, _, covariance, _ = problem(widths, seed)
    for given_covariance, S in ((None, np.eye(widths[0])), (covariance, covariance)):
        orders = sensitivity.two_layer_increase(jaxed(weights), (first, second), given_covariance)
        total = sensitivity.expected_increase(jaxed(weights), (first, second), given_covariance)
        # Sums of positive terms on both sides: some tens of roundings.
        np.testing.assert_allclose(sum(orders), total, rtol=1e-13)
        rows = first * np.arange(widths[1]), second * np.arange(widths[2])
        by_rows = sensitivity.two_layer_increase(jaxed(weights), rows, given_covariance)
        total = sensitivity.expected_increase(jaxed(weights), rows, given_covariance)
        np.testing.assert_allclose(sum(by_rows), total, rtol=1e-13)
        # Noise on one layer alone leaves the quadratic order only.
        alone = [
            sensitivity.expected_increase(jaxed(weights), only, given_covariance)
            for only in ((first, 0.0), (0.0, second))
        ]
        np.testing.assert_allclose(orders.quadratic, sum(alone), rtol=1e-13)
        np.testing.assert_allclose(
            orders.quartic, (first * second) ** 2 * widths[2] * widths[1] * np.trace(S), rtol=1e-13
        )


def test_a_tiny_increase_keeps_its_digits():
    # 1e-9 of noise raises a loss of order 10 by order 1e-16 of it: a difference of losses would be rounding only.
    weights, _, covariance, _ = problem((5, 4, 3), 1)
    found = sensitivity.expected_increase(jaxed(weights), 1e-9, covariance)
    first, second = weights
    leading = 1e-18 * (np.trace(covariance) * np.sum(second**2) + 3 * np.trace(first @ covariance @ first.T))
    # The quartic order is 1e-18 of the quadratic one: the rest is rounding.
    np.testing.assert_allclose(found, leading, rtol=1e-13)


@settings(max_examples=20)
@given(st.sampled_from([(4, 3), *WIDTHS]), seeds, st.floats(0.01, 1.0), st.floats(-3, 3))
def test_relative_noise_sees_no_rescaling_of_layers(widths, seed, relative, power):
    weights, target, covariance, rng = problem(widths, seed)
    factors = 10 ** rng.uniform(-1, 1, len(weights))
    rescaled = [factor * weight for factor, weight in zip(factors, weights, strict=True)]

    def increase(layers):
        return sensitivity.expected_increase(
            jaxed(layers), sensitivity.relative_scales(jaxed(layers), relative), covariance
        )

    np.testing.assert_allclose(increase(rescaled), np.prod(factors**2) * increase(weights), rtol=1e-12)
    sizes = [np.sqrt(np.mean(weight**2)) for weight in weights]
    found = sensitivity.relative_scales(jaxed(weights), [relative] * len(weights))
    np.testing.assert_allclose(found, relative * np.asarray(sizes), rtol=1e-14)
    if len(weights) > 1:
        moved = [10**power * weights[0], weights[1] / 10**power, *weights[2:]]
        before, after = (
            sensitivity.expected_loss(jaxed(w), target, sensitivity.relative_scales(jaxed(w), relative), covariance)
            for w in (weights, moved)
        )
        np.testing.assert_allclose(after, before, rtol=1e-12)  # products of some tens of rounded factors


def test_absolute_noise_sees_the_rescaling_of_layers():
    first, second = jnp.eye(2), jnp.eye(2)
    plain, rescaled = (sensitivity.expected_increase((c * first, second / c), 0.1) for c in (1.0, 3.0))
    # gamma^2 2 (c^2 2 + 2 / c^2) + gamma^4 8, to rounding.
    np.testing.assert_allclose([plain, rescaled], [0.0808, 0.02 * (18 + 2 / 9) + 0.0008], rtol=1e-13)


def test_functions_of_weights_trace_under_jit_and_map_over_scales():
    weights, target, covariance, _ = problem((3, 6, 2), 2)
    weights, gammas = jaxed(weights), jnp.asarray([0.0, 0.1, 0.5])
    mapped = jax.jit(jax.vmap(lambda gamma: sensitivity.expected_loss(weights, target, gamma, covariance)))(gammas)
    single = [sensitivity.expected_loss(weights, target, float(gamma), covariance) for gamma in gammas]
    np.testing.assert_allclose(mapped, single, rtol=1e-13)  # the same sums in another order
    np.testing.assert_allclose(mapped[0], losses.population_loss(weights, jnp.asarray(target), jnp.asarray(covariance)))


@settings(max_examples=15)
@given(seeds, scales)
def test_noise_on_a_square_network_is_weight_decay(seed, gamma):
    weights, target, _, _ = problem((4, 6, 4), seed)
    G = prices.noise_price(gamma, 4, 4)
    noisy = sensitivity.expected_loss(jaxed(weights), target, gamma)
    decayed = losses.population_loss(jaxed(weights), jnp.asarray(target)) + losses.weight_decay(weights, G)
    np.testing.assert_allclose(noisy, decayed + gamma**4 * 4 * 6 * 4, rtol=1e-13)  # positive sums, tens of roundings


GOOD = (jnp.ones((3, 4)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity.expected_increase(GOOD, -0.1), "scales: got -0.1; allowed: finite numbers >= 0"),
        (lambda: sensitivity.expected_increase(GOOD, (0.1, float("nan"))), "scales: got nan; allowed: finite"),
        (lambda: sensitivity.expected_increase(GOOD, np.asarray([0.1, -1])), "scales: got -1.0; allowed: finite"),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1,) * 3),
            r"scales: got shape \(3,\); allowed: one number, or 2",
        ),
        (lambda: sensitivity.expected_increase((), 0.1), r"weights: got \[\]; allowed: a tuple of matrices"),
        (
            lambda: sensitivity.expected_increase(GOOD[::-1], 0.1),
            r"weights: got W_1 \(2, 3\) then W_2 \(3, 4\); allowed",
        ),
        (
            lambda: sensitivity.expected_increase(GOOD, 0.1, np.eye(3)),
            r"covariance: got shape \(3, 3\); allowed: \(4, 4\)",
        ),
        (
            lambda: sensitivity.expected_loss(GOOD, np.eye(2), 0.1),
            r"target: got shape \(2, 2\); allowed: shape \(2, 4\)",
        ),
        (lambda: sensitivity.two_layer_increase(GOOD[:1], 0.1), "weights: got 1 layers; allowed: two layers"),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1, np.ones(3))),
            r"scales: got shape \(3,\); allowed: one number, or shape \(2,\), one for each row of W_2",
        ),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1, np.asarray([0.1, -1]))),
            "scales: got .*; allowed: fin",
        ),
        (lambda: sensitivity.relative_scales(GOOD, -0.1), "relative: got -0.1"),
        (
            lambda: sensitivity.relative_scales(GOOD, (0.1,) * 3),
            r"relative: got shape \(3,\); allowed: one number, or 2",
        ),
        (lambda: sensitivity.relative_scales((), 0.1), r"weights: got \(\); allowed: at least one layer"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_covariances_of_tasks_are_accepted_as_they_are():
    task = LinearTask.create(
        np.ones(3), input_covariance=power_covariance(random_basis(3, np.random.default_rng(0)), 1.0)
    )
    weights = network.rank_checkpoint((3, 3, 3), task, 3)
    found = sensitivity.expected_loss(weights, task.target, 0.1, task.input_covariance)
    trace = np.trace(task.input_covariance)
    # P = A: gamma^2 (tr(S) 3 + 3 tr(S)) + gamma^4 9 tr(S), to rounding.
    np.testing.assert_allclose(found, trace * (0.01 * 6 + 1e-4 * 9), rtol=1e-12)
