"""Where more pre-training begins to harm: the turn of a curve over budgets, how deep it is, and how sure that is.

The turn is the budget of the smallest value; harm is what going on to the largest budget costs. A curve is known at its
budgets alone: between them a cubic spline reads it (`linsim.theory.reading`), and where the spline may be wrong by more
than a tolerance the turn is not resolved, and says so.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linsim.errors import LARGEST, brief, brief_fields, numbers, require, require_kind, require_number, require_size
from linsim.theory.reading import Reading, read

TOLERANCE = 0.02
"""Relative error that harm may have where nothing else is said."""
LEAST_HARM = 0.01
"""Harm that is not called none, likewise."""
LEAST_EXCESS = 0.001
"""Excess that is not called none, likewise."""


@dataclass(frozen=True)
class Criteria:
    """What counts as a turn, and how exactly it is told."""

    tolerance: float = TOLERANCE
    """Relative error that harm may have; values within this of the least one belong to the plateau around it."""
    least_harm: float = LEAST_HARM
    """Harm up to this is no turn."""
    least_excess: float = LEAST_EXCESS
    """Excess up to this is no turn. Errors below tolerance x this x scale do not count, so that values that are next to
    nothing need not be told apart."""

    def validate(self) -> None:
        """Raise `InvalidInput` unless 0 < tolerance < 1, least_harm >= 0 and 0 <= least_excess < 1."""
        require_number("tolerance", self.tolerance, above=0, below=1)
        require_number("least_harm", self.least_harm, at_least=0)
        require_number("least_excess", self.least_excess, at_least=0, below=1)


class Turn(NamedTuple):
    """Where curves over budgets have their least value, over the trailing axes of the curves."""

    steps: Float[np.ndarray, "..."]
    """Budget of the least value, between budgets; NaN where the turn is not material: harm and excess are not both
    above the criteria, or not known. The first budget means at or before it: such a curve rises from the start."""
    lowest: Float[np.ndarray, "..."]
    """The same, material or not; NaN where nothing is known."""
    low: Float[np.ndarray, "..."]
    """Smallest budget at which the curve is within the tolerance of its least value."""
    high: Float[np.ndarray, "..."]
    """Largest such budget: far from `low` on a plateau."""
    least: Float[np.ndarray, "..."]
    """The least value."""
    last: Float[np.ndarray, "..."]
    """The value at the largest budget; NaN where that is unknown."""
    harm: Float[np.ndarray, "..."]
    """last / least - 1; NaN where the largest budget is unknown, 0 where both are 0, infinite where only least is."""
    excess: Float[np.ndarray, "..."]
    """(last - least) / scale; NaN without a scale."""
    resolved: Bool[np.ndarray, "..."]
    """Whether harm is told within the tolerance; where it is not, all this is of the smallest known value."""
    inside: Bool[np.ndarray, "..."]
    """Whether the least value is neither at the first nor at the last known budget."""

    def __repr__(self) -> str:
        return brief_fields(self)


def locate(
    budgets: Int[np.ndarray, " steps"],
    loss: Float[np.ndarray, "budgets ..."],
    unknown: Bool[np.ndarray, "budgets ..."] | None = None,
    *,
    scale: float | None = None,
    floor: float = 0.0,
    criteria: Criteria | None = None,
) -> Turn:
    """Find the turn of every curve of losses, or of any other measure that is not negative, over budgets.

    Args:
      budgets: pre-training steps, increasing.
      loss: after fine-tuning, budgets along the first axis; what is not finite is unknown.
      unknown: what is not known besides, such as lanes that diverged or are beyond the edge of stability.
      scale: what an excess is relative to, for losses that of the zero network; without one harm alone decides.
      floor: values below this are rounding and count as equal; see `rounding_floor`.
      criteria: what is material, and the tolerance.

    Returns:
      Of every curve what `Turn` tells; NaN where nothing turns, or nothing is known, and infinite harm where the least
      loss is 0 and the last is not.

    Raises:
      InvalidInput: budgets that do not increase or do not match the losses, a scale that is not above 0, criteria
        outside their domains.

    Example:
      >>> budgets = np.array([10, 20, 40, 80, 160, 320, 640, 1280])
      >>> turn = ls.locate(budgets, 1 + np.log(budgets / 40.0) ** 2, scale=10.0)
      >>> turn.steps.round(1), turn.harm.round(2), turn.excess.round(2), bool(turn.resolved)
      (np.float64(40.0), np.float64(12.01), np.float64(1.2), True)
    """
    criteria, values, known = _checked(budgets, loss, unknown, scale, floor, criteria)
    near = _near(scale, criteria)
    columns = {name: np.full(known.shape[1], np.nan) for name in ("lowest", "low", "high", "least", "observed")}
    resolved, inside = np.zeros(known.shape[1], bool), np.zeros(known.shape[1], bool)
    for which, at in _alike(known):
        reading = read(budgets[at], values[np.ix_(at, which)], floor)
        allowed = _allowed(reading, criteria, near)
        sure = np.asarray(~_doubt(reading, allowed).any(axis=0))
        told = reading.without_spline(~sure)
        low, high = told.within(told.least + criteria.tolerance * np.maximum(told.least, near))
        found = {"lowest": told.place, "low": low, "high": high, "least": told.least, "observed": reading.smallest}
        for name, column in found.items():
            columns[name][which] = column
        resolved[which] = sure & known[-1, which]
        inside[which] = (told.place > budgets[at[0]]) & (told.place < budgets[at[-1]])
    last = np.where(known[-1], values[-1], np.nan)
    harm, observed = _harm(last, columns["least"]), _harm(last, columns["observed"])
    excess = (last - columns["least"]) / (np.nan if scale is None else scale)
    turns = material(observed, (last - columns["observed"]) / (np.nan if scale is None else scale), criteria)
    steps = np.where(turns, columns["lowest"], np.nan)
    told_of = columns["lowest"], columns["low"], columns["high"], columns["least"], last, harm, excess, resolved, inside
    return Turn(*(column.reshape(loss.shape[1:])[()] for column in (steps, *told_of)))


def material(
    harm: Float[np.ndarray, "..."], excess: Float[np.ndarray, "..."], criteria: Criteria
) -> Bool[np.ndarray, "..."]:
    """Whether harm and excess are above the criteria; an excess that is NaN, for want of a scale, does not count."""
    return (harm > criteria.least_harm) & ~(excess <= criteria.least_excess)


def doubtful(
    budgets: Int[np.ndarray, " steps"],
    loss: Float[np.ndarray, "budgets ..."],
    unknown: Bool[np.ndarray, "budgets ..."] | None = None,
    *,
    scale: float | None = None,
    floor: float = 0.0,
    criteria: Criteria | None = None,
) -> Int[np.ndarray, " intervals"]:
    """For every interval between budgets, in how many curves it keeps the turn from being resolved.

    Such an interval may hold a value lower than the least known one by more than the tolerance; a further budget in
    its middle tells. Arguments are those of `locate`.

    Example:
      >>> budgets = np.array([10, 20, 40, 80, 160, 320, 640, 1280])
      >>> ls.doubtful(budgets, 1 + np.log(budgets / 50.0) ** 4, scale=10.0)
      array([1, 1, 1, 1, 0, 0, 0])
    """
    criteria, values, known = _checked(budgets, loss, unknown, scale, floor, criteria)
    counts = np.zeros(len(budgets) - 1, int)
    for which, at in _alike(known):
        reading = read(budgets[at], values[np.ix_(at, which)], floor)
        doubt = _doubt(reading, _allowed(reading, criteria, _near(scale, criteria))).sum(axis=1)
        beside = np.diff(at) == 1  # what lies between two known budgets is not known to be known
        counts[at[:-1][beside]] += doubt[beside]
    return counts


def further(
    budgets: Int[np.ndarray, " budgets"], counts: Int[np.ndarray, " intervals"], most: int
) -> Int[np.ndarray, " further"]:
    """Budgets to add within doubtful intervals: their geometric middles, then those of the halves, and so on.

    Args:
      budgets: increasing.
      counts: of `doubtful`; intervals that keep more curves from being resolved come first.
      most: as many, unless there are fewer whole steps in between.
    """
    intervals = [(0, -int(counts[at]), int(budgets[at]), int(budgets[at + 1])) for at in np.flatnonzero(counts)]
    heapq.heapify(intervals)
    found: list[int] = []
    while intervals and len(found) < most:
        level, count, low, high = heapq.heappop(intervals)
        if high - low > 1:
            middle = min(max(round(math.sqrt(low * high)), low + 1), high - 1)
            found.append(middle)
            heapq.heappush(intervals, (level + 1, count, low, middle))
            heapq.heappush(intervals, (level + 1, count, middle, high))
    return np.sort(np.asarray(found, int))


def rounding_floor(zero_loss: float, dtype: np.dtype[Any]) -> float:
    """Loss below which a curve shows rounding: eps^(3/2) x the loss of the zero network.

    Descent at rate eta stops moving when its step is lost in the weights, at a relative residual of about eps / (4 eta
    s); the loss is its square, below eps^(3/2) for every eta s above eps^(1/4) / 4, which is 3e-5 in float64.
    """
    return float(np.finfo(dtype).eps ** 1.5) * zero_loss


def _checked(
    budgets: np.ndarray,
    loss: np.ndarray,
    unknown: np.ndarray | None,
    scale: float | None,
    floor: float,
    criteria: Criteria | None,
) -> tuple[Criteria, np.ndarray, np.ndarray]:
    """Criteria, values (budgets, curves) and which of them are known."""
    criteria = Criteria() if criteria is None else require_kind("criteria", criteria, Criteria)
    criteria.validate()
    steps = numbers("budgets", budgets, 1, above=0)
    losses = numbers("loss", loss, finite=False)
    require(losses.ndim > 0, "loss", loss, "losses over budgets")
    require(len(steps) == len(losses), "budgets", f"{len(steps)} values", f"one for each of the {len(losses)} losses")
    require(bool(np.all(np.diff(steps) > 0)), "budgets", budgets, "strictly increasing values")
    if scale is not None:
        require_number("scale", scale, above=0, at_most=LARGEST)
    require_number("floor", floor, at_least=0, at_most=LARGEST)
    values = losses.reshape(len(losses), -1)
    known = np.isfinite(values)
    if unknown is not None:
        told = getattr(unknown, "shape", None) == losses.shape and unknown.dtype == bool
        require(told, "unknown", brief(unknown), f"an array of flags of the shape of the losses, {losses.shape}")
        known &= ~np.asarray(unknown).reshape(values.shape)
    require(not (known & (values < 0)).any(), "loss", "values below 0", "losses, or what else is not negative")
    require_size("loss", float(np.max(values, where=known, initial=0.0)))
    return criteria, np.maximum(np.where(known, values, 0.0), floor), known


def _alike(known: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Curves known at the same budgets, together: numbers of the curves, and of the budgets."""
    patterns, of = np.unique(known, axis=1, return_inverse=True)
    groups = (
        (np.flatnonzero(of.ravel() == each), np.flatnonzero(patterns[:, each])) for each in range(patterns.shape[1])
    )
    return [(which, at) for which, at in groups if len(at)]


def _near(scale: float | None, criteria: Criteria) -> float:
    return 0.0 if scale is None else criteria.least_excess * float(scale)


def _allowed(reading: Reading, criteria: Criteria, near: float) -> np.ndarray:
    """Error of the least value that moves harm by the tolerance: d harm / harm = d least (1 + harm) / (least harm)."""
    harm = np.maximum(_harm(reading.values[-1], reading.least), criteria.least_harm)
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(harm), 1.0, harm / (1 + harm))
    return criteria.tolerance * np.maximum(reading.least * share, near)


def _doubt(reading: Reading, allowed: np.ndarray) -> np.ndarray:
    """Whether an interval may hold a value lower than the least by more than is allowed, or holds it too roughly."""
    doubt = reading.bounds < reading.least - allowed
    doubt |= reading.holds_place & (reading.errors > allowed)
    return doubt & (np.diff(reading.budgets) > 1)[:, None]  # there are no half steps


def _harm(last: np.ndarray, least: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(last == least, 0.0, last / least - 1)
