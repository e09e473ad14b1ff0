"""Curves over the budget with the fine-tuning rate fixed and tuned, on a near and a far task, and the tuned rate.

Usage: python -m figures.tuned_rate [--data results/tuned_rate] [--out figures/gallery] [--name NAME]
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
from matplotlib.ticker import FuncFormatter

from . import drawing
from .cells import median
from .drawing import Floats
from .picture import Picture
from .runs import draw_simulated, draw_theory, explain, heights, looks, mark_turns

_NEEDED = {
    *("factor", "rule", "pretrain_steps", "learning_rate", "seed", "rule_pretrain_loss", "rule_time", "rule_harm"),
    *("rule_inflection_steps", "fixed_harm", "tuned_harm", "late_time", "pretrain_loss_before"),
}
_SHOWN = {
    "fixed": "fixed at the largest rate allowed",
    "tuned": "tuned up to that rate",
    "tuned, any rate": "tuned, any stable rate",
    "matched": "least rate that reaches a loss all can reach",
}
_TURN = 0.05  # harm from which a curve is said to turn, as in the conclusion of the experiment
_LEAST = 0.01  # harm below it is drawn as this


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses on the near and the far task, tuned rates, and harm over the largest rate."""
    sample = dataset.sel(trained_on="sample")
    near, far = _near_and_far(sample)
    figure = drawing.new_figure(9.6, 7.6)
    figure.suptitle(textwrap.fill(_message(sample), 88), x=0.012, ha="left")
    (first, second), (third, fourth) = figure.subplots(2, 2)
    for axes, factor, title in (first, near, "(a) near task"), (second, far, "(b) far task"):
        _draw_losses(axes, sample.sel(factor=factor))
        axes.set_title(f"{title}, ×{factor:g}" if near != far else f"the task ×{factor:g}")
    _draw_times(third, sample)
    _draw_harm(fourth, sample, near, far)
    theory = "closed form" if "predicted_rule_time" in dataset else None
    rules = [_entry(look, _SHOWN[rule]) for rule, look in _looks().items()]
    rules.append(Line2D([], [], color="0.45", linewidth=0.9, label="before fine-tuning"))
    figure.legend(handles=rules, loc="outside lower left", title="(a), (b): rate", alignment="left", ncols=2)
    kinds = explain(dataset.sizes["seed"], theory=theory, turns=True)
    if theory and sample["late_time"].notnull().any():
        arrow: dict[str, Any] = {"marker": "<", "markersize": 8, "markeredgecolor": "black", "color": "0.6"}
        kinds.append(Line2D([], [], linestyle="none", label="(c) expected at last", **arrow))
    figure.legend(handles=kinds, loc="outside lower right", ncols=2)
    return figure


def _looks() -> dict[str, dict[str, Any]]:
    """Look of every rule, with markers that shrink, so that equal curves show as nested markers."""
    sizes = (8.5, 5.0, 6.5, 4.0)
    return {rule: look | {"size": size} for rule, look, size in zip(_SHOWN, looks(len(_SHOWN)), sizes, strict=True)}


def _entry(look: dict[str, Any], label: str) -> Line2D:
    shape = {key: look[key] for key in ("color", "marker", "linestyle")}
    return Line2D([], [], label=label, **shape | drawing.hollow(look["size"], look["color"]))


def _points(axes: Axes, x: Floats, runs: Floats, look: dict[str, Any], joined: bool) -> None:
    """Simulated runs, in markers of the size of the look."""
    draw_simulated(axes, x, runs, look, joined=joined)
    axes.lines[-1].set_markersize(look["size"])


def _near_and_far(sample: xr.Dataset) -> tuple[float, float]:
    """The farthest task whose U tuning removes, or the nearest one; and the farthest of all."""
    removed, _ = _removed_and_kept(sample)
    factors = [float(factor) for factor in sample["factor"].values]
    return (removed or factors)[-1 if removed else 0], factors[-1]


def _removed_and_kept(sample: xr.Dataset) -> tuple[list[float], list[float]]:
    """Tasks on which most curves turn at the fixed rate: those where few do at the tuned rate, and the others."""
    share = {}
    for rule in ("fixed", "tuned"):
        harm = sample["rule_harm"].sel(rule=rule).values
        known = np.isfinite(harm)  # else the run from the largest budget diverged
        share[rule] = (known & (harm >= _TURN)).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    factors = sample["factor"].values
    turns = share["fixed"] > 0.5
    removed, kept = (factors[turns & where].tolist() for where in (share["tuned"] < 0.5, share["tuned"] >= 0.5))
    return removed, kept


def _message(sample: xr.Dataset) -> str:
    """The finding, in one sentence."""
    removed, kept = _removed_and_kept(sample)
    if sample["rule_pretrain_loss"].isnull().all():
        return "Every fine-tuning run diverged"
    if not np.isfinite(sample["rule_harm"].sel(rule="fixed")).any():
        return "At the fixed rate runs diverged: whether tuning removes a U cannot be told"
    if not removed and not kept:
        return "At the fixed rate more pre-training does not hurt: there is no U for tuning to remove"
    off = f"Tuning the rate removes the U on near tasks ({_list(removed)}), whose tuned rate falls"
    stays = f"the U stays on far ones ({_list(kept)}){_where(sample, kept)}"
    if removed and kept:
        return f"{off}; {stays}"
    return off if removed else f"Tuning the rate does not remove the U ({_list(kept)})"


