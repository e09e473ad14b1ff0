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
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray

from . import drawing
from .cells import Cells, crossings, levels_of, log_harm, thinned
from .drawing import MARKERS, Floats, Scale, hollow

_SYMBOLS = {
    "product_penalty": r"product penalty strength $\lambda$",
    "weight_penalty": r"weight penalty strength $\mu$",
    "weight_decay": r"weight decay strength $\beta$",
}
_LEVEL_LINES = ("-", "--", ":")
_MANY_CELLS = 2500  # from here on the SVG holds the map as an image
SMALL_GRID = 5  # up to this many rates and strengths, harm is written into the cells instead of contoured
_HALO: list[AbstractPathEffect] = [withStroke(linewidth=3.2, foreground="white")]


def draw_map(axes: Axes, dataset: xr.Dataset, cells: Cells, chosen: Sequence[tuple[int, int]]) -> list[Any]:
    """Inflection budget as colour, harm as contours or numbers; returns what the legend explains.

    Args:
      axes: where to draw; gets a colour bar.
      dataset: an overtraining chart.
      cells: the same, reduced to its cells.
      chosen: cells (rate, strength) to number.
    """
    rates, strengths = drawing.scale(dataset["learning_rate"].values), drawing.scale(dataset["regularization"].values)
    axes.set_xlabel(f"fine-tuning learning rate $\\eta$ ({dataset['learning_rate'].attrs.get('units', '')})")
    axes.set_ylabel(_SYMBOLS.get(dataset.attrs.get("regularizer", ""), "regularisation strength"))
    axes.spines[:].set_visible(False)
    handles = _fill_cells(axes, cells, rates, strengths, float(dataset["pretrain_steps"][0]))
    title = "(a) Inflection budget and harm"
    heights = strengths.centres
    if max(cells.harm.shape) <= SMALL_GRID:
        heights = 0.22 * strengths.low + 0.78 * strengths.high
        _write_harm(axes, cells, rates, strengths)
        title += "" if cells.predicted is None else " (closed form)"
    else:
        handles += _draw_levels(axes, cells, rates, strengths)
    seeds = dataset.sizes["seed"]
    axes.set_title(title if seeds == 1 else f"{title}, median of {seeds} seeds")
    drawing.label_scale(axes.xaxis, rates, dataset["learning_rate"].values)
    drawing.label_scale(axes.yaxis, strengths, dataset["regularization"].values)
    for number, (i, j) in enumerate(chosen, 1):
        drawing.number_mark(axes, rates.centres[i], heights[j], str(number))
    return handles


def _fill_cells(axes: Axes, cells: Cells, rates: Scale, strengths: Scale, first_budget: float) -> list[Any]:
    """Colours, hatches and the colour bar."""
    turns = cells.inflection[~np.isnan(cells.inflection)]
    if len(turns):
        norm = _budget_norm(turns)
        first = int(strengths.has_zero)
        bands = [(slice(first, None), strengths.edges)] if len(strengths.edges) else []
        bands += [(slice(0, 1), np.array([strengths.low[0], strengths.high[0]]))] if first else []
        for band, edges in bands:
            budgets = cells.inflection[:, band].T
            mesh = axes.pcolormesh(rates.edges, edges, budgets, norm=norm, rasterized=turns.size > _MANY_CELLS)
        _add_colour_bar(axes, mesh, first_budget)
    handles: list[Any] = []
    looks: list[tuple[str, NDArray[np.bool_], dict[str, Any]]] = [
        ("never turns", cells.never_turns, {"facecolor": "white", "edgecolor": "0.5", "hatch": "////"}),
        ("some runs diverged", cells.some_diverged, {"facecolor": "none", "edgecolor": "white", "hatch": "xxxx"}),
        ("all runs diverged", cells.all_diverged, {"facecolor": "0.2", "edgecolor": "0.8", "hatch": "..."}),
    ]
    for name, where, look in looks:
        if where.any():
            drawing.hatch_cells(axes, where, rates, strengths, **look)
            if look["edgecolor"] == "white":  # which does not show on cells that never turn
                drawing.hatch_cells(axes, where & cells.never_turns, rates, strengths, **look | {"edgecolor": "0.5"})
            shown = look | ({"facecolor": "0.5"} if look["facecolor"] == "none" else {})
            handles.append(Patch(label=name, linewidth=0, **shown))
    return handles


