"""What fine-tuning for a fixed flow time, or to a fixed share of its loss, does to modes of any data.

Both tasks and the inputs share their directions: a mode has the strength sigma, the input variance v and is fine-tuned
to c sigma by descent on two balanced layers. It then depends on v sigma T and c alone, and is net harm, against one
at 0, iff v sigma T > kappa(c) = ln[2 (c - 1)/(c - 2)]/(4 c): `linsim.theory.stages.critical_effort` of two layers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, SMALLEST, numbers, require, require_together
from linsim.theory.stages import critical_effort

Numbers = Float[np.ndarray, "..."]

_LARGEST_EFFORT = 100.0
_LEAST_AMPLIFIED = 1 + 1e-9


def overwriting_index(strength: ArrayLike, exponent: ArrayLike, time: ArrayLike, factor: ArrayLike) -> Numbers:
    """i_c = (sigma_1 T / kappa(c))^(1/a): of sigma_i = sigma_1 i^(-a), all learned, those with i < i_c are net harm.

    At a fixed time weak modes never are, so that steep spectra look immune.

    Args:
      strength: sigma_1 > 0, times the input variance where that is not 1.
      exponent: a > 0.
      time: T >= 0, flow time of fine-tuning.
      factor: c > 2. All broadcast.

    Returns:
      i_c, no whole number; below 1 where no mode is net harm.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> overwriting_index(1.0, [0.5, 1.0, 2.0], 0.4, 4.0).round(2)
      array([33.94,  5.83,  2.41])

    Source: re-derived.
    """
    numbers("strength", strength, at_least=SMALLEST, most=LARGEST)
    numbers("exponent", exponent, at_least=1e-3, most=LARGEST)
    numbers("time", time, at_least=0, most=LARGEST)
    ratio = _beyond_two(factor)
    require_together(strength=strength, exponent=exponent, time=time, factor=factor)
    with np.errstate(over="ignore"):
        reach = np.asarray(strength, np.float64) * np.asarray(time) / critical_effort(2, ratio)
        return np.asarray(reach ** (1 / np.asarray(exponent, np.float64)))


def best_budget(effort: ArrayLike, factor: ArrayLike, start: ArrayLike) -> Numbers:
    """v sigma D of the best budget D of one mode: ln[(1/e - 1) x/(1 - x)]/4, x = c/(1 + (c - 1) exp(4 c v sigma T)).

    From x sigma fine-tuning takes it to sigma. At one v sigma T modes of all data turn at one v sigma D.

    Args:
      effort: v sigma T > 0.
      factor: c > 1.
      start: e = s_0 / sigma, in (0, 1). All broadcast.

    Returns:
      v sigma D with the input variance of pre-training; negative where the start is beyond the best already.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> best_budget([0.07, 0.3], 4.0, 0.001).round(3)
      array([1.617, 0.601])

    Source: re-derived.
    """
    numbers("effort", effort, at_least=SMALLEST, most=_LARGEST_EFFORT)
    ratio = np.asarray(numbers("factor", factor, at_least=_LEAST_AMPLIFIED, most=LARGEST), np.float64)
    numbers("start", start, at_least=SMALLEST, most=1 - 1e-9)
    require_together(effort=effort, factor=factor, start=start)
    missing = np.log(-np.expm1(-4 * ratio * np.asarray(effort, np.float64))) + np.log1p(-1 / ratio)
    # x/(1 - x) = c/((c - 1)(e^(4 c effort) - 1)), in logarithms
    odds = -4 * ratio * np.asarray(effort, np.float64) - missing
    return np.asarray((np.log(1 / np.asarray(start, np.float64) - 1) + odds) / 4)


def effort_to_level(level: ArrayLike, factor: ArrayLike) -> Numbers:
    """v sigma T at which a mode learned in full has a share of its fine-tuning loss left: ln[(c - q (c - 1))/q]/(4 c).

    q is the root of the share.

    Args:
      level: share of the fine-tuning loss before fine-tuning, in (0, 1].
      factor: c > 1. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> effort_to_level([4 / 9, 0.3], 4.0).round(4)
      array([0.0687, 0.0912])

    Source: re-derived.
    """
    left = np.sqrt(_share(level))
    ratio = np.asarray(numbers("factor", factor, at_least=_LEAST_AMPLIFIED, most=LARGEST), np.float64)
    require_together(level=level, factor=factor)
    return np.asarray(np.log((ratio - left * (ratio - 1)) / left) / (4 * ratio))


def level_of_line(factor: ArrayLike) -> Numbers:
    """((c - 2)/(c - 1))^2, the share of the fine-tuning loss left at which a mode learned in full becomes net harm.

    Modes c times as strong that are tuned together to a smaller share: the one with the largest v sigma is net harm,
    whatever the spectrum and the input variances. To a larger share: the one with the least is not.

    Args:
      factor: c > 2.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> level_of_line([2.5, 4.0, 8.0]).round(3)
      array([0.111, 0.444, 0.735])

    Source: re-derived.
    """
    ratio = _beyond_two(factor)
    return np.asarray(((ratio - 2) / (ratio - 1)) ** 2)


class Bounds(NamedTuple):
    """In units of the fine-tuning loss before fine-tuning, ||(A_ft - A) S^(1/2)||^2."""

    least: Numbers
    """(1 - sqrt(level))^2: one mode, or all modes alike."""
    most: Numbers
    """1 - level: some modes done and the others not begun."""


def last_loss_bounds(level: ArrayLike) -> Bounds:
    """Bounds on the base loss of a checkpoint that has learned all, once a share of its fine-tuning loss is left.

    Whatever the modes, the shift and the input variances, as long as they share their directions: at matched effort
    data change the last loss by no more than (1 + sqrt(level))/(1 - sqrt(level)) times, in that unit.

    Args:
      level: the share, in (0, 1].

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> bounds = last_loss_bounds(0.25)
      >>> float(bounds.least), float(bounds.most)
      (0.25, 0.75)

    Source: re-derived; the lower one holds for every network, see `convex-front`.
    """
    left = _share(level)
    return Bounds(np.asarray((1 - np.sqrt(left)) ** 2), np.asarray(1 - left))


def _share(level: ArrayLike) -> np.ndarray:
    share = np.asarray(numbers("level", level, at_least=SMALLEST, most=1.0), np.float64)
    return share


def _beyond_two(factor: ArrayLike) -> np.ndarray:
    ratio = np.asarray(numbers("factor", factor, most=LARGEST), np.float64)
    least = float(ratio.min())
    require(least > 2, "factor", least, "numbers > 2: nothing else takes a mode beyond twice its strength")
    return ratio
