"""Harm along every axis of a sweep, over all others.

Usage: python -m figures.sweep [--data results/sweep] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import string
import sys
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from . import drawing
from .picture import Picture

_NEEDED = {"axis", "quantile", "harm", "harm_moved", "seed", "pretrain_steps"}
_MOST_PANELS = 6
_PHASES = ("pre-training", "fine-tuning")
_LEAST, _NEGLIGIBLE = 1e-3, 0.01  # the smallest harm on an axis, and that which is called none
_LOWEST, _QUARTER, _MEDIAN, _THREE_QUARTERS, _HIGHEST = range(5)  # quantiles
_COLOR = "#0072B2"


def _paint(dataset: xr.Dataset) -> Figure:
    """A panel for every axis, or for the six that move harm most."""
    shown = _shown(dataset)
    across = {1: 1, 2: 2, 4: 2}.get(len(shown), 3)
    down = -(-len(shown) // across)
    figure = drawing.new_figure(9.6 if across == 3 else 4.3 * across + 0.4, 3.1 * down + 0.9)
    grid: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    top = _top(dataset, shown)
    for letter, axes, axis in zip(string.ascii_lowercase, grid.flat, shown, strict=False):
        _draw(axes, dataset, axis, letter, top)
    for row in grid:
        row[0].set_ylabel("harm of the longest budget")
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    columns = 4 if across > 1 else 1
    figure.legend(
        handles=_key(dataset), title=_hidden(dataset), loc="outside lower center", ncols=columns, fontsize=8.5
    )
    return figure


def _shown(dataset: xr.Dataset) -> list[str]:
    names = [str(name) for name in dataset["axis"].values]
    moves = np.nan_to_num(dataset["harm_moved"].values, nan=-1.0)
    kept = np.sort(np.argsort(-moves, kind="stable")[:_MOST_PANELS])
    return [names[at] for at in kept]


def _hidden(dataset: xr.Dataset) -> str | None:
    """How many axes have no panel."""
    hidden = dataset.sizes["axis"] - _MOST_PANELS
    return f"not shown: {hidden} that move{'s' if hidden == 1 else ''} it less" if hidden > 0 else None


def _draw(axes: Axes, dataset: xr.Dataset, axis: str, letter: str, top: float) -> None:
    """Median, middle half and range of harm at every value of an axis."""
    along = dataset[f"harm_along_{axis}"].values
    values = np.asarray(dataset[axis].values, np.float64)
    finite = np.where(np.isinf(along), top, np.maximum(along, _LEAST))  # NaN, where every run diverged, stays
    for low, high, alpha in ((_LOWEST, _HIGHEST, 0.15), (_QUARTER, _THREE_QUARTERS, 0.30)):
        if len(values) > 1:
            axes.fill_between(values, finite[:, low], finite[:, high], color=_COLOR, linewidth=0, alpha=alpha)
        else:
            axes.vlines(values, finite[:, low], finite[:, high], color=_COLOR, linewidth=12, alpha=alpha)
    median, lost = finite[:, _MEDIAN], ~np.isfinite(along[:, _MEDIAN])
    look: dict[str, Any] = {"color": _COLOR, "zorder": 4, "linewidth": 0.9, "marker": "o"}
    axes.plot(values, np.where(lost, np.nan, median), label="median", **look | drawing.hollow(5, _COLOR))
    axes.plot(values[lost], np.full(np.count_nonzero(lost), top), "kx", zorder=5)
    name, _, _ = str(dataset[axis].attrs["long_name"]).partition(",")
    phase, _, rest = name.partition(" ")
    of_phase, units = phase in _PHASES and bool(rest), str(dataset[axis].attrs.get("units", "1"))
    axes.set_title(f"({letter}) {phase}: {rest}" if of_phase else f"({letter}) {name}")
    told = rest if of_phase else name
    axes.set_xlabel(told if units == "1" else f"{told} ({units})")
    _horizontal(axes, values)
    axes.set(yscale="log", ylim=(_LEAST / 1.5, top * 1.5))
    _label_harm(axes, top)


def _horizontal(axes: Axes, values: drawing.Floats) -> None:
    """Logarithmic for values spaced in the logarithm, with a linear piece for 0; else linear."""
    positive = values[values > 0]
    if not _spaced_in_log(positive):
        axes.margins(x=0.06)
        if len(values) == 1:
            axes.set_xticks(values, [drawing.short(float(values[0]))])
        return
    if len(positive) < len(values):
        axes.set_xscale("symlog", linthresh=float(positive[0]), linscale=0.4)
        powers = 10.0 ** np.arange(np.ceil(np.log10(positive[0])), np.floor(np.log10(positive[-1])) + 1)
        ticks = powers[powers < 0.6 * positive[-1]] if len(powers) > 1 else positive[:1]
        ticks = np.append(ticks, positive[-1])
        axes.set_xticks([0.0, *ticks], ["0", *(drawing.short(float(tick)) for tick in ticks)])
        axes.set_xlim(-0.25 * float(positive[0]), float(positive[-1]) * 1.15)
        return
    axes.set_xscale("log")
    drawing.label_logarithmic(axes.xaxis, (float(values[0]) / 1.15, float(values[-1]) * 1.15))


def _spaced_in_log(positive: drawing.Floats) -> bool:
    """Steps of one factor, or an order of magnitude and more."""
    if len(positive) < 2:
        return False
    factors = positive[1:] / positive[:-1]
    return bool(positive[-1] >= 10 * positive[0] or (len(factors) > 1 and np.ptp(factors) < 0.01 * factors[0]))


def _top(dataset: xr.Dataset, shown: list[str]) -> float:
    """The largest finite harm of any panel, and room above it for what diverged."""
    values = np.concatenate([dataset[f"harm_along_{axis}"].values.ravel() for axis in shown])
    highest = float(np.max(values[np.isfinite(values)], initial=1.0))
    return highest * (3.0 if not np.isfinite(values).all() else 1.0)


def _label_harm(axes: Axes, top: float) -> None:
    """Powers of ten in percent, at most seven."""
    powers = np.arange(-3, int(np.floor(np.log10(top))) + 1)
    powers = powers[:: -(-len(powers) // 7)]
    labels = [
        "≤0.1 %"
        if power == -3
        else f"{drawing.grouped(100 * 10.0**power)} %"
        if power < 3
        else f"$10^{{{power + 2}}}$ %"
        for power in powers
    ]
    axes.set_yticks(10.0**powers, labels)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _key(dataset: xr.Dataset) -> list[Any]:
    """What is drawn."""
    over = "over all other axes" + (f" and {dataset.sizes['seed']} seeds" if dataset.sizes["seed"] > 1 else "")
    dot: dict[str, Any] = {"color": _COLOR, "marker": "o", "linewidth": 0.9}
    entries: list[Any] = [
        Line2D([], [], label=f"simulation, median {over}", **dot | drawing.hollow(5, _COLOR)),
        Patch(color=_COLOR, alpha=0.42, label="middle half"),
        Patch(color=_COLOR, alpha=0.15, label="whole range"),
    ]
    if not all(np.isfinite(dataset[f"harm_along_{axis}"].values[:, _MEDIAN]).all() for axis in _shown(dataset)):
        entries.append(Line2D([], [], color="black", marker="x", linestyle="none", label="diverged"))
    return entries


picture = Picture("sweep", __doc__, "a result of sweep", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
