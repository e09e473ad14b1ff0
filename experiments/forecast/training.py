"""Makes the forecaster that comes with linsim: simulates networks of the prior, learns from them, and calibrates.

    python -m experiments.forecast.training
    python -m experiments.forecast.training calibration

About four minutes on one core, of which calibration, all that the second does, takes half a minute. Intervals
and verdicts are calibrated on fresh networks of the prior, and on the first transfers of every stored domain outside it
(`experiments.forecast_scores.tables`), whose others judge it. Transformers widen intervals too, and have no other say.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

import linsim.forecasting
from linsim.forecasting import bins
from linsim.forecasting.columns import COLUMNS, OPTIONAL, features_of
from linsim.forecasting.forecaster import ERRORS, FILE, Forecaster
from linsim.forecasting.forecaster import stored as forecaster
from linsim.forecasting.learning import examples, learn
from linsim.forecasting.network import Members
from linsim.forecasting.prior import draw
from linsim.forecasting.simulation import simulate

from ..forecast_scores.cells import Cells, cells_of, of_prior
from ..forecast_scores.scores import FEWEST, safe_level
from ..forecast_scores.tables import CALIBRATION, stored

NETWORKS = 100_000
MASKS = 3
"""Choices of columns for each network."""
MEMBERS, WIDTH, EPOCHS = 5, 128, 16
HELD_OUT = 10_000
_RIDGE = 1e-2  # of a covariance, relative to each feature's scale


class Known(NamedTuple):
    """Cells of one domain, for one choice of columns."""

    features: Float[np.ndarray, "cells features"]
    all_worse: Bool[np.ndarray, "cells horizons"]
    turn: Float[np.ndarray, " cells"]
    group: Int[np.ndarray, " cells"]
    """Network or transfer, which several cells share."""

    @property
    def worse(self) -> Bool[np.ndarray, " cells"]:
        """By 8 B."""
        return self.all_worse[:, -1]


def calibrate(members: Members, prior: list[Known], domains: list[list[Known]]) -> Forecaster:
    """How far the networks are to be trusted, for every choice of optional columns.

    Args:
      members: the networks.
      prior: of fresh networks of the prior, one for each choice of columns.
      domains: of domains outside it, likewise; those of the last one have no say in verdicts.
    """
    rng = np.random.default_rng(26)
    found = []
    for choice, within in enumerate(prior):
        levels: list[float] = []
        found_harm: list[np.ndarray] = []
        found_none: list[np.ndarray] = []
        for at, domain in enumerate((within, *(each[choice] for each in domains))):
            worse, turn = members(domain.features)
            turns = np.isfinite(domain.turn)
            needed = np.abs(2 * bins.below(turn, domain.turn) - 1)[turns]
            levels.append(safe_level(needed, domain.group[turns], rng))
            if at == len(domains):  # the transformers widen intervals, and no more
                continue
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
            (
                min(np.nanmax(levels), 0.999),
                min(low, 0.5),
                max(high, 0.5),
                score,
                centre,
                precision,
                np.quantile(distance, 0.999),
            )
        )
    place = bins.place_in(prior[0].turn)
    shares = np.bincount(place, minlength=bins.BINS) / len(place)
    parts: Any = [np.array(part) for part in zip(*found, strict=True)]
    return Forecaster._make([members, *parts, prior[0].all_worse.mean(axis=0), shares])


def _quantile(parts: list[np.ndarray], level: float) -> float:
    """Of all parts together, each of which counts as much however many it has."""
    kept = [part for part in parts if len(part) >= FEWEST]
    values, weights = np.concatenate(kept), np.concatenate([np.full(len(part), 1 / len(part)) for part in kept])
    order = np.argsort(values)
    heaped = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(heaped, level)), len(values) - 1)])


def _choices(cells: Cells) -> list[Known]:
    """One for each choice of optional columns."""
    every = range(1 << len(OPTIONAL))
    names = [[COLUMNS[0], *(name for at, name in enumerate(OPTIONAL) if choice >> at & 1)] for choice in every]
    tables = list(zip(cells.budgets, cells.columns, strict=True))
    told = [[features_of(steps, each, only) for steps, each in tables] for only in names]
    return [Known(np.asarray(rows), cells.worse, cells.turn, cells.group) for rows in told]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, learn, calibrate, write."""
    started = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{what}: {time.perf_counter() - started:.0f} s", flush=True)

    if "calibration" in (sys.argv[1:] if arguments is None else arguments):
        members = forecaster().members
    else:
        networks = draw(NETWORKS, seed=0)
        known = examples(networks.budgets, simulate(networks, seed=0), MASKS, seed=0)
        tell(f"{NETWORKS} networks simulated")
        members = learn(known, MEMBERS, WIDTH, EPOCHS, 0, bins.BINS)
        tell("learned")
    domains = [cells_of(curves) for curves in stored().values()]
    known_to = [_choices(cells.of(cells.group < CALIBRATION)) for cells in domains]
    found = calibrate(members, _choices(of_prior(HELD_OUT, seed=1)), known_to)
    path = Path(linsim.forecasting.__path__[0]) / FILE
    found.save(path)
    tell(f"calibrated, {path.stat().st_size / 2**20:.2f} MiB written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
