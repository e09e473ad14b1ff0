"""Whether the budget that is best after the first tuning costs anything after the second."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds

from ..words import NEGLIGIBLE, few_seeds, in_percent, interval, joined, percent, tabular

_SHORT = {"back": "back", "head": "strong modes", "random": "random"}
_WORDS = {"back": "back on the pre-training task", "head": "with strong modes multiplied", "random": "a random target"}

_ALONE, _DRAWN = "aligned", "random"
"""Bases of one run, and of one a seed."""
_APART = 1.15
"""Ratio from which on budgets are called different: nearly that of neighbours."""


def find(dataset: xr.Dataset) -> Finding:
    """Whether the first choice of the budget costs pre-training loss after the second fine-tuning.

    Cases are second tasks and rates in random bases: in aligned ones there is one run, which has no interval. Seen
    where the interval over seeds of what it costs lies above what is negligible, in some case; not seen where it is
    negligible in all; nobody can tell otherwise, and of one seed nothing.
    """
    cells = {key: over_seeds(_values(dataset, *key)) for key in _keys(dataset) if key[0] == _DRAWN}
    known = {key: told for key, told in cells.items() if told.seeds > 1}
    seen = {key: told for key, told in known.items() if told.ends[0] > NEGLIGIBLE}
    details = tuple(_beside(dataset, cells))
    counts = {"cells": len(cells), "known": len(known), "seen": len(seen)}
    if seen:
        sentence = (
            f"A budget chosen after one tuning costs loss later in {len(seen)} of {len(cells)} cases (random bases): "
            f"medians up to {joined(_most_of(dataset, _DRAWN))}"
        )
        numbers = {f"most_{second}": _most(known, second) for second in map(str, dataset["second"].values)}
        return Finding(sentence, "seen", counts | numbers, details)
    none = 0 < len(known) == len(cells) and all(told.ends[1] <= NEGLIGIBLE for told in known.values())
    verdict: Verdict = "not seen" if none else "cannot tell"
    sentence = f"The budget that is best after one fine-tuning is as good after the next, in all {len(cells)} cases"
    if not none:
        sentence = (
            "What the first choice of a budget costs later cannot be told: runs diverge, or seeds are few or differ"
        )
    return Finding(sentence, verdict, counts, details)


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each second task and rate, by bases: choices, what the first one costs, and harm of the longest."""
    heads = ("bases", "second task", "rate", "best after 1", "after 2", "cost in %", "harm % after 1", "after 2")
    rows = []
    for bases, second, rate in _keys(dataset):
        cell = dataset.sel(bases=bases, second=second, learning_rate=rate)
        steps = [interval(cell[name], 1) for name in ("chosen_steps", "best_steps")]
        harms = [in_percent(cell[name]) for name in ("harm_after", "harm_later")]
        rows.append([bases, second, f"{rate:g}", *steps, in_percent(cell["regret"]), *harms])
    return tabular(heads, rows)


def _most(known: dict[tuple[str, str, float], OverSeeds], second: str) -> float:
    return max((told.middle for (_, name, _), told in known.items() if name == second), default=np.nan)


def _most_of(dataset: xr.Dataset, bases: str) -> list[str]:
    """The largest median cost of each second task; a bound where the best budget is the first that was tried."""
    told, least = [], float(dataset["pretrain_steps"].values.min())
    for second in map(str, dataset["second"].values):
        place = dataset.sel(bases=bases, second=second)
        middle = place["regret"].median("seed")
        if bool(middle.notnull().any()):
            most = place.isel(learning_rate=int(np.nanargmax(middle.values)))
            bound = " or more" if bool((most["best_steps"] == least).any()) else ""
            told.append(f"{percent(float(middle.max()))}{bound} ({_SHORT[second]})")
    return told


def _keys(dataset: xr.Dataset) -> list[tuple[str, str, float]]:
    return [
        (str(bases), str(second), float(rate))
        for bases in dataset["bases"].values
        for second in dataset["second"].values
        for rate in dataset["learning_rate"].values
    ]


def _values(dataset: xr.Dataset, bases: str, second: str, rate: float, name: str = "regret") -> np.ndarray:
    return np.asarray(dataset[name].sel(bases=bases, second=second, learning_rate=rate).values)


def _beside(dataset: xr.Dataset, cells: dict[tuple[str, str, float], OverSeeds]) -> Iterator[str]:
    """By second task, aligned bases, recovery, which way the best budget goes, and the closed form."""
    for second in dataset["second"].values:
        told = [each for (_, name, _), each in cells.items() if name == second and each.seeds]
        if told:
            most = max(each.middle for each in told)
            some = sum(each.seeds > 1 and each.ends[0] > NEGLIGIBLE for each in told)
            place = dataset.sel(second=second, bases=_DRAWN)
            single = float(place["regret"].max())
            moved = place["best_steps"] / place["chosen_steps"]
            later, earlier = int((moved > _APART).sum()), int((moved < 1 / _APART).sum())
            yield (
                f"Second task {_WORDS[str(second)]}: it costs something in {some} of {len(told)} cases, medians up to "
                f"{percent(most)} and single seeds up to {percent(single)}; the best budget is later than before in "
                f"{later} runs, earlier in {earlier}, of {int(moved.count())}."
            )
    if _ALONE in dataset["bases"].values and (alone := _most_of(dataset, _ALONE)):
        yield f"Aligned bases, one run each, which has no interval: costs up to {joined(alone)}."
    for bases in dataset["bases"].values:
        if "back" in dataset["second"].values:
            back = dataset["recovered"].sel(bases=bases, second="back")
            parts = [f"{in_percent(back.sel(learning_rate=r))} at {r:g}" for r in back["learning_rate"].values]
            words = f"the longest budget regains, in % of what it forgot ({bases}): {', '.join(parts)}"
            yield f"Back on the pre-training task {words}."
    theory = dataset["predicted_pretrain_loss_later"]
    if bool(theory.notnull().any()):
        off = float(abs(dataset["pretrain_loss_later"] - theory).max() / theory.max())
        yield f"After three phases the mode solution, iterated, is off by {percent(off)} of the largest loss at most."
    yield from few_seeds(dataset.sizes["seed"])
