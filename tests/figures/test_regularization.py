"""The picture of regularisers: theory beside simulation, an honest title, the same bytes every time."""

import numpy as np
import pytest

from experiments.regularization import experiment
from figures import regularization as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_regularization import config
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def curves(axes):
    """Simulated curves, by hollow markers, and lines without markers."""
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    return [line for line in lines if line.get_marker() != "None"], [
        line for line in lines if line.get_marker() == "None"
    ]


def test_theory_and_simulation_are_drawn_and_told_apart(result):
    result = result.assign(limit_harm=1.1 * result["limit_harm"])  # so that it is not what the simulation says
    drawn = figure.draw(result)
    harm, *_ = drawn.get_axes()
    simulated, theory = curves(harm)
    assert len(simulated) == len(theory) == 3
    for line, curve in zip(theory, result["limit_harm"].values, strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.maximum(curve, 1e-3))
    assert all(line.get_markerfacecolor() == "white" and line.get_linestyle() == "None" for line in simulated)
    assert Finding.of(result).sentence in words(drawn)


def test_fronts_lie_on_or_above_the_bound(result):
    front = figure.draw(result).get_axes()[4]
    simulated, (bound, *_) = curves(front)
    assert len(simulated) == 4
    for line in simulated:
        known = np.isfinite(line.get_ydata())
        assert np.all(line.get_ydata()[known] >= bound.get_ydata()[known] - 1e-12)


def test_the_dotted_curve_is_said_to_be_at_another_loss(result):
    text = words(figure.draw(result))
    assert "dotted: at a fixed rate, not at this loss" in text and "grey" not in text


@pytest.mark.parametrize("case", ["one budget", "one strength", "no closed form", "all diverged"])
def test_any_result_can_be_drawn(result, case):
    changed = {
        "one budget": lambda: result.isel(pretrain_steps=slice(1)),
        "one strength": lambda: result.isel(regularization=slice(1)),
        "no closed form": lambda: result.drop_vars("predicted_harm").assign(limit_harm=result["limit_harm"] * np.nan),
        "all diverged": lambda: result.map(lambda v: v * np.nan if v.dtype == float and "seed" in v.dims else v),
    }[case]()
    drawn = figure.draw(changed)
    in_full(drawn)


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no limit_harm; allowed: a result of regularization"):
        figure.draw(result.drop_vars("limit_harm"))
