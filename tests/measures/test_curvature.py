"""Hessians, their spectra and their traces, against each other, finite polynomials, and samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from linsim import losses, network
from linsim.errors import InvalidInput
from linsim.measures import curvature
from linsim.tasks import LinearTask, random_basis

WIDTHS = [(3, 4), (4, 3, 2), (3, 2, 4, 2), (2, 3, 2, 3, 2)]  # depths 1 to 4, rectangular
HESSIAN, GAUSS_NEWTON = jax.jit(curvature.loss_hessian), jax.jit(curvature.gauss_newton)  # once a shape, for speed
seeds = st.integers(0, 2**16)
scales = st.floats(0.1, 2.0)


def problem(widths, seed, scale=1.0):
    """Random weights, target and covariance, nothing shared: far from any minimum."""
    rng = np.random.default_rng(seed)
    weights = tuple(
        jnp.asarray(scale * rng.standard_normal((rows, columns))) for columns, rows in itertools.pairwise(widths)
    )
    factor = rng.standard_normal((widths[0], widths[0]))
    return weights, rng.standard_normal((widths[-1], widths[0])), factor @ factor.T, rng


def product_of(layers, size):
    product = np.eye(size)
    for layer in layers:
        product = np.asarray(layer) @ product
    return product


@settings(max_examples=10)
@given(st.sampled_from(WIDTHS), seeds)
def test_hessian_is_the_second_derivative_along_any_direction(widths, seed):
    weights, target, covariance, rng = problem(widths, seed)
    flat, unravel = ravel_pytree(weights)
    direction = rng.standard_normal(flat.size) / np.sqrt(flat.size)

    def along(t):
        error = product_of(unravel(flat + t * direction), widths[0]) - target
        return np.trace(error @ covariance @ error.T)

    # Along a line L is a polynomial of degree 2L, so 2L + 1 points give it in full, and 2 c_2 is its second derivative.
    degree = 2 * len(weights)
    points = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = [along(t) for t in points]
    second = 2 * np.linalg.solve(np.vander(points, increasing=True), values)[2]
    found = direction @ HESSIAN(weights, target, covariance) @ direction
    # The system of degree 8 on these points has condition about 1e3: 1e3 roundings of the largest value.
    np.testing.assert_allclose(found, second, atol=1e-12 * max(values))


@settings(max_examples=10)
@given(st.sampled_from(WIDTHS), seeds)
def test_gauss_newton_is_the_hessian_without_the_residual(widths, seed):
    weights, _, covariance, _ = problem(widths, seed)
    product = product_of(weights, widths[0])
    found, exact = GAUSS_NEWTON(weights, covariance), HESSIAN(weights, product, covariance)
    # Two orders of the same sums of float64; rounding against the largest entry.
    np.testing.assert_allclose(found, exact, atol=1e-13 * np.abs(exact).max())
    assert np.linalg.eigvalsh(found)[0] >= -1e-13 * np.abs(exact).max() * len(found)  # semidefinite to rounding


@settings(max_examples=15)
@given(st.sampled_from(WIDTHS), seeds, scales)
def test_trace_of_the_hessian_is_that_of_gauss_newton_everywhere(widths, seed, scale):
    # Not only traces: each diagonal entry agrees away from minima, at every depth, as P is linear in each weight.
    weights, target, covariance, _ = problem(widths, seed, scale)
    hessian, gauss_newton = HESSIAN(weights, target, covariance), GAUSS_NEWTON(weights, covariance)
    np.testing.assert_allclose(np.diag(hessian), np.diag(gauss_newton), atol=1e-13 * np.abs(hessian).max())  # rounding
    # Sums of positive terms on both sides.
    np.testing.assert_allclose(curvature.trace_of_curvature(weights, covariance), np.trace(hessian), rtol=1e-12)
    np.testing.assert_allclose(curvature.fisher_trace(weights, covariance), np.trace(gauss_newton) / 2, rtol=1e-12)


@given(seeds)
@settings(max_examples=10)
def test_trace_of_two_layers_is_their_norms(seed):
    weights, _, covariance, _ = problem((4, 3, 2), seed)
    first, second = (np.asarray(weight) for weight in weights)
    coloured = 2 * (np.trace(covariance) * np.sum(second**2) + 2 * np.trace(first @ covariance @ first.T))
    np.testing.assert_allclose(curvature.trace_of_curvature(weights, covariance), coloured, rtol=1e-13)  # rounding
    white = 2 * (4 * np.sum(second**2) + 2 * np.sum(first**2))
    np.testing.assert_allclose(curvature.trace_of_curvature(weights), white, rtol=1e-13)
    np.testing.assert_allclose(np.trace(GAUSS_NEWTON(weights)), white, rtol=1e-13)


@settings(max_examples=15)
@given(st.sampled_from([1, 3]), seeds, scales, scales)
def test_blocks_hold_the_whole_spectrum_of_an_aligned_network(size, seed, outer_scale, inner_scale):
    rng = np.random.default_rng(seed)
    p, q = outer_scale * rng.standard_normal(size), inner_scale * rng.standard_normal(size)
    sigma, left, right = 2 * rng.standard_normal(size), random_basis(size, rng), random_basis(size, rng)
    weights = (jnp.asarray(q[:, None] * right.T), jnp.asarray(left * p))
    dense = np.linalg.eigvalsh(HESSIAN(weights, left @ np.diag(sigma) @ right.T))
    found = curvature.aligned_spectrum(p, q, sigma)
    assert found.shape == (2 * size**2,)
    # Symmetric eigenvalues are good to n roundings of the largest, n = 18.
    np.testing.assert_allclose(found, dense, atol=1e-13 * np.abs(dense).max())


@settings(max_examples=15)
@given(st.sampled_from([(3, 4, 3), (2, 2, 3, 2), (2, 3, 2, 2, 2)]), seeds, st.booleans())
def test_spectrum_of_a_balanced_minimum_is_its_formula_and_zeros(widths, seed, deficient):
    rng = np.random.default_rng(seed)
    size, depth = widths[0], len(widths) - 1
    sigma = np.sort(rng.uniform(0.2, 2.0, size))[::-1]
    sigma[-1] = 0.0 if deficient else sigma[-1]
    task = LinearTask.create(sigma, left=random_basis(size, rng), right=random_basis(size, rng))
    turns = [np.eye(size), *(random_basis(width, rng) for width in widths[1:-1]), np.eye(size)]
    aligned = network.aligned(widths, task, sigma)
    weights = tuple(jnp.asarray(turns[l + 1] @ np.asarray(weight) @ turns[l].T) for l, weight in enumerate(aligned))
    dense = np.linalg.eigvalsh(HESSIAN(weights, task.target))
    formula = np.ravel(curvature.balanced_minimum_spectrum(sigma, depth))
    padded = np.sort(np.concatenate([formula, np.zeros(dense.size - formula.size)]))
    # P = A only to rounding, so the Hessian is off by about d roundings of the largest eigenvalue.
    np.testing.assert_allclose(padded, dense, atol=1e-12 * dense[-1])
    np.testing.assert_allclose(curvature.top_curvature(sigma, depth), dense[-1], rtol=1e-12)


def test_sharpness_saturates_with_the_first_mode_and_the_trace_grows_with_every_one():
    sigma, size = np.asarray([2.0, 1.0, 0.5]), 3
    task = LinearTask.create(sigma)
    stages = [network.rank_checkpoint((size,) * 3, task, modes) for modes in range(4)]
    sharpness = [np.linalg.eigvalsh(HESSIAN(weights, task.target))[-1] for weights in stages[1:]]
    np.testing.assert_allclose(sharpness, 4 * sigma[0], rtol=1e-12)  # a 18 x 18 eigenvalue, to rounding
    traces = [float(curvature.trace_of_curvature(weights)) for weights in stages]
    np.testing.assert_allclose(np.diff(traces), 4 * size * sigma, rtol=1e-12)


def test_gradient_square_vanishes_while_the_fisher_trace_rises():
    # Stages on the way of one aligned network to its target, noiseless: s = 0.01 to sigma for every mode at once.
    task = LinearTask.create(np.asarray([2.0, 1.0, 0.5]))
    path = [network.aligned((3, 3, 3), task, fraction * task.strengths) for fraction in (0.01, 0.2, 0.5, 0.9, 1.0)]
    squares = [float(curvature.gradient_square(weights, task.target)) for weights in path]
    for weights, square, fraction in zip(path, squares, (0.01, 0.2, 0.5, 0.9, 1.0), strict=True):
        # Each layer's gradient is 2 (s - sigma) w on the diagonal with w^2 = s, two layers: 8 sum (s - sigma)^2 s.
        s = fraction * task.strengths
        np.testing.assert_allclose(square, 8 * np.sum((s - task.strengths) ** 2 * s), rtol=1e-12, atol=1e-28)
        # w^2 = s to rounding, so at the end the gradient is a rounding, and its square 1e-32 times some tens
        np.testing.assert_allclose(curvature.fisher_trace(weights), 6 * np.sum(s), rtol=1e-12)
    assert squares[-1] < 1e-28 < 1 < max(squares)


@pytest.mark.parametrize("widths", WIDTHS[2:])
def test_gradient_square_is_the_squared_gradient_of_the_mean_loss(widths):
    weights, target, covariance, _ = problem(widths, 3)
    residual = (product_of(weights, widths[0]) - target) @ covariance
    expected = 0.0
    for l in range(len(weights)):
        after = product_of(weights[l + 1 :], widths[l + 1])
        expected += np.sum((2 * after.T @ residual @ product_of(weights[:l], widths[0]).T) ** 2)
    np.testing.assert_allclose(curvature.gradient_square(weights, target, covariance), expected, rtol=1e-12)  # rounding


@pytest.mark.parametrize("widths", WIDTHS)
def test_empirical_fisher_is_the_mean_squared_gradient_of_examples(widths):
    weights, target, covariance, _ = problem(widths, 4)
    variances, directions = np.linalg.eigh(covariance)
    root, samples = jnp.asarray((directions * np.sqrt(variances)) @ directions.T), 100_000
    batch = losses.draw_batch(jax.random.key(0), jnp.asarray(target), root, jnp.asarray(3.0), samples)

    def squared(x, y):
        gradient = jax.grad(lambda w: losses.sampled_loss(w, x[None], y[None]) / 2)(weights)
        return ravel_pytree(gradient)[0] @ ravel_pytree(gradient)[0]

    values = np.asarray(jax.jit(jax.vmap(squared))(*batch))
    found = curvature.empirical_fisher_trace(weights, target, covariance, 3.0)
    assert abs(found - values.mean()) < 4 * values.std() / np.sqrt(samples)
    assert values.std() / np.sqrt(samples) < 0.02 * values.mean()  # else the line above would say little


@pytest.mark.parametrize("widths", WIDTHS[1:3])
def test_empirical_fisher_levels_off_at_the_noise_variance_times_fisher(widths):
    weights, _, covariance, _ = problem(widths, 5)
    product = product_of(weights, widths[0])
    learned = curvature.empirical_fisher_trace(weights, product, covariance, 0.3)
    np.testing.assert_allclose(
        learned, 0.09 * curvature.fisher_trace(weights, covariance), rtol=1e-12
    )  # R = 0 to rounding
    silent = curvature.empirical_fisher_trace(weights, product, covariance)
    assert silent < 1e-24  # a squared rounding, times numbers of at most 1e6


def test_traces_of_curvature_compile():  # the matrices are compiled in all tests above
    weights, target, covariance, _ = problem((2, 3, 2), 6)
    compiled = jax.jit(curvature.empirical_fisher_trace)(weights, target, covariance, 0.3)
    plain = curvature.empirical_fisher_trace(weights, target, covariance, 0.3)
    np.testing.assert_allclose(compiled, plain, rtol=1e-13)  # sums of positive terms in another order


GOOD = (jnp.ones((3, 4)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curvature.loss_hessian((), np.eye(2)), r"weights: got \[\]; allowed: a tuple of matrices"),
        (lambda: curvature.loss_hessian(GOOD, np.eye(2)), r"target: got shape \(2, 2\); allowed: shape \(2, 4\)"),
        (lambda: curvature.gauss_newton(GOOD, np.eye(3)), r"covariance: got shape \(3, 3\); allowed: shape \(4, 4\)"),
        (lambda: curvature.trace_of_curvature(GOOD[::-1]), r"weights: got W_1 \(2, 3\) then W_2 \(3, 4\); allowed"),
        (lambda: curvature.gradient_square(GOOD, np.eye(2)), "target: got shape"),
        (lambda: curvature.empirical_fisher_trace(GOOD, np.ones((2, 4)), None, -1.0), "label_noise: got -1.0"),
        (lambda: curvature.balanced_minimum_spectrum(np.ones(2), 0), "depth: got 0; allowed: an integer >= 1"),
        (lambda: curvature.top_curvature(np.ones(2), 0), "depth: got 0; allowed: an integer >= 1"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_a_spectrum_of_modes_that_do_not_match_is_refused():
    with pytest.raises(InvalidInput, match="strengths: got shapes"):
        curvature.aligned_spectrum(jnp.ones(2), jnp.ones(1), jnp.ones(2))
