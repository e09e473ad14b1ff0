"""A result as large as a browser bears: some of its budgets and cells, evenly spread, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from .subject import Subject

MOST_NUMBERS = 2_000_000
"""In a page: about 5 MB, drawn at once."""
MOST_ALONG = 64
"""Cells along each axis of a map, every one of which is reached by keyboard."""
_FEWEST = {"budget": 24, "other": 2}


def thinned(dataset: xr.Dataset, subject: Subject, most: int = MOST_NUMBERS) -> tuple[xr.Dataset, list[str]]:
    """The result with at most so many numbers, and what was left out, in words.

    Budgets go first, down to two dozen, then what is not on the map, then its cells; ends stay, and turns are those of
    the whole curves.

    Args:
      dataset: any result.
      subject: whose variables count.
      most: numbers.
    """
    before = {dim: dataset.sizes[dim] for dim in subject.order}
    kept = dict(before)
    for dim in filter(None, (subject.x, subject.y)):
        kept[dim] = min(kept[dim], MOST_ALONG)
    names = [name for name in (*subject.curves, *subject.cells, *subject.flags) if name in dataset]
    while (size := _numbers(dataset, names, kept)) > most:
        dims = [subject.budget, *subject.others, *subject.seeds, *filter(None, (subject.x, subject.y))]
        least = {dim: _FEWEST["budget" if dim == subject.budget else "other"] for dim in dims}
        larger = [dim for dim in dims if kept[dim] > least[dim]]
        if not larger:
            break
        dim = larger[0]
        kept[dim] = max(least[dim], int(kept[dim] / min(2.0, size / most)) - 1)
    chosen = {dim: _spread(before[dim], kept[dim]) for dim in before if kept[dim] < before[dim]}
    said = [f"{len(at)} of {before[dim]} {dim.replace('_', ' ')} values" for dim, at in chosen.items()]
    return dataset.isel(chosen), said


def _numbers(dataset: xr.Dataset, names: list[str], kept: dict[str, int]) -> int:
    return sum(math.prod(kept.get(str(dim), dataset.sizes[dim]) for dim in dataset[name].dims) for name in names)


def _spread(count: int, kept: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, kept).round().astype(int))
