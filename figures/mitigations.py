"""Mitigations by both rulers: the fixed recipe, and distance from what is possible at matched fine-tuning loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.canvas import new_figure
from .panels.looks import GREY, Look, looks
from .picture import Picture

_NEEDED = {
    *("mitigation", "family", "level", "seed", "seen", "side", "ratio", "rank", "end"),
    *("fixed_pretrain_loss", "fixed_finetune_loss"),
}
_MARKS = {"fine-tuning data": "\N{DAGGER}", "pre-training data": "\N{DOUBLE DAGGER}"}
_ENDS = {"lowest": "<", "highest": ">"}
_FAMILIES = {"tail": "weak modes amplified", "random": "random target"}


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses by the fixed recipe, and R at every level; rows in the order of the ranks at matched loss."""
    means = dataset["rank"].mean(("level", "family", "seed")).values
    shown = dataset.isel(mitigation=np.argsort(means, kind="stable"))
    families = [str(name) for name in shown["family"].values]
    styles = dict(zip(families, looks(len(families), sizes=(6.0, 5.0)), strict=True))
    figure = new_figure(11.0, 1.6 + 0.27 * max(shown.sizes["mitigation"], 6))
    fixed, *matched = figure.subplots(1, 1 + shown.sizes["level"], sharey=True)
    rows = np.arange(shown.sizes["mitigation"], dtype=float)[::-1]
    for at, (family, look) in enumerate(styles.items()):
        places = rows + 0.16 * ((len(families) - 1) / 2 - at)
        here = shown.sel(family=family)
        _points(fixed, here["fixed_pretrain_loss"], places, look)
        fixed.plot(here["fixed_finetune_loss"].median("seed"), places, color=GREY, marker="|", linestyle="none")
        for axes, level in zip(matched, shown["level"].values, strict=True):
            cell = here.sel(level=level)
            _points(axes, cell["ratio"], places, look)
            ends = [str(end) for end in cell["end"].values]
            for place, middle, end in zip(places, cell["ratio"].median("seed").values, ends, strict=True):
                if end in _ENDS and np.isfinite(middle):
                    note: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
                    axes.annotate(_ENDS[end], (middle, place), color=look.color, fontsize=8, **note)
    names = [
        f"{name} {_MARKS.get(str(seen), '')}".strip()
        for name, seen in zip(shown["mitigation"].values, shown["seen"].values, strict=True)
    ]
    fixed.set_yticks(rows, names)
    fixed.set(ylim=(-0.7, len(rows) - 0.3), xlim=(0, None), xlabel="loss after fine-tuning / $D^2$ (1)")
    fixed.set_title("(a) one rate, one strength")
    for axes, level, letter in zip(matched, shown["level"].values, "bcdefgh", strict=False):
        axes.axvline(1.0, color="black", linewidth=1.4, zorder=1)
        axes.set(xlabel="pre-training loss / least possible (1)", xlim=(0.97, None))
        axes.set_title(f"({letter}) all at $L_{{ft}} = {level:g}\\,D^2$")
    entries = [
        Line2D([], [], label=f"{_FAMILIES.get(name, name)}, {shown.sizes['seed']} transfers", **look.points)
        for name, look in styles.items()
    ]
    entries.append(Line2D([], [], color=GREY, marker="|", linestyle="none", label="fine-tuning loss in (a)"))
    entries.append(Line2D([], [], color="black", label="bound"))
    marks = [f"{mark} has seen {data}" for data, mark in _MARKS.items()]
    marks.append("<, > best strength: the lowest, highest tried")
    entries += [Line2D([], [], linestyle="none", label=words) for words in marks]
    figure.legend(handles=entries, loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _points(axes: Axes, values: xr.DataArray, places: np.ndarray, look: Look) -> None:
    """Medians over seeds, and their range."""
    low, high = values.min("seed"), values.max("seed")
    axes.hlines(places, low, high, color=look.color, linewidth=1.2, alpha=0.6)
    axes.plot(values.median("seed"), places, **look.points)


picture = Picture("mitigations", "a result of mitigations", _NEEDED, _paint)
draw, save = picture.draw, picture.save
