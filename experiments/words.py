"""Phrases that findings share: sizes, counts and ranges in words, and what keeps a result from saying anything."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import lost_lanes
from linsim.theory.over_seeds import OverSeeds, over_seeds
from linsim.theory.turns import LEAST_HARM

COLUMNS = 120
"""Of a terminal."""
FEWEST_BUDGETS = 3
"""That a turn takes: one on either side of it."""
ENOUGH_SEEDS = 9
"""From which on the range of all misses the median less often than an interval that allows for a dozen comparisons."""
NEGLIGIBLE = LEAST_HARM
"""Harm below this is called none."""
RESOLVED = 0.95
"""Share of curves whose turns must be resolved before it is said that none is seen."""


def undecided(dataset: xr.Dataset, budgets: str = "pretrain_steps", **said: Any) -> Finding | None:
    """The finding on harm where there can be none, else None: no run from the largest budget tells, or budgets are few.

    Args:
      dataset: with `diverged` over the axis of budgets.
      budgets: name of that axis.
      said: `details` and `trust` of the finding.
    """
    lost = lost_lanes(dataset)
    if bool(lost.isel({budgets: -1}).all()):
        which = "" if bool(lost.all()) else " from the largest budget"
        how = "diverged" if bool(dataset["diverged"].all()) else "diverged or is beyond the edge of stability"
        told = f"Nothing can be said of longer pre-training: every fine-tuning run{which} {how}; smaller rates may tell"
        return Finding(told, "cannot tell", **said)
    if (count := dataset.sizes[budgets]) < FEWEST_BUDGETS:
        told = f"Too few budgets to tell whether more pre-training hurts: {count}, and it takes {FEWEST_BUDGETS}"
        return Finding(told, "cannot tell", {"budgets": count}, **said)
    return None


def between_budgets(curves: int, resolved: int, what: str = "cells") -> str:
    """What is said where none of the curves turns, but too few are resolved to deny it; empty where nearly all are."""
    if resolved >= RESOLVED * curves:
        return ""
    sentence = f"It cannot be told whether more pre-training hurts: none of the {what} turns at these budgets, but "
    return f"{sentence}in {curves - resolved} of {curves} it may between them; more budgets would tell"


def diverged(dataset: xr.Dataset) -> list[str]:
    """Lines on how many fine-tuning runs diverged, and how many others are beyond the edge of stability, where any."""
    lost = dataset["diverged"]
    lines = [f"{int(lost.sum())} of {lost.size} fine-tuning runs diverged."] if bool(lost.any()) else []
    if "unstable" in dataset and (beyond := int((dataset["unstable"] & ~lost).sum())):
        lines.append(f"{beyond} of {lost.size} runs are beyond the edge of stability (rate x curvature > 2): left out.")
    return lines


def rechecked(dataset: xr.Dataset, or_why_not: bool = True) -> list[str]:
    """A line on the sample that was computed again, and how far it is from the result; or on why there was none."""
    told = dataset.attrs
    if not told.get("recheck_lanes"):
        reason = str(told.get("recheck_by", "")).removeprefix("nothing: ")
        return [f"No lane was computed again: {reason}."] if reason and or_why_not else []
    by, count, deviation = told["recheck_by"], told["recheck_lanes"], told["recheck_deviation"]
    apart = f" ({lost} beyond the edge of stability left out)" if (lost := told.get("recheck_unstable", 0)) else ""
    deviate = f"deviate by up to {deviation:.1e} of the zero network's loss"
    return [f"{count} random lanes computed again by {by} {deviate}{apart}."]


def distrust(dataset: xr.Dataset) -> str:
    """What the samples say against the result; empty where they say nothing."""
    told = dataset.attrs
    if not told.get("rounding_trusted", 1):
        change = f"{told['rounding_deviation']:.1e} of the zero network's, at {told['rounding_worst']}"
        return f"DO NOT TRUST THIS RESULT; it is rounding: last places of initial weights change a loss by {change}."
    if not told.get("recheck_lanes") or told["recheck_trusted"]:
        return ""
    way_out = "use --precision float64" if told["precision"] == "float32" else "one of the two solvers is wrong here"
    apart = f"{told['recheck_apart']} of the lanes computed again are off by more than rounding"
    chaos = "" if told.get("stability") == "told" else ", or the rate is so large that rounding decides"
    return f"DO NOT TRUST THIS RESULT; {way_out}{chaos}: {apart}, the worst at {told['recheck_worst']}."


def percent(share: float) -> str:
    """A ratio, of harm or of a count: 12 %, 0.31 %; harm that is not finite is that of runs that diverged."""
    if not np.isfinite(share):
        return "diverged"
    size = abs(share)
    return "0 %" if size < 5e-4 else f"{100 * share:.2g} %" if size < 0.995 else f"{100 * share:.0f} %"


def change(ratio: float) -> str:
    """By how much something has risen or fallen: +12 %, -3.1 %."""
    if not np.isfinite(ratio):
        return "diverges"
    return f"{100 * ratio:+.{0 if abs(ratio) >= 0.1 else 1 if abs(ratio) >= 0.01 else 2}f} %"


def deviation(ratio: float) -> str:
    """How far two numbers are apart, relative to the smaller: less than 0.1 %, 12 %, a factor of 3."""
    if ratio >= 1:
        return f"a factor of {1 + ratio:.2g}" if ratio < 99 else f"a factor of {1 + ratio:.0f}"
    return "less than 0.1 %" if ratio < 1e-3 else f"{100 * ratio:.2g} %"


def part(share: float) -> str:
    """A share of what is counted: all, none, 25 %."""
    return "all" if share == 1 else "none" if share == 0 else f"{100 * share:.3g} %"


def counted(number: int, noun: str) -> str:
    """1 seed, 3 seeds."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(values: Iterable[float]) -> str:
    """Rates, or other values of an axis, in two digits: 1e-05, 0.01."""
    return ", ".join(f"{value:.2g}" for value in values)


