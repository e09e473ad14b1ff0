"""The trained forecaster as arrays: its networks, how far they are to be trusted, and where they are kept."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.forecasting.columns import OPTIONAL
from linsim.forecasting.network import Members

LEVEL = 0.8
"""Chance that an interval of the turn is to hold it."""
ERRORS = 0.1
"""Share of the harmful that may be called harmless, and the reverse, over all domains of calibration."""
FILE = "forecaster.npz"


class Forecaster(NamedTuple):
    """Networks and their calibration, the latter for each choice of optional columns, as bits."""

    members: Members
    widened: Float[np.ndarray, " choices"]
    """Level of the networks' own intervals that holds `LEVEL` of the turns in every domain of calibration."""
    harmless: Float[np.ndarray, " choices"]
    """Chance of harm by 8 B up to which it is called none."""
    harmful: Float[np.ndarray, " choices"]
    """The same from which on it is called harm."""
    scores: Float[np.ndarray, " choices"]
    """Mean negative log score of harm by 8 B on the prior: which column would help most."""
    centre: Float[np.ndarray, "choices features"]
    """Of the features of the prior."""
    precision: Float[np.ndarray, "choices features features"]
    """Inverse of their covariance."""
    strangest: Float[np.ndarray, " choices"]
    """Distance that 1 in 1000 of the prior exceeds."""
    worse: Float[np.ndarray, " horizons"]
    """Shares of the prior that are worse."""
    turn: Float[np.ndarray, " bins"]
    """Shares of the prior by interval of the turn."""

    def strangeness(self, features: Float[np.ndarray, "runs features"], choice: int) -> Float[np.ndarray, " runs"]:
        """Mahalanobis distance of runs from the prior, over that which 1 in 1000 of the prior exceeds."""
        away = features - self.centre[choice]
        return np.sqrt(np.einsum("ri,ij,rj->r", away, self.precision[choice], away)) / self.strangest[choice]

    def save(self, path: Path) -> None:
        """Write all arrays, in float32."""
        named: dict[str, Any] = {name: value for name, value in self._asdict().items() if name != "members"}
        named |= {f"of_{name}": value for name, value in self.members._asdict().items()}
        arrays: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in named.items()}
        np.savez_compressed(path, **arrays)


def choice_of(columns: Any) -> int:
    """Optional columns as bits."""
    return sum(1 << at for at, name in enumerate(OPTIONAL) if name in columns)


@cache
def stored() -> Forecaster:
    """The forecaster that comes with linsim; `python -m experiments.forecast.training` makes it."""
    data = files(__package__).joinpath(FILE).read_bytes()
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        found = {name: archive[name].astype(np.float64) for name in archive.files}
    members = Members(*(found.pop(f"of_{name}") for name in Members._fields))
    return Forecaster(members, **found)
