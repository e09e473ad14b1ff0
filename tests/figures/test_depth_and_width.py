"""The picture of depth and width: theory beside simulation, an honest title, the same bytes every time."""

import numpy as np
import pytest

from experiments.depth_and_width import experiment
from figures import depth_and_width as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_depth_and_width import config
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def test_theory_and_simulation_are_drawn_and_told_apart(result):
    drawn = figure.draw(result)
    axes = drawn.get_axes()
    simulated = [line for line in axes[0].lines if line.get_marker() != "None"]
    theory = [line for line in axes[0].lines if line.get_marker() == "None" and len(line.get_xdata()) > 2]
    assert len(simulated) == len(theory) == 2
    for at, line in enumerate(theory):
        np.testing.assert_allclose(line.get_ydata(), np.maximum(result["predicted_harm"][at], 1e-3))
        np.testing.assert_allclose(line.get_xdata(), result["learning_rate"] / result["stable_rate"][at])
    assert all(line.get_linestyle() == "None" and line.get_markerfacecolor() == "white" for line in simulated)
    text = words(drawn)
    assert Finding.of(result).sentence in text
    assert "range of 3 seeds" in text


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", ["one budget", "one depth", "one seed", "no closed form", "all diverged"])
def test_any_result_can_be_drawn(result, case):
    changed = {
        "one budget": lambda: result.isel(pretrain_steps=slice(1)),
        "one depth": lambda: result.isel(depth=slice(1)),
        "one seed": lambda: result.isel(width_seed=slice(1)),
        "no closed form": lambda: result.map(lambda v: v * np.nan if "predicted" in str(v.name) else v),
        "all diverged": lambda: result.map(lambda v: v * np.nan if v.dtype == float else v),
    }[case]()
    drawn = figure.draw(changed)
    in_full(drawn)


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no width_harm; allowed: a result of depth_and_width"):
        figure.draw(result.drop_vars("width_harm"))
