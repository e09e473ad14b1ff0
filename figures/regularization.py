"""What regularisers of fine-tuning do to overtraining, what they cost, and which is best at equal fine-tuning loss.

Usage: python -m figures.regularization [--data results/regularization] [--out figures/gallery] [--name NAME]
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
from .runs import draw_simulated, draw_theory, explain, looks

_NEEDED = {
    *("checkpoints", "regularizer", "method", "target", "pretrain_steps", "learning_rate", "regularization", "seed"),
    *("harm", "finetune_loss_after", "pretrain_loss_after", "inflection_steps", "limit_harm", "limit_finetune_loss"),
    *("threshold", "matched_pretrain_loss", "matched_harm", "matched_finetune_loss", "bound_pretrain_loss"),
}
_SHORT = {
    "rate alone": "rate alone",
    "product_penalty": "product penalty",
    "weight_penalty": "weight penalty",
    "weight_decay": "weight decay",
}
_LEAST, _NEGLIGIBLE = 1e-3, 0.01  # the smallest harm on an axis, and that which is called none
_BUDGETS, _RATES = 3, 8  # with fewer budgets, or with harm at equal loss on fewer rates, nothing can be told


def _paint(dataset: xr.Dataset) -> Figure:
    """Harm over strength, the price, and fronts."""
    figure = drawing.new_figure(9.6, 6.6)
    figure.suptitle(textwrap.fill(_message(dataset), 96), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 3)
    kinds = [str(kind) for kind in dataset["checkpoints"].values]
    first = kinds.index("idealised") if "idealised" in kinds else 0
    _draw_harm(grid[0, 0], dataset, first, dataset.attrs["converged_rate"], "(a)")
    _draw_harm(grid[0, 1], dataset, 0, dataset.attrs["harmful_rate"], "(b)")
    if kinds[0] == "real":
        _draw_created(grid[0, 1], dataset)
    _draw_price(grid[0, 2], dataset)
    early = _early(dataset)
    for axes, at, letter in ((grid[1, 0], early, "(d)"), (grid[1, 1], dataset.sizes["pretrain_steps"] - 1, "(e)")):
        _draw_front(axes, dataset, at, letter)
    _draw_matched(grid[1, 2], dataset)
    handles = [
        Line2D([], [], label=_SHORT.get(name, name), **_hollow(look), linestyle=look["linestyle"])
        for name, look in _looks(dataset).items()
    ]
    theory = "closed form" if np.isfinite(dataset["limit_harm"]).any() else None
    handles += explain(dataset.sizes["seed"], theory=theory)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), fontsize=8, handlelength=2.6)
    return figure


def _looks(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """One look for each method, the same in every panel."""
    names = ["rate alone", *map(str, dataset["regularizer"].values)]
    return dict(zip(names, looks(len(names)), strict=True))


def _hollow(look: dict[str, Any]) -> dict[str, Any]:
    return {"color": look["color"], "marker": look["marker"], **drawing.hollow(4.5, look["color"])}


def _draw_harm(axes: Axes, dataset: xr.Dataset, kind: int, rate: float, letter: str) -> None:
    """Harm over strength, with limits where fine-tuning converges and predictions where it does not."""
    shown = dataset.isel(checkpoints=kind).sel(learning_rate=rate, method="nearest")
    name = str(dataset["checkpoints"].values[kind])
    axes.set_title(f"{letter} {name} checkpoints, rate {drawing.short(rate)}")
    axes.set(yscale="log", ylabel="harm of the longest budget", xlabel="strength")
    x = _strengths(axes, dataset)
    for at, regularizer in enumerate(map(str, dataset["regularizer"].values)):
        look = _looks(dataset)[regularizer]
        if name == "idealised":
            theory = shown["limit_harm"][at].values
            if np.isfinite(shown["threshold"][at]) and shown["threshold"][at] > 0:
                axes.axvline(float(shown["threshold"][at]), color=look["color"], linestyle=look["linestyle"], lw=0.7)
        else:
            known = shown["predicted_harm"] if "predicted_harm" in shown else shown["harm"] * np.nan
            theory = median(known[at].values)
        draw_simulated(axes, x, _clipped(shown["harm"][at].values), look, joined=not bool(np.isfinite(theory).any()))
        draw_theory(axes, x, _clipped(theory), look)
    _harm_axis(axes)


def _draw_created(axes: Axes, dataset: xr.Dataset) -> None:
    """The product penalty, or what comes first, at the rate that converges."""
    rate = dataset.attrs["converged_rate"]
    shown = dataset.isel(checkpoints=0, regularizer=0).sel(learning_rate=rate, method="nearest")
    x = _strengths(axes, dataset)
    harm = _clipped(median(shown["harm"].values))
    if np.isnan(harm).all():
        return
    axes.plot(x, harm, color="0.45", linestyle=(0, (1, 1)), linewidth=1.6)
    name = _SHORT.get(str(shown["regularizer"].values), "")
    axes.text(
        0.04, 0.14, f"dotted:\n{name},\nrate {drawing.short(rate)}", transform=axes.transAxes, color="0.3", fontsize=8
    )
    _harm_axis(axes)


def _draw_price(axes: Axes, dataset: xr.Dataset) -> None:
    """Fine-tuning loss over strength at the longest budget."""
    rate, away = dataset.attrs["converged_rate"], dataset.attrs["untuned_finetune_loss"]
    shown = dataset.isel(checkpoints=0, pretrain_steps=-1).sel(learning_rate=rate, method="nearest")
    axes.set_title(f"(c) the price, rate {drawing.short(rate)}")
    axes.set(xlabel="strength", ylabel="fine-tuning loss / before tuning", yscale="log", ylim=(1e-3, 6))
    x = _strengths(axes, dataset)
    for at, regularizer in enumerate(map(str, dataset["regularizer"].values)):
        look = _looks(dataset)[regularizer]
        limit = shown["limit_finetune_loss"][at, :, -1].values / away
        runs = shown["finetune_loss_after"][at].values / away
        draw_simulated(axes, x, runs, look, joined=not bool(np.isfinite(limit).any()))
        draw_theory(axes, x, limit, look)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)


def _draw_front(axes: Axes, dataset: xr.Dataset, at: int, letter: str) -> None:
    """Least distance to the pre-training task at every distance to the fine-tuning task."""
    budget = int(dataset["pretrain_steps"][at])
    axes.set_title(f"{letter} fronts after {drawing.grouped(budget)} steps")
    axes.set(xlabel="√ fine-tuning loss", ylabel="√ pre-training loss")
    x = np.sqrt(dataset["matched_finetune_loss"].values)
    bound = np.sqrt(dataset["bound_pretrain_loss"].values)
    axes.fill_between(x, 0, bound, color="0.9", linewidth=0)
    axes.plot(x, bound, color="0.35")
    axes.text(0.05, 0.06, "no network", transform=axes.transAxes, color="0.35", fontsize=8)
    for number, name in enumerate(map(str, dataset["method"].values)):
        runs = np.sqrt(dataset["matched_pretrain_loss"][number, :, 0, at].values)
        draw_simulated(axes, x, runs, _looks(dataset)[name], joined=True)
    away = dataset.attrs["untuned_finetune_loss"]
    highest = np.nanmax(dataset["matched_pretrain_loss"][:, :, 0].values, initial=away)
    axes.set(xlim=(0, np.sqrt(away)), ylim=(0, 1.05 * np.sqrt(highest)))


def _draw_matched(axes: Axes, dataset: xr.Dataset) -> None:
    """Least pre-training loss over the budget at one fine-tuning loss, beside the curve at a fixed rate."""
    target = dataset.sizes["target"] // 2
    asked = float(dataset["matched_finetune_loss"][target])
    budgets = dataset["pretrain_steps"].values
    axes.set_title(f"(f) at fine-tuning loss {drawing.short(asked)}")
    axes.set(xscale="log", yscale="log", xlabel="pre-training budget (steps)", ylabel="pre-training loss")
    for number, name in enumerate(map(str, dataset["method"].values)):
        runs = dataset["matched_pretrain_loss"][number, target, 0].values
        draw_simulated(axes, budgets, runs, _looks(dataset)[name], joined=True)
    bound = float(dataset["bound_pretrain_loss"][target])
    if np.isfinite(bound):
        axes.axhline(bound, color="0.35", linewidth=1)
    rate = dataset.attrs["harmful_rate"]
    fixed = dataset["pretrain_loss_after"].isel(checkpoints=0, regularizer=0, regularization=0)
    curve = median(fixed.sel(learning_rate=rate, method="nearest").values)
    if np.isfinite(curve).any():
        axes.plot(budgets, curve, color="0.45", linestyle=(0, (1, 1)), linewidth=1.6)
        strength = f"{float(dataset['regularization'][0]):g}"
        said = f"dotted: at a\nfixed rate, not\nat this loss\n(rate {drawing.short(rate)},\nstrength {strength})"
        axes.text(0.97, 0.03, said, transform=axes.transAxes, ha="right", color="0.3", fontsize=8)
    drawing.label_logarithmic(axes.xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    drawing.label_logarithmic(axes.yaxis, axes.get_ylim())


def _early(dataset: xr.Dataset) -> int:
    """The budget next to the inflection point at the rate that does most harm, or the middle one."""
    rate = dataset.attrs["harmful_rate"]
    turns = dataset["inflection_steps"].isel(checkpoints=0, regularizer=0, regularization=0)
    steps, budgets = float(turns.sel(learning_rate=rate, method="nearest").median()), dataset["pretrain_steps"].values
    return int(np.argmin(np.abs(np.log(budgets / steps)))) if np.isfinite(steps) else len(budgets) // 2


def _strengths(axes: Axes, dataset: xr.Dataset) -> drawing.Floats:
    """Strengths on a logarithmic axis with a linear piece for 0."""
    x = np.asarray(dataset["regularization"].values, np.float64)
    positive = x[x > 0]
    axes.set_xscale("symlog", linthresh=float(positive[0]) if len(positive) else 1.0, linscale=0.4)
    return x


def _clipped(harm: drawing.Floats) -> drawing.Floats:
    """Harm with a floor, so that none is on a logarithmic axis too."""
    return np.where(np.isfinite(harm), np.maximum(np.nan_to_num(harm), _LEAST), np.nan)


def _harm_axis(axes: Axes) -> None:
    axes.relim()
    axes.autoscale(axis="y")
    high = axes.get_ylim()[1]
    axes.set_ylim(_LEAST / 1.6, max(high, 1.0) * 1.6)
    powers = [10.0**power for power in range(-3, int(np.ceil(np.log10(max(high, 1.0)))) + 1)]
    axes.set_yticks(powers, ["≤0.1 %", *(f"{drawing.grouped(100 * power)} %" for power in powers[1:])])


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one sentence; at equal loss, from the curves known at every budget."""
    harm = median(dataset["harm"].isel(checkpoints=0, regularizer=0, regularization=0).values)
    if not np.isfinite(dataset["matched_harm"]).any():
        lost = not np.isfinite(harm).any()
        return "Every run diverged" if lost else "No method reaches the fine-tuning losses to compare at"
    if dataset.sizes["pretrain_steps"] < _BUDGETS:
        return "Too few budgets to tell whether more pre-training hurts"
    worst = np.max(harm[np.isfinite(harm)], initial=0.0)
    start = f"At a fixed rate the longest budget ends {drawing.rise(worst).removeprefix('+')} above the best"
    if worst < _NEGLIGIBLE:
        start = "At no fixed rate does more pre-training hurt"
    if not np.isfinite(harm).any():
        start = "Every run without a penalty diverged"
    known = dataset["matched_pretrain_loss"].notnull().all("pretrain_steps")
    turned = (dataset["matched_harm"].where(known) > _NEGLIGIBLE).values
    equal = "at equal fine-tuning loss"
    if not known.any():
        return f"{start}; {equal} no curve is known at every budget"
    if turned.any():
        rates = dataset.sizes["learning_rate"]
        coarse = f" ({rates} rates are too coarse a grid to tell)" if rates < _RATES else ""
        return f"{start}; {equal} {turned.sum()} of {int(known.sum())} curves over the budget turn up{coarse}"
    at = dataset.isel(checkpoints=0, pretrain_steps=-1, target=dataset.sizes["target"] // 2)
    loss = median(at["matched_pretrain_loss"].values)
    each = known.any(("target", "checkpoints", "seed")).values
    best = f"{start}; {equal} it is the best for {'every method' if each.all() else f'{each.sum()} methods'}"
    if np.isnan(loss).all():
        return best
    return f"{best}, and lowest with the {_SHORT.get(name := str(dataset['method'].values[np.nanargmin(loss)]), name)}"


picture = Picture("regularization", __doc__, "a result of regularization", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
