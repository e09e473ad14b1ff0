"""A fit of theory to one table: two layers, a power law, a tail that is stronger by one factor.

The parameters are a few hundred draws; each is laid on the table at every place of its own time, weighted by how well
it goes with all columns, relative to their last values, and forecasts what became of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.prior import HORIZONS, MODES, Networks
from linsim.forecasting.simulation import losses_of, outcome
from linsim.precision import in_float64

_NETWORKS = 500
_STEP = np.log(2) / 4  # of the grid of times, in e-folds
_TIMES, _PLACES = 100, 15  # of the grid, and how many of them the largest budget may be
_ERROR = 0.02  # of a fit: below it none is called better


class Bank(NamedTuple):
    """Curves of all parameters on a grid of times, and what became of them."""

    logs: Float[np.ndarray, "columns networks times"]
    places: np.ndarray
    """Of the largest budget, in the grid."""
    worse: Float[np.ndarray, "networks places"]
    turn: Float[np.ndarray, "networks places"]


@in_float64
def bank(seed: int) -> Bank:
    """Exponents from 0.3 to 2, factors from 0.3 to 8 from any mode on, T and starts as in the prior."""
    rng = np.random.default_rng([seed, 24])
    modes = np.arange(1, MODES + 1)
    strengths = modes ** -rng.uniform(0.3, 2, (_NETWORKS, 1))
    factor = np.exp(rng.uniform(np.log(0.3), np.log(8), (_NETWORKS, 1)))
    shifted = np.where(modes >= rng.integers(1, 10, (_NETWORKS, 1)), factor, 1.0) * strengths
    tau = rng.uniform(1, 5, (_NETWORKS, 1))
    plain = np.ones_like(strengths)
    length = np.exp(rng.uniform(np.log(0.03), np.log(10), _NETWORKS)) / np.max(shifted, axis=1)
    none, two = np.zeros(_NETWORKS), np.full(_NETWORKS, 2)
    times = 0.02 * np.exp(_STEP * np.arange(_TIMES))
    networks = Networks(
        strengths,
        shifted,
        plain,
        np.exp(-2 * tau) * strengths,
        two,
        length,
        none,
        times[None],
        np.zeros((_NETWORKS, 2)),
        none,
    )
    losses = np.asarray(losses_of(networks, np.broadcast_to(times, (_NETWORKS, _TIMES))))
    after, zero = losses[COLUMNS.index("pretrain_loss_after")], np.sum(strengths**2, axis=1)
    ahead = round(np.log(HORIZONS[-1]) / _STEP)
    places = np.linspace(20, _TIMES - ahead - 1, _PLACES).astype(int)
    results = []
    for place in places:
        until = slice(max(place - 40, 0), place + ahead + 1)
        horizons = after[:, [place, *(place + round(np.log(each) / _STEP) for each in HORIZONS)]]
        budgets = np.broadcast_to(times[until] / times[place], after[:, until].shape)
        results.append(outcome(horizons, budgets, after[:, until], zero))
    worse = np.stack([each[0][:, -1] for each in results], axis=1).astype(float)
    return Bank(np.log(losses), places, worse, np.stack([each[1] for each in results], axis=1))


def chance(known: Bank, budgets: np.ndarray, columns: dict[str, np.ndarray]) -> float:
    """Chance that 8 B is worse, a mean over parameters and places by how well they go with the table."""
    back = np.log(budgets / budgets[-1]) / _STEP
    at = np.clip(known.places[:, None] + back, 0, _TIMES - 1.001)
    low = np.floor(at).astype(int)
    part = at - low
    wrong, count = np.zeros(known.worse.shape), 0
    for name, losses in columns.items():
        logs = known.logs[COLUMNS.index(name)]
        curve = logs[:, low] * (1 - part) + logs[:, low + 1] * part
        wrong += np.sum((curve - curve[..., -1:] - np.log(losses / losses[-1])) ** 2, axis=-1)
        count += len(losses) - 1
    error = max(_ERROR**2, float(wrong.min()) / count)
    weights = np.exp(-(wrong - wrong.min()) / (2 * error))
    return float(np.sum(weights * known.worse) / weights.sum())
