"""A turn as a distribution over intervals of ln(turn / B), and what is read from it: quantiles, scores, coverage."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from linsim.forecasting.prior import HORIZONS

EDGES = np.array([-5.0, -2.2, -1.2, -0.6, -0.25, 0.0, 0.35, 0.7, 1.05, 1.4, 1.75, np.log(HORIZONS[-1])])
"""Between them lie the intervals; beyond the last is the one of turns that do not come within 8 B."""
BINS = len(EDGES)


def place_in(turn: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """The interval of ln(turn / B); infinite is the last one, and the first reaches down to any budget."""
    return np.searchsorted(EDGES[1:], turn, side="left")


def below(shares: Float[np.ndarray, "... bins"], turn: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Chance that it turns at or before, evenly spread within an interval; of an infinite one in its middle."""
    heaped = np.concatenate([np.zeros((*shares.shape[:-1], 1)), np.cumsum(shares, axis=-1)], axis=-1)
    place = place_in(np.asarray(turn))
    at = np.minimum(place, BINS - 2)
    within = np.clip((np.maximum(turn, EDGES[0]) - EDGES[at]) / (EDGES[at + 1] - EDGES[at]), 0, 1)
    within = np.where(place == BINS - 1, 0.5, within)
    first, share = (np.take_along_axis(each, place[..., None], axis=-1)[..., 0] for each in (heaped, shares))
    return first + within * share


def quantile(shares: Float[np.ndarray, "... bins"], level: Float[np.ndarray, "..."] | float) -> np.ndarray:
    """ln(turn / B) that it comes before with a chance of `level`; infinite where that is beyond 8 B."""
    heaped = np.cumsum(shares, axis=-1)
    level = np.broadcast_to(np.asarray(level, np.float64), heaped.shape[:-1])
    place = np.minimum(np.sum(heaped < level[..., None] - 1e-12, axis=-1), BINS - 1)
    share = np.take_along_axis(shares, place[..., None], axis=-1)[..., 0]
    left = level - (np.take_along_axis(heaped, place[..., None], axis=-1)[..., 0] - share)
    at = np.minimum(place, BINS - 2)
    inside = EDGES[at] + (EDGES[at + 1] - EDGES[at]) * np.clip(left / np.maximum(share, 1e-12), 0, 1)
    return np.where(place == BINS - 1, np.inf, inside)


def crps(shares: Float[np.ndarray, "... bins"], turn: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Continuous ranked probability score: the integral of (F(x) - [turn <= x])^2 over ln(budget / B), in e-folds.

    Over budgets from e^-5 B to 8 B; a turn that does not come within 8 B is beyond all of them.
    """
    x = np.linspace(EDGES[0], EDGES[-1], 401)
    heaped = np.concatenate([np.zeros((*shares.shape[:-1], 1)), np.cumsum(shares, axis=-1)], axis=-1)
    flat = np.stack([np.interp(x, EDGES, row[: len(EDGES)]) for row in heaped.reshape(-1, heaped.shape[-1])])
    steps = np.maximum(np.asarray(turn, np.float64).reshape(-1, 1), EDGES[0]) <= x
    found = np.trapezoid((flat - steps) ** 2, x, axis=1)
    return found.reshape(np.shape(turn))
