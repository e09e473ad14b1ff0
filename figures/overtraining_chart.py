"""Beyond which pre-training budget more pre-training makes the fine-tuned model worse, over rates and strengths."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.labels import computed, lost_lanes

from .cell_map import SMALL_GRID, draw_map
from .cells import Cells, cells_of, chosen_cells
from .panels.axes import Floats, apart, decades
from .panels.canvas import new_figure
from .panels.curves import before, closed_form, curves, mark_turns, middle
from .panels.looks import BEFORE, explain, looks, number_mark
from .panels.words import rise
from .picture import Picture

_NEEDED = {
    *("pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before", "pretrain_loss_after"),
    *("diverged", "inflection_steps", "harm"),
}
_BEFORE = BEFORE | {"linewidth": 3.5, "solid_capstyle": "butt"}
_FALL = 1e-8  # of the largest loss: those that have fallen further leave through the bottom


def _paint(dataset: xr.Dataset) -> Figure:
    """The map of inflection budgets and harm, and the loss curves of a few of its cells."""
    cells = cells_of(dataset)
    chosen = chosen_cells(cells)
    figure = new_figure(9.6, 5.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.12, 1))
    compared = cells.predicted is not None and cells.levels and max(cells.harm.shape) > SMALL_GRID
    key = f"Harm: lines closed form, markers {computed(dataset)}" if compared else None
    for side, title, explained in (
        ("left", key, draw_map(left, dataset, cells, chosen)),
        ("right", _caveat(dataset), _draw_losses(right, dataset, cells, chosen)),
    ):
        look: dict[str, Any] = {"loc": f"outside lower {side}", "title": title, "alignment": "left"}
        figure.legend(handles=explained, ncols=3 if len(explained) > 5 else 2, **look)
    return figure


def _draw_losses(axes: Axes, dataset: xr.Dataset, cells: Cells, chosen: Sequence[tuple[int, int]]) -> list[Any]:
    """Loss over budget before and after fine-tuning, for the chosen cells; returns what the legend explains."""
    at = np.array(chosen, dtype=int).reshape(-1, 2).T
    rates, strengths = (xr.DataArray(index, dims="cell") for index in at)
    part = dataset.isel(learning_rate=rates, regularization=strengths)
    part["pretrain_loss_after"] = part["pretrain_loss_after"].where(~lost_lanes(part))
    part = part.isel(pretrain_steps=slice(_start(part), None)).drop_vars("cell", errors="ignore")
    base, after = part["pretrain_loss_before"], part["pretrain_loss_after"]
    axes.set_title(f"(b) Pre-training loss{' of the numbered cells' if chosen else ''}")
    before(axes, base, **_BEFORE)
    styles = looks(len(chosen), solid=True)
    curves(axes, after, closed_form(part, "pretrain_loss_after"), by="cell", styles=styles)
    for place, look in enumerate(styles):
        turns = part["inflection_steps"].isel(cell=place).values
        lowest = after.isel(cell=place).min("pretrain_steps").values
        axes.vlines(turns, 0, lowest, color=look.color, linewidth=1, linestyle=":")
        mark_turns(axes, turns, lowest, look.color)
    axes.set_ylabel("pre-training loss (squared output)")
    _limit(axes, base, after if chosen else base)
    medians = middle(after).transpose("cell", "pretrain_steps").values
    _name_ends(axes, [curve[np.isfinite(curve)][-1] for curve in medians], cells.harm[tuple(at)])
    entries: list[Any] = [Line2D([], [], label="before fine-tuning", **_BEFORE)]
    if chosen:
        theory = closed_form(part, "pretrain_loss_after")
        entries += explain(part.sizes["seed"], theory, part["inflection_steps"], simulated=computed(dataset))
    return entries


def _start(part: xr.Dataset) -> int:
    """The first budget to show: a little before any loss has changed by a tenth, or turns."""
    budgets = part["pretrain_steps"].values
    curves = [
        part[name].transpose("pretrain_steps", ...).values for name in ("pretrain_loss_before", "pretrain_loss_after")
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        changed = [(np.abs(curve / curve[0] - 1) > 0.1).reshape(len(budgets), -1).any(axis=1) for curve in curves]
    first = int(np.argmax(np.any(changed, axis=0)))
    turn = np.nanmin(part["inflection_steps"].values, initial=budgets[-1])
    return min(first - first // 6, int(np.searchsorted(budgets, 0.8 * turn)))


def _limit(axes: Axes, base: xr.DataArray, after: xr.DataArray) -> None:
    """Show all losses after fine-tuning; the base loss, which falls to rounding, leaves through the bottom."""
    shown = np.concatenate([losses.values.ravel() for losses in (base, after)])
    high = np.max(shown, initial=0.0, where=np.isfinite(shown))
    low = np.min(after.values, initial=high, where=np.isfinite(after.values) & (after.values > 0))
    decades(axes.yaxis, min(max(low / 4, _FALL * high), high / 30), 3 * high)


def _name_ends(axes: Axes, ends: Sequence[float], harms: Floats) -> None:
    """Number and harm beside the last point of every curve."""
    low, high = np.log10(axes.get_ylim())
    heights = [(np.log10(max(end, 10.0**low)) - low) / (high - low) for end in ends]
    for number, (height, harm) in enumerate(zip(apart(heights, 0.11, 0.03, 0.97), harms, strict=True), 1):
        number_mark(axes, 1.045, height, str(number), transform=axes.transAxes)
        axes.text(1.09, height, f"harm\n{rise(harm)}", transform=axes.transAxes, va="center", linespacing=1.05)


def _caveat(dataset: xr.Dataset) -> str | None:
    """Why there is no closed form, or nothing."""
    if "predicted_harm" in dataset:
        return None
    reasons = dataset.attrs.get("prediction", "").removeprefix("none: ") or "it does not apply"
    reason, _, _ = reasons.partition(", and ")  # of every closed form one; the first is enough for a picture
    return textwrap.fill(f"{computed(dataset).capitalize()} only: {reason}.", 62)


picture = Picture("overtraining_chart", "an overtraining chart", _NEEDED, _paint)
draw, save = picture.draw, picture.save
