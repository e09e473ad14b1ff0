"""The picture of new heads: a curve for each ratio, the thresholds, and any result drawn."""

import numpy as np
import pytest

from experiments.new_heads import experiment
from figures import new_heads as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_new_heads import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_every_ratio_has_a_curve_in_units_of_no_representation(small):
    modes = figure.draw(small).get_axes()[0]
    at = small.sel(objective="contrastive", bases="modes", asked="all", duration="long")
    for line, ratio in zip(modes.lines, CONFIG.ratios, strict=False):
        told = at["pretrain_loss_after"].sel(ratio=ratio).median("seed") / at["zero_loss"]
        np.testing.assert_allclose(line.get_ydata(), told)


def test_the_title_is_what_was_found_and_objectives_are_named(small):
    text = words(figure.draw(small))
    for part in (Finding.of(small).sentence, "autoencoder", "contrastive", "whitening", "2/3"):
        assert part in text


RESULTS = {
    "one budget": lambda small: small.isel(pretrain_steps=[3]),
    "one ratio": lambda small: small.isel(ratio=[1]),
    "all diverged": lambda small: small.assign(diverged=small["diverged"] | True),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    drawn = in_full(figure.draw(result))
    assert Finding.of(result).sentence in words(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no best_strength; allowed: a result of new_heads"):
        figure.draw(small.drop_vars("best_strength"))
