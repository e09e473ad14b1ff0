"""What every monitor says along the checkpoints of a training run, and where the alarm rings."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from linsim.errors import require

from .panels.axes import Floats, along, decades
from .panels.canvas import new_figure
from .picture import Picture

_TITLES = {
    "fisher": "Fisher trace",
    "gauss_newton": "Gauss-Newton trace",
    "empirical_fisher": "empirical Fisher trace",
    "gradient_square": "squared mean gradient",
    "hessian_trace": "Hessian trace",
    "noise_increase": "loss rise under noise",
    "top_eigenvalue": "largest Hessian eigenvalue",
}
_PLAIN, _HEARD, _RINGS = "#0072B2", "#000000", "#D55E00"
_DECADES = 0.2  # height of the lowest logarithmic axis: less is noise blown up


def _paint(dataset: xr.Dataset) -> Figure:
    """One panel a measure, over the budget."""
    measures = [str(name) for name in dataset.data_vars if f"{name}_error" in dataset and dataset[name].ndim == 1]
    measures.sort(key=lambda name: [*_TITLES, name].index(name))  # a stored result has lost the order
    require(len(measures) > 0, "dataset", "no measure with its error", "a record of monitors")
    heard, rings = dataset.attrs.get("alarm_on", ""), dataset["alarm_rings"].values.astype(bool)
    columns = len(measures) if len(measures) < 4 else 2 if len(measures) == 4 else 3
    rows = -(-len(measures) // columns)
    figure = new_figure(max(3.3 * columns, 5.6), 2.15 * rows + 1.15)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for letter, axes, name in zip(string.ascii_lowercase, grid.flat, measures, strict=False):
        _draw(axes, dataset[name], dataset[f"{name}_error"], dataset["pretrain_steps"].values[rings], name == heard)
        axes.set_title(f"({letter}) {_title(name)}", weight="bold" if name == heard else "normal")
    for axes in grid.flat[: len(measures) - columns]:
        axes.set_xlabel("")
    for axes in grid.flat[len(measures) - columns : len(measures)]:
        axes.tick_params(labelbottom=True)
    for axes in grid.flat[len(measures) :]:
        axes.set_visible(False)
    figure.legend(handles=_explain(heard, bool(rings.any())), loc="outside lower left", ncols=4 if columns == 3 else 2)
    return figure


def _draw(axes: Axes, values: xr.DataArray, errors: xr.DataArray, rings: Floats, heard: bool) -> None:
    """Values joined, a band of one standard error, logarithmic where all are positive; where the alarm rings."""
    color = _HEARD if heard else _PLAIN
    known, budgets = values.notnull().values, values["pretrain_steps"]
    low, high = values - errors.fillna(0.0), values + errors.fillna(0.0)
    if known.any() and (values[known] > 0).all():
        low = low.where(low > values / 10, values / 10)  # a band through 0 has no bottom
        axes.set_yscale("log")
        bottom, top = np.log10([low[known].min(), high[known].max()])
        room = max(_DECADES - (top - bottom), 0.08 * (top - bottom)) / 2
        decades(axes.yaxis, 10 ** (bottom - room), 10 ** (top + room))
    axes.fill_between(budgets, low, high, color=color, alpha=0.25, linewidth=0)
    axes.plot(budgets, values, color=color, marker="o", zorder=3)
    along(axes, budgets)
    if len(rings):
        axes.axvline(rings[0], color=_RINGS, linestyle="--", linewidth=1.2, zorder=2)
    if heard and len(rings):  # an empty artist that is not clipped would cover the whole figure
        top_edge: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(rings, np.ones(len(rings)), "v", color=_RINGS, **top_edge)


def _explain(heard: str, rung: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=_HEARD, marker="o", label=f"{_title(heard)}, which the alarm listens to"),
        Patch(color="0.75", label="± standard error"),
    ]
    if rung:
        handles += [
            Line2D([], [], color=_RINGS, linestyle="--", label="first ring"),
            Line2D([], [], color=_RINGS, marker="v", linestyle="none", label="rings"),
        ]
    return handles


def _title(measure: str) -> str:
    return _TITLES.get(measure, measure.replace("_", " "))


picture = Picture("watch", "a record of monitors", ("pretrain_steps", "alarm_rings"), _paint)
draw, save = picture.draw, picture.save
