"""What a sweep says of harm along its axes, and of cells that flow time makes the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import counted_harm

from ..words import NEGLIGIBLE, RESOLVED, deviation, distrust, diverged, part, percent, rechecked, undecided
from .collapse import CLOSE, HARM, Collapsed, Pairs, collapsed
from .effects import MEDIAN

HARMFUL = 0.1
"""Harm from which on a cell is counted as harmful."""


def find(dataset: xr.Dataset) -> Finding:
    """Which axis moves the median harm most and which least; below, harm along each, cells that turn, and flow time.

    Not seen where no axis moves 1 + harm by 1 % and nearly all curves are resolved; nobody can tell where none has two
    values at which harm is known, or where turns may lie between budgets.
    """
    details, trust = tuple(_details(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    axes, moves = _axes(dataset), dataset["harm_moved"].values
    known = [at for at in np.argsort(-np.nan_to_num(moves, nan=-1.0), kind="stable") if not np.isnan(moves[at])]
    if not known:
        sentence = "No axis has two values to compare the harm of longer pre-training at"
        return Finding(sentence, "cannot tell", {}, details, trust)
    numbers = {f"moved by {axis}": move for axis, move in zip(axes, moves, strict=True)}
    first, last = axes[known[0]], axes[known[-1]]
    median = dataset[f"harm_along_{first}"].values[:, MEDIAN]
    low, high = float(np.nanmin(median)), float(np.nanmax(median))
    numbers |= {"lowest median": low, "highest median": high}
    if moves[known[0]] < np.log1p(NEGLIGIBLE):
        most = float(np.max(np.nan_to_num(counted_harm(dataset).values, nan=0.0)))
        sentence = f"No axis moves the median harm of longer pre-training by {percent(NEGLIGIBLE)}"
        sentence += f"; the largest harm is {percent(most)}"
        curves = dataset["harm"].notnull()
        count, resolved = int(curves.sum()), int((dataset["resolved"] & curves).sum())
        if resolved < RESOLVED * count:
            sentence += f", but turns of {count - resolved} of {count} curves may lie between budgets"
            return Finding(sentence, "cannot tell", numbers | {"harm": most}, details, trust)
        return Finding(sentence, "not seen", numbers | {"harm": most}, details, trust)
    sentence = f"The {words(dataset, first)} moves the harm of longer pre-training most, "
    sentence += f"from {percent(low)} to {percent(high)} in the median"
    sentence += f"; the {words(dataset, last)} least" if len(known) > 1 else ""
    return Finding(sentence, "seen", numbers, details, trust)


def words(dataset: xr.Dataset, axis: str) -> str:
    """An axis in words."""
    name, _, _ = str(dataset[axis].attrs["long_name"]).partition(",")
    return name


def _details(dataset: xr.Dataset) -> Iterator[str]:
    budget = int(dataset["pretrain_steps"][-1])
    yield f"Harm of {budget} steps of pre-training, median over all other axes:"
    for axis in _axes(dataset):
        yield f"  {_along(dataset, axis)}"
    harm, turned = counted_harm(dataset).values, dataset["inflection_steps"].notnull().values
    harmful = f"harm is above {percent(HARMFUL)} on {percent(float(np.mean(harm > HARMFUL)))} of them all"
    yield f"{turned.sum()} of {turned.size} cells turn; {harmful}."
    yield from diverged(dataset)
    for found in collapsed(dataset):
        yield f"Not compared in {found}." if isinstance(found, str) else _told(found, _spacing(dataset))
    yield from rechecked(dataset)


def _axes(dataset: xr.Dataset) -> list[str]:
    return [str(axis) for axis in dataset["axis"].values]


def _along(dataset: xr.Dataset, axis: str) -> str:
    """Harm at both ends of an axis, and in between where it is not."""
    along, values = dataset[f"harm_along_{axis}"], dataset[axis].values
    median = along.values[:, MEDIAN]
    known = np.flatnonzero(~np.isnan(median))
    told = f"{words(dataset, axis)}: "
    if not len(known):
        return f"{told}no run is stable"
    parts = [f"{percent(median[at])} at {values[at]:.3g}" for at in sorted({int(known[0]), int(known[-1])})]
    told += ", ".join(parts)
    within = median[known]
    most, ends = int(known[np.argmax(within)]), max(median[known[0]], median[known[-1]])
    if median[most] > max(ends, HARM) * 1.1:
        told += f", largest {percent(median[most])} at {values[most]:.3g}"
    if lost := len(values) - len(known):
        told += f"; no run is stable at {lost} of its {len(values)} values"
    return f"{told} ({along.attrs['cells']} cells)"


def _spacing(dataset: xr.Dataset) -> str:
    """How far budgets are apart, between which inflection points are interpolated."""
    steps = dataset["pretrain_steps"].values.astype(np.float64)
    if len(steps) < 2:
        return ""
    return f"; budgets are {deviation(float(np.median(steps[1:] / steps[:-1])) - 1)} apart"


def _told(found: Collapsed, spacing: str) -> str:
    """One law: how far apart pairs are that it makes the same, and up to which rate it holds."""
    pairs, pretraining = found.pairs, found.axes[0].startswith("pretrain")
    phase = "pre-training" if pretraining else "fine-tuning"
    what = "inflection points" if found.what == "inflection" else f"harms above {percent(HARM)}"
    told = f"At equal flow time of {phase} ({', '.join(found.axes)}) "
    if not len(pairs.apart):
        return f"{told}no two cells have {what} that can be compared."
    off, most = (deviation(float(value)) for value in (np.median(pairs.apart), np.max(pairs.apart)))
    apart = spacing if pretraining else ""
    raw = f"{deviation(float(np.median(pairs.plain)))} {'in steps' if pretraining else 'at equal learning rates'}"
    told += f"{what} of {len(pairs.apart)} pairs differ by {off} (median; {raw}{apart}), at most by {most}"
    middle, slow, fast = by_rate(pairs)
    if slow == 1 and not fast < 1:
        return f"{told}."
    close = f"{told}; within {percent(CLOSE)} are {part(slow)}"
    beyond = "" if np.isnan(fast) else f" at rates / (1 - momentum) up to {middle:.2g}, {part(fast)} beyond"
    return f"{close}{beyond}."


def by_rate(pairs: Pairs) -> tuple[float, float, float]:
    """The middle of the rates / (1 - momentum), in the logarithm, and the shares of close pairs up to it and beyond."""
    middle = float(np.sqrt(np.min(pairs.rates) * np.max(pairs.rates)))
    close, slow = pairs.apart <= CLOSE, pairs.rates <= middle * (1 + 1e-9)
    return middle, float(np.mean(close[slow])), float(np.mean(close[~slow])) if not slow.all() else np.nan
