"""Curves over the budget at equal fine-tuning loss, read between the rates of a chart, and what they come to."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.interpolate import Akima1DInterpolator

from linsim.labels import lost_lanes
from linsim.theory.turns import locate

_BUDGETS, _RATES, _SEEDS, _LEVELS = "pretrain_steps", "learning_rate", "seed", "level"
_PARTS = 64  # of the interval between two rates, straight in each


def losses_of(chart: xr.Dataset) -> xr.Dataset:
    """Losses after fine-tuning on both tasks over (budgets, rates, seeds), infinite where a run tells nothing."""
    losses = chart[["pretrain_loss_after", "finetune_loss_after"]].where(~lost_lanes(chart), np.inf)
    return losses.isel(regularization=0, drop=True)


def parts_of(losses: xr.DataArray) -> xr.Dataset:
    """What harm is made of: the least loss over the budgets, the last one, and how far this is above it."""
    least, last = losses.min(_BUDGETS), losses.isel({_BUDGETS: -1}, drop=True)
    excess = (last - least).where(~np.isinf(last), np.inf)
    return xr.Dataset({"excess": excess, "least": least, "last": last})


def at_equal_loss(losses: xr.Dataset, levels: xr.DataArray) -> xr.Dataset:
    """Curves at one rate for all budgets, such that the last checkpoint's fine-tuning loss falls to a level.

    Args:
      losses: of a chart, over (budgets, rates, seeds).
      levels: fine-tuning losses.

    Returns:
      `rate`, `curve` of pre-training losses, and what it comes to: `inflection_steps`, `harm` and its parts; NaN where
      no rate reaches the level.
    """
    log, after, on_finetune = _values(losses)
    rate = np.full((levels.size, after.shape[2]), np.nan)
    curve = np.full((*rate.shape, len(after)), np.nan)
    for (number, level), seed in itertools.product(enumerate(levels.values), range(after.shape[2])):
        sound = np.isfinite(after[:, :, seed]).all(axis=0)
        place = reaching(log[sound], on_finetune[-1, sound, seed], float(level))
        rate[number, seed] = np.exp(place)
        curve[number, seed] = read_at(log[sound], after[:, sound, seed], place)
    cells = (_LEVELS, _SEEDS)
    coords = {_LEVELS: levels[_LEVELS], **{name: losses.coords[name] for name in (_SEEDS, _BUDGETS)}}
    found = xr.Dataset({"rate": (cells, rate), "curve": ((*cells, _BUDGETS), curve)}, coords)
    turn = locate(losses[_BUDGETS].values, np.moveaxis(curve, -1, 0))
    found = found.assign(inflection_steps=(cells, turn.steps), harm=(cells, turn.harm))
    return found.merge(parts_of(found["curve"]))


def at_tuned_rates(losses: xr.Dataset, levels: xr.DataArray) -> xr.DataArray:
    """Harm where every checkpoint is tuned at its own rate to the same fine-tuning loss; NaN where not all reach it."""
    log, after, on_finetune = _values(losses)
    curve = np.full((len(after), levels.size, after.shape[2]), np.nan)
    for budget, (number, level), seed in itertools.product(
        range(len(after)), enumerate(levels.values), range(after.shape[2])
    ):
        sound = np.isfinite(after[budget, :, seed])
        place = reaching(log[sound], on_finetune[budget, sound, seed], float(level))
        curve[budget, number, seed] = read_at(log[sound], after[budget, sound, seed], place)
    harm = curve[-1] / curve.min(axis=0) - 1
    return xr.DataArray(harm, {_LEVELS: levels[_LEVELS], _SEEDS: losses[_SEEDS]}, (_LEVELS, _SEEDS))


def _values(losses: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of the rates, and both losses over (budgets, rates, seeds)."""
    return np.log(losses[_RATES].values), losses["pretrain_loss_after"].values, losses["finetune_loss_after"].values


def reaching(log_rates: Float[np.ndarray, " rates"], losses: Float[np.ndarray, " rates"], level: float) -> float:
    """Logarithm of the rate at which a loss first falls to a level; NaN where it is outside the rates."""
    below = np.flatnonzero(losses <= level)
    if len(log_rates) < 2 or not len(below) or below[0] == 0:
        return np.nan
    places = np.linspace(log_rates[below[0] - 1], log_rates[below[0]], _PARTS + 1)
    values = Akima1DInterpolator(log_rates, np.log(np.maximum(losses, 1e-300)))(places)
    after = max(int(np.argmax(values <= np.log(level))), 1)
    share = (values[after - 1] - np.log(level)) / (values[after - 1] - values[after])
    return float(places[after - 1] + share * (places[after] - places[after - 1]))


def read_at(
    log_rates: Float[np.ndarray, " rates"], losses: Float[np.ndarray, "*curves rates"], place: float
) -> np.ndarray:
    """Losses at a rate between others, by Akima's cubics in the logarithms: local, as losses end in rounding."""
    if not np.isfinite(place):
        return np.full(losses.shape[:-1], np.nan)
    return np.asarray(np.exp(Akima1DInterpolator(log_rates, np.log(losses), axis=-1)(place)))
