"""The picture of sizes and budgets: curves of the dataset, turns and both optima, from any result."""

import numpy as np
import pytest

from experiments.goldilocks import experiment
from figures import goldilocks as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_goldilocks import ALONE, CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def test_curves_are_losses_over_data_per_parameter_and_stars_are_turns(small):
    base, _, flow, *_ = figure.draw(small).get_axes()
    task = small.isel(task=0)
    x, y = base.lines[0].get_data()
    kept = np.isin(task["base_loss"].isel(size=0).values, y)
    np.testing.assert_allclose(x * float(task["compute_optimal_time"][0]), task["flow_time"].values[kept])
    stars = [line for line in flow.lines if line.get_marker() == "*"]
    told = task["turn_time"].sel(kind="noise").values
    np.testing.assert_allclose([float(star.get_xdata()[0]) for star in stars], told[np.isfinite(told)])


def test_isocompute_curves_have_the_best_of_both(small):
    axes = figure.draw(small).get_axes()[4]
    circles = [line for line in axes.lines if line.get_marker() == "o"]
    for at, circle in enumerate(circles):
        best = small["candidate"].values[int(np.nanargmin(small["iso_base"].isel(task=0, compute=at)))]
        assert float(circle.get_xdata()[0]) == best


def test_the_title_is_what_was_found_and_zones_are_named(small):
    text = words(figure.draw(small))
    for part in (Finding.of(small).sentence, "compute-optimal", "5 to 20 times", "above 50 times", "N = 30"):
        assert part in text


RESULTS = {
    "no matrices": lambda small: computed(experiment, ALONE),
    "one size": lambda small: small.isel(size=[0]),
    "one compute": lambda small: small.isel(compute=[0]),
    "no turn": lambda small: small.assign(turn_time=np.nan * small["turn_time"]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(small, name):
    result = experiment.found(RESULTS[name](small))
    assert Finding.of(result).sentence in words(in_full(figure.draw(result)))


def test_a_stored_result_is_redrawn_with_the_same_bytes(small, tmp_path, capsys):
    assert_redrawn(figure, small, tmp_path)
    capsys.readouterr()


def test_what_is_no_result_is_refused(small):
    with pytest.raises(InvalidInput, match="dataset: got no iso_base; allowed: a result of goldilocks"):
        figure.draw(small.drop_vars("iso_base"))
