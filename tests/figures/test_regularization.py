"""The picture of regularisers: theory beside simulation, an honest title, the same bytes every time."""

import numpy as np
import pytest

from experiments.regularization import run
from figures import regularization as figure
from linsim.commands.config import FinetuneConfig, ShiftConfig
from linsim.errors import InvalidInput
from tests.experiments.test_regularization import config
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return run(config())


@pytest.fixture(scope="module")
def quiet():
    tuning = FinetuneConfig(steps=400, learning_rates=(1e-2,), regularizations=(0.0, 1.0))
    chosen = {"regularizers": ("product_penalty",), "checkpoints": ("idealised",)}
    return run(config(shift=ShiftConfig(rescale_factor=0.5), finetune=tuning, **chosen))


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
    text = words(drawn)
    assert "at equal fine-tuning loss it is the best for every method, and lowest with the product penalty" in text


def test_fronts_lie_on_or_above_the_bound(result):
    front = figure.draw(result).get_axes()[4]
    simulated, (bound, *_) = curves(front)
    assert len(simulated) == 4
    for line in simulated:
        known = np.isfinite(line.get_ydata())
        assert np.all(line.get_ydata()[known] >= bound.get_ydata()[known] - 1e-12)


def test_a_result_in_which_nothing_hurts_says_so(quiet):
    assert "At no fixed rate does more pre-training hurt" in words(figure.draw(quiet))


def test_the_title_counts_curves_known_at_every_budget(result):
    turning = result.assign(matched_harm=result["matched_harm"] * 0 + 0.5)
    turning["matched_pretrain_loss"] = turning["matched_pretrain_loss"].where(turning["method"] != "rate alone")
    known = int(np.isfinite(turning["matched_pretrain_loss"]).all("pretrain_steps").sum())
    assert f"{known} of {known} curves over the budget turn up" in words(figure.draw(turning))
    assert "3 rates are too coarse a grid" in words(figure.draw(turning.isel(learning_rate=slice(3))))
    assert "Too few budgets to tell" in words(figure.draw(turning.isel(pretrain_steps=slice(2))))


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
