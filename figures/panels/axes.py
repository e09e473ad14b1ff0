"""Axes by the values on them: logarithmic where these are spaced so, ticks that say their value, harm in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from .words import grouped, in_full, power_of_ten, says, short

Floats = NDArray[np.float64]

LEAST_HARM = 1e-3
"""Harm below it is drawn at the lower end of its axis."""
_FEW = 6  # whole numbers, which are all labelled


def along(axes: Axes, places: xr.DataArray, room: float = 1.12) -> None:
    """Name and scale the horizontal axis for some values: logarithmic where they are spaced so, 0 in a linear piece.

    Args:
      axes: whose horizontal axis.
      places: values in any shape, with their long name and units.
      room: factor beyond the first and the last one.
    """
    if said := says(places):
        axes.set_xlabel(said)
    values = np.unique(places.values[np.isfinite(places.values)].astype(np.float64))
    positive = values[values > 0]
    few = len(values) <= _FEW and places.dtype.kind == "i"
    if not spaced_in_log(positive):
        axes.margins(x=0.06)
        if few or len(values) == 1:
            axes.set_xticks(values, [short(value) for value in values])
    elif len(positive) < len(values):
        axes.set_xscale("symlog", linthresh=float(positive[0]), linscale=0.4)
        powers = 10.0 ** np.arange(np.ceil(np.log10(positive[0])), np.floor(np.log10(positive[-1])) + 1)
        ticks = powers[powers < 0.6 * positive[-1]] if len(powers) > 1 else positive[:1]
        ticks = np.append(ticks, positive[-1])
        axes.set_xticks([0.0, *ticks], ["0", *(short(tick) for tick in ticks)])
        axes.set_xticks(between(positive[0], positive[-1], range(1, 10)), minor=True)
        axes.set_xlim(-0.25 * float(positive[0]), float(positive[-1]) * room)
    else:
        axes.set_xscale("log")
        decades(axes.xaxis, positive[0] / room, positive[-1] * room)
        if few:
            axes.set_xticks(positive, [grouped(value) for value in positive])
            axes.minorticks_off()


def spaced_in_log(positive: Floats) -> bool:
    """Whether increasing values have steps of one factor, or span an order of magnitude."""
    if len(positive) < 2:
        return False
    factors = positive[1:] / positive[:-1]
    return bool(positive[-1] >= 10 * positive[0] or (len(factors) > 1 and np.ptp(factors) < 0.01 * factors[0]))


def decades(axis: Any, low: Any = None, high: Any = None, below: float = 0.0, above: float = 0.0) -> None:
    """Limits of a logarithmic axis; where it has no two powers of ten to label, some values between are, in full.

    Args:
      axis: a horizontal or vertical one.
      low: lower limit; default as it is.
      high: upper limit; default as it is.
      below: room to leave below, as a share of the axis.
      above: room to leave above.
    """
    horizontal = axis.axis_name == "x"
    limits = axis.axes.get_xlim() if horizontal else axis.axes.get_ylim()
    low, high = (limits[0] if low is None else float(low), limits[1] if high is None else float(high))
    if not 0 < low < high:  # nothing there that a logarithm can show
        return
    low, high = low / (high / low) ** below, high * (high / low) ** above
    (axis.axes.set_xlim if horizontal else axis.axes.set_ylim)(low, high)
    if np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 1:
        ticks = between(low, high)
        if len(ticks) < 3:
            ticks = between(low, high, (1, 1.5, 2, 3, 4, 5, 7))
        if len(ticks) < 2:
            ticks = [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low < tick < high]
        axis.set_ticks(ticks, labels=[in_full(tick) for tick in ticks])
        axis.set_minor_formatter(NullFormatter())


def between(low: float, high: float, digits: Sequence[float] = (1, 2, 5)) -> list[float]:
    """The numbers 1, 2, 5, 10, 20, ... between two bounds, or those of other digits."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [tick for power in powers for digit in digits if low <= (tick := float(f"{digit}e{power}")) <= high]


def harm_axis(axes: Axes, top: float | None = None, least: float = LEAST_HARM, room: float = 1.6) -> None:
    """Harm in percent on a logarithmic vertical axis, at most seven powers of ten labelled.

    Args:
      axes: whose vertical axis.
      top: the largest harm; default that of what is drawn.
      least: where the axis begins, see `visible`.
      room: factor above the largest harm.
    """
    top = max(float(axes.dataLim.y1) if top is None else top, 1.0)
    axes.set(yscale="log", ylim=(least / 1.6, top * room), ylabel="harm of the longest budget")
    powers = np.arange(round(np.log10(least)), np.floor(np.log10(top * room)) + 1)
    powers = powers[:: -(-len(powers) // 7)]
    said = [
        f"{100 * 10**power:g}" if power < 0 else grouped(100 * 10**power) if power < 3 else power_of_ten(int(power) + 2)
        for power in powers
    ]
    axes.set_yticks(10.0**powers, [f"{'≤' * (at == 0)}{percent} %" for at, percent in enumerate(said)])
    axes.yaxis.set_minor_formatter(NullFormatter())


def visible(harm: xr.DataArray, least: float = LEAST_HARM) -> xr.DataArray:
    """Harm for such an axis: little of it at the lower end, harm without bound left out."""
    return harm.clip(min=least).where(np.isfinite(harm))


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
