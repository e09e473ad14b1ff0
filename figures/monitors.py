"""Which monitor tells the truth: alarms against inflection points, and readings against forgetting."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .monitor_example import draw_example
from .panels.axes import Floats
from .panels.canvas import new_figure
from .panels.looks import GREY, REFERENCE, Look
from .panels.rows import Span, ranges, stacked
from .picture import Picture

_KINDS = {
    "early": ("> 1 e-fold before", "#0072B2", ""),
    "timely": ("before", "#7FC4EE", ""),
    "late": ("after", "#E69F00", "////"),
    "missed": ("never", "0.9", ""),
}
_NEEDED = {
    *("value", "alarm", "budget", "inflection", "outcome", "harm", "loss_after", "loss_before"),
    *("in_time", "false_alarm", "lead", "separation", "separation_of_values"),
    *("cell_correlation", "correlation_across", *_KINDS),
}
_GROUPS = {
    "pre-training": "sees pre-training only",
    "fine-tuning": "sees the fine-tuning task",
    "nothing": "sees no curvature",
}
_GAP = 0.7  # between groups of monitors, in rows
_FIRST, _SECOND, _FALSE = Look("#0072B2", size=5), Look("#D55E00", "s", size=5), Look("black", "D", size=5)
_GUESS = REFERENCE | {"linewidth": 1.0, "linestyle": "--"}


def _paint(dataset: xr.Dataset) -> Figure:
    """When each monitor's alarm rings, how its readings go with forgetting, and one transfer as an example."""
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    figure = new_figure(10.4, 7.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.32, 1))
    above, below = parts
    alarms, separation, correlations = above.subplots(1, 3, width_ratios=(1.5, 0.8, 1), sharey=True)
    sees = dataset["sees"].values
    rows = np.arange(len(sees)) + _GAP * np.cumsum(sees != np.roll(sees, 1)) - _GAP * (sees[0] != sees[-1])
    _draw_alarms(alarms, chosen, rows)
    _draw_separation(separation, chosen, rows)
    _draw_correlations(correlations, chosen, rows)
    _name_rows(alarms, dataset, rows)
    for axes in alarms, separation, correlations:
        axes.tick_params(axis="y", length=0)
    draw_example(below, chosen)
    return figure


def _name_rows(axes: Axes, dataset: xr.Dataset, rows: Floats) -> None:
    axes.set_yticks(rows, [str(label) for label in dataset["label"].values])
    axes.set_ylim(rows[-1] + 0.6, rows[0] - 0.95)
    look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "style": "italic", "color": GREY}
    for kind, said in _GROUPS.items():
        if (of_kind := dataset["sees"].values == kind).any():
            axes.text(-0.02, rows[of_kind][0] - 0.72, said, ha="right", va="center", **look)


def _interval(score: xr.DataArray) -> Span:
    low, estimate, high = (score.sel(statistic=name).values for name in ("low", "estimate", "high"))
    return low, estimate, high


def _draw_alarms(axes: Axes, chosen: xr.Dataset, rows: Floats) -> None:
    """Shares of harmful cells by when the alarm rang, and the share of harmless cells with an alarm."""
    shares = {name: 100 * chosen[name].sel(statistic="estimate").values for name in _KINDS}
    stacked(axes, rows, shares, {name: (color, hatch) for name, (_, color, hatch) in _KINDS.items()})
    ranges(axes, rows, _interval(100 * chosen["false_alarm"]), _FALSE, width=1.4)
    axes.set(xlim=(0, 100), xlabel="cells (%)")
    axes.set_title("(a) When the alarm rings in harmful cells,\nagainst the inflection point", loc="left")
    handles: list[Any] = [
        Patch(facecolor=color, hatch=hatch, edgecolor="0.6" if name == "missed" else "white", label=said)
        for name, (said, color, hatch) in _KINDS.items()
    ]
    handles.append(Line2D([], [], label="false alarm, harmless cells", **_FALSE.points))
    _explain(axes, handles, (0.4, -0.16), ncols=3, columnspacing=1, handlelength=1.4)


def _draw_separation(axes: Axes, chosen: xr.Dataset, rows: Floats) -> None:
    """Twice: by what each alarm looks at, and by one statistic for all."""
    axes.axvline(0.5, **_GUESS)
    axes.text(0.51, rows[0] - 0.66, "guess", color=GREY, va="center")
    _draw_both(axes, rows + np.array([[-0.14], [0.14]]), chosen["separation"], chosen["separation_of_values"])
    axes.set(xlim=(0.2, 1.0), xlabel="chance that the harmful\ncell looks worse")
    axes.set_title("(b) Harmful against\nharmless cells", loc="left")
    _explain(axes, _both("by the alarm's statistic", "by the last value"), (0.5, -0.22), handlelength=1)


def _draw_correlations(axes: Axes, chosen: xr.Dataset, rows: Floats) -> None:
    """Rank correlations with forgetting: over the checkpoints of a cell, and over transfers at the last one."""
    scored = (chosen["outcome"] < 2).values
    along = chosen["cell_correlation"].values[:, scored]
    low, high = np.quantile(along, (0.25, 0.75), axis=1) if scored.any() else np.full((2, len(rows)), np.nan)
    axes.axvline(0, **_GUESS)
    axes.barh(rows, high - low, left=low, height=0.5, color="#BFDDF0", linewidth=0)
    _draw_both(axes, np.stack([rows, rows]), chosen["correlation_along"], chosen["correlation_across"])
    axes.set(xlim=(-1, 1), xlabel="rank correlation")
    axes.set_title("(c) Reading against forgetting", loc="left")
    said = _both("along a run (bar: middle half)", "across transfers, at the end")
    _explain(axes, said, (0.45, -0.16), handlelength=1)


def _draw_both(axes: Axes, places: Floats, first: xr.DataArray, second: xr.DataArray) -> None:
    """Two scores with their intervals, the first one filled."""
    for place, score, look, filled in zip(places, (first, second), (_FIRST, _SECOND), (True, False), strict=True):
        ranges(axes, place, _interval(score), look, width=1.4, filled=filled)


def _both(first: str, second: str) -> list[Line2D]:
    """Legend entries of two scores."""
    filled = _FIRST.points | {"markerfacecolor": _FIRST.color}
    return [Line2D([], [], label=first, **filled), Line2D([], [], label=second, **_SECOND.points)]


def _explain(axes: Axes, handles: list[Any], place: tuple[float, float], **settings: Any) -> None:
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=place, **settings)


picture = Picture("monitors", "scores of monitors", _NEEDED, _paint)
draw, save = picture.draw, picture.save
