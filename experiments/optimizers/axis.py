"""Losses between the rates of a sweep, and over the base loss, the axis that all optimisers share."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.interpolate import Akima1DInterpolator

from ..rich_and_lazy.matching import reaching

BASE = "base_loss"
RELATIVE = 2.0 ** np.arange(-1, 3)
"""Rates of fine-tuning, over the fixed one."""
_FIXED = 1


def shares(end: float, count: int) -> Float[np.ndarray, " shares"]:
    """Base losses in shares of the zero network's, from near 1 to the end, evenly in the logarithm."""
    return np.geomspace(0.99, end, count)


def on_axis(
    values: Float[np.ndarray, "budgets seeds"],
    before: Float[np.ndarray, "budgets seeds"],
    levels: Float[np.ndarray, " levels"],
) -> Float[np.ndarray, "levels seeds"]:
    """Values over budgets at given base losses, straight in log(base loss); NaN where a run does not come by.

    Where the base loss rises again, at a floor, only what is below all before counts.
    """
    found = np.full((len(levels), values.shape[1]), np.nan)
    for seed in range(values.shape[1]):
        lowest = np.minimum.accumulate(np.nan_to_num(before[:, seed], nan=np.inf))
        new = np.append(True, lowest[1:] < lowest[:-1]) & np.isfinite(values[:, seed]) & (lowest > 0)
        if new.sum() > 1:
            base, told = np.log(lowest[new][::-1]), values[new, seed][::-1]
            found[:, seed] = np.interp(np.log(levels), base, told, left=np.nan, right=np.nan)
    return found


def at_one_rate(losses: xr.Dataset) -> Float[np.ndarray, "budgets seeds"]:
    """Pre-training losses at the fixed rate, NaN where a run tells nothing."""
    after, _ = _values(losses)
    return np.where(np.isfinite(after[:, _FIXED]), after[:, _FIXED], np.nan)


def at_own_rates(losses: xr.Dataset, level: float) -> Float[np.ndarray, "budgets seeds"]:
    """Pre-training losses where every checkpoint has the smallest rate that takes its fine-tuning loss to a level.

    Between rates by Akima's cubics: of logarithms for the fine-tuning loss, which falls, and of the pre-training loss
    itself, which may pass by 0.
    """
    after, on_finetune = _values(losses)
    found, log = np.full((after.shape[0], after.shape[2]), np.nan), np.log(RELATIVE)
    for budget, seed in itertools.product(range(after.shape[0]), range(after.shape[2])):
        sound = np.isfinite(after[budget, :, seed])
        place = reaching(log[sound], on_finetune[budget, sound, seed], level)
        if np.isfinite(place):
            found[budget, seed] = Akima1DInterpolator(log[sound], after[budget, sound, seed])(place)
    return np.maximum(found, 0)


def _values(losses: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Both losses over (budgets, rates, seeds)."""
    told = losses[["pretrain_loss_after", "finetune_loss_after"]].transpose("pretrain_steps", "relative_rate", "seed")
    return told["pretrain_loss_after"].values, told["finetune_loss_after"].values
