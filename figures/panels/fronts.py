"""Fronts of two losses: the least of one at every value of the other, as distances to the two tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from .curves import curves
from .looks import GREY, Look


def front(
    axes: Axes,
    losses: xr.DataArray,
    reached: xr.DataArray,
    bound: xr.DataArray,
    top: float,
    *,
    over: str = "target",
    by: str = "method",
    styles: Sequence[Look] | None = None,
) -> None:
    """The least pre-training loss that each method has at every fine-tuning loss, and what none can be below.

    Args:
      axes: where to draw.
      losses: least pre-training losses over `over`, `by` and seeds; NaN where a method does not come so far.
      reached: the fine-tuning losses, over `over`.
      bound: the pre-training loss below which there is no network, over `over`.
      top: largest pre-training loss to show.
      over: dimension along the front.
      by: dimension with a front for each of its values.
      styles: a look for each front.
    """
    away = (reached**0.5).assign_attrs(long_name="√ fine-tuning loss", units="1")
    axes.fill_between(away, 0, np.sqrt(bound), color="0.9", linewidth=0)
    axes.plot(away, np.sqrt(bound), color=GREY)
    axes.text(0.05, 0.06, "no network", transform=axes.transAxes, color=GREY, fontsize=8)
    curves(axes, losses**0.5, over=over, by=by, styles=styles, places=away, log=False)
    axes.set(xscale="linear", xlim=(0, None), ylim=(0, 1.05 * np.sqrt(top)), ylabel="√ pre-training loss")
