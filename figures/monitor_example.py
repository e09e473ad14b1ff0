"""One transfer as an example: what monitors read over the budget, when they ring, and where harm begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from .panels.axes import Floats, apart
from .panels.curves import mark_turns
from .panels.looks import BEFORE

_SHOWN = {
    "fisher_trace": ("Fisher trace", "#0072B2", "-"),
    "gradient_square": ("squared mean gradient", "#D55E00", "--"),
    "empirical_fisher": ("empirical Fisher", "#009E73", "-."),
    "relative_noise": ("relative noise", "black", ":"),
}
_SHADES = ("#9ecae1", "#6baed6", "#3182bd", "#08519c", "#08306b")  # of rates
_ALARM: dict[str, Any] = {"marker": "v", "markersize": 8, "zorder": 5, "markeredgecolor": "white", "clip_on": False}


def draw_example(figure: SubFigure, chosen: xr.Dataset) -> None:
    """Readings over their largest value, and the loss after fine-tuning at several rates, over one axis of budgets.

    Args:
      figure: where to draw, side by side.
      chosen: scores at one threshold of the alarm.
    """
    one = chosen.isel(transfer=typical(chosen))
    readings, losses = figure.subplots(1, 2, sharex=True)
    turns = one["inflection"].values[one["outcome"].values == 1]
    for axes in (readings, losses):
        axes.set(xscale="log", xlabel="pre-training budget (steps)")
        if len(turns):
            axes.axvspan(turns.min(), turns.max(), color="0.88", linewidth=0)
    kind = f"{one['lane'].item()}, {one['spectrum'].item()}, {one['shift'].item()}"
    readings.set_title(f"(d) One transfer ({kind}):\nalarms (triangles) and inflections (grey)", loc="left")
    _draw_readings(readings, one, one["budget"].values)
    losses.set_title("(e) The same: loss before (grey) and after\nfine-tuning, darker at larger rates", loc="left")
    _draw_losses(losses, one, one["budget"].values)


def _draw_readings(axes: Axes, one: xr.Dataset, budgets: Floats) -> None:
    """Each reading by its name at its end, and where its alarm rings."""
    ends = []
    for name, (label, color, line) in _SHOWN.items():
        row = one.sel(monitor=name)
        values = row["value"].values[0] / np.nanmax(row["value"].values[0])
        axes.plot(budgets, values, color=color, linestyle=line)
        ends.append((float(values[-1]), label, color))
        if (first := int(row["alarm"].values[0])) < len(budgets):
            axes.plot(budgets[first], values[first], color=color, **_ALARM)
    heights = apart([end for end, *_ in ends], 0.1, 0.02, 0.98)
    for height, (_, label, color) in zip(heights, ends, strict=True):
        axes.text(1.02, height, label, color=color, transform=axes.transAxes, va="center")
    axes.set(ylim=(0, 1.05), ylabel="reading / largest")


def _draw_losses(axes: Axes, one: xr.Dataset, budgets: Floats) -> None:
    """Base loss, and the loss after fine-tuning without penalty at every rate."""
    axes.plot(budgets, one["loss_before"].values, **BEFORE | {"linewidth": 3.5, "solid_capstyle": "butt"})
    curves, turns = one["loss_after"].values[:, :, 0], one["inflection"].values[:, 0]
    for curve, turn, color in zip(curves.T, turns, _SHADES[-curves.shape[1] :], strict=False):
        axes.plot(budgets, curve, color=color)
        mark_turns(axes, np.atleast_1d(turn), np.atleast_1d(np.nanmin(curve)), color)
    low, top = max(float(np.nanmin(curves)) / 3, 1e-4), 2 * float(np.nanmax(curves))
    axes.set(yscale="log", ylim=(low, top), ylabel="pre-training loss / zero map's")


def typical(chosen: xr.Dataset) -> int:
    """The transfer whose Fisher alarm leads by as much as is usual, among those with harm at several rates.

    Chosen by the median lead of its cells next to the family's, the label noise above 0 where there is one.
    """
    harmful = (chosen["outcome"] == 1).values
    alarm = chosen["alarm"].sel(monitor="fisher_trace").values
    budgets = chosen["budget"].values
    rang = alarm < budgets.shape[1]
    at = np.take_along_axis(budgets, np.minimum(alarm, budgets.shape[1] - 1), axis=1)
    with np.errstate(invalid="ignore"):
        leads = np.log(chosen["inflection"].values / at[..., None])
    usable = harmful & rang[..., None]
    counts = usable.sum(axis=(1, 2))
    if not counts.any():
        return int(np.argmax(harmful.sum(axis=(1, 2))))
    usual = np.median(leads[usable])
    noisy = (chosen["label_noise"].values > 0) & (counts >= 0.5 * counts.max())
    allowed = np.flatnonzero(noisy if noisy.any() else counts >= 0.5 * counts.max())
    distance = [abs(float(np.median(leads[index][usable[index]])) - usual) for index in allowed]
    return int(allowed[int(np.argmin(distance))])
