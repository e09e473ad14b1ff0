"""How things are told apart, even without colour: hollow markers are simulated, lines are theory, stars are turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

MARKERS = "os^DvPX<>p"
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

GREY = "0.35"
REFERENCE: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "zorder": 0}
"""A level or place that curves are held against."""
BEFORE: dict[str, Any] = {"color": "0.6", "linewidth": 1.0, "zorder": 1}
"""What there was before fine-tuning."""
OTHERWISE: dict[str, Any] = {"color": "0.45", "linestyle": (0, (1, 1)), "linewidth": 1.6}
"""A curve under other conditions than those of its panel."""
STAR: dict[str, Any] = {"marker": "*", "markersize": 12, "markeredgecolor": "black", "linestyle": "none", "zorder": 6}
"""A turn."""


class Look(NamedTuple):
    """The look of one of several things."""

    color: Any
    marker: str = "o"
    """Empty where there is none."""
    line: Any = "-"
    size: float = 4.5

    @property
    def points(self) -> dict[str, Any]:
        """Of simulated values: markers alone, which a line below them cannot be taken for."""
        plain = {"color": self.color, "marker": self.marker, "linestyle": "none", "zorder": 4}
        return plain | hollow(self.size, self.color) if self.marker else plain

    @property
    def joined(self) -> dict[str, Any]:
        """Of simulated values that no theory joins."""
        return self.points | {"linestyle": self.line, "linewidth": 0.9}

    @property
    def path(self) -> dict[str, Any]:
        """Of theory."""
        return {"color": self.color, "linestyle": self.line, "zorder": 3}

    def entry(self, label: str) -> Line2D:
        """In a legend: marker and line."""
        return Line2D([], [], label=label, **self.points | self.path)


def looks(count: int, ordered: bool = False, solid: bool = False, sizes: Sequence[float] = ()) -> list[Look]:
    """One look for each of several things.

    Args:
      count: how many.
      ordered: they stand for increasing values: dark to light, so that the order survives in grey. Otherwise the
        colours are those of the style.
      solid: all lines are, where each is on its own markers.
      sizes: of the markers, where they are not all the same: equal curves then show as nested markers.
    """
    if ordered:
        colors = [to_hex(color) for color in matplotlib.colormaps["viridis"](np.linspace(0.0, 0.82, count))]
    else:
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        colors = [cycle[at % len(cycle)] for at in range(count)]
    sizes = sizes or [Look("").size] * count
    return [
        Look(colors[at], MARKERS[at % len(MARKERS)], "-" if solid else LINES[at % len(LINES)], sizes[at % len(sizes)])
        for at in range(count)
    ]


def legend(axes: Axes, named: Mapping[str, Look], **settings: Any) -> None:
    """A small legend of markers with their lines; settings as of `Axes.legend`."""
    handles = [look.entry(name) for name, look in named.items()]
    axes.legend(handles=handles, **{"fontsize": 8, "title_fontsize": 8, "handlelength": 2.4} | settings)


def hollow(size: float, edge: Any) -> dict[str, Any]:
    """A white marker with an edge, told from a line in any print."""
    return {"markersize": size, "markerfacecolor": "white", "markeredgecolor": edge, "markeredgewidth": 1.0}


def explain(
    seeds: int,
    theory: xr.DataArray | None = None,
    turns: xr.DataArray | None = None,
    *,
    closed_form: str = "closed form",
    simulated: str = "simulation",
) -> list[Any]:
    """Legend entries for the kinds of things drawn: simulation, its range over seeds, theory and turns where known."""
    entries: list[Any] = [Line2D([], [], label=simulated + (" (median)" if seeds > 1 else ""), **Look(GREY).points)]
    if seeds > 1:
        entries.append(Patch(color="0.8", label=f"range of {seeds} seeds"))
    if known(theory):
        entries.append(Line2D([], [], color=GREY, label=closed_form))
    if known(turns):
        entries.append(Line2D([], [], label="inflection point", **STAR | {"color": "0.6", "markersize": 11}))
    return entries


def known(values: xr.DataArray | None) -> bool:
    """Whether there is anything finite."""
    return values is not None and bool(np.isfinite(values).any())


def number_mark(axes: Axes, x: float, y: float, text: str, **settings: Any) -> None:
    """A circled number that names a cell."""
    box = {"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": "black", "linewidth": 1.0}
    look: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "bbox": box, "zorder": 9}
    axes.text(x, y, text, **look | settings)
