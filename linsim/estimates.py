"""What an estimator returns: a mean and its standard error."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Estimate(NamedTuple):
    """A number that was estimated from samples."""

    mean: Any
    """A scalar, unbiased unless its function says otherwise."""
    error: Any
    """Standard error of the mean, in the same unit."""


def from_samples(
    samples: Float[Array | np.ndarray, " samples"], weights: Float[Array | np.ndarray, " samples"] | None = None
) -> Estimate:
    """The mean of independent samples and its standard error, s / sqrt(n) with s^2 over n - 1.

    With weights the mean is sum(w x) / sum(w), its variance n / (n - 1) sum(w^2 (x - mean)^2) / sum(w)^2. The error of
    a single sample is NaN: nothing is known of it. Works on arrays of JAX, traced or not, and of NumPy.
    """
    count = samples.size
    shares = 1.0 / count if weights is None else weights / weights.sum()
    mean = (shares * samples).sum()
    freedom = count / (count - 1) if count > 1 else math.nan
    return Estimate(mean, (freedom * ((shares * (samples - mean)) ** 2).sum()) ** 0.5)
