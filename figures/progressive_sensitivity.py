"""Loss under noise, sensitivity, inflection points and the strengths there, along pre-training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import closed_form, curves
from .panels.looks import GREY, STAR, Look, known, looks
from .picture import Picture

_KINDS = {"absolute": Look("#0072B2", "o", "-"), "relative": Look("#D55E00", "s", "--")}
_NEEDED = {
    *("start", "pretrain_steps", "seed", "mode", "half_learned_steps", "strengths"),
    *(
        f"{name}_{kind}"
        for kind in _KINDS
        for name in ("loss", "sensitivity", "inflection", "harm", "predicted_loss", "predicted_inflection")
    ),
    *("stopped_strengths_absolute", "absolute_noise", "relative_noise"),
}
_CURVES = 4
_SCALES = "$\\gamma$ = {}"
_STARTS = {
    "identity": "aligned start $e^{-\\tau}I$",
    "gaussian": "Gaussian start",
    "balanced": "start in random bases",
}


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss and sensitivity over the budget; inflection over the scale; strengths at the inflection."""
    figure = new_figure(9.6, 7.9)
    (losses, sensitivity), (turns, strengths) = figure.subplots(2, 2)
    few = dataset.sel(absolute_noise=_chosen(dataset))
    _draw_losses(losses, few)
    _draw_sensitivity(sensitivity, dataset)
    _draw_turns(turns, dataset)
    _draw_strengths(strengths, few.isel(start=0))
    figure.legend(handles=_explain(dataset), loc="outside lower left", ncols=3)
    return figure


def _draw(axes: Axes, runs: xr.DataArray, theory: xr.DataArray, styles: list[Look], **how: Any) -> None:
    """Of the first start simulation and theory, of the others medians alone, dotted; `how` as of `curves`."""
    turns = how.pop("turns", None)
    dotted = how | {"styles": [look._replace(marker="", line=":") for look in styles], "names": None, "joined": True}
    for other in range(1, runs.sizes["start"]):
        curves(axes, runs.isel(start=other), **dotted)
    first = None if turns is None else turns.isel(start=0)
    curves(axes, runs.isel(start=0), theory.isel(start=0), styles=styles, turns=first, **how)


def _draw_losses(axes: Axes, few: xr.Dataset) -> None:
    """Loss under absolute noise from all starts, at a few scales; samples as points with error bars."""
    axes.set_title("(a) loss under absolute noise on all weights")
    less = " $- \\gamma^4 d_{out} h\\, d_{in}$" if "constant_absolute" in few else ""
    constant = few.get("constant_absolute", xr.DataArray(0.0))
    styles = looks(few.sizes["absolute_noise"], ordered=True, solid=True)
    runs, theory = few["loss_absolute"] - constant, closed_form(few, "loss_absolute") - constant
    _draw(axes, runs, theory, styles, by="absolute_noise", names=_SCALES, turns=few["inflection_absolute"])
    if "sampled_absolute" in few:
        bars: dict[str, Any] = {"fmt": "x", "color": "black", "markersize": 5, "elinewidth": 1, "capsize": 2}
        first = few.isel(start=0)
        means, errors = (first["sampled_absolute"] - constant).T, 2 * first["sampled_absolute_error"].T
        for mean, error in zip(means, errors, strict=True):
            axes.errorbar(first["sampled_steps"], mean, error, zorder=7, **bars)
    axes.set_ylabel(f"loss under noise{less} (squared output)")
    decades(axes.yaxis, above=0.32)
    axes.legend(loc="upper right", ncols=2)


