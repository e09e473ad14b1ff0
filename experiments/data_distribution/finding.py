"""Whether data change the severity of overtraining, and how much of that is left at equal effort."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.theory.data.effort import level_of_line
from linsim.theory.over_seeds import OverSeeds, over_seeds

from ..words import (
    NEGLIGIBLE,
    between,
    distrust,
    diverged,
    factor,
    few_seeds,
    interval,
    percent,
    rechecked,
    tabular,
    undecided,
)
from .reading import FIXED, LOSS, REACH
from .rows import ROWS

MOST = 0.05
"""Chance, over all axes together, that a change is told where there is none; larger of few seeds (`few_seeds`)."""


class Move(NamedTuple):
    """How far an axis moves last / least, between the two of its values that are furthest apart at a fixed time."""

    row: str
    low: int
    """Kind of data with the least harm at a fixed time, by number."""
    high: int
    fixed: OverSeeds
    """ln[(1 + harm) of the one / (1 + harm) of the other], paired over seeds, overfitting taken out."""
    equal: OverSeeds
    """The same at equal fine-tuning loss, for the same two values."""


def find(dataset: xr.Dataset) -> Finding:
    """Whether some axis of the data changes harm at equal fine-tuning loss, beyond what is negligible.

    Seen where the interval over seeds, at a level that allows for the number of axes, is clear of what is negligible;
    not seen where no axis moves the median by as much; else nobody can tell, nor where the loss is matched for none.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset, or_why_not=False)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    moves = [move for move in moved(dataset) if move.fixed.seeds and move.equal.seeds]
    if not moves:
        told = f"Whether data matter at equal effort cannot be told: no two kinds of data come to {FIXED} and {LOSS}"
        return Finding(told, "cannot tell", {}, details, trust)
    numbers = {f"{move.row}_{rule}": getattr(move, rule).middle for move in moves for rule in ("fixed", "equal")}
    first, second = (max(moves, key=of) for of in _ORDERS)
    fixed = f"at one fine-tuning time {_said(dataset, first, FIXED)}"
    if all(max(abs(move.equal.middle), move.fixed.middle) <= NEGLIGIBLE for move in moves):
        return Finding(f"Data do not change the severity: {fixed}", "not seen", numbers, details, trust)
    left = f"{_left(first)} at equal fine-tuning loss ({_from_to(dataset, first, LOSS)})"
    if all(abs(move.equal.middle) <= NEGLIGIBLE for move in moves):
        told = f"Data change the severity by the effort they take alone: {fixed}, {left}"
        return Finding(told, "not seen", numbers, details, trust)
    clear = [move for move in moves if _clear(move.equal)]
    if not clear:
        told = f"Seeds differ too much to tell whether data matter at equal effort: {fixed}, {left}"
        return Finding(told, "cannot tell", numbers, details, trust)
    most = second if second in clear else max(clear, key=lambda move: abs(move.equal.middle))
    rest = "" if most is first else f"; there {_said(dataset, most, LOSS)}"
    many = f"{len(clear)} of {len(moves)} axes"
    told = f"Data change the severity at equal effort, too, on {many}: {fixed}, {left}{rest}"
    return Finding(told, "seen", numbers, details, trust)


