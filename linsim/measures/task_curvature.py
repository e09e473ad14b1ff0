"""Curvature of the pre-training loss where a measure looks: in closed form of squared error, else of the objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from linsim.losses import Scalar, Weights, end_to_end
from linsim.measures import curvature
from linsim.measures.largest import Largest, largest_eigenvalue
from linsim.measures.products import WeightsProduct, hessian_product, loss_product

SEEN = Any  # linsim.dynamics.seen.Seen, which is on a floor of its own


def traced(of: Callable[..., Scalar]) -> Callable[[SEEN], Scalar]:
    """A trace of (weights, covariance), on the pre-training task.

    Of the likelihoods of `linsim.objectives` the Hessian, Gauss-Newton and Fisher matrices have one trace.
    """

    def on(seen: SEEN) -> Scalar:
        own = seen.pretrain.own_loss
        return of(seen.weights, seen.pretrain.input_covariance) if own is None else own.fisher_trace(seen.weights)

    return on


def top_eigenvalue(seen: SEEN) -> Largest:
    """Of the Hessian."""
    return largest_eigenvalue(_hessian_product(seen, seen.weights), seen.weights)


def along_displacement(seen: SEEN) -> Scalar:
    """d^T H d / d^T d with the Hessian at the checkpoint; 0 where nothing moved."""
    start = seen.checkpoint.weights
    moved = jax.tree.map(jnp.subtract, seen.weights, start)
    product = _hessian_product(seen, start)
    square = total(jnp.sum(layer**2) for layer in moved)
    bend = total(jnp.sum(a * b) for a, b in zip(moved, product(moved), strict=True))
    return jnp.where(square > 0, bend / jnp.where(square > 0, square, 1), 0)


def gradient_square(seen: SEEN) -> Scalar:
    """||dL/dW||^2."""
    if seen.pretrain.own_loss is None:
        return curvature.gradient_square(seen.weights, seen.pretrain.target, seen.pretrain.input_covariance)
    slopes = jax.grad(_loss)(seen.weights, seen.pretrain)
    return total(jnp.sum(slope**2) for slope in slopes)


def total(parts: Iterable[Scalar]) -> Scalar:
    """Their sum, of their own type."""
    return jnp.sum(jnp.stack(list(parts)))


def _hessian_product(seen: SEEN, at: Weights) -> WeightsProduct:
    if seen.pretrain.own_loss is None:
        return hessian_product(at, seen.pretrain.target, seen.pretrain.input_covariance)
    return loss_product(_loss, at, seen.pretrain)


def _loss(weights: Weights, task: Any) -> Scalar:
    loss: Scalar = task.loss(end_to_end(weights))
    return loss
