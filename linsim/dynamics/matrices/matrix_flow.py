"""Gradient flow of one or two layers, exactly: any start of one layer, any lambda-balanced start of two."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.dynamics.matrices.eigenbasis import Spectrum, spectrum
from linsim.dynamics.matrices.layer_flow import layer_flow
from linsim.dynamics.matrices.own_coordinates import own_flow
from linsim.dynamics.matrices.width import balance_of, narrowed
from linsim.errors import brief, numbers, require, require_number
from linsim.precision import in_float64

_LARGEST = 1e30  # of matrices, of whose powers decompositions are taken
_LONGEST = 1e20  # rate x time: beyond it rounding of the rate alone decides
_WHITE = 1e-12  # relative to its norm, what an input covariance may be off from a multiple of the identity


@in_float64
def matrix_flow(
    weights: tuple[Any, ...],
    target: Any,
    times: Any,
    weight_decay: float = 0.0,
    *,
    input_covariance: Any = None,
) -> tuple[Float[np.ndarray, "*times _ _"], ...]:
    """Weights W_l(t) of the gradient flow of tr((P - A) S (P - A)^T) + (beta / 2) sum_l ||W_l||^2, P = W_2 W_1 or W_1.

    The weights of integrating every layer, in their own coordinates. Two layers conserve their balance: flow on another
    task is this function once more, from the result.

    Args:
      weights: (W_1,), or (W_1, W_2) with W_2^T W_2 - W_1 W_1^T = l I, at t = 0; shapes (hidden, d_in), (d_out, hidden).
      target: A, shape (d_out, d_in).
      times: flow times t >= 0, an array of any shape.
      weight_decay: beta >= 0; of two layers it needs l = 0.
      input_covariance: S, shape (d_in, d_in), default I; of two layers a multiple of I.

    Returns:
      (W_1,) or (W_1, W_2), times along the leading axes. At t = 0 the start itself. Computed in float64; errors of P,
      W_1^T W_1 and W_2 W_2^T are those of rounding the start, eps (||W_1||^2 + ||W_2||^2) at first, and grow as modes
      do where the flow passes a saddle: a mode that exact arithmetic would never learn is learned at about
      t = 18 / sigma; `flow_rounding` tells where that is so. The rotation of the hidden layer is right to 1e-11 of
      the largest weight; what it costs says `linsim.dynamics.matrices.own_coordinates`.

    Raises:
      InvalidInput: shapes that do not chain, a start that is not lambda-balanced (says by how much), weight decay with
        l != 0, an input covariance that is none or not white for two layers, or times that are negative, complex or
        not finite.

    Example:
      >>> W_1, W_2 = ls.matrix_flow(ls.identity((2, 2, 2), tau=2.0), np.diag([2.0, 1.0]), times=[0.0, 10.0])
      >>> (W_2 @ W_1)[-1].round(3)
      array([[2., 0.],
             [0., 1.]])
      >>> (W_1,) = ls.matrix_flow((np.zeros((1, 2)),), np.ones((1, 2)), 0.5, input_covariance=np.diag([2.0, 1.0]))
      >>> W_1.round(3)
      array([[0.865, 0.632]])
    """
    several = isinstance(weights, list | tuple) and len(weights) in (1, 2)
    require(several, "weights", brief(weights), "one layer (W_1,) or two (W_1, W_2)")
    layers = tuple(_matrix(f"W_{number}", layer) for number, layer in enumerate(weights, start=1))
    matrix = _matrix("A", target)
    chained = matrix.shape == (layers[-1].shape[0], layers[0].shape[1])
    chained &= len(layers) == 1 or layers[1].shape[1] == layers[0].shape[0]
    shapes = ", ".join(f"W_{number} {layer.shape}" for number, layer in enumerate(layers, start=1))
    wide = "(d_out, d_in) each" if len(layers) == 1 else "(h, d_in), (d_out, h), (d_out, d_in)"
    require(chained, "weights", f"{shapes}, A {matrix.shape}", f"shapes that chain: {wide}")
    times = require_times(times)
    require_number("weight_decay", weight_decay, at_least=0, at_most=_LARGEST)
    variances, directions = _covariance(input_covariance, matrix.shape[1])
    if len(layers) == 1:
        forces = (matrix @ directions) * variances, variances + weight_decay / 2
        later = layer_flow(layers[0] @ directions, *forces, times.reshape(*times.shape, 1, 1))
        moved = np.where(times[..., None, None] == 0, layers[0], np.asarray(later) @ directions.T)
        return (moved,)
    white = float(np.ptp(variances)) <= _WHITE * float(np.max(variances)) and float(np.min(variances)) > 0
    require(white, "input_covariance", f"variances from {variances[0]:g} to {variances[-1]:g}", "v I with v > 0")
    balance = balance_of(*layers)
    allowed = "0 unless W_2^T W_2 = W_1 W_1^T: decay does not conserve another balance"
    require(weight_decay == 0 or balance == 0, "weight_decay", f"{weight_decay:g} with l = {balance:.3g}", allowed)
    left, strengths, right = np.linalg.svd(matrix)
    variance = float(np.mean(variances))
    fastest = max(variance * max(float(strengths[0]), *(float(np.sum(layer**2)) for layer in layers)), weight_decay)
    folds = fastest * float(np.max(times, initial=0.0))
    require(folds <= _LONGEST, "times", f"{folds:.3g} e-folds of what moves fastest", f"up to {_LONGEST:g}")
    modes = spectrum(jnp.asarray(left), jnp.asarray(strengths), jnp.asarray(right.T), jnp.asarray(balance))
    return two_layer_flow(layers[0], layers[1], modes, np.asarray(variance * times), weight_decay / variance)


def two_layer_flow(
    first: Float[np.ndarray, "hidden d_in"],
    second: Float[np.ndarray, "d_out hidden"],
    modes: Spectrum,
    times: Float[np.ndarray, "*times"],
    weight_decay: float,
) -> tuple[Float[np.ndarray, "*times hidden d_in"], Float[np.ndarray, "*times d_out hidden"]]:
    """The same of two layers with S = I, from the spectrum of F."""
    narrow = narrowed(first, second)
    start = np.concatenate([narrow.first.T, narrow.second])
    factors = own_flow(modes, start, times.ravel(), weight_decay)
    inputs = first.shape[1]
    firsts = np.swapaxes(factors[:, :inputs] @ narrow.basis.T, 1, 2)
    seconds = factors[:, inputs:] @ narrow.basis.T
    return firsts.reshape(*times.shape, *first.shape), seconds.reshape(*times.shape, *second.shape)


def _covariance(values: Any, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances, ascending, and their directions."""
    if values is None:
        return np.ones(inputs), np.eye(inputs)
    matrix = _matrix("input_covariance", values)
    allowed = f"a symmetric matrix of shape ({inputs}, {inputs}) without negative variances"
    size = float(np.max(np.abs(matrix)))
    symmetric = matrix.shape == (inputs, inputs) and np.allclose(matrix, matrix.T, rtol=0, atol=_WHITE * size)
    require(symmetric, "input_covariance", f"a matrix of shape {matrix.shape}", allowed)
    variances, directions = np.linalg.eigh(matrix)
    least = float(variances[0])
    require(least >= -_WHITE * size, "input_covariance", f"a variance of {least:.3g}", allowed)
    return np.maximum(variances, 0), directions


def _matrix(field: str, values: Any) -> Float[np.ndarray, "_ _"]:
    matrix: np.ndarray = numbers(field, values, 2, most=_LARGEST)
    return matrix


def require_times(values: Any) -> Float[np.ndarray, "*times"]:
    """Flow times as an array, if they are real, finite and not negative."""
    if isinstance(values, np.ndarray) and values.size == 0 and values.dtype.kind in "iuf":  # no times, no weights
        return values.astype(np.float64)
    times: np.ndarray = numbers("times", values, at_least=0)
    return times
