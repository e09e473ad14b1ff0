"""The picture of pairs of checkpoints: theory and simulation told apart, the message from the data, the same bytes."""

import numpy as np
import pytest

from experiments.checkpoint_pair import experiment, with_pairs
from figures import checkpoint_pair as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_checkpoint_pair import SMALL
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def test_simulation_is_hollow_markers_and_theory_is_lines(result):
    without = result.drop_vars([name for name in result.data_vars if name.startswith("predicted_")])
    for dataset, line in ((result, "None"), (without, "-")):
        drawn = figure.draw(dataset)
        marked = [each for each in drawn.axes[0].lines if each.get_marker() == "s"]
        assert [each.get_linestyle() for each in marked] == [line]
        assert all(each.get_markerfacecolor() == "white" for each in marked)
        assert ("closed form" in words(drawn)) is (line == "None")


def test_the_title_is_what_was_found(result):
    text = words(figure.draw(result))
    assert Finding.of(result).sentence in text and "matched pair" in text


def test_the_matched_pair_stands_at_its_two_budgets(result):
    drawn = figure.draw(result)
    cell = result.isel(learning_rate=1, regularization=0)
    first = float(cell["matched_steps"])
    later = float(cell["later_steps"].sel(pretrain_steps=first))
    (point,) = [line for line in drawn.axes[1].lines if line.get_marker() == "D"]
    np.testing.assert_allclose([point.get_xdata()[0], point.get_ydata()[0]], np.log10([first, later]))  # in decades


def _flat(result):
    still = result.assign(pretrain_loss_after=result["pretrain_loss_after"] * 0 + 1.0)
    still["inflection_steps"] = still["inflection_steps"] * np.nan
    return _paired(still)


def _paired(result):
    return experiment.found(with_pairs(result, 1.3, 1.09, 0.02, 0.001))


RESULTS = {
    "nothing turns": (_flat, "makes the fine-tuned model over 2 % worse in none of"),
    "one seed": (lambda result: _paired(result.isel(seed=slice(1))), "for all pairs from"),
    "one rate": (lambda result: _paired(result.isel(learning_rate=slice(1, 2))), "for all pairs from"),
    "one budget": (lambda result: _paired(result.isel(pretrain_steps=slice(1))), "No two of these budgets"),
    "all diverged": (
        lambda result: _paired(_flat(result).assign(diverged=result["diverged"] | True)),
        "one of its runs diverged",
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(result, name):
    change, said = RESULTS[name]
    drawn = figure.draw(change(result))
    in_full(drawn)
    assert said in words(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no share; allowed: a result of pairs of checkpoints"):
        figure.draw(result.drop_vars("share"))
