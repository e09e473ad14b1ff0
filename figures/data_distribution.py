"""Harm and excess by the kind of data at one time and at equal loss, where modes are by the line, and the last loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .panels.axes import Floats, visible
from .panels.canvas import new_figure
from .panels.curves import median
from .panels.looks import GREY, Look, looks
from .panels.rows import ranges, span
from .panels.words import short
from .picture import Picture

_NEEDED = {
    *("data", "row", "row_title", "value", "recipe", "seed", "stopped_harm", "harm", "stopped_excess", "most_beyond"),
    *("least_beyond", "last_over_shift", "best_over_shift"),
}
_TIME, _LOSS = "one time", "equal loss"
_GAP = 1.7  # between axes of the data, in lines
_LEAST = 1e-2
_LINE: dict[str, Any] = {"color": "black", "linewidth": 1.0, "zorder": 1}
_BOUND: dict[str, Any] = {"color": "0.88", "zorder": 0}


def _paint(dataset: xr.Dataset) -> Figure:
    """Four panels with a line for each kind of data, in groups."""
    places, names = _places(dataset)
    figure = new_figure(12.4, 2.6 + 0.185 * (places.max() + 1))
    harm, excess, line, last = figure.subplots(1, 4, sharey=True, width_ratios=(1.2, 1.2, 1, 1))
    time, loss = looks(2, sizes=(4.8,))
    for axes, name, words in ((harm, "stopped_harm", "harm"), (excess, "stopped_excess", "excess")):
        _draw_pair(axes, places, dataset[name], (time, loss))
        axes.set_xlabel(f"{words} of the longest budget")
    harm.plot(_seen(dataset["harm"].sel(recipe=_TIME)), places, **_tick())
    harm.set_title("(a) last / best - 1")
    excess.set_title("(b) last - best, over zero network's")
    _draw_line(line, places, dataset, (time, loss))
    line.set_title("(c) shifted modes by the line")
    _draw_last(last, places, dataset, loss)
    last.set_title(f"(d) best and last loss, {dataset.attrs['level']:g} left")
    harm.set_yticks(places, [short(float(value)) for value in dataset["value"].values])
    harm.tick_params(axis="y", labelsize=8)
    harm.set_ylim(places.max() + 0.8, -1.2)
    harm.set_zorder(2)  # names of axes reach into the next panel
    harm.patch.set_visible(False)
    for at, title in names.items():
        said = harm.text(0.0, at - 0.68, title, transform=harm.get_yaxis_transform(), fontsize=9, weight="bold")
        said.set_in_layout(False)
    for axes in (harm, excess, line, last):
        axes.grid(axis="y", visible=False)
        for at in names:
            axes.axhspan(at - 1.2, at - 0.5, color="white", zorder=0.5)
    figure.legend(handles=_entries(dataset, time, loss), loc="outside lower left", ncols=3, fontsize=9)
    return figure


def _places(dataset: xr.Dataset) -> tuple[Floats, dict[float, str]]:
    """Heights of the kinds of data, and of the names of their axes."""
    rows, titles = dataset["row"].values, dataset["row_title"].values
    heights, names, at = [], {}, 0.0
    for number, row in enumerate(rows):
        if number and row != rows[number - 1]:
            at += _GAP
        elif number:
            at += 1.0
        heights.append(at)
        if not number or row != rows[number - 1]:
            names[at] = str(titles[number])
    return np.asarray(heights), names


def _seen(values: xr.DataArray) -> Floats:
    """Medians, little of it at the lower end."""
    return median(visible(values, _LEAST).transpose("data", "seed").values)


def _draw_pair(axes: Axes, places: Floats, values: xr.DataArray, both: tuple[Look, Look]) -> None:
    """By both recipes, joined, with the range over seeds."""
    shown = [visible(values.sel(recipe=recipe), _LEAST).transpose("data", "seed").values for recipe in (_TIME, _LOSS)]
    axes.hlines(places, median(shown[0]), median(shown[1]), color="0.7", linewidth=1.0, zorder=1)
    for runs, look, filled in zip(shown, both, (False, True), strict=True):
        ranges(axes, places, span(runs), look, width=2.4, filled=filled)
    axes.set_xscale("log")
    known = np.concatenate([each[np.isfinite(each)] for each in shown]) if np.isfinite(shown).any() else np.ones(1)
    axes.set_xlim(_LEAST / 1.5, max(float(known.max()) * 1.6, 1.0))
    ticks = 10.0 ** np.arange(-2, np.ceil(np.log10(max(float(known.max()), 1.0))) + 1)
    ticks = ticks[ticks <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{'≤' * (at == 0)}{100 * tick:g} %" for at, tick in enumerate(ticks)])
    axes.minorticks_off()


def _draw_line(axes: Axes, places: Floats, dataset: xr.Dataset, both: tuple[Look, Look]) -> None:
    """From the weakest to the strongest shifted mode, in units of the line."""
    for recipe, look, off, filled in ((_TIME, both[0], -0.16, False), (_LOSS, both[1], 0.16, True)):
        low, high = (
            median(dataset[name].sel(recipe=recipe).transpose("data", "seed").values)
            for name in ("least_beyond", "most_beyond")
        )
        known = np.where(np.isfinite(low) & (low > 0), low, np.nan), np.where(np.isfinite(high), high, np.nan)
        axes.hlines(places + off, *known, color=look.color, linewidth=1.6)
        face = {"markerfacecolor": look.color} if filled else {}
        for ends in known:
            axes.plot(ends, places + off, **look.points | face | {"markersize": 3.6})
    axes.axvline(1.0, **_LINE)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.set_xlabel(r"$v\,\sigma\,T\,/\,\kappa(c)$, weakest to strongest")


def _draw_last(axes: Axes, places: Floats, dataset: xr.Dataset, look: Look) -> None:
    """From the best to the last, in units of the distance between the tasks, with the bounds on the last."""
    axes.axvspan(dataset.attrs["least_last"], dataset.attrs["most_last"], **_BOUND)
    cells = dataset.sel(recipe=_LOSS)
    best, last = (cells[f"{name}_over_shift"].transpose("data", "seed").values for name in ("best", "last"))
    axes.hlines(places, median(best), median(last), color="0.7", linewidth=1.0, zorder=1)
    ranges(axes, places, span(best), Look(look.color, "v"), width=2.4)
    ranges(axes, places, span(last), Look(look.color, "s"), width=2.4, filled=True)
    axes.set_xscale("log")
    axes.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    axes.set_xlabel(r"base loss / $\Vert(A_{ft}-A)S^{1/2}\Vert^2$")


def _entries(dataset: xr.Dataset, time: Look, loss: Look) -> list[Any]:
    told = dataset.attrs
    filled = {"markerfacecolor": loss.color}
    return [
        Line2D([], [], label=f"one time, T = {told['time']:g}", **time.points),
        Line2D([], [], label=f"equal loss: {told['level']:g} of the fine-tuning loss left", **loss.points | filled),
        Line2D([], [], label="one time, overfitting of the base loss included", **_tick()),
        Line2D([], [], label="line: right of it a learned mode is net harm", **_LINE),
        Line2D([], [], label="best loss", **Look(loss.color, "v").points),
        Line2D([], [], label="last loss", **Look(loss.color, "s").points | filled),
        Patch(label="last loss of aligned data, by theory", **_BOUND),
        Patch(color="0.8", label=f"bars: range of {dataset.sizes['seed']} seeds"),
    ]


def _tick() -> dict[str, Any]:
    return Look(GREY, "|").points | {"markeredgewidth": 1.6, "markersize": 8, "zorder": 2}


picture = Picture("data_distribution", "a result of data_distribution", _NEEDED, _paint)
draw, save = picture.draw, picture.save
