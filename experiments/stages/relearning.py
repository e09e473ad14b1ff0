"""From which ratio on a learned feature is harm, by how long fine-tuning lasts beside the time to learn it itself."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import PLAIN, Label

EARLY, LATE = 0.8, 1.25
"""T over the relearning time: up to the one fine-tuning has not learned a feature itself, from the other on it has."""
_EDGES = np.array([0.1, 0.4, EARLY, LATE, 2.0, 4.0, 64.0])
_FEWEST = 12  # features that tell a threshold
_CANDIDATES = np.linspace(0.5, 3.0, 251)
LABELS = {
    "relearning": Label("T / time in which fine-tuning learns the feature by itself", PLAIN),
    "relative_ratio": Label("r / (1 + lambda / 2)", PLAIN),
    "relearning_edge": Label("edge of a range of T / relearning time", PLAIN),
    "simulated_threshold": Label("r / (1 + lambda / 2) that parts harm from none best", PLAIN),
}


def relearning(found: xr.Dataset) -> dict[str, Any]:
    """T over the relearning time of every feature, and in ranges of it the ratio that parts harm from none best.

    At one extreme the threshold is 2 + lambda, at the other 1 + lambda / 2, half of it: in units of the latter 2 and 1.
    Without a penalty harm tends to 0 at every ratio, and there is no threshold to find.
    """
    time = found["learning_rate"] * found.attrs["finetune_steps"]
    share = time / found["own_time"]
    relative = found["ratio"] / (1 + found["regularization"] / 2)
    harm = found["feature_harm"].sel(checkpoint="real", drop=True)
    counts = lasting(found) & harm.notnull() & (found["regularization"] > 0)
    x, y, bad, known = (np.ravel(part) for part in xr.broadcast(share, relative, harm > found.attrs["harmful"], counts))
    ranges = [known & (low <= x) & (x < high) for low, high in itertools.pairwise(_EDGES)]
    best = [_parting(y[here], bad[here]) for here in ranges]
    return {
        "relearning": share,
        "relative_ratio": relative,
        "relearning_edge": ("edge", _EDGES),
        "simulated_threshold": ("range", np.asarray(best)),
    }


def lasting(found: xr.Dataset) -> xr.DataArray:
    """Whether fine-tuning lasts long enough to move a feature that was learned: effort of at least 1."""
    return found["effort"] >= 1


def _parting(ratio: np.ndarray, harmful: np.ndarray) -> float:
    """The middle of the ratios that part the harmful from the others with fewest errors; NaN where few tell."""
    if len(ratio) < _FEWEST or harmful.all() or not harmful.any():
        return np.nan
    wrong = np.sum((ratio[:, None] > _CANDIDATES) != harmful[:, None], axis=0)
    return float(np.mean(_CANDIDATES[wrong == wrong.min()]))
