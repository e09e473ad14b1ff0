"""A small transformer along its pre-training: loss after fine-tuning, sensitivity to noise, and what the monitors say.

Usage: python -m figures.transformer [--data results/transformer] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from . import drawing
from .picture import Picture

_NEEDED = {
    *("pretrain_steps", "learning_rate", "seed", "pretrain_loss_before", "pretrain_loss_after", "inflection_steps"),
    *("harm", "rise_under_absolute_noise", "rise_under_relative_noise", "rise_at_first_scale", "monitor"),
    *("monitor_error", "alarm_steps", "rank_correlation", "budget_rank_correlation"),
}
_MEASURES = {
    "noise_increase": ("relative noise", "#D55E00", "o", "-"),
    "hessian_trace": ("Hessian trace", "#0072B2", "s", "-"),
    "fisher": ("Fisher trace", "#009E73", "^", "--"),
    "empirical_fisher": ("empirical Fisher", "#CC79A7", "v", ":"),
    "gradient_square": ("squared gradient", "#E69F00", "D", "-."),
    "top_eigenvalue": ("top eigenvalue", "#000000", "P", "-"),
}
_NOISES = {
    "rise_under_relative_noise": ("relative noise", "#D55E00", "o", "-"),
    "rise_at_first_scale": ("absolute noise, residual\nstream at its first scale", "#56B4E9", "s", "--"),
    "rise_under_absolute_noise": ("absolute noise", "#0072B2", "^", "-"),
}
_RATES = "os^Dv"


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses, sensitivities and monitors over the budget, and how monitors go with forgetting."""
    figure = drawing.new_figure(9.6, 7.6)
    figure.suptitle(textwrap.fill(_message(dataset), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    _draw_losses(grid[0, 0], dataset)
    _draw_noise(grid[0, 1], dataset)
    _draw_monitors(grid[1, 0], dataset)
    _draw_correlations(grid[1, 1], dataset)
    budgets = dataset["pretrain_steps"].values
    for axes in (grid[0, 0], grid[0, 1], grid[1, 0]):
        axes.set_xlabel("pre-training budget (steps)")
        drawing.label_logarithmic(axes.xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    seeds = dataset.sizes["seed"]
    bands = f"Lines are medians of {seeds} seeds, bands their whole range" if seeds > 1 else "One seed"
    said = f"{bands}; error bars are the largest standard error of a seed."
    figure.supxlabel(said, x=0.012, ha="left", fontsize=9)
    return figure


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    """Base loss, and loss after fine-tuning at every rate; a star where the curve of a seed turns."""
    axes.set_title("(a) pre-training loss, before and after fine-tuning")
    axes.set(xscale="log", yscale="log", ylabel="excess loss (nats per token)")
    budgets = dataset["pretrain_steps"].values
    _band(axes, budgets, dataset["pretrain_loss_before"], "black", label="before", linestyle="--")
    for index, look in enumerate(_rate_looks(dataset)):
        curve = dataset["pretrain_loss_after"][:, index]
        look["label"] = f"after, at rate {look['label']}"
        _band(axes, budgets, curve.where(np.isfinite(curve)), **look)
        for seed, steps in enumerate(dataset["inflection_steps"].values[index]):
            if np.isfinite(steps):
                height = np.interp(np.log(steps), np.log(budgets), curve.values[:, seed])
                star: dict[str, Any] = {
                    "markersize": 11,
                    "markeredgecolor": "black",
                    "markerfacecolor": "white",
                    "zorder": 5,
                }
                axes.plot([steps], [height], "*", **star)
    handles, _ = axes.get_legend_handles_labels()
    if dataset["inflection_steps"].notnull().any():
        handles.append(Line2D([], [], ls="", marker="*", ms=10, mfc="white", mec="black", label="inflection point"))
    axes.legend(handles=handles, loc="lower left")
    _label_decades(axes)


def _draw_noise(axes: Axes, dataset: xr.Dataset) -> None:
    """The rise of the loss under noise, in units of its first value."""
    axes.set_title("(b) rise of the loss under noise on the weights")
    axes.set(xscale="log", yscale="log", ylabel="rise / rise at the first budget")
    budgets = dataset["pretrain_steps"].values
    for name, (said, color, marker, line) in _NOISES.items():
        kind = "relative_noise" if "relative_noise" in dataset[name].dims else "absolute_noise"
        middle = {kind: dataset.sizes[kind] // 2}
        rise, error = dataset[name].isel(middle), dataset[f"{name}_error"].isel(middle)
        size = f" {float(rise[kind]):g}" if "first" not in name else ""
        look = {"color": color, "marker": marker, "linestyle": line, "label": said + size}
        _band(axes, budgets, rise / rise[0], errors=error / rise[0], **look)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.legend(loc="best")
    _label_decades(axes)


def _draw_monitors(axes: Axes, dataset: xr.Dataset) -> None:
    """Every monitor in units of its first value, and where the alarm on it rings."""
    axes.set_title("(c) monitors on held-out text")
    axes.set(xscale="log", yscale="log", ylabel="value / value at the first budget")
    budgets, rung = dataset["pretrain_steps"].values, False
    for name, (said, color, marker, line) in _MEASURES.items():
        value, error = (dataset[part].sel(measure=name) for part in ("monitor", "monitor_error"))
        curve = (value / value[0]).where(value / value[0] > 0)
        look = {"color": color, "marker": marker, "linestyle": line, "label": said}
        _band(axes, budgets, curve, errors=error / np.abs(value[0]), **look)
        for seed, steps in enumerate(dataset["alarm_steps"].sel(measure=name).values):
            if np.isfinite(steps):
                rung = True
                height = float(curve.sel(pretrain_steps=steps)[seed])
                ring: dict[str, Any] = {
                    "markersize": 12,
                    "markerfacecolor": "none",
                    "markeredgecolor": "black",
                    "zorder": 6,
                }
                axes.plot([steps], [height], "o", **ring)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.legend(title="circle: the alarm rings" if rung else "no alarm rings", alignment="left", loc="lower left")
    _label_decades(axes)


def _draw_correlations(axes: Axes, dataset: xr.Dataset) -> None:
    """Rank correlation with forgetting over the budgets, by rate; the budget itself as what a clock would have."""
    axes.set_title("(d) monitors and forgetting; rates as in (a)")
    axes.set(xlabel="rank correlation over the budgets", xlim=(-1.05, 1.05), yticks=range(len(_MEASURES) + 1))
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    rows = [(dataset["rank_correlation"].sel(measure=name), said) for name, (said, *_) in _MEASURES.items()]
    rows.append((dataset["budget_rank_correlation"], "the budget itself"))
    axes.set_yticklabels([said for _, said in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    looks = _rate_looks(dataset)
    for row, (values, _) in enumerate(rows):
        for index, look in enumerate(looks):
            place = row + 0.6 * ((index + 0.5) / len(looks) - 0.5)
            of_rate = values.sel(learning_rate=dataset["learning_rate"][index]).values
            known = of_rate[np.isfinite(of_rate)]
            if known.size:
                axes.plot([known.min(), known.max()], [place] * 2, color=look["color"], linewidth=1.2)
                axes.plot([np.median(known)], [place], **look)


def _band(axes: Axes, x: drawing.Floats, curves: xr.DataArray, color: Any, errors: Any = None, **look: Any) -> None:
    """Median over seeds and their range; error bars where errors are given."""
    middle, low, high = (getattr(curves, each)("seed").values for each in ("median", "min", "max"))
    axes.fill_between(x, low, high, color=color, alpha=0.22, linewidth=0)
    axes.plot(x, middle, color=color, zorder=3, **look)
    if errors is not None:
        bars = np.minimum(errors.max("seed").values, 0.9 * middle)  # a bar through 0 has no bottom
        axes.errorbar(x, middle, bars, color=color, fmt="none", elinewidth=0.9, zorder=2)


def _rate_looks(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Light to dark with the rate, so that the order survives in grey."""
    count = dataset.sizes["learning_rate"]
    colors = matplotlib.colormaps["viridis"](np.linspace(0.88, 0.1, count))
    rates, edge = dataset["learning_rate"].values, {"markeredgecolor": "black", "markeredgewidth": 0.4}
    return [
        {"color": colors[at], "marker": _RATES[at % len(_RATES)], "label": f"{rates[at]:g}"} | edge
        for at in range(count)
    ]


def _label_decades(axes: Axes) -> None:
    """Labels in full: a range this short has too few powers of ten."""
    low, high = axes.get_ylim()
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    digits = (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [tick for power in powers for digit in digits if low <= (tick := digit * 10.0**power) <= high]
    if high < 1000 * low:
        axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.yaxis.set_minor_formatter(NullFormatter())


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one line."""
    turned = dataset["inflection_steps"].notnull().values
    seeds = turned.shape[1]
    growth = dataset["rise_under_relative_noise"].isel(relative_noise=dataset.sizes["relative_noise"] // 2)
    higher = (growth[-1] > growth[0]).values
    how = "grows" if higher.all() else "ends no higher than it began" if not higher.any() else "grows in some seeds"
    sensitive = f"Along pre-training sensitivity to relative noise {how}"
    if not turned.any():
        return f"{sensitive}; more pre-training never hurts within these budgets"
    worst = int(np.argmax(turned.sum(axis=1)))
    rate, harm = float(dataset["learning_rate"][worst]), dataset["harm"].values[worst][turned[worst]]
    cost = drawing.rise(float(np.median(harm))).removeprefix("+")
    hurt = f"{int(turned[worst].sum())} of {seeds} seeds end {cost} above their best"
    return f"{sensitive}; after fine-tuning at rate {rate:g}, {hurt}"


picture = Picture("transformer", __doc__, "a result of the transformer", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
