"""The picture of the whole league: rows in the order of ranks, numbers of the median, from any result."""

import numpy as np
import pytest

from experiments.mitigations import experiment
from figures import league as figure
from figures.gallery import GALLERY
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.storage import store
from tests.computed import computed
from tests.experiments.test_mitigations import CONFIG
from tests.figures.pictures import in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_rows_are_methods_in_the_order_of_ranks_and_cells_medians(small):
    ranks, first, second = figure.draw(small).get_axes()
    order = np.argsort(small["rank"].mean(("level", "family", "seed")).values, kind="stable")
    names = [label.get_text() for label in ranks.get_yticklabels()]
    assert names == [str(name) for name in small["mitigation"].values[order]]
    for axes, at in ((first, 0), (second, 1)):
        told = small["ratio"].isel(level=at, mitigation=order).median("seed").transpose("mitigation", "family").values
        assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in told.ravel()]


RESULTS = {
    "all": lambda small: small,
    "one family": lambda small: small.isel(family=[1]),
    "one method": lambda small: small.isel(mitigation=[0]),
    "nothing reached": lambda small: small.assign(ratio=np.nan * small["ratio"]),
    "without curves": lambda small: small.drop_vars(["pretrain_loss_after", "finetune_loss_after", "base_loss"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no rank; allowed: a result of mitigations"):
        figure.draw(small.drop_vars("rank"))


def test_the_stored_league_is_of_its_command_and_says_what_it_found():
    (entry,) = (entry for entry in GALLERY if entry.name == "league")
    stored = store.view(entry.source())
    for name in entry.arguments[1:9]:
        assert name in stored["family"].values
    assert stored.sizes["seed"] == 10
    assert Finding.of(experiment.found(stored)).sentence == Finding.of(stored).sentence
    assert bool((stored["ratio"].min(("mitigation", "family", "seed")) >= 0.99).all())  # between rates
