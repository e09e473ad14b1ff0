"""What curves of losses over the budget come to, where they are made of others: harm, and which of it counts."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import xarray as xr

from linsim.theory.turns import LEAST_EXCESS, locate

_BUDGETS = "pretrain_steps"
Values = TypeVar("Values", np.ndarray, xr.DataArray)


def harm_of(curves: xr.DataArray) -> xr.DataArray:
    """Last over smallest, less 1, of curves over the budgets."""
    ordered = curves.transpose(_BUDGETS, ...)
    turn = locate(ordered[_BUDGETS].values, ordered.values.astype(np.float64))
    return ordered.isel({_BUDGETS: 0}, drop=True).copy(data=turn.harm)


def material_harm(harm: Values, excess: Values, least_harm: float = -np.inf) -> Values:
    """Harm that is material, else 0: next to a loss near 0 a ratio says nothing. An excess that is NaN hides nothing.

    Of a dataset with `inflection_steps` it is `linsim.labels.counted_harm`.

    Args:
      harm: NaN where it is not known, which stays.
      excess: in units of the zero network's loss.
      least_harm: up to which harm is none; by default only the excess decides.
    """

    def count(harm: np.ndarray, excess: np.ndarray) -> np.ndarray:
        return np.where((harm <= least_harm) | (excess <= LEAST_EXCESS), 0.0, harm)

    told: Values = xr.apply_ufunc(count, harm, excess, keep_attrs=True)
    return told
