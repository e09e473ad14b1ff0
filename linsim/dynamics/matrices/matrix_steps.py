"""The gradient of the population loss and its penalties on a chain of matrices, with 3 (L - 1) products.

They are the products that differentiating the loss would make. Written out, each can be put into the form that
libraries are fast in: on CPUs a batch of products X Y or X Y^T is two to six times as fast as one of X^T Y.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from linsim.losses import TaskLoss, Weights, end_to_end, matmul
from linsim.phase import Phase, Strength

Product = Float[Array, "d_out d_in"]


def gradient(
    weights: Weights,
    anchor: Weights,
    target: Product,
    covariance: Float[Array, "d_in d_in"] | None,
    phase: Phase,
    own_loss: TaskLoss | None = None,
) -> Weights:
    """dL/dW_l = W_{l+1}^T ... W_L^T M W_1^T ... W_{l-1}^T + mu (W_l - W_l^0) + beta W_l of a phase's objective.

    M = 2 (P - A) S + 2 lambda (P - P_0) is the gradient in P, its first term dL/dP of any other loss.

    Args:
      weights: (W_1, ..., W_L).
      anchor: the checkpoint (W_1^0, ..., W_L^0) of the penalties, and of P_0.
      target: A.
      covariance: S; None means S = I.
      phase: lambda, mu and beta; its other fields are not read.
      own_loss: in place of squared error; then neither target nor covariance are read.
    """
    penalty = phase.product_penalty
    anchor_product = None if penalty is None else end_to_end(anchor)

    def pull(product: Product) -> Product:
        if own_loss is not None:
            slope = own_loss.slope(product) / 2
        else:
            residual = product - target
            slope = residual if covariance is None else matmul(residual, covariance)
        if penalty is not None and anchor_product is not None:
            slope = slope + penalty * (product - anchor_product)
        return 2 * slope

    slopes = chain_gradient(weights, pull)
    if phase.weight_penalty is not None:
        slopes = _add(slopes, phase.weight_penalty, tuple(w - w_0 for w, w_0 in zip(weights, anchor, strict=True)))
    if phase.weight_decay is not None:
        slopes = _add(slopes, phase.weight_decay, weights)
    return slopes


def chain_gradient(weights: Weights, pull: Callable[[Product], Product]) -> Weights:
    """W_{l+1}^T ... W_L^T M W_1^T ... W_{l-1}^T for every layer, with M = pull(P), a gradient in P."""
    partial = [weights[0]]  # W_l ... W_1
    for weight in weights[1:]:
        partial.append(matmul(weight, partial[-1]))
    # The barrier keeps a transposed copy from becoming part of a product, which would be X^T Y again.
    transposed = jax.lax.optimization_barrier([weight.T for weight in weights[1:]])
    backward = pull(partial.pop())
    slopes = []
    while partial:
        slopes.append(matmul(backward, partial.pop().T))
        backward = matmul(transposed.pop(), backward)
    return (backward, *slopes[::-1])


def _add(slopes: Weights, strength: Strength, direction: Weights) -> Weights:
    return tuple(slope + strength * towards for slope, towards in zip(slopes, direction, strict=True))
