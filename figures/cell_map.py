"""The map over fine-tuning rate and strength: inflection budget as colour, harm as contours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .cells import Cells
from .panels.axes import between
from .panels.looks import hollow, number_mark
from .panels.maps import Scale, contour, crossings, hatch, heat, label_scale, scale, thinned
from .panels.words import grouped, rise, says

_SYMBOLS = {"product_penalty": r"\lambda", "weight_penalty": r"\mu", "weight_decay": r"\beta"}
_LEVELS = tuple(zip("o^s", ("-", "--", ":"), strict=True))
_MANY_CELLS = 2500  # from here on the SVG holds the map as an image
SMALL_GRID = 5  # up to this many rates and strengths, harm is written into the cells instead of contoured


def draw_map(axes: Axes, dataset: xr.Dataset, cells: Cells, chosen: Sequence[tuple[int, int]]) -> list[Any]:
    """Inflection budget as colour, harm as contours or numbers; returns what the legend explains.

    Args:
      axes: where to draw; gets a colour bar.
      dataset: an overtraining chart.
      cells: the same, reduced to its cells.
      chosen: cells (rate, strength) to number.
    """
    rates, strengths = scale(dataset["learning_rate"].values), scale(dataset["regularization"].values)
    small, seeds = max(cells.harm.shape) <= SMALL_GRID, dataset.sizes["seed"]
    handles = _fill(axes, cells, rates, strengths, float(dataset["pretrain_steps"][0]))
    if small:
        _write_harm(axes, cells, rates, strengths)
    else:
        handles += _draw_levels(axes, cells, rates, strengths)
    handles += _mark_finetuning(axes, cells, rates, strengths)
    told = " (closed form)" * (small and cells.predicted is not None) + f", median of {seeds} seeds" * (seeds > 1)
    axes.set_title(f"(a) Inflection budget and harm{told}")
    axes.set_xlabel(says(dataset["learning_rate"]).replace("learning rate", r"learning rate $\eta$"))
    name = dataset.attrs.get("regularizer", "")
    symbol = f" ${_SYMBOLS[name]}$" if name in _SYMBOLS else ""
    axes.set_ylabel(f"{name.replace('_', ' ') or 'regularisation'} strength{symbol}")
    axes.spines[:].set_visible(False)
    label_scale(axes.xaxis, rates, dataset["learning_rate"].values)
    label_scale(axes.yaxis, strengths, dataset["regularization"].values)
    heights = 0.22 * strengths.low + 0.78 * strengths.high if small else strengths.centres
    for number, (i, j) in enumerate(chosen, 1):
        number_mark(axes, rates.centres[i], heights[j], str(number))
    return handles


def _fill(axes: Axes, cells: Cells, rates: Scale, strengths: Scale, first_budget: float) -> list[Any]:
    """Colours, the colour bar and hatches."""
    turns = cells.inflection[~np.isnan(cells.inflection)]
    if len(turns):
        low, high = float(turns.min()), float(turns.max())
        widen = max(1.0, 2 / np.sqrt(high / low))  # colours over a factor of four at least
        norm, many = LogNorm(low / widen, high * widen), turns.size > _MANY_CELLS
        mesh = heat(axes, cells.inflection, rates, strengths, norm=norm, rasterized=many)
        _add_colour_bar(axes, mesh, first_budget)
    handles: list[Any] = []
    looks: list[tuple[str, Any, dict[str, Any]]] = [
        ("never turns", cells.never_turns, {"facecolor": "white", "edgecolor": "0.5", "hatch": "////"}),
        ("some runs diverged", cells.some_diverged, {"facecolor": "none", "edgecolor": "white", "hatch": "xxxx"}),
        ("some runs unstable", cells.unstable, {"facecolor": "none", "edgecolor": "white", "hatch": r"\\\\"}),
        ("all runs diverged", cells.all_diverged, {"facecolor": "0.2", "edgecolor": "0.8", "hatch": "..."}),
    ]
    for name, where, look in looks:
        if where.any():
            hatch(axes, where, rates, strengths, **look)
            if look["edgecolor"] == "white":  # which does not show on cells without a colour
                hatch(axes, where & np.isnan(cells.inflection), rates, strengths, **look | {"edgecolor": "0.5"})
            shown = look | ({"facecolor": "0.5"} if look["facecolor"] == "none" else {})
            handles.append(Patch(label=name, linewidth=0, **shown))
    return handles


def _mark_finetuning(axes: Axes, cells: Cells, rates: Scale, strengths: Scale) -> list[Any]:
    """A small diamond in every cell where the loss on the fine-tuning task turns as well."""
    if not cells.finetune_turns.any():
        return []
    rows, columns = np.nonzero(cells.finetune_turns)
    look: dict[str, Any] = {"linestyle": "none", "marker": "D", "markersize": 3.5, "color": "black"}
    axes.plot(rates.centres[rows], strengths.centres[columns], **look | {"markeredgecolor": "white"})
    return [Line2D([], [], label="fine-tuning loss turns too", **look)]


def _add_colour_bar(axes: Axes, mesh: Any, first_budget: float) -> None:
    bar: Any = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=28)
    bar.set_label("inflection budget (pre-training steps)")
    bar.outline.set_visible(False)
    low, high = mesh.norm.vmin, mesh.norm.vmax
    ticks, labels = between(low, high), [grouped(tick) for tick in between(low, high)]
    if low <= first_budget:
        # Such curves rise from the first budget on: their smallest loss may lie before it.
        later = between(1.3 * first_budget, high)
        ticks, labels = [first_budget, *later], [f"≤ {grouped(first_budget)}", *map(grouped, later)]
    bar.set_ticks(ticks, labels=labels)
    bar.ax.minorticks_off()


def _write_harm(axes: Axes, cells: Cells, rates: Scale, strengths: Scale) -> None:
    """Harm in words, for charts too small for contours."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "alpha": 0.85, "linewidth": 0}
    for (i, j), harm in np.ndenumerate(cells.harm):
        if not np.isnan(harm):
            predicted = "" if cells.predicted is None else f"\n({rise(float(cells.predicted[i, j]))})"
            x, y = float(rates.centres[i]), float(0.7 * strengths.low[j] + 0.3 * strengths.high[j])
            said = rise(float(harm)) + predicted
            axes.text(x, y, said, ha="center", va="center", fontsize=8, bbox=box, zorder=8)


def _draw_levels(axes: Axes, cells: Cells, rates: Scale, strengths: Scale) -> list[Any]:
    """Harm contours: closed form as lines, simulation as markers where neighbouring cells straddle the level.

    Without a closed form the markers are joined by thin lines.
    """
    handles: list[Any] = []
    lines, width = (cells.harm, 0.8) if cells.predicted is None else (cells.predicted, 1.5)
    for level, (marker, line) in zip(cells.levels, _LEVELS, strict=False):
        path: dict[str, Any] = {"color": "black", "linestyle": line, "linewidth": width}
        contour(axes, lines, level, rates, strengths, **path)
        points = thinned(crossings(cells.harm, level, rates, strengths), rates, strengths, 0.028)
        if len(points):
            axes.plot(*points.T, linestyle="none", marker=marker, clip_on=False, **hollow(5, "black"))
        handles.append(Line2D([], [], label=f"harm {rise(level)}", **path | {"marker": marker} | hollow(5, "black")))
    return handles
