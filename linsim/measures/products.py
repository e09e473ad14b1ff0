"""Products of curvature and vector, H v, without the matrix: at the cost of a few gradients and memory of the weights.

`linsim.measures.matrix_free` takes any of them. What does not depend on v is computed once, when the product is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from linsim.losses import Scalar, Weights, end_to_end, matmul, population_loss
from linsim.measures.curvature import Matrix, require_covariance, require_target

WeightsProduct = Callable[[Weights], Weights]
"""v -> H v for directions v = (V_1, ..., V_L) in the space of the weights."""


def hessian_product(weights: Weights, target: Matrix, covariance: Matrix | None = None) -> WeightsProduct:
    """v -> d/dt grad L(W + t v) at t = 0: `loss_hessian` times v. Cost O(L d^3) a product, memory that of the weights.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      target: A, shape (d_out, d_in).
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain.
    """
    second, goal = require_covariance(weights, covariance), require_target(weights, target)
    return jax.linearize(jax.grad(lambda at: population_loss(at, goal, second)), weights)[1]


def gauss_newton_product(weights: Weights, covariance: Matrix | None = None) -> WeightsProduct:
    """v -> 2 J^T (J v S), J the derivative of P = W_L ... W_1: `gauss_newton` times v. Cost as `hessian_product`.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain.
    """
    second = require_covariance(weights, covariance)
    forward = jax.linearize(end_to_end, weights)[1]
    backward = jax.linear_transpose(forward, weights)

    def product(direction: Weights) -> Weights:
        moved = forward(direction)
        return backward(2 * (moved if second is None else matmul(moved, second)))[0]

    return product


def fisher_product(weights: Weights, covariance: Matrix | None = None) -> WeightsProduct:
    """v -> F v, the Fisher matrix of a Gaussian model with unit output noise: `gauss_newton_product` / 2."""
    product = gauss_newton_product(weights, covariance)
    return lambda direction: tuple(layer / 2 for layer in product(direction))


def loss_product(loss: Callable[[Any, Any], Scalar], params: Any, batch: Any) -> Callable[[Any], Any]:
    """v -> H v for the loss of any model at `params`, forward over reverse: about two gradients a product.

    Args:
      loss: (params, batch) -> a scalar, twice differentiable.
      params: a tree of real floating arrays.
      batch: whatever the loss reads; the curvature is that of the loss on this batch.
    """
    return jax.linearize(jax.grad(lambda at: loss(at, batch)), params)[1]
