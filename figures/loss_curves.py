"""Loss over the pre-training budget, before and after fine-tuning, for a few cells of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from linsim.labels import computed

from . import drawing
from .cells import Cells, median, spread
from .drawing import MARKERS, Floats, hollow

_MOST_POINTS = 30  # markers on a curve, so that the line below them shows


def draw_curves(axes: Axes, dataset: xr.Dataset, cells: Cells, chosen: Sequence[tuple[int, int]]) -> list[Any]:
    """Loss over budget before and after fine-tuning, for the chosen cells; returns what the legend explains.

    Args:
      axes: where to draw; numbers and harm are written to its right.
      dataset: an overtraining chart.
      cells: the same, reduced to its cells.
      chosen: cells (rate, strength) to show.
    """
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    before = dataset["pretrain_loss_before"].values
    after = np.where(dataset["diverged"].values, np.nan, dataset["pretrain_loss_after"].values)
    closed = dataset.get("predicted_pretrain_loss_after")
    axes.set(xscale="log", yscale="log", title=f"(b) Pre-training loss{' of the numbered cells' if chosen else ''}")
    axes.set(xlabel="pre-training budget (steps)", ylabel="pre-training loss (squared output)")
    axes.plot(budgets, median(before), color="0.6", linewidth=3.5, solid_capstyle="butt")
    shown = [np.broadcast_to(before, (len(budgets), dataset.sizes["seed"])), *(after[:, i, j] for i, j in chosen)]
    turns = dataset["inflection_steps"].values
    first_turn = np.nanmin([budgets[-1], *(turn for cell in chosen for turn in turns[cell])])
    start = min(_first_change(shown), int(np.searchsorted(budgets, 0.8 * first_turn)))
    every = -(-(len(budgets) - start) // _MOST_POINTS)
    joined: dict[str, Any] = {"linestyle": "none" if closed is not None else "-", "linewidth": 0.8}
    colors = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    for (i, j), marker, color in zip(chosen, MARKERS, colors, strict=False):
        runs = after[:, i, j]
        if closed is not None:
            axes.plot(budgets, median(closed.values[:, i, j]), color=color, zorder=3)
        if runs.shape[1] > 1:
            axes.fill_between(budgets, *spread(runs), color=color, alpha=0.25, linewidth=0)
        look = joined | hollow(4, color) | {"color": color, "marker": marker, "markevery": every}
        axes.plot(budgets, median(runs), zorder=4, **look)
        _mark_turns(axes, turns[i, j], spread(runs.T)[0], color)
    drawing.label_logarithmic(axes.xaxis, (budgets[start] / 1.1, budgets[-1] * 1.1))
    _limit_losses(axes, shown[0], shown[1:] or shown)
    _name_ends(axes, [median(runs) for runs in shown[1:]], [float(cells.harm[cell]) for cell in chosen])
    return _explain(dataset, chosen, _every(every), joined)


def _mark_turns(axes: Axes, turns: Floats, lowest: Floats, color: str) -> None:
    """The inflection point of every seed, and its budget."""
    turned = np.isfinite(turns)
    axes.vlines(turns[turned], 0, lowest[turned], color=color, linewidth=1, linestyle=":")
    look: dict[str, Any] = {"marker": "*", "markersize": 12, "markeredgecolor": "black", "zorder": 6}
    axes.plot(turns[turned], lowest[turned], color=color, linestyle="none", **look)


def _first_change(curves: Sequence[Floats]) -> int:
    """Index of the budget from which on there is something to see: a little before the first change of a tenth."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = [np.abs(curve / curve[0] - 1) > 0.1 for curve in curves]
    first = min([int(np.argmax(runs.any(axis=-1))) for runs in moved if runs.any()] or [0])
    return first - first // 6


def _limit_losses(axes: Axes, before: Floats, after: Sequence[Floats]) -> None:
    """Show all losses after fine-tuning; the base loss, which falls to rounding, leaves through the bottom."""
    shown = np.concatenate([runs.ravel() for runs in (before, *after)])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if len(shown) == 0:  # nothing that a logarithm can show
        return
    known = np.concatenate([runs[np.isfinite(runs) & (runs > 0)] for runs in after])
    high = float(shown.max())
    low = min(max(float(known.min(initial=high)) / 4, 1e-8 * high), high / 30)
    drawing.label_logarithmic(axes.yaxis, (low, 3 * high))


def _name_ends(axes: Axes, curves: Sequence[Floats], harms: Sequence[float]) -> None:
    """Number and harm beside the last point of every curve."""
    low, high = np.log10(axes.get_ylim())
    ends = [float(curve[np.isfinite(curve)][-1]) for curve in curves]
    heights = [(np.log10(max(end, 10.0**low)) - low) / (high - low) for end in ends]
    for number, (height, harm) in enumerate(zip(drawing.apart(heights, 0.11, 0.03, 0.97), harms, strict=True), 1):
        drawing.number_mark(axes, 1.045, height, str(number), transform=axes.transAxes)
        axes.text(1.09, height, f"harm\n{drawing.rise(harm)}", transform=axes.transAxes, va="center", linespacing=1.05)


def _explain(dataset: xr.Dataset, chosen: Sequence[tuple[int, int]], note: str, joined: dict[str, Any]) -> list[Any]:
    handles: list[Any] = [Line2D([], [], color="0.6", linewidth=3.5, label="before fine-tuning")]
    if not chosen:
        return handles
    point: dict[str, Any] = (
        {"color": "black", "marker": "o", "label": computed(dataset) + note} | joined | hollow(4, "black")
    )
    handles.append(Line2D([], [], **point))
    seeds = dataset.sizes["seed"]
    turned = any(np.isfinite(dataset["inflection_steps"].values[cell]).any() for cell in chosen)
    star: dict[str, Any] = {"marker": "*", "markersize": 11, "color": "0.6", "markeredgecolor": "black"}
    if turned:
        handles.append(Line2D([], [], linestyle=":", linewidth=1, label="inflection point", **star))
    if seeds > 1:
        handles.append(Patch(color="0.75", label=f"range of {seeds} seeds (points: median)"))
    if "predicted_pretrain_loss_after" in dataset:
        handles.append(Line2D([], [], color="black", label="closed form"))
    return handles


def _every(count: int) -> str:
    ordinal = {2: "2nd", 3: "3rd"}.get(count, f"{count}th")
    return "" if count == 1 else f" (every {ordinal} budget)"
