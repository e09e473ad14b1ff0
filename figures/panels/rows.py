"""Points with their ranges, and bars, one for each of several cases."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .axes import Floats
from .looks import Look


def ranges(
    axes: Axes, places: Any, middle: Any, low: Any, high: Any, look: Look, *, upright: bool = False, **settings: Any
) -> None:
    """A hollow point for each case on a bar from low to high.

    Args:
      axes: where to draw.
      places: of the cases, on the vertical axis, or on the horizontal one if upright.
      middle: values of the points, NaN where there is none.
      low: ends of the bars.
      high: their other ends.
      look: of the points.
      upright: values go up instead of to the right.
      settings: of the points, over those of the look, and as `bar` a dictionary of settings of the bars.
    """
    bar = {"color": look.color, "linewidth": 3.0, "alpha": 0.3} | settings.pop("bar", {})
    (axes.vlines if upright else axes.hlines)(places, low, high, **bar)
    where = (places, middle) if upright else (middle, places)
    axes.plot(*where, **look.points | settings)


def stacked(axes: Axes, rows: Floats, shares: dict[str, Floats], colors: dict[str, tuple[Any, str]]) -> None:
    """Shares of a whole, one bar a row: name -> values over rows; colour and hatch by name."""
    left = np.zeros(len(rows))
    for name, share in shares.items():
        color, hatch = colors[name]
        axes.barh(rows, share, left=left, height=0.66, color=color, hatch=hatch, edgecolor="white", linewidth=0.6)
        left += np.nan_to_num(share)