def joined(names: Sequence[object]) -> str:
    """1; 1 and 2; 1, 2 and 3."""
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last


def between(values: Any, digits: int = 3) -> str:
    """From the smallest to the largest of what is known: 1 to 3, or 2 where they are the same."""
    known = _known(values)
    if not known.size:
        return "unknown"
    low, high = (f"{value:.{digits}g}" for value in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"


def spread(values: Any, digits: int = 3) -> str:
    """Median of what is known, over seeds mostly, and where it is wider the whole range: 0.31 (0.2 to 0.4)."""
    known = _known(values)
    if not known.size:
        return "unknown"
    middle, whole = f"{np.median(known):.{digits}g}", between(known, digits)
    return middle if whole == middle else f"{middle} ({whole})"


def interval(values: Any, unit: float) -> str:
    """Median over seeds with its bootstrap interval, times a unit: 31 (25 to 40); one seed has no interval."""
    told = over_seeds(np.asarray(values, np.float64))
    return with_ends(told, unit) if told.seeds else "unknown"


def in_percent(values: Any) -> str:
    """Median over seeds with its bootstrap interval, in percent to a tenth."""
    return interval(np.round(values, 3), 100)


def with_ends(told: OverSeeds, unit: float = 1) -> str:
    """A statistic over seeds with its interval, times a unit: 31 (25 to 40); of one seed without."""
    middle = f"{unit * told.middle:.3g}"
    return middle if told.seeds < 2 else f"{middle} ({between_ends(told, unit)})"


def between_ends(told: OverSeeds, unit: float) -> str:
    """The ends of an interval, times a unit: 25 to 40."""
    return f"{unit * told.low:.3g} to {unit * told.high:.3g}"


def factor(told: OverSeeds) -> str:
    """exp of a difference of logarithms over seeds, with its interval: 3.5 (3 to 4.5)."""
    return with_ends(told._replace(middle=np.exp(told.middle), low=np.exp(told.low), high=np.exp(told.high)))


def few_seeds(seeds: int) -> list[str]:
    """A line on intervals over so few seeds that none is as wide as it should be."""
    if not 2 <= seeds < ENOUGH_SEEDS:
        return []
    misses = 2 ** (seeds - 1)
    return [f"Of as few as {seeds} seeds an interval is the range at most, which misses the median once in {misses}."]


def tabular(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table, its columns flush right."""
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) + 3 for column in zip(*cells, strict=True)]
    return ["".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def wrapped(line: str) -> str:
    """A line in at most 120 columns, what follows its first row indented by two more."""
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return textwrap.fill(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


def _known(values: Any) -> np.ndarray:
    numbers = np.asarray(values, np.float64)
    return numbers[np.isfinite(numbers)]
