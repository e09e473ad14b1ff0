"""What is the forecast worth, and what does stopping by it cost?

    python -m experiments.forecast_scores --out DIR

holds the forecast of `experiments.forecast` against what came: on fresh networks of its prior, on transfers that the
prior does not contain (other spectra, two-sided rotations, three layers, minibatches, Adam, cross-entropy, digits) and
on 40 fine-tunings of 8 small transformers. Beside it stand a fit of theory, curves of no theory, the ratio of both
losses, and four trivial rules, each made a chance on the same prior. Every table is cut where 8 times its last budget
is known. What is drawn again for intervals is what is independent: networks, transfers, pre-trainings. The second
question is what it costs to stop pre-training when the forecast says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require_integer
from linsim.forecasting.forecaster import stored as forecaster
from linsim.forecasting.prior import HORIZONS
from linsim.labels import PLAIN, Label, label, texts
from linsim.progress.showing import Progress

from ..experiment import Experiment
from .cells import Cells, cells_of, of_prior
from .finding import find, table
from .judging import judge, scored
from .regrets import POLICIES, policies
from .rules import RULES, Chances
from .scores import STATISTICS, Score, mean_of, median_of, with_interval
from .tables import CALIBRATION, TRANSFERS, TRANSFORMER, Curves, stored
from .theory_fit import bank

CLAIMS = ("mode-slope", "loss-ratio", "loss-ratio-blind", "loss-ratio-rotated")
PRIOR = "networks of the prior"
_EFOLDS, _ZERO = "e-folds", "zero network's loss"
LABELS = {
    "domain": Label("where the tables come from"),
    "method": Label("forecast"),
    "policy": Label("when pre-training is stopped"),
    "statistic": Label("with bootstrap interval over what is independent, 95 %"),
    "bin": Label("chances that were given"),
    "brier": Label("Brier score of harm by 8 times the budget", PLAIN),
    "skill": Label("1 - Brier score / that of the prior's share", PLAIN),
    "log_score": Label("negative log score of the same", "nats"),
    "auc": Label("chance that a table that becomes worse is given more", PLAIN),
    "fresh_auc": Label("the same of tables that have not turned yet", PLAIN),
    "coverage": Label("share of intervals that hold the turn, or that there is none by 8 times the budget", PLAIN),
    "coverage_of_turns": Label("share of intervals that hold the turn, where there is one", PLAIN),
    "crps": Label("continuous ranked probability score of the turn", _EFOLDS),
    "crps_skill": Label("1 - that score / that of the prior's shares", PLAIN),
    "cannot_tell": Label("share of tables of which it says that nobody can tell", PLAIN),
    "wrong": Label("share of its other verdicts that are wrong", PLAIN),
    "wrong_harm": Label("share of its verdicts of harm that are wrong", PLAIN),
    "wrong_no_harm": Label("share of its verdicts of no harm that are wrong", PLAIN),
    "bias": Label("mean chance less share that became worse", PLAIN),
    "sharpness": Label("mean of (y - p)(1 - 2 p): above 0 where chances are too near to 0 and 1", PLAIN),
    "harmful": Label("share that became worse", PLAIN),
    "came": Label("share of tables in a bin that became worse", PLAIN),
    "said": Label("mean chance in a bin", PLAIN),
    "cells": Label("tables in a bin"),
    "groups": Label("networks, transfers or pre-trainings"),
    "tables": Label("tables"),
    "regret": Label("loss after fine-tuning above that of the best budget", _ZERO),
    "median_regret": Label("median of the regret", _ZERO),
    "saved": Label("regret of going on to the end less that of the policy, transfer by transfer", _ZERO),
    "tunings": Label("fine-tuning runs beside the one that is wanted"),
    "trained": Label("budget trained, over the largest one", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """How much is judged."""

    networks: int = 1000
    """Fresh networks of the prior."""
    transfers: int = TRANSFERS - CALIBRATION
    """Stored transfers of each other domain, at most 50: those that the forecast was not calibrated on."""
    stopped: int = 200
    """Transfers on which stopping is tried, at the middle rate, from all domains alike."""
    resamples: int = 200
    """Of the bootstrap."""
    seed: int = 0
    """Of networks and of the bootstrap."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Scores of all domains, and regrets; `InvalidInput` for a field outside its domain."""
    require_integer("networks", config.networks, at_least=50, at_most=10**5)
    require_integer("transfers", config.transfers, at_least=2, at_most=TRANSFERS - CALIBRATION)
    require_integer("stopped", config.stopped, at_least=2, at_most=10**4)
    require_integer("resamples", config.resamples, at_least=10, at_most=10**5)
    require_integer("seed", config.seed, at_least=0, at_most=2**31)
    known, fitted = forecaster(), bank(config.seed)
    learned = of_prior(config.networks, config.seed + 1000)
    harm = learned.worse[:, HORIZONS.index(HORIZONS[-1])]
    tables = list(zip(learned.budgets, learned.columns, strict=True))
    ruled = {name: Chances.of(np.array([rule(*each) for each in tables]), harm) for name, rule in RULES.items()}
    found, domains = [], dict(_domains(config))
    for name, cells in domains.items():
        told = judge(cells, known, ruled, fitted, by_others=name == TRANSFORMER)
        found.append(scored(cells, told, config.resamples, config.seed))
        if report is not None:
            report(len(found), len(domains) + 1)
    dataset = xr.concat(found, "domain").assign_coords(domain=texts(list(domains)))
    costs = _stopping(config)
    dataset = dataset.merge(costs).assign_attrs(costs.attrs)
    if report is not None:
        report(len(domains) + 1, len(domains) + 1)
    return label(dataset, LABELS)


