"""Rules by which a fine-tuning rate, or a step to stop at, is chosen for every checkpoint from its held-out loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from linsim.labels import counted_harm
from linsim.theory.turns import locate

RULES = ("fixed", "tuned", "tuned, any rate", "stopped", "stopped within 1 %", "matched")
"""The largest rate allowed; the rate of least held-out loss up to it, and among all; at the largest rate allowed the
step of least held-out loss, and the first within 1 % of it; the smallest of all rates that reaches a held-out loss
within reach of every checkpoint."""

WITHIN = 1.01
"""First stop: held-out loss over the least of the run."""

MATCHED = 1.05
"""Matched held-out loss over what the worst checkpoint reaches at best: max over budgets of min over rates."""

EQUAL = 1e-12
"""Held-out losses that differ by less than this share of the zero network's are equal: those of converged runs."""

MATCHED_AT_LEAST = 0.01
"""The same as a share of the zero network's loss, where converged runs come down to rounding."""


class Curves(NamedTuple):
    """What fine-tuning leads to, over any times: rates at a fixed number of steps, or steps at a fixed rate."""

    times: Float[np.ndarray, " times"]
    """Rate x steps, increasing."""
    pretrain: Float[np.ndarray, "*batch times"]
    """Pre-training loss."""
    heldout: Float[np.ndarray, "*batch times"]
    """Fine-tuning loss on fresh examples, without the constant of their label noise; infinite where diverged."""

    def up_to(self, count: int) -> Curves:
        """The first times only."""
        return Curves(self.times[:count], self.pretrain[..., :count], self.heldout[..., :count])


class Chosen(NamedTuple):
    """What a rule leads to, for every checkpoint."""

    time: Float[np.ndarray, "*batch"]
    """Rate x steps; NaN where every run diverged, or none reaches the level."""
    pretrain: Float[np.ndarray, "*batch"]
    heldout: Float[np.ndarray, "*batch"]


def longest(curves: Curves) -> Chosen:
    """The last time, whatever it leads to."""
    ends = curves.pretrain[..., -1], curves.heldout[..., -1]
    lost = ~np.isfinite(ends[1])
    time, *values = (np.where(lost, np.nan, value) for value in (np.full(lost.shape, curves.times[-1]), *ends))
    return Chosen(time, *values)


def best(curves: Curves, floor: ArrayLike = 0.0) -> Chosen:
    """The time of the least held-out loss, between the times tried where a parabola through three says so.

    Args:
      curves: of every checkpoint.
      floor: differences of held-out losses up to it, the same for all or of every curve, are rounding; of losses that
        are equal but for rounding, as of runs that have all converged, the first time is taken.
    """
    floor, least = np.asarray(floor), curves.heldout.min(axis=-1)
    equal = curves.heldout <= (least + floor)[..., None]
    middle = np.argmax(equal, axis=-1)
    last = len(curves.times) - 1
    around = np.clip(middle, 1, max(last - 1, 0))[..., None] + np.arange(-1, 2) if last >= 2 else None
    chosen = _at(curves, middle)
    if around is None:
        return chosen
    x = np.log(curves.times)[around]
    held, equal = (np.take_along_axis(values, around, -1) for values in (curves.heldout, equal))
    inside = (middle > 0) & (middle < last) & np.isfinite(held).all(axis=-1)
    held = np.where(inside[..., None], held, np.arange(3) ** 2.0)
    place, bends = _vertex(x, held)
    refined = inside & bends & (least > floor) & ~equal[..., 2]
    pretrain, heldout = (
        _quadratic(x, np.where(inside[..., None], np.take_along_axis(values, around, -1), 0.0), place)
        for values in (curves.pretrain, curves.heldout)
    )
    smooth = np.exp(np.where(refined, place, 0.0)), pretrain, heldout
    return Chosen(*(np.where(refined, new, old) for new, old in zip(smooth, chosen, strict=True)))


def first_below(curves: Curves, level: Float[np.ndarray, "*batch"]) -> Chosen:
    """The first time whose held-out loss is at most the level, between two times where the second is the first so."""
    level = np.where(np.isfinite(level), level, -1.0)  # of runs that all diverged, none of which counts
    below = curves.heldout <= level[..., None]
    second = np.argmax(below, axis=-1)
    first = np.maximum(second - 1, 0)
    high, low = (np.take_along_axis(curves.heldout, at[..., None], -1)[..., 0] for at in (first, second))
    between = (second > 0) & np.isfinite(high)
    high, low = np.where(between, high, level + 1), np.where(between, low, level)
    share = np.where(between, (level - low) / (high - low), 0.0)
    reached = below.any(axis=-1)
    early, late = _at(curves, first), _at(curves, second)
    mixed = (
        np.where(between, share * np.where(between, a, 0.0) + (1 - share) * b, b)
        for a, b in zip(early, late, strict=True)
    )
    return Chosen(*(np.where(reached, value, np.nan) for value in mixed))


