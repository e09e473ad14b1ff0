"""The picture of rich and lazy networks: theory and simulation are told apart, and any result can be drawn."""

import numpy as np
import pytest

from experiments.rich_and_lazy import experiment
from figures import rich_and_lazy as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_rich_and_lazy import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_simulation_is_hollow_and_theory_is_a_line(small):
    curves = figure.draw(small).get_axes()[0]
    hollow = [line for line in curves.lines if line.get_markerfacecolor() == "white"]
    solid = [line for line in curves.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
    assert len(hollow) == len(solid) == 2
    part = small.isel(tau=-1).sel(level=0.5)
    for line, balance in zip(solid, (0.02, 30.0), strict=True):
        closed = part["predicted_curve_at_equal_loss"].sel(balance=balance).median("seed")
        np.testing.assert_allclose(line.get_ydata(), closed)
    assert [line for line in curves.lines if line.get_marker() == "*"]


def test_the_title_is_what_was_found_and_the_legend_says_what_is_drawn(small):
    text = words(figure.draw(small))
    for part in (
        Finding.of(small).sentence,
        "closed form",
        "linear dynamics",
        "range of 2 seeds",
        "at the best budget",
    ):
        assert part in text


def _most_between(small):
    three = small.isel(balance=[0, 0, 1]).assign_coords(balance=[0.0, 0.02, 30.0])
    return three.assign(harm_at_equal_loss=three["harm_at_equal_loss"].where(three["balance"] > 0, 0.5))


RESULTS = {
    "one seed": lambda small: small.isel(seed=[0]),
    "one budget": lambda small: small.isel(pretrain_steps=[3]),
    "one balance": lambda small: small.isel(balance=[0], tau=[1]),
    "other signs": lambda small: small.assign_coords(balance=[-30.0, -0.02]),
    "nothing known": lambda small: small.assign(
        {n: np.nan * small[n] for n in small if str(n).endswith(("_loss", "_rates", "harm"))}
    ),
    "all diverged": lambda small: small.assign(diverged=small["diverged"] | True),
    "most between": _most_between,
    "no harm": lambda small: small.assign(harm_at_equal_loss=0 * small["harm_at_equal_loss"]),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    drawn = in_full(figure.draw(result))
    assert Finding.of(result).sentence in words(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no lazy_harm; allowed: a result of rich_and_lazy"):
        figure.draw(small.drop_vars("lazy_harm"))
