"""One probe of each monitor: numbers whose sum has the monitor's value on a batch as expectation over the random key.

There is one for each parameter, in a tree like theirs: sums over some of them are the monitor's value of those alone.

A sum of independent gradients of mean zero has the expected square sum_k ||g_k||^2. So one backward pass, of targets
drawn from the model or of signs drawn at random, sees the squares of single gradients without forming any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from linsim.losses import Scalar
from linsim.measures.products import loss_product
from linsim.monitoring.predictive import Predictive
from linsim.monitoring.trees import Batch, Loss, Params

Probe = Callable[..., Params]
"""(loss, params, batch, key) -> one draw, a tree like the parameters."""


def fisher(loss: Predictive, params: Params, batch: Batch, key: Array) -> Params:
    """tr F = E_y~model ||grad log p(y | x)||^2, mean over predictions, by targets drawn from the model."""
    outputs, pull = jax.vjp(lambda weights: loss.predict(weights, batch[0]), params)
    return _mean_square(loss, pull, loss.likelihood.score(key, outputs), batch)


def gauss_newton(loss: Predictive, params: Params, batch: Batch, key: Array) -> Params:
    """tr G, G = mean of J^T (d^2 loss / df^2) J: `scale` times the Fisher trace for these likelihoods, another draw."""
    outputs, pull = jax.vjp(lambda weights: loss.predict(weights, batch[0]), params)
    squares = _mean_square(loss, pull, loss.likelihood.root(key, outputs), batch)
    return jax.tree.map(lambda leaf: loss.likelihood.scale * leaf, squares)


def empirical_fisher(loss: Loss, params: Params, batch: Batch, key: Array) -> Params:
    """Mean over predictions of ||grad log p(target | x)||^2, by random signs on the terms of the loss.

    For a loss without likelihood: mean over examples of ||grad loss||^2, the loss of each example by itself.
    """
    if isinstance(loss, Predictive):
        predictive, (inputs, targets) = loss, loss.pair(batch)

        def terms(weights: Params) -> tuple[Array, Array]:
            return predictive.surprises(weights, inputs, targets)
    else:
        alone = jax.tree.map(lambda leaf: leaf[:, None], batch)

        def terms(weights: Params) -> tuple[Array, Array]:
            each = jax.vmap(loss, in_axes=(None, 0))(weights, alone)
            return each, jnp.ones_like(each)

    def signed(weights: Params) -> tuple[Scalar, Scalar]:
        each, counted = terms(weights)
        signs = jax.random.rademacher(key, each.shape, each.dtype)
        return jnp.sum(signs * counted * each), jnp.sum(counted)

    gradient, count = jax.grad(signed, has_aux=True)(params)
    return jax.tree.map(lambda leaf: leaf**2 / count.astype(leaf.dtype), gradient)


def hessian_trace(loss: Loss, params: Params, batch: Batch, key: Array) -> Params:
    """z^T H z with random signs z, whose expectation is tr H. [Hutchinson 1990]"""
    signs = _drawn(key, params, jax.random.rademacher)
    return jax.tree.map(jnp.multiply, signs, loss_product(loss, params, batch)(signs))


def noise_increase(
    loss: Loss, params: Params, batch: Batch, key: Array, noise: float | Scalar, relative: bool, where: Params = None
) -> Scalar:
    """[L(W + gamma Z) + L(W - gamma Z)] / 2 - L(W), whose expectation is E L(W + gamma Z) - L(W).

    Args:
      loss: the mean loss of a batch.
      params: W.
      batch: as the loss takes it.
      key: of Z.
      noise: gamma, in units of the parameters; with `relative` in units of each leaf's root mean square.
      relative: see `noise`.
      where: 1 where there is noise and 0 elsewhere, arrays that broadcast; None is 1.
    """

    def scaled(weight: Array, direction: Array) -> Array:
        size = jnp.sqrt(jnp.mean(weight**2)) if relative else 1.0
        return noise * size * direction

    step = jax.tree.map(scaled, params, _drawn(key, params, jax.random.normal))
    step = step if where is None else jax.tree.map(jnp.multiply, where, step)
    ahead, behind = (loss(jax.tree.map(sign, params, step), batch) for sign in (jnp.add, jnp.subtract))
    return 0.5 * (ahead + behind) - loss(params, batch)


def _mean_square(loss: Predictive, pull: Any, cotangents: Array, batch: Batch) -> Params:
    """||sum_k J_k^T v_k||^2 / n over the n predictions that count, entry by entry."""
    counted = loss.likelihood.counted(batch[1]).astype(cotangents.dtype)
    (gradient,) = pull(cotangents * counted[..., None])
    return jax.tree.map(lambda leaf: leaf**2 / jnp.sum(counted).astype(leaf.dtype), gradient)


def _drawn(key: Array, params: Params, draw: Callable[..., Array]) -> Params:
    """A tree like the parameters, drawn leaf by leaf."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [draw(one, leaf.shape, leaf.dtype) for one, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def total(parts: Params) -> Scalar:
    """The sum of all entries."""
    return jax.tree.reduce(jnp.add, jax.tree.map(jnp.sum, parts))
