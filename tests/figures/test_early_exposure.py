"""The picture of early exposure: medians as markers, theory as lines, and any result."""

import numpy as np
import pytest

from experiments.early_exposure import experiment
from figures import early_exposure as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_early_exposure import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_markers_are_medians_and_lines_the_closed_form(small):
    redundant, *_ = figure.draw(small).get_axes()
    cell = small.sel(features="redundant", depth=2, asked=0.8, share=[0.0, 0.6])
    drawn = [line.get_ydata() for line in redundant.lines if len(line.get_ydata()) == 2]
    for told in (cell["retained_loss"].median("seed"), cell["predicted_retained_loss"]):
        assert any(np.allclose(told, values) for values in drawn)


RESULTS = {
    "all": lambda small: small,
    "one depth": lambda small: small.isel(depth=[0]),
    "no share inside": lambda small: small.isel(share=[0, 2]),
    "nothing known": lambda small: small.assign(retained_loss=np.nan * small["retained_loss"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no share; allowed: a result of early_exposure"):
        figure.draw(small.isel(share=0).drop_vars("share"))
