"""The largest eigenvalue alone: right without being told how many products that takes, and its bound holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim.losses import population_loss
from linsim.measures import largest
from linsim.measures.largest import exceeds, largest_eigenvalue
from linsim.measures.products import hessian_product


def of_matrix(matrix):
    return largest_eigenvalue(lambda vector: jnp.asarray(matrix) @ vector, jnp.zeros(len(matrix), matrix.dtype))


def with_eigenvalues(values, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


@pytest.mark.sampled(3)
@pytest.mark.parametrize("size", [1, 2, 7, 40, 64, 65, 300])
def test_it_is_that_of_any_symmetric_matrix(size):
    matrix = np.random.default_rng(size).standard_normal((size, size))
    found = of_matrix(matrix + matrix.T)
    np.testing.assert_allclose(found.value, np.linalg.eigvalsh(matrix + matrix.T)[-1], rtol=1e-11)
    assert found.error <= 1e-8 * np.linalg.norm(matrix + matrix.T)
    assert found.products <= 2 * size + 64


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_eigenvalues_that_crowd_the_largest_cost_products_and_not_the_value(gap):
    crowded = with_eigenvalues(1 - gap * np.arange(400.0))
    found = of_matrix(crowded)
    # At worst its residual: 1e-8 of the largest.
    np.testing.assert_allclose(found.value, 1, rtol=2e-8)
    assert np.min(np.abs(np.linalg.eigvalsh(crowded) - found.value)) <= found.error + 1e-14


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", [1, 2, 7, 40, 300])
def test_whether_there_is_a_larger_one_needs_no_eigenvalue(size):
    matrix = np.random.default_rng(size).standard_normal((size, size))
    matrix = matrix + matrix.T
    top = np.linalg.eigvalsh(matrix)[-1]

    def above(value, products):
        return bool(exceeds(lambda vector: jnp.asarray(matrix) @ vector, jnp.zeros(size), value, products))

    near = 1e-6 * abs(top)
    assert above(top - near, 128)
    assert not above(top + near, 128)
    assert not above(1e3 * abs(top), 128)
    # From few products true is true all the same.
    assert not any(above(top + near, products) for products in (1, 2, 5))


def test_a_matrix_without_a_positive_eigenvalue_exceeds_nothing_positive():
    asked = [(-1.0, 0.5), (-1.0, -0.5), (-1.0, -2.0), (0.0, 0.5), (0.0, -0.5)]
    found = [bool(exceeds(lambda vector, x=each: x * vector, jnp.zeros(3), value, 9)) for each, value in asked]
    assert found == [False, False, True, False, True]


def test_before_it_has_converged_the_bound_holds_and_is_no_guess(monkeypatch):
    monkeypatch.setattr(largest, "_TOLERANCE", 1e-1)
    values = np.append(np.linspace(-1, 1, 2000), 1.0005)
    found = largest_eigenvalue(lambda vector: jnp.asarray(values) * vector, jnp.zeros(2001))
    assert found.products == 64
    assert 1e-6 < np.min(np.abs(values - found.value)) <= found.error < 0.1


def test_low_rank_repeated_and_negative_curvature_and_none():
    assert float(largest_eigenvalue(lambda vector: 0 * vector, jnp.zeros(3)).value) == 0
    found = largest_eigenvalue(lambda vector: -vector, jnp.zeros(3))
    np.testing.assert_allclose(found.value, -1, rtol=1e-12)
    assert found.products == 1
    for values in (np.append([3.0, 3.0, 1.0], np.zeros(97)), -np.arange(1.0, 101)):
        np.testing.assert_allclose(of_matrix(with_eigenvalues(values)).value, values.max(), rtol=1e-11)


def test_many_at_once_are_what_each_is_alone_whatever_the_others_take():
    matrices = np.stack([with_eigenvalues(np.linspace(-1, 1, 150) ** power, power) for power in (1, 3, 9)])
    together = jax.vmap(lambda matrix: largest_eigenvalue(lambda vector: matrix @ vector, jnp.zeros(150)))(matrices)
    for at, matrix in enumerate(matrices):
        alone = of_matrix(matrix)
        np.testing.assert_allclose(together.value[at], alone.value, rtol=1e-11)
        assert together.products[at] == alone.products


def test_of_a_network_with_more_weights_than_products_at_once_it_is_that_of_the_whole_hessian():
    rng = np.random.default_rng(5)
    weights = tuple(jnp.asarray(rng.standard_normal((12, 12)) / 3) for _ in range(2))
    target = jnp.asarray(rng.standard_normal((12, 12)))
    found = largest_eigenvalue(hessian_product(weights, target, None), weights)
    hessian = jax.hessian(lambda flat: population_loss(tuple(flat.reshape(2, 12, 12)), target))(
        jnp.concatenate([layer.ravel() for layer in weights])
    )
    np.testing.assert_allclose(found.value, np.linalg.eigvalsh(hessian)[-1], rtol=1e-11)
