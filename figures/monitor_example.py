"""One transfer as an example: what monitors read over the budget, when they ring, and where harm begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import SubFigure

from . import drawing

_SHOWN = {
    "fisher_trace": ("Fisher trace", "#0072B2", "-"),
    "gradient_square": ("squared mean gradient", "#D55E00", "--"),
    "empirical_fisher": ("empirical Fisher", "#009E73", "-."),
    "relative_noise": ("relative noise", "black", ":"),
}


def draw_example(figure: SubFigure, chosen: xr.Dataset) -> None:
    """Readings over their largest value, and the loss after fine-tuning at several rates, over one axis of budgets.

    Args:
      figure: where to draw, side by side.
      chosen: scores at one threshold of the alarm.
    """
    number = typical(chosen)
    one = chosen.isel(transfer=number)
    budgets = one["budget"].values
    readings, losses = figure.subplots(1, 2, sharex=True)
    turns = np.sort(one["inflection"].values[one["outcome"].values == 1])
    for axes in (readings, losses):
        axes.set(xscale="log", xlabel="pre-training budget (steps)")
        if len(turns):
            axes.axvspan(turns[0], turns[-1], color="0.88", linewidth=0)
    ends = []
    for name, (label, color, line) in _SHOWN.items():
        row = one.sel(monitor=name)
        values = row["value"].values[0] / np.nanmax(row["value"].values[0])
        readings.plot(budgets, values, color=color, linestyle=line)
        ends.append((float(values[-1]), label, color))
        first = int(row["alarm"].values[0])
        if first < len(budgets):
            look: dict[str, Any] = {"marker": "v", "markersize": 8, "zorder": 5, "markeredgecolor": "white"}
            readings.plot(budgets[first], values[first], color=color, clip_on=False, **look)
    heights = drawing.apart([end for end, *_ in ends], 0.1, 0.02, 0.98)
    for height, (_, label, color) in zip(heights, ends, strict=True):
        readings.text(1.02, height, label, color=color, transform=readings.transAxes, va="center")
    readings.set(ylim=(0, 1.05), ylabel="reading / largest")
    kind = f"{one['lane'].item()}, {one['spectrum'].item()}, {one['shift'].item()}"
    readings.set_title(f"(d) One transfer ({kind}):\nalarms (triangles) and inflections (grey)", loc="left")
    _draw_losses(losses, one, budgets)


def _draw_losses(axes: Any, one: xr.Dataset, budgets: np.ndarray) -> None:
    """Base loss, and the loss after fine-tuning without penalty at every rate."""
    axes.plot(budgets, one["loss_before"].values, color="0.6", linewidth=3.5, solid_capstyle="butt")
    curves = one["loss_after"].values[:, :, 0]
    turns = one["inflection"].values[:, 0]
    shades = ("#9ecae1", "#6baed6", "#3182bd", "#08519c", "#08306b")
    for rate, color in enumerate(shades[-curves.shape[1] :]):
        axes.plot(budgets, curves[:, rate], color=color)
        if np.isfinite(turns[rate]):
            look: dict[str, Any] = {"marker": "*", "markersize": 11, "markeredgecolor": "black", "zorder": 5}
            axes.plot(turns[rate], np.nanmin(curves[:, rate]), color=color, **look)
    top = float(np.nanmax(curves))
    axes.set(
        yscale="log", ylim=(max(float(np.nanmin(curves)) / 3, 1e-4), 2 * top), ylabel="pre-training loss / zero map's"
    )
    axes.set_title("(e) The same: loss before (grey) and after\nfine-tuning, darker at larger rates", loc="left")


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
