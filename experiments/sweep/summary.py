"""The conclusion on a sweep, from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..words import distrust, rechecked, wrapped
from .collapse import CLOSE, HARM, Collapsed, Pairs, collapsed
from .effects import MEDIAN


def summarise(dataset: xr.Dataset) -> str:
    """What moves harm along which axis, how many cells turn, and what is the same in flow time."""
    budget = int(dataset["pretrain_steps"][-1])
    lines = [f"Harm of {budget} steps of pre-training, median over all other axes:"]
    lines += [f"  {_along(dataset, axis)}" for axis in _axes(dataset)]
    lines += [_ranking(dataset), _counts(dataset)]
    for found in collapsed(dataset):
        lines.append(f"Not compared in {found}." if isinstance(found, str) else _told(found, _spacing(dataset)))
    return "\n".join([*map(wrapped, lines), *rechecked(dataset), *filter(None, [distrust(dataset)])])


def _axes(dataset: xr.Dataset) -> list[str]:
    return [str(axis) for axis in dataset["axis"].values]


def words(dataset: xr.Dataset, axis: str) -> str:
    """An axis in words."""
    name, _, _ = str(dataset[axis].attrs["long_name"]).partition(",")
    return name


def _along(dataset: xr.Dataset, axis: str) -> str:
    """Harm at both ends of an axis, and in between where it is not."""
    along, values = dataset[f"harm_along_{axis}"], dataset[axis].values
    median = along.values[:, MEDIAN]
    known = np.flatnonzero(~np.isnan(median))
    told = f"{words(dataset, axis)}: "
    if not len(known):
        return f"{told}every run diverged"
    parts = [f"{_percent(median[at])} at {values[at]:.3g}" for at in sorted({int(known[0]), int(known[-1])})]
    told += ", ".join(parts)
    within = median[known]
    most, ends = int(known[np.argmax(within)]), max(median[known[0]], median[known[-1]])
    if median[most] > max(ends, HARM) * 1.1:
        told += f", largest {_percent(median[most])} at {values[most]:.3g}"
    if lost := len(values) - len(known):
        told += f"; every run diverged at {lost} of its {len(values)} values"
    return f"{told} ({along.attrs['cells']} cells)"


def _ranking(dataset: xr.Dataset) -> str:
    """Which axis moves harm most and which least."""
    moves = dataset["harm_moved"].values
    known = [at for at in np.argsort(-np.nan_to_num(moves, nan=-1.0), kind="stable") if not np.isnan(moves[at])]
    if not known:
        return "No axis has two values to compare."
    names = [words(dataset, axis) for axis in _axes(dataset)]
    if moves[known[0]] < np.log1p(HARM):
        return f"No axis moves the median harm by {100 * HARM:.0f} %."
    told = f"The {names[known[0]]} moves harm most"
    return f"{told}, the {names[known[-1]]} least." if len(known) > 1 else f"{told}."


def _counts(dataset: xr.Dataset) -> str:
    harm, turned = dataset["harm"].values, ~np.isnan(dataset["inflection_steps"].values)
    harmful = 100 * np.mean(harm > 0.1)
    told = f"{turned.sum()} of {turned.size} cells turn; harm is above 10 % on {harmful:.0f} % of them all"
    diverged = dataset["diverged"]
    if lost := int(diverged.sum()):
        told += f"; {lost} of {diverged.size} fine-tuning runs diverged"
    return f"{told}."


def _spacing(dataset: xr.Dataset) -> str:
    """How far budgets are apart, between which inflection points are interpolated."""
    steps = dataset["pretrain_steps"].values.astype(np.float64)
    return f"; budgets are {_share(float(np.median(steps[1:] / steps[:-1])) - 1)} apart" if len(steps) > 1 else ""


def _told(found: Collapsed, spacing: str) -> str:
    """One law: how far apart pairs are that it makes the same, and up to which rate it holds."""
    pairs, pretraining = found.pairs, found.axes[0].startswith("pretrain")
    phase = "pre-training" if pretraining else "fine-tuning"
    what = "inflection points" if found.what == "inflection" else f"harms above {100 * HARM:.0f} %"
    told = f"At equal flow time of {phase} ({', '.join(found.axes)}) "
    if not len(pairs.apart):
        return f"{told}no two cells have {what} that can be compared."
    off, most = (_share(float(value)) for value in (np.median(pairs.apart), np.max(pairs.apart)))
    apart = spacing if pretraining else ""
    raw = f"{_share(float(np.median(pairs.plain)))} {'in steps' if pretraining else 'at equal learning rates'}"
    told += f"{what} of {len(pairs.apart)} pairs differ by {off} (median; {raw}{apart}), at most by {most}"
    middle, slow, fast = by_rate(pairs)
    if slow == 1 and not fast < 1:
        return f"{told}."
    close = f"{told}; within {100 * CLOSE:.0f} % are {_part(slow)}"
    beyond = "" if np.isnan(fast) else f" at rates / (1 - momentum) up to {middle:.2g}, {_part(fast)} beyond"
    return f"{close}{beyond}."


def by_rate(pairs: Pairs) -> tuple[float, float, float]:
    """The middle of the rates / (1 - momentum), in the logarithm, and the shares of close pairs up to it and beyond."""
    middle = float(np.sqrt(np.min(pairs.rates) * np.max(pairs.rates)))
    close, slow = pairs.apart <= CLOSE, pairs.rates <= middle * (1 + 1e-9)
    return middle, float(np.mean(close[slow])), float(np.mean(close[~slow])) if not slow.all() else np.nan


def _part(share: float) -> str:
    return "all" if share == 1 else "none" if share == 0 else f"{100 * share:.3g} %"


def _share(value: float) -> str:
    if value >= 1:
        return f"a factor of {1 + value:.2g}" if value < 99 else f"a factor of {1 + value:.0f}"
    return "less than 0.1 %" if value < 1e-3 else f"{100 * value:.2g} %"


def _percent(harm: float) -> str:
    if not np.isfinite(harm):
        return "diverged"
    return "0 %" if harm < 5e-4 else f"{100 * harm:.2g} %" if harm < 1 else f"{100 * harm:.0f} %"
