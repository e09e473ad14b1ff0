"""The picture of three_phases: any result, the same bytes every time."""

import numpy as np
import pytest

from experiments.three_phases import experiment
from figures import three_phases as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_three_phases import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_markers_are_medians_of_the_first_tuning_and_lines_the_closed_form(small):
    aligned, *_ = figure.draw(small).get_axes()
    cell = small.sel(bases="aligned").isel(second=0, learning_rate=1, seed=0)
    drawn = [line.get_ydata() for line in aligned.lines]
    for told in (cell["pretrain_loss_after"].values, cell["predicted_pretrain_loss_after"].values):
        assert any(len(values) == len(told) and np.allclose(told, values) for values in drawn)


RESULTS = {
    "all": lambda small: small,
    "one rate": lambda small: small.isel(learning_rate=[0]),
    "one second task": lambda small: small.isel(second=[1]),
    "aligned alone": lambda small: small.isel(bases=[0]),
    "nothing known": lambda small: small.assign(regret=np.nan * small["regret"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no regret; allowed: a result of three_phases"):
        figure.draw(small.drop_vars("regret"))
