"""The figure of tuned rates: theory and simulation, its title, and results in which nothing happens."""

import numpy as np
import pytest

from experiments.tuned_rate import experiment
from figures import tuned_rate as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_tuned_rate import SMALL
from tests.figures.pictures import in_full, words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def test_theory_is_lines_and_simulation_is_hollow_markers(result):
    drawn = figure.draw(result)
    text = words(drawn)
    for part in ("closed form", "simulation (median)", "range of 2 seeds", "inflection point", "before fine-tuning"):
        assert part in text
    assert Finding.of(result).sentence in text and "(a) near task, ×2" in text and "(b) far task, ×4" in text
    for axes in drawn.axes[:2]:
        markers = [line for line in axes.lines if line.get_linestyle() == "None" and line.get_marker() != "*"]
        assert len(markers) == 4
        assert all(line.get_markerfacecolor() == "white" for line in markers)
        assert sum(line.get_linestyle() != "None" for line in axes.lines) == 5  # four rules and the loss before
    assert (
        sum(line.get_linestyle() not in ("None", "none") for line in drawn.axes[2].lines) == 3
    )  # two tasks, the limit
    stars = [[line for line in axes.lines if line.get_marker() == "*" and len(line.get_xdata())] for axes in drawn.axes]
    assert len(stars[0]) == 1  # of the fixed rate alone
    assert len(stars[1]) == 2


def test_without_a_closed_form_markers_are_joined(result):
    bare = result.drop_vars([name for name in result if str(name).startswith("predicted_")])
    drawn = figure.draw(bare)
    assert "closed form" not in words(drawn)
    assert all(line.get_linestyle() != "None" for line in drawn.axes[2].lines if line.get_marker() != "<")


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    first, second = (figure.save(result, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_results_in_which_nothing_happens_are_drawn(result):
    flat = result.assign({name: 0 * result[name] for name in ("rule_harm", "fixed_harm", "tuned_harm")})
    drawn = in_full(figure.draw(experiment.found(flat)))
    assert "(a) near task, ×2" in words(drawn)  # the nearest, where tuning removes none
    assert not any(len(line.get_xdata()) for axes in drawn.axes for line in axes.lines if line.get_marker() == "*")
    lost = result.assign({str(name): result[name] * np.nan for name in result if "rule_" in str(name)})
    lost = lost.assign({str(name): result[name] * np.nan for name in result if str(name).endswith("d_harm")})
    for dataset in lost, result.isel(seed=[0], factor=[0], pretrain_steps=[-1]):
        in_full(figure.draw(experiment.found(dataset)))


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no rule_time; allowed: a result of experiments.tuned_rate"):
        figure.draw(result.drop_vars("rule_time"))
