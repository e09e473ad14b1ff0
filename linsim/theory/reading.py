"""A curve read between the budgets it is known at: by a cubic spline over log budget that knows how wrong it may be.

Curves of losses fall and rise exponentially fast, at different rates: a parabola through three points misses their
minimum by more than the grid point itself does. How far the spline is off is seen by leaving points out: the splines
through every other point, held against the points between them, err by 2^4 times as much where the curve is smooth, and
where it is not that is seen too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline

FEWEST = 8
"""Points below which leaving out every other tells nothing."""
_MARGIN = 2.0  # on errors: of 2,000 random problems one is then told with another harm, of 8 without it
_INNER = 7  # points of every interval at which the spline is looked at


@dataclass(frozen=True, eq=False)
class Reading:
    """Curves known at the same budgets, and what lies between."""

    budgets: Int[np.ndarray, " budgets"]
    values: Float[np.ndarray, "budgets curves"]
    place: Float[np.ndarray, " curves"]
    """Budget of the lowest point of the spline."""
    least: Float[np.ndarray, " curves"]
    """The value there; never above the smallest known one, never below the floor."""
    between: Float[np.ndarray, "fine curves"]
    """Values at `fine` budgets: the known ones, and the spline between them."""
    errors: Float[np.ndarray, "intervals curves"]
    """How far the spline may be off within an interval; infinite where there are too few points to tell."""

    @property
    def smallest(self) -> Float[np.ndarray, " curves"]:
        """The smallest known value."""
        return self.values.min(axis=0)

    @property
    def fine(self) -> Float[np.ndarray, " fine"]:
        """Log of the budgets of `between`."""
        return _fine(np.log(self.budgets.astype(float)))

    @property
    def bounds(self) -> Float[np.ndarray, "intervals curves"]:
        """Below which the curve is not to be expected anywhere in an interval."""
        pieces = np.arange(0, len(self.between) - 1, _INNER + 1)[:, None] + np.arange(_INNER + 2)
        return self.between[pieces].min(axis=1) - self.errors

    @property
    def holds_place(self) -> Bool[np.ndarray, "intervals curves"]:
        """Whether the lowest point lies within an interval, its ends not counted."""
        low, high = self.budgets[:-1, None], self.budgets[1:, None]
        return (self.place > low) & (self.place < high)

    def without_spline(self, where: Bool[np.ndarray, " curves"]) -> Reading:
        """Some of the curves as straight lines between the known values, with their smallest as the lowest point."""
        log = np.log(self.budgets.astype(float))
        best = self.values.argmin(axis=0)
        straight = (
            np.stack([np.interp(self.fine, log, curve) for curve in self.values.T[where]], 1) if where.any() else 0
        )
        between = self.between.copy()
        between[:, where] = straight
        place = np.where(where, self.budgets[best], self.place)
        return replace(self, place=place, least=np.where(where, self.smallest, self.least), between=between)

    def within(
        self, level: Float[np.ndarray, " curves"]
    ) -> tuple[Float[np.ndarray, " curves"], Float[np.ndarray, " curves"]]:
        """Smallest and largest budget at which a curve is not above a level, which is at or above its least value."""
        count = len(level)
        x = np.concatenate([np.broadcast_to(self.fine[:, None], self.between.shape), np.log(self.place)[None]])
        y = np.concatenate([self.between, self.least[None]])
        order = np.argsort(x, axis=0, kind="stable")
        x, y = np.take_along_axis(x, order, 0), np.take_along_axis(y, order, 0)
        ends = []
        for way in (slice(None), slice(None, None, -1)):
            at, value = x[way], y[way]
            inner = np.argmax(value <= level, axis=0)
            outer, each = np.maximum(inner - 1, 0), np.arange(count)
            rise = value[outer, each] - value[inner, each]
            share = np.divide(level - value[inner, each], rise, out=np.zeros(count), where=rise > 0)
            ends.append(np.exp(at[inner, each] + np.clip(share, 0, 1) * (at[outer, each] - at[inner, each])))
        low, high = ends
        return np.clip(low, self.budgets[0], self.place), np.clip(high, self.place, self.budgets[-1])


def read(
    budgets: Int[np.ndarray, " budgets"], values: Float[np.ndarray, "budgets curves"], floor: float = 0.0
) -> Reading:
    """Read curves between increasing budgets; they are nowhere below the floor."""
    log = np.log(budgets.astype(np.float64))
    count = len(budgets)
    best = values.argmin(axis=0)
    place, least = budgets[best].astype(np.float64), values.min(axis=0)
    if count == 1:
        return Reading(budgets, values, place, least, values, np.zeros((0, values.shape[1])))
    spline = CubicSpline(log, values)
    fine = _fine(log)
    between = np.maximum(spline(fine), floor)
    between[:: _INNER + 1] = values
    depth, at = _lowest(spline.c, np.diff(log))
    depth[np.diff(budgets) == 1] = np.inf  # there are no half steps
    piece = depth.argmin(axis=0)
    lowest = np.maximum(np.take_along_axis(depth, piece[None], 0)[0], floor)
    better = lowest < least
    offset = np.take_along_axis(at, piece[None], 0)[0]
    place, least = np.where(better, np.exp(log[piece] + offset), place), np.where(better, lowest, least)
    return Reading(budgets, values, place, least, between, _errors(log, values))


def _fine(log: np.ndarray) -> np.ndarray:
    shares = np.arange(_INNER + 1) / (_INNER + 1)
    inner = log[:-1, None] + shares * np.diff(log)[:, None]
    return np.append(inner.ravel(), log[-1])


def _lowest(coefficients: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and offset of the lowest stationary point within each piece, infinite where there is none."""
    cubic, square, slope, value = coefficients
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # The root of 3 cubic x^2 + 2 square x + slope where the curvature is positive, free of cancellation.
        root = np.sqrt(square**2 - 3 * cubic * slope)
        offset = np.where(square >= 0, -slope / (square + root), (root - square) / (3 * cubic))
        depth = value + offset * (slope + offset * (square + offset * cubic))
        there = (offset >= 0) & (offset <= widths[:, None]) & np.isfinite(depth)
    return np.where(there, depth, np.inf), np.where(there, offset, 0.0)


def _errors(log: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The larger error of the halved splines at the ends of every interval, with a margin."""
    count = len(log)
    if count < FEWEST:
        return np.full((count - 1, values.shape[1]), np.inf)
    errors = np.zeros(values.shape)
    everywhere = np.arange(count)
    for first in (0, 1):
        kept = np.union1d(np.arange(first, count, 2), [0, count - 1])
        left = np.setdiff1d(everywhere, kept)
        errors[left] = np.abs(CubicSpline(log[kept], values[kept])(log[left]) - values[left])
    return _MARGIN * np.maximum(errors[:-1], errors[1:])
