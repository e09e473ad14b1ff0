"""What figures share: logarithmic axes with a row apart for 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from .panels.canvas import new_figure as new_figure

Floats = NDArray[np.float64]

MARKERS = "o^s"


class Scale(NamedTuple):
    """A logarithmic axis in decades, log10(value), with a band apart below it when the values start at 0."""

    centres: Floats
    """Position of every value."""
    low: Floats
    """Lower edge of every value's cell."""
    high: Floats
    """Upper edge of every value's cell."""
    has_zero: bool
    """Whether the first value is 0, in the band apart."""

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis."""
        return float(self.low[0]), float(self.high[-1])

    @property
    def edges(self) -> Floats:
        """Edges of the cells of the values above 0, one more than these."""
        first = int(self.has_zero)
        return np.append(self.low[first:], self.high[-1:]) if len(self.low) > first else np.empty(0)


def scale(values: Floats) -> Scale:
    """Place increasing values >= 0 on a logarithmic axis; cells meet halfway, and 0 gets a band of its own."""
    has_zero = bool(values[0] == 0)
    centres = np.log10(values[int(has_zero) :].astype(np.float64))
    if len(centres) == 0:
        return Scale(np.zeros(1), np.full(1, -0.5), np.full(1, 0.5), True)
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = (centres[:2], centres[-2:]) if len(centres) > 1 else (np.array([0.0, 1.0]),) * 2
    low = np.append(centres[0] - (first[1] - first[0]) / 2, middle)
    high = np.append(middle, centres[-1] + (last[1] - last[0]) / 2)
    if not has_zero:
        return Scale(centres, low, high, False)
    span = high[-1] - low[0]
    height = max(float(np.median(high - low)), 0.06 * span)
    top = low[0] - 0.03 * span
    return Scale(np.append(top - height / 2, centres), np.append(top - height, low), np.append(top, high), True)


def label_scale(axis: Any, placed: Scale, values: Floats) -> None:
    """Limits and ticks of an axis in decades: powers of ten, or the values themselves where those are too few."""
    start = int(placed.has_zero)
    positions, labels = ([float(placed.centres[0])], ["0"]) if placed.has_zero else ([], [])
    minor: list[float] = []
    if len(placed.edges):
        low, high = float(placed.edges[0]), float(placed.edges[-1])
        decades = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        if len(values) - start >= 4 and len(decades) >= 2:
            labelled = decades[:: int(np.ceil(len(decades) / 6))]
            positions += labelled.tolist()
            labels += [power_of_ten(int(power)) for power in labelled]
            fine = np.log10(np.outer(10.0 ** np.arange(np.floor(low), high + 1), np.arange(1, 10))).ravel()
            minor = fine[(fine >= low) & (fine <= high)].tolist()
        else:
            few = np.unique(np.linspace(start, len(values) - 1, min(len(values) - start, 4)).round().astype(int))
            positions += placed.centres[few].tolist()
            labels += [short(float(value)) for value in values[few]]
    axis.set_ticks(positions, labels)
    axis.set_ticks(minor, minor=True)
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(*placed.limits)


def label_logarithmic(axis: Any, limits: tuple[float, float]) -> None:
    """Limits of a log axis; where it has no two powers of ten to label, 1, 2, 5 and so on are labelled in full."""
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(*limits)
    low, high = limits
    if np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 1:
        ticks = one_two_five(low, high) or [float(np.sqrt(low * high))]
        axis.set_ticks(ticks, labels=[grouped(tick) if tick >= 1 else f"{tick:g}" for tick in ticks])
        axis.set_minor_formatter(NullFormatter())


def one_two_five(low: float, high: float) -> list[float]:
    """The numbers 1, 2, 5, 10, 20, ... between two bounds."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [tick for power in powers for digit in (1, 2, 5) if low <= (tick := float(f"{digit}e{power}")) <= high]


def power_of_ten(power: int) -> str:
    """A tick label: 0.1, 1, 10 in full, further powers as such."""
    return f"{10.0**power:g}" if -1 <= power <= 2 else f"$10^{{{power}}}$"


def short(value: float) -> str:
    """A number in two digits, powers of ten as such."""
    if value == 0 or 0.001 <= abs(value) < 10_000:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"${mantissa.removesuffix('.0')}\\times10^{{{int(power)}}}$"


def rise(harm: float) -> str:
    """Harm as a reader says it: in percent, as a factor once that gets long."""
    if np.isinf(harm):
        return "diverges"
    if harm < 1e-3:
        return "+0 %" if harm < 1e-6 else "<0.1 %"
    if harm >= 100:
        return f"×{short(1 + harm)}"
    return f"+{grouped(100 * harm)} %" if harm >= 0.0995 else f"+{100 * harm:.2g} %"


def grouped(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}")


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to the wanted ones as `gap` between neighbours allows, between low and high."""
    order = np.argsort(wanted, kind="stable")
    placed = np.clip(np.asarray(wanted, dtype=np.float64)[order], low, high)
    for _ in range(50):
        for i in range(len(placed) - 1):
            short_by = gap - (placed[i + 1] - placed[i])
            if short_by > 0:
                placed[i], placed[i + 1] = placed[i] - short_by / 2, placed[i + 1] + short_by / 2
        placed = np.clip(placed, low, high)
    result = np.empty_like(placed)
    result[order] = placed
    return [float(position) for position in result]


def number_mark(axes: Axes, x: float, y: float, text: str, **settings: Any) -> None:
    """A circled number that names a cell."""
    box = {"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": "black", "linewidth": 1.0}
    look: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "bbox": box, "zorder": 9}
    axes.text(x, y, text, **look | settings)


def hollow(size: float, edge: Any) -> dict[str, Any]:
    """A white marker with an edge, told from a line in any print."""
    return {"markersize": size, "markerfacecolor": "white", "markeredgecolor": edge, "markeredgewidth": 1.0}


def hatch_cells(axes: Axes, where: NDArray[np.bool_], x: Scale, y: Scale, **look: Any) -> None:
    """Fill and hatch the marked cells of a map; `where` is (x, y)."""
    corners = [
        [(x.low[i], y.low[j]), (x.high[i], y.low[j]), (x.high[i], y.high[j]), (x.low[i], y.high[j])]
        for i, j in np.argwhere(where)
    ]
    axes.add_collection(PolyCollection(corners, linewidth=0, **look), autolim=False)
