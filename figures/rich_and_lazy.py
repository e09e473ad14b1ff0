"""Loss after fine-tuning over the budget in rich and lazy networks, and what becomes of its U.

Usage: python -m figures.rich_and_lazy [--data results/rich_and_lazy] [--out figures/gallery] [--name NAME]
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
from .cells import median
from .picture import Picture
from .runs import draw_simulated, draw_theory, explain, heights, looks, mark_turns

_NEEDED = {
    *("tau", "balance", "level", "seed", "pretrain_steps", "harm", "lazy_harm", "hessian_trace", "curve_at_equal_loss"),
    *("predicted_curve_at_equal_loss", "lazy_curve_at_equal_loss", "inflection_steps_at_equal_loss"),
    *("harm_at_equal_loss", "least_at_equal_loss", "last_at_equal_loss", "harm_at_tuned_rates"),
    "pretrain_loss_after",
}
_CURVES = 4


def _paint(dataset: xr.Dataset) -> Figure:
    """Curves over the budget, harm and losses over the balance, sensitivity over the budget."""
    figure = drawing.new_figure(9.6, 7.9)
    figure.suptitle(textwrap.fill(_message(dataset), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    _draw_curves(grid[0, 0], dataset)
    _draw_harm(grid[0, 1], dataset)
    _draw_losses(grid[1, 0], dataset)
    _draw_trace(grid[1, 1], dataset)
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    for axes in (grid[0, 0], grid[1, 1]):
        axes.set(xscale="log", xlabel="pre-training budget (steps)")
        drawing.label_logarithmic(axes.xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    theory = "closed form" if bool(dataset["predicted_curve_at_equal_loss"].notnull().any()) else None
    entries = explain(dataset.sizes["seed"], theory=theory, turns=True)
    if bool(dataset["lazy_curve_at_equal_loss"].notnull().any()):
        entries.append(
            Line2D(
                [],
                [],
                color="black",
                linestyle=(0, (1, 1)),
                linewidth=1.8,
                label=f"linear dynamics, $\\tau$ = {float(dataset['tau'][-1]):g}",
            )
        )
    figure.legend(handles=entries, loc="outside lower left", ncols=5)
    return figure


def _draw_curves(axes: Axes, dataset: xr.Dataset) -> None:
    """At the smallest scale, at the rate by which the last checkpoint reaches the same fine-tuning loss."""
    level = _level(dataset)
    axes.set_title(f"(a) tuned until fine-tuning loss is {level:g} of what it was")
    axes.set(yscale="log", ylabel="pre-training loss after (squared output)")
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    part = dataset.isel(tau=-1).sel(level=level)
    chosen = _chosen(dataset)
    for balance, look in zip(chosen, looks(len(chosen), ordered=True), strict=True):
        cell = part.sel(balance=balance)
        runs, closed, lazy = (
            cell[f"{name}curve_at_equal_loss"].transpose("pretrain_steps", "seed").values
            for name in ("", "predicted_", "lazy_")
        )
        if not np.isfinite(runs).any():
            continue
        solid = look | {"linestyle": "-"}
        draw_simulated(axes, budgets, runs, solid, joined=not np.isfinite(closed).any(), label=f"$l$ = {balance:g}")
        draw_theory(axes, budgets, closed, solid)
        turn = np.atleast_1d(median(cell["inflection_steps_at_equal_loss"].values))
        mark_turns(axes, turn, heights(budgets, median(runs), turn), look["color"])
        if balance == max(chosen, key=abs) and np.isfinite(lazy).any():
            axes.plot(budgets, median(lazy), color="black", linestyle=(0, (1, 1)), linewidth=1.8, zorder=5)
    low, high = axes.get_ylim()
    drawing.label_logarithmic(axes.yaxis, (low / (high / low) ** 0.3, high))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", ncols=2)


def _draw_harm(axes: Axes, dataset: xr.Dataset) -> None:
    """Relative harm over |l| at every scale: at equal fine-tuning loss, and by linear dynamics."""
    level = _level(dataset)
    axes.set_title("(b) harm at equal fine-tuning loss")
    axes.set(yscale="log", ylabel="harm: last loss / least $-$ 1 (1)", xlabel="balance $|l|$ (squared weights)")
    places = _places(dataset)
    for tau, look in zip(dataset["tau"].values[::-1], looks(dataset.sizes["tau"]), strict=True):
        part = dataset.sel(tau=tau, level=level)
        runs = part["harm_at_equal_loss"].transpose("balance", "seed").values
        shown = np.where(runs > 1e-4, runs, np.nan)
        for sign, filled in ((1, False), (-1, True)):
            side = (dataset["balance"].values >= 0) if sign > 0 else (dataset["balance"].values < 0)
            order = np.flatnonzero(side)[np.argsort(places[side])]
            if not len(order) or not np.isfinite(shown[order]).any():
                continue
            if filled:
                dots: dict[str, Any] = {"color": look["color"], "marker": look["marker"], "linestyle": "none"}
                axes.plot(places[order], median(shown[order]), markersize=7, zorder=2, **dots)
            else:
                draw_simulated(axes, places[order], shown[order], look, joined=True, label=f"$\\tau$ = {tau:g}")
    bound = median(dataset["lazy_harm"].isel(tau=-1, balance=-1).values)
    if np.isfinite(bound) and bound > 0:
        axes.axhline(float(bound), color="black", linestyle=(0, (1, 1)), linewidth=1.8, zorder=1)
    if bool((dataset["balance"] < 0).any()):
        axes.plot([], [], color="0.35", marker="o", markersize=7, linestyle="none", label="$l < 0$")
    _label_balances(axes, dataset)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    """What harm is made of, at the smallest scale: the least loss over the budgets and that at the last."""
    level = _level(dataset)
    axes.set_title(f"(c) what harm is made of, at equal fine-tuning loss, $\\tau$ = {float(dataset['tau'][-1]):g}")
    axes.set(ylabel="pre-training loss after (squared output)", xlabel="balance $|l|$ (squared weights)")
    places, part = _places(dataset), dataset.isel(tau=-1).sel(level=level)
    order = np.argsort(places, kind="stable")
    order = order[dataset["balance"].values[order] >= 0]
    names = (("last", "at the last budget"), ("least", "at the best budget"))
    for (name, said), look in zip(names, looks(2), strict=True):
        runs = part[f"{name}_at_equal_loss"].transpose("balance", "seed").values
        if len(order) and np.isfinite(runs[order]).any():
            draw_simulated(axes, places[order], runs[order], look, joined=True, label=said)
    _label_balances(axes, dataset)
    axes.set_ylim(0, None)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def _draw_trace(axes: Axes, dataset: xr.Dataset) -> None:
    """tr H over the budget at the smallest scale."""
    axes.set_title("(d) sensitivity to noise, $\\frac{1}{2}\\mathrm{tr}\\,H$ per $\\gamma^2$")
    axes.set(yscale="log", ylabel="$\\frac{1}{2}\\mathrm{tr}\\,H$ (squared output / squared weight)")
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    chosen = _chosen(dataset)
    for balance, look in zip(chosen, looks(len(chosen), ordered=True), strict=True):
        runs = dataset["hessian_trace"].isel(tau=-1).sel(balance=balance).transpose("pretrain_steps", "seed").values / 2
        draw_simulated(axes, budgets, runs, look, joined=True, label=f"$l$ = {balance:g}")
    axes.legend(loc="lower right")


def _places(dataset: xr.Dataset) -> drawing.Floats:
    """Where every balance stands on an axis of |l| in decades, 0 apart on its left."""
    sizes = np.abs(dataset["balance"].values.astype(np.float64))
    positive = sizes[sizes > 0]
    zero = np.log10(positive.min()) - 0.75 if len(positive) else 0.0
    with np.errstate(divide="ignore"):
        return np.where(sizes > 0, np.log10(sizes), zero)


def _label_balances(axes: Axes, dataset: xr.Dataset) -> None:
    sizes, places = np.abs(dataset["balance"].values), _places(dataset)
    known = sorted({(float(place), float(size)) for place, size in zip(places, sizes, strict=True)})
    kept = [known[0]]
    for place, size in known[1:]:
        if place - kept[-1][0] > 0.04 * (known[-1][0] - known[0][0] + 1e-9):
            kept.append((place, size))
    axes.set_xticks([place for place, _ in kept], labels=[f"{size:g}" for _, size in kept])
    axes.text(0.0, 1.0, " rich", transform=axes.transAxes, va="top", ha="left", color="0.35")
    axes.text(1.0, 1.0, "lazy ", transform=axes.transAxes, va="top", ha="right", color="0.35")


def _chosen(dataset: xr.Dataset) -> list[float]:
    """Balances to draw curves of: those from 0 on, evenly over their list."""
    balances = dataset["balance"].values
    usable = balances[balances >= 0] if (balances >= 0).any() else balances
    count = min(_CURVES, len(usable))
    return [float(usable[at]) for at in np.unique(np.linspace(0, len(usable) - 1, count).round().astype(int))]


def _level(dataset: xr.Dataset) -> float:
    return float(dataset["level"].values[dataset.sizes["level"] // 2])


def _message(dataset: xr.Dataset) -> str:
    """The finding in one sentence."""
    part = dataset.isel(tau=-1).sel(level=_level(dataset))
    sizes = np.abs(dataset["balance"].values)
    rich, lazy = int(np.argmin(sizes)), int(np.argmax(sizes))
    harm, least, last = (
        median(part[f"{name}_at_equal_loss"].transpose("balance", "seed").values) for name in ("harm", "least", "last")
    )
    if np.isinf(dataset["pretrain_loss_after"].values).all():
        return "All fine-tuning runs diverged: nothing follows on rich and lazy networks"
    if rich == lazy or not (np.isfinite(harm[rich]) and np.isfinite(harm[lazy])):
        return "Rich and lazy networks cannot be compared at equal fine-tuning loss within these rates"
    most = int(np.nanargmax(harm))
    at_most = f"harm {drawing.rise(harm[most])} at most, at |l| = {sizes[most]:g}"
    ends = f"{at_most}, and {drawing.rise(harm[lazy])} at {sizes[lazy]:g}"
    if harm[lazy] >= harm[rich]:
        return f"Laziness does not flatten the U at equal fine-tuning loss: {ends}"
    if least[lazy] - least[most] > abs(last[lazy] - last[most]):
        return f"Laziness flattens the U by spoiling the best checkpoint rather than saving the last: {ends}"
    return f"Laziness flattens the U at equal fine-tuning loss: {ends}"


picture = Picture("rich_and_lazy", __doc__, "a result of rich_and_lazy", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
