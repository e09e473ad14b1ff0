"""Where extra pre-training becomes harmful: the inflection point located in simulated curves.

The inflection point is the pre-training budget with the smallest pre-training loss after fine-tuning. Harm is what
pre-training on to the largest budget costs: loss there / smallest loss - 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline

from linsim.errors import brief_fields, require
from linsim.problem import Problem


class Inflection(NamedTuple):
    """Inflection points and harm, over the trailing axes of the curves they come from."""

    steps: Float[np.ndarray, "..."]
    """Budget of the smallest loss, refined between budgets; NaN where the curve never turns. The first budget means
    at or before it: such a curve rises from the start."""
    harm: Float[np.ndarray, "..."]
    """Loss at the largest budget / smallest loss - 1; infinite where the largest budget diverged, NaN if all did."""

    def __repr__(self) -> str:
        return brief_fields(self)


def locate(
    budgets: Int[np.ndarray, " steps"],
    loss: Float[np.ndarray, "budgets ..."],
    diverged: Bool[np.ndarray, "budgets ..."] | None = None,
    resolution: float | None = None,
    floor: float = 0.0,
) -> Inflection:
    """Find the inflection point of every curve of losses over budgets.

    The smallest loss is refined between budgets by a cubic spline over log budget.

    Args:
      budgets: pre-training steps, increasing.
      loss: loss after fine-tuning, budgets along the first axis.
      diverged: lanes to keep out of the minima; they count as infinitely bad.
      resolution: harm below this is rounding, not a turn; default the square root of the dtype's epsilon, which the
        accumulated rounding of any sensible number of steps stays under.
      floor: losses below this are rounding too and count as equal; see `rounding_floor`.

    Example:
      >>> budgets = np.array([10, 20, 40, 80, 160])
      >>> ls.locate(budgets, loss=1 + np.log(budgets / 40) ** 2)
      Inflection(steps=40, harm=1.92181)
    """
    require(len(budgets) == len(loss), "budgets", f"{len(budgets)} values", f"one for each of the {len(loss)} losses")
    require(bool(np.all(np.diff(budgets) > 0)), "budgets", budgets, "strictly increasing values")
    resolution = float(np.sqrt(np.finfo(loss.dtype).eps)) if resolution is None else resolution
    curve = np.where(np.isfinite(loss), loss, np.inf).astype(np.float64)
    if diverged is not None:
        curve = np.where(diverged, np.inf, curve)
    curve = np.maximum(curve, floor)
    best = np.asarray(np.argmin(curve, axis=0))
    smallest, last = np.take_along_axis(curve, best[None], axis=0)[0], curve[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harm = np.where(last == smallest, 0.0, last / smallest - 1)
    harm = np.where(np.isinf(smallest), np.nan, harm)
    turns = harm > resolution
    return Inflection(np.where(turns, _refine(budgets, curve, best), np.nan), harm)


def rounding_floor(problem: Problem, dtype: np.dtype[Any]) -> float:
    """Loss below which a curve shows rounding: eps^(3/2) x the loss of the zero network.

    Descent at rate eta stops moving when its step is lost in the weights, at a relative residual of about eps / (4 eta
    s); the loss is its square, below eps^(3/2) for every eta s above eps^(1/4) / 4, which is 3e-5 in float64.
    """
    return float(np.finfo(dtype).eps ** 1.5) * problem.transfer.pretrain.zero_loss


def _refine(budgets: np.ndarray, curve: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Lowest stationary point, next to the smallest value, of the cubic spline through a curve over log budget.

    Curves fall and rise exponentially fast, at different rates: a parabola through three points misses their minimum
    by more than the grid point itself does. At an end of the budgets, or on a curve with diverged lanes, the grid point
    stays.
    """
    flat, nearest = curve.reshape(len(curve), -1), best.ravel()
    refined = budgets[nearest].astype(np.float64)
    usable = np.isfinite(flat).all(axis=0) & (nearest > 0) & (nearest < len(budgets) - 1)
    if not usable.any():
        return refined.reshape(best.shape)
    log = np.log(budgets.astype(np.float64))
    spline = CubicSpline(log, flat[:, usable])
    columns, middle = np.arange(np.count_nonzero(usable)), nearest[usable]
    lowest, place = flat[middle, np.flatnonzero(usable)], log[middle]
    for interval in (middle - 1, middle):
        cubic, square, slope, value = spline.c[:, interval, columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            # The root of 3 cubic x^2 + 2 square x + slope where the curvature is positive, free of cancellation.
            offset = -slope / (square + np.sqrt(square**2 - 3 * cubic * slope))
            depth = value + offset * (slope + offset * (square + offset * cubic))
            better = (offset >= 0) & (offset <= log[interval + 1] - log[interval]) & (depth <= lowest)
        lowest = np.where(better, depth, lowest)
        place = np.where(better, log[interval] + offset, place)
    refined[usable] = np.exp(place)
    return refined.reshape(best.shape)
