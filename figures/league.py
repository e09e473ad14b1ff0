"""The whole league of mitigations: ranks by both rulers with their intervals, and distance from the bound by family."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.theory.over_seeds import over_crossed

from .panels.canvas import new_figure
from .panels.looks import Look, looks
from .picture import Picture

_NEEDED = {"mitigation", "family", "level", "seed", "seen", "ratio", "rank", "fixed_rank"}
_MARKS = {"fine-tuning data": "\N{DAGGER}", "pre-training data": "\N{DOUBLE DAGGER}"}
_WORST = 4.0
"""R from which on colours do not change."""


def _paint(dataset: xr.Dataset) -> Figure:
    """Rows in the order of ranks at matched loss over all transfers."""
    means = dataset["rank"].mean(("level", "family", "seed")).values
    shown = dataset.isel(mitigation=np.argsort(means, kind="stable"))
    levels, rows = shown["level"].values, np.arange(shown.sizes["mitigation"])
    figure = new_figure(5.0 + 3.9 * len(levels), 1.9 + 0.27 * max(len(rows), 8))
    ranks, *maps = figure.subplots(
        1, 1 + len(levels), sharey=True, gridspec_kw={"width_ratios": [1.1, *[1.2] * len(levels)]}
    )
    matched, fixed = looks(2)
    for values, look, shift in ((shown["rank"], matched, -0.14), (shown["fixed_rank"], fixed, 0.14)):
        ordered = values.transpose("mitigation", "seed", "family", ...).values
        told = [over_crossed(each.reshape(*each.shape[:2], -1)) for each in ordered]
        ends = np.array([each.ends for each in told])
        ranks.hlines(rows + shift, ends[:, 0], ends[:, 1], color=look.color, linewidth=1.4)
        ranks.plot([each.middle for each in told], rows + shift, **look.points)
    names = [
        f"{name} {_MARKS.get(str(seen), '')}".strip()
        for name, seen in zip(shown["mitigation"].values, shown["seen"].values, strict=True)
    ]
    ranks.set_yticks(rows, names)
    ranks.set(ylim=(len(rows) - 0.4, -0.6), xlabel="rank of a method (1 is the best)")
    ranks.set_title("(a) ranks by both rulers")
    for axes, level, letter in zip(maps, levels, "bcdefgh", strict=False):
        _map(axes, shown["ratio"].sel(level=level).median("seed").transpose("mitigation", "family"))
        axes.set_title(f"({letter}) R at $L_{{ft}} = {level:g}\\,D^2$")
    transfers = shown.sizes["family"] * shown.sizes["seed"]
    entries: list[Any] = [
        _entry(matched, "at matched fine-tuning loss"),
        _entry(fixed, f"by the fixed recipe; medians of {transfers} transfers, intervals over families and seeds"),
        *(Line2D([], [], linestyle="none", label=f"{mark} has seen {data}") for data, mark in _MARKS.items()),
    ]
    words = "R: pre-training loss over the least that any network can have there, median; 1 is the bound"
    entries.append(Line2D([], [], linestyle="none", label=words))
    figure.legend(handles=entries, loc="outside lower left", ncols=2, fontsize=9)
    return figure


def _entry(look: Look, label: str) -> Line2D:
    return Line2D([], [], label=label, **look.points)


def _map(axes: Axes, ratio: xr.DataArray) -> None:
    """Families along the horizontal axis, each cell with its number."""
    values = np.asarray(ratio.values, np.float64)
    shades = np.where(np.isfinite(values), np.clip(values, 1.0, _WORST), np.nan)
    norm = LogNorm(1.0, _WORST)
    axes.imshow(shades, cmap="cividis_r", norm=norm, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        told = f"{value:.2f}" if np.isfinite(value) and value < 10 else f"{value:.0f}" if np.isfinite(value) else "-"
        dark = np.isfinite(value) and norm(min(value, _WORST)) > 0.5
        axes.text(column, row, told, ha="center", va="center", fontsize=7.5, color="white" if dark else "black")
    families = [str(name).replace("_", " ") for name in ratio["family"].values]
    axes.set_xticks(np.arange(len(families)), families, rotation=40, ha="right")
    axes.tick_params(length=0)


picture = Picture("league", "a result of mitigations", _NEEDED, _paint)
draw, save = picture.draw, picture.save
