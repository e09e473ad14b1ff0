"""Which monitor tells the truth: alarms against inflection points, and readings against forgetting.

Usage: python -m figures.monitors [--data results/monitors] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import drawing
from .monitor_example import draw_example
from .picture import Picture

_NEEDED = {
    *(
        "value",
        "alarm",
        "budget",
        "inflection",
        "outcome",
        "harm",
        "loss_after",
        "loss_before",
        "informedness",
        "informedness_of_reachable",
        "in_time",
    ),
    *(
        "early",
        "timely",
        "late",
        "missed",
        "false_alarm",
        "lead",
        "separation",
        "separation_of_values",
        "cell_correlation",
        "correlation_across",
    ),
}
_KINDS = {
    "early": ("> 1 e-fold before", "#0072B2", ""),
    "timely": ("before", "#7FC4EE", ""),
    "late": ("after", "#E69F00", "////"),
    "missed": ("never", "0.9", ""),
}
_GROUPS = {
    "pre-training": "sees pre-training only",
    "fine-tuning": "sees the fine-tuning task",
    "nothing": "sees no curvature",
}
_GAP = 0.7  # between groups of monitors, in rows


def _paint(dataset: xr.Dataset) -> Figure:
    """When each monitor's alarm rings, how its readings go with forgetting, and one transfer as an example."""
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    figure = drawing.new_figure(10.4, 7.6)
    figure.suptitle(_message(chosen), x=0.012, ha="left")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.32, 1))
    above, below = parts
    rows = _rows(dataset)
    alarms, separation, correlations = above.subplots(1, 3, width_ratios=(1.5, 0.8, 1), sharey=True)
    _draw_alarms(alarms, chosen, rows)
    _draw_separation(separation, chosen, rows)
    _draw_correlations(correlations, chosen, rows)
    _name_rows(alarms, dataset, rows)
    for axes in (separation, correlations):
        axes.tick_params(axis="y", length=0)
    draw_example(below, chosen)
    return figure


def _message(chosen: xr.Dataset) -> str:
    """The finding, in one line."""
    low = chosen[["informedness", "informedness_of_reachable"]].sel(statistic="low").to_array().max("variable")
    alone = low[chosen["sees"].values == "pre-training"]
    if not np.isfinite(alone).any():
        return "No finding: it takes harmful and harmless cells"
    if float(alone.max()) < 0.1:
        return "Alarms on curvature ring whether or not fine-tuning will do harm"
    best = chosen["label"].values[chosen["sees"].values == "pre-training"][int(np.nanargmax(alone))]
    return f"Of the monitors of pre-training, {best} tells harm from no harm best"


def _rows(dataset: xr.Dataset) -> np.ndarray:
    """Height of each monitor's row, groups apart."""
    sees = dataset["sees"].values
    changes = np.cumsum([0, *(one != other for one, other in zip(sees[1:], sees[:-1], strict=True))])
    return np.arange(len(sees)) + _GAP * changes


def _name_rows(axes: Axes, dataset: xr.Dataset, rows: np.ndarray) -> None:
    axes.set_yticks(rows, [str(label) for label in dataset["label"].values])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows[-1] + 0.6, rows[0] - 0.95)
    sees = dataset["sees"].values
    for kind, said in _GROUPS.items():
        if (sees == kind).any():
            first = rows[int(np.argmax(sees == kind))]
            look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "style": "italic", "color": "0.35"}
            axes.text(-0.02, first - 0.72, said, ha="right", va="center", **look)


def _draw_alarms(axes: Axes, chosen: xr.Dataset, rows: np.ndarray) -> None:
    """Shares of harmful cells by when the alarm rang, and the share of harmless cells with an alarm."""
    left = np.zeros(len(rows))
    for name, (_, color, hatch) in _KINDS.items():
        share = 100 * chosen[name].sel(statistic="estimate").values
        axes.barh(rows, share, left=left, height=0.66, color=color, hatch=hatch, edgecolor="white", linewidth=0.6)
        left += np.nan_to_num(share)
    _points(axes, rows, 100 * chosen["false_alarm"], "D", "black")
    axes.set(xlim=(0, 100), xlabel="cells (%)")
    axes.set_title("(a) When the alarm rings in harmful cells,\nagainst the inflection point", loc="left")
    handles: list[Any] = [
        Patch(facecolor=color, hatch=hatch, edgecolor="0.6" if name == "missed" else "white", label=said)
        for name, (said, color, hatch) in _KINDS.items()
    ]
    handles.append(Line2D([], [], linestyle="none", label="false alarm, harmless cells", **_hollow("D", "black")))
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3, columnspacing=1, handlelength=1.4
    )


def _draw_separation(axes: Axes, chosen: xr.Dataset, rows: np.ndarray) -> None:
    """Twice: by what each alarm looks at, and by one statistic for all."""
    axes.axvline(0.5, color="0.6", linewidth=1, linestyle="--")
    _points(axes, rows - 0.14, chosen["separation"], "o", "#0072B2")
    _points(axes, rows + 0.14, chosen["separation_of_values"], "s", "#D55E00")
    axes.set(xlim=(0.2, 1.0), xlabel="chance that the harmful\ncell looks worse")
    axes.set_title("(b) Harmful against\nharmless cells", loc="left")
    axes.text(0.51, rows[0] - 0.66, "guess", color="0.35", va="center")
    handles: list[Any] = [
        Line2D([], [], linestyle="none", marker="o", color="#0072B2", label="by the alarm's statistic"),
        Line2D([], [], linestyle="none", label="by the last value", **_hollow("s", "#D55E00")),
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=1)


def _draw_correlations(axes: Axes, chosen: xr.Dataset, rows: np.ndarray) -> None:
    """Rank correlations with forgetting: over the checkpoints of a cell, and over transfers at the last one."""
    scored = (chosen["outcome"] < 2).values
    along = chosen["cell_correlation"].values[:, scored]
    axes.axvline(0, color="0.6", linewidth=1, linestyle="--")
    low, high = np.quantile(along, (0.25, 0.75), axis=1) if scored.any() else np.full((2, len(rows)), np.nan)
    axes.barh(rows, high - low, left=low, height=0.5, color="#BFDDF0", linewidth=0)
    _points(axes, rows, chosen["correlation_along"], "o", "#0072B2")
    _points(axes, rows, chosen["correlation_across"].sel(stage="last"), "s", "#D55E00")
    axes.set(xlim=(-1, 1), xlabel="rank correlation")
    axes.set_title("(c) Reading against forgetting", loc="left")
    handles: list[Any] = [
        Line2D([], [], linestyle="none", marker="o", color="#0072B2", label="along a run (bar: middle half)"),
        Line2D([], [], linestyle="none", label="across transfers, at the end", **_hollow("s", "#D55E00")),
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.45, -0.16), handlelength=1)


def _points(axes: Axes, rows: np.ndarray, score: xr.DataArray, marker: str, color: str) -> None:
    """Estimates with their intervals."""
    middle, low, high = (score.sel(statistic=name).values for name in ("estimate", "low", "high"))
    axes.hlines(rows, low, high, color=color, linewidth=1.4, zorder=3, clip_on=False)
    look: dict[str, Any] = {"marker": marker, "color": color} if marker == "o" else _hollow(marker, color)
    axes.plot(middle, rows, linestyle="none", zorder=4, clip_on=False, **look)


def _hollow(marker: str, color: str) -> dict[str, Any]:
    return {"marker": marker, **drawing.hollow(5, color)}


picture = Picture("monitors", __doc__, "scores of monitors", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
