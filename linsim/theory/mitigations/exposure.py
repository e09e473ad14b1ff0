"""Redundant inputs: which of them carries what is learned, and how early exposure to the data decides on it.

One output, p the end-to-end weights on the inputs, balanced layers. In the target data all inputs go along one
direction, x = z v with E z^2 = 1, so that any p with p . v = c solves the target: what is learned is c, how is open.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, SMALLEST, numbers, require, require_integer, require_number

Vectors = Float[np.ndarray, "*starts inputs"]
_DEEPEST = 64
_HALVINGS = 100


def redundant_end(start: ArrayLike, direction: ArrayLike, level: float, depth: int) -> Vectors:
    """Where training on x = z v takes end-to-end weights once p . v is at a level: rho |sin phi|^L is conserved.

    rho = ||p||, phi the angle between p and v, L the number of layers. With y the part of p across v and x the part
    along it, level/||v||, y^L (x^2 + y^2)^((1 - L)/2) keeps its value, and y its direction: one layer keeps y itself,
    and deeper ones move it with the weights they have, the more the deeper they are.

    Args:
      start: p of shape (..., inputs), balanced layers.
      direction: v of shape (inputs,), not 0.
      level: of p . v at the end: of the target, c, after training to convergence.
      depth: L.

    Returns:
      p at the end, of the shape of the start. Weights along v alone have no way around 0: two and more layers that
      begin there on the other side of it, or at 0, end at 0.

    Raises:
      InvalidInput: a number outside its domain, weights and direction of different lengths.

    Example:
      >>> [redundant_end([0.5, 0.0], [1.0, 1.0], 1.0, depth).round(3).tolist() for depth in (1, 2, 3)]
      [[0.75, 0.25], [0.825, 0.175], [0.863, 0.137]]

    Source: re-derived.
    """
    begun = np.asarray(numbers("start", start, most=1e15), np.float64)
    along = np.asarray(numbers("direction", direction, 1, most=1e15, sized=True), np.float64)
    require(begun.ndim > 0 and begun.shape[-1] == len(along), "start", f"shape {begun.shape}", f"(..., {len(along)})")
    length = float(np.linalg.norm(along))
    require_number("norm of direction", length, at_least=SMALLEST)
    require_number("level", level, at_least=-1e15, at_most=1e15)
    require_integer("depth", depth, at_least=1, at_most=_DEEPEST)
    unit, to = along / length, level / length
    before = begun @ unit
    across = begun - before[..., None] * unit
    size = np.linalg.norm(across, axis=-1)
    # What rounding leaves of an angle of 0 is none.
    off = size > 1e-14 * np.maximum(np.abs(before), SMALLEST)
    safe = np.where(off, size, 1.0)
    kept = depth * np.log(safe) + (1 - depth) / 2 * np.log(before**2 + safe**2)
    # ln y is at least `kept`, as rho >= y, and the invariant rises in it by a slope of 1 to L.
    low, high = kept, kept - _excess(kept, kept, to, depth)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _excess(middle, kept, to, depth) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    factor = np.where(off, np.exp((low + high) / 2) / safe, 0.0)
    crosses = ~off & (before * to <= 0) & (depth > 1)
    return np.asarray(factor[..., None] * across + np.where(crosses, 0.0, to)[..., None] * unit)


def mixed_solution(base: ArrayLike, direction: ArrayLike, level: float, share: ArrayLike) -> Vectors:
    """p_b + v a (c - p_b . v)/(1 - a + a ||v||^2): what solves (1 - a) ||p - p_b||^2 + a (p . v - c)^2.

    Pre-training on whitened inputs with a share a of the target data moves p along v alone, at any depth. Training on
    the target afterwards takes one layer along v too, to one point whatever the share was.

    Args:
      base: p_b of shape (inputs,).
      direction: v likewise.
      level: c.
      share: a from 0 to below 1, of any shape.

    Returns:
      p over (..., inputs), of the shape of the share.

    Raises:
      InvalidInput: a number outside its domain, weights and direction of different lengths.

    Example:
      >>> mixed_solution([0.8, 0.0], [1.0, 1.0], 1.0, [0.0, 0.5]).round(3).tolist()
      [[0.8, 0.0], [0.867, 0.067]]

    Source: re-derived.
    """
    known = np.asarray(numbers("base", base, 1, most=1e15, sized=True), np.float64)
    along = np.asarray(numbers("direction", direction, 1, most=1e15, sized=True), np.float64)
    require(len(known) == len(along), "base", f"{len(known)} weights", f"{len(along)}, as of the direction")
    require_number("level", level, at_least=-LARGEST, at_most=LARGEST)
    part = np.asarray(numbers("share", share, at_least=0, most=1 - 1e-15), np.float64)
    moved = part * (level - known @ along) / (1 - part + part * (along @ along))
    return np.asarray(known + moved[..., None] * along)


def _excess(log_size: Any, kept: Any, to: Any, depth: int) -> np.ndarray:
    """ln of the invariant at some y, less what it is."""
    return np.asarray(
        depth * log_size + (1 - depth) / 2 * np.logaddexp(2 * log_size, np.log(max(to**2, 1e-300))) - kept
    )
