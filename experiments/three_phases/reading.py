"""What curves over the budget come to after each tuning: choices, what they cost later, harm and recovery."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.theory.turns import LEAST_EXCESS, locate

from ..curves import material_harm

_BUDGETS = "pretrain_steps"


def read(found: xr.Dataset) -> xr.Dataset:
    """With choices of the budget after each tuning, and what the first one costs after the second.

    Args:
      found: losses over (bases, second, learning_rate, pretrain_steps, seed), over those of the zero network.

    Returns:
      It with `chosen_steps`, `best_steps`, `regret` (0 where its excess is immaterial), `regret_excess`, `harm_after`,
      `harm_later` and `recovered`; NaN where nothing is known.
    """
    names = ("pretrain_loss_before", "pretrain_loss_after", "pretrain_loss_later")
    before, after, later = (found[name].transpose(_BUDGETS, ...) for name in names)
    place = before.isel({_BUDGETS: 0}, drop=True)
    known = np.all(np.isfinite(after.values) & np.isfinite(later.values), axis=0)

    def told(values: np.ndarray, where: np.ndarray = known) -> xr.DataArray:
        return place.copy(data=np.where(where, values, np.nan))

    steps = found[_BUDGETS].values.astype(np.float64)
    first, second = (np.argmin(np.where(known, each.values, 0.0), axis=0) for each in (after, later))
    chosen, least = (np.take_along_axis(later.values, at[None], 0)[0] for at in (first, second))
    forgot, kept = ((each - before).values[-1] for each in (after, later))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, recovered = chosen / least - 1, 1 - kept / forgot
    excess = told(chosen - least)
    return found.assign(
        chosen_steps=told(steps[first]),
        best_steps=told(steps[second]),
        regret=material_harm(told(ratio), excess),
        regret_excess=excess,
        harm_after=_harm(after),
        harm_later=_harm(later),
        recovered=told(recovered, known & (abs(forgot) > LEAST_EXCESS)),
    )


def _harm(curves: xr.DataArray) -> xr.DataArray:
    """Material harm of the longest budget, in losses over those of the zero network."""
    ordered = curves.transpose(_BUDGETS, ...)
    turn = locate(ordered[_BUDGETS].values, ordered.values, scale=1.0)
    return ordered.isel({_BUDGETS: 0}, drop=True).copy(data=material_harm(turn.harm, turn.excess))
