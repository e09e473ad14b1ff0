"""What forecasts are worth, domain by domain: skill, separation, coverage, calibration, and the cost of stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.canvas import new_figure
from .panels.looks import GREY, REFERENCE, Look
from .panels.rows import Span, ranges
from .picture import Picture

_NEEDED = {
    *(
        "skill",
        "fresh_auc",
        "coverage_of_turns",
        "cannot_tell",
        "wrong",
        "said",
        "came",
        "cells",
        "regret",
        "tunings",
        "policy",
    ),
    *("domain", "method"),
}
_SHOWN = {
    "forecast": Look("#0072B2", "o", size=6),
    "forecast, nothing tuned": Look("#56B4E9", "v", size=5),
    "theory fit": Look("#009E73", "s", size=5),
    "E + A/b^a + F b^f": Look("#E69F00", "^", size=5),
    "loss ratio": Look("#CC79A7", "P", size=5),
    "has it turned?": Look("black", "x", size=5),
}
_SHARES = {
    "coverage_of_turns": ("80 % interval holds the turn", Look("#0072B2", "o", size=6)),
    "cannot_tell": ("cannot tell", Look("0.45", "s", size=5)),
    "wrong": ("other verdicts, wrong", Look("#D55E00", "X", size=6)),
}
_FEWEST = 5  # tables of a bin that is drawn


def _paint(dataset: xr.Dataset) -> Figure:
    """Rows are domains above, policies below."""
    figure = new_figure(11.2, 8.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    above, below = parts
    skill, separation, shares = above.subplots(1, 3, sharey=True)
    names = [str(name) for name in dataset["domain"].values]
    rows = np.arange(len(names), dtype=float)[::-1]
    skill.set_yticks(rows, names)
    skill.set_ylim(-0.7, len(names) - 0.3)
    methods = {name: look for name, look in _SHOWN.items() if name in dataset["method"].values}
    shifts = 0.1 * (np.arange(len(methods)) - (len(methods) - 1) / 2)[::-1]
    for (name, look), shift in zip(methods.items(), shifts, strict=True):
        here = dataset.isel(method=list(map(str, dataset["method"].values)).index(name))
        _range(skill, rows + shift, here["skill"].clip(-1.6, 1), look)
        _range(separation, rows + shift, here["fresh_auc"], look)
    for axes, place in ((skill, 0.0), (separation, 0.5), (shares, 80.0)):
        axes.axvline(place, **REFERENCE | {"linestyle": "--", "linewidth": 1.2})
    skill.set(xlabel="Brier skill against the prior's share (1)", xlim=(-1.7, 1.02))
    separation.set(xlabel="AUC, tables that have not turned (1)", xlim=(-0.02, 1.02))
    for at, (name, (_, look)) in enumerate(_SHARES.items()):
        _range(shares, rows + 0.15 * (1 - at), 100 * dataset[name], look)
    shares.set(xlabel="tables (%)", xlim=(-3, 103))
    skill.set_title("(a) worse by 8 times the budget?", loc="left")
    separation.set_title("(b) before the turn", loc="left")
    shares.set_title("(c) intervals and verdicts", loc="left")
    entries: list[Any] = [Line2D([], [], label=f"(a, b) {name}", **look.points) for name, look in methods.items()]
    entries += [Line2D([], [], label=f"(c) {said}", **look.points) for said, look in _SHARES.values()]
    above.legend(handles=entries, loc="outside lower left", ncols=5, fontsize=8, columnspacing=1.0, handletextpad=0.2)
    calibration, cost = below.subplots(1, 2, width_ratios=(0.8, 1.2))
    _draw_calibration(calibration, dataset)
    _draw_cost(cost, dataset)
    return figure


def _span(score: xr.DataArray) -> Span:
    low, estimate, high = (score.sel(statistic=name).values for name in ("low", "estimate", "high"))
    return np.where(np.isnan(low), estimate, low), estimate, np.where(np.isnan(high), estimate, high)


def _range(axes: Axes, rows: np.ndarray, score: xr.DataArray, look: Look) -> None:
    ranges(axes, rows, _span(score), look, width=1.2)


def _draw_calibration(axes: Axes, dataset: xr.Dataset) -> None:
    axes.plot([0, 1], [0, 1], **REFERENCE | {"linestyle": "--", "linewidth": 1.2})
    colors = ["black", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "0.55", "#8C6D31"]
    for at, name in enumerate(dataset["domain"].values):
        here = dataset.isel(domain=at)
        enough = here["cells"].values >= _FEWEST
        came = here["came"].sel(statistic="estimate").values
        look = Look(colors[at % len(colors)], "os^Dv<>pP"[at % 9], "-" if at == 0 else ":")
        axes.plot(here["said"].values[enough], came[enough], label=str(name), **look.joined)
    axes.set(xlabel="chance that was given (1)", ylabel="share that became worse (1)", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_title("(d) calibration", loc="left")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_cost(axes: Axes, dataset: xr.Dataset) -> None:
    names = [str(name) for name in dataset["policy"].values]
    rows = np.arange(len(names), dtype=float)[::-1]
    low, middle, high = (100 * each for each in _span(dataset["regret"]))
    colors = ["#0072B2" if name.startswith("forecast") else "0.6" for name in names]
    axes.barh(rows, middle, color=colors, height=0.55)
    axes.hlines(rows, low, high, color="black", linewidth=1.4)
    median = 100 * dataset["median_regret"].sel(statistic="estimate").values
    axes.plot(median, rows, label="median", **Look("#D55E00", "D", size=5).points)
    axes.legend(fontsize=8, loc="lower right")
    for row, end, runs in zip(rows, high, dataset["tunings"].sel(statistic="estimate").values, strict=True):
        axes.annotate(f"{runs:.0f} runs", (end, row), (5, 0), textcoords="offset points", va="center", color=GREY)
    axes.set_yticks(rows, names)
    axes.set(xlabel="mean regret, of the zero network's loss (%)", xlim=(0, float(np.nanmax(high)) * 1.2))
    axes.set_title(f"(e) stopping, {dataset.attrs.get('stopped', '')} transfers", loc="left")


picture = Picture("forecast_scores", "a result of forecast_scores", _NEEDED, _paint)
draw, save = picture.draw, picture.save
