"""The picture of samples and exact gradients: both tasks, turns where most samples have one, the same bytes."""

import dataclasses

import numpy as np
import pytest

from experiments.finite_sample import experiment, run
from figures import finite_sample as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.experiments.test_finite_sample import SMALL
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return run(dataclasses.replace(SMALL, seeds=3, factors=(1.0, 4.0)))


def stars(axes):
    return sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "*")


def test_a_star_stands_where_most_samples_turn(result):
    drawn = figure.draw(result)
    panels = dict(zip(("same", "amplified", "pre_same", "pre_amplified"), drawn.axes, strict=True))
    assert Finding.of(result).sentence in words(drawn)
    turning = result["heldout_inflection_steps"].notnull().mean("seed") > 0.5
    for at, name in enumerate(("same", "amplified")):
        assert stars(panels[name]) == int(turning.isel(rescale_factor=at).sum())
    assert turning.any() and not turning.all()


RESULTS = {
    "one sample": lambda result: result.isel(seed=[0]),
    "no closed form": lambda result: result.drop_vars("predicted_heldout_loss_after"),
    "all diverged": lambda result: result.assign(diverged=result["diverged"] | True),
    "no turn": lambda result: result.assign(heldout_inflection_steps=result["heldout_inflection_steps"] * np.nan),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(result, name):
    in_full(figure.draw(experiment.found(RESULTS[name](result))))


def test_a_stored_result_is_redrawn_with_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)
    with pytest.raises(InvalidInput, match="a result of finite_sample"):
        figure.draw(result.drop_vars("heldout_loss_after"))
