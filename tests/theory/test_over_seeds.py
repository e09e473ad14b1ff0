"""Bootstrap intervals over seeds."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.over_seeds import over_crossed, over_seeds


def test_intervals_cover_the_median_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    told = [over_seeds(rng.normal(size=25)) for _ in range(200)]
    covered = np.mean([each.low <= 0 <= each.high for each in told])
    assert 0.88 < covered < 0.99  # 0.95, of which 200 draws and percentiles of 25 values leave a few hundredths


def test_shares_unknown_values_and_single_seeds():
    share = over_seeds(np.array([1.0, 0.0, 1.0, 1.0, np.nan]), np.mean)
    assert (share.middle, share.seeds) == (0.75, 4)
    assert 0 <= share.low < 0.75 < share.high <= 1
    assert over_seeds(np.array([2.0, np.inf])) == pytest.approx((2.0, np.nan, np.nan, 1), nan_ok=True)
    assert over_seeds(np.array([np.nan])).seeds == 0
    assert over_seeds(np.array([3.0, 3.0]))[:3] == (3.0, 3.0, 3.0)


def test_the_same_digits_every_time_and_a_level_within_bounds():
    values = np.random.default_rng(0).random(7)
    assert over_seeds(values) == over_seeds(values)
    with pytest.raises(InvalidInput, match="level: got 1"):
        over_seeds(values, level=1.0)


def test_ends_of_one_value_are_that_value():
    assert over_seeds(np.array([0.3])).ends == (0.3, 0.3)
    told = over_seeds(np.array([0.1, 0.2, 0.4]))
    assert told.ends == (told.low, told.high)


def test_groups_that_share_seeds_are_drawn_with_them(unchecked):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(6, 1, 1))
    alone, copied = over_crossed(shared), over_crossed(np.repeat(shared, 8, axis=1))
    assert copied[:3] == alone[:3]
    apart = over_crossed(shared + 100 * np.arange(8)[None, :, None])
    assert apart.high - apart.low > 100
    assert over_crossed(np.full((2, 2, 1), np.nan)).seeds == 0
    assert np.isnan(over_crossed(np.ones((1, 3, 1))).low)
    with pytest.raises(InvalidInput, match="seeds, groups, members"):
        over_crossed(np.ones((2, 2)))