def _add_colour_bar(axes: Axes, mesh: Any, first_budget: float) -> None:
    bar: Any = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=28)
    bar.set_label("inflection budget (pre-training steps)")
    bar.outline.set_visible(False)
    low, high = mesh.norm.vmin, mesh.norm.vmax
    ticks = drawing.one_two_five(low, high)
    labels = [drawing.grouped(tick) for tick in ticks]
    if low <= first_budget:
        # Such curves rise from the first budget on: their smallest loss may lie before it.
        ticks = [tick for tick in ticks if tick > 1.3 * first_budget]
        labels = ["≤ " + drawing.grouped(first_budget), *(drawing.grouped(tick) for tick in ticks)]
        ticks = [first_budget, *ticks]
    bar.set_ticks(ticks, labels=labels)
    bar.ax.minorticks_off()


def _budget_norm(turns: Floats) -> LogNorm:
    """Colours over the budgets that occur, and over a factor of four at least."""
    low, high = float(turns.min()), float(turns.max())
    widen = max(1.0, 2 / np.sqrt(high / low))
    return LogNorm(low / widen, high * widen)


def _write_harm(axes: Axes, cells: Cells, rates: Scale, strengths: Scale) -> None:
    """Harm in words, for charts too small for contours."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "alpha": 0.85, "linewidth": 0}
    for (i, j), harm in np.ndenumerate(cells.harm):
        if not np.isnan(harm):
            text = drawing.rise(float(harm))
            if cells.predicted is not None:
                text += f"\n({drawing.rise(float(cells.predicted[i, j]))})"
            place = (float(rates.centres[i]), float(strengths.low[j] + 0.3 * (strengths.high[j] - strengths.low[j])))
            axes.text(*place, text, ha="center", va="center", fontsize=8, bbox=box, zorder=8)


def _draw_levels(axes: Axes, cells: Cells, rates: Scale, strengths: Scale) -> list[Any]:
    """Harm contours: closed form as lines, simulation as markers where neighbouring cells straddle the level.

    Without a closed form the markers are joined by thin lines.
    """
    handles: list[Any] = []
    size = (np.ptp(rates.limits), np.ptp(strengths.limits))
    lines, width = (cells.harm, 0.8) if cells.predicted is None else (cells.predicted, 1.5)
    for level, marker, line in zip(levels_of(cells), MARKERS, _LEVEL_LINES, strict=False):
        look: dict[str, Any] = {"color": "black", "linestyle": line, "linewidth": width}
        _draw_contour(axes, lines, level, rates, strengths, look)
        if cells.predicted is not None:
            _draw_strokes(axes, lines, level, rates, strengths, look)
        points = thinned(crossings(cells.harm, level, rates, strengths), size, 0.028)
        if len(points):
            axes.plot(*points.T, linestyle="none", marker=marker, **hollow(5, "black"), clip_on=False)
        shown = look | {"marker": marker} | hollow(5, "black")
        handles.append(Line2D([], [], label=f"harm {drawing.rise(level)}", **shown))
    return handles


def _draw_contour(axes: Axes, harm: Floats, level: float, rates: Scale, strengths: Scale, look: dict[str, Any]) -> None:
    """A contour, where there are rows and columns to draw it in."""
    first = int(strengths.has_zero)
    inner = log_harm(harm)[:, first:]
    known = inner[np.isfinite(inner)]
    if min(inner.shape) >= 2 and known.size and known.min() < np.log10(level) < known.max():
        place, several = (rates.centres, strengths.centres[first:]), {f"{name}s": value for name, value in look.items()}
        axes.contour(*place, inner.T, [np.log10(level)], **several).set_path_effects(_HALO)


def _draw_strokes(axes: Axes, harm: Floats, level: float, rates: Scale, strengths: Scale, look: dict[str, Any]) -> None:
    """Strokes across a row or a column on its own, where a contour cannot be."""
    look = look | {"path_effects": _HALO, "solid_capstyle": "butt"}
    if strengths.has_zero or harm.shape[1] == 1:
        row = Scale(strengths.centres[:1], strengths.low[:1], strengths.high[:1], False)
        for x, _ in crossings(harm[:, :1], level, rates, row):
            axes.plot([x, x], [row.low[0], row.high[0]], **look)
    if harm.shape[0] == 1:
        for _, y in crossings(harm, level, rates, strengths):
            axes.plot(rates.limits, [y, y], **look)
