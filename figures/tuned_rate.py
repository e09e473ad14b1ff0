"""Curves over the budget with the fine-tuning rate fixed and tuned, on a near and a far task, and the tuned rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.finding import Finding
from linsim.labels import counted_harm

from .panels.axes import decades, harm_axis, visible
from .panels.canvas import new_figure
from .panels.curves import before, closed_form, curves
from .panels.looks import BEFORE, Look, explain, known, legend, looks
from .picture import Picture

_NEEDED = {
    *("factor", "rule", "pretrain_steps", "learning_rate", "seed", "rule_pretrain_loss", "rule_time", "rule_harm"),
    *("rule_inflection_steps", "fixed_harm", "tuned_harm", "late_time", "pretrain_loss_before"),
}
_RULES = {
    "fixed": "fixed at the largest rate allowed",
    "tuned": "tuned up to that rate",
    "tuned, any rate": "tuned, any stable rate",
    "matched": "least rate that reaches a loss all can reach",
}
_LEAST = 0.01  # harm below it is drawn as this
_LIMIT: dict[str, Any] = {"color": "0.5", "linewidth": 0.8, "linestyle": (0, (2, 2)), "zorder": 1}
_EXPECTED: dict[str, Any] = {"marker": "<", "markersize": 8, "markeredgecolor": "black", "linestyle": "none"}


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses on the near and the far task, tuned rates, and harm over the largest rate."""
    sample = dataset.sel(trained_on="sample")
    factors = [float(factor) for factor in sample["factor"].values]
    near, far = Finding.of(dataset).numbers.get("removed_up_to", factors[0]), factors[-1]
    figure = new_figure(9.6, 7.6)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    for axes, factor, title in (first, near, "(a) near task"), (second, far, "(b) far task"):
        _draw_losses(axes, sample.sel(factor=factor))
        axes.set_title(f"{title}, ×{factor:g}" if near != far else f"the task ×{factor:g}")
    _draw_times(third, sample)
    _draw_harm(fourth, sample, near, far)
    rules = [look.entry(said) for said, look in zip(_RULES.values(), _looks(), strict=True)]
    rules.append(Line2D([], [], label="before fine-tuning", **BEFORE))
    figure.legend(handles=rules, loc="outside lower left", title="(a), (b): rate", alignment="left", ncols=2)
    theory = closed_form(sample, "rule_time")
    kinds = explain(dataset.sizes["seed"], theory, sample["rule_inflection_steps"])
    if known(theory) and known(sample["late_time"]):
        kinds.append(Line2D([], [], label="(c) expected at last", **_EXPECTED, color="0.6"))
    figure.legend(handles=kinds, loc="outside lower right", ncols=2)
    return figure


def _looks() -> list[Look]:
    """Of the rules, with markers of several sizes: equal curves show as nested markers."""
    return looks(len(_RULES), sizes=(8.5, 5.0, 6.5, 4.0))


def _draw_losses(axes: Axes, cell: xr.Dataset) -> None:
    """The loss before, and after fine-tuning by each rule, with its turn where most seeds have one."""
    rules = cell.sel(rule=list(_RULES))
    turned = counted_harm(rules, "rule_") >= cell.attrs["turning_harm"]
    turns = rules["rule_inflection_steps"].where(turned & (turned.mean("seed") > 0.5))
    losses = rules["rule_pretrain_loss"]
    before(axes, cell["pretrain_loss_before"])
    curves(axes, losses, closed_form(rules, "rule_pretrain_loss"), by="rule", styles=_looks(), turns=turns)
    axes.set_ylabel("pre-training loss after\nfine-tuning (squared output)")
    shown = losses.where(losses > 0)
    decades(axes.yaxis, 0.8 * shown.min(), 1.3 * shown.max())


def _draw_times(axes: Axes, sample: xr.Dataset) -> None:
    """The tuned rate over the budget, and where it is expected at last."""
    tuned = sample.sel(rule="tuned")
    drawn = curves(axes, tuned["rule_time"], closed_form(tuned, "rule_time"), by="factor", names="×{}")
    for look, late in zip(drawn.values(), tuned["late_time"].values, strict=True):
        axes.plot(1.03, late, transform=axes.get_yaxis_transform(), clip_on=False, color=look.color, **_EXPECTED)
    limit = float(sample.attrs["finetune_steps"] * sample.attrs["largest_rate"])
    shown = np.concatenate([tuned["rule_time"].values.ravel(), tuned["late_time"].values, [limit]])
    decades(axes.yaxis, 0.8 * np.nanmin(shown), 1.25 * np.nanmax(shown))
    axes.axhline(limit, **_LIMIT)
    axes.annotate("largest allowed", (1, limit), (-2, 4), ("axes fraction", "data"), "offset points", ha="right")
    axes.set(title="(c) the tuned rate over the budget", ylabel="tuned rate × steps (flow time)")
    legend(axes, drawn, title="task", loc="lower left")


def _draw_harm(axes: Axes, sample: xr.Dataset, near: float, far: float) -> None:
    """Harm over a largest rate: fixed at it, or tuned up to it."""
    steps = sample.attrs["finetune_steps"]
    said = {"long_name": "fixed, or largest allowed, rate × steps", "units": "flow time"}
    times = (steps * sample["learning_rate"]).assign_attrs(said)
    drawn: dict[str, Look] = {}
    for factor, marker, line in ((near, "^", "--"), (far, "o", "-")):
        cell = sample.sel(factor=factor)
        for kind, look in zip(("fixed", "tuned"), _looks(), strict=False):
            runs, theory = (visible(each, _LEAST) for each in (cell[f"{kind}_harm"], closed_form(cell, f"{kind}_harm")))
            names, style = f"×{factor:g}, {kind}", look._replace(marker=marker, line=line)
            drawn |= curves(axes, runs, theory, over="learning_rate", names=names, styles=[style], places=times)
    axes.axvline(steps * sample.attrs["largest_rate"], **_LIMIT)
    axes.set_title("(d) harm over the largest rate allowed")
    harm_axis(axes, least=_LEAST)
    legend(axes, drawn, loc="upper left", fontsize=9)


picture = Picture("tuned_rate", "a result of experiments.tuned_rate", _NEEDED, _paint)
draw, save = picture.draw, picture.save
