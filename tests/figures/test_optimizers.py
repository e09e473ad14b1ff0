"""The picture of optimisers: theory and simulation are told apart, and any result can be drawn."""

import numpy as np
import pytest

from experiments.optimizers import experiment
from figures import optimizers as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_optimizers import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_simulation_is_hollow_and_theory_is_a_line(small):
    curves = figure.draw(small).get_axes()[0]
    hollow = [line for line in curves.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 2
    (theory,) = [line for line in curves.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
    stated = small["predicted_curve"].isel(setting=-1, task_shift=0).sel(optimizer="muon")
    np.testing.assert_allclose(theory.get_ydata(), stated)
    assert curves.get_xlim()[0] > curves.get_xlim()[1]


def test_best_and_last_of_every_optimiser_are_shown(small):
    parts = figure.draw(small).get_axes()[2]
    assert [label.get_text() for label in parts.get_yticklabels()] == ["descent", "Muon"]
    best = small["fixed_best"].isel(setting=-1, task_shift=0, arm=0).median("seed")
    shown = next(line for line in parts.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata()) == 2)
    np.testing.assert_allclose(shown.get_xdata(), best)


def test_the_title_is_what_was_found_and_the_legend_says_what_is_drawn(small):
    text = words(figure.draw(small))
    for part in (
        Finding.of(small).sentence,
        "closed form",
        "what the shift alone decides",
        "best on the tail",
        "last on",
    ):
        assert part in text


RESULTS = {
    "one seed": lambda small: small.isel(seed=[0]),
    "one shift": lambda small: small.isel(task_shift=[1]),
    "descent alone": lambda small: small.isel(optimizer=[0]),
    "Muon alone": lambda small: small.isel(optimizer=[1]),
    "nothing known": lambda small: small.assign(
        {n: np.nan * small[n] for n in small if str(n).startswith(("fixed_", "tuned_", "predicted", "any_order"))}
    ),
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
    with pytest.raises(InvalidInput, match="dataset: got no fixed_best; allowed: a result of optimizers"):
        figure.draw(small.drop_vars("fixed_best"))
