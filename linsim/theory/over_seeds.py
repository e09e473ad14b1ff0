"""What several seeds say together: medians of where curves turn and how deep, each with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.errors import LARGEST, InvalidInput, brief, brief_error, brief_fields, numbers, require, require_number

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


def over_crossed(values: Float[np.ndarray, "seeds groups members"], level: float = 0.95) -> OverSeeds:
    """The median of what is finite, where groups share seeds: the bootstrap draws whole seeds and whole groups.

    Args:
      values: of every seed in every group, such as a family of tasks; members are of one seed and one group.
      level: of the interval, in (0, 1).

    Returns:
      The median over all, its percentile interval, and the number of seeds of which any is known.

    Raises:
      InvalidInput: values that are no numbers over three axes, a level that is none.

    Example:
      >>> over_crossed(np.array([[[0.3], [1.3]], [[0.4], [1.4]], [[0.5], [1.5]]]))
      OverSeeds(middle=0.9, low=0.3, high=1.5, seeds=3)
    """
    require_number("level", level, above=0, below=1)
    known = numbers("values", values, finite=False, most=LARGEST)
    require(known.ndim == 3, "values", f"shape {known.shape}", "(seeds, groups, members)")
    finite = np.isfinite(known)
    known = np.where(finite, known, np.nan)[finite.any(axis=(1, 2))][:, finite.any(axis=(0, 2))]
    if not known.size:
        return OverSeeds(np.nan, np.nan, np.nan, 0)
    middle, (seeds, groups) = float(np.nanmedian(known)), known.shape[:2]
    if seeds < 2:
        return OverSeeds(middle, np.nan, np.nan, 1)
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(count, size=(_RESAMPLES, count)) for count in (seeds, groups))
    drawn = known[rows[:, :, None], columns[:, None, :]].reshape(_RESAMPLES, -1)
    medians = np.nanmedian(drawn[np.isfinite(drawn).any(axis=1)], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return OverSeeds(middle, float(low), float(high), seeds)


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
