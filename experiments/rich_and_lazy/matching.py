"""Curves over the budget at equal rates and at equal fine-tuning loss, and what linear dynamics says of them.

Where |l| is far above all strengths both phases are linear: with e = exp(-2 |l| t), E = exp(-2 |l| T), D = A_ft - A and
R = A - P_0,

    P - A = (1 - E) D - E e R      after pre-training for t and fine-tuning for T,

so that every mode, learned or not, is tuned at the same speed. The loss is a parabola in e, (1 - E)^2 |D|^2 at the end
and at least (1 - c^2) times that, c = <D, R> / (|D| |R|): harm is at most c^2 / (1 - c^2) at any rate, and 0 where c <=
0. At the end sqrt(L_pre) + sqrt(L_ft) = |D|, the least that the triangle allows any network. [re-derived]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import Akima1DInterpolator

from linsim.problem import Problem
from linsim.theory.inflection import locate

_PARTS = 64  # of the interval between two rates, straight in each


class Along(NamedTuple):
    """What a curve of losses over the budget comes to."""

    inflection_steps: Float[np.ndarray, "..."]
    harm: Float[np.ndarray, "..."]
    """Relative: loss at the last budget / least - 1."""
    excess: Float[np.ndarray, "..."]
    """Absolute: loss at the last budget - least."""
    least: Float[np.ndarray, "..."]
    last: Float[np.ndarray, "..."]


class Matched(NamedTuple):
    """The same, at the rate at which the last checkpoint reaches a fine-tuning loss; NaN where no rate does."""

    rate: Float[np.ndarray, "levels seeds"]
    inflection_steps: Float[np.ndarray, "levels seeds"]
    harm: Float[np.ndarray, "levels seeds"]
    excess: Float[np.ndarray, "levels seeds"]
    least: Float[np.ndarray, "levels seeds"]
    last: Float[np.ndarray, "levels seeds"]
    curve: Float[np.ndarray, "levels seeds budgets"]


def along_budgets(budgets: Int[np.ndarray, " budgets"], loss: Float[np.ndarray, "budgets ..."]) -> Along:
    """Inflection, harm, and the losses it is made of."""
    turn = locate(budgets, loss)
    least, last = loss.min(axis=0), loss[-1]
    excess = np.subtract(last, least, out=np.full_like(last, np.inf), where=np.isfinite(last))
    return Along(turn.steps, turn.harm, excess, least, last)


def matched_last(
    budgets: Int[np.ndarray, " budgets"],
    rates: Float[np.ndarray, " rates"],
    after: Float[np.ndarray, "budgets rates seeds"],
    on_finetune: Float[np.ndarray, "budgets rates seeds"],
    levels: Float[np.ndarray, " levels"],
) -> Matched:
    """Curves at one rate for all budgets, such that the last checkpoint's fine-tuning loss falls to a level.

    Between rates by Akima's cubics in the logarithms: local, as losses end in rounding.
    """
    seeds = after.shape[2]
    found = np.full((6, len(levels), seeds), np.nan)
    curves = np.full((len(levels), seeds, len(budgets)), np.nan)
    log = np.log(rates)
    for seed in range(seeds):
        sound = np.isfinite(after[:, :, seed]).all(axis=0)
        for number, level in enumerate(levels):
            place = _reaching(log[sound], on_finetune[-1, sound, seed], float(level))
            if np.isfinite(place):
                curve = np.exp(Akima1DInterpolator(log[sound], np.log(after[:, sound, seed]), axis=1)(place))
                found[:, number, seed] = np.exp(place), *along_budgets(budgets, curve)
                curves[number, seed] = curve
    rate, steps, harm, excess, least, last = found
    return Matched(rate, steps, harm, excess, least, last, curves)


def matched_each(
    rates: Float[np.ndarray, " rates"],
    after: Float[np.ndarray, "budgets rates seeds"],
    on_finetune: Float[np.ndarray, "budgets rates seeds"],
    levels: Float[np.ndarray, " levels"],
) -> Float[np.ndarray, "levels seeds"]:
    """Harm where every checkpoint is tuned at its own rate to the same fine-tuning loss; NaN where not all reach it."""
    log, seeds = np.log(rates), after.shape[2]
    harm = np.full((len(levels), seeds), np.nan)
    for seed in range(seeds):
        for number, level in enumerate(levels):
            curve = np.full(len(after), np.nan)
            for budget, (losses, reached) in enumerate(zip(after[:, :, seed], on_finetune[:, :, seed], strict=True)):
                sound = np.isfinite(losses)
                place = _reaching(log[sound], reached[sound], float(level))
                if np.isfinite(place):
                    curve[budget] = np.exp(Akima1DInterpolator(log[sound], np.log(losses[sound]))(place))
            harm[number, seed] = curve[-1] / min(curve) - 1 if np.isfinite(curve).all() else np.nan
    return harm


def _reaching(log_rates: Float[np.ndarray, " _"], losses: Float[np.ndarray, " _"], level: float) -> float:
    """Logarithm of the rate at which a loss first falls to a level; NaN where it is outside the rates."""
    below = np.flatnonzero(losses <= level)
    if len(log_rates) < 2 or not len(below) or below[0] == 0:
        return np.nan
    places = np.linspace(log_rates[below[0] - 1], log_rates[below[0]], _PARTS + 1)
    values = Akima1DInterpolator(log_rates, np.log(np.maximum(losses, 1e-300)))(places)
    after = max(int(np.argmax(values <= np.log(level))), 1)
    share = (values[after - 1] - np.log(level)) / (values[after - 1] - values[after])
    return float(places[after - 1] + share * (places[after] - places[after - 1]))


def lazy_harm(problem: Problem) -> Float[np.ndarray, " seeds"]:
    """c^2 / (1 - c^2) of every start, the most that linear dynamics can do."""
    shift, missing = _shift_and_missing(problem)
    overlap = np.maximum(np.einsum("oi,soi->s", shift, missing), 0) ** 2
    rest = np.maximum(np.sum(shift**2) * np.sum(missing**2, axis=(1, 2)) - overlap, 0)
    return np.divide(overlap, rest, out=np.where(overlap > 0, np.inf, 0.0), where=rest > 0)


def lazy_curves(problem: Problem, levels: Float[np.ndarray, " levels"]) -> Float[np.ndarray, "levels seeds budgets"]:
    """The loss after both phases by linear dynamics, tuned to E^2 = level of the fine-tuning loss that was there."""
    shift, missing = _shift_and_missing(problem)
    first, second = problem.initial
    speed = np.linalg.eigvalsh(np.swapaxes(second, 1, 2) @ second + first @ np.swapaxes(first, 1, 2)).max(axis=1)
    left = np.exp(-2 * problem.pretrain.learning_rate * speed[:, None] * problem.budgets)[None, ..., None, None]
    kept = np.sqrt(levels)[:, None, None, None, None]
    away = (1 - kept) * shift - kept * left * missing[None, :, None]
    return np.asarray(np.sum(away**2, axis=(-1, -2)))


def _shift_and_missing(
    problem: Problem,
) -> tuple[Float[np.ndarray, "d_out d_in"], Float[np.ndarray, "seeds d_out d_in"]]:
    """D = A_ft - A, and R = A - P_0 of every start."""
    target, (first, second) = problem.transfer.pretrain.target, problem.initial
    return problem.transfer.finetune.target - target, target - second @ first
