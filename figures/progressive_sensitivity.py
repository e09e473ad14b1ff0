"""Loss under noise, sensitivity, inflection points and the strengths there, along pre-training.

Usage: python -m figures.progressive_sensitivity [--data results/progressive_sensitivity] [--out figures/gallery]
  [--name NAME]
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
from matplotlib.patches import Patch

from . import drawing
from .cells import median, spread
from .drawing import Floats
from .picture import Picture
from .runs import draw_simulated, draw_theory, heights, looks, mark_turns

_KINDS = ("absolute", "relative")
_NEEDED = {
    *("start", "pretrain_steps", "seed", "mode", "learned", "strengths"),
    *(
        f"{name}_{kind}"
        for kind in _KINDS
        for name in ("loss", "sensitivity", "inflection", "harm", "predicted_loss", "predicted_inflection")
    ),
    *("stopped_strengths_absolute", "absolute_noise", "relative_noise"),
}
_CURVES = 4
_BUDGETS = 3  # fewer tell nothing about growth and turns
_KIND_LOOKS: dict[str, dict[str, Any]] = {
    "absolute": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "relative": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
}
_OTHER = {"color": "0.45", "marker": "^", "linestyle": ":"}


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss and sensitivity over the budget; inflection over the scale; strengths at the inflection."""
    figure = drawing.new_figure(9.6, 7.9)
    figure.suptitle(textwrap.fill(_message(dataset), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    _draw_losses(grid[0, 0], dataset)
    _draw_sensitivity(grid[0, 1], dataset)
    _draw_inflection(grid[1, 0], dataset)
    _draw_strengths(grid[1, 1], dataset)
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    for axes in grid[0]:
        axes.set(xscale="log", xlabel="pre-training budget (steps)")
        drawing.label_logarithmic(axes.xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    figure.legend(handles=_explain(dataset), loc="outside lower left", ncols=3)
    return figure


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    """Loss under absolute noise from all starts, at a few scales; samples as points with error bars."""
    axes.set_title("(a) loss under absolute noise on all weights")
    less = " $- \\gamma^4 d_{out} h\\, d_{in}$" if "constant_absolute" in dataset else ""
    axes.set(yscale="log", ylabel=f"loss under noise{less} (squared output)")
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    chosen = _chosen(dataset)
    for scale, look in zip(chosen, looks(len(chosen), ordered=True), strict=True):
        constant = float(dataset["constant_absolute"].sel(absolute_noise=scale)) if less else 0.0
        for number, start in enumerate(dataset["start"].values):
            part = dataset.sel(start=start, absolute_noise=scale)
            runs = part["loss_absolute"].transpose("pretrain_steps", "seed").values - constant
            closed = part["predicted_loss_absolute"].transpose("pretrain_steps", "seed").values - constant
            if number == 0:
                label = f"$\\gamma$ = {scale:g}"
                draw_simulated(axes, budgets, runs, look, joined=not np.isfinite(closed).any(), label=label)
                draw_theory(axes, budgets, closed, look | {"linestyle": "-"})
            else:
                axes.fill_between(budgets, *spread(runs), color=look["color"], alpha=0.3, linewidth=0)
                axes.plot(budgets, median(runs), color=look["color"], linestyle=":", linewidth=1.3)
            turn = np.atleast_1d(median(part["inflection_absolute"].values))
            if number == 0:
                mark_turns(axes, turn, heights(budgets, median(runs), turn), look["color"])
        if "sampled_absolute" in dataset:
            first = dataset.isel(start=0).sel(absolute_noise=scale)
            places = first["sampled_steps"].values.astype(np.float64)
            mean, error = (first[f"sampled_absolute{part}"].values for part in ("", "_error"))
            bars: dict[str, Any] = {"fmt": "x", "color": "black", "markersize": 5, "elinewidth": 1, "capsize": 2}
            axes.errorbar(places, mean - constant, 2 * error, zorder=7, **bars)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.32)
    axes.legend(loc="upper right", ncols=2)


def _draw_sensitivity(axes: Axes, dataset: xr.Dataset) -> None:
    """The part of the rise under noise that grows, in units of its last value; a tick for every mode half learned."""
    axes.set_title("(b) sensitivity, in units of its last value")
    axes.set(ylabel="sensitivity (1)", ylim=(0, 1.19))
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    for kind in _KINDS:
        look, axis = _KIND_LOOKS[kind], f"{kind}_noise"
        middle = {axis: dataset.sizes[axis] // 2}
        constant = dataset[f"constant_{kind}"].isel(middle) if f"constant_{kind}" in dataset else 0.0
        for number, start in enumerate(dataset["start"].values):
            part = dataset.sel(start=start).isel(middle)
            runs, closed = (
                (part[name] - constant).transpose("pretrain_steps", "seed").values
                for name in (f"sensitivity_{kind}", f"predicted_sensitivity_{kind}")
            )
            if number == 0:
                plain = not np.isfinite(closed).any()
                draw_simulated(axes, budgets, runs / runs[-1], look, joined=plain, label=f"to {kind} noise")
                draw_theory(axes, budgets, closed / closed[-1], look)
            else:
                axes.fill_between(budgets, *spread(runs / runs[-1]), color=look["color"], alpha=0.3, linewidth=0)
                axes.plot(budgets, median(runs / runs[-1]), color=look["color"], linestyle=":", linewidth=1.3)
    first, sigma = dataset["learned"].isel(start=0, seed=0), dataset["strengths"]
    ticks: dict[str, Any] = {"color": "0.3", "marker": "|", "markersize": 9, "linestyle": "none"}
    half = [_half_learned(budgets, first.sel(mode=mode).values, float(sigma.sel(mode=mode))) for mode in sigma["mode"]]
    known = [steps for steps in half if np.isfinite(steps)]
    axes.plot(known, np.full(len(known), 1.1), label="a mode half learned", **ticks)
    axes.legend(loc="center left")


def _draw_inflection(axes: Axes, dataset: xr.Dataset) -> None:
    """Inflection budgets over the price of strength at the end, of both kinds of noise; the plateau of n* shaded."""
    axes.set_title("(c) inflection point over the scale of the noise")
    priced = "price_absolute" in dataset
    said = "price of strength when all is learned ($G$, or $2q\\,\\Sigma\\sigma_i$)" if priced else "scale of the noise"
    axes.set(xscale="log", yscale="log", xlabel=said, ylabel="inflection point (steps)")
    for kind in _KINDS:
        look, axis = _KIND_LOOKS[kind], f"{kind}_noise"
        x = dataset[f"price_{kind}" if priced else axis].values.astype(np.float64)
        for number, start in enumerate(dataset["start"].values):
            part = dataset.sel(start=start)
            runs, closed = (
                part[name].transpose(axis, "seed").values
                for name in (f"inflection_{kind}", f"predicted_inflection_{kind}")
            )
            if number == 0:
                plain = not np.isfinite(closed).any()
                draw_simulated(axes, x, runs, look, joined=plain, label=f"{kind} noise")
                draw_theory(axes, x, closed, look)
            else:
                axes.fill_between(x, *spread(runs), color=look["color"], alpha=0.3, linewidth=0)
                axes.plot(x, median(runs), color=look["color"], linestyle=":", linewidth=1.3)
    if priced:
        _shade_plateaus(axes, dataset)
    axes.legend(loc="lower left")


def _shade_plateaus(axes: Axes, dataset: xr.Dataset) -> None:
    """Between the budgets at which modes n* and n* + 1 are half learned, under absolute noise."""
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    first, sigma = dataset["learned"].isel(start=0, seed=0), dataset["strengths"].values
    half = [_half_learned(budgets, first.isel(mode=at).values, sigma[at]) for at in range(len(sigma))]
    ends = np.asarray([budgets[0], *half, budgets[-1]])
    prices = np.geomspace(dataset["price_absolute"].values[0], dataset["price_absolute"].values[-1], 400)
    useful = (sigma[None] > prices[:, None]).sum(axis=1)
    low, high = ends[useful], ends[useful + 1]
    known = np.isfinite(low) & np.isfinite(high)
    label = "plateau of $n^*$ modes"
    axes.fill_between(prices, low, high, where=known, color="0.87", linewidth=0, zorder=0, step="mid", label=label)


def _draw_strengths(axes: Axes, dataset: xr.Dataset) -> None:
    """Strengths at the inflection in units of the target, over the target in units of the price."""
    axes.set_title("(d) what early stopping has learned, absolute noise")
    axes.set(xlabel="mode of the task / price of strength, $\\sigma_i / G$", ylabel="learned share $s_i / \\sigma_i$")
    axes.set(ylim=(-0.06, 1.32), yticks=[0, 0.25, 0.5, 0.75, 1])
    if "price_absolute" not in dataset or len(dataset["mode"]) == 0:
        axes.text(0.5, 0.5, "no thresholds: two layers, whitened inputs only", transform=axes.transAxes, ha="center")
        return
    sigma, part = dataset["strengths"].values, dataset.isel(start=0)
    chosen = _chosen(dataset)
    for scale, look in zip(chosen, looks(len(chosen), ordered=True), strict=True):
        cell = part.sel(absolute_noise=scale)
        strengths = cell["stopped_strengths_absolute"].transpose("mode", "seed").values
        present = (sigma > 0) & np.isfinite(strengths).any(axis=1)
        if not present.any():
            continue
        x = sigma[present] / float(cell["price_absolute"])
        shares = strengths[present] / sigma[present, None]
        marks = {**look, "linestyle": "-"}
        draw_simulated(axes, x, shares, marks, joined=True, label=f"$\\gamma$ = {scale:g}")
    axes.set_xscale("log")
    ends = axes.get_xlim()
    grid = np.geomspace(*ends, 500)
    axes.plot(grid, np.maximum(1 - 0.5 / grid, 0), color="black", linewidth=2, label="soft threshold")
    axes.plot(
        grid, np.where(grid > 1, 1.0, 0.0), color="0.5", linestyle="--", linewidth=1.3, label="cut at $\\sigma_i > G$"
    )
    drawing.label_logarithmic(axes.xaxis, (float(ends[0]), float(ends[1])))
    axes.legend(loc="upper left", ncols=3, columnspacing=1.0, handlelength=1.8)


def _half_learned(budgets: Floats, strengths: Floats, sigma: float) -> float:
    """Budget at which a mode is half learned, straight between budgets in log budget; NaN if it is not."""
    share = strengths / sigma if sigma else np.zeros_like(strengths)
    after = np.flatnonzero(share >= 0.5)
    if not len(after):
        return np.nan
    at = int(after[0])
    if at == 0:
        return float(budgets[0])
    place = (0.5 - share[at - 1]) / (share[at] - share[at - 1])
    return float(budgets[at - 1] * (budgets[at] / budgets[at - 1]) ** place)


def _chosen(dataset: xr.Dataset) -> Floats:
    """Scales of absolute noise to draw curves of: spread over those that there are, from the second on."""
    scales = np.asarray(dataset["absolute_noise"].values, np.float64)
    first = 1 if len(scales) > _CURVES else 0
    return scales[np.unique(np.linspace(first, len(scales) - 1, min(_CURVES, len(scales))).round().astype(int))]


def _explain(dataset: xr.Dataset) -> list[Any]:
    """What the marks of all panels mean."""
    starts, seeds = [str(start) for start in dataset["start"].values], dataset.sizes["seed"]
    said = {
        "identity": "aligned start $e^{-\\tau}I$",
        "gaussian": "Gaussian start",
        "balanced": "start in random bases",
    }
    names = [said.get(start, f"{start} start") for start in starts]
    gray: dict[str, Any] = {"color": "0.35", "marker": "o", "linestyle": "none"}
    entries: list[Any] = [Line2D([], [], label=f"{names[0]}: simulation", **gray | drawing.hollow(4.5, "0.35"))]
    if bool(dataset["predicted_loss_absolute"].notnull().any()):
        entries.append(Line2D([], [], color="0.35", label=f"{names[0]}: closed form"))
    if len(starts) > 1:
        entries.append(Line2D([], [], color="0.35", linestyle=":", label=f"{', '.join(names[1:])}: median"))
    if seeds > 1:
        entries.append(Patch(color="0.75", label=f"range of {seeds} seeds"))
    star: dict[str, Any] = {"marker": "*", "markersize": 11, "color": "0.6", "markeredgecolor": "black"}
    entries.append(Line2D([], [], linestyle="none", label="inflection point", **star))
    if "sampled_absolute" in dataset:
        label = f"mean of {dataset.attrs['samples']} draws, ± 2 standard errors"
        entries.append(Line2D([], [], linestyle="none", color="black", marker="x", markersize=5, label=label))
    return entries


def _message(dataset: xr.Dataset) -> str:
    """The finding in one sentence."""
    if dataset.sizes["pretrain_steps"] < _BUDGETS:
        return "Too few budgets to tell how sensitivity grows and where the loss under noise turns up"
    if not all(np.isfinite(dataset[f"sensitivity_{kind}"]).all() for kind in _KINDS):
        return "Pre-training diverged: no conclusion on sensitivity"
    falls = max(_largest_fall(dataset[f"sensitivity_{kind}"]) for kind in _KINDS)
    grows = "never falls along pre-training" if falls <= 1e-9 else f"falls by up to {falls:.2g} between budgets"
    runs = [dataset.sel(start=start).isel(seed=_distinct(dataset.sel(start=start))) for start in dataset["start"]]
    turned = np.concatenate([part[f"inflection_{kind}"].values.ravel() for part in runs for kind in _KINDS])
    count = int(np.isfinite(turned).sum())
    if count == 0:
        return f"Sensitivity to weight noise {grows}; within these budgets the loss under noise never turns up"
    said = "at every scale" if count == turned.size else f"in {count} of {turned.size} curves"
    worst = [float(np.nanmax(dataset[f"harm_{kind}"].values)) for kind in _KINDS]
    costs = [f"{drawing.rise(harm).removeprefix('+')} ({kind})" for harm, kind in zip(worst, _KINDS, strict=True)]
    first = f"Sensitivity to weight noise {grows}; under noise the loss turns up {said}"
    return f"{first}, by up to {', '.join(costs)}"


def _distinct(part: xr.Dataset) -> list[int]:
    """The seeds whose runs are equal to no earlier seed's: one of a start that draws nothing."""
    runs = part["sensitivity_absolute"].transpose("seed", ...).values
    return sorted(np.unique(runs.reshape(len(runs), -1), axis=0, return_index=True)[1].tolist())


def _largest_fall(rise: xr.DataArray) -> float:
    values = rise.transpose("pretrain_steps", ...).values
    with np.errstate(invalid="ignore", divide="ignore"):
        falls = 1 - values[1:] / values[:-1]
    return float(np.nanmax(falls, initial=0.0))


picture = Picture("progressive_sensitivity", __doc__, "a result of progressive_sensitivity", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
