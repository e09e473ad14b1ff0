"""Turning points of curves over log time, each certified by the signs of the slope on both sides.

A minimum on a grid shows that a curve is lower there than at the neighbours tried. A bracket whose slope is negative on
the left and positive on the right, by more than rounding, shows that there is a minimum within. Slopes are difference
quotients [L(x + h) - L(x - h)] / 2h: by the mean value theorem each is the slope at a point within h of x, so that its
sign, which takes no derivative of singular vectors, certifies as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import elementwise

_STEP = 1e-4  # h, in log t: the root moves by h^2 L''' / 6 L'', some 1e-8, and rounding counts 1e4 times
_RESOLVED = 1e-10  # of a root, in log t
_WIDTHS = 1e-6 * 10.0 ** np.arange(6)  # half-widths of brackets in log t, of which the smallest certified one is told

Places = Float[np.ndarray, " points"]
Which = Int[np.ndarray, " points"]
Values = Float[np.ndarray, " curves"]


class LowestPoints(NamedTuple):
    """The lowest point of each of some curves over log t."""

    place: Values
    """log t of the lowest point: an end of the range, or the root of the slope."""
    value: Values
    """Of the curve there, or within h of it; never above those on the grid."""
    low: Values
    """Left end of the certified bracket."""
    high: Values
    """Right end."""
    certified: Bool[np.ndarray, " curves"]
    """Whether the curve falls at `low` and rises at `high`, each by more than rounding."""


def lowest(
    curves: Callable[[Places, Which], Places],
    grid: Float[np.ndarray, " grid"],
    values: Float[np.ndarray, "curves grid"],
    rounding: float,
) -> LowestPoints:
    """The lowest point of curves: the smallest value on a grid, then the root of the slope next to it.

    Args:
      curves: (log t, number of the curve) -> values, at any points of any curves.
      grid: increasing log t.
      values: of the curves on the grid.
      rounding: error of a value.

    Returns:
      The points; not certified where a curve only rises, or only falls, or turns too flatly, or too near an end of the
      range, to tell.
    """

    def around(places: Places, which: Which) -> tuple[Places, Places]:
        """Values h before and h behind some places."""
        if not len(places):
            return places, places
        beside = np.clip(np.concatenate([places - _STEP, places + _STEP]), grid[0], grid[-1])
        behind, ahead = np.split(curves(beside, np.concatenate([which, which])), 2)
        return behind, ahead

    def rise(places: Places, which: Which) -> Places:
        behind, ahead = around(places, which)
        return ahead - behind

    every, best = np.arange(len(values)), np.argmin(values, axis=1)
    least, place = values[every, best], grid[best]
    falling = rise(place, every) <= 0
    outer = grid[np.clip(np.where(falling, best + 1, best - 1), 0, len(grid) - 1)]
    beyond = rise(outer, every)
    turns = (outer != place) & np.where(falling, beyond > 0, beyond < 0)
    turning = every[turns]
    root, seen = place.copy(), np.full(len(values), np.inf)
    if len(turning):
        found = elementwise.find_root(
            rise, (place[turning], outer[turning]), args=(turning,), tolerances={"xatol": _RESOLVED, "xrtol": 0.0}
        )
        root[turning] = found.x
        seen[turning] = np.minimum(*around(root[turning], turning))
    # A grid point next to a root is no better than it; at an end of the range there may be none.
    at_end = (root - grid[0] <= _STEP) | (grid[-1] - root <= _STEP)
    on_grid = (least <= seen) & (at_end | (np.abs(root - place) > _STEP))
    place, width = np.where(on_grid, place, root), np.full(len(values), np.nan)
    for half in _WIDTHS:
        inside = (root - half - _STEP >= grid[0]) & (root + half + _STEP <= grid[-1])
        tried = every[turns & inside & np.isnan(width)]
        if len(tried):
            slopes = rise(np.concatenate([root[tried] - half, root[tried] + half]), np.concatenate([tried, tried]))
            falls, rises = np.split(slopes, 2)
            width[tried[(falls < -2 * rounding) & (rises > 2 * rounding)]] = half + _STEP
    certified = ~np.isnan(width) & (place - width >= grid[0]) & (place + width <= grid[-1])
    width = np.where(certified, width, _WIDTHS[0] + _STEP)
    return LowestPoints(place, np.minimum(least, seen), place - width, place + width, certified)
