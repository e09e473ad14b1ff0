"""Forecasts of runs: the curves that are known, the interval of the turn, and the chance of harm further on."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .panels.axes import along, decades
from .panels.canvas import new_figure
from .panels.looks import GREY, REFERENCE, Look
from .picture import Picture

_MOST = 6  # runs, one panel each
_COLUMNS = {
    "base_loss": ("pre-training loss", Look("#0072B2", "o")),
    "finetune_loss_before": ("fine-tuning loss, untuned", Look("#E69F00", "s", "--")),
    "pretrain_loss_after": ("pre-training loss after", Look("#D55E00", "^")),
    "finetune_loss_after": ("fine-tuning loss after", Look("#009E73", "D", ":")),
}
_VERDICTS = {"harm": "harm", "no_harm": "no harm", "cannot_tell": "cannot tell"}
_SHADES = {"harm": "#F5C6AA", "no_harm": "#BFE3D6", "cannot_tell": "0.88"}
_NEEDED = {"probability", "turn_low", "turn_median", "turn_high", "verdict", "budget", "horizon"}


def _paint(dataset: xr.Dataset) -> Figure:
    """A panel for each of the first runs, those with harm foreseen first."""
    order = np.argsort(-dataset["probability"].isel(horizon=-1).values, kind="stable")[:_MOST]
    columns = min(len(order), 3)
    lines = -(-len(order) // columns)
    figure = new_figure(max(3.7 * columns, 6.0), 3.1 * lines + 1.3)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    there = {name: said for name, said in _COLUMNS.items() if name in dataset}
    for axes, at in zip(panels, order, strict=False):
        _draw(axes, dataset.isel(run=int(at)), there)
    for axes in panels[: max(len(order) - columns, 0)]:
        axes.set_xlabel("")
    for axes in panels[len(order) :]:
        axes.set_visible(False)
    for axes in panels[: len(order) : columns]:
        axes.set_ylabel("loss / loss at the last budget")
    level = f"{100 * float(dataset.attrs['level']):.0f} %"
    entries: list[Any] = [Line2D([], [], label=said, **look.joined) for said, look in there.values()]
    entries.append(Line2D([], [], color="black", marker="d", linewidth=3, label=f"turn: {level} interval, median"))
    entries.append(Patch(color="0.88", label="not known yet; chance of being > 2 % worse"))
    figure.legend(handles=entries, loc="outside lower left", ncols=3)
    return figure


def _draw(axes: Axes, run: xr.Dataset, there: dict[str, tuple[str, Look]]) -> None:
    budgets = run["budget"].values
    last, horizons = float(budgets[-1]), run["horizon"].values
    along(axes, run["budget"])
    axes.set(xscale="log", yscale="log", xlabel="pre-training budget")
    for name, (_, look) in there.items():
        axes.plot(budgets, run[name].values / run[name].values[-1], **look.joined)
    end = last * float(horizons[-1]) * 1.35
    low, high = axes.get_ylim() if there else (0.5, 2.0)
    room = max(high / low, 1.6)
    axes.set_ylim(low / room**0.32, high * room**0.16)
    decades(axes.yaxis)
    decades(axes.xaxis, float(budgets[0]) / 1.25, end)
    verdict = str(run["verdict"].values)
    axes.axvspan(last, end, color=_SHADES[verdict], zorder=0, linewidth=0)
    axes.axvline(last, **REFERENCE)
    blended = axes.get_xaxis_transform()
    for horizon, chance in zip(horizons, run["probability"].values, strict=True):
        place = last * float(horizon)
        axes.text(place, 0.84, f"{100 * float(chance):.0f}%", transform=blended, ha="center", fontsize=8)
        axes.text(place, 0.76, f"at {horizon}x", transform=blended, ha="center", fontsize=7, color=GREY)
    ends = [min(float(run[f"turn_{name}"]), end) for name in ("low", "high")]
    axes.plot(ends, [0.07, 0.07], transform=blended, color="black", linewidth=3, solid_capstyle="butt", zorder=5)
    if not np.isfinite(float(run["turn_high"])):
        axes.plot([end], [0.07], transform=blended, color="black", marker=">", markersize=8, clip_on=False, zorder=6)
    if np.isfinite(middle := float(run["turn_median"])):
        face: dict[str, Any] = {"marker": "d", "markersize": 8, "markerfacecolor": "white", "color": "black"}
        axes.plot([middle], [0.07], transform=blended, zorder=7, **face)
    axes.set_title(f"{run['run'].values}: {_VERDICTS[verdict]}", fontsize=10, loc="left")


picture = Picture("forecast", "a result of forecast", _NEEDED, _paint)
draw, save = picture.draw, picture.save
