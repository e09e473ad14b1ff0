"""Losses between the rates of a sweep, and over the base loss, the axis that all optimisers share."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..rich_and_lazy.matching import reaching, read_at

_BUDGETS, _RATES, _SEEDS, BASE = "pretrain_steps", "learning_rate", "seed", "base_loss"


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


def rate_to(losses: xr.Dataset, level: float) -> Float[np.ndarray, " seeds"]:
    """Logarithm of the rate by which the last checkpoint's fine-tuning loss falls to a level; NaN where none does."""
    log, _, on_finetune = _values(losses)
    found = np.full(on_finetune.shape[2], np.nan)
    for seed in range(len(found)):
        sound = np.isfinite(on_finetune[-1, :, seed])
        found[seed] = reaching(log[sound], on_finetune[-1, sound, seed], level)
    return found


def at_one_rate(losses: xr.Dataset, place: Float[np.ndarray, " seeds"]) -> Float[np.ndarray, "budgets seeds"]:
    """Pre-training losses at one rate for all budgets, one a seed, between the rates of a sweep."""
    log, after, _ = _values(losses)
    found = np.full((after.shape[0], after.shape[2]), np.nan)
    for seed in range(after.shape[2]):
        sound = np.isfinite(after[:, :, seed]).all(axis=0)
        if sound.sum() > 1 and log[sound][0] <= place[seed] <= log[sound][-1]:
            found[:, seed] = read_at(log[sound], after[:, sound, seed], place[seed])
    return found


def at_own_rates(losses: xr.Dataset, level: float) -> Float[np.ndarray, "budgets seeds"]:
    """Pre-training losses where every checkpoint has the smallest rate that takes its fine-tuning loss to a level."""
    log, after, on_finetune = _values(losses)
    found = np.full((after.shape[0], after.shape[2]), np.nan)
    for budget, seed in itertools.product(range(after.shape[0]), range(after.shape[2])):
        sound = np.isfinite(after[budget, :, seed])
        place = reaching(log[sound], on_finetune[budget, sound, seed], level)
        found[budget, seed] = read_at(log[sound], after[budget, sound, seed], place)
    return found


def _values(losses: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of the rates, and both losses over (budgets, rates, seeds)."""
    dims = (_BUDGETS, _RATES, _SEEDS)
    told = losses[["pretrain_loss_after", "finetune_loss_after"]].transpose(*dims)
    return np.log(losses[_RATES].values), told["pretrain_loss_after"].values, told["finetune_loss_after"].values
