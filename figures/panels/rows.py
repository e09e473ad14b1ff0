"""Points with their ranges, and bars, one for each of several cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .axes import Floats
from .curves import median, spread
from .looks import Look

Span = tuple[Any, Any, Any]
"""Low end, middle, high end."""


def span(runs: Floats) -> Span:
    """The whole range over seeds, the last axis, around their median."""
    low, high = spread(runs)
    return low, median(runs), high


def ranges(
    axes: Axes,
    places: Any,
    spans: Span,
    look: Look,
    *,
    upright: bool = False,
    width: float = 3.0,
    filled: Any = False,
    label: str | None = None,
) -> None:
    """A point for each case, on a bar from the low to the high end.

    Args:
      axes: where to draw.
      places: of the cases, on the vertical axis, or on the horizontal one if upright.
      spans: of the cases; NaN where there is none.
      look: of the points, which are hollow.
      upright: values go up instead of to the right.
      width: of the bars, in points; thin ones are opaque, and may stand over the edge.
      filled: which points are not hollow.
      label: for a legend.
    """
    low, middle, high = spans
    thin = width < 2
    bar: dict[str, Any] = {"color": look.color, "linewidth": width, "alpha": 1.0 if thin else 0.4, "clip_on": not thin}
    (axes.vlines if upright else axes.hlines)(places, low, high, **bar)
    filled = np.broadcast_to(filled, np.shape(middle))
    for shown, face in ((~filled, {}), (filled, {"markerfacecolor": look.color})):
        if shown.any():
            values = np.where(shown, middle, np.nan)
            where = (places, values) if upright else (values, places)
            axes.plot(*where, clip_on=not thin, **look.points | face)
    if label is not None:
        axes.plot([], [], label=label, **look.points)


def stacked(axes: Axes, rows: Floats, shares: Mapping[str, Floats], colors: Mapping[str, tuple[Any, str]]) -> None:
    """Shares of a whole, one bar a row: name -> values over rows; colour and hatch by name."""
    left = np.zeros(len(rows))
    for name, share in shares.items():
        color, hatch = colors[name]
        axes.barh(rows, share, left=left, height=0.66, color=color, hatch=hatch, edgecolor="white", linewidth=0.6)
        left += np.nan_to_num(share)
