"""All forecasts of one domain's cells, and what they are worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.forecasting import bins
from linsim.forecasting.columns import COLUMNS, features_of
from linsim.forecasting.forecast import judged
from linsim.forecasting.forecaster import Forecaster, choice_of
from linsim.forecasting.prior import HORIZONS
from linsim.labels import texts

from .cells import Cells
from .rules import RULES, Chances
from .scores import STATISTICS, brier, log_score, mean_of, safe_level, separation_of, skill_of, with_interval
from .theory_fit import Bank, chance

FORECAST, UNTUNED, TUNED = "forecast", "forecast, nothing tuned", "forecast, no fine-tuning loss"
COLUMNS_OF = {FORECAST: COLUMNS, UNTUNED: COLUMNS[:2], TUNED: ("base_loss", "pretrain_loss_after")}
THEORY = "theory fit"
METHODS = (*COLUMNS_OF, THEORY, *RULES)
VERDICTS = ("harm", "no_harm", "cannot_tell")
PROBABILITIES = np.linspace(0, 1, 6)
"""Edges of the bins of a calibration curve."""


class Judged(NamedTuple):
    """Forecasts of cells."""

    chances: Float[np.ndarray, "methods cells"]
    """That 8 B is worse."""
    covered: Float[np.ndarray, " cells"]
    """1 where the interval of the turn holds it."""
    crps: Float[np.ndarray, "2 cells"]
    """Of the turn, of the forecast and of the prior's shares, in e-folds."""
    verdicts: np.ndarray
    """Places in VERDICTS."""


def judge(cells: Cells, known: Forecaster, ruled: dict[str, Chances], fitted: Bank, by_others: bool = False) -> Judged:
    """Forecast all cells by all methods.

    Args:
      cells: of one domain.
      known: the forecaster.
      ruled: chances of the rules.
      fitted: parameters of the fit.
      by_others: whether intervals of every group are as wide as all other groups ask for, where these are all there is
        and have widened the forecaster's own.
    """
    tables = list(zip(cells.budgets, cells.columns, strict=True))
    chances, told = [], {}
    for name, only in COLUMNS_OF.items():
        features = np.array([features_of(steps, columns, only) for steps, columns in tables])
        told[name] = features, *known.members(features)
        chances.append(told[name][1][:, -1])
    chances.append(np.array([chance(fitted, steps, columns) for steps, columns in tables]))
    chances += [ruled[name](np.array([rule(*table) for table in tables])) for name, rule in RULES.items()]
    features, worse, turn = told[FORECAST]
    choice = choice_of(COLUMNS)
    level = _by_others(turn, cells) if by_others else np.full(len(tables), float(known.widened[choice]))
    low, high = (bins.quantile(turn, share) for share in ((1 - level) / 2, (1 + level) / 2))
    first = np.array([np.log(steps[0] / steps[-1]) for steps, _ in tables])
    held = (np.maximum(low, first) <= cells.turn + 1e-9) & (cells.turn <= np.maximum(high, first) + 1e-9)
    shares = np.broadcast_to(known.turn, turn.shape)
    strange = known.strangeness(features, choice)
    verdicts = [judged(float(p), float(far), choice, known)[0] for p, far in zip(worse[:, -1], strange, strict=True)]
    places = np.array([VERDICTS.index(verdict) for verdict in verdicts])
    scores = np.array([bins.crps(each, cells.turn) for each in (turn, shares)])
    return Judged(np.array(chances), held.astype(float), scores, places)


def _by_others(turn: Float[np.ndarray, "cells bins"], cells: Cells) -> Float[np.ndarray, " cells"]:
    """For each cell the level that holds the turns of all groups but its own."""
    needed, turns = np.abs(2 * bins.below(turn, cells.turn) - 1), np.isfinite(cells.turn)
    level, rng = np.empty(len(needed)), np.random.default_rng(27)
    for name in np.unique(cells.group):
        others = turns & (cells.group != name)
        level[cells.group == name] = safe_level(needed[others], cells.group[others], rng)
    return np.minimum(np.nan_to_num(level, nan=1.0), 0.999)


def scored(cells: Cells, told: Judged, resamples: int, seed: int) -> xr.Dataset:
    """Scores of one domain with their bootstrap intervals over groups, of all cells and of those before the turn."""
    harm, group = cells.worse[:, HORIZONS.index(HORIZONS[-1])], cells.group
    constant = brier(told.chances[METHODS.index("constant")], harm)

    def interval(score: object, some: np.ndarray | None = None) -> np.ndarray:
        return with_interval(score, group if some is None else group[some], resamples, seed)  # type: ignore[arg-type]

    fresh, turns = cells.fresh, np.isfinite(cells.turn)
    by_method: dict[str, list[np.ndarray]] = {name: [] for name in ("brier", "skill", "log_score", "auc", "fresh_auc")}
    for chances in told.chances:
        own = brier(chances, harm)
        by_method["brier"].append(interval(mean_of(own)))
        by_method["skill"].append(interval(skill_of(own, constant)))
        by_method["log_score"].append(interval(mean_of(log_score(chances, harm))))
        by_method["auc"].append(interval(separation_of(chances, harm)))
        by_method["fresh_auc"].append(interval(separation_of(chances[fresh], harm[fresh]), fresh))
    forecast = told.chances[0]
    place = np.clip(np.digitize(forecast, PROBABILITIES) - 1, 0, len(PROBABILITIES) - 2)
    inside = [place == at for at in range(len(PROBABILITIES) - 1)]
    wrong = np.where(told.verdicts == 0, ~harm, np.where(told.verdicts == 1, harm, np.nan)).astype(float)
    by_domain = {
        "coverage": interval(mean_of(told.covered)),
        "coverage_of_turns": interval(mean_of(told.covered[turns]), turns),
        "crps": interval(mean_of(told.crps[0])),
        "crps_skill": interval(skill_of(told.crps[0], told.crps[1])),
        "cannot_tell": interval(mean_of((told.verdicts == 2).astype(float))),
        "wrong": interval(mean_of(wrong)),
        "wrong_harm": interval(mean_of(np.where(told.verdicts == 0, wrong, np.nan))),
        "wrong_no_harm": interval(mean_of(np.where(told.verdicts == 1, wrong, np.nan))),
        "bias": interval(mean_of(forecast - harm)),
        "sharpness": interval(mean_of((harm - forecast) * (1 - 2 * forecast))),
        "harmful": interval(mean_of(harm.astype(float))),
    }
    came = [interval(mean_of(harm[some].astype(float)), some) if some.any() else np.full(3, np.nan) for some in inside]
    return xr.Dataset(
        {
            **{name: (("method", "statistic"), values) for name, values in by_method.items()},
            **{name: ("statistic", values) for name, values in by_domain.items()},
            "came": (("bin", "statistic"), came),
            "said": ("bin", [forecast[some].mean() if some.any() else np.nan for some in inside]),
            "cells": ("bin", [int(some.sum()) for some in inside]),
            "groups": ((), len(np.unique(group))),
            "tables": ((), len(harm)),
        },
        coords={"method": texts(METHODS), "statistic": texts(STATISTICS)},
    )
