"""Harm along each axis of a sweep, over all others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.labels import counted_harm, texts

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MEDIAN = QUANTILES.index(0.5)

_INFINITE = 1e300  # stands for infinite harm where quantiles are interpolated


def quantiles_along(harm: xr.DataArray, axis: str) -> tuple[Float[np.ndarray, "values quantiles"], int]:
    """Quantiles of harm over all other axes at every value of one, and over how many cells.

    Counted are the same cells at every value: those with a harm at all of them. Values at which every run diverged are
    left out of this, and NaN.

    Args:
      harm: of every cell; infinite where the largest budget diverged, NaN where all did.
      axis: one of its dimensions.
    """
    values = harm.transpose(axis, ...).values.reshape(harm.sizes[axis], -1)
    known = ~np.isnan(values)
    live = known.any(axis=1)
    everywhere = known[live].all(axis=0)
    if not everywhere.any():
        # No cell has a harm at all of them: then all that there are.
        everywhere[:] = True
    found = np.full((len(values), len(QUANTILES)), np.nan)
    for row in np.flatnonzero(live):
        cells = values[row, everywhere & known[row]]
        if len(cells):
            found[row] = np.quantile(np.minimum(cells, _INFINITE), QUANTILES)
    return np.where(found > _INFINITE * 1e-12, np.inf, found), int(everywhere.sum() if live.any() else 0)


def moved(quantiles: Float[np.ndarray, "values quantiles"]) -> float:
    """By how much an axis moves harm: the range of log(1 + median harm) along it; NaN with less than two values."""
    median = quantiles[:, MEDIAN]
    median = median[~np.isnan(median)]
    if len(median) < 2:
        return np.nan
    low, high = np.min(median), np.max(median)
    return 0.0 if low == high else float(np.log1p(high) - np.log1p(low))


def add_effects(dataset: xr.Dataset, axes: Iterable[str]) -> xr.Dataset:
    """The result with `harm_along_AXIS` (AXIS, quantile) of every axis and `harm_moved` (axis): of harm that counts."""
    names, found = list(axes), {}
    told = {"long_name": "quantiles of harm over all other axes, at every value the same cells", "units": "1"}
    moves = []
    for axis in names:
        values, cells = quantiles_along(counted_harm(dataset), axis)
        found[f"harm_along_{axis}"] = ((axis, "quantile"), values, told | {"cells": cells})
        moves.append(moved(values))
    dataset = dataset.assign_coords(
        axis=("axis", texts(names), {"long_name": "swept field"}),
        quantile=("quantile", list(QUANTILES), {"long_name": "share of the cells at or below"}),
    )
    rise = {"long_name": "range of log(1 + median harm) along the axis", "units": "1"}
    return dataset.assign(found).assign(harm_moved=("axis", np.asarray(moves, np.float64), rise))
