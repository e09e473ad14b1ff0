"""What the claims about curvature compare with: dense Hessians from differences, and balanced layers in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

ROUNDING = 1e-11
"""Differences over steps of 1 lose the digits by which the largest loss exceeds its curvature."""


def product(weights: Any) -> Any:
    """W_L ... W_1, of stacks of layers too."""
    result = weights[0]
    for weight in weights[1:]:
        result = weight @ result
    return result


def hessian(weights: Any, target: Any) -> Any:
    """d^2 ||W_L ... W_1 - A||^2 / dW dW, weights in the order (W_1, ..., W_L) row by row.

    By mixed differences over steps of 1, which are exact: the loss has degree 2 in each weight.
    """
    cuts, flat = np.cumsum([weight.size for weight in weights])[:-1], np.concatenate([w.ravel() for w in weights])
    steps, total = np.eye(flat.size), np.zeros((flat.size, flat.size))
    for first, second in itertools.product((1.0, -1.0), repeat=2):
        points = flat + first * steps[:, None] + second * steps[None, :]
        parts = np.split(points, cuts, axis=-1)
        layers = [part.reshape(*part.shape[:2], *w.shape) for part, w in zip(parts, weights, strict=True)]
        total += first * second / 4 * np.sum((product(layers) - target) ** 2, axis=(2, 3))
    return total


def bases(seed: int, widths: tuple[int, ...], modes: int) -> list[Any]:
    """Random orthonormal columns, one for each mode, at every width."""
    rng = np.random.default_rng(seed)
    return [np.linalg.qr(rng.standard_normal((width, modes)))[0] for width in widths]


def balanced(seed: int, widths: tuple[int, ...], strengths: Any) -> list[Any]:
    """Balanced layers in random bases whose product has the singular values s_i."""
    share = strengths ** (1 / (len(widths) - 1))
    return [(outer * share) @ inner.T for inner, outer in itertools.pairwise(bases(seed, widths, len(strengths)))]
