"""The picture of tasks_in_turn: any result, the same bytes every time."""

import numpy as np
import pytest

from experiments.tasks_in_turn import experiment
from figures import tasks_in_turn as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_tasks_in_turn import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_markers_are_medians_of_forgetting(small):
    similarity, *_ = figure.draw(small).get_axes()
    told = small["forgetting"].sel(head="copied").median("seed").values
    assert any(len(line.get_ydata()) == 3 and np.allclose(line.get_ydata(), told) for line in similarity.lines)


RESULTS = {
    "all": lambda small: small,
    "one head": lambda small: small.isel(head=[0]),
    "one task": lambda small: small.isel(task=[0]),
    "never reversed": lambda small: small.assign(reversal_time=np.nan * small["reversal_time"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no forgetting; allowed: a result of tasks_in_turn"):
        figure.draw(small.drop_vars("forgetting"))
