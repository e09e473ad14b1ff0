"""Representations after a new head: loss over the budget, the thresholds, and the best strength."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from linsim.labels import lost_lanes
from linsim.theory.objectives.new_heads import best_representation

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import GREY, REFERENCE, Look, explain, legend, looks
from .picture import Picture

_NEEDED = {
    *("objective", "bases", "asked", "ratio", "duration", "seed", "pretrain_steps", "pretrain_loss_after", "zero_loss"),
    *("limit", "best_strength", "diverged"),
}
_SHOWN = "contrastive"
_HARDLY = 2 / 3


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss over the budget in both bases, learned against hardly learned, and the best strength."""
    figure = new_figure(9.6, 7.6)
    (modes, random), (worse, best) = figure.subplots(2, 2)
    long = dataset.sel(duration="long", asked="all", drop=True)
    losses = long["pretrain_loss_after"].where(~lost_lanes(long)) / long["zero_loss"]
    named: dict[str, Any] = {"joined": True, "log": False}
    styles = looks(dataset.sizes["ratio"], ordered=True)
    for axes, bases, letter in ((modes, "modes", "a"), (random, "random", "b")):
        words = "the modes" if bases == "modes" else "a random basis"
        axes.set_title(f"({letter}) {_SHOWN}, a new head along {words}")
        shown = losses.sel(objective=_SHOWN, bases=bases)
        curves(axes, shown, by="ratio", styles=styles, **named)
        axes.axhline(1, **REFERENCE)
        axes.set_ylabel("representation loss after / that of W = 0")
    top = max(axes.get_ylim()[1] for axes in (modes, random))
    for axes in (modes, random):
        axes.set_ylim(0, top)
        along(axes, dataset["pretrain_steps"])
    legend(
        random,
        {f"{ratio:g}": look for ratio, look in zip(dataset["ratio"].values, styles, strict=True)},
        title="target over limit, β/c",
        ncols=2,
    )

    worse.set_title("(c) learned in full against hardly learned")
    gap = losses.isel(pretrain_steps=-1, drop=True) - losses.isel(pretrain_steps=0, drop=True)
    each = dict(zip(map(str, dataset["objective"].values), looks(dataset.sizes["objective"]), strict=True))
    told: dict[str, Look] = {}
    for name, look in each.items():
        limit = dataset["limit"].sel(objective=name)
        for bases in dataset["bases"].values:
            if bases == "random" and np.ptp(limit.values) == 0:  # where bases make no difference
                continue
            drawn = look._replace(line="-" if bases == "modes" else "--", size=4.5 if bases == "modes" else 7.0)
            curves(worse, gap.sel(objective=name, bases=bases), over="ratio", styles=[drawn], **named)
            told[f"{name}, {'modes' if bases == 'modes' else 'random basis'}"] = drawn
    legend(worse, told)
    worse.axhline(0, **REFERENCE)
    worse.axvline(_HARDLY, color=GREY, linestyle="--", linewidth=0.9)
    worse.annotate(" 2/3", (_HARDLY, 0), xycoords=("data", "axes fraction"), xytext=(2, 4), textcoords="offset points")
    worse.set_ylabel("(last - first loss) / that of W = 0")
    worse.set(xscale="linear", xlim=(0, None))

    best.set_title("(d) strength from which a mode ends at c")
    below = dataset["ratio"].values[dataset["ratio"].values < 1]
    for name, look in each.items():
        found = dataset["best_strength"].sel(objective=name, ratio=below)
        curves(best, found, over="ratio", styles=[look._replace(line="")], **(named | {"joined": False}))
    ratios = np.linspace(0, 1, 60)
    best.plot(ratios, best_representation(np.ones_like(ratios), ratios), color=GREY, label="1 - (β/c)²")
    best.set(ylabel="s / c before fine-tuning", ylim=(0, 1.05), xlim=(0, 1))
    best.set_xlabel(worse.get_xlabel())
    handles = [*(Look(look.color, look.marker, "").entry(name) for name, look in each.items()), *best.lines[-1:]]
    best.legend(handles=handles, fontsize=8)
    figure.legend(handles=explain(dataset.sizes["seed"]), loc="outside lower left", ncols=4, fontsize=9)
    return figure


picture = Picture("new_heads", "a result of new_heads", _NEEDED, _paint)
draw, save = picture.draw, picture.save
