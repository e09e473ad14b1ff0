"""What curves over the budget come to by each recipe of fine-tuning, and where the shifted modes are by the line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.labels import PLAIN, SQUARED, STEPS, Label
from linsim.theory.stages import critical_effort, tuned
from linsim.theory.turns import LEAST_EXCESS, LEAST_HARM, Turn, locate

from ..curves import material_harm
from ..rich_and_lazy.matching import reaching, read_at
from .rows import Tasks

FIXED, LOSS, REACH = "one time", "equal loss", "equal reach"
RECIPES = (FIXED, LOSS, REACH)
"""The same for all data: T; what is left of the fine-tuning loss; v sigma T of the strongest mode that is shifted."""

_AFTER = "base loss after fine-tuning"
LABELS = {
    "recipe": Label("what of fine-tuning is the same for all data"),
    "time": Label("flow time of fine-tuning", "flow time"),
    "curve": Label(_AFTER, SQUARED),
    "best": Label(f"least {_AFTER}", SQUARED),
    "last": Label(f"{_AFTER}, from the largest budget", SQUARED),
    "harm": Label(f"{_AFTER}: last / least - 1, 0 where the excess is immaterial", PLAIN),
    "excess": Label(f"{_AFTER}: last - least, over the zero network's", PLAIN),
    "turn_steps": Label("budget of the least", STEPS),
    "stopped_harm": Label("harm of pre-training that stops at its least base loss", PLAIN),
    "stopped_excess": Label("excess of pre-training that stops at its least base loss", PLAIN),
    "base_stop_steps": Label("budget of the least base loss, where going on is material overfitting", STEPS),
    "base_harm": Label("base loss before fine-tuning: last / least - 1, 0 where it is immaterial", PLAIN),
    "most_beyond": Label("v sigma T / kappa of the strongest mode that is shifted", PLAIN),
    "least_beyond": Label("v sigma T / kappa of the weakest mode that is shifted", PLAIN),
    "last_over_shift": Label("last base loss over ||(A_ft - A) S^(1/2)||^2", PLAIN),
    "best_over_shift": Label("least base loss over ||(A_ft - A) S^(1/2)||^2", PLAIN),
    "predicted_last": Label("last base loss of aligned modes learned in full, in closed form", SQUARED),
    "net": Label("last base loss over what the shifted modes have when not learned, - 1", PLAIN),
}


@dataclass(frozen=True)
class Rules:
    """What the recipes fix."""

    time: float
    level: float
    reach: float
    factor: float

    @cached_property
    def kappa(self) -> float:
        """Of the line; infinite where nothing is taken beyond twice its strength."""
        return float(critical_effort(2, self.factor)) if self.factor > 2 else np.inf


_tuned = jax.jit(tuned)  # one program in place of as many as it has operations


class Curves(NamedTuple):
    """Of all kinds of data, one teacher each cell."""

    budgets: Float[np.ndarray, " budgets"]
    times: Float[np.ndarray, " times"]
    before: Float[np.ndarray, "data seeds budgets"]
    """Base loss of the checkpoints."""
    base: Float[np.ndarray, "data seeds budgets times"]
    """Base loss after fine-tuning; infinite where a run tells nothing."""
    left: Float[np.ndarray, "data seeds budgets times"]
    """Fine-tuning loss that is matched, over that before fine-tuning."""


def read(curves: Curves, tasks: list[list[Tasks]], rules: Rules) -> xr.Dataset:
    """All of `LABELS` over (data, seed, recipe); NaN where a recipe has no such time among those that were tried."""
    cells, count = curves.before.shape[:2], len(curves.budgets)
    zero = np.array([[posed.judged.zero_loss for posed in row] for row in tasks])
    stops, overfits = _stops(curves, zero)
    times = np.full((*cells, len(RECIPES)), np.nan)
    whole, early = (np.full((*times.shape, count), np.nan) for _ in "ab")
    for cell in np.ndindex(cells):
        for at, recipe in enumerate(RECIPES):
            end = count - 1
            times[(*cell, at)] = np.exp(_log_time(recipe, curves, cell, tasks[cell[0]][cell[1]], rules, end))
            whole[(*cell, at)] = early[(*cell, at)] = _curve(curves, cell, times[(*cell, at)])
            if (stop := stops[cell]) < end and recipe == LOSS:
                own = np.exp(_log_time(recipe, curves, cell, tasks[cell[0]][cell[1]], rules, int(stop)))
                early[(*cell, at)] = _curve(curves, cell, own)
    turn = _turns(curves.budgets, whole, zero)
    stopped_harm, stopped_excess = material_harm(turn.harm, turn.excess, LEAST_HARM), np.array(turn.excess)
    for cell in zip(*np.nonzero(stops < count - 1), strict=True):
        kept = slice(None, stops[cell] + 1)
        alone = _turns(curves.budgets[kept], early[cell][:, kept], zero[cell])
        stopped_harm[cell], stopped_excess[cell] = material_harm(alone.harm, alone.excess, LEAST_HARM), alone.excess
    dims = ("data", "seed", "recipe")
    found = {"time": times, "best": turn.least * zero[..., None], "last": turn.last * zero[..., None]}
    found |= {"harm": material_harm(turn.harm, turn.excess, LEAST_HARM), "excess": turn.excess}
    found |= {"turn_steps": turn.steps, "stopped_harm": stopped_harm, "stopped_excess": stopped_excess}
    found |= _placed(found, tasks, rules)
    overfitting = {"base_stop_steps": np.where(stops < count - 1, curves.budgets[stops], np.nan), "base_harm": overfits}
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()}
        | {name: (dims[:2], values) for name, values in overfitting.items()}
        | {"curve": ((*dims, "pretrain_steps"), whole)}
    )


def _turns(budgets: np.ndarray, curves: np.ndarray, zero: np.ndarray) -> Turn:
    """Of curves over (cells, recipes, budgets), in units of the zero network's loss."""
    known = np.moveaxis(curves / zero[..., None, None], -1, 0)
    return locate(budgets, np.where(np.isfinite(known), known, np.nan), scale=1.0)