def _where(sample: xr.Dataset, kept: list[float]) -> str:
    """Whether the tuned rate of these tasks is above half of the largest one allowed at every budget."""
    times = median(sample["rule_time"].sel(rule="tuned", factor=kept).values)
    limit = sample.attrs["finetune_steps"] * sample.attrs["largest_rate"]
    return ", which need more than half of the largest rate allowed" if (times > limit / 2).all() else ""


def _list(factors: list[float]) -> str:
    return ", ".join(f"×{factor:g}" for factor in factors)


def _draw_losses(axes: Axes, cell: xr.Dataset) -> None:
    budgets = cell["pretrain_steps"].values.astype(np.float64)
    axes.plot(budgets, median(cell["pretrain_loss_before"].values), color="0.45", linewidth=0.9)
    lowest, highest = np.inf, 0.0
    for rule, look in _looks().items():
        runs = cell["rule_pretrain_loss"].sel(rule=rule).values
        _points(axes, budgets, runs, look, "predicted_rule_pretrain_loss" not in cell)
        if "predicted_rule_pretrain_loss" in cell:
            draw_theory(axes, budgets, cell["predicted_rule_pretrain_loss"].sel(rule=rule).values, look)
        known = runs[np.isfinite(runs) & (runs > 0)]
        if len(known):
            lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
        steps, harm = (cell[name].sel(rule=rule).values for name in ("rule_inflection_steps", "rule_harm"))
        turns = harm >= _TURN
        middle = median(np.where(turns, steps, np.nan)) if turns.mean() > 0.5 else np.asarray(np.nan)
        curve = median(runs)
        mark_turns(axes, np.atleast_1d(middle), heights(budgets, curve, np.atleast_1d(middle)), look["color"])
    axes.set(xscale="log", yscale="log", xlabel="pre-training budget / steps")
    axes.set_ylabel("pre-training loss after\nfine-tuning / squared output")
    if np.isfinite(lowest):
        drawing.label_logarithmic(axes.yaxis, (0.8 * lowest, 1.3 * highest))


def _draw_times(axes: Axes, sample: xr.Dataset) -> None:
    factors = sample["factor"].values
    budgets = sample["pretrain_steps"].values.astype(np.float64)
    axes.set(xscale="log", yscale="log")
    for factor, look in zip(factors, looks(len(factors), ordered=True), strict=True):
        cell = sample.sel(factor=factor, rule="tuned")
        label = f"×{factor:g}"
        theory = "predicted_rule_time" in cell
        draw_simulated(axes, budgets, cell["rule_time"].values, look, joined=not theory, label=label)
        if theory:
            draw_theory(axes, budgets, cell["predicted_rule_time"].values, look)
        late = float(sample["late_time"].sel(factor=factor))
        arrow: dict[str, Any] = {"marker": "<", "markersize": 8, "markeredgecolor": "black", "color": look["color"]}
        axes.plot([1.03], [late], transform=axes.get_yaxis_transform(), clip_on=False, linestyle="none", **arrow)
    limit = float(sample.attrs["finetune_steps"] * sample.attrs["largest_rate"])
    shown = np.append(sample["rule_time"].sel(rule="tuned").values, sample["late_time"].values)
    low, high = (float(end(shown, initial=limit, where=np.isfinite(shown))) for end in (np.min, np.max))
    drawing.label_logarithmic(axes.yaxis, (0.8 * low, 1.25 * high))
    axes.axhline(limit, color="0.5", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set(xlabel="pre-training budget / steps")
    axes.annotate("largest allowed", (1, limit), (-2, 4), ("axes fraction", "data"), "offset points", ha="right")
    axes.set_ylabel("tuned rate × steps / flow time")
    axes.set_title("(c) the tuned rate over the budget")
    axes.legend(title="task", loc="lower left")


def _draw_harm(axes: Axes, sample: xr.Dataset, near: float, far: float) -> None:
    """Harm over a largest rate: fixed at it, or tuned up to it."""
    steps = sample.attrs["finetune_steps"]
    times = steps * sample["learning_rate"].values
    entries = []
    rules = _looks()
    for factor, shape in zip(dict.fromkeys((far, near)), ({"marker": "o"}, {"marker": "^"}), strict=False):
        cell = sample.sel(factor=factor)
        for kind in ("fixed", "tuned"):
            look = rules[kind] | shape | {"linestyle": "-" if factor == far else "--"}
            theory = f"predicted_{kind}_harm" in cell
            _points(axes, times, _visible(cell[f"{kind}_harm"].values), look, not theory)
            if theory:
                draw_theory(axes, times, _visible(cell[f"predicted_{kind}_harm"].values), look)
            entries.append(_entry(look, f"×{factor:g}, {kind}"))
    axes.axvline(steps * sample.attrs["largest_rate"], color="0.5", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="fixed, or largest allowed, rate × steps / flow time")
    shown = sample["fixed_harm"].values
    highest = float(np.max(shown, initial=10 * _LEAST, where=np.isfinite(shown)))
    axes.set_ylim(0.7 * _LEAST, 2 * highest)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{'≤' if value <= _LEAST else ''}{100 * value:g} %"))
    axes.set_ylabel("harm of the largest budget")
    axes.set_title("(d) harm over the largest rate allowed")
    axes.legend(handles=entries, loc="upper left")


def _visible(harm: Floats) -> Floats:
    """For a logarithmic axis: small harm at its lower end, harm without bound left out."""
    return np.where(np.isfinite(harm), np.maximum(harm, _LEAST), np.nan)


picture = Picture("tuned_rate", __doc__, "a result of experiments.tuned_rate", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
