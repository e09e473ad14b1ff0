"""What several seeds say together: medians of where curves turn and how deep, each with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.errors import LARGEST, InvalidInput, brief, brief_error, brief_fields, numbers, require_number

_RESAMPLES = 2000


class OverSeeds(NamedTuple):
    """A statistic over seeds."""

    middle: float
    """Of all that are known; NaN where nothing is."""
    low: float
    """Lower end of the bootstrap interval; NaN for fewer than two known values."""
    high: float
    seeds: int
    """How many are known."""

    def __repr__(self) -> str:
        return brief_fields(self)

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval; of one known value, which has none, that value twice."""
        return (self.middle, self.middle) if np.isnan(self.low) else (self.low, self.high)


def over_seeds(
    values: Float[np.ndarray, " seeds"], statistic: Callable[..., Any] = np.median, level: float = 0.95
) -> OverSeeds:
    """A statistic of what is finite, with its percentile bootstrap interval; the same digits every time.

    Args:
      values: one a seed; those that are not finite are left out.
      statistic: of NumPy, with `axis`: the median, or the mean of zeros and ones for a share.
      level: of the interval, in (0, 1).

    Returns:
      The statistic; NaN where fewer values are finite than it takes.

    Raises:
      InvalidInput: values that are no list of numbers, a statistic that fails on them, a level that is none.

    Example:
      >>> ls.over_seeds(np.array([0.31, 0.25, 0.40, 0.33, np.nan]))
      OverSeeds(middle=0.32, low=0.25, high=0.4, seeds=4)
    """
    require_number("level", level, above=0, below=1)
    known = numbers("values", values, 1, finite=False, most=LARGEST)
    known = known[np.isfinite(known)]
    if not known.size:
        return OverSeeds(np.nan, np.nan, np.nan, 0)
    middle = _middle(statistic, known)
    if known.size < 2:
        return OverSeeds(middle, np.nan, np.nan, 1)
    if np.ptp(known) == 0:
        return OverSeeds(middle, middle, middle, known.size)
    from scipy.stats import bootstrap  # takes as long to import as xarray, and is needed for several seeds alone

    drawn: Any = bootstrap(
        (known,),
        statistic,
        n_resamples=_RESAMPLES,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = drawn.confidence_interval
    return OverSeeds(middle, float(low), float(high), known.size)


def _middle(statistic: Callable[..., Any], known: np.ndarray) -> float:
    """What a statistic tells of numbers, along whatever axis they lie."""
    allowed = "a function of NumPy that gives one number, along an axis"
    try:
        alone, along = statistic(known), np.asarray(statistic(np.stack([known, known]), axis=1))
        if np.shape(alone) != () or along.shape != (2,):
            raise TypeError(f"it gives {brief(alone)}")
        return float(alone)
    except Exception as error:  # whatever a user's code raises
        raise InvalidInput("statistic", brief(statistic), f"{allowed}; {brief_error(error)}") from error
