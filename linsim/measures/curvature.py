"""Curvature of the population loss: Hessian, Gauss-Newton, Fisher, and their closed forms.

Hessian H = Gauss-Newton + a part that carries the residual P - A. P is linear in each weight, so that part has a zero
diagonal: tr H = tr Gauss-Newton everywhere, at any depth. All weights form one vector, (W_1, ..., W_L) row by row.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from linsim.errors import require, require_integer, require_number
from linsim.losses import Scalar, Weights, end_to_end, matmul, population_loss, require_chain

Matrix = Float[Array | np.ndarray, "_ _"]
Square = Float[Array, "weights weights"]
Modes = Float[Array | np.ndarray, " _"]


def loss_hessian(weights: Weights, target: Matrix, covariance: Matrix | None = None) -> Square:
    """d^2 L / dW dW over all weights at once, dense: memory n^2 for n weights, for small problems.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      target: A, shape (d_out, d_in).
      covariance: S, shape (d_in, d_in); None means S = I.

    Returns:
      The Hessian, shape (n, n), rows and columns in the order of `jax.flatten_util.ravel_pytree(weights)`.

    Raises:
      InvalidInput: shapes that do not chain.
    """
    second, goal = require_covariance(weights, covariance), require_target(weights, target)
    flat, unravel = ravel_pytree(weights)
    return jax.hessian(lambda vector: population_loss(unravel(vector), goal, second))(flat)


def gauss_newton(weights: Weights, covariance: Matrix | None = None) -> Square:
    """2 E[J^T J] with J = df(x)/dW: the Hessian where the residual is zero, and positive semidefinite everywhere.

    The Fisher matrix of a Gaussian model with unit output noise is half of it. Dense, for small problems.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      covariance: S, shape (d_in, d_in); None means S = I.

    Returns:
      Shape (n, n), in the order of `loss_hessian`.

    Raises:
      InvalidInput: shapes that do not chain.
    """
    second = require_covariance(weights, covariance)
    flat, unravel = ravel_pytree(weights)
    jacobian = jax.jacobian(lambda vector: end_to_end(unravel(vector)))(flat)  # (d_out, d_in, n)
    weighted = jacobian if second is None else jnp.einsum("oin,ij->ojn", jacobian, second, precision="highest")
    rows = (-1, flat.size)
    return 2 * matmul(jacobian.reshape(rows).T, weighted.reshape(rows))


def trace_of_curvature(weights: Weights, covariance: Matrix | None = None) -> Scalar:
    """tr H = tr Gauss-Newton = 2 sum_l ||W_L ... W_{l+1}||^2 tr(W_{l-1} ... W_1 S (W_{l-1} ... W_1)^T), any depth.

    For two layers 2 (tr(S) ||W_2||^2 + d_out tr(W_1 S W_1^T)). Noise gamma on all weights raises the loss by
    (gamma^2 / 2) tr H to leading order. Exact away from minima too, and independent of the target. Cost O(L d^3).

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain.

    Source: re-derived.
    """
    before, after = _around_each_layer(weights, require_covariance(weights, covariance))
    return 2 * jnp.sum(_traces(before) * _traces(after))


def fisher_trace(weights: Weights, covariance: Matrix | None = None) -> Scalar:
    """tr E[J^T J], the trace of the Fisher matrix with unit output noise: `trace_of_curvature` / 2. [re-derived]"""
    return trace_of_curvature(weights, covariance) / 2


def gradient_square(weights: Weights, target: Matrix, covariance: Matrix | None = None) -> Scalar:
    """||dL/dW||^2, the squared gradient of the mean loss.

    Monitoring code often calls this the Fisher trace. It is not: it falls to 0 at every minimum, whereas `fisher_trace`
    rises with every learned mode, and mean and square do not commute (`empirical_fisher_trace`).

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      target: A, shape (d_out, d_in).
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain.
    """
    second, goal = require_covariance(weights, covariance), require_target(weights, target)
    slopes = jax.grad(population_loss)(weights, goal, second)
    return jnp.sum(jnp.stack([jnp.sum(layer**2) for layer in slopes]))


def empirical_fisher_trace(
    weights: Weights, target: Matrix, covariance: Matrix | None = None, label_noise: float | Scalar = 0.0
) -> Scalar:
    """E ||d/dW (1/2)||f(x) - y||^2||^2 over single examples, x ~ N(0, S), y = A x + sy e.

    With B_l = W_L ... W_{l+1}, A_l = W_{l-1} ... W_1, R = P - A, M_l = R^T B_l B_l^T R and N_l = A_l^T A_l it is
      sum_l  tr(M_l S) tr(N_l S) + 2 tr(M_l S N_l S) + sy^2 ||B_l||^2 tr(N_l S).
    The 1/2 makes it the gradient of a log-likelihood with unit output noise; for the loss without 1/2 it is 4 times
    this. Once R = 0 it is sy^2 `fisher_trace`: noise variance times Fisher, 0 without label noise.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      target: A, shape (d_out, d_in).
      covariance: S, shape (d_in, d_in); None means S = I.
      label_noise: sy >= 0.

    Raises:
      InvalidInput: shapes that do not chain, negative label noise.

    Source: re-derived with Isserlis' theorem; the last two terms aside it needs Gaussian inputs.
    """
    if isinstance(label_noise, (int, float)):
        require_number("label_noise", label_noise, at_least=0)
    second, goal = require_covariance(weights, covariance), require_target(weights, target)
    root = jnp.eye(weights[0].shape[1], dtype=weights[0].dtype) if second is None else second
    residual = end_to_end(weights) - goal
    before, after = _around_each_layer(weights, second)
    total = label_noise**2 * jnp.sum(_traces(before) * _traces(after))
    seen = root  # A_l S, so that S A_l^T A_l S = seen^T seen
    for layer, (moment, gram) in enumerate(zip(before, after, strict=True)):
        errors = matmul(matmul(residual.T, gram), residual)  # M_l
        crossed = matmul(seen.T, seen)
        total += jnp.sum(errors * root) * jnp.trace(moment) + 2 * jnp.sum(errors * crossed)
        seen = matmul(weights[layer], seen)
    return total


def aligned_spectrum(
    outer: Modes, inner: Modes, strengths: Modes, widths: tuple[int, int, int] | None = None
) -> Float[Array, " eigenvalues"]:
    """The whole spectrum of the Hessian of two aligned layers.

    W_2 = U diag(p), W_1 = diag(q) V^T, A = U diag(sigma) V^T, the diagonal matrices padded with zeros to the widths.
    With r_i = p_i q_i - sigma_i the Hessian splits into 2 [[q_i^2, p_i q_i + r_i], [., p_i^2]] for each mode, acting on
    its own entries of (W_2, W_1), and for each pair i < j, acting on (W_2, W_1)_ij and then (W_2, W_1)_ji,
      2 [[q_j^2, p_i q_j, 0, r_i], [., p_i^2, r_j, 0], [., ., q_i^2, p_j q_i], [., ., ., p_j^2]].
    Each mode has besides 2 q_i^2 for every output beyond the modes, 2 p_i^2 for every such input, +-2 r_i for every
    such hidden unit; all else is 0. S = I. Cost O(d^2), where the dense Hessian takes O(d^6).

    Args:
      outer: p, shape (modes,), of either sign.
      inner: q, shape (modes,).
      strengths: sigma, shape (modes,).
      widths: (d_in, h, d_out), none below the number of modes; None means that all are equal to it.

    Returns:
      h (d_in + d_out) eigenvalues in increasing order.

    Raises:
      InvalidInput: a width below the number of modes.

    Source: re-derived.
    """
    p, q, sigma = (jnp.asarray(values) for values in (outer, inner, strengths))
    shapes = p.shape, q.shape, sigma.shape
    require(len(set(shapes)) == 1, "strengths", f"shapes {shapes}", "one shape for outer, inner and strengths")
    d_in, hidden, d_out = (p.size,) * 3 if widths is None else widths
    for width in (d_in, hidden, d_out):
        require_integer("widths", width, at_least=p.size)
    r = p * q - sigma
    centre, radius = p**2 + q**2, jnp.hypot(p**2 - q**2, 2 * (p * q + r))
    own = [centre - radius, centre + radius]
    i, j = np.triu_indices(p.size, k=1)
    pi, pj, qi, qj, ri, rj = p[i], p[j], q[i], q[j], r[i], r[j]
    none = jnp.zeros_like(pi)
    pairs = 2 * _blocks(
        [
            [qj**2, pi * qj, none, ri],
            [pi * qj, pi**2, rj, none],
            [none, rj, qi**2, pj * qi],
            [ri, none, pj * qi, pj**2],
        ]
    )
    beyond = [(2 * q**2, d_out), (2 * p**2, d_in), (2 * r, hidden), (-2 * r, hidden)]
    single = [jnp.repeat(values, width - p.size) for values, width in beyond]
    found = jnp.concatenate([*own, jnp.linalg.eigvalsh(pairs).ravel(), *single])
    return jnp.sort(jnp.concatenate([found, jnp.zeros(hidden * (d_in + d_out) - found.size, found.dtype)]))


def balanced_minimum_spectrum(strengths: Modes, depth: int) -> Float[Array, "modes modes"]:
    """2 sum_l |s_i|^(2(L-l)/L) |s_j|^(2(l-1)/L): the Hessian's spectrum at a balanced minimum P = A of depth L, S = I.

    Two layers: 2 (s_i + s_j). Any basis, aligned or not, and any hidden widths: all other eigenvalues are 0.

    Args:
      strengths: s_i, the d singular values of A, zeros included; where d_in != d_out pad them with zeros to the larger
        side and read i <= d_out, j <= d_in.
      depth: L >= 1.

    Returns:
      The eigenvalue of output mode i and input mode j at [i, j], shape (d, d).

    Raises:
      InvalidInput: depth < 1.

    Source: re-derived; two layers after Saxe et al. 2014.
    """
    require_integer("depth", depth, at_least=1)
    share = jnp.abs(jnp.asarray(strengths)) ** (2 / depth)
    layers = range(1, depth + 1)
    return 2 * sum(
        (jnp.outer(share ** (depth - l), share ** (l - 1)) for l in layers), start=jnp.zeros((share.size,) * 2)
    )


def top_curvature(strengths: Modes, depth: int) -> Scalar:
    """2 L sigma_1^(2(L-1)/L) with sigma_1 = max|sigma_i|, the largest eigenvalue of `balanced_minimum_spectrum`.

    Two layers: 4 sigma_1. Gradient descent at a larger rate than 2 / this cannot stay there. [re-derived]
    """
    require_integer("depth", depth, at_least=1)
    return 2 * depth * jnp.max(jnp.abs(jnp.asarray(strengths))) ** (2 * (depth - 1) / depth)


def _around_each_layer(weights: Weights, covariance: Matrix | None) -> tuple[list[Array], list[Array]]:
    """A_l S A_l^T with A_l = W_{l-1} ... W_1, and B_l B_l^T with B_l = W_L ... W_{l+1}, for l = 1..L."""
    d_in, d_out = weights[0].shape[1], weights[-1].shape[0]
    before = [jnp.eye(d_in, dtype=weights[0].dtype) if covariance is None else jnp.asarray(covariance)]
    for weight in weights[:-1]:
        before.append(matmul(matmul(weight, before[-1]), weight.T))
    product = jnp.eye(d_out, dtype=weights[-1].dtype)
    after = [product]
    for weight in reversed(weights[1:]):
        product = matmul(product, weight)
        after.append(matmul(product, product.T))
    return before, after[::-1]


def _traces(matrices: list[Array]) -> Float[Array, " layers"]:
    return jnp.stack([jnp.trace(matrix) for matrix in matrices])


def _blocks(rows: list[list[Array]]) -> Float[Array, "blocks size size"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def require_covariance(weights: Weights, covariance: Matrix | None) -> Float[Array, "_ _"] | None:
    """The covariance as an array of JAX, if it and the layers have shapes that fit."""
    require_chain(weights)
    if covariance is None:
        return None
    shape = (weights[0].shape[1],) * 2
    require(covariance.shape == shape, "covariance", f"shape {covariance.shape}", f"shape {shape}, as the inputs")
    return jnp.asarray(covariance)


def require_target(weights: Weights, target: Matrix) -> Float[Array, "_ _"]:
    """The target as an array of JAX, if its shape is that of the network's map."""
    shape = (weights[-1].shape[0], weights[0].shape[1])
    require(target.shape == shape, "target", f"shape {target.shape}", f"shape {shape}, as the network's map")
    return jnp.asarray(target)
