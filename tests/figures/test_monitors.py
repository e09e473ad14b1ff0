"""The figure draws any scores of monitors, says what is in them, and gives the same bytes every time."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from experiments.monitors.experiment import experiment
from experiments.monitors.values import MONITORS
from figures import __main__ as command
from figures import monitors as figure
from figures.monitor_example import typical
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.monitors.test_experiment import SMALL
from tests.figures.pictures import words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def test_every_monitor_has_a_row_and_the_example_its_name(result):
    text = words(figure.draw(result))
    for part in (*(monitor.label for monitor in MONITORS.values()), "sees pre-training only", "false alarm", "rank"):
        assert part in text
    example = result.isel(transfer=typical(result.sel(threshold=1.0)))
    assert f"{example['lane'].item()}, {example['spectrum'].item()}, {example['shift'].item()}" in text
    assert (example["outcome"] == 1).any()


def test_the_heading_is_what_was_found(result):
    heading = figure.draw(result).get_suptitle()
    assert heading.replace("\n", " ") == f"{Finding.of(result).sentence}"


def test_bars_are_the_shares_of_harmful_cells(result):
    drawn = figure.draw(result)
    (axes,) = (axes for axes in drawn.findobj(Axes) if axes.get_title("left").startswith("(a)"))
    widths = np.reshape([bar.get_width() for bar in axes.patches], (4, len(MONITORS)))
    np.testing.assert_allclose(widths.sum(axis=0), 100)
    starts = np.reshape([bar.get_x() for bar in axes.patches], (4, len(MONITORS)))
    np.testing.assert_allclose(starts[1:], np.cumsum(widths, axis=0)[:-1])
    missed = result["missed"].sel(threshold=1.0, statistic="estimate").values
    np.testing.assert_allclose(widths[3], 100 * missed)


def test_separation_is_drawn_by_both_statistics(result):
    drawn = figure.draw(result)
    (axes,) = (axes for axes in drawn.findobj(Axes) if axes.get_title("left").startswith("(b)"))
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    points = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == len(MONITORS)]
    assert told == ["by the alarm's statistic", "by the last value"]
    for name, drawn_at in zip(("separation", "separation_of_values"), points, strict=True):
        np.testing.assert_array_equal(drawn_at, result[name].sel(statistic="estimate"))


@pytest.mark.parametrize("outcome", [0, 2], ids=["nothing harmful", "all diverged"])
def test_scores_without_harm_can_be_drawn(result, outcome, tmp_path):
    empty = result.copy(deep=True)
    empty["outcome"].values[...] = outcome
    empty["inflection"].values[...] = np.nan
    for name, variable in empty.data_vars.items():
        if "statistic" in variable.dims:
            empty[name].values[...] = np.nan
    empty = experiment.found(empty)
    assert Finding.of(empty).verdict == "cannot tell"
    assert all(path.stat().st_size > 10_000 for path in figure.save(empty, tmp_path))


def test_the_same_scores_give_the_same_bytes(result, tmp_path):
    first, second = (figure.save(result, tmp_path / name) for name in ("a", "b"))
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(first, second, strict=True))


def test_what_is_no_result_of_monitors_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no separation"):
        figure.draw(result.drop_vars("separation"))


def test_a_stored_result_is_drawn_again_or_refused_in_one_line(tmp_path, capsys):
    assert command.main(["monitors", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
