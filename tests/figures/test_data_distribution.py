"""The picture of kinds of data: a line for each, in groups, hollow at one time and filled at equal loss."""

import numpy as np
import pytest

from experiments.data_distribution import experiment
from figures import data_distribution as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.sweeping.running import running
from linsim.theory.data.effort import last_loss_bounds
from tests.computed import computed
from tests.experiments.test_data_distribution import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


def test_harm_by_both_recipes_stands_at_its_kind_of_data(small):
    harm = figure.draw(small).get_axes()[0]
    hollow, filled = (
        next(line for line in harm.lines if line.get_marker() == marker and len(line.get_xdata()) > 1)
        for marker in ("o", "s")
    )
    for line, recipe in ((hollow, "one time"), (filled, "equal loss")):
        told = small["stopped_harm"].sel(recipe=recipe).isel(seed=0).values
        np.testing.assert_allclose(line.get_xdata(), np.maximum(told, 0.01))
    assert len(harm.get_yticks()) == small.sizes["data"] == 13


def test_bounds_on_the_last_loss_are_those_of_theory(small):
    last = figure.draw(small).get_axes()[3]
    least, most = last_loss_bounds(0.3)
    band = next(patch for patch in last.patches if patch.get_x() == pytest.approx(float(least)))
    assert band.get_x() + band.get_width() == pytest.approx(float(most))


def test_the_title_is_what_was_found_and_the_groups_are_named(small):
    text = words(figure.draw(small))
    for part in (
        Finding.of(small).sentence,
        "the sample size: examples",
        "coverage of the classes: share seen",
        "one time, T = 0.25",
        "equal loss: 0.3 of the fine-tuning loss left",
    ):
        assert part in text


RESULTS = {
    "one kind": lambda small: small.isel(data=[2]),
    "nothing matched": lambda small: small.assign(
        stopped_harm=small["stopped_harm"].where(small["recipe"] == "one time")
    ),
    "all diverged": lambda small: small.assign(diverged=small["diverged"] | True),
    "nothing known": lambda small: small.assign(
        {name: np.nan * small[name] for name in ("stopped_harm", "harm", "stopped_excess", "most_beyond")}
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    drawn = in_full(figure.draw(result))
    assert Finding.of(result).sentence in words(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no stopped_harm; allowed: a result of data_distribution"):
        figure.draw(small.drop_vars("stopped_harm"))