def _stops(curves: Curves, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the budget of the least base loss, of the last where going on does no material harm; that harm."""
    before = curves.before
    least = np.argmin(before, axis=-1)
    low, last = np.take_along_axis(before, least[..., None], axis=-1)[..., 0], before[..., -1]
    rises = (last > (1 + LEAST_HARM) * low) & (last - low > LEAST_EXCESS * zero)
    return np.where(rises, least, before.shape[-1] - 1), np.where(rises, last / low - 1, 0.0)


def _log_time(recipe: str, curves: Curves, cell: tuple[int, ...], tasks: Tasks, rules: Rules, end: int) -> float:
    """Logarithm of the flow time of a recipe; by equal loss that of the checkpoint at the end."""
    if recipe == FIXED:
        return float(np.log(rules.time))
    if recipe == REACH:
        known = tasks.reach.size and np.isfinite(rules.kappa)
        return float(np.log(rules.reach * rules.kappa / tasks.reach.max())) if known else np.nan
    sound = np.isfinite(curves.base[cell]).all(axis=0)
    return reaching(np.log(curves.times[sound]), curves.left[cell][end, sound], rules.level)


def _curve(curves: Curves, cell: tuple[int, ...], time: float) -> Float[np.ndarray, " budgets"]:
    """Base losses between the times that were tried."""
    sound = np.isfinite(curves.base[cell]).all(axis=0)
    logs = np.log(curves.times[sound])
    inside = len(logs) > 2 and logs[0] <= np.log(time) <= logs[-1]
    return read_at(logs, curves.base[cell][:, sound], float(np.log(time)) if inside else np.nan)


def _placed(found: dict[str, np.ndarray], tasks: list[list[Tasks]], rules: Rules) -> dict[str, np.ndarray]:
    """Where the shifted modes are by the line, and last losses beside what modes by themselves say."""
    names = ("most_beyond", "least_beyond", "last_over_shift", "best_over_shift", "predicted_last", "net")
    told = {name: np.full(found["time"].shape, np.nan) for name in names}
    modes: dict[tuple[int, ...], np.ndarray] = {}
    for cell in np.ndindex(found["time"].shape[:2]):
        posed, times = tasks[cell[0]][cell[1]], found["time"][cell]
        if posed.reach.size:
            told["most_beyond"][cell] = posed.reach.max() * times / rules.kappa
            told["least_beyond"][cell] = posed.reach.min() * times / rules.kappa
        apart = float(posed.judged.loss_of(posed.finetune.target))
        if apart > 0:
            told["last_over_shift"][cell] = found["last"][cell] / apart
            told["best_over_shift"][cell] = found["best"][cell] / apart
        right, strengths = posed.judged.right, posed.judged.strengths
        along = right.T @ posed.judged.input_covariance @ right
        variances = np.diag(along)
        if posed.trained is posed.judged and np.abs(along - np.diag(variances)).max() < 1e-9:
            modes[cell] = np.stack([strengths, posed.finetune.strengths, variances])
            told["net"][cell] = found["last"][cell] / np.sum((variances * strengths**2)[posed.shifted]) - 1
    if modes:
        strengths, goals, variances = np.stack(list(modes.values()), axis=1)[..., None, :]
        times = np.stack([found["time"][cell] for cell in modes])
        strengths, goals, efforts = np.broadcast_arrays(strengths, goals, variances * np.nan_to_num(times)[..., None])
        with jax.enable_x64(True):
            ends = np.asarray(_tuned(strengths, goals, 0.0, efforts))
        losses = np.sum(variances * (ends - strengths) ** 2, axis=-1)
        for cell, last, known in zip(modes, losses, np.isfinite(times), strict=True):
            told["predicted_last"][cell] = np.where(known, last, np.nan)
    return told
