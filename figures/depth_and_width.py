"""Where overtraining starts, and how bad it gets, over the depth and over the width of the network.

Usage: python -m figures.depth_and_width [--data results/depth_and_width] [--out figures/gallery] [--name NAME]
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
    *("depth", "width", "checkpoints", "learning_rate", "pretrain_steps", "pretrain_loss_after", "harm"),
    *("inflection_steps", "predicted_pretrain_loss_after", "predicted_harm", "predicted_inflection_steps"),
    *("onset_steps", "stable_rate", "converged_harm", "one_layer_harm", "width_harm", "width_inflection_steps"),
    *("width_predicted_harm", "width_predicted_inflection_steps", "width_converged_harm"),
}
_LEAST, _NEGLIGIBLE = 1e-3, 0.01  # the smallest harm on an axis, and that which is called none
_BUDGETS = 3  # fewer tell nothing about turns
_CURVE_SHARE = 0.05  # of the largest stable rate, at which curves are shown


def _paint(dataset: xr.Dataset) -> Figure:
    """Depth above, width below."""
    figure = drawing.new_figure(9.6, 6.8)
    figure.suptitle(textwrap.fill(_message(dataset), 96), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 3)
    depths, widths = looks(dataset.sizes["depth"], ordered=True), looks(dataset.sizes["width"], ordered=True)
    _draw_harm_of_depths(grid[0, 0], dataset, depths)
    _draw_turns_of_depths(grid[0, 1], dataset, depths)
    _draw_curves(grid[0, 2], dataset, depths)
    _draw_harm_of_widths(grid[1, 0], dataset, widths)
    _draw_reach(grid[1, 1], dataset)
    _draw_turns_of_widths(grid[1, 2], dataset)
    known = bool(np.isfinite(dataset["predicted_harm"]).any() | np.isfinite(dataset["width_predicted_harm"]).any())
    handles = explain(dataset.sizes["width_seed"], theory="theory" if known else None)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _draw_harm_of_depths(axes: Axes, dataset: xr.Dataset, styles: list[dict[str, Any]]) -> None:
    """Harm over the rate, in units of the largest stable one."""
    axes.set_title(f"(a) {_first(dataset)}, by depth")
    axes.set(xscale="log", yscale="log", xlabel="rate / largest stable rate", ylabel="harm of the longest budget")
    for at, look in enumerate(styles):
        x = _shares(dataset, at)
        draw_simulated(axes, x, _clipped(dataset["harm"][0, at].values)[:, None], look, joined=_unknown(dataset))
        draw_theory(axes, x, _clipped(dataset["predicted_harm"][at].values), look)
    for name, said, place, side in (
        ("converged_harm", "stages, converged", 0.02, "left"),
        ("one_layer_harm", "one layer at most", 0.98, "right"),
    ):
        level = np.nanmax(np.nan_to_num(dataset[name].values, posinf=0.0), initial=0.0)
        if level > _LEAST:
            axes.axhline(level, color="0.6", linewidth=0.9, zorder=0)
            where = axes.get_yaxis_transform()
            axes.text(place, 1.1 * level, said, transform=where, ha=side, va="bottom", color="0.3", fontsize=7)
    _harm_axis(axes)


def _draw_turns_of_depths(axes: Axes, dataset: xr.Dataset, styles: list[dict[str, Any]]) -> None:
    """Inflection budgets in units of the time at which the strongest misaligned mode is half learned."""
    known = np.isfinite(dataset["onset_steps"].values).any()
    unit = dataset["onset_steps"].values if known else np.ones(dataset.sizes["depth"])
    axes.set_title("(b) where it starts, harm above 1 %")
    axes.set(xscale="log", yscale="log", xlabel="rate / largest stable rate")
    axes.set_ylabel("inflection / harmful mode learned" if known else "inflection (steps)")
    for at, look in enumerate(styles):
        x, harm = _shares(dataset, at), dataset["harm"][0, at].values
        seen = np.where(harm > _NEGLIGIBLE, dataset["inflection_steps"][0, at].values / unit[at], np.nan)
        told = np.where(harm > _NEGLIGIBLE, dataset["predicted_inflection_steps"][at].values / unit[at], np.nan)
        draw_simulated(axes, x, seen[:, None], look, joined=_unknown(dataset))
        draw_theory(axes, x, told, look)
    axes.axhline(1, color="0.6", linewidth=0.9, zorder=0)
    _legend(axes, "layers", dataset["depth"].values, styles, loc="lower left")


def _draw_curves(axes: Axes, dataset: xr.Dataset, styles: list[dict[str, Any]]) -> None:
    """Curves over the budget at about the same rate x curvature."""
    axes.set_title(f"(c) curves at {100 * _CURVE_SHARE:g} % of that rate")
    axes.set(xscale="log", yscale="log", xlabel="pre-training budget (steps)", ylabel="pre-training loss, fine-tuned")
    budgets = dataset["pretrain_steps"].values
    for at, look in enumerate(styles):
        rate = int(np.argmin(np.abs(np.log(_shares(dataset, at) / _CURVE_SHARE))))
        runs = dataset["pretrain_loss_after"][0, at, :, rate].values
        draw_simulated(axes, budgets, runs[:, None], look, joined=_unknown(dataset))
        draw_theory(axes, budgets, dataset["predicted_pretrain_loss_after"][at, :, rate].values, look)
    drawing.label_logarithmic(axes.xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    drawing.label_logarithmic(axes.yaxis, axes.get_ylim())


def _draw_harm_of_widths(axes: Axes, dataset: xr.Dataset, styles: list[dict[str, Any]]) -> None:
    """Harm over the rate, by width."""
    axes.set_title(f"(d) {_first(dataset)}, by width")
    axes.set(xscale="log", yscale="log", xlabel="fine-tuning rate", ylabel="harm of the longest budget")
    x = dataset["learning_rate"].values
    for at, look in enumerate(styles):
        theory = dataset["width_predicted_harm"][at].values
        draw_simulated(
            axes, x, _clipped(dataset["width_harm"][0, at].values), look, joined=bool(np.isnan(theory).all())
        )
        draw_theory(axes, x, _clipped(theory), look)
    _harm_axis(axes, room=30)
    _legend(axes, "width", dataset["width"].values, styles, loc="upper center", ncols=3)


def _draw_reach(axes: Axes, dataset: xr.Dataset) -> None:
    """The most harm over the rates, and that of the stages in reach."""
    axes.set_title("(e) most harm over the rates")
    axes.set(xscale="log", yscale="log", xlabel="hidden width", ylabel="harm of the longest budget")
    widths = dataset["width"].values
    for (name, look), at in zip(_kinds(dataset).items(), range(dataset.sizes["checkpoints"]), strict=True):
        harm = _clipped(dataset["width_harm"][at].values)
        most = np.nanmax(np.where(np.isnan(harm), -np.inf, harm), axis=1)
        draw_simulated(axes, widths, np.where(np.isfinite(most), most, np.nan), look, label=f"{name} checkpoints")
    theory = _clipped(dataset["width_converged_harm"].values)
    axes.plot(widths, theory, color="0.35", label="stages in reach,\nfully fine-tuned")
    axes.legend(loc="lower right", fontsize=8)
    _label_widths(axes, widths)
    _harm_axis(axes)


def _draw_turns_of_widths(axes: Axes, dataset: xr.Dataset) -> None:
    """Inflection budgets over the width, at rates around that of most harm."""
    axes.set_title("(f) where it starts, by width")
    axes.set(xscale="log", yscale="log", xlabel="hidden width", ylabel="inflection (steps)")
    widths, harm = dataset["width"].values, np.nan_to_num(median(dataset["width_harm"][0].values), posinf=0.0)
    worst = int(np.argmax(harm.max(axis=0)))
    rates = sorted({max(worst - 2, 0), worst, min(worst + 1, harm.shape[1] - 1)})
    for rate, look in zip(rates, looks(len(rates), ordered=True), strict=True):
        turns = np.where(
            (harm[:, rate] > _NEGLIGIBLE)[:, None], dataset["width_inflection_steps"][0, :, rate].values, np.nan
        )
        theory = np.where(
            harm[:, rate] > _NEGLIGIBLE, dataset["width_predicted_inflection_steps"][:, rate].values, np.nan
        )
        label = f"rate {drawing.short(float(dataset['learning_rate'][rate]))}"
        draw_simulated(axes, widths, turns, look, joined=bool(np.isnan(theory).all()), label=label)
        draw_theory(axes, widths, theory, look)
    axes.legend(loc="lower left", fontsize=8)
    _label_widths(axes, widths)
    drawing.label_logarithmic(axes.yaxis, axes.get_ylim())


def _first(dataset: xr.Dataset) -> str:
    return f"{dataset['checkpoints'].values[0]} checkpoints"


def _kinds(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    names = [str(name) for name in dataset["checkpoints"].values]
    return dict(zip(names, looks(len(names)), strict=True))


def _shares(dataset: xr.Dataset, at: int) -> drawing.Floats:
    """Rates in units of the largest at which descent is stable at the minimum of the pre-training task."""
    return np.asarray(dataset["learning_rate"].values / float(dataset["stable_rate"][at]))


def _unknown(dataset: xr.Dataset) -> bool:
    return bool(dataset["predicted_harm"].isnull().all())


def _legend(axes: Axes, title: str, values: Any, styles: list[dict[str, Any]], loc: Any, ncols: int = 2) -> None:
    handles = [
        Line2D(
            [],
            [],
            label=str(value),
            color=look["color"],
            marker=look["marker"],
            linestyle=look["linestyle"],
            **_faces(look),
        )
        for value, look in zip(values, styles, strict=True)
    ]
    axes.legend(handles=handles, title=title, loc=loc, fontsize=7, title_fontsize=8, ncols=ncols, handlelength=2.4)


def _faces(look: dict[str, Any]) -> dict[str, Any]:
    return drawing.hollow(4.0, look["color"])


def _label_widths(axes: Axes, widths: Any) -> None:
    axes.set_xticks(widths, labels=[str(width) for width in widths])
    axes.minorticks_off()


def _clipped(harm: drawing.Floats) -> drawing.Floats:
    """Harm with a floor, so that none is on a logarithmic axis too."""
    return np.where(np.isfinite(harm), np.maximum(np.nan_to_num(harm), _LEAST), np.nan)


def _harm_axis(axes: Axes, room: float = 1.0) -> None:
    """Harm in percent, with room above the curves for a legend."""
    high = max(axes.get_ylim()[1], 1.0)
    axes.set_ylim(_LEAST / 1.6, high * 1.6 * room)
    powers = [10.0**power for power in range(-3, int(np.ceil(np.log10(high))) + 1)]
    axes.set_yticks(powers, ["≤0.1 %", *(f"{drawing.grouped(100 * power)} %" for power in powers[1:])])


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one sentence."""
    depths = dataset["depth"].values
    finite = [np.isfinite(dataset[name][0]).any() for name in ("harm", "width_harm")]
    if not any(finite):
        return "Every run diverged"
    if min(dataset.sizes["pretrain_steps"], dataset.sizes["width_pretrain_steps"]) < _BUDGETS:
        return "Too few budgets to tell whether more pre-training hurts"
    most = np.nan_to_num(dataset["harm"][0].values, posinf=0.0).max(axis=1)
    reached = np.nan_to_num(median(dataset["width_harm"][0].values), posinf=0.0).max(axis=1)
    if not (most > _NEGLIGIBLE).any() and not (reached > _NEGLIGIBLE).any():
        return "At no depth and no width does more pre-training hurt"
    parts = []
    single, deep = most[depths == 1], most[depths > 1]
    if len(deep):
        span = drawing.rise(float(deep.max())).removeprefix("+")
        parts.append(f"With two or more layers overtraining costs up to {span}")
    if len(single):
        parts.append(f"with one layer at most {drawing.rise(float(single[0])).removeprefix('+')}")
    none = dataset["width"].values[reached <= _NEGLIGIBLE]
    if len(none) and len(none) < len(reached):
        parts.append(f"and none where the width ({', '.join(map(str, none))}) keeps the harmful modes out of reach")
    message = ", ".join(parts) or "More pre-training hurts"
    spans = [_span(dataset, int(at)) for at in np.flatnonzero(depths > 1)]
    if len(spans) > 1 and spans[-1] < spans[0]:
        message += "; the deeper, the less the rate decides where it starts"
    return message[0].upper() + message[1:]


def _span(dataset: xr.Dataset, at: int) -> float:
    """Latest over earliest inflection of a depth, over the rates with harm above 10 %; NaN where there are none."""
    turns = dataset["inflection_steps"][0, at].values[dataset["harm"][0, at].values > 0.1]
    turns = turns[np.isfinite(turns)]
    return float(turns.max() / turns.min()) if len(turns) else np.nan


picture = Picture("depth_and_width", __doc__, "a result of depth_and_width", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
