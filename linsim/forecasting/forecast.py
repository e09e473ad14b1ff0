"""Will more pre-training hurt, and from when on: a forecast from a few checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.forecasting import bins
from linsim.forecasting.columns import OPTIONAL, features_of
from linsim.forecasting.forecaster import LEVEL, Forecaster, choice_of, stored
from linsim.forecasting.prior import HORIZONS
from linsim.forecasting.simulation import MARGIN
from linsim.forecasting.table import BASE, Run, read_table

Verdict = Literal["harm", "no_harm", "cannot_tell"]


class Interval(NamedTuple):
    """Budgets between which it turns; None is beyond 8 times the largest budget, or never."""

    low: float | None
    median: float | None
    high: float | None
    level: float
    """Chance that the interval is to hold the turn, in every domain that it was calibrated on."""


class Forecast(NamedTuple):
    """What is foreseen of one run."""

    run: str
    probability: Mapping[int, float]
    """Multiple of the largest budget -> chance that the pre-training loss after fine-tuning is more than 2 % worse."""
    turn: Interval
    verdict: Verdict
    reason: str
    """Why, and what would change it, in a sentence."""
    helps: str = ""
    """The column not measured that would help most; empty where all are."""

    def as_json(self) -> dict[str, Any]:
        """As in forecast.json."""
        told = {str(multiple): round(chance, 4) for multiple, chance in self.probability.items()}
        turn = {name: value if value is None else float(f"{value:.4g}") for name, value in self.turn._asdict().items()}
        return {"run": self.run, "probability": told, "turn": turn, "verdict": self.verdict, "reason": self.reason}


def forecast(table: Any, names: Mapping[str, str] | None = None) -> tuple[Forecast, ...]:
    """Forecast whether going on to 2, 4 and 8 times the largest budget makes the loss after fine-tuning worse.

    The posterior over linear networks of a prior (`linsim.forecasting.prior`), which small networks have learned from
    exact simulations. Only the shape of each column counts, relative to its own last value. Worse is by more than 2 %;
    a turn is the least loss after fine-tuning within 8 times the largest budget, where it is followed by such a rise.

    Args:
      table: path of a CSV file, or columns by name such as a DataFrame: `budget` and `base_loss`, then any of
        `finetune_loss_before` (of the fine-tuning task at the untuned checkpoints), `pretrain_loss_after`,
        `finetune_loss_after`; optionally `run`, `rate`, `strength`.
      names: name here -> name in the table, where they differ.

    Returns:
      One forecast for each run: "cannot_tell" is common, and the answer where a run resembles nothing in the prior.

    Raises:
      InvalidInput: see `linsim.forecasting.table.read_table`.

    Example:
      >>> steps = [100, 200, 400, 800, 1600]
      >>> told = ls.forecast({"budget": steps, "base_loss": [9.0, 7.0, 4.0, 2.0, 1.0]})
      >>> told[0].verdict, told[0].helps
      ('cannot_tell', 'pretrain_loss_after')
    """
    return tuple(forecast_of(run) for run in read_table(table, names))


def forecast_of(run: Run, forecaster: Forecaster | None = None) -> Forecast:
    """The forecast of one run, by the forecaster that comes with linsim or another one."""
    known = stored() if forecaster is None else forecaster
    if not run.losses:
        why = f"no loss was measured: it takes {BASE} at three budgets at least, and {OPTIONAL[0]} beside it"
        return _told(run, known.worse, known.turn, 0.999, "cannot_tell", why, BASE)
    choice = choice_of(run.losses)
    features = features_of(run.budgets, run.losses)[None]
    (worse,), (turn,) = known.members(features)
    verdict, why = judged(float(worse[-1]), float(known.strangeness(features, choice)[0]), choice, known)
    helps = _helps(choice, known)
    if helps:
        why += f"; of what is missing {helps} would help most"
    return _told(run, worse, turn, float(known.widened[choice]), verdict, why, helps)


def judged(chance: float, strangeness: float, choice: int, known: Forecaster) -> tuple[Verdict, str]:
    """The verdict on harm by 8 times the largest budget, and why."""
    low, high = float(known.harmless[choice]), float(known.harmful[choice])
    by = f"{_percent(chance)} that {HORIZONS[-1]} times the largest budget is more than {_percent(MARGIN)} worse"
    if strangeness > 1:
        away = f"{strangeness:.2g} times as far from it as 999 in 1000 of its networks"
        return "cannot_tell", f"the curves resemble nothing in the prior: {away}"
    if chance > high:
        return "harm", f"{by}, above the {_percent(high)} that 9 in 10 harmless runs were below, or a half"
    if chance < low:
        return "no_harm", f"{by}, below the {_percent(low)} that 9 in 10 harmful runs were above"
    return "cannot_tell", f"{by}, and verdicts are given below {_percent(low)} and above {_percent(high)} alone"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def _told(
    run: Run,
    worse: Float[np.ndarray, " horizons"],
    turn: Float[np.ndarray, " bins"],
    level: float,
    verdict: Verdict,
    reason: str,
    helps: str,
) -> Forecast:
    low, middle, high = (
        _budget(run, float(bins.quantile(turn, share))) for share in ((1 - level) / 2, 0.5, (1 + level) / 2)
    )
    chances = {multiple: float(chance) for multiple, chance in zip(HORIZONS, worse, strict=True)}
    return Forecast(run.name, chances, Interval(low, middle, high, LEVEL), verdict, reason, helps)


def _budget(run: Run, log: float) -> float | None:
    """A place in the logarithm as a budget, at least the first one: before it nothing is known."""
    if not np.isfinite(log):
        return None
    return float(max(run.budgets[-1] * np.exp(log), run.budgets[0]))


def _helps(choice: int, known: Forecaster) -> str:
    """The missing column with which the log score on the prior is best."""
    missing = [at for at in range(len(OPTIONAL)) if not choice >> at & 1]
    if not missing:
        return ""
    return OPTIONAL[min(missing, key=lambda at: known.scores[choice | 1 << at])]
