"""The picture of mitigations: a row each in the order of the ranks, from any result."""

import numpy as np
import pytest

from experiments.mitigations import experiment
from figures import mitigations as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_mitigations import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_rows_are_methods_in_the_order_of_ranks_and_points_are_medians(small):
    fixed, first, second = figure.draw(small).get_axes()
    mean = small["rank"].mean(("level", "family", "seed"))
    order = np.argsort(mean.values, kind="stable")
    names = [label.get_text() for label in fixed.get_yticklabels()]
    assert names == [str(name) for name in small["mitigation"].values[order]]
    for axes, at in ((first, 0), (second, 1)):
        told = small["ratio"].isel(level=at, family=0, mitigation=order).median("seed")
        np.testing.assert_allclose(axes.lines[0].get_xdata(), told)


def test_the_title_is_what_was_found_and_families_are_named(small):
    text = words(figure.draw(small))
    for part in (Finding.of(small).sentence, "weak modes amplified, 2 transfers", "bound", "has seen fine-tuning data"):
        assert part in text


RESULTS = {
    "one level": lambda small: small.isel(level=[0]),
    "one family": lambda small: small.isel(family=[1]),
    "one method": lambda small: small.isel(mitigation=[0]),
    "nothing reached": lambda small: small.assign(ratio=np.nan * small["ratio"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no ratio; allowed: a result of mitigations"):
        figure.draw(small.drop_vars("ratio"))
