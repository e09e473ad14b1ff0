"""The trained networks, read from arrays and applied in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.forecasting.prior import HORIZONS


class Members(NamedTuple):
    """Networks of two hidden layers with silu, whose forecasts are averaged."""

    mean: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    first: Float[np.ndarray, "members features width"]
    first_bias: Float[np.ndarray, "members width"]
    second: Float[np.ndarray, "members width width"]
    second_bias: Float[np.ndarray, "members width"]
    last: Float[np.ndarray, "members width outputs"]
    last_bias: Float[np.ndarray, "members outputs"]

    def __call__(
        self, features: Float[np.ndarray, "runs features"]
    ) -> tuple[Float[np.ndarray, "runs horizons"], Float[np.ndarray, "runs bins"]]:
        """Chance of worse at each horizon, and of every interval of the turn: means over the networks."""
        hidden = ((features - self.mean) / self.scale)[None]
        for weights, bias in ((self.first, self.first_bias), (self.second, self.second_bias)):
            hidden = _silu(hidden @ weights + bias[:, None])
        logits = hidden @ self.last + self.last_bias[:, None]
        worse, turn = logits[..., : len(HORIZONS)], logits[..., len(HORIZONS) :]
        powers = np.exp(turn - turn.max(axis=-1, keepdims=True))
        return (1 / (1 + np.exp(-np.clip(worse, -80, 80)))).mean(axis=0), (
            powers / powers.sum(axis=-1, keepdims=True)
        ).mean(axis=0)


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-np.clip(x, -80, 80)))
