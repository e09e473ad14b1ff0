"""Early exposure: what is kept of a target over the share of its data in pre-training, its timing, and its splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import GREY, Look, explain, legend, looks
from .picture import Picture

_NEEDED = {
    *("features", "depth", "share", "asked", "seed", "retained_loss", "predicted_retained_loss", "timing", "early"),
    *("timed_retained_loss", "split_retained_loss", "split_target_loss"),
}
_MATCHED = 1e-5
_LOSS = "loss on the target / zero network's"


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss over the share with redundant and with independent features, over timing, and over splits."""
    figure = new_figure(9.6, 7.4)
    (redundant, independent), (timed, split) = figure.subplots(2, 2)
    depths = [int(depth) for depth in dataset["depth"].values]
    styles = looks(len(depths), ordered=True)
    asked = dataset["asked"].values[-1]
    shown = dataset.sel(asked=asked)
    for axes, features, letter, words in (
        (redundant, "redundant", "a", "redundant features: the target in either"),
        (independent, "independent", "b", "control, independent features"),
    ):
        cell = shown.sel(features=features)
        losses, theory = cell["retained_loss"], cell["predicted_retained_loss"]
        mixed = np.flatnonzero(losses["share"].values < 1)
        curves(axes, losses.isel(share=mixed), theory.isel(share=mixed), over="share", by="depth", styles=styles)
        _points(axes, losses.isel(share=np.flatnonzero(losses["share"].values == 1)), "share", styles)
        axes.set(title=f"({letter}) {words}", xscale="linear", xlim=(-0.04, 1.04), ylabel=_LOSS)
    low, high = redundant.get_ylim()
    for axes in (redundant, independent):
        axes.set_ylim(low, max(high, independent.get_ylim()[1]))
    legend(redundant, {f"{depth}": look for depth, look in zip(depths, styles, strict=True)}, title="layers")
    _timing(timed, shown.sel(features="redundant"), styles)
    _splits(split, shown.sel(features="redundant"), styles)
    for axes in (timed, split):
        axes.set_ylabel(_LOSS)
    entries = explain(dataset.sizes["seed"], dataset["predicted_retained_loss"])
    crossed: dict[str, Any] = {"color": GREY, "marker": "x", "linestyle": "none"}
    entries.append(Line2D([], [], label="target not learned before it was fine-tuned", **crossed))
    entries.append(Line2D([], [], linestyle="none", label=f"downstream asks for {asked:g} of the known feature"))
    figure.legend(handles=entries, loc="outside lower left", ncols=3, fontsize=9)
    return figure


def _timing(axes: Axes, dataset: xr.Dataset, styles: list[Look]) -> None:
    """A point for each depth and half."""
    losses, places = dataset["timed_retained_loss"], np.arange(dataset.sizes["timing"])
    _points(axes, losses.assign_coords(timing=places), "timing", styles, line=True)
    axes.set(title=f"(c) a share of {dataset.attrs['timed']:g}, by when it is mixed in", ylim=(0, None))
    axes.set_xticks(places, [str(when) for when in dataset["timing"].values])
    axes.set(xlim=(-0.4, places[-1] + 0.4), xlabel="part of pre-training with the target's data")


def _points(axes: Axes, losses: xr.DataArray, over: str, styles: list[Look], line: bool = False) -> None:
    """Medians over seeds, and their range, at a few places."""
    for at, look in enumerate(styles):
        values, places = losses.isel(depth=at), losses[over].values
        axes.vlines(places, values.min("seed"), values.max("seed"), color=look.color, linewidth=1.2, alpha=0.6)
        axes.plot(places, values.median("seed"), **(look.joined if line else look.points))


def _splits(axes: Axes, dataset: xr.Dataset, styles: list[Look]) -> None:
    """Over the part that is seen early, crossed out where the target is not learned by then."""
    losses = dataset["split_retained_loss"]
    curves(axes, losses, over="early", by="depth", styles=styles, log=False)
    short = (dataset["split_target_loss"] > _MATCHED).any("seed").transpose("depth", "early")
    for look, values, gone in zip(styles, losses.median("seed").transpose("depth", "early"), short, strict=True):
        axes.plot(losses["early"].values[gone.values], values.values[gone.values], "x", color=look.color, zorder=6)
    axes.set(title="(d) one amount of target data, equal compute", xscale="linear", xlim=(-0.04, 1.04), ylim=(0, None))
    axes.set_xlabel("part of the target's data seen in pre-training (1)")


picture = Picture("early_exposure", "a result of early_exposure", _NEEDED, _paint)
draw, save = picture.draw, picture.save
