"""Distributions of the turn: quantiles, chances and scores against sums and integrals."""

import numpy as np
import pytest
from scipy.integrate import quad

from linsim.forecasting.bins import BINS, EDGES, below, crps, place_in, quantile

SHARES = np.random.default_rng(0).dirichlet(np.ones(BINS), 5)


def test_places_are_intervals_and_the_last_one_is_never():
    middles = np.append((EDGES[:-1] + EDGES[1:]) / 2, np.inf)
    assert place_in(middles).tolist() == list(range(BINS))
    assert place_in(np.array([-50.0])) == 0


@pytest.mark.parametrize("level", [0.05, 0.3, 0.5, 0.8])
def test_quantiles_undo_chances(level):
    found = quantile(SHARES, level)
    inside = np.isfinite(found)
    assert inside.any()
    assert np.allclose(below(SHARES[inside], found[inside]), level, atol=1e-9)
    assert (1 - SHARES[~inside, -1] < level + 1e-12).all()


def test_the_score_is_its_integral():
    """To 2e-3: a grid of 401 points over 7 e-folds, and a step that falls between two of them."""
    for shares, turn in zip(SHARES, (-3.0, -0.1, 0.9, 2.0, np.inf), strict=True):
        heaped = np.concatenate([[0.0], np.cumsum(shares)])[:-1]
        parts = [turn] if np.isfinite(turn) else []
        told, _ = quad(
            lambda x, heaped=heaped, turn=turn: (np.interp(x, EDGES, heaped) - (turn <= x)) ** 2,
            EDGES[0], EDGES[-1], points=[*EDGES[1:-1], *parts], limit=200,
        )  # fmt: skip
        assert abs(float(crps(shares[None], np.array([turn]))[0]) - told) < 2e-2
