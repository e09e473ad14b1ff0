"""Loss after fine-tuning over the budget in rich and lazy networks, and what becomes of its U."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import closed_form, curves, middle, some
from .panels.looks import GREY, explain, known, legend, looks
from .picture import Picture

_NEEDED = {
    *("tau", "balance", "level", "seed", "pretrain_steps", "lazy_harm", "hessian_trace", "curve_at_equal_loss"),
    *("predicted_curve_at_equal_loss", "lazy_curve_at_equal_loss", "inflection_steps_at_equal_loss"),
    *("harm_at_equal_loss", "least_at_equal_loss", "last_at_equal_loss"),
}
_CURVES = 4
_NONE = 1e-4  # harm below it leaves a logarithmic axis
_LINEAR: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 1)), "linewidth": 1.8}


def _paint(dataset: xr.Dataset) -> Figure:
    """Curves over the budget, harm and losses over the balance, sensitivity over the budget."""
    figure = new_figure(9.6, 7.9)
    (losses, harm), (parts, trace) = figure.subplots(2, 2)
    level = _level(dataset)
    size = abs(dataset["balance"]).assign_attrs(long_name="balance $|l|$", units="squared weights")
    at_level = dataset.assign_coords(size=size).sortby("size").sel(level=level)
    smallest = at_level.isel(tau=-1)
    losses.set_title(f"(a) tuned until fine-tuning loss is {level:g} of what it was")
    _draw_losses(losses, smallest)
    harm.set_title("(b) harm at equal fine-tuning loss")
    _draw_harm(harm, at_level)
    parts.set_title(f"(c) what harm is made of, at equal fine-tuning loss, $\\tau$ = {float(dataset['tau'][-1]):g}")
    _draw_parts(parts, smallest)
    for axes in harm, parts:
        for place, side, said in (0, "left", " rich"), (1, "right", "lazy "):
            axes.text(place, 1.0, said, transform=axes.transAxes, va="top", ha=side, color=GREY)
    trace.set_title("(d) sensitivity to noise, $\\frac{1}{2}\\mathrm{tr}\\,H$ per $\\gamma^2$")
    shown = smallest["hessian_trace"].sel(balance=_chosen(smallest)) / 2
    legend(trace, curves(trace, shown, by="balance", names="$l$ = {}"), loc="lower right", fontsize=9)
    trace.set_ylabel("$\\frac{1}{2}\\mathrm{tr}\\,H$ (squared output / squared weight)")
    entries = explain(
        dataset.sizes["seed"], closed_form(dataset, "curve_at_equal_loss"), dataset["inflection_steps_at_equal_loss"]
    )
    if known(dataset["lazy_curve_at_equal_loss"]):
        entries.append(Line2D([], [], label=f"linear dynamics, $\\tau$ = {float(dataset['tau'][-1]):g}", **_LINEAR))
    figure.legend(handles=entries, loc="outside lower left", ncols=5)
    return figure


def _draw_losses(axes: Axes, smallest: xr.Dataset) -> None:
    """At the rate by which the last checkpoint reaches the same fine-tuning loss; linear dynamics for the laziest."""
    name = "curve_at_equal_loss"
    cell = smallest.sel(balance=_chosen(smallest)).dropna("balance", how="all", subset=[name])
    styles, turns = looks(cell.sizes["balance"], ordered=True, solid=True), cell["inflection_steps_at_equal_loss"]
    theory = closed_form(cell, name)
    drawn = curves(axes, cell[name], theory, by="balance", names="$l$ = {}", styles=styles, turns=turns)
    if drawn:
        laziest = cell.isel(balance=-1)
        axes.plot(laziest["pretrain_steps"], middle(laziest[f"lazy_{name}"]), zorder=5, **_LINEAR)
        legend(axes, drawn, loc="lower left", ncols=2, fontsize=9)
    axes.set_ylabel("pre-training loss after (squared output)")
    decades(axes.yaxis, below=0.3)


def _draw_harm(axes: Axes, at_level: xr.Dataset) -> None:
    """Relative harm over |l| at every scale: at equal fine-tuning loss, and by linear dynamics."""
    harm = at_level["harm_at_equal_loss"].isel(tau=slice(None, None, -1))
    harm = harm.where(harm > _NONE)
    right, left = (harm.isel(balance=np.flatnonzero(side)) for side in (harm["balance"] >= 0, harm["balance"] < 0))
    styles = looks(harm.sizes["tau"])
    drawn = curves(axes, right, over="balance", by="tau", names="$\\tau$ = {}", styles=styles, places=right["size"])
    handles = [style.entry(name) for name, style in drawn.items()]
    if left.size:
        for other, style in zip(middle(left).transpose("tau", "balance"), styles, strict=True):
            filled = {"markersize": 7, "markerfacecolor": style.color, "zorder": 2}
            axes.plot(other["size"], other, **style.points | filled)
        handles.append(Line2D([], [], color=GREY, marker="o", markersize=7, linestyle="none", label="$l < 0$"))
    bound = float(middle(at_level["lazy_harm"].isel(tau=-1, balance=-1)))
    if np.isfinite(bound) and bound > 0:
        axes.axhline(bound, zorder=1, **_LINEAR)
    axes.set_ylabel("harm: last loss / least $-$ 1 (1)")
    axes.legend(handles=handles, loc="best")


def _draw_parts(axes: Axes, smallest: xr.Dataset) -> None:
    """The least loss over the budgets and that at the last."""
    shown = smallest.isel(balance=np.flatnonzero(smallest["balance"] >= 0))
    losses = shown[["last_at_equal_loss", "least_at_equal_loss"]].to_dataarray("which")
    names = ("at the last budget", "at the best budget")
    drawn = curves(axes, losses, over="balance", by="which", names=names, places=shown["size"], log=False)
    legend(axes, drawn, loc="best", fontsize=9)
    axes.set(ylabel="pre-training loss after (squared output)", ylim=(0, None))


def _chosen(dataset: xr.Dataset) -> Any:
    """Balances to draw curves of: those from 0 on, evenly over their list."""
    balances = dataset["balance"].values
    return some(balances[balances >= 0] if (balances >= 0).any() else balances, _CURVES)


def _level(dataset: xr.Dataset) -> float:
    return float(dataset["level"].values[dataset.sizes["level"] // 2])


picture = Picture("rich_and_lazy", "a result of rich_and_lazy", _NEEDED, _paint)
draw, save = picture.draw, picture.save
