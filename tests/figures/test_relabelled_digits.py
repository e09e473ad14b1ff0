"""The picture of relabelled digits: a curve for each objective, on common scales, from any result."""

import numpy as np
import pytest

from experiments.relabelled_digits import experiment
from figures import relabelled_digits as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.sweeping.running import running
from tests.computed import computed
from tests.experiments.test_relabelled_digits import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


def test_every_objective_has_a_curve_in_units_of_the_zero_network(small):
    relabelled = figure.draw(small).get_axes()[0]
    at = small.sel(shift="relabelled").isel(seed=0, learning_rate=0)
    for line, objective in zip(relabelled.lines, small["objective"].values, strict=False):
        cell = at.sel(objective=objective)
        np.testing.assert_allclose(line.get_ydata(), cell["finetune_loss_after"] / cell["finetune_zero_loss"])


def test_harm_on_images_held_out_stands_beside_that_before_overfitting(small):
    heldout = figure.draw(small).get_axes()[2]
    hard = small.sel(objective="hard labels", shift="relabelled").isel(seed=0)
    for line, name in ((1, "counted_heldout_finetune_harm"), (4, "stopped_heldout_finetune_harm")):
        np.testing.assert_allclose(heldout.lines[line].get_ydata(), hard[name])


def test_the_title_is_what_was_found_and_the_legend_names_objectives(small):
    text = words(figure.draw(small))
    for part in (Finding.of(small).sentence, "hard labels", "squared error", "T = 1", "begins to overfit"):
        assert part in text


RESULTS = {
    "one budget": lambda small: small.isel(pretrain_steps=[3]),
    "one time": lambda small: small.isel(learning_rate=[0]),
    "all diverged": lambda small: small.assign(diverged=small["diverged"] | True),
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
    with pytest.raises(InvalidInput, match="dataset: got no stopped_steps; allowed: a result of relabelled_digits"):
        figure.draw(small.drop_vars("stopped_steps"))
