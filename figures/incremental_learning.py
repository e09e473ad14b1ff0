"""Modes learned one after another: shares of the modes over the budget, and how sharp the steps are."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import REFERENCE, explain, looks
from .panels.rows import ranges, span
from .panels.words import power_of_ten, short
from .picture import Picture

_KINDS = ("aligned", "random", "predicted")
_NEEDED = {
    *("depth", "scale", "pretrain_steps", "mode", "seed", "strength"),
    *(f"{kind}_{name}" for kind in _KINDS for name in ("learned", "half_learned_steps", "overlap")),
}
_MOST_MODES = 7  # in a legend


def _paint(dataset: xr.Dataset) -> Figure:
    """Two sets of curves from the aligned start, one from random starts, and sharpness over the initial scale."""
    figure = new_figure(9.6, 7.2)
    (control, aligned), (random, sharpness) = figure.subplots(2, 2)
    depths, seeds = dataset["depth"].values, dataset.sizes["seed"]
    shown = dataset.sel(depth=depths[depths >= 2][0] if (depths >= 2).any() else depths[-1]).isel(scale=0)
    # Control: the shallowest network, or where there is one depth only the largest start.
    plain = dataset.isel(depth=0, scale=0) if depths[0] != shown["depth"] else dataset.isel(depth=0, scale=-1)
    drawn = _draw_modes(control, "(a)", plain, "aligned start", plain["aligned_learned"], plain["predicted_learned"])
    _draw_modes(aligned, "(b)", shown, "aligned start", shown["aligned_learned"], shown["predicted_learned"])
    several = f"{seeds} random starts" if seeds > 1 else "a random start"
    _draw_modes(random, "(c)", shown, several, shown["random_learned"])
    random.legend(handles=explain(seeds), loc="upper left", fontsize=8.5)
    low, high = _limits(dataset)
    for axes in control, aligned, random:
        decades(axes.xaxis, low, high)
    _draw_sharpness(sharpness, dataset)
    modes = [look.entry(name) for name, look in drawn.items()]
    few = modes if len(modes) <= _MOST_MODES else [modes[0], modes[len(modes) // 2], modes[-1]]
    handles = [*few, *explain(1, dataset["predicted_learned"])]
    control.legend(handles=handles, loc="upper left", fontsize=8.5)
    return figure


def _draw_modes(
    axes: Axes, letter: str, part: xr.Dataset, start: str, learned: xr.DataArray, theory: xr.DataArray | None = None
) -> Any:
    """Share of every mode over the budget."""
    axes.set_title(f"{letter} {_layers(int(part['depth']))}, {start}, $s_0$ = {_scale(float(part['scale']))}")
    names = [rf"$\sigma_{{{at}}}$ = {short(value)}" for at, value in enumerate(part["strength"].values, 1)]
    styles = looks(part.sizes["mode"], ordered=True, solid=True)
    drawn = curves(axes, learned, theory, by="mode", names=names, styles=styles, log=False)
    axes.axhline(0.5, **REFERENCE | {"linestyle": ":"})
    axes.set(ylabel=r"share learned, $s_i/\sigma_i$", ylim=(-0.06, 1.12))
    return drawn


def _draw_sharpness(axes: Axes, dataset: xr.Dataset) -> None:
    """How much of mode 2 is there when mode 1 is half learned, over the initial scale, for every depth."""
    axes.set_title("(d) sharpness: what has begun of the next mode")
    aligned, random, theory = (dataset[f"{kind}_overlap"].isel(mode=0) for kind in ("aligned", "random", "predicted"))
    aligned, random, theory = (share.where(share > 0) for share in (aligned, random, theory))
    names, styles = [_layers(int(depth)) for depth in dataset["depth"]], looks(dataset.sizes["depth"])
    drawn = curves(axes, aligned, theory, over="scale", by="depth", names=names, styles=styles, joined=False)
    for at, look in enumerate(styles):
        beside = dataset["scale"].values * 1.09 ** (at + 2.4)  # so that ranges of depths do not cover each other
        runs = random.isel(depth=at).transpose("scale", "seed").values
        ranges(axes, beside, span(runs), look, upright=True, width=2.6)
    decades(axes.xaxis, dataset["scale"][0] / 1.6, dataset["scale"][-1] * 2.2)
    decades(axes.yaxis, above=0.06)
    axes.set(xlabel="strength of every mode at the start, $s_0$", ylabel="share of mode 2 at half of mode 1")
    handles = [look.entry(name) for name, look in drawn.items()]
    if dataset.sizes["seed"] > 1:
        bar: dict[str, Any] = {"color": "0.5", "marker": "|", "markersize": 11, "markeredgewidth": 2.6}
        handles.append(Line2D([], [], linestyle="none", label="random starts (range)", **bar))
    axes.legend(handles=handles, loc="lower right", fontsize=8.5)


def _limits(dataset: xr.Dataset) -> tuple[float, float]:
    """Of the budgets in all panels, from well before the first rise on."""
    budgets = dataset["pretrain_steps"].values
    first = dataset[["aligned_half_learned_steps", "random_half_learned_steps"]].to_dataarray().min()
    return float(np.fmax(first / 10, budgets[0])) / 1.05, budgets[-1] * 1.05


def _layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def _scale(value: float) -> str:
    """A power of ten as such."""
    power = round(float(np.log10(value)))
    return power_of_ten(power) if np.isclose(value, 10.0**power) else short(value)


picture = Picture("incremental_learning", "a result of incremental_learning", _NEEDED, _paint)
draw, save = picture.draw, picture.save
