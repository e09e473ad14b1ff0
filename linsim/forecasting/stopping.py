"""When to stop pre-training: as soon as the chance that going on to twice the budget is worse is too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from linsim.errors import brief, numbers, require, require_number
from linsim.forecasting.columns import COLUMNS, features_of
from linsim.forecasting.forecaster import stored
from linsim.forecasting.prior import FEWEST_BUDGETS, HORIZONS
from linsim.forecasting.table import STEP


@dataclass(frozen=True)
class Stopping:
    """A rule for a training loop: stop once the chance that a longer budget is worse exceeds a level.

    It takes nothing tuned: the losses of both tasks at the checkpoints so far. What fine-tuning from them gave, where
    that is known, makes it better.

    Example:
      >>> rule = ls.Stopping()
      >>> steps, base = [100, 200, 400], [3.0, 2.0, 1.0]
      >>> [rule.stops(steps, {"base_loss": base, "finetune_loss_before": other}) for other in (base, [9.0, 8.0, 7.0])]
      [False, True]
    """

    chance: float = 0.3
    """Above which it stops. Of 0.1, 0.2, ... it and 0.2 have the least mean regret, with nothing tuned, on transfers
    that forecasts were calibrated on, and it has the lower median: harm costs more than what is left to learn."""
    horizon: int = 2
    """Multiple of the budget that is asked about, of 2, 4 and 8."""

    def __post_init__(self) -> None:
        require_number("chance", self.chance, above=0, below=1)
        known = isinstance(self.horizon, int) and not isinstance(self.horizon, bool) and self.horizon in HORIZONS
        require(known, "horizon", self.horizon, f"one of {', '.join(map(str, HORIZONS))}")

    @property
    def needs(self) -> int:
        """Checkpoints before it can stop."""
        return FEWEST_BUDGETS

    def foreseen(
        self,
        budgets: Sequence[float] | Float[np.ndarray, " budgets"],
        losses: Mapping[str, Sequence[float] | Float[np.ndarray, " budgets"]],
    ) -> float:
        """Chance that the horizon is worse; NaN below three budgets, or where a loss is not above 0.

        Args:
          budgets: of the checkpoints so far, increasing.
          losses: column of a table -> its values there; `base_loss` and any of the others.
        """
        steps = numbers("budgets", budgets, 1, above=0)
        rising = bool(np.all(np.diff(steps) > 0))
        require(rising, "budgets", brief(budgets), "strictly increasing numbers > 0")
        allowed = f"columns of losses by name: {COLUMNS[0]}, and any of {', '.join(COLUMNS[1:])}"
        require(isinstance(losses, Mapping) and COLUMNS[0] in losses, "losses", brief(losses), allowed)
        for name in losses:
            require(name in COLUMNS, "losses", brief(name), allowed)
        widest = float(np.max(steps[1:] / steps[:-1], initial=1.0))
        require(widest <= STEP, "budgets", f"{widest:.3g} times the one before", f"at most {STEP:g} times, in one unit")
        columns = {name: numbers(name, losses[name], 1, finite=False) for name in COLUMNS if name in losses}
        for name, values in columns.items():
            require(len(values) == len(steps), name, f"{len(values)} losses", f"one for each of {len(steps)} budgets")
        if len(steps) < self.needs or not all(
            np.isfinite(each).all() and (each > 0).all() for each in columns.values()
        ):
            return float("nan")
        worse, _ = stored().members(features_of(steps, columns)[None])
        return float(worse[0, HORIZONS.index(self.horizon)])

    def stops(
        self,
        budgets: Sequence[float] | Float[np.ndarray, " budgets"],
        losses: Mapping[str, Sequence[float] | Float[np.ndarray, " budgets"]],
    ) -> bool:
        """Whether to stop at the last of these checkpoints; not where the chance is NaN; takes what `foreseen` does."""
        return self.foreseen(budgets, losses) > self.chance