def by_rule(rates: Curves, stops: Curves, allowed: int, zero_loss: ArrayLike) -> dict[str, Chosen]:
    """Every rule of RULES.

    Args:
      rates: over rates at the full number of steps; shape (..., budgets, seeds, rates).
      stops: over steps at the largest rate allowed; shape (..., budgets, seeds, stops).
      allowed: number of rates that may be used, the last of which is the largest.
      zero_loss: fine-tuning loss of the zero network, the same for all or of every curve.
    """
    zero_loss = np.asarray(zero_loss)
    floor, limited = EQUAL * zero_loss, rates.up_to(allowed)
    reached = rates.heldout.min(axis=-1)
    level = np.maximum(MATCHED * reached.max(axis=-2, keepdims=True), MATCHED_AT_LEAST * zero_loss)
    first = np.maximum(WITHIN * stops.heldout.min(axis=-1), floor)
    chosen = (
        longest(limited),
        best(limited, floor),
        best(rates, floor),
        best(stops, floor),
        first_below(stops, first),
        first_below(rates, np.broadcast_to(level, reached.shape)),
    )
    return dict(zip(RULES, chosen, strict=True))


def outcomes(
    losses: xr.Dataset, steps: int, largest: float, zero_loss: np.ndarray, pretrain_zero_loss: float, floor: float
) -> xr.Dataset:
    """What every rule chooses and leads to, and harm over rates, fixed or tuned up to them.

    Args:
      losses: pre-training and held-out, at every rate and every stop of the largest rate allowed; NaN where diverged.
      steps: of fine-tuning.
      largest: rate allowed, among those of the losses.
      zero_loss: fine-tuning loss of the zero network, for every factor.
      pretrain_zero_loss: pre-training loss of the zero network.
      floor: pre-training losses below it are rounding.
    """
    over = ("trained_on", "factor", "pretrain_steps", "seed")

    def curves(prefix: str, times: np.ndarray) -> Curves:
        both = (losses[f"{prefix}{task}_loss_after"].transpose(*over, ...) for task in ("pretrain", "heldout"))
        return Curves(times, *(loss.fillna(np.inf).values for loss in both))

    def stacked(axis: str, chosen: Iterable[Chosen], what: str) -> xr.DataArray:
        return xr.DataArray(np.stack([getattr(each, what) for each in chosen]), dims=(axis, *over))

    def turns(loss: xr.DataArray) -> xr.Dataset:
        first = loss.transpose("pretrain_steps", ...)
        turn = locate(losses["pretrain_steps"].values, first.values, scale=pretrain_zero_loss, floor=floor)
        return xr.Dataset({"inflection_steps": (first.dims[1:], turn.steps), "harm": (first.dims[1:], turn.harm)})

    rates = curves("", losses["learning_rate"].values * steps)
    stops = curves("stopped_", losses["stop_steps"].values * largest)
    allowed, zero_loss = int((losses["learning_rate"] <= largest).sum()), zero_loss[:, None, None]
    chosen = by_rule(rates, stops, allowed, zero_loss).values()
    loss = stacked("rule", chosen, "pretrain")
    by_rules = turns(loss)
    swept = [rates.up_to(count) for count in range(1, len(rates.times) + 1)]
    fixed = turns(stacked("learning_rate", map(longest, swept), "pretrain"))
    tuned = turns(stacked("learning_rate", (best(each, EQUAL * zero_loss) for each in swept), "pretrain"))
    found = {
        "rule_pretrain_loss": loss,
        "rule_heldout_loss": stacked("rule", chosen, "heldout"),
        "rule_time": stacked("rule", chosen, "time"),
        "rule_harm": by_rules["harm"],
        "rule_inflection_steps": by_rules["inflection_steps"],
        "fixed_harm": counted_harm(fixed),
        "tuned_harm": counted_harm(tuned),
    }
    return xr.Dataset(found).transpose("trained_on", "factor", "rule", "learning_rate", "pretrain_steps", "seed")


def _at(curves: Curves, index: np.ndarray) -> Chosen:
    pretrain, heldout = (
        np.take_along_axis(values, index[..., None], -1)[..., 0] for values in (curves.pretrain, curves.heldout)
    )
    known = np.isfinite(heldout)
    return Chosen(*(np.where(known, value, np.nan) for value in (curves.times[index], pretrain, heldout)))


def _vertex(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Bool[np.ndarray, "*batch"]]:
    """Place of the minimum of the parabola through three points, and whether it opens upwards."""
    rise = (y[..., 1:] - y[..., :-1]) / np.diff(x)
    bend = (rise[..., 1] - rise[..., 0]) / (x[..., 2] - x[..., 0])
    opens = bend > 0
    middle = (x[..., 0] + x[..., 1]) / 2
    return middle - rise[..., 0] / (2 * np.where(opens, bend, 1.0)), opens


def _quadratic(x: np.ndarray, y: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The parabola through three points at a place."""
    total = np.zeros(place.shape)
    for one in range(3):
        others = [x[..., k] for k in range(3) if k != one]
        weight = np.prod([(place - other) / (x[..., one] - other) for other in others], axis=0)
        total = total + weight * y[..., one]
    return total
