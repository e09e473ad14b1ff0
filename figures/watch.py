"""What every monitor says along the checkpoints of a training run, and where the alarm rings.

Usage: python -m figures.watch [--data results/watch] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from linsim.errors import require

from . import drawing
from .drawing import Floats
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
    measures = [str(name) for name in dataset.data_vars if f"{name}_error" in dataset.variables]
    measures.sort(key=lambda name: [*_TITLES, name].index(name))  # a stored result has lost the order
    require(len(measures) > 0, "dataset", "no measure with its error", "a record of monitors")
    heard = dataset.attrs.get("alarm_on", "")
    columns = len(measures) if len(measures) < 4 else 2 if len(measures) == 4 else 3
    rows = -(-len(measures) // columns)
    figure = drawing.new_figure(max(3.3 * columns, 5.6), 2.15 * rows + 1.15)
    figure.suptitle(f"{_title(heard)}: the alarm {_spaced(dataset.attrs.get('alarm', ''))}", x=0.012, ha="left")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    budgets = dataset["pretrain_steps"].values.astype(np.float64)
    rings = budgets[dataset["alarm_rings"].values.astype(bool)]
    for place, name in enumerate(measures):
        axes = grid.flat[place]
        _draw_measure(axes, budgets, dataset[name].values, dataset[f"{name}_error"].values, name == heard)
        _mark(axes, rings, name == heard)
        axes.set_title(f"({chr(ord('a') + place)}) {_title(name)}", weight="bold" if name == heard else "normal")
        if place + columns >= len(measures):
            axes.tick_params(labelbottom=True)
        if place >= columns * (rows - 1):
            axes.set_xlabel("pre-training budget (steps)")
    for axes in grid.flat[len(measures) :]:
        axes.set_visible(False)
    drawing.label_logarithmic(grid.flat[0].xaxis, (budgets[0] / 1.12, budgets[-1] * 1.12))
    figure.legend(handles=_explain(heard, rings), loc="outside lower left", ncols=4 if columns == 3 else 2)
    return figure


def _draw_measure(axes: Axes, budgets: Floats, values: Floats, errors: Floats, heard: bool) -> None:
    """Values joined, a band of one standard error; logarithmic where all of them are positive."""
    color = _HEARD if heard else _PLAIN
    axes.set_xscale("log")
    low, high = values - np.nan_to_num(errors), values + np.nan_to_num(errors)
    known = np.isfinite(values)
    if known.any() and np.all(values[known] > 0):
        axes.set_yscale("log")
        low = np.maximum(low, values / 10)  # a band through 0 has no bottom
        bottom, top = np.log10([low[known].min(), high[known].max()])
        room = max(_DECADES - (top - bottom), 0.08 * (top - bottom)) / 2
        _label_decades(axes, float(10 ** (bottom - room)), float(10 ** (top + room)))
    axes.fill_between(budgets, low, high, color=color, alpha=0.25, linewidth=0)
    axes.plot(budgets, values, color=color, marker="o", zorder=3)


def _label_decades(axes: Axes, low: float, high: float) -> None:
    """Ticks at powers of ten, or at two or three values between them."""
    axes.set_ylim(low, high)
    if np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 1:
        ticks = drawing.one_two_five(low, high)
        if len(ticks) < 2:
            between = np.asarray(MaxNLocator(4).tick_values(low, high))
            ticks = [float(tick) for tick in between[(between > low) & (between < high)]]
        axes.set_yticks(ticks, labels=[_full(tick) for tick in ticks])
        axes.yaxis.set_minor_formatter(NullFormatter())


def _full(value: float) -> str:
    """A tick label with all the digits it needs."""
    mantissa, power = f"{value:.3e}".split("e")
    if -2 <= int(power) <= 3:
        return f"{value:.6g}"
    return f"${float(mantissa):g}\\times10^{{{int(power)}}}$"


def _mark(axes: Axes, rings: Floats, heard: bool) -> None:
    """Where the alarm rings first, and at which checkpoints besides."""
    if len(rings):
        axes.axvline(rings[0], color=_RINGS, linestyle="--", linewidth=1.2, zorder=2)
        if heard:
            axes.plot(
                rings, np.full(len(rings), 1.0), "v", color=_RINGS, transform=axes.get_xaxis_transform(), clip_on=False
            )


def _explain(heard: str, rings: Floats) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=_HEARD, marker="o", label=f"{_title(heard)}, which the alarm listens to"),
        Patch(color="0.75", label="± standard error"),
    ]
    if len(rings):
        handles += [
            Line2D([], [], color=_RINGS, linestyle="--", label="first ring"),
            Line2D([], [], color=_RINGS, marker="v", linestyle="none", label="rings"),
        ]
    return handles


def _title(measure: str) -> str:
    return _TITLES.get(measure, measure.replace("_", " "))


def _spaced(verdict: str) -> str:
    """Thousands apart as in all figures."""
    return verdict.replace(",", "\N{THIN SPACE}")


picture = Picture("watch", __doc__, "a record of monitors", ("pretrain_steps", "alarm_rings"), _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