def _draw_sensitivity(axes: Axes, dataset: xr.Dataset) -> None:
    """The part of the rise under noise that grows, in units of its last value; a tick for every mode half learned."""
    axes.set_title("(b) sensitivity, in units of its last value")
    for kind, look in _KINDS.items():
        part = dataset.isel({f"{kind}_noise": dataset.sizes[f"{kind}_noise"] // 2})
        constant = part.get(f"constant_{kind}", xr.DataArray(0.0))
        grown = [each - constant for each in (part[f"sensitivity_{kind}"], closed_form(part, f"sensitivity_{kind}"))]
        runs, theory = (each / each.isel(pretrain_steps=-1) for each in grown)
        _draw(axes, runs, theory, [look], names=[f"to {kind} noise"], log=False)
    half = dataset["half_learned_steps"].isel(start=0, seed=0)
    ticks: dict[str, Any] = {"color": "0.3", "marker": "|", "markersize": 9, "linestyle": "none"}
    axes.plot(half, np.full(half.shape, 1.1), label="a mode half learned", **ticks)
    axes.set(ylabel="sensitivity (1)", ylim=(0, 1.19))
    axes.legend(loc="center left")


def _draw_turns(axes: Axes, dataset: xr.Dataset) -> None:
    """Inflection budgets over the price of strength at the end, of both kinds of noise; the plateau of n* shaded."""
    axes.set_title("(c) inflection point over the scale of the noise")
    priced = "price_absolute" in dataset
    for kind, look in _KINDS.items():
        places = dataset[f"price_{kind}" if priced else f"{kind}_noise"]
        runs, theory = dataset[f"inflection_{kind}"], closed_form(dataset, f"inflection_{kind}")
        _draw(axes, runs, theory, [look], over=f"{kind}_noise", places=places, names=[f"{kind} noise"])
    axes.autoscale(axis="x")
    if priced:
        _shade_plateaus(axes, dataset)
    said = "price of strength when all is learned ($G$, or $2q\\,\\Sigma\\sigma_i$)" if priced else "scale of the noise"
    axes.set(xlabel=said, ylabel="inflection point (steps)")
    axes.legend(loc="lower left")


def _shade_plateaus(axes: Axes, dataset: xr.Dataset) -> None:
    """Between the budgets at which modes n* and n* + 1 are half learned, where so many modes are worth their price."""
    first, prices = dataset.isel(start=0, seed=0), dataset["price_absolute"].values
    budgets = first["pretrain_steps"].values
    ends = [budgets[0], *first["half_learned_steps"].values, budgets[-1]]
    edges = np.clip([np.inf, *first["strengths"].values, 0.0], prices[0], prices[-1])
    label: str | None = "plateau of $n^*$ modes"
    for useful, (dear, cheap) in enumerate(pairwise(edges)):
        if cheap < dear and np.isfinite(ends[useful : useful + 2]).all():
            low, high = ends[useful : useful + 2]
            axes.fill_between([cheap, dear], low, high, color="0.87", linewidth=0, zorder=0, label=label)
            label = None


def _draw_strengths(axes: Axes, first: xr.Dataset) -> None:
    """Strengths at the inflection in units of the target, over the target in units of the price."""
    axes.set_title("(d) what early stopping has learned, absolute noise")
    if "price_absolute" not in first or first.sizes["mode"] == 0:
        axes.text(0.5, 0.5, "no thresholds: two layers, whitened inputs only", transform=axes.transAxes, ha="center")
        return
    there = first.isel(mode=np.flatnonzero(first["strengths"] > 0))
    shares, places = (
        there["stopped_strengths_absolute"] / there["strengths"],
        there["strengths"] / there["price_absolute"],
    )
    styles = looks(first.sizes["absolute_noise"], ordered=True, solid=True)
    curves(axes, shares, over="mode", by="absolute_noise", names=_SCALES, styles=styles, places=places, log=False)
    ends = float(places.min()) / 1.2, 1.2 * float(places.max())
    grid = np.geomspace(*ends, 500)
    axes.plot(grid, np.maximum(1 - 0.5 / grid, 0), color="black", linewidth=2, label="soft threshold")
    cut: dict[str, Any] = {"color": "0.5", "linestyle": "--", "linewidth": 1.3, "label": "cut at $\\sigma_i > G$"}
    axes.plot(grid, np.where(grid > 1, 1.0, 0.0), **cut)
    axes.set(xlim=ends, ylim=(-0.06, 1.32), yticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set(xlabel="mode of the task / price of strength, $\\sigma_i / G$", ylabel="learned share $s_i / \\sigma_i$")
    axes.legend(loc="upper left", ncols=3, columnspacing=1.0, handlelength=1.8)


def _chosen(dataset: xr.Dataset) -> Any:
    """Scales of absolute noise to draw curves of: spread over those that there are, from the second on."""
    scales = dataset["absolute_noise"].values
    first = 1 if len(scales) > _CURVES else 0
    return scales[np.unique(np.linspace(first, len(scales) - 1, min(_CURVES, len(scales))).round().astype(int))]


def _explain(dataset: xr.Dataset) -> list[Any]:
    """What the marks of all panels mean."""
    first, *others = (_STARTS.get(start, f"{start} start") for start in map(str, dataset["start"].values))
    entries: list[Any] = [Line2D([], [], label=f"{first}: simulation", **Look(GREY).points)]
    if known(dataset["predicted_loss_absolute"]):
        entries.append(Line2D([], [], color=GREY, label=f"{first}: closed form"))
    if others:
        entries.append(Line2D([], [], color=GREY, linestyle=":", label=f"{', '.join(others)}: median"))
    if dataset.sizes["seed"] > 1:
        entries.append(Patch(color="0.75", label=f"range of {dataset.sizes['seed']} seeds"))
    entries.append(Line2D([], [], label="inflection point", **STAR | {"color": "0.6", "markersize": 11}))
    if "sampled_absolute" in dataset:
        label = f"mean of {dataset.attrs['samples']} draws, ± 2 standard errors"
        entries.append(Line2D([], [], linestyle="none", color="black", marker="x", markersize=5, label=label))
    return entries


picture = Picture("progressive_sensitivity", "a result of progressive_sensitivity", _NEEDED, _paint)
draw, save = picture.draw, picture.save
