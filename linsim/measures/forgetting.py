"""Forgetting: what fine-tuning costs on the pre-training task, exactly, to second order, and mode by mode.

Forgetting = L(after) - L(before) on the pre-training task. Everything here is made from the displacement of the map,
D_P = P_after - P_before, so that little forgetting is not a difference of two losses. For one pair of weights; use
`jax.vmap` for budgets and seeds.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.errors import require
from linsim.losses import Scalar, Weights, end_to_end, matmul, population_loss, require_chain, require_squared_error
from linsim.tasks import LinearTask

Matrix = Float[Array | np.ndarray, "_ _"]
Map = Float[Array, "d_out d_in"]


class Expansion(NamedTuple):
    """Forgetting to second order in the displacement of the weights, beside its exact value."""

    gradient: Scalar
    """<g, D>, with g the gradient of the pre-training loss at the checkpoint; 0 at a minimum."""
    curvature: Scalar
    """(1/2) <D, H D>, with H its Hessian there."""
    exact: Scalar
    """`exact_forgetting`."""

    @property
    def total(self) -> Float[Array, "*batch"]:
        """gradient + curvature; off by third order in D from two layers on, exact for one."""
        return self.gradient + self.curvature


class Attribution(NamedTuple):
    """A loss, or its change, split over the modes of a task; own + cross, summed over modes, is all of it."""

    own: Float[Array, " modes"]
    """Of u_i^T (P - A) v_i, the error of mode i's strength."""
    cross: Float[Array, " modes"]
    """Of u_i^T P v_j and u_j^T P v_i, what mode i's input and output share with other directions."""

    @property
    def total(self) -> Float[Array, "*batch modes"]:
        """own + cross."""
        return self.own + self.cross


def exact_forgetting(before: Weights, after: Weights, target: Matrix, covariance: Matrix | None = None) -> Scalar:
    """L(after) - L(before) = <2 (P - A) S + D_P S, D_P> with P = P_before.

    D_P = sum_l W'_L ... W'_{l+1} (W'_l - W_l) W_{l-1} ... W_1, primes after: no difference of maps either.

    Args:
      before: (W_1, ..., W_L) at the checkpoint.
      after: the same after fine-tuning.
      target: A of the pre-training task, shape (d_out, d_in).
      covariance: S of it, shape (d_in, d_in); None means S = I.

    Returns:
      Forgetting, a scalar of either sign, at least -L(before).

    Raises:
      InvalidInput: shapes that do not chain, or differ between before and after.

    Source: re-derived.
    """
    goal, second = _fitting(before, after, target, covariance)
    residual, moved = end_to_end(before) - goal, _displacement(before, after)
    seen = 2 * residual + moved
    return jnp.sum((seen if second is None else matmul(seen, second)) * moved)


def quadratic_forgetting(
    before: Weights, after: Weights, target: Matrix, covariance: Matrix | None = None
) -> Expansion:
    """<g, D> + (1/2) <D, H D> with D = W_after - W_before, any depth, beside the exact value.

    One product of the Hessian with a vector, no dense Hessian: the cost of a few gradients.

    Args:
      before: (W_1, ..., W_L) at the checkpoint.
      after: the same after fine-tuning.
      target: A of the pre-training task, shape (d_out, d_in).
      covariance: S of it, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain, or differ between before and after.

    Source: re-derived; the curvature term as in Watts et al. 2026.
    """
    goal, second = _fitting(before, after, target, covariance)
    moved = jax.tree.map(jnp.subtract, after, before)
    gradient, change = jax.jvp(jax.grad(lambda weights: population_loss(weights, goal, second)), (before,), (moved,))
    return Expansion(
        _inner(gradient, moved), _inner(change, moved) / 2, exact_forgetting(before, after, target, covariance)
    )


def loss_by_mode(weights: Weights, task: LinearTask) -> Attribution:
    """The loss of weights on a task, split over its modes as in `forgetting_by_mode`.

    Source: re-derived.
    """
    goal, _ = _fitting(weights, weights, task.target)
    residual = end_to_end(weights) - goal
    return _split(jnp.zeros_like(residual), residual, task)


