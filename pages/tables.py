"""League tables of a result, to be sorted: a row for each case, medians over seeds; and fronts of two losses."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import xarray as xr

from .subject import axis_of, is_budget, is_seed

_MOST_ROWS = 1000
_MOST_POINTS = 4000
_PAIR = ("finetune_loss_after", "pretrain_loss_after")

Told = tuple[list[dict[str, Any]], list[str]]
"""What there is, and what is left out for its size, in words."""


def tables(dataset: xr.Dataset, mapped: Collection[str] = ()) -> Told:
    """Variables of the same axes together, those with the most columns first.

    Each is {axes, columns, rows}: columns of name, words, units; rows of the axes' values, then [median, low, high]
    over seeds, or a word. An infinite number is the word that the variable has for it in `beyond`, or unknown. `seeds`
    is whether there are any.

    Args:
      dataset: any result.
      mapped: axes of maps, whose cells are told there.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, variable in dataset.data_vars.items():
        axes = [str(dim) for dim in variable.dims if not is_seed(str(dim))]
        told_elsewhere = any(is_budget(dim) or dim in mapped for dim in axes)
        if axes and not told_elsewhere and all(dim in dataset.coords for dim in variable.dims):
            groups.setdefault(tuple(sorted(axes, key=list(map(str, dataset.dims)).index)), []).append(str(name))
    groups = {axes: names for axes, names in groups.items() if _named(dataset, axes)}
    rows = {axes: math.prod(dataset.sizes[dim] for dim in axes) for axes in groups}
    told = [_table(dataset, axes, names) for axes, names in groups.items() if rows[axes] <= _MOST_ROWS]
    long = [axes for axes in groups if rows[axes] > _MOST_ROWS]
    left_out = [f"no table by {', '.join(axes).replace('_', ' ')} of {rows[axes]} rows" for axes in long]
    return sorted(told, key=lambda table: -len(table["columns"])), left_out


def _named(dataset: xr.Dataset, axes: tuple[str, ...]) -> bool:
    """Whether its cases have names, as those that are compared have."""
    return any(dataset[dim].dtype.kind not in "fiub" for dim in axes)


def _table(dataset: xr.Dataset, axes: tuple[str, ...], names: list[str]) -> dict[str, Any]:
    axes = tuple(sorted(axes, key=lambda dim: (dataset[dim].dtype.kind in "fiub", axes.index(dim))))
    columns = [_column(dataset, name) for name in names]
    spans = [_spans(dataset[name], axes) for name in names]
    places = list(np.ndindex(*(dataset.sizes[dim] for dim in axes)))
    told = [axis_of(dataset, dim) for dim in axes]
    values: list[Any] = [axis["values"] for axis in told]
    rows = [
        [*(each[at] for each, at in zip(values, place, strict=True)), *(span[row] for span in spans)]
        for row, place in enumerate(places)
    ]
    seeds = any(is_seed(str(dim)) and dataset.sizes[dim] > 1 for name in names for dim in dataset[name].dims)
    return {"axes": told, "columns": columns, "rows": rows, "seeds": seeds}


def _column(dataset: xr.Dataset, name: str) -> dict[str, str]:
    attrs = dataset[name].attrs
    words = str(attrs.get("long_name", name.replace("_", " ")))
    return {"name": name, "words": words, "units": str(attrs.get("units", ""))}


def _spans(variable: xr.DataArray, axes: tuple[str, ...]) -> list[Any]:
    """Of every case median, least and most over seeds, None where nothing is known; words as they are."""
    values = variable.transpose(*axes, ...).values
    flat = values.reshape(math.prod(values.shape[: len(axes)]), -1)
    if values.dtype.kind not in "fiub":
        return [", ".join(dict.fromkeys(map(str, row))) for row in flat]
    beyond = variable.attrs.get("beyond")
    spans: list[Any] = []
    for row in flat.astype(np.float64):
        known = row[np.isfinite(row) | (np.isposinf(row) & (beyond is not None))]
        span = [float(f"{take(known):.7g}") for take in (np.median, np.min, np.max)] if known.size else None
        spans.append(span and [value if math.isfinite(value) else str(beyond) for value in span])
    return spans


def fronts(dataset: xr.Dataset) -> Told:
    """For each named case the points that no other of its own beats in both losses, medians over seeds.

    Each is {words, points}, points of (fine-tuning loss, pre-training loss), from small to large; none where a result
    has no such losses, or no named cases.
    """
    if any(name not in dataset for name in _PAIR) or set(dataset[_PAIR[0]].dims) != set(dataset[_PAIR[1]].dims):
        return [], []
    axes = [dim for dim in dataset[_PAIR[0]].dims if dim in dataset.coords and dataset[dim].dtype.kind not in "fiub"]
    if not axes:
        return [], []
    pair = [dataset[name].median([dim for dim in dataset[name].dims if is_seed(str(dim))]) for name in _PAIR]
    told = []
    for place in np.ndindex(*(dataset.sizes[dim] for dim in axes)):
        at = dict(zip(axes, place, strict=True))
        points = np.stack([each.isel(at).transpose(*pair[0].isel(at).dims).values.ravel() for each in pair], axis=1)
        front = _front(points[np.isfinite(points).all(axis=1)])
        words = ", ".join(str(dataset[dim].values[index]) for dim, index in at.items())
        told.append({"words": words, "points": [[float(f"{value:.5g}") for value in point] for point in front]})
    count = sum(len(each["points"]) for each in told)
    return (told, []) if count <= _MOST_POINTS else ([], [f"no fronts of {count} points"])


def _front(points: np.ndarray) -> np.ndarray:
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    best = np.minimum.accumulate(ordered[:, 1]) if len(ordered) else ordered[:, 0]
    kept = np.append(True, best[1:] < best[:-1])[: len(ordered)]
    return ordered[kept]
