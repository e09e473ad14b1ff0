"""What curves over the budget come to, and whether thresholds of a mode decide them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import PchipInterpolator

from linsim.labels import lost_lanes
from linsim.theory.turns import locate

from ..curves import material_harm

HARDLY, NOTHING = 2 / 3, float(np.sqrt(2))
"""Ratios beta / c from which on a mode learned in full is worse than one hardly learned, and than none."""
LEARNED = 1e-3
"""Share of the head's loss up to which it counts as learned."""
_CURVE = ("objective", "duration", "bases", "asked", "ratio", "seed")


def read(found: xr.Dataset) -> xr.Dataset:
    """Best and last loss, excess and harm of all curves, and what the thresholds say of them, right or wrong.

    Args:
      found: losses over (objective, duration, bases, asked, ratio, pretrain_steps, seed).

    Returns:
      It with `best`, `last`, `excess`, `harm` (0 where immaterial), `lowest_steps` and `inflection_steps`;
      `threshold_hardly` and `threshold_nothing`, the ratios from which on the last budget is worse;
      `right_hardly`, `right_nothing`, and the same of modes, 1 or 0, NaN where they say nothing: for targets that ask
      for all modes, where the first and the last budget learn them, and that depend on the bases.
    """
    told = found.assign(_turns(found)).assign(_decided(found)).assign(_modes(found))
    return told.assign(_thresholds(found)).assign(best_strength=_best_strength(found))


def _turns(found: xr.Dataset) -> dict[str, Any]:
    losses = (found["pretrain_loss_after"] / found["zero_loss"]).transpose("pretrain_steps", *_CURVE)
    lost = lost_lanes(found).transpose(*losses.dims)
    turn = locate(found["pretrain_steps"].values, losses.values, lost.values, scale=1.0, floor=1e-9)
    zero = np.expand_dims(found["zero_loss"].values, tuple(range(1, len(_CURVE))))
    told = {
        "best": turn.least * zero,
        "last": turn.last * zero,
        "excess": turn.excess,
        "harm": material_harm(turn.harm, turn.excess),
        "inflection_steps": turn.steps,
        "lowest_steps": turn.lowest,
    }
    return {name: (_CURVE, values) for name, values in told.items()}


def _decided(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Of the whole loss, after long training on all modes: their ratios are the same."""
    after = found["pretrain_loss_after"].sel(duration="long", asked="all", drop=True)
    first, last = (after.isel(pretrain_steps=at, drop=True) for at in (0, -1))
    known = learned(found) & ~(same_bases(found) & (found["bases"] == "random"))
    return {
        "right_hardly": ((last > first) == (found["ratio"] > HARDLY)).where(known),
        "right_nothing": ((last > found["zero_loss"]) == (found["ratio"] > NOTHING)).where(known),
    }


def _thresholds(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Ratios from which on the last loss is above the first, and above that of W = 0, between ratios by cubics."""
    after = found["pretrain_loss_after"].sel(duration="long", asked="all", drop=True)
    first, last = (after.isel(pretrain_steps=at, drop=True) for at in (0, -1))
    known = learned(found)
    signed = {"threshold_hardly": last - first, "threshold_nothing": last - found["zero_loss"]}
    return {
        name: xr.apply_ufunc(
            _crossing,
            each.where(known),
            kwargs={"at": each["ratio"].values},
            input_core_dims=[["ratio"]],
            vectorize=True,
        )
        for name, each in signed.items()
    }


def _crossing(values: np.ndarray, at: np.ndarray) -> float:
    """Where values first pass from below 0 to above; NaN where they do not."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.nan
    roots = PchipInterpolator(at[known], values[known], extrapolate=False).roots(extrapolate=False)
    return float(roots[0]) if len(roots) and values[known][0] < 0 else np.nan


def _modes(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """Of every mode: its loss is a multiple of (s / c - 1)^2 where W^T W is diagonal."""
    strength = found["strength_after"].sel(bases="modes", asked="all", drop=True)
    first, last = (abs(strength.isel(pretrain_steps=at, drop=True) - 1) for at in (0, -1))
    known = learned(found).sel(bases="modes", drop=True)
    return {
        "mode_right_hardly": ((last > first) == (found["ratio"] > HARDLY)).where(known),
        "mode_right_nothing": ((last > 1) == (found["ratio"] > NOTHING)).where(known),
    }


def same_bases(found: xr.Dataset) -> xr.DataArray:
    """Objectives whose limits are all the same: a target in proportion to them, for all modes, has no bases."""
    return found["limit"].max("mode") == found["limit"].min("mode")


def learned(found: xr.Dataset) -> xr.DataArray:
    """Where the first and the last budget have learned all that the target asks for."""
    left = found["finetune_left"].sel(duration="long", asked="all", drop=True).isel(pretrain_steps=[0, -1])
    return (left <= LEARNED).all("pretrain_steps")


def _best_strength(found: xr.Dataset) -> xr.DataArray:
    """s / c before fine-tuning from which a mode ends at its limit, between budgets by cubics; NaN where none does."""
    after = found["strength_after"].sel(bases="modes", asked="all", drop=True)
    after = after.transpose("objective", "mode", "ratio", "seed", "pretrain_steps")
    before = found["strength_before"].transpose("objective", "mode", "seed", "pretrain_steps")
    best = after.isel(pretrain_steps=0, drop=True).copy(data=np.full(after.shape[:-1], np.nan))
    for place in np.ndindex(best.shape):
        ends, starts = after.values[place], before.values[(*place[:2], place[3])]
        rising = np.append(True, ends[1:] > np.maximum.accumulate(ends)[:-1]) & np.isfinite(ends)
        if rising.sum() > 1:
            best.values[place] = PchipInterpolator(ends[rising], starts[rising], extrapolate=False)(1.0)
    return best
