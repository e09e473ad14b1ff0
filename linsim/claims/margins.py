"""Margins: by how much a statement holds, as a dimensionless number that is > 0 where it does and 1 at best.

Every helper gives -inf where a NaN comes in, so that what could not be computed counts as refuted.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from linsim.errors import numbers, require, require_number

REFUTED = -math.inf
"""The margin of what could not be computed."""


def holds(margin: float) -> bool:
    """Whether a margin says that the statement holds; never for NaN."""
    return bool(margin > 0)


def equals(measured: Any, stated: Any, tolerance: float, scale: float | None = None) -> float:
    """1 - max |measured - stated| / (tolerance scale): 1 where exact, 0 at the tolerance, -inf where that is not known.

    Args:
      measured: number or array.
      stated: the same shape, or one number for all.
      tolerance: largest relative error at which the statement still holds.
      scale: what errors are relative to: the size of a loss or target that is not small by cancellation, or a standard
        error, and then the tolerance is their number; default the largest magnitude of `stated` and `measured`.

    Example:
      >>> round(ls.equals(measured=1.001, stated=1.0, tolerance=0.01), 3)
      0.9
    """
    require_number("tolerance", tolerance, above=0)
    first, second = _pair(measured, stated)
    with np.errstate(invalid="ignore"):  # inf - inf
        error = float(np.max(np.abs(first - second)))
    return _finite_or_refuted(1 - error / (tolerance * _scale(scale, first, second)))


def exceeds(larger: Any, smaller: Any, rounding: float = 0.0, scale: float | None = None) -> float:
    """min (larger - smaller) / scale + rounding, at most 1: larger > smaller in every entry; -inf where not known.

    Args:
      larger: number or array.
      smaller: the same shape, or one number for all.
      rounding: relative slack; 0 asks for a strict inequality, 1e-12 or so lets equal numbers pass.
      scale: what differences are relative to; default the largest magnitude of both.

    Example:
      >>> ls.exceeds([3.0, 2.0], [1.0, 1.25])
      0.25
    """
    require_number("rounding", rounding, at_least=0)
    first, second = _pair(larger, smaller)
    with np.errstate(invalid="ignore"):
        gap = float(np.min(first - second)) / _scale(scale, first, second)
    return _finite_or_refuted(min(gap + rounding, 1.0))


def same_side(first: float, second: float, rounding: float = 0.0) -> float:
    """The statement "first > 0 if and only if second > 0": the smaller magnitude, negative where the signs differ.

    It is -inf where one of them is NaN.

    Args:
      first: dimensionless distance to the first threshold, positive beyond it.
      second: the same for the second threshold.
      rounding: slack at the thresholds, where rounding decides on the signs.

    Example:
      >>> ls.same_side(0.2, 0.5)
      0.2
      >>> ls.same_side(0.2, -0.5)
      -0.2
    """
    require_number("rounding", rounding, at_least=0)
    first, second = (float(numbers("distance", each, 0, finite=False)) for each in (first, second))
    agree = (first > 0) == (second > 0)
    smaller = min(abs(first), abs(second), 1.0) if not math.isnan(first + second) else REFUTED
    return _finite_or_refuted(rounding + (smaller if agree else -abs(smaller)))


def every(*margins: float) -> float:
    """All statements at once: the smallest margin, -inf if one is NaN (the builtin min would lose it).

    Example:
      >>> ls.every(0.3, 0.1)
      0.1
      >>> ls.every(0.3, float("nan"))
      -inf
    """
    require(len(margins) > 0, "margins", margins, "at least one")
    return min(_finite_or_refuted(float(numbers("margins", margin, 0, finite=False))) for margin in margins)


def _pair(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    left, right = numbers("margin", first, finite=False), numbers("margin", second, finite=False)
    shapes = f"shapes {left.shape} and {right.shape}"
    require(left.shape == right.shape or right.ndim == 0, "margin", shapes, "equal shapes, or one number to compare to")
    return left, right


def _scale(scale: float | None, first: np.ndarray, second: np.ndarray) -> float:
    if scale is not None:
        require(not float(numbers("scale", scale, 0, finite=False)) <= 0, "scale", scale, "a number > 0")
        return float(scale)
    return max(float(np.max(np.abs(first))), float(np.max(np.abs(second)))) or 1.0  # both are zero: exactly equal


def _finite_or_refuted(margin: float) -> float:
    return REFUTED if math.isnan(margin) else margin
