"""Maps of two axes: cells in colour, in decades, with a band apart for the value 0."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray

from .axes import Floats
from .words import power_of_ten, short

_HALO: list[AbstractPathEffect] = [withStroke(linewidth=3.2, foreground="white")]
_NOTHING = 1e-6  # stands for 0 where a logarithm is taken


class Scale(NamedTuple):
    """A logarithmic axis in decades, log10(value), with a band apart below it when the values start at 0."""

    centres: Floats
    """Position of every value."""
    low: Floats
    """Lower edge of every value's cell."""
    high: Floats
    """Upper edge of every value's cell."""
    has_zero: bool
    """Whether the first value is 0, in the band apart."""

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis."""
        return float(self.low[0]), float(self.high[-1])

    @property
    def edges(self) -> Floats:
        """Edges of the cells of the values above 0, one more than these."""
        first = int(self.has_zero)
        return np.append(self.low[first:], self.high[-1:]) if len(self.low) > first else np.empty(0)


def scale(values: Floats) -> Scale:
    """Place increasing values >= 0 on a logarithmic axis; cells meet halfway, and 0 gets a band of its own."""
    has_zero = bool(values[0] == 0)
    centres = np.log10(values[int(has_zero) :].astype(np.float64))
    if len(centres) == 0:
        return Scale(np.zeros(1), np.full(1, -0.5), np.full(1, 0.5), True)
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = (centres[:2], centres[-2:]) if len(centres) > 1 else (np.array([0.0, 1.0]),) * 2
    low = np.append(centres[0] - (first[1] - first[0]) / 2, middle)
    high = np.append(middle, centres[-1] + (last[1] - last[0]) / 2)
    if not has_zero:
        return Scale(centres, low, high, False)
    span = high[-1] - low[0]
    height = max(float(np.median(high - low)), 0.06 * span)
    top = low[0] - 0.03 * span
    return Scale(np.append(top - height / 2, centres), np.append(top - height, low), np.append(top, high), True)


def label_scale(axis: Any, placed: Scale, values: Floats) -> None:
    """Limits and ticks of an axis in decades: powers of ten, or the values themselves where those are too few."""
    start = int(placed.has_zero)
    positions, labels = ([float(placed.centres[0])], ["0"]) if placed.has_zero else ([], [])
    minor: list[float] = []
    if len(placed.edges):
        low, high = float(placed.edges[0]), float(placed.edges[-1])
        decades = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        if len(values) - start >= 4 and len(decades) >= 2:
            labelled = decades[:: int(np.ceil(len(decades) / 6))]
            positions += labelled.tolist()
            labels += [power_of_ten(int(power)) for power in labelled]
            fine = np.log10(np.outer(10.0 ** np.arange(np.floor(low), high + 1), np.arange(1, 10))).ravel()
            minor = fine[(fine >= low) & (fine <= high)].tolist()
        else:
            few = np.unique(np.linspace(start, len(values) - 1, min(len(values) - start, 4)).round().astype(int))
            positions += placed.centres[few].tolist()
            labels += [short(float(value)) for value in values[few]]
    axis.set_ticks(positions, labels)
    axis.set_ticks(minor, minor=True)
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(*placed.limits)


def heat(axes: Axes, values: Floats, x: Scale, y: Scale, **look: Any) -> Any:
    """Cells in colour; NaN stays white.

    Args:
      axes: where to draw.
      values: shape (x, y).
      x: the horizontal axis, without 0.
      y: the vertical axis; its 0 is in a band apart.
      look: as of `Axes.pcolormesh`.

    Returns:
      What a colour bar is made for.
    """
    first = int(y.has_zero)
    bands = [(slice(first, None), y.edges)] if len(y.edges) else []
    bands += [(slice(0, 1), np.array([y.low[0], y.high[0]]))] if first else []
    meshes = [axes.pcolormesh(x.edges, edges, values[:, band].T, **look) for band, edges in bands]
    return meshes[-1]


def hatch(axes: Axes, where: NDArray[np.bool_], x: Scale, y: Scale, **look: Any) -> None:
    """Fill and hatch the marked cells of a map; `where` is (x, y)."""
    corners = [
        [(x.low[i], y.low[j]), (x.high[i], y.low[j]), (x.high[i], y.high[j]), (x.low[i], y.high[j])]
        for i, j in np.argwhere(where)
    ]
    axes.add_collection(PolyCollection(corners, linewidth=0, **look), autolim=False)


def contour(axes: Axes, values: Floats, level: float, x: Scale, y: Scale, **look: Any) -> None:
    """Where values cross a level, as a line; as strokes in the band of 0, and across a row or a column on its own."""
    first, one = int(y.has_zero), {"path_effects": _HALO, "solid_capstyle": "butt"} | look
    heights = log_height(values)[:, first:] - np.log10(level)
    known = heights[np.isfinite(heights)]
    if min(heights.shape) >= 2 and known.size and known.min() < 0 < known.max():
        several = {f"{name}s": value for name, value in look.items()}
        axes.contour(x.centres, y.centres[first:], heights.T, [0.0], **several).set_path_effects(_HALO)
    if first or values.shape[1] == 1:
        for place, _ in crossings(values[:, :1], level, x, y):
            axes.plot([place, place], [y.low[0], y.high[0]], **one)
    if values.shape[0] == 1:
        for _, place in crossings(values, level, x, y):
            axes.plot(x.limits, [place, place], **one)


def crossings(values: Floats, level: float, x: Scale, y: Scale) -> Floats:
    """Points, shape (points, 2), where values (x, y) cross a level between neighbouring cells.

    Straight in the logarithms; the band of 0 is crossed along x only.
    """
    heights, points = log_height(values) - np.log10(level), []
    for to_x, to_y in ((1, 0), (0, 1)):
        first = int(y.has_zero) * to_y
        below, above = heights[: len(heights) - to_x, first : heights.shape[1] - to_y], heights[to_x:, first + to_y :]
        i, j = np.nonzero((below < 0) != (above < 0))
        share = below[i, j] / (below[i, j] - above[i, j])
        here, there = ((x.centres[i + on * to_x], y.centres[j + first + on * to_y]) for on in (0, 1))
        between = [start + share * (end - start) for start, end in zip(here, there, strict=True)]
        points.append(np.stack(between, axis=-1)[np.isfinite(share)])
    return np.concatenate(points)


def log_height(values: Floats) -> Floats:
    """log10 with a floor; NaN where a value is not finite."""
    return np.where(np.isfinite(values), np.log10(np.clip(np.nan_to_num(values, posinf=1.0), _NOTHING, None)), np.nan)


def thinned(points: Floats, x: Scale, y: Scale, gap: float) -> Floats:
    """As many of the points as are `gap` apart, as a share of the map."""
    size, kept = np.array([np.ptp(x.limits), np.ptp(y.limits)]), np.empty((0, 2))
    for point in points:
        if (np.hypot(*((point - kept) / size).T) >= gap).all():
            kept = np.append(kept, [point], axis=0)
    return kept
