"""Makes the forecaster that comes with linsim: simulates networks of the prior, learns from them, and calibrates.

    python -m experiments.forecast.training

About five minutes on one core. Intervals and verdicts are calibrated on fresh networks of the prior, and on the first
transfers of every stored domain outside it (`experiments.forecast_scores.tables`), whose others judge it; nothing of
the transformers is used.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

import linsim.forecasting
from linsim.forecasting import bins
from linsim.forecasting.columns import COLUMNS, OPTIONAL, features_of
from linsim.forecasting.forecaster import ERRORS, FILE, LEVEL, Forecaster
from linsim.forecasting.learning import Examples, examples, learn
from linsim.forecasting.network import Members
from linsim.forecasting.prior import HORIZONS, draw
from linsim.forecasting.simulation import simulate

from ..forecast_scores.cells import cells_of
from ..forecast_scores.tables import CALIBRATION, TRANSFORMER, stored

NETWORKS = 100_000
MASKS = 3
"""Choices of columns for each network."""
MEMBERS, WIDTH, EPOCHS = 5, 128, 16
HELD_OUT = 10_000
_FEWEST = 20  # cells that a quantile is taken of
_RIDGE = 1e-2  # of a covariance, relative to each feature's scale


class Known(NamedTuple):
    """Cells of one domain, for one choice of columns."""

    features: Float[np.ndarray, "cells features"]
    worse: Bool[np.ndarray, " cells"]
    """By 8 B."""
    turn: Float[np.ndarray, " cells"]


def calibrate(members: Members, prior: list[Known], domains: list[list[Known]], known: Examples) -> Forecaster:
    """How far the networks are to be trusted, for every choice of optional columns.

    Args:
      members: the networks.
      prior: of fresh networks of the prior, one for each choice of columns.
      domains: of domains outside it, likewise.
      known: what was learned from.
    """
    found = []
    for choice, within in enumerate(prior):
        levels, found_harm, found_none = [], [], []
        for domain in (within, *(each[choice] for each in domains)):
            worse, turn = members(domain.features)
            turns = np.isfinite(domain.turn)
            levels.append(_upper(np.abs(2 * bins.below(turn, domain.turn) - 1)[turns], LEVEL))
            for harm, kept in ((True, found_harm), (False, found_none)):
                kept.append(worse[domain.worse == harm, -1])
        low, high = _quantile(found_harm, ERRORS), _quantile(found_none, 1 - ERRORS)
        print(f"{choice:03b}: {low:.3f} {high:.3f}, levels", *(f"{level:.3f}" for level in levels))
        chance = members(within.features)[0][:, -1]
        score = -np.mean(np.log(np.where(within.worse, chance, 1 - chance) + 1e-12))
        centre, scale = within.features.mean(axis=0), within.features.std(axis=0) + 0.05
        spread = np.cov((within.features - centre) / scale, rowvar=False) + _RIDGE * np.eye(len(centre))
        precision = np.linalg.inv(spread) / scale / scale[:, None]
        away = within.features - centre
        distance = np.sqrt(np.einsum("ri,ij,rj->r", away, precision, away))
        found.append(
            (min(np.nanmax(levels), 0.999), min(low, 0.5), max(high, 0.5), score, centre, precision, np.quantile(distance, 0.999))
        )
    shares = np.bincount(known.place, minlength=bins.BINS) / len(known.place)
    return Forecaster(members, *(np.array(part) for part in zip(*found, strict=True)), known.worse.mean(axis=0), shares)


def _upper(values: np.ndarray, level: float) -> float:
    """The conformal quantile; NaN of too few."""
    count = len(values)
    if count < _FEWEST:
        return np.nan
    return float(np.sort(values)[min(int(np.ceil(level * (count + 1))), count) - 1])


def _quantile(parts: list[np.ndarray], level: float) -> float:
    """Of all parts together, each of which counts as much however many it has."""
    kept = [part for part in parts if len(part) >= _FEWEST]
    values, weights = np.concatenate(kept), np.concatenate([np.full(len(part), 1 / len(part)) for part in kept])
    order = np.argsort(values)
    heaped = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(np.searchsorted(heaped, level), len(values) - 1)])


def _choices(budgets: list[np.ndarray], columns: list[dict[str, np.ndarray]], worse: np.ndarray, turn: np.ndarray) -> list[Known]:
    every = range(1 << len(OPTIONAL))
    names = [[COLUMNS[0], *(name for at, name in enumerate(OPTIONAL) if choice >> at & 1)] for choice in every]
    told = [[features_of(steps, each, only) for steps, each in zip(budgets, columns, strict=True)] for only in names]
    return [Known(np.asarray(rows), worse, turn) for rows in told]


def main() -> int:
    """Simulate, learn, calibrate, write."""
    started = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{what}: {time.perf_counter() - started:.0f} s", flush=True)

    networks = draw(NETWORKS, seed=0)
    known = examples(networks.budgets, simulate(networks, seed=0), MASKS, seed=0)
    tell(f"{NETWORKS} networks simulated")
    members = learn(known, MEMBERS, WIDTH, EPOCHS, 0, bins.BINS)
    tell("learned")
    fresh = draw(HELD_OUT, seed=1)
    told = simulate(fresh, seed=1)
    there = [np.isfinite(row) for row in fresh.budgets]
    budgets = [row[some] for row, some in zip(fresh.budgets, there, strict=True)]
    columns = [
        {name: told.losses[at, number, some] for at, name in enumerate(COLUMNS)} for number, some in enumerate(there)
    ]
    prior = _choices(budgets, columns, told.worse[:, -1], told.turn)
    domains = []
    for name, curves in stored().items():
        if name != TRANSFORMER:
            cells = cells_of(curves)
            cells = cells.of(cells.group < CALIBRATION)
            domains.append(_choices(cells.budgets, cells.columns, cells.worse[:, HORIZONS.index(HORIZONS[-1])], cells.turn))
    forecaster = calibrate(members, prior, domains, known)
    path = Path(linsim.forecasting.__path__[0]) / FILE
    forecaster.save(path)
    tell(f"calibrated, {path.stat().st_size / 2**20:.2f} MiB written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
