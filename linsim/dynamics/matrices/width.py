"""Two layers at the least width: descent and flow never leave the span of the initial hidden vectors.

Updates of W_1 and W_2^T are combinations of their own columns, at most d_in + d_out vectors of the hidden layer. In an
orthonormal basis B of their span the weights W_1 = B w_1, W_2 = w_2 B^T follow the same dynamics with hidden width
d_in + d_out at most, whatever the width of the network. [re-derived]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.errors import require

Layer = Float[np.ndarray, "_ _"]


class Narrowed(NamedTuple):
    """Two layers in a basis of the hidden vectors that they use."""

    first: Layer
    """w_1 of shape (k, d_in), k = min(h, d_in + d_out)."""
    second: Layer
    """w_2 of shape (d_out, k)."""
    basis: Layer
    """B of shape (h, k), orthonormal columns."""


def narrowed(first: Layer, second: Layer) -> Narrowed:
    """The narrowest form of W_1 of shape (h, d_in) and W_2 of shape (d_out, h); themselves where h <= d_in + d_out."""
    hidden, inputs = first.shape
    if hidden <= inputs + second.shape[0]:
        return Narrowed(first, second, np.eye(hidden))
    basis, vectors = np.linalg.qr(np.concatenate([first, second.T], axis=1))
    return Narrowed(vectors[:, :inputs], vectors[:, inputs:].T, basis)


def balance_of(first: Layer, second: Layer) -> float:
    """l of lambda-balanced layers, W_2^T W_2 - W_1 W_1^T = l I. [Domine et al. 2025]

    Raises:
      InvalidInput: layers that are off by more than rounding, 1e-12 of their squared norm; says by how much.
    """
    difference, size = _difference(first, second)
    balance = float(np.trace(difference)) / len(difference)
    off = float(np.linalg.norm(difference - balance * np.eye(len(difference)))) / (size or 1.0)
    hint = "; weights drawn in float32 are off by 1e-7: switch on jax_enable_x64 first" if off < _SINGLE else ""
    allowed = f"W_2^T W_2 - W_1 W_1^T = l I up to {BALANCED:g}{hint}"
    require(off <= BALANCED, "weights", f"balance off by {off:.1e}", allowed)
    return balance if abs(balance) > BALANCED * size else 0.0


BALANCED = 1e-12
"""Imbalance allowed as rounding, relative to ||W_1||^2 + ||W_2||^2."""

_SINGLE = 1e-5  # imbalance below which weights look as if they had been balanced in float32


def _difference(first: Layer, second: Layer) -> tuple[Layer, float]:
    """W_2^T W_2 - W_1 W_1^T, and the squared norm of the layers.

    A hidden layer wider than both sides can only be balanced with l = 0; its narrow form says the same at less cost.
    """
    narrow = narrowed(first, second)
    inner, outer = narrow.first @ narrow.first.T, narrow.second.T @ narrow.second
    return outer - inner, float(np.trace(outer) + np.trace(inner))
