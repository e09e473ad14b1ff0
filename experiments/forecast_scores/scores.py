"""Proper scores, calibration and coverage of forecasts, with bootstrap intervals over what is independent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from linsim.forecasting.forecaster import LEVEL

STATISTICS = ("estimate", "low", "high")
Score = Callable[[np.ndarray], float]
"""Places of cells, drawn with their groups -> a number."""

FEWEST = 20
"""Cells that a quantile is taken of."""
_DRAWS = 200  # of the groups, for a level
_SMALLEST = 1e-4  # chance in a logarithm


def brier(chance: Float[np.ndarray, " cells"], worse: Bool[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """(p - y)^2."""
    return (chance - worse) ** 2


def log_score(chance: Float[np.ndarray, " cells"], worse: Bool[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """-ln of the chance given to what came; chances are kept 1e-4 from 0 and 1."""
    return -np.log(np.clip(np.where(worse, chance, 1 - chance), _SMALLEST, 1 - _SMALLEST))


def separation(chance: Float[np.ndarray, " cells"], worse: Bool[np.ndarray, " cells"]) -> float:
    """Chance that a cell that became worse was given more than one that did not (AUC); NaN without both."""
    bad, fine = np.sort(chance[worse]), np.sort(chance[~worse])
    if not len(bad) or not len(fine):
        return float("nan")
    sides = (np.searchsorted(fine, bad, side) for side in ("left", "right"))
    return float(sum(side.mean() for side in sides) / (2 * len(fine)))


def with_interval(
    score: Score, group: Int[np.ndarray, " cells"], resamples: int, seed: int
) -> Float[np.ndarray, " statistics"]:
    """Estimate, 2.5 % and 97.5 % over resamples of the groups; NaN ends where fewer than two groups are told."""
    names, place = np.unique(group, return_inverse=True)
    members = [np.flatnonzero(place == at) for at in range(len(names))]
    estimate = score(np.arange(len(group)))
    if len(names) < 2:
        return np.array([estimate, np.nan, np.nan])
    rng = np.random.default_rng([seed, 25])
    drawn = np.array(
        [
            score(np.concatenate([members[at] for at in rng.integers(len(names), size=len(names))]))
            for _ in range(resamples)
        ]
    )
    drawn = drawn[np.isfinite(drawn)]
    ends = np.quantile(drawn, (0.025, 0.975)) if len(drawn) > resamples // 2 else np.full(2, np.nan)
    return np.array([estimate, *ends])


def safe_level(
    needed: Float[np.ndarray, " cells"], group: Int[np.ndarray, " cells"], rng: np.random.Generator
) -> float:
    """The level of a forecast's own intervals that holds `LEVEL` of the turns in 9 of 10 draws of the groups.

    Args:
      needed: level from which on the interval holds the turn, |2 F(turn) - 1|.
      group: what is drawn.
      rng: draws.

    Returns:
      NaN for too few turns.
    """
    if len(needed) < FEWEST:
        return float("nan")
    names, place = np.unique(group, return_inverse=True)
    members = [needed[place == at] for at in range(len(names))]
    drawn = [np.concatenate([members[at] for at in rng.integers(len(names), size=len(names))]) for _ in range(_DRAWS)]
    return float(np.quantile([np.quantile(each, LEVEL) for each in drawn], 0.9))


def mean_of(values: Float[np.ndarray, " cells"]) -> Score:
    """Mean over cells whose value is known."""

    def score(cells: np.ndarray) -> float:
        some = values[cells]
        some = some[np.isfinite(some)]
        return float(some.mean()) if len(some) else float("nan")

    return score


def median_of(values: Float[np.ndarray, " cells"]) -> Score:
    """Median over cells."""
    return lambda cells: float(np.median(values[cells]))


def skill_of(own: Float[np.ndarray, " cells"], other: Float[np.ndarray, " cells"]) -> Score:
    """1 - mean score / mean score of another forecast of the same cells."""

    def score(cells: np.ndarray) -> float:
        least = other[cells].mean()
        return float(1 - own[cells].mean() / least) if least > 0 else float("nan")

    return score


def separation_of(chance: Float[np.ndarray, " cells"], worse: Bool[np.ndarray, " cells"]) -> Score:
    """`separation` of drawn cells."""
    return lambda cells: separation(chance[cells], worse[cells])