def moved(dataset: xr.Dataset) -> list[Move]:
    """Of every axis with two kinds of data or more."""
    found, rows = [], dataset["row"].values
    names = list(dict.fromkeys(map(str, rows)))
    level = 1 - MOST / len(names)
    harm = dataset["stopped_harm"].where(np.isfinite(dataset["stopped_harm"])).transpose("recipe", "data", "seed")
    for name in names:
        kinds = np.flatnonzero(rows == name).tolist()
        fixed, equal = (np.log1p(harm.sel(recipe=recipe).values) for recipe in (FIXED, LOSS))
        told = [kind for kind in kinds if np.isfinite(fixed[kind] + equal[kind]).any()]
        if len(told) < 2:
            continue
        middles = [float(np.nanmedian(fixed[kind])) for kind in told]
        low, high = told[int(np.argmin(middles))], told[int(np.argmax(middles))]
        if low == high:
            low, high = told[0], told[-1]
        parts = [over_seeds(each[high] - each[low], level=level) for each in (fixed, equal)]
        found.append(Move(name, low, high, *parts))
    return found


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each axis: harm and excess at the two values that are furthest apart at one time, by each recipe."""
    heads = ("axis", "values", "harm, %: one time", "equal loss", "equal reach", "excess, %: one time", "equal loss")
    rows = []
    for move in moved(dataset):
        ends = "{:g} to {:g}".format(*(float(dataset["value"][kind]) for kind in (move.low, move.high)))
        harms = [_pair(dataset["stopped_harm"].sel(recipe=recipe), move) for recipe in (FIXED, LOSS, REACH)]
        excesses = [_pair(dataset["stopped_excess"].sel(recipe=recipe), move) for recipe in (FIXED, LOSS)]
        rows.append((move.row, ends, *harms, *excesses))
    return tabular(heads, rows)


def _pair(values: xr.DataArray, move: Move) -> str:
    """Medians at both ends, in percent."""
    low, high = (over_seeds(values[kind].values).middle for kind in (move.low, move.high))
    return " to ".join("?" if np.isnan(each) else f"{100 * each:.3g}" for each in (low, high))


def _said(dataset: xr.Dataset, move: Move, recipe: str) -> str:
    """That an axis moves harm most, and from what to what."""
    row = ROWS[move.row]
    low, high = (float(dataset["value"][kind]) for kind in (move.low, move.high))
    return f"{row.title} moves harm most, from {_from_to(dataset, move, recipe)} ({row.unit} {low:g} to {high:g})"


def _from_to(dataset: xr.Dataset, move: Move, recipe: str) -> str:
    harm = dataset["stopped_harm"].sel(recipe=recipe)
    low, high = (over_seeds(harm[kind].values).middle for kind in (move.low, move.high))
    return f"{percent(low)} to {percent(high)}"


def _left(move: Move) -> str:
    """How much of a move is left at equal effort, in logarithms."""
    share = move.equal.middle / move.fixed.middle if move.fixed.middle else 0.0
    if share < 0 and _clear(move.equal):
        return "which turns round"
    return f"{percent(share)} of which is left" if share >= 5e-3 else "none of which is left"


def _clear(told: OverSeeds) -> bool:
    low, high = told.ends
    return bool(low > NEGLIGIBLE or high < -NEGLIGIBLE)


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Every axis with its interval, the line, the last loss and its bounds, and overfitting of the base loss."""
    moves = moved(dataset)
    parts = [f"{move.row} {factor(move.fixed)} and {factor(move.equal)}" for move in moves]
    if parts:
        yield f"By which factor each axis moves last / least, at one time and at equal loss: {'; '.join(parts)}."
        yield from few_seeds(max(move.equal.seeds for move in moves))
    for move in dict.fromkeys([max(moves, key=of) for of in _ORDERS]) if moves else ():
        yield from (_of_losses(dataset, move, recipe) for recipe in (FIXED, LOSS))
    yield from _line(dataset)
    level = float(dataset.attrs["level"])
    least, most = (float(dataset.attrs[f"{name}_last"]) for name in ("least", "most"))
    known = dataset.where(np.isfinite(dataset["predicted_last"])).sel(recipe=LOSS)
    if np.isfinite(known["last_over_shift"]).any():
        yield (
            f"Where {level:g} of the fine-tuning loss is left aligned data have last base losses of "
            f"{between(known['last_over_shift'])} of the shift's (by theory between {least:.3g} and {most:.3g}), and "
            f"best ones of {between(known['best_over_shift'])}."
        )
        if (times := float(dataset.attrs["factor"])) > 2:
            beyond = known["most_beyond"].values[np.isfinite(known["most_beyond"].values)] > 1
            yield (
                f"There the strongest shifted mode is beyond the line in {int(beyond.sum())} of {beyond.size}: at "
                f"factor {times:g} it is for every level below {float(level_of_line(times)):.3g}."
            )
    off = abs(dataset["last"] / dataset["predicted_last"] - 1)
    if np.isfinite(off).any():
        yield f"Last losses are within {percent(float(off.max()))} of those of aligned modes in closed form."
    for name in dict.fromkeys(map(str, dataset["row"].values)):
        here = dataset.isel(data=np.flatnonzero(dataset["row"].values == name))
        overfit = here["base_harm"].median("seed")
        if float(overfit.max()) > 0:
            at = here.isel(data=int(np.argmax(overfit.values)))
            stop = at["base_stop_steps"]
            yield (
                f"{name} {float(at['value']):g}: the base loss itself turns at {interval(stop, 1)} steps and ends "
                f"{interval(at['base_harm'], 100)} % above its least; stopped there harm is "
                f"{interval(at['stopped_harm'].sel(recipe=FIXED), 100)} %, "
                f"else {interval(at['harm'].sel(recipe=FIXED), 100)} %."
            )


_ORDERS = (lambda move: move.fixed.middle, lambda move: abs(move.equal.middle))


def _of_losses(dataset: xr.Dataset, move: Move, recipe: str) -> str:
    """Best and last losses of an axis by a recipe."""
    cell = dataset.sel(recipe=recipe)
    parts = []
    for kind in (move.low, move.high):
        best, last = (interval(cell[name][kind] / cell["base_zero_loss"][kind], 1) for name in ("best", "last"))
        parts.append(f"{float(dataset['value'][kind]):g}: {best} and {last}")
    return f"{move.row}, {recipe}: best and last loss over the zero network's at {'; at '.join(parts)}."


def _line(dataset: xr.Dataset) -> Iterator[str]:
    """How often learning the shifted modes is net harm, where all of them are beyond the line, none, or some."""
    net = dataset["net"].values
    most, least = dataset["most_beyond"].values, dataset["least_beyond"].values
    known = np.isfinite(net)
    parts = []
    for words, where in (
        ("all shifted modes are beyond", least > 1),
        ("some are", (least <= 1) & (most > 1)),
        ("none is", most <= 1),
    ):
        count = int((known & where).sum())
        if count:
            parts.append(f"{words} in {int((net[known & where] > 0).sum())} of {count}")
    if parts:
        yield f"Having learned the shifted modes is net harm, where by v sigma T > kappa {', where '.join(parts)}."
