"""Base loss, noise and utility over data per parameter, each size a curve; isocompute curves with both optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import heights
from .panels.looks import GREY, STAR, Look, looks
from .picture import Picture

_NEEDED = {
    *("task", "size", "flow_time", "base_loss", "noisy_loss", "pretrain_after", "finetune_after", "turn_time"),
    *("compute_optimal_time", "compute", "candidate", "iso_base", "iso_pretrain", "iso_finetune", "utility_ratio"),
}
_ZONES = ((0.7, 1.4, "0.80"), (5.0, 20.0, "0.88"), (50.0, 1e9, "0.94"))
_NAMES = ("compute-optimal", "5 to 20 times", "above 50 times")
_SPAN = (0.03, 300.0)
_SIDES = (0.1, 1.0)  # utilities that are shown, where there are such
_RATIO = "data per parameter / compute-optimal (1)"


def _paint(dataset: xr.Dataset) -> Figure:
    """The task in the middle of the exponents; which utilities are best where, of all tasks."""
    names = [str(name) for name in dataset["task"].values]
    laws = [name for name in names if bool(np.isfinite(dataset["closed_deviation"].sel(task=name)))]
    shown = dataset.sel(task=laws[len(laws) // 2])
    figure = new_figure(12.4, 7.6)
    axes = figure.subplots(2, 3)
    sizes = looks(shown.sizes["size"], ordered=True)
    time = shown["finetune_time"].values[-1]
    low, high = (_nearest(shown["utility"].values, wanted) for wanted in _SIDES)
    base, noisy, flow = axes[0]
    _curves(base, shown["base_loss"], shown, sizes, _RATIO)
    base.set(ylabel="pre-training loss (squared output)")
    base.set_title(f"(a) base loss, {shown['task'].item()}")
    _curves(noisy, shown["noisy_loss"], shown, sizes, _RATIO, turns=True)
    noisy.set_title(f"(b) under noise, G = {dataset.attrs['price']:g}")
    _curves(flow, shown["noisy_loss"], shown, sizes, "flow time D", turns=True)
    flow.set_title("(c) the same over flow time")
    flow.axvline(float(shown["predicted_turn"]), color="black", linewidth=1.0, linestyle="--", zorder=1)
    last = shown["noisy_loss"].isel(pretrain_steps=-1)
    for each in (noisy, flow):  # turns are shallow beside what is learned before
        each.set_ylim(0.85 * float(shown["noisy_loss"].min()), 2.2 * float(last.max()))
        decades(each.yaxis)
    use, iso, where = axes[1]
    tuned = shown.sel(finetune_time=time)
    _curves(use, tuned["pretrain_after"] + low * tuned["finetune_after"], shown, sizes, _RATIO)
    use.set(ylabel="utility (squared output)")
    decades(use.yaxis)
    use.set_title(f"(d) $L_{{pre}} + {low:g}\\,L_{{ft}}$ after fine-tuning, T = {time:g}")
    _isocompute(iso, tuned, low)
    iso.set_title(f"(e) isocompute: base loss, utility u = {low:g}")
    _ratios(where, dataset.sel(finetune_time=time), (low, high))
    where.set_title("(f) where utility is best")
    _legend(figure, shown, sizes, (low, high), names)
    return figure


def _nearest(values: np.ndarray, wanted: float) -> float:
    return float(values[int(np.argmin(np.abs(values - wanted)))])


def _curves(
    axes: Axes, losses: xr.DataArray, shown: xr.Dataset, styles: list[Look], name: str, turns: bool = False
) -> None:
    """A curve for each size, over flow time or its ratio to compute-optimal, with the zones of the usual account."""
    axes.set(xscale="log", yscale="log", xlabel=name)
    flow = shown["flow_time"].values
    over = name == _RATIO
    for at, look in enumerate(styles):
        values = losses.isel(size=at).transpose("pretrain_steps").values
        unit = float(shown["compute_optimal_time"].isel(size=at)) if over else 1.0
        kept = (flow / unit >= _SPAN[0]) & (flow / unit <= _SPAN[1]) if over else flow > 0
        axes.plot(flow[kept] / unit, values[kept], markevery=4, **look.joined)
        turn = float(shown["turn_time"].sel(kind="noise").isel(size=at))
        if turns and np.isfinite(turn):
            axes.plot(turn / unit, heights(flow, values, np.array([turn])), color=look.color, **STAR)
    if over:
        axes.set_xlim(*_SPAN)
        _zones(axes, axes.axvspan)
    else:
        axes.set_xlim(flow[0], flow[-1])


def _zones(axes: Axes, span: Any) -> None:
    for low, high, color in _ZONES:
        span(low, min(high, _SPAN[1] * 100), color=color, zorder=-1, linewidth=0)


def _isocompute(axes: Axes, tuned: xr.Dataset, utility: float) -> None:
    """Base loss and utility over sizes at every compute, with the best of both."""
    axes.set(xscale="log", yscale="log", xlabel="model size N at N D = C (1)", ylabel="loss, utility (squared output)")
    sizes = tuned["candidate"].values
    for at, look in enumerate(looks(tuned.sizes["compute"], ordered=True)):
        cell = tuned.isel(compute=at)
        use = cell["iso_pretrain"] + utility * cell["iso_finetune"]
        for values, line, mark in ((cell["iso_base"].values, "-", "o"), (use.values, "--", "s")):
            known = np.isfinite(values)
            axes.plot(sizes[known], values[known], color=look.color, linestyle=line, linewidth=1.2)
            if known.any():
                best = int(np.nanargmin(values))
                axes.plot(sizes[best], values[best], color=look.color, marker=mark, markersize=6, zorder=4)
        base = cell["iso_base"].values
        if np.isfinite(base).any():
            best = int(np.nanargmin(base))
            note: dict[str, Any] = {"xytext": (-7, -3), "textcoords": "offset points", "ha": "right", "fontsize": 7}
            axes.annotate(f"C = {cell['compute'].item():g}", (sizes[best], base[best]), color=look.color, **note)


def _ratios(axes: Axes, dataset: xr.Dataset, utilities: tuple[float, float]) -> None:
    """Data per parameter of the best model over compute, of every task and two utilities."""
    axes.set(xscale="log", yscale="log", xlabel="C = N D", ylabel=_RATIO, ylim=(0.005, 1000))
    for task, look in zip(dataset["task"].values, looks(dataset.sizes["task"]), strict=True):
        for utility, line in zip(utilities, ("--", "-"), strict=True):
            ratio = dataset["utility_ratio"].sel(task=task, utility=utility)
            filled = {"markerfacecolor": look.color} if line == "-" else {}
            axes.plot(dataset["compute"], ratio, **look.points | {"linestyle": line, "linewidth": 1.0} | filled)
    for low, high, color in _ZONES:
        axes.axhspan(low, min(high, 1e6), color=color, zorder=-1, linewidth=0)


def _legend(
    figure: Figure, shown: xr.Dataset, sizes: list[Look], utilities: tuple[float, float], tasks: list[str]
) -> None:
    entries: list[Any] = [
        Line2D([], [], label=f"N = {size:g}", **look.joined)
        for size, look in zip(shown["size"].values, sizes, strict=True)
    ]
    entries += [Line2D([], [], label="turn under noise", color=GREY, **STAR)]
    entries += [Line2D([], [], color="black", linestyle="--", linewidth=1.0, label="turn of large N, closed form (c)")]
    entries += [Line2D([], [], color=GREY, marker="o", label="base loss and its best size (e)")]
    entries += [Line2D([], [], color=GREY, marker="s", linestyle="--", label="utility and its best size (e)")]
    for task, look in zip(tasks, looks(len(tasks)), strict=True):
        entries.append(Line2D([], [], label=f"{task} (f)", **look.points))
    low, high = utilities
    entries += [Line2D([], [], color=GREY, linestyle="--", label=f"u = {low:g} (f)")]
    entries += [Line2D([], [], color=GREY, label=f"u = {high:g} (f)")]
    entries += [Patch(color=color, label=name) for name, (_, _, color) in zip(_NAMES, _ZONES, strict=True)]
    figure.legend(handles=entries, loc="outside lower center", ncols=5, fontsize=8)


picture = Picture("goldilocks", "a result of goldilocks", _NEEDED | {"closed_deviation", "predicted_turn"}, _paint)
draw, save = picture.draw, picture.save