def _domains(config: Config) -> Iterator[tuple[str, Cells]]:
    yield PRIOR, of_prior(config.networks, config.seed + 2000)
    for name, curves in stored().items():
        cells = cells_of(curves)
        judges = (cells.group >= CALIBRATION) & (cells.group < CALIBRATION + config.transfers)
        yield name, cells if name == TRANSFORMER else cells.of(judges)


def _stopping(config: Config) -> xr.Dataset:
    """Every policy on transfers that the forecast was not calibrated on."""
    domains = {name: curves for name, curves in stored().items() if name != TRANSFORMER}
    each = -(-config.stopped // len(domains))
    results = []
    for number, curves in enumerate(domains.values()):
        wanted = min(each, config.stopped - number * each)
        for at in _middle(curves)[CALIBRATION : CALIBRATION + max(wanted, 0)]:
            results.append(policies(curves.budgets[at], curves.losses[:, at], float(curves.zero[at])))
    told = np.array(results, np.float64)  # (transfer, policy, what)
    values = dict(zip(("regret", "tunings", "trained"), np.moveaxis(told, -1, 0), strict=True))
    values["saved"] = values["regret"][:, :1] - values["regret"]

    def intervals(of: np.ndarray, score: Callable[[np.ndarray], Score] = mean_of) -> list[np.ndarray]:
        group = np.arange(len(of))
        return [with_interval(score(column), group, config.resamples, config.seed) for column in of.T]

    found = {name: intervals(of) for name, of in values.items()}
    found["median_regret"] = intervals(values["regret"], median_of)
    return xr.Dataset(
        {name: (("policy", "statistic"), of) for name, of in found.items()},
        coords={"policy": texts(POLICIES), "statistic": texts(STATISTICS)},
        attrs={"stopped": len(results)},
    )


def _middle(curves: Curves) -> np.ndarray:
    """Runs at the middle rate, one a transfer."""
    rates = int(np.sum(curves.group == curves.group[0]))
    return np.flatnonzero(np.arange(len(curves.group)) % rates == rates // 2)


experiment = Experiment(
    "forecast_scores", __doc__, Config, compute, find, table, CLAIMS, doing="judging", flags=Drawing
)
run, main = experiment.run, experiment.main
