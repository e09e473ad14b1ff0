"""The alarm: a monitor has grown exponentially, beyond doubt, for several checkpoints in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.stats import t as student

from linsim.errors import brief_fields, numbers, require, require_integer, require_number


class Watched(NamedTuple):
    """What the alarm made of each checkpoint."""

    growth: Float[np.ndarray, " checkpoints"]
    """Growth rate x budget, in e-folds: by how many the value would grow at this rate while the budget doubles. NaN
    before the first whole window, and where a value of the window has no logarithm."""
    lower: Float[np.ndarray, " checkpoints"]
    """Lower confidence bound of `growth`; NaN likewise."""
    exceeds: Bool[np.ndarray, " checkpoints"]
    """Whether the bound is above the threshold."""
    rings: Bool[np.ndarray, " checkpoints"]
    """Whether this checkpoint completes a run of `consecutive` ones that exceed."""

    def __repr__(self) -> str:
        return brief_fields(self)

    @property
    def first(self) -> int | None:
        """Position of the first checkpoint at which the alarm rings."""
        return int(np.argmax(self.rings)) if self.rings.any() else None


@dataclass(frozen=True)
class Alarm:
    """Sustained exponential increase of a monitor m over the budgets b (training steps).

    At every checkpoint ln m = a + g b is fitted by least squares to the last `window` checkpoints. The lower bound of
    g at the confidence level, one-sided, comes from Student's t with window - 2 degrees of freedom; the standard error
    of g is that of the scatter about the line or that of the measurements, whichever is larger. A checkpoint exceeds
    when (bound of g) x (mean budget of the window) > growth: at this rate m would grow by more than e^growth while the
    budget doubles, whatever the unit of a step. The alarm rings when `consecutive` checkpoints in a row exceed.

    A power law m ~ b^k has g b = k, roughly: growth = 1 asks for more than proportionality to the budget. Its bound is
    lower, as it is no exponential: by 0.14 k where checkpoints are 27 % apart, by nearly all of k where they are a
    factor of 4 apart. Errors count as independent: those that checkpoints share, as with one key and the same held-out
    data, only make the alarm slower.

    Example:
      >>> steps = np.array([100, 200, 300, 400, 500, 600, 700])
      >>> Alarm(window=4, consecutive=2).watch(steps, np.exp(steps / 100.0)).first
      4
    """

    window: int = 5
    """Checkpoints in a fit, at least 3."""
    growth: float = 1.0
    """Threshold on growth rate x budget."""
    confidence: float = 0.95
    """Level of the lower bound, between 0.5 and 1."""
    consecutive: int = 3
    """Checkpoints in a row that must exceed."""

    def __post_init__(self) -> None:
        require_integer("window", self.window, at_least=3, at_most=10**6)
        require_number("growth", self.growth, at_least=0)
        require_number("confidence", self.confidence, at_least=0.5, below=1)
        require_integer("consecutive", self.consecutive, at_least=1)

    @property
    def needs(self) -> int:
        """Checkpoints before it can ring."""
        return self.window + self.consecutive - 1

    def watch(
        self,
        budgets: Real[np.ndarray, " checkpoints"] | Sequence[float],
        values: Float[np.ndarray, " _"] | Sequence[float],
        errors: Float[np.ndarray, " _"] | Sequence[float] | None = None,
    ) -> Watched:
        """Judge every checkpoint of a record by itself and those before it.

        Args:
          budgets: training steps, strictly increasing, > 0.
          values: of the monitor. Values that are not positive and finite have no logarithm: no window with one exceeds.
          errors: standard errors of the values; None means exact.

        Returns:
          Growth and its bound, NaN before the first whole window and where a value of the window has no logarithm.

        Raises:
          InvalidInput: budgets that do not increase, lengths that differ, fewer than two checkpoints.
        """
        steps: np.ndarray = numbers("budgets", budgets, 1)
        given: np.ndarray = numbers("values", values, 1, finite=False)
        count = len(steps)
        require(count >= 2, "checkpoints", count, f"at least 2, and {self.needs} for this alarm to ring")
        require(len(given) == count, "values", f"{len(given)} values", f"one for each of {count} checkpoints")
        rising = bool(steps[0] > 0 and np.all(np.diff(steps) > 0) and np.isfinite(steps).all())
        require(rising, "budgets", steps, "strictly increasing finite numbers > 0")
        spread = np.zeros(count) if errors is None else numbers("errors", errors, 1, finite=False)
        require(spread.shape == (count,), "errors", f"shape {spread.shape}", f"one for each of {count} checkpoints")
        usable = np.isfinite(given) & (given > 0) & np.isfinite(spread) & (spread >= 0)
        logs = np.log(np.where(usable, given, 1.0))
        relative = np.where(usable, spread / np.where(usable, given, 1.0), 0.0)
        growth, lower = np.full(count, np.nan), np.full(count, np.nan)
        quantile = student.ppf(self.confidence, self.window - 2)
        for last in range(self.window - 1, count):
            within = slice(last - self.window + 1, last + 1)
            if usable[within].all():
                scaled = steps[within] / np.mean(steps[within])  # so that the slope is growth rate x budget
                growth[last], error = _slope(scaled, logs[within], relative[within])
                lower[last] = growth[last] - quantile * error
        with np.errstate(invalid="ignore"):
            exceeds = lower > self.growth
        return Watched(growth, lower, exceeds, _ends_run(exceeds, self.consecutive))


def _slope(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """The least-squares slope of y over x and its standard error, from the scatter or the errors of y if larger."""
    centred = x - x.mean()
    square = float(np.sum(centred**2))
    slope = float(np.sum(centred * y)) / square
    scatter = float(np.sum((y - y.mean() - slope * centred) ** 2)) / (len(x) - 2) / square
    measured = float(np.sum((centred * errors) ** 2)) / square**2
    return slope, float(np.sqrt(max(scatter, measured)))


def _ends_run(flags: np.ndarray, length: int) -> np.ndarray:
    """Where a run of at least `length` flags is complete."""
    counts = np.convolve(flags.astype(int), np.ones(length, int))[: len(flags)]
    return counts == length
