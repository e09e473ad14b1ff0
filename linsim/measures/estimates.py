"""What an estimator returns: a mean and its standard error."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from linsim.errors import brief_fields


class Estimate(NamedTuple):
    """A number that was estimated from samples."""

    mean: Any
    """A scalar, unbiased unless its function says otherwise."""
    error: Any
    """Standard error of the mean, in the same unit."""

    def __repr__(self) -> str:
        return brief_fields(self)


def from_samples(
    samples: Float[Array | np.ndarray, " samples"], weights: Float[Array | np.ndarray, " samples"] | None = None
) -> Estimate:
    """The mean of independent samples and its standard error, s / sqrt(n) with s^2 over n - 1.

    With shares w that sum to 1 the mean is sum(w x), its variance sum(w^2 (x - mean)^2) / (1 - sum(w^2)): right on
    average where x has variance 1 / w, as a mean over w has, and where all shares are equal. The error of a single
    sample is NaN: nothing is known of it. Works on arrays of JAX, traced or not, and of NumPy.
    """
    count = samples.size
    shares: Any = 1.0 / count if weights is None else weights / weights.sum()
    mean = (shares * samples).sum()
    if count == 1:
        return Estimate(mean, math.nan * mean)
    rest = 1 - 1.0 / count if weights is None else 1 - (shares**2).sum()
    return Estimate(mean, (((shares * (samples - mean)) ** 2).sum() / rest) ** 0.5)
