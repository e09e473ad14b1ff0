"""Curves of simulated runs and of theory, told apart without colour: hollow markers are simulated, lines are theory."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .cells import median, spread
from .drawing import Floats, hollow

MARKERS = "os^DvPX<>p"
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MOST_POINTS = 25  # markers on a curve, so that the line below them shows


def looks(count: int, ordered: bool = False) -> list[dict[str, Any]]:
    """Colour, marker and line style of each of several curves.

    Args:
      count: how many.
      ordered: they stand for increasing values: dark to light, so that the order survives in grey. Otherwise the
        colours are those of the style.
    """
    if ordered:
        colors = [to_hex(color) for color in matplotlib.colormaps["viridis"](np.linspace(0.0, 0.82, count))]
    else:
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        colors = [cycle[at % len(cycle)] for at in range(count)]
    return [
        {"color": colors[at], "marker": MARKERS[at % len(MARKERS)], "linestyle": LINES[at % len(LINES)]}
        for at in range(count)
    ]


def draw_simulated(
    axes: Axes, x: Floats, runs: Floats, look: dict[str, Any], *, joined: bool = False, label: str | None = None
) -> None:
    """Medians over seeds as hollow markers, and the whole range as a band.

    Args:
      axes: where to draw.
      x: shape (points,).
      runs: shape (points, seeds); NaN where a run has no value.
      look: from `looks`; its line style is used where joined.
      joined: also join the markers, where there is no theory to do so.
      label: for a legend.
    """
    color, marker = look["color"], look["marker"]
    if runs.shape[1] > 1:
        axes.fill_between(x, *spread(runs), color=color, alpha=0.22, linewidth=0)
    every = -(-len(x) // _MOST_POINTS)
    line = look["linestyle"] if joined else "none"
    points: dict[str, Any] = {"marker": marker, "linestyle": line, "linewidth": 0.9, "color": color, "zorder": 4}
    axes.plot(x, median(runs), markevery=every, label=label, **points | hollow(4.5, color))


def draw_theory(axes: Axes, x: Floats, values: Floats, look: dict[str, Any], label: str | None = None) -> None:
    """A closed form as a line; values may have a last axis of seeds, whose median is drawn."""
    middle = median(values) if values.ndim == 2 else values
    axes.plot(x, middle, color=look["color"], linestyle=look["linestyle"], zorder=3, label=label)


def mark_turns(axes: Axes, x: Floats, y: Floats, color: str) -> None:
    """A star at every inflection point that there is."""
    star: dict[str, Any] = {"marker": "*", "markersize": 12, "markeredgecolor": "black", "linestyle": "none"}
    known = np.isfinite(x) & np.isfinite(y)
    axes.plot(x[known], y[known], color=color, zorder=6, **star)


def heights(budgets: Floats, curve: Floats, steps: Floats) -> Floats:
    """Where a curve is at the given budgets, between those it is known at, straight in both logarithms."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.interp(np.log(steps), np.log(budgets), np.log(curve))))


def explain(
    seeds: int, *, theory: str | None = "closed form", turns: bool = False, simulated: str = "simulation"
) -> list[Any]:
    """Legend entries for the kinds of things drawn: simulation, its range over seeds, theory, inflection points."""
    gray: dict[str, Any] = {"color": "0.35", "marker": "o", "linestyle": "none"}
    entries: list[Any] = [
        Line2D([], [], label=simulated + (" (median)" if seeds > 1 else ""), **gray | hollow(4.5, "0.35"))
    ]
    if seeds > 1:
        entries.append(Patch(color="0.8", label=f"range of {seeds} seeds"))
    if theory is not None:
        entries.append(Line2D([], [], color="0.35", label=theory))
    if turns:
        star: dict[str, Any] = {"marker": "*", "markersize": 11, "color": "0.6", "markeredgecolor": "black"}
        entries.append(Line2D([], [], linestyle="none", label="inflection point", **star))
    return entries
