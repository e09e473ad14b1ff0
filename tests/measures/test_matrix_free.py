"""Curvature from products alone, against dense matrices and closed forms; and whether its errors are honest."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from linsim import losses
from linsim.errors import InvalidInput
from linsim.measures import curvature, matrix_free, products
from linsim.tasks import random_basis

WIDTHS = [(3, 4), (4, 3, 2), (3, 2, 4, 2), (2, 3, 2, 3, 2)]  # depths 1 to 4, rectangular
KEY = jax.random.key(0)
HESSIAN, GAUSS_NEWTON = jax.jit(curvature.loss_hessian), jax.jit(curvature.gauss_newton)


def problem(widths, seed, scale=1.0, coloured=True):
    rng = np.random.default_rng(seed)
    weights = tuple(
        jnp.asarray(scale * rng.standard_normal((rows, columns))) for columns, rows in itertools.pairwise(widths)
    )
    factor = rng.standard_normal((widths[0], widths[0]))
    covariance = factor @ factor.T if coloured else None
    return weights, scale * rng.standard_normal((widths[-1], widths[0])), covariance, rng


def dense_of(eigenvalues):
    """A matrix of these eigenvalues in a random basis."""
    basis = random_basis(len(eigenvalues), np.random.default_rng(0))
    return basis * np.asarray(eigenvalues) @ basis.T


def product_with(dense):
    """A matrix as a product on a tree of two leaves, and such a tree."""
    half = len(dense) // 2
    like = {"a": jnp.zeros(half), "b": jnp.zeros((len(dense) - half, 1))}
    unravel = ravel_pytree(like)[1]
    return lambda tree: unravel(dense @ ravel_pytree(tree)[0]), like


def symmetric(eigenvalues):
    return product_with(jnp.asarray(dense_of(eigenvalues)))


def as_matrix(matvec, like):
    flat, unravel = ravel_pytree(like)
    return jax.jit(jax.vmap(lambda v: ravel_pytree(matvec(unravel(v)))[0]))(jnp.eye(flat.size))


@pytest.mark.parametrize(("widths", "coloured"), list(zip(WIDTHS, (True, False, True, True), strict=True)))
def test_products_are_those_of_the_dense_matrices(widths, coloured):
    weights, target, covariance, _ = problem(widths, 1, coloured=coloured)
    hessian = HESSIAN(weights, target, covariance)
    gauss_newton = GAUSS_NEWTON(weights, covariance)
    tolerance = 1e-13 * np.abs(hessian).max() + 1e-13 * np.abs(gauss_newton).max()  # the same sums in another order
    found, half, other = jax.jit(
        lambda weights: (
            as_matrix(products.hessian_product(weights, target, covariance), weights),
            as_matrix(products.fisher_product(weights, covariance), weights),
            as_matrix(products.gauss_newton_product(weights, covariance), weights),
        )
    )(weights)
    np.testing.assert_allclose(found, hessian, atol=tolerance)
    np.testing.assert_allclose(other, gauss_newton, atol=tolerance)
    np.testing.assert_allclose(half, gauss_newton / 2, atol=tolerance)


def test_product_of_any_loss_is_that_of_its_hessian_on_the_batch():
    rng = np.random.default_rng(2)
    params = {"inner": jnp.asarray(rng.standard_normal((3, 2))), "bias": jnp.asarray(rng.standard_normal(2))}
    batch = jnp.asarray(rng.standard_normal((5, 3))), jnp.asarray(rng.standard_normal((5, 2)))

    def loss(params, batch):
        return jnp.mean((jnp.tanh(batch[0] @ params["inner"] + params["bias"][None]) - batch[1]) ** 2)

    flat, unravel = ravel_pytree(params)
    dense = jax.jit(jax.hessian(lambda vector: loss(unravel(vector), batch)))(flat)
    found = as_matrix(products.loss_product(loss, params, batch), params)
    np.testing.assert_allclose(found, dense, atol=1e-13 * np.abs(dense).max())  # rounding


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("widths", "coloured"), [(WIDTHS[0], True), (WIDTHS[1], False), (WIDTHS[2], True), (WIDTHS[3], True)]
)
def test_estimated_trace_is_the_closed_form_within_its_error(widths, coloured):
    weights, target, covariance, _ = problem(widths, 3, coloured=coloured)

    @jax.jit
    def estimates(weights):
        return (
            matrix_free.trace(products.hessian_product(weights, target, covariance), weights, KEY, 8),
            matrix_free.trace(products.fisher_product(weights, covariance), weights, KEY, 8),
        )

    exact = curvature.trace_of_curvature(weights, covariance)
    for found, factor in zip(estimates(weights), (1, 0.5), strict=True):
        # 8 probes: Student's t with 7 degrees of freedom is beyond 4.5 once in 360; the seed is fixed. Plus rounding.
        assert abs(found.mean - factor * exact) < 4.5 * found.error + 1e-12 * exact
        assert found.error < 0.25 * factor * exact  # else the line above would say little


SPECTRA = {
    "flat, one half negative": np.r_[np.ones(20), -np.ones(20)],
    "a power law": 1.0 / np.arange(1, 41) ** 2,
    "low rank and small rest": np.r_[30.0, 20, 10, 5, 0.1 * np.random.default_rng(0).standard_normal(36)],
    "rank above the sketch": np.r_[np.ones(16), np.zeros(24)],
}


@partial(jax.jit, static_argnums=2)
def traces(dense, keys, samples):
    """One estimate a key, of matrices of one size by one program."""
    return jax.vmap(lambda key: matrix_free.trace(*product_with(dense), key, samples))(keys)


@pytest.mark.parametrize("name", SPECTRA)
def test_standard_error_of_the_trace_is_calibrated_and_its_variance_the_formula(name):
    values, samples, repeats = SPECTRA[name], 8, 400
    keys = jax.random.split(jax.random.key(4), repeats)
    found = traces(jnp.asarray(dense_of(values)), keys, samples)
    deviation, error = np.asarray(found.mean) - values.sum(), np.asarray(found.error)
    # Unbiased: the mean of 400 independent ones within 4 of its own standard errors.
    assert abs(deviation.mean()) < 4 * deviation.std() / np.sqrt(repeats)
    # The mean square of deviations over that of errors is 1; each is known to 6-15 %, heavy tails included.
    assert 0.75 < np.mean(deviation**2) / np.mean(error**2) < 1.33
    # Student's t with 7 degrees of freedom is within 2.365 in 95 %: 400 repeats have a standard error of 1.1 %.
    # Of these 4 errors up, and 4 down with 1 % for the skewness of squares.
    assert 0.895 < np.mean(np.abs(deviation) < 2.365 * error) < 0.985


def test_variance_of_the_trace_is_its_formula():
    # The mean of the stated conditional variance over the subspaces that samples draw, against the mean squared error.
    values, samples = SPECTRA["flat, one half negative"], 4
    matvec, like = symmetric(values)
    dense, free = np.asarray(as_matrix(matvec, like)), len(values) - samples
    rng = np.random.default_rng(5)
    stated = []
    for _ in range(300):
        basis = np.linalg.qr(dense @ rng.standard_normal((len(values), samples)))[0]
        rest = np.eye(len(values)) - basis @ basis.T
        inner = rest @ dense @ rest
        stated.append(2 * free * (np.sum(inner**2) - np.trace(inner) ** 2 / free) / (free + 2) / samples)
    found = traces(jnp.asarray(dense), jax.random.split(KEY, 1500), samples)
    # A mean of 1500 squares of nearly normal numbers: standard error sqrt(2 / 1500) = 3.7 %, taken 4 times.
    np.testing.assert_allclose(np.mean((np.asarray(found.mean) - values.sum()) ** 2), np.mean(stated), rtol=0.15)


@pytest.mark.parametrize(
    "values", [np.zeros(9), np.full(9, -3.0), np.r_[5.0, 2, -1, np.zeros(6)]], ids=["zero", "multiple of I", "rank 3"]
)
@pytest.mark.parametrize("samples", [4, 20])
def test_trace_of_few_directions_is_exact(values, samples):
    matvec, like = symmetric(values)
    found = jax.jit(lambda key: matrix_free.trace(matvec, like, key, samples))(KEY)
    np.testing.assert_allclose(found, [values.sum(), 0], atol=1e-13 * 9)  # rounding


@pytest.mark.sampled(1)
@pytest.mark.parametrize("widths", WIDTHS[1::2])
def test_ends_of_the_spectrum_are_within_their_bounds(widths):
    weights, target, covariance, _ = problem(widths, 6)
    dense = np.linalg.eigvalsh(HESSIAN(weights, target, covariance))
    matvec = products.hessian_product(weights, target, covariance)
    for steps in (4, dense.size + 5):  # the last is more than there are dimensions
        found = jax.jit(
            lambda key, steps=steps: matrix_free.top_eigenvalues(matvec, weights, key, min(3, steps), steps)
        )(KEY)
        rounding = 1e-13 * np.abs(dense).max()
        for value, error in [*zip(found.values, found.errors, strict=True), (found.lowest, found.lowest_error)]:
            assert np.abs(dense - value).min() <= error + rounding
        assert found.values[0] <= dense[-1] + rounding and found.lowest >= dense[0] - rounding
        assert np.all(np.diff(found.values) <= rounding)
    # The whole space: the eigenvalues themselves, simple ones here.
    np.testing.assert_allclose(found.values[0], dense[-1], atol=10 * rounding)
    np.testing.assert_allclose(found.lowest, dense[0], atol=10 * rounding)


def test_bounds_before_convergence_are_lanczos_own():
    # An independent three-term recurrence in NumPy gives |beta s_last| for the same start.
    values, steps = np.linspace(-1.0, 3.0, 60) ** 3, 12
    matvec, like = symmetric(values)
    dense = np.asarray(as_matrix(matvec, like))
    start = np.asarray(jax.random.normal(KEY, (1, 60)))[0]
    basis, off = [start / np.linalg.norm(start)], []
    for _ in range(steps):
        new = dense @ basis[-1]
        new -= np.stack(basis).T @ (np.stack(basis) @ new)
        off.append(np.linalg.norm(new))
        basis.append(new / off[-1])
    space = np.stack(basis[:-1])
    nodes, weights = np.linalg.eigh(space @ dense @ space.T)
    found = jax.jit(lambda key: matrix_free.top_eigenvalues(matvec, like, key, 4, steps))(KEY)
    # 12 steps without a second orthogonalisation lose a few digits.
    np.testing.assert_allclose(found.values, nodes[::-1][:4], rtol=1e-9)
    np.testing.assert_allclose(found.errors, np.abs(off[-1] * weights[-1])[::-1][:4], rtol=1e-6)
    np.testing.assert_allclose(found.lowest_error, np.abs(off[-1] * weights[-1])[0], rtol=1e-6)
    assert found.errors[1] > 1e-3  # not converged: the bound is put to use
    assert np.abs(values - found.values[1]).min() <= found.errors[1]


ENDS = jax.jit(
    lambda dense, key: matrix_free.top_eigenvalues(lambda vector: dense @ vector, jnp.zeros_like(dense[0]), key, 6, 40)
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", [True, False], ids=["diagonal", "rotated"])
@pytest.mark.parametrize(
    "values",
    [np.zeros(12), np.ones(12), np.r_[3.0, 2, 1, np.zeros(9)], np.r_[2.0, 2, 2, 1, -1, -1, np.zeros(6)]],
    ids=["zero", "identity", "rank 3", "repeated"],
)
def test_a_krylov_space_that_ends_early_gives_true_eigenvalues_or_none(values, diagonal, dtype):
    basis = np.eye(12) if diagonal else random_basis(12, np.random.default_rng(0))
    dense = jnp.asarray(basis * values @ basis.T, dtype)
    for seed in range(5):
        found = ENDS(dense, jax.random.key(seed))
        rounding = 30 * np.finfo(dtype).eps
        for value, error in zip(found.values, found.errors, strict=True):
            assert np.isnan(value) == np.isnan(error)
            assert np.isnan(value) or np.abs(values - value).min() <= error + rounding
            assert np.isnan(value) or error < 30 * np.sqrt(np.finfo(dtype).eps)  # the basis is orthonormal to sqrt(eps)
        np.testing.assert_allclose(found.values[0], values.max(), atol=30 * np.sqrt(np.finfo(dtype).eps))
        np.testing.assert_allclose(found.lowest, values.min(), atol=30 * np.sqrt(np.finfo(dtype).eps))
        count = np.sum(np.isfinite(found.values))
        assert count >= min(6, len(set(values)))  # each distinct eigenvalue is there
        # Never more copies of an eigenvalue than there are.
        for value in set(values):
            assert np.sum(np.abs(np.asarray(found.values) - value) < 1e-2) <= np.sum(values == value)


def test_ritz_vectors_are_orthonormal_trees_that_belong_to_their_values():
    matvec, like = symmetric(np.linspace(-2.0, 1.0, 15) ** 3)
    found = jax.jit(lambda key: matrix_free.top_eigenvalues(matvec, like, key, 3, 9))(KEY)
    assert found.vectors["a"].shape == (3, 7) and found.vectors["b"].shape == (3, 8, 1)
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])(found.vectors)
    np.testing.assert_allclose(flat @ flat.T, np.eye(3), atol=1e-13)  # rounding
    for position in range(3):
        vector = jax.tree.map(lambda leaf, position=position: leaf[position], found.vectors)
        along = matrix_free.curvature_along(matvec, vector)
        np.testing.assert_allclose(along, found.values[position], rtol=1e-12, atol=1e-12)  # Rayleigh's quotient


@pytest.mark.sampled(2)
@pytest.mark.parametrize("widths", [(3, 3, 3), (5, 4, 3), (3, 6, 4), (2, 5, 2), (1, 3, 2)])
def test_blocks_hold_the_whole_spectrum_at_any_widths(widths):
    rng = np.random.default_rng(7)
    d_in, hidden, d_out = widths
    modes = min(widths)
    p, q, sigma = rng.standard_normal((3, modes))
    middle = random_basis(hidden, rng)  # the hidden basis does not matter
    right, left = random_basis(d_in, rng), random_basis(d_out, rng)
    weights = (
        jnp.asarray(middle[:, :modes] * q @ right[:, :modes].T),
        jnp.asarray(left[:, :modes] * p @ middle[:, :modes].T),
    )
    target = left[:, :modes] * sigma @ right[:, :modes].T
    dense = np.linalg.eigvalsh(HESSIAN(weights, target))
    blocks = curvature.aligned_spectrum(p, q, sigma, widths)
    np.testing.assert_allclose(blocks, dense, atol=1e-13 * np.abs(dense).max())  # n roundings of the largest
    found = jax.jit(
        lambda weights: matrix_free.top_eigenvalues(products.hessian_product(weights, target), weights, KEY, 1, 40)
    )(weights)
    np.testing.assert_allclose(found.values[0], blocks[-1], atol=float(found.errors[0]) + 1e-12 * np.abs(dense).max())
    np.testing.assert_allclose(found.lowest, blocks[0], atol=float(found.lowest_error) + 1e-12 * np.abs(dense).max())


@pytest.mark.parametrize("widths", [(5, 4, 3), (4, 3, 4, 3)])
def test_density_is_that_of_the_exact_eigenvalues_within_its_errors(widths):
    weights, target, covariance, _ = problem(widths, 8, 0.6)
    exact = np.linalg.eigvalsh(HESSIAN(weights, target, covariance))
    width = 0.05 * (exact[-1] - exact[0])
    grid = np.linspace(exact[0] - 5 * width, exact[-1] + 5 * width, 60)
    broadened = np.mean(np.exp(-(((grid[:, None] - exact) / width) ** 2) / 2), axis=1) / (width * np.sqrt(2 * np.pi))
    matvec = products.hessian_product(weights, target, covariance)
    found = jax.jit(lambda key: matrix_free.density(matvec, weights, key, 40, 30, grid, width))(KEY)
    # 60 correlated points, 29 degrees of freedom: one beyond 4.5 in any run has a chance below 1 %. Plus rounding.
    assert np.all(np.abs(found.values - broadened) < 4.5 * found.errors + 1e-10 * broadened.max())
    assert np.median(found.errors / broadened) < 0.5  # else the line above would say little
    # A sum of smooth peaks, 5 widths from the ends: equal weights integrate to 1 to the tails, 3e-7.
    np.testing.assert_allclose(np.sum(found.values) * (grid[1] - grid[0]), 1.0, atol=1e-6)


def test_errors_of_the_density_are_calibrated():
    values, width, repeats = np.linspace(-1.0, 2.0, 40) ** 3, 0.5, 300
    matvec, like = symmetric(values)
    grid = np.asarray([-1.0, 0.0, 2.0, 7.0])
    broadened = np.mean(np.exp(-(((grid[:, None] - values) / width) ** 2) / 2), axis=1) / (width * np.sqrt(2 * np.pi))
    keys = jax.random.split(KEY, repeats)
    found = jax.jit(jax.vmap(lambda key: matrix_free.density(matvec, like, key, 30, 10, grid, width)))(keys)
    deviation = np.asarray(found.values) - broadened
    # Means of 300 within 4 standard errors, and variances to 4 times their 8 %.
    assert np.all(np.abs(deviation.mean(0)) < 4 * deviation.std(0) / np.sqrt(repeats))
    ratio = np.mean(deviation**2, axis=0) / np.mean(np.asarray(found.errors) ** 2, axis=0)
    assert np.all((ratio > 0.68) & (ratio < 1.32)), ratio


@pytest.mark.parametrize("ratio", [50.0])
def test_quadrature_is_below_its_bound_at_the_stated_steps(ratio):
    # Against the same starts with every step there is, so that only the quadrature differs.
    values = np.sort(np.random.default_rng(9).uniform(-1, 1, 150))
    matvec, like = symmetric(values)
    width = 2.0 / ratio
    grid = np.linspace(-1.2, 1.2, 50)
    few, every = (
        jax.jit(lambda key, steps=steps: matrix_free.density(matvec, like, key, steps, 2, grid, width))(KEY).values
        for steps in (int(2 * ratio), 150)
    )
    assert np.max(np.abs(few - every)) < 1e-3 / (width * np.sqrt(2 * np.pi))


@pytest.mark.parametrize("widths", WIDTHS[1::2])
def test_curvature_along_the_displacement_is_the_dense_quadratic_form(widths):
    weights, target, covariance, rng = problem(widths, 10, 0.5)
    start, tuned = weights, weights
    other = jnp.asarray(target + rng.standard_normal(target.shape))
    gradient = jax.jit(jax.grad(losses.population_loss))
    for _ in range(5):
        gradients = gradient(tuned, other, jnp.asarray(covariance))
        tuned = tuple(layer - 0.01 * gradient for layer, gradient in zip(tuned, gradients, strict=True))
    displacement = jax.tree.map(jnp.subtract, tuned, start)
    vector = np.asarray(ravel_pytree(displacement)[0])
    dense = np.asarray(HESSIAN(start, target, covariance))

    @jax.jit
    def along(displacement):
        return matrix_free.curvature_along(products.hessian_product(start, target, covariance), displacement)

    found = along(displacement)
    exact = vector @ dense @ vector / (vector @ vector)
    np.testing.assert_allclose(found, exact, atol=1e-12 * np.abs(dense).max())  # rounding
    tiny = jax.tree.map(lambda leaf: 1e-200 * leaf, displacement)  # whose square is 0
    found = along(tiny)
    np.testing.assert_allclose(found, exact, atol=1e-12 * np.abs(dense).max())
    assert np.isnan(matrix_free.curvature_along(lambda v: v, jnp.zeros(3)))


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e-25), (np.float32, 1e25), (np.float64, 1e-180)])
def test_scale_of_the_curvature_does_not_matter(dtype, scale):
    basis = random_basis(20, np.random.default_rng(0))
    like, grid = jnp.zeros(20, dtype), np.linspace(-2.0, 9.0, 7)

    @jax.jit
    def estimates(dense, unit):
        def matvec(vector):
            return dense @ vector

        trace = matrix_free.trace(matvec, like, KEY, 4)
        ends = matrix_free.top_eigenvalues(matvec, like, KEY, 2, 6)
        return jnp.stack([*trace, *ends.values, *ends.errors, ends.lowest, ends.lowest_error]) / unit

    dense = basis * np.linspace(-1.0, 2.0, 20) ** 3 @ basis.T
    plain = estimates(jnp.asarray(dense, dtype), 1.0)
    scaled = estimates(jnp.asarray(scale * dense, dtype), scale)
    np.testing.assert_allclose(scaled, plain, atol=1e4 * np.finfo(dtype).eps)  # rounding of 20 sums of size 10, 50 fold
    assert np.all(np.asarray(scaled)[[1, 4, 5]] > 1e-6)  # no error has become 0
    one, other = (
        jax.jit(lambda dense, f=f: matrix_free.density(lambda v: dense @ v, like, KEY, 6, 2, f * grid, f * 0.5))(
            jnp.asarray(f * dense, dtype)
        ).values
        for f in (1.0, scale)
    )
    np.testing.assert_allclose(np.asarray(other, np.float64) * scale, one, atol=1e4 * np.finfo(dtype).eps)


def test_half_precision_weights_are_estimated_in_single():
    diagonal = jnp.asarray([4.0, 2.0, 1.0, 0.5])
    found = jax.jit(
        lambda key: matrix_free.top_eigenvalues(
            lambda v: (diagonal * v).astype(jnp.bfloat16), jnp.zeros(4, jnp.bfloat16), key, 1, 4
        )
    )(KEY)
    assert found.values.dtype == jnp.float32 and found.vectors.dtype == jnp.bfloat16
    assert abs(found.values[0] - 4) < 0.05  # vectors pass through 8 bits


def eye(vector):
    return vector


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matrix_free.trace(eye, jnp.zeros(3), KEY, 1), "samples: got 1; allowed: an integer >= 2"),
        (lambda: matrix_free.trace(eye, (), KEY, 2), r"like: got \(\); allowed: a tree with at least one number"),
        (lambda: matrix_free.trace(eye, jnp.arange(3), KEY, 2), "like: got a leaf of int64; allowed: real floating"),
        (lambda: matrix_free.trace(eye, jnp.zeros(3, complex), KEY, 2), "like: got a leaf of complex128"),
        (lambda: matrix_free.top_eigenvalues(eye, jnp.zeros(3), KEY, 4, 9), "count: got 4; allowed: .* <= 3"),
        (lambda: matrix_free.top_eigenvalues(eye, jnp.zeros(9), KEY, 4, 3), "count: got 4; allowed: .* <= 3"),
        (lambda: matrix_free.top_eigenvalues(eye, jnp.zeros(9), KEY, 1, 0), "steps: got 0"),
        (lambda: matrix_free.density(eye, jnp.zeros(9), KEY, 0, 2, np.ones(2), 1.0), "steps: got 0"),
        (lambda: matrix_free.density(eye, jnp.zeros(9), KEY, 2, 1, np.ones(2), 1.0), "samples: got 1"),
        (lambda: matrix_free.density(eye, jnp.zeros(9), KEY, 2, 2, np.ones(2), 0.0), "width: got 0.0"),
        (lambda: products.hessian_product((jnp.ones((3, 4)),), np.eye(2)), r"target: got shape \(2, 2\)"),
        (lambda: products.gauss_newton_product((jnp.ones((3, 4)),), np.eye(2)), r"covariance: got shape \(2, 2\)"),
        (lambda: products.fisher_product(()), r"weights: got \[\]; allowed: a tuple of matrices"),
        (lambda: curvature.aligned_spectrum(np.ones(2), np.ones(2), np.ones(2), (2, 1, 3)), "widths: got 1"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
