"""Sensitivity: the loss after a modification that does not depend on the task, noise on the weights.

Noise is W_l + gamma_l Z_l with independent standard normal entries Z_l, gamma in units of the weights. Only its first
two moments enter, so every result holds for any independent entries of mean 0 and variance gamma_l^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from linsim.errors import LARGEST, numbers, require
from linsim.losses import Scalar, Weights, matmul, population_loss, require_chain
from linsim.precision import in_float64

Values = Float[ArrayLike, "..."]
Scales = Values | Sequence[float | Values]
"""gamma >= 0 for every layer, or (gamma_1, ..., gamma_L), each a number or one for every row of W_l, shape (rows,)."""
Matrix = Float[Array | np.ndarray, "_ _"]


class Orders(NamedTuple):
    """The increase of the loss of two layers, by its order in gamma."""

    quadratic: Scalar
    """(gamma^2 / 2) tr H where both layers share one gamma."""
    quartic: Scalar
    """The noise of one layer meeting that of the other; the same for all weights of a shape."""


@in_float64
def expected_loss(weights: Weights, target: Matrix, scales: Scales, covariance: Matrix | None = None) -> Scalar:
    """E L(W + gamma Z), the population loss averaged over Gaussian noise on the weights; exact, any depth.

    E L = L(W) + `expected_increase`. Cost O(L d^3), no samples.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      target: A, shape (d_out, d_in).
      scales: gamma >= 0, one number, or L of them, or for each layer one for every row of W_l (output unit).
      covariance: S, shape (d_in, d_in); None means S = I.

    Returns:
      The expected loss above the label noise floor, a scalar.

    Raises:
      InvalidInput: shapes that do not chain, a wrong number of scales, a negative scale.

    Source: re-derived.

    Example:
      >>> weights = ls.identity((2, 2, 2), tau=0.0)
      >>> round(float(ls.expected_loss(weights, np.eye(2), scales=0.1)), 6)
      0.0808
    """
    increase = expected_increase(weights, scales, covariance)
    numbers("target", target, 2, most=LARGEST)
    ends = (weights[-1].shape[0], weights[0].shape[1])
    require(target.shape == ends, "target", f"shape {target.shape}", f"shape {ends}, as the network's map")
    second = None if covariance is None else jnp.asarray(covariance)
    return population_loss(weights, jnp.asarray(target), second) + increase


def expected_increase(weights: Weights, scales: Scales, covariance: Matrix | None = None) -> Scalar:
    """E L(W + gamma Z) - L(W), the sensitivity: exact, any depth, and the same for every target.

    M_0 = S, M_l = W_l M_{l-1} W_l^T + tr(M_{l-1}) diag(gamma_l^2) is the mean second moment of layer l, gamma_l one
    number or one for every row, and the increase is tr(M_L) - tr(P S P^T): the target enters L with the mean of P
    alone, which noise leaves unchanged. What is carried is M_l less its value without noise, so a small increase is not
    a difference of large losses.

    Args:
      weights: (W_1, ..., W_L), W_1 the input layer.
      scales: gamma >= 0, one number, or L of them, or for each layer one for every row of W_l (output unit).
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: shapes that do not chain, a wrong number of scales, a negative scale.

    Source: re-derived.
    """
    _require_chain(weights, covariance)
    gammas = _by_rows(scales, weights)
    clean = jnp.eye(weights[0].shape[1], dtype=weights[0].dtype) if covariance is None else jnp.asarray(covariance)
    extra = jnp.zeros_like(clean)
    for weight, gamma in zip(weights, gammas, strict=True):
        added = (jnp.trace(clean) + jnp.trace(extra)) * jnp.diag(gamma**2)
        clean, extra = (matmul(matmul(weight, moment), weight.T) for moment in (clean, extra))
        extra = extra + added
    return jnp.trace(extra)


def two_layer_increase(weights: Weights, scales: Scales, covariance: Matrix | None = None) -> Orders:
    """The increase of two layers by order: g1^2 tr(S) ||W_2||^2 + g2^2 d_out tr(W_1 S W_1^T), g1^2 g2^2 d_out h tr(S).

    Their sum is `expected_increase`. The first sees the weights' norms only, the second the shapes only. Where g varies
    over rows, g1^2 ||W_2||^2 weighs the columns of W_2, and g2^2 d_out and g1^2 h are sums over rows.

    Args:
      weights: (W_1, W_2), shapes (h, d_in) and (d_out, h).
      scales: gamma >= 0, one number or (g1, g2), or one for every row as in `expected_loss`.
      covariance: S, shape (d_in, d_in); None means S = I.

    Raises:
      InvalidInput: other than two layers, shapes that do not chain, a wrong number of scales, a negative scale.

    Source: re-derived; as restated in Feng et al. 2026 to leading order.
    """
    _require_chain(weights, covariance)
    require(len(weights) == 2, "weights", f"{len(weights)} layers", "two layers")
    (first, second), (inner, outer) = weights, [gamma**2 for gamma in _by_rows(scales, weights)]
    size = jnp.asarray(first.shape[1], first.dtype) if covariance is None else jnp.trace(jnp.asarray(covariance))
    carried = first if covariance is None else matmul(first, jnp.asarray(covariance))
    quadratic = size * jnp.sum(inner[None, :] * second**2) + jnp.sum(outer) * jnp.sum(carried * first)
    return Orders(quadratic, jnp.sum(inner) * jnp.sum(outer) * size)


def relative_scales(weights: Weights, relative: Values | Sequence[float]) -> Float[Array, " layers"]:
    """gamma_l = r_l rms(W_l), scales for `expected_loss` in units of each layer's root mean square entry.

    W_l -> c_l W_l carries the noise along with the layer, so the increase takes the factor prod_l c_l^2, and with
    prod_l c_l = 1, as in W_l -> c W_l and W_{l+1} -> W_{l+1} / c, the expected loss stays as it is. Under one absolute
    scale it does not. A layer of zeros gets no noise.

    Args:
      weights: (W_1, ..., W_L).
      relative: r >= 0, one number or L of them; 0.1 is noise of a tenth of a typical entry.

    Returns:
      One gamma a layer, shape (L,).

    Raises:
      InvalidInput: a wrong number of scales, a negative scale.

    Source: re-derived.
    """
    require(len(weights) > 0, "weights", weights, "at least one layer")
    sizes = jnp.stack([jnp.sqrt(jnp.mean(weight**2)) for weight in weights])
    return _by_layers("relative", relative, weights) * sizes


def _by_rows(scales: Any, weights: Weights) -> list[Float[Array, " _"]]:
    """gamma of every row of every layer."""
    require(not isinstance(scales, str | bytes), "scales", scales, "numbers >= 0")
    given = scales if isinstance(scales, Sequence) else _by_layers("scales", scales, weights)
    _require_each_layer("scales", (len(given),), weights)
    gammas = []
    for layer, (scale, weight) in enumerate(zip(given, weights, strict=True), start=1):
        require_not_negative("scales", scale)
        gamma, rows = jnp.asarray(scale, weights[0].dtype), weight.shape[:1]
        allowed = f"one number, or shape {rows}, one for each row of W_{layer}"
        require(gamma.shape in ((), rows), "scales", f"shape {gamma.shape}", allowed)
        gammas.append(jnp.broadcast_to(gamma, rows))
    return gammas


def _by_layers(field: str, scales: Any, weights: Weights) -> Float[Array, " layers"]:
    for scale in scales if isinstance(scales, Sequence) else [scales]:
        require_not_negative(field, scale)
    gammas = jnp.asarray(scales, weights[0].dtype)
    _require_each_layer(field, gammas.shape, weights)
    return jnp.broadcast_to(gammas, (len(weights),))


def _require_each_layer(field: str, shape: tuple[int, ...], weights: Weights) -> None:
    layers = len(weights)
    require(shape in ((), (layers,)), field, f"shape {shape}", f"one number, or {layers}, one a layer")


def require_not_negative(field: str, value: object) -> None:
    """Numbers, or arrays of them, that are finite and >= 0; those within a compiled program pass."""
    numbers(field, value, at_least=0, most=LARGEST)


def _require_chain(weights: Weights, covariance: Matrix | None) -> None:
    require_chain(weights)
    if covariance is not None:
        numbers("covariance", covariance, 2, most=LARGEST)
        inputs = weights[0].shape[1]
        require(covariance.shape == (inputs,) * 2, "covariance", f"shape {covariance.shape}", f"({inputs}, {inputs})")
