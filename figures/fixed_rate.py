"""Fine-tuning at fixed rates on several shifts: loss curves, where they turn, and how much more pre-training costs.

Usage: python -m figures.fixed_rate [--data results/fixed_rate] [--out figures/gallery] [--name NAME]
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
from .runs import draw_simulated, draw_theory, explain, heights, looks, mark_turns

_NEEDED = {
    *("checkpoints", "shift", "pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before"),
    *("pretrain_loss_after", "diverged", "inflection_steps", "harm", "excess", "counts", "turns_inside", "overshoot"),
    "zero_loss",
}
_COLUMNS = 5
_LOWEST = 1e-3  # of the loss, over that of the zero network; curves below leave the panels
_NO_EXCESS = 1e-6
_KINDS = {"real": ("o", "#0072B2"), "idealised": ("s", "#D55E00")}


def _paint(dataset: xr.Dataset) -> Figure:
    """One panel of curves a shift, then the inflection budget over the rate, and the excess of every shift."""
    data = dataset.isel(regularization=0)
    real = data.isel(checkpoints=0)
    names = [str(name) for name in data["shift"].values]
    rows = -(-len(names) // _COLUMNS)
    figure = drawing.new_figure(9.6, 1.9 * rows + 4.7)
    figure.suptitle(textwrap.fill(_message(data), 88), x=0.012, ha="left")
    outer = figure.add_gridspec(2, 1, height_ratios=(1.9 * rows, 3.1))
    grid: Any = outer[0].subgridspec(rows, _COLUMNS).subplots(sharex=True, sharey=True, squeeze=False)
    chosen = _three(real)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw_curves(axes, real.sel(shift=name), chosen)
    for axes in grid.flat[len(names) :]:
        axes.remove()
    grid[0, 0].set_title(f"(a) {_short(names[0])}", fontsize=9)
    grid[0, 0].set_ylim(*_limits(real, chosen))
    grid[-1, min(len(names) - (rows - 1) * _COLUMNS, _COLUMNS) // 2].set_xlabel("pre-training budget (steps)")
    for axes in grid[:, 0]:
        axes.set_ylabel("loss after fine-tuning\n/ of zero network")
    pair: Any = outer[1].subgridspec(1, 2, width_ratios=(1, 1.15)).subplots()
    left, right = pair
    _draw_turns(left, real)
    _draw_excess(right, data)
    key: dict[str, Any] = {"loc": "outside lower left", "title": _explained(data), "alignment": "left", "ncols": 4}
    figure.legend(handles=_key(real, chosen), **key)
    return figure


def _draw_curves(axes: Axes, chart: xr.Dataset, chosen: Any) -> None:
    """The loss after fine-tuning on one shift, at a few rates, and the loss before."""
    zero, budgets = float(chart["zero_loss"]), chart["pretrain_steps"].values
    axes.set(xscale="log", yscale="log")
    axes.set_title(_short(str(chart["shift"].values)), fontsize=9)
    axes.plot(budgets, median(chart["pretrain_loss_before"].values) / zero, color="0.6", linewidth=1.0, zorder=1)
    after = chart["pretrain_loss_after"].where(~chart["diverged"])
    for look, at in zip(looks(len(chosen), ordered=True), chosen, strict=True):
        runs = after.values[:, at] / zero
        draw_simulated(axes, budgets, runs, look, joined=not _predicted(chart))
        if _predicted(chart):
            draw_theory(axes, budgets, chart["predicted_pretrain_loss_after"].values[:, at] / zero, look)
        if bool((chart["counts"] & chart["turns_inside"])[at]):
            steps = median(chart["inflection_steps"].values[at])
            mark_turns(axes, np.atleast_1d(steps), heights(budgets, median(runs), np.atleast_1d(steps)), look["color"])
    axes.text(0.04, 0.05, _ratio(_overshoot(chart)), transform=axes.transAxes, fontsize=9, zorder=7)


def _draw_turns(axes: Axes, real: xr.Dataset) -> None:
    """Inflection budget over the rate, for the shifts and rates where the turn counts."""
    axes.set_title("(b) where the curve turns, where that counts")
    axes.set(xscale="log", yscale="log", xlabel="fine-tuning learning rate (flow time per step)")
    axes.set_ylabel("inflection budget (steps)")
    keep = (real["counts"] & real["turns_inside"]).values
    rates = real["learning_rate"].values
    shown = [at for at in range(real.sizes["shift"]) if keep[at].any()]
    for look, at in zip(looks(len(shown)), shown, strict=True):
        steps = np.where(keep[at][:, None], real["inflection_steps"].values[at], np.nan)
        low, high = spread(steps)
        axes.vlines(rates, low, high, color=look["color"], linewidth=3, alpha=0.3)
        label = _short(str(real["shift"].values[at]))
        points: dict[str, Any] = {"color": look["color"], "marker": look["marker"], "linestyle": "none", "zorder": 4}
        axes.plot(rates, median(steps), label=label, **points | drawing.hollow(6, look["color"]))
        if _predicted(real):
            predicted = np.where(keep[at], median(real["predicted_inflection_steps"].values[at]), np.nan)
            axes.plot(rates, predicted, color=look["color"], linestyle=look["linestyle"])
    axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
    if shown:
        top, bottom = np.nanmax(real["inflection_steps"].values[keep]), np.nanmin(real["inflection_steps"].values[keep])
        drawing.label_logarithmic(axes.yaxis, (bottom / 1.5, top * 6))  # room for the legend
        axes.legend(loc="upper center", fontsize=8, labelspacing=0.3, ncols=2)
    else:
        axes.text(0.5, 0.5, "no curve turns by as much", transform=axes.transAxes, ha="center")


def _draw_excess(axes: Axes, data: xr.Dataset) -> None:
    """How much more pre-training costs on every shift at its worst rate, in the order of the overshoot."""
    axes.set_title("(c) what the largest budget costs, at the worst rate")
    least = float(data.attrs["least_excess"])
    ratios = np.asarray([_overshoot(data.sel(shift=name)) for name in data["shift"].values])
    order = np.argsort(ratios, kind="stable")
    names = [_short(str(name)) for name in data["shift"].values[order]]
    axes.set(xscale="log", xlabel="last loss - smallest loss, / loss of the zero network")
    axes.set_yticks(range(len(names)), names)
    kinds = [str(kind) for kind in data["checkpoints"].values]
    for place, kind in enumerate(kinds):
        marker, color = _KINDS[kind]
        excess = data["excess"].values[place][order]
        middle = np.where(np.isfinite(excess).any(axis=(1, 2)), np.nanmax(_finite(median(excess)), axis=1), np.nan)
        worst = np.argmax(_finite(median(excess)), axis=1)
        ends = spread(np.asarray([excess[row, rate] for row, rate in enumerate(worst)]))
        low, high = (np.maximum(end, _NO_EXCESS) for end in ends)
        rows = np.arange(len(names)) + (0.16 if place else -0.16) * (len(kinds) > 1)
        axes.hlines(rows, low, high, color=color, linewidth=3, alpha=0.3)
        look: dict[str, Any] = {"linestyle": "none", "marker": marker, "color": color, "zorder": 4}
        look |= drawing.hollow(6, color)
        counted = data["counts"].values[place][order, worst]
        for keep, filled in ((~counted, {}), (counted, {"markerfacecolor": color})):
            axes.plot(np.where(keep, np.maximum(middle, _NO_EXCESS), np.nan), rows, **look | filled)
        axes.plot([], [], label=f"{kind} checkpoints", **look)
    axes.axvline(least, color="0.4", linestyle=":", linewidth=1.0, zorder=0)
    for level, said in ((1, "r > 1"), (2, "r > 2")):
        edge = int(np.sum(ratios <= level)) - 0.5
        if 0 <= edge < len(names) - 1:
            axes.axhline(edge, color="0.7", linewidth=0.8, zorder=0)
            axes.annotate(said, (1, edge), (-2, 2), textcoords="offset points", xycoords=("axes fraction", "data"),
                          ha="right", va="bottom", fontsize=9)  # fmt: skip
    axes.set_xlim(_NO_EXCESS / 1.5, 100)
    axes.set_xticks([_NO_EXCESS, 1e-4, 1e-2, 1.0], ["$\\leq10^{-6}$", "$10^{-4}$", "0.01", "1"])
    axes.legend(loc="lower right", fontsize=8)


def _key(real: xr.Dataset, chosen: Any) -> list[Any]:
    """Legend entries of the small panels."""
    rates = real["learning_rate"].values
    entries = [
        Line2D([], [], color=look["color"], linestyle=look["linestyle"], marker=look["marker"],
               label=f"rate {drawing.short(float(rates[at]))}", **drawing.hollow(4.5, look["color"]))
        for look, at in zip(looks(len(chosen), ordered=True), chosen, strict=True)
    ]  # fmt: skip
    entries.append(Line2D([], [], color="0.6", linewidth=1.0, label="before fine-tuning"))
    theory = "closed form" if _predicted(real) else None
    turns = bool((real["counts"] & real["turns_inside"]).any())
    return entries + explain(real.sizes["seed"], theory=theory, turns=turns)


def _limits(real: xr.Dataset, chosen: Any) -> tuple[float, float]:
    """Of the loss axis that the small panels share."""
    values = real["pretrain_loss_after"].where(~real["diverged"]).isel(learning_rate=chosen).values
    values = values[np.isfinite(values)] / float(real["zero_loss"])
    if values.size == 0:
        return _LOWEST, 2.0
    return max(float(values.min()) / 2, _LOWEST), max(2.0, float(values.max()) * 2)


def _message(data: xr.Dataset) -> str:
    """The finding, in one sentence."""
    real = data.isel(checkpoints=0)
    names = data["shift"].values
    ratios = np.asarray([_overshoot(data.sel(shift=name)) for name in names])
    shown = (real["counts"] & real["turns_inside"]).any("learning_rate").values
    if not shown.any():
        return "At a fixed fine-tuning rate more pre-training hurts on none of these shifts by an amount that counts"
    said = f"At a fixed fine-tuning rate more pre-training hurts on {shown.sum()} of {len(names)} shifts"
    if (ratios[shown] > 1).all():
        said += ", each of which takes a learned mode beyond its best (r > 1)"
    if "idealised" in data["checkpoints"].values:
        counted = data["counts"].sel(checkpoints="idealised").values[:, -1]
        if (counted == (ratios > 2)).all():
            said += "; from idealised checkpoints at the largest rate, on exactly those with r > 2"
    return said


def _explained(data: xr.Dataset) -> str:
    """What r is, and what counts."""
    harm, excess = data.attrs["least_harm"], data.attrs["least_excess"]
    return (
        "Curves: pre-training loss. r: strength that fine-tuning to convergence gives a mode / strength best for that "
        "loss,\n"
        f"the largest of all learned modes. A turn counts where every seed ends {harm:.0%} or more above its best and "
        f"{excess:.1%} or more (dotted) of zero;\nin (c) filled where it counts, hollow where not."
    )


def _three(real: xr.Dataset) -> Any:
    """The rate at which most shifts count, and its neighbours."""
    count, rates = (real["counts"] & real["turns_inside"]).sum("shift").values, real.sizes["learning_rate"]
    first = int(np.clip(int(np.argmax(count)) - 1, 0, max(rates - 3, 0)))
    return np.arange(first, min(first + 3, rates))


def _finite(values: drawing.Floats) -> drawing.Floats:
    return np.nan_to_num(values, nan=-1.0)


def _predicted(chart: xr.Dataset) -> bool:
    name = "predicted_pretrain_loss_after"
    return name in chart and bool(chart[name].notnull().any())


def _overshoot(chart: xr.Dataset) -> float:
    return float(chart["overshoot"].max())


def _ratio(value: float) -> str:
    return "r = ∞" if np.isinf(value) else f"r = {value:.3g}"


def _short(name: str) -> str:
    return name.replace(" x ", " × ")


picture = Picture("fixed_rate", __doc__, "a result of fixed rates", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
