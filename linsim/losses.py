"""Losses and regularisers, each formula once. Losses carry no 1/2; regularisers on weights do, as is usual.

The gradient of the population loss with respect to P is therefore 2 (P - A) S, and learning rate x steps is flow time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float, PRNGKeyArray

from linsim.errors import LARGEST, brief, numbers, require
from linsim.precision import in_float64

Weights = tuple[Float[Array, "_ _"], ...]
"""(W_1, ..., W_L), W_1 the input layer."""

SeedWeights = tuple[Float[Array, "seeds _ _"], ...]
"""The same for several seeds, along a leading axis."""

Scalar = Float[Array, ""]

LOSS_CONVENTION = (
    "L(P) = ||(P - A) S^(1/2)||_F^2 with P = W_L ... W_1, no factor 1/2, without the label noise constant; "
    "W_1 is the input layer"
)


@runtime_checkable
class TaskLoss(Protocol):
    """Another loss than squared error, of one task: a tree of arrays, of NumPy or of JAX, and pure functions of those.

    A NamedTuple of a kind of its own: JAX takes dataclasses with like fields for one structure.
    """

    def loss(self, product: Any) -> Any:
        """How far maps, of shape (..., d_out, d_in), are above the least loss; in JAX without leading axes."""
        ...

    def slope(self, product: Any) -> Any:
        """dL/dP, of the shape of the product."""
        ...

    def fisher_trace(self, weights: Weights) -> Scalar:
        """tr F over all weights, of the distribution of outputs that the loss is the likelihood of."""
        ...


@runtime_checkable
class Objective(Protocol):
    """What a task minimises in place of squared error: a value, hashable, and equal to those that say the same."""

    @property
    def convention(self) -> str:
        """What losses are, in words."""
        ...

    @property
    def units(self) -> str:
        """Of losses."""
        ...

    def on(self, task: Any) -> TaskLoss:
        """The loss of a `linsim.tasks.LinearTask`; `InvalidInput` where it has none."""
        ...


def convention_of(objectives: Iterable[Objective | None]) -> str:
    """What the losses of some tasks are, in words; each once."""
    said = (LOSS_CONVENTION if each is None else each.convention for each in objectives)
    return "; and ".join(dict.fromkeys(said))


def require_squared_error(field: str, objective: Objective | None) -> None:
    """Raise `InvalidInput` for what is known of squared error alone."""
    require(objective is None, field, objective, "tasks of squared error, of which alone it is known")


def matmul(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]) -> Float[Array, "rows columns"]:
    """A matrix product in full precision: some accelerators otherwise round float32 factors to 10 bits."""
    return jnp.matmul(left, right, precision=Precision.HIGHEST)


def require_chain(weights: Weights) -> None:
    """Raise `InvalidInput` unless there is a layer, all are matrices, and the shapes of consecutive ones chain."""
    matrices = isinstance(weights, list | tuple) and all(getattr(layer, "ndim", None) == 2 for layer in weights)
    require(matrices and len(weights) > 0, "weights", brief(weights), "a tuple of matrices (W_1, ..., W_L)")
    for weight in weights:
        numbers("weights", weight, 2, most=LARGEST)
    for layer, (inner, outer) in enumerate(itertools.pairwise(weights), start=1):
        shapes = f"W_{layer} {inner.shape} then W_{layer + 1} {outer.shape}"
        require(outer.shape[1] == inner.shape[0], "weights", shapes, "shapes that chain")


def end_to_end(weights: Weights) -> Float[Array, "d_out d_in"]:
    """P = W_L ... W_1."""
    product = weights[0]
    for weight in weights[1:]:
        product = matmul(weight, product)
    return product


def quadratic(residual: Float[Array, "..."], weighted: Float[Array, "..."]) -> Scalar:
    """<R, R S>, the squared error of a residual R given R S; in any coordinates."""
    return jnp.sum(residual * weighted)


@in_float64
def population_loss(
    weights: Weights, target: Float[Array, "d_out d_in"], covariance: Float[Array, "d_in d_in"] | None = None
) -> Scalar:
    """L = tr((P - A) S (P - A)^T), above the label noise floor; covariance None means S = I.

    Example:
      >>> float(ls.population_loss(ls.identity((2, 2, 2), tau=0.0), target=3 * jnp.eye(2)))
      8.0
    """
    require_chain(weights)
    numbers("target", target, 2, most=LARGEST)
    target = jnp.asarray(target)
    ends = (weights[-1].shape[0], weights[0].shape[1])
    require(target.shape == ends, "target", f"shape {target.shape}", f"shape {ends}, as the network's map")
    if covariance is not None:
        numbers("covariance", covariance, 2, most=LARGEST)
        covariance = jnp.asarray(covariance)
        square = covariance.shape == (ends[1], ends[1])
        require(square, "covariance", f"shape {covariance.shape}", f"shape ({ends[1]}, {ends[1]})")
    residual = end_to_end(weights) - target
    return quadratic(residual, residual if covariance is None else matmul(residual, covariance))


def sampled_loss(weights: Weights, inputs: Float[Array, "batch d_in"], outputs: Float[Array, "batch d_out"]) -> Scalar:
    """L = (1/n) sum_k ||W_L ... W_1 x_k - y_k||^2, label noise included."""
    predictions = inputs
    for weight in weights:
        predictions = matmul(predictions, weight.T)
    return jnp.sum((predictions - outputs) ** 2) / inputs.shape[0]


def draw_batch(
    key: PRNGKeyArray,
    target: Float[Array, "d_out d_in"],
    root: Float[Array, "d_in d_in"] | None,
    label_noise: Scalar,
    batch_size: int,
) -> tuple[Float[Array, "batch d_in"], Float[Array, "batch d_out"]]:
    """Gaussian samples x = S^(1/2) z and y = A x + label_noise * e; root None means S = I."""
    for_inputs, for_noise = jax.random.split(key)
    inputs = jax.random.normal(for_inputs, (batch_size, target.shape[1]), target.dtype)
    if root is not None:
        inputs = matmul(inputs, root)
    noise = jax.random.normal(for_noise, (batch_size, target.shape[0]), target.dtype)
    return inputs, matmul(inputs, target.T) + label_noise * noise


def weight_decay(weights: Any, strength: Scalar) -> Scalar:
    """(strength / 2) sum_l ||W_l||_F^2 over a tree of weights."""
    return 0.5 * strength * _sum_of_squares(weights)


def weight_penalty(weights: Any, anchor: Any, strength: Scalar) -> Scalar:
    """(strength / 2) sum_l ||W_l - W_l^0||_F^2, the pull of the weights towards the checkpoint's."""
    return 0.5 * strength * _sum_of_squares(jax.tree.map(jnp.subtract, weights, anchor))


def product_penalty(product: Float[Array, "..."], anchor: Float[Array, "..."], strength: Scalar) -> Scalar:
    """strength * ||P - P_0||_F^2, the pull of the end-to-end map towards the checkpoint's. [Feng et al. 2026, C.12]"""
    return strength * jnp.sum((product - anchor) ** 2)


def _sum_of_squares(tree: Any) -> Scalar:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(()))
