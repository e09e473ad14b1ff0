"""Curves over budgets or anything else: medians over seeds and their range, theory beside them, turns on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from .axes import Floats, along
from .looks import BEFORE, STAR, Look, known, looks
from .words import says, short

BUDGETS = "pretrain_steps"
_MOST_POINTS = 25  # markers on a curve, so that the line below them shows


def curves(
    axes: Axes,
    runs: xr.DataArray,
    theory: xr.DataArray | None = None,
    *,
    over: str = BUDGETS,
    by: str | None = None,
    styles: Sequence[Look] | None = None,
    names: str | Sequence[str] | None = None,
    turns: xr.DataArray | None = None,
    places: xr.DataArray | None = None,
    joined: bool | None = None,
    log: bool = True,
) -> dict[str, Look]:
    """Simulated curves: hollow markers at medians, a band over the whole range, theory as lines, a star at each turn.

    Both axes are named as the dataset names what they show, and the horizontal one is scaled to its values; whatever
    is set afterwards holds instead.

    Args:
      axes: where to draw.
      runs: simulated values over `over`, `by` and any further dimensions, which are those of the seeds; NaN where there
        is none.
      theory: the same in closed form.
      over: dimension along the horizontal axis.
      by: dimension with a curve for each of its values.
      styles: a look for each curve; default dark to light for numbers, else the colours of the style.
      names: of the curves, with which they stand in the legend of the axes: one each, or words with {} for the value.
      turns: where each turns, over `by` and seeds; NaN where it does not.
      places: where values stand on the horizontal axis, over `over` and perhaps `by`; default the axis itself.
      joined: whether thin lines join the markers; default where there is no theory to do so.
      log: whether the vertical axis is logarithmic.

    Returns:
      The look of each curve by its name, which is its value of `by` if no names are given.
    """
    named = ["" if by is None else _value(value) for value in ([0] if by is None else runs[by].values)]
    if names is not None:
        named = [names.format(value) for value in named] if isinstance(names, str) else list(names)
    if log:
        axes.set_yscale("log")  # before there is anything: an axis without values has no logarithm to find limits for
    places = runs[over] if places is None else places
    count = 1 if by is None else runs.sizes[by]
    styles = styles or looks(count, ordered=by is not None and runs[by].dtype.kind in "fiu")
    for at, look in enumerate(styles):
        seen, told, turned, where = (_of_curve(values, by, at) for values in (runs, theory, turns, places))
        x, values = _table(where, over)[:, 0], _table(seen, over)
        band(axes, x, values, look.color)
        line = look.joined if (not known(told) if joined is None else joined) else look.points
        label = None if names is None else named[at]
        axes.plot(x, median(values), label=label, markevery=-(-len(x) // _MOST_POINTS) or 1, **line)
        if known(told):
            axes.plot(x, median(_table(told, over)), **look.path)
        if turned is not None:
            steps = np.atleast_1d(median(turned.values.ravel()))
            mark_turns(axes, steps, heights(x, median(values), steps), look.color)
    along(axes, places)
    if said := says(runs):
        axes.set_ylabel(said)
    return dict(zip(named, styles, strict=True))


def closed_form(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """What theory predicts of a variable; NaN where it says nothing."""
    return dataset.get(f"predicted_{name}", np.nan * dataset[name])


def before(axes: Axes, losses: xr.DataArray, **look: Any) -> None:
    """The loss that there was before fine-tuning, a thin line in the background."""
    axes.plot(losses[BUDGETS], median(_table(losses, BUDGETS)), **BEFORE | look)


def band(axes: Axes, x: Floats, runs: Floats, color: Any) -> None:
    """The whole range over seeds, shape (points, seeds)."""
    if runs.shape[1] > 1:
        axes.fill_between(x, *spread(runs), color=color, alpha=0.22, linewidth=0)


def mark_turns(axes: Axes, x: Floats, y: Floats, color: Any) -> None:
    """A star at every inflection point that there is."""
    there = np.isfinite(x) & np.isfinite(y)
    axes.plot(x[there], y[there], color=color, **STAR)


def heights(places: Floats, curve: Floats, at: Floats) -> Floats:
    """Where a curve is at the given places, between those it is known at, straight in both logarithms."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.interp(np.log(at), np.log(places), np.log(curve))))


def median(values: Floats, axis: int = -1) -> Floats:
    """Median over the values that are not NaN, NaN where there are none; infinite beside an infinite middle."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN slices are an answer here
        middle = np.nanmedian(values, axis=axis)
    # The mean of two infinite middle values is infinite, yet NumPy's interpolation can say NaN.
    some_infinite = np.isinf(values).any(axis=axis)
    return np.asarray(np.where(np.isnan(middle) & some_infinite, np.inf, middle), dtype=np.float64)


def middle(values: xr.DataArray, over: str = "seed") -> xr.DataArray:
    """The median over a dimension, as of `median`."""
    return values.reduce(median, over, keep_attrs=True)


def spread(runs: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest value over seeds, NaN where there are none."""
    gone = np.asarray(np.isnan(runs).all(axis=-1))
    there = np.where(gone[..., None], 0.0, runs)
    low, high = np.nanmin(there, axis=-1), np.nanmax(there, axis=-1)
    return np.where(gone, np.nan, low), np.where(gone, np.nan, high)


def some(values: Any, most: int) -> Any:
    """At most so many of increasing values, evenly over their list and with both ends."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))]


def _value(value: Any) -> str:
    return short(float(value)) if isinstance(value, np.number) else str(value)


def _of_curve(values: Any, by: str | None, at: int) -> Any:
    return values.isel({by: at}) if values is not None and by in values.dims else values


def _table(values: xr.DataArray, over: str) -> Floats:
    """Shape (over, all the rest)."""
    count = values.sizes[over]
    return np.asarray(values.transpose(over, ...).values, np.float64).reshape(count, values.size // max(count, 1) or 1)
