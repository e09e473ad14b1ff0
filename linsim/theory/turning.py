"""Turning points of curves over log time, each certified by the signs of the slope on both sides.

A minimum on a grid shows that a curve is lower there than at the neighbours tried. A bracket whose slope is negative on
the left and positive on the right, by more than rounding, shows that there is a minimum within. Slopes are difference
quotients [L(x + h) - L(x - h)] / 2h: by the mean value theorem each is the slope at a point within h of x, so that its
sign, which takes no derivative of singular vectors, certifies as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from linsim.losses import Scalar

_STEP = 1e-4  # h, in log t: the root moves by h^2 L''' / 6 L'', some 1e-8, and rounding counts 1e4 times
_HALVINGS = 32  # of a bracket between grid points, to 1e-10
_WIDTHS = 1e-6 * 10.0 ** np.arange(6)  # half-widths of brackets in log t, of which the smallest certified one is told


class LowestPoint(NamedTuple):
    """The lowest point of a curve over log t."""

    place: Scalar
    """log t of the lowest point: an end of the range, or the root of the slope."""
    value: Scalar
    """Of the curve there, or within h of it; never above those on the grid."""
    low: Scalar
    """Left end of the certified bracket."""
    high: Scalar
    """Right end."""
    certified: Bool[Array, ""]
    """Whether the curve falls at `low` and rises at `high`, each by more than rounding."""


def lowest(
    curve: Callable[[Any], Any], grid: Float[Array, " grid"], values: Float[Array, " grid"], rounding: Any
) -> LowestPoint:
    """The lowest point of a curve: the smallest value on a grid, then the root of the slope between its neighbours.

    Args:
      curve: log t -> value, for one log t; may be vmapped around.
      grid: increasing log t.
      values: of the curve on the grid.
      rounding: error of a value.

    Returns:
      The point; not certified where the curve only rises, or only falls, or turns too flatly, or too near an end of the
      range, to tell.
    """
    best = jnp.argmin(values)
    tries = len(_WIDTHS)
    offsets = jnp.asarray(np.concatenate([np.zeros(_HALVINGS + 1), -_WIDTHS, _WIDTHS]), grid.dtype)

    def step(bracket: Any, turn: Any) -> Any:
        """Halve the bracket, and once that is done look around its middle; one loop, as compiling takes longest."""
        number, offset = turn
        low, high = bracket
        middle = 0.5 * (low + high)
        places = middle + offset + _STEP * jnp.asarray([-1.0, 1.0], grid.dtype)
        behind, ahead = jax.lax.map(curve, jnp.clip(places, grid[0], grid[-1]))
        halving, rises = number < _HALVINGS, ahead > behind
        low, high = jnp.where(halving & ~rises, middle, low), jnp.where(halving & rises, middle, high)
        return (low, high), (jnp.minimum(behind, ahead), ahead - behind)

    ends = grid[jnp.maximum(best - 1, 0)], grid[jnp.minimum(best + 1, len(grid) - 1)]
    (low, high), (seen, rises) = jax.lax.scan(step, ends, (jnp.arange(len(offsets)), offsets))
    root = 0.5 * (low + high)
    # A grid point next to a root is no better than it; at an end of the range there may be none.
    at_end = (root - grid[0] <= _STEP) | (grid[-1] - root <= _STEP)
    on_grid = (values[best] <= seen[_HALVINGS]) & (at_end | (jnp.abs(root - grid[best]) > _STEP))
    place = jnp.where(on_grid, grid[best], root)
    value = jnp.minimum(values[best], seen[_HALVINGS])
    signs = (rises[-2 * tries : -tries] < -2 * rounding) & (rises[-tries:] > 2 * rounding)
    width = jnp.asarray(_WIDTHS, grid.dtype)[jnp.argmax(signs)] + _STEP
    inside = (place - width >= grid[0]) & (place + width <= grid[-1])
    return LowestPoint(place, value, place - width, place + width, jnp.any(signs) & inside)
