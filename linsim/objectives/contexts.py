"""The loss over finitely many contexts, its gradient and its curvature, as a tree of arrays of NumPy or of JAX.

The formulas are written once, in the namespace of the arrays that they are given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from linsim.losses import Scalar, Weights, matmul

Array = Any
"""Of NumPy, with any leading axes; or of JAX, a single one."""


class SoftmaxContexts(NamedTuple):
    """sum_c p_c KL(q_c || softmax(P x_c))."""

    inputs: Array | None
    """x_c, of shape (contexts, d_in); None where they are one-hot."""
    frequencies: Array
    """p_c."""
    labels: Array
    """q_c, of shape (contexts, d_out)."""

    def loss(self, product: Array) -> Array:
        """L of maps of shape (..., d_out, d_in), in nats."""
        logits = _logits(product, self.inputs)
        return _mean(self.frequencies, _divergence(self.labels, log_softmax(logits)))

    def slope(self, product: Array) -> Array:
        """dL/dP."""
        predicted = _space(product).exp(log_softmax(_logits(product, self.inputs)))
        return _pulled(self, predicted - self.labels)

    def fisher_trace(self, weights: Weights) -> Scalar:
        """tr F = sum_c p_c tr(J_c^T (diag p - p p^T) J_c) over all weights, p = softmax(P x_c): tr H too.

        J_c is the derivative of the logits, which are linear in every single weight: the Hessian adds to the Fisher
        matrix only what has no trace.
        """
        total: Any = 0.0
        for before, after, predicted in _by_layer(self, weights):
            shares = jnp.exp(log_softmax(predicted))
            mean = matmul(shares, after)
            spread = matmul(shares, jnp.sum(after**2, axis=1)[:, None])[:, 0] - jnp.sum(mean**2, axis=1)
            total = total + jnp.sum(self.frequencies * spread * jnp.sum(before**2, axis=0))
        return jnp.asarray(total)


class SigmoidContexts(NamedTuple):
    """sum_c p_c sum_o KL(q_co || sigmoid(P x_c)_o), of labels that are yes with probability q_co."""

    inputs: Array | None
    """As of softmax."""
    frequencies: Array
    """p_c."""
    labels: Array
    """q_co, of shape (contexts, d_out)."""

    def loss(self, product: Array) -> Array:
        """L of maps of shape (..., d_out, d_in), in nats."""
        logits, space = _logits(product, self.inputs), _space(product)
        both = space.stack([logits, space.zeros_like(logits)], axis=-1)  # yes and no as a softmax of two
        labels = space.stack([space.asarray(self.labels), 1 - space.asarray(self.labels)], axis=-1)
        return _mean(self.frequencies, _divergence(labels, log_softmax(both)).sum(axis=-1))

    def slope(self, product: Array) -> Array:
        """dL/dP."""
        logits, space = _logits(product, self.inputs), _space(product)
        predicted = space.exp(-space.logaddexp(space.zeros_like(logits), -logits))
        return _pulled(self, predicted - self.labels)

    def fisher_trace(self, weights: Weights) -> Scalar:
        """tr F = sum_c p_c sum_o p (1 - p) ||dz_co/dW||^2 over all weights, p = sigmoid(P x_c)_o: tr H too."""
        total: Any = 0.0
        for before, after, predicted in _by_layer(self, weights):
            width = jax.nn.sigmoid(predicted) * jax.nn.sigmoid(-predicted)
            spread = matmul(width, jnp.sum(after**2, axis=1)[:, None])[:, 0]
            total = total + jnp.sum(self.frequencies * spread * jnp.sum(before**2, axis=0))
        return jnp.asarray(total)


Contexts = SoftmaxContexts | SigmoidContexts


def log_softmax(logits: Array) -> Array:
    """log of e^z / sum e^z over the last axis."""
    space = _space(logits)
    above = logits - space.max(logits, axis=-1, keepdims=True)
    return above - space.log(space.sum(space.exp(above), axis=-1, keepdims=True))


def _space(array: Array) -> Any:
    return array.__array_namespace__()


def _times(left: Array, right: Array) -> Array:
    """Accelerators round factors unless told otherwise."""
    return matmul(left, right) if isinstance(left, jax.Array) else left @ right


def _logits(product: Array, inputs: Array | None) -> Array:
    """z_c of shape (..., contexts, d_out)."""
    answers = product if inputs is None else _times(product, inputs.T)
    return _space(product).swapaxes(answers, -1, -2)


def _pulled(contexts: Contexts, errors: Array) -> Array:
    """sum_c p_c e_c x_c^T."""
    pulled = _space(errors).swapaxes(errors * contexts.frequencies[:, None], -1, -2)
    return pulled if contexts.inputs is None else _times(pulled, contexts.inputs)


def _divergence(labels: Array, predicted: Array) -> Array:
    """KL(q || p) over the last axis, of log p: sum of q (e^r - 1 - r) with r = log p - log q, and of p where q = 0.

    Its terms are not negative, so that near p = q, where it is a square, no digits are lost.
    """
    space = _space(predicted)
    some = labels > 0
    log = space.log(space.where(some, labels, space.ones_like(labels)))
    ratio = space.where(some, predicted - log, space.zeros_like(predicted))
    near = space.minimum(ratio, space.ones_like(ratio))
    small = labels * (space.expm1(near) - near)
    shares = space.exp(predicted)
    large = shares - labels - labels * ratio
    return space.sum(space.where(some & (ratio < 1), small, space.where(some, large, shares)), axis=-1)


def _mean(frequencies: Array, values: Array) -> Array:
    """Over contexts, the last axis."""
    return (values * frequencies).sum(axis=-1)


def _by_layer(contexts: Contexts, weights: Weights) -> list[tuple[Array, Array, Array]]:
    """Of every layer what it is given, (d_l, contexts), what follows, (d_out, d_l+1), and all logits beside it."""
    width = weights[0].shape[1]
    given = [jnp.eye(width, dtype=weights[0].dtype) if contexts.inputs is None else jnp.asarray(contexts.inputs).T]
    for weight in weights:
        given.append(matmul(weight, given[-1]))
    following = [jnp.eye(weights[-1].shape[0], dtype=weights[0].dtype)]
    for weight in weights[:0:-1]:
        following.append(matmul(following[-1], weight))
    return [(before, after, given[-1].T) for before, after in zip(given[:-1], following[::-1], strict=True)]
