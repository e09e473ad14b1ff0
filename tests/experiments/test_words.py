"""Sizes, counts and ranges in words."""

import numpy as np
import pytest
import xarray as xr

from experiments import words
from linsim.theory.over_seeds import OverSeeds, over_seeds


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (4e-4, "0 %"),
        (0.0031, "0.31 %"),
        (0.123, "12 %"),
        (0.997, "100 %"),
        (12.345, "1234 %"),
        (np.inf, "diverged"),
    ],
)
def test_a_share_in_percent(share, said):
    assert words.percent(share) == said


def test_changes_deviations_and_parts():
    assert [words.change(each) for each in (0.12, -0.031, 0.0031, np.inf)] == ["+12 %", "-3.1 %", "+0.31 %", "diverges"]
    assert [words.deviation(each) for each in (1e-4, 0.12, 2.0, 150.0)] == [
        *("less than 0.1 %", "12 %", "a factor of 3", "a factor of 151"),
    ]
    assert [words.part(each) for each in (0.0, 0.25, 1.0)] == ["none", "25 %", "all"]


def test_counts_lists_and_ranges():
    assert (words.counted(1, "seed"), words.counted(3, "seed")) == ("1 seed", "3 seeds")
    assert words.listed([1e-5, 0.0123]) == "1e-05, 0.012"
    assert [words.joined(each) for each in ([1], [1, 2], [1, 2, 3])] == ["1", "1 and 2", "1, 2 and 3"]
    assert words.between([2.0, np.nan, 1.0]) == "1 to 2"
    assert words.between([2.0]) == "2"
    assert words.spread([0.3, 0.1, np.inf, 0.2]) == "0.2 (0.1 to 0.3)"
    assert words.spread([np.nan]) == "unknown"


def test_a_line_is_broken_where_the_terminal_ends_and_goes_on_further_in():
    first, second = words.wrapped("  " + "word " * 40).split("\n")
    assert len(first) <= 120 and second.startswith("    word")


def chart(budgets, lost):
    lanes = ("pretrain_steps", "seed")
    return xr.Dataset({"diverged": (lanes, np.full((budgets, 2), lost))})


def test_nothing_follows_where_all_runs_diverged_or_budgets_are_too_few():
    assert words.undecided(chart(3, False)) is None
    few = words.undecided(chart(2, False), details=("more",), trust="less")
    assert (few.verdict, few.numbers, few.details, few.trust) == ("cannot tell", {"budgets": 2}, ("more",), "less")
    assert words.undecided(chart(9, True)).verdict == "cannot tell"
    assert words.diverged(chart(9, False)) == []
    assert words.diverged(chart(9, True)) == ["18 of 18 fine-tuning runs diverged."]


def test_columns_of_a_table_are_flush_right_and_never_touch():
    assert words.tabular(["depth", "s"], [[1, "0.5 (0.5)"], [12, "none"]]) == [
        "   depth           s",
        "       1   0.5 (0.5)",
        "      12        none",
    ]


def test_a_difference_of_logarithms_is_told_as_a_factor_with_its_interval():
    assert words.factor(OverSeeds(np.log(3.5), np.log(3), np.log(4.5), 5)) == "3.5 (3 to 4.5)"
    assert words.factor(OverSeeds(np.log(2), np.nan, np.nan, 1)) == "2"


def test_intervals_over_few_seeds_are_told_as_the_range_that_they_are():
    assert words.few_seeds(1) == words.few_seeds(9) == []
    (line,) = words.few_seeds(5)
    assert line.startswith("Of as few as 5 seeds")
    assert line.endswith("once in 16.")
    # Of the median of five: both ends of the range are on one side of it with probability 2 / 2^5.
    drawn = np.random.default_rng(0).normal(size=(20_000, 5))
    assert np.mean((drawn.min(axis=1) > 0) | (drawn.max(axis=1) < 0)) == pytest.approx(1 / 16, abs=0.006)
    told = over_seeds(drawn[0], level=1 - 1e-4)
    assert (told.low, told.high) == pytest.approx((drawn[0].min(), drawn[0].max()))
