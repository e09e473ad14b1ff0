"""Modes learned one after another: shares of the modes over the budget, and how sharp the steps are.

Usage: python -m figures.incremental_learning [--data DIR] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import drawing
from .cells import median, spread
from .picture import Picture
from .runs import draw_simulated, draw_theory, explain, looks

_SHARPENS = 0.8  # of the share at the largest scale, as in the experiment's conclusion
_DIVERGED = 1e3  # share of a mode beyond which a run has diverged, as there
_KINDS = ("aligned", "random", "predicted")
_NEEDED = {
    *("depth", "scale", "pretrain_steps", "mode", "seed", "strength"),
    *(f"{kind}_{name}" for kind in _KINDS for name in ("learned", "half_learned_steps", "overlap")),
}


def _paint(dataset: xr.Dataset) -> Figure:
    """Two sets of curves from the aligned start, one from random starts, and sharpness over the initial scale."""
    figure = drawing.new_figure(9.6, 7.2)
    figure.suptitle(textwrap.fill(_message(dataset), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    depths, scales = dataset["depth"].values, dataset["scale"].values
    shown = int(depths[np.argmax(depths >= 2)]) if (depths >= 2).any() else int(depths[-1])
    # Control: the shallowest network, or where there is one depth only the largest start.
    control = (int(depths[0]), scales[0]) if depths[0] != shown else (shown, scales[-1])
    _draw_modes(grid[0, 0], dataset, *control, "aligned", "a")
    _draw_modes(grid[0, 1], dataset, shown, scales[0], "aligned", "b")
    _draw_modes(grid[1, 0], dataset, shown, scales[0], "random", "c")
    _draw_sharpness(grid[1, 1], dataset)
    kinds = explain(1, theory="closed form" if dataset["predicted_learned"].notnull().any() else None)
    modes = [
        Line2D(
            [], [], color=look["color"], marker=look["marker"], markerfacecolor="white", label=_strength(dataset, at)
        )
        for at, look in enumerate(looks(dataset.sizes["mode"], ordered=True))
    ]
    few = modes if len(modes) <= 7 else [modes[0], modes[len(modes) // 2], modes[-1]]
    grid[0, 0].legend(handles=[*few, *kinds], loc="upper left", fontsize=8.5)
    return figure


def _draw_modes(axes: Axes, dataset: xr.Dataset, depth: int, scale: float, kind: str, letter: str) -> None:
    """Share of every mode over the budget."""
    seeds = dataset.sizes["seed"]
    start = "aligned start" if kind == "aligned" else f"{seeds} random starts" if seeds > 1 else "a random start"
    axes.set_title(f"({letter}) {_layers(depth)}, {start}, $s_0$ = {_scale(scale)}")
    axes.set(xscale="log", xlabel="pre-training budget (steps)", ylabel=r"share learned, $s_i/\sigma_i$")
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    at = {"depth": depth, "scale": scale}
    runs = dataset[f"{kind}_learned"].sel(at).values
    curves = runs if runs.ndim == 3 else runs[..., None]
    for mode, look in enumerate(looks(dataset.sizes["mode"], ordered=True)):
        if kind == "aligned":
            draw_theory(axes, budgets, dataset["predicted_learned"].sel(at).values[:, mode], look | {"linestyle": "-"})
        draw_simulated(axes, budgets, curves[:, mode], look | {"linestyle": "-"}, joined=kind == "random")
    axes.axhline(0.5, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_ylim(-0.06, 1.12)
    drawing.label_logarithmic(axes.xaxis, _limits(dataset, budgets))
    if kind == "random":
        handles = explain(seeds, theory=None)
        axes.legend(handles=handles, loc="upper left", fontsize=8.5)


def _draw_sharpness(axes: Axes, dataset: xr.Dataset) -> None:
    """How much of mode 2 is there when mode 1 is half learned, over the initial scale, for every depth."""
    axes.set_title("(d) sharpness: what has begun of the next mode")
    axes.set(xscale="log", yscale="log", xlabel="strength of every mode at the start, $s_0$")
    axes.set_ylabel("share of mode 2 at half of mode 1")
    scales = dataset["scale"].values
    depths = dataset["depth"].values
    handles: list[Any] = []
    for index, (depth, look) in enumerate(zip(depths, looks(len(depths)), strict=True)):
        pair = {name: dataset[f"{name}_overlap"].sel(depth=depth).isel(mode=0).values for name in _KINDS}
        shares = {name: np.where(values > 0, values, np.nan) for name, values in pair.items()}
        draw_theory(axes, scales, shares["predicted"], look)
        draw_simulated(axes, scales, shares["aligned"][:, None], look)
        # Beside the markers, so that the ranges of the depths do not cover each other.
        place = scales * 1.09 ** (index + 1.4)
        low, high = spread(shares["random"])
        axes.vlines(place, low, high, color=look["color"], linewidth=2.6, alpha=0.5)
        hollow = drawing.hollow(4.5, look["color"])
        axes.plot(place, median(shares["random"]), linestyle="none", marker=look["marker"], **hollow)
        sign: dict[str, Any] = {"color": look["color"], "marker": look["marker"], "linestyle": look["linestyle"]}
        handles.append(Line2D([], [], markerfacecolor="white", label=_layers(int(depth)), **sign))
    if dataset.sizes["seed"] > 1:
        bar: dict[str, Any] = {"color": "0.5", "marker": "|", "markersize": 11, "markeredgewidth": 2.6}
        handles.append(Line2D([], [], linestyle="none", label="random starts (range)", **bar))
    drawing.label_logarithmic(axes.xaxis, (scales[0] / 1.6, scales[-1] * 2.2))
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 1.2, top * 1.6)
    axes.legend(handles=handles, loc="lower right", fontsize=8.5)


def _limits(dataset: xr.Dataset, budgets: drawing.Floats) -> tuple[float, float]:
    """The same for all panels, from well before the first rise on."""
    firsts = [dataset[f"{kind}_half_learned_steps"].values for kind in ("aligned", "random")]
    known = [first[np.isfinite(first)].min() for first in firsts if np.isfinite(first).any()]
    low = max(float(budgets[0]), min(known) / 10) if known else float(budgets[0])
    return low / 1.05, float(budgets[-1]) * 1.05


def _layers(depth: int) -> str:
    return "1 layer" if depth == 1 else f"{depth} layers"


def _strength(dataset: xr.Dataset, mode: int) -> str:
    return rf"$\sigma_{{{mode + 1}}}$ = {drawing.short(float(dataset['strength'].values[mode]))}"


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one sentence."""
    if dataset.sizes["mode"] < 2:
        return "One mode alone is learned in one step, at any depth"
    shares = dataset["aligned_overlap"].isel(mode=0)
    first, last = shares.isel(scale=0).values, shares.isel(scale=-1).values
    depths, scales = dataset["depth"].values, dataset["scale"].values
    known = np.isfinite(first) & np.isfinite(last)
    aligned = dataset["aligned_learned"].values
    if not known.any() and not (np.abs(aligned) <= _DIVERGED).all(axis=(2, 3)).any():
        return "Every run from the aligned start diverged"
    if len(scales) < 2 or not known.any():
        return "One initial scale, or too few budgets: how sharp the steps are cannot be compared"
    falls = known & (first < _SHARPENS * last)
    if not falls.any():
        share = _percent(first[known][0])
        return f"A smaller start does not sharpen the steps: mode 2 is at {share} when mode 1 is half learned"
    each = [
        f"from {_percent(high)} to {_percent(low)} ({_layers(int(depth))})"
        for depth, low, high, fell in zip(depths, first, last, falls, strict=True)
        if fell
    ]
    kept = known & ~falls
    stays = f", and stays at {_percent(first[kept][0])} ({_layers(int(depths[kept][0]))})" if kept.any() else ""
    return (
        "Modes are learned one after another, the sharper the smaller the start: between "
        f"$s_0$\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{_scale(scales[-1])} and {_scale(scales[0])} the share of mode 2 "
        f"at half of mode 1 falls {' and '.join([each[0], each[-1]] if len(each) > 1 else each)}{stays}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g}\N{NO-BREAK SPACE}%"


def _scale(value: float) -> str:
    """A power of ten as such."""
    power = round(float(np.log10(value)))
    return drawing.power_of_ten(power) if np.isclose(value, 10.0**power) else drawing.short(value)


picture = Picture("incremental_learning", __doc__, "a result of incremental_learning", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
