"""Three phases: the pre-training loss over the budget after each tuning, and what the first choice costs later."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import GREY, REFERENCE, Look, explain, looks
from .picture import Picture

_NEEDED = {
    *("bases", "second", "learning_rate", "pretrain_steps", "seed", "pretrain_loss_before", "pretrain_loss_after"),
    *("pretrain_loss_later", "predicted_pretrain_loss_after", "predicted_pretrain_loss_later", "chosen_steps"),
    "regret",
}
_NAMES = {"back": "again on the pre-training task", "head": "strong modes amplified", "random": "a random target"}
_AXIS = "pre-training loss / zero network's"


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses in both bases at the middle rate, and costs at all."""
    figure = new_figure(11.0, 4.9)
    *panels, costs = figure.subplots(1, dataset.sizes["bases"] + 1)
    seconds = [str(name) for name in dataset["second"].values]
    first, *rest = looks(1 + len(seconds))
    styles = dict(zip(seconds, rest, strict=True))
    rate = dataset["learning_rate"].values[dataset.sizes["learning_rate"] // 2]
    for axes, bases, letter in zip(panels, dataset["bases"].values, "abcdef", strict=False):
        cell = dataset.sel(bases=bases, learning_rate=rate)
        _losses(axes, cell, first, styles)
        axes.set_title(f"({letter}) {bases} bases, first rate {rate:g}")
    _costs(costs, dataset, styles)
    costs.set_title(f"({'abcdefg'[len(panels)]}) cost of the first choice, later")
    theory = dataset["predicted_pretrain_loss_later"]
    entries = explain(dataset.sizes["seed"], theory, closed_form="mode solution, iterated")
    named = {"after the first fine-tuning": first}
    named |= {f"then {_NAMES.get(name, name)}": look for name, look in styles.items()}
    entries = [*(look.entry(name) for name, look in named.items()), *entries]
    figure.legend(handles=entries, loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _losses(axes: Axes, cell: xr.Dataset, first: Look, styles: dict[str, Look]) -> None:
    """After the first tuning, which is the same for all second tasks, and after the second; the first choice."""
    start = cell.isel(second=0)
    curves(axes, start["pretrain_loss_after"], start["predicted_pretrain_loss_after"], styles=[first])
    for name, look in styles.items():
        there = cell.sel(second=name)
        curves(axes, there["pretrain_loss_later"], there["predicted_pretrain_loss_later"], styles=[look])
    chosen = start["chosen_steps"].median()
    if bool(np.isfinite(chosen)):
        axes.axvline(float(chosen), color=GREY, linestyle="--", linewidth=1.0)
        place: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "xytext": (-3, -4),
            "textcoords": "offset points",
        }
        axes.annotate("chosen", (float(chosen), 1), ha="right", va="top", fontsize=8, color=GREY, **place)
    axes.set_ylabel(_AXIS)


def _costs(axes: Axes, dataset: xr.Dataset, styles: dict[str, Look]) -> None:
    """In percent, over rates: medians and ranges, random bases first; what is none at the lower end."""
    rates = np.arange(dataset.sizes["learning_rate"])
    shown = dataset.isel(bases=-1)
    for at, (name, look) in enumerate(styles.items()):
        values = (100 * shown["regret"].sel(second=name)).clip(min=0.1)
        places = rates + 0.15 * (at - (len(styles) - 1) / 2)
        axes.vlines(places, values.min("seed"), values.max("seed"), color=look.color, linewidth=1.2, alpha=0.6)
        axes.plot(places, values.median("seed"), **look.points)
    axes.set(yscale="log", xlabel=f"rate of the first fine-tuning, {shown['bases'].item()} bases")
    axes.set_ylabel("later loss of the first choice over the best, %")
    axes.set_xticks(rates, [f"{rate:g}" for rate in dataset["learning_rate"].values])
    axes.axhline(1, **REFERENCE)
    axes.set_xlim(-0.5, len(rates) - 0.5)


picture = Picture("three_phases", "a result of three_phases", _NEEDED, _paint)
draw, save = picture.draw, picture.save
