"""The picture of superposition: a curve for each width, a marker for each network, from any result."""

import numpy as np
import pytest

from experiments.superposition import experiment
from figures import superposition as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.sweeping.running import running
from tests.computed import computed
from tests.experiments.test_superposition import CONFIG
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


def test_every_width_has_a_curve_of_overlap_and_a_marker_for_each_geometry(small):
    over, borne, unseen, times, draws, _ = figure.draw(small).get_axes()
    for line, width in zip(over.lines, small["width"].values, strict=True):
        told = small["feature_overlap"].isel(shift=0, seed=0).sel(geometry="separate", width=width)
        np.testing.assert_allclose(line.get_ydata(), told)
    told = small["unseen_harm"].isel(shift=0, seed=0).sel(effort="fixed time").transpose("width", "geometry")
    np.testing.assert_allclose(np.array([line.get_ydata() for line in unseen.lines]), told)
    np.testing.assert_allclose(borne.lines[0].get_ydata(), small["kept_share_over_times"].isel(shift=0, seed=0))
    assert len(times.lines) == len(small["width"]) + 1
    rise = small["overlap_rise"].sel(effort="fixed time")
    np.testing.assert_allclose(draws.lines[0].get_ydata(), np.sort(rise))


def test_the_title_is_what_was_found_and_panels_say_what_is_changed_alone(small):
    text = words(figure.draw(small))
    for part in (Finding.of(small).sentence, "at the same loss and spectrum", "sensitivity alone"):
        assert part in text


RESULTS = {
    "one budget": lambda small: small.isel(pretrain_steps=[3]),
    "one width": lambda small: small.isel(width=[1]),
    "nothing harmed": lambda small: small.assign({name: 0 * small[name] for name in ("counted_harm", "unseen_harm")}),
    "nothing known": lambda small: small.assign(
        {
            name: np.nan * small[name]
            for name in ("counted_harm", "unseen_harm", "overlap_rise", "scaled_counted_harm", "unseen_across")
        }
    ),
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
    with pytest.raises(InvalidInput, match="dataset: got no end_overlap; allowed: a result of superposition"):
        figure.draw(small.drop_vars("end_overlap"))