def forgetting_by_mode(before: Weights, after: Weights, task: LinearTask) -> Attribution:
    """Which modes were lost: forgetting split exactly over the modes of the pre-training task.

    In the task's bases, R = U^T (P - A) V and C = V^T S V, the loss is the sum of R_ij (R C)_ij over output directions
    i and input directions j. With S = I that is R_ij^2; otherwise the interaction 2 R_ij C_jk R_ik of two entries goes
    to both alike, their Shapley values, which may be negative where inputs correlate across modes. R_ii is mode i's own
    error, R_ij with i != j cross-talk, shared half and half by modes i and j; where i or j is beyond the modes, in a
    rectangular task, it is the other's alone. Where strengths repeat, the split depends on the task's bases.

    Args:
      before: (W_1, ..., W_L) at the checkpoint.
      after: the same after fine-tuning.
      task: the pre-training task.

    Returns:
      Changes of the loss, positive where it was raised, each of shape (modes,); their sum is `exact_forgetting`.

    Raises:
      InvalidInput: shapes that do not chain, or differ between before and after.

    Source: re-derived.
    """
    goal, _ = _fitting(before, after, task.target)
    return _split(end_to_end(before) - goal, _displacement(before, after), task)


def _split(residual: Map, moved: Map, task: LinearTask) -> Attribution:
    """The change of the loss as a residual R becomes R + D, without differences: D (R C) + R (D C) + D (D C)."""
    require_squared_error("task", task.objective)
    left, right, covariance = (
        jnp.asarray(matrix, residual.dtype) for matrix in (task.left, task.right, task.input_covariance)
    )
    C = matmul(matmul(right.T, covariance), right)
    R, D = (matmul(matmul(left.T, matrix), right) for matrix in (residual, moved))
    seen = matmul(D, C)
    entries = D * matmul(R, C) + R * seen + D * seen
    own, modes = jnp.diagonal(entries), len(task.strengths)
    between = jnp.where(jnp.eye(task.outputs, task.inputs, dtype=bool), 0, entries)
    inside, rows, columns = between[:modes, :modes], between[modes:], between[:, modes:]
    cross = (jnp.sum(inside, axis=0) + jnp.sum(inside, axis=1)) / 2
    return Attribution(own, cross + jnp.sum(rows, axis=0)[:modes] + jnp.sum(columns, axis=1)[:modes])


def _displacement(before: Weights, after: Weights) -> Map:
    """P_after - P_before."""
    product = jnp.eye(before[0].shape[1], dtype=before[0].dtype)
    moved = jnp.zeros_like(product)
    for old, new in zip(before, after, strict=True):
        moved = matmul(new, moved) + matmul(new - old, product)
        product = matmul(old, product)
    return moved


def _inner(left: Weights, right: Weights) -> Scalar:
    return sum((jnp.sum(a * b) for a, b in zip(left, right, strict=True)), start=jnp.zeros((), left[0].dtype))


def _fitting(
    before: Weights, after: Weights, target: Matrix, covariance: Matrix | None = None
) -> tuple[Float[Array, "_ _"], Float[Array, "_ _"] | None]:
    """Target and covariance as arrays of the weights' type, once all shapes are known to fit."""
    require_chain(before)
    shapes, others = ([weight.shape for weight in weights] for weights in (before, after))
    require(shapes == others, "after", f"shapes {others}", f"those before, {shapes}")
    dtype, inputs = before[0].dtype, before[0].shape[1]
    ends = (before[-1].shape[0], inputs)
    require(target.shape == ends, "target", f"shape {target.shape}", f"shape {ends}, as the network's map")
    goal = jnp.asarray(target, dtype)
    if covariance is None:
        return goal, None
    square = (inputs, inputs)
    require(covariance.shape == square, "covariance", f"shape {covariance.shape}", f"shape {square}, as the inputs")
    return goal, jnp.asarray(covariance, dtype)
