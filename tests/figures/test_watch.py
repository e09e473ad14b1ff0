"""The picture of any record: every measure has its panel, the alarm its mark, and bytes are the same every time."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from experiments.watch import experiment
from figures import __main__ as command
from figures import watch as figure
from figures.panels.axes import decades
from figures.panels.canvas import new_figure
from figures.panels.words import in_full
from linsim.errors import InvalidInput
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm
from linsim.monitoring.record import Record
from tests.figures.pictures import assert_redrawn, words

GROWING, FALLING = (lambda b: np.exp(b / 300)), (lambda b: 3 - b / 300)


def watched(heard="fisher", budgets=range(100, 1300, 100), **curves):
    """A record with its alarm, of curves that are functions of the budget."""
    record = Record()
    for budget in budgets:
        record.add(budget, {name: Estimate(curve(budget), 0.02 * abs(curve(budget))) for name, curve in curves.items()})
    dataset, found = record.to_dataset(), record.watch(heard, Alarm())
    for name, values in found._asdict().items():
        dataset[f"alarm_{name}"] = ("pretrain_steps", values)
    config = json.dumps({"alarm": asdict(Alarm())})
    return experiment.found(dataset.assign_attrs(alarm_on=heard, config=config, measured="12 examples"))


def test_every_measure_has_a_panel_and_the_alarm_its_mark():
    # Growth rate x budget is (centre of the window) / 300: above 1 from the window 200 to 600 on, the third is at 800.
    drawn = figure.draw(watched(fisher=GROWING, hessian_trace=FALLING, loss=lambda b: 1 / b))
    text = words(drawn)
    for part in ("The alarm on fisher rings at 800 steps", "(a) Fisher trace", "(b) Hessian trace", "(c) loss"):
        assert part in text
    assert "first ring" in text
    panels = drawn.get_axes()
    assert [axes.get_yscale() for axes in panels] == ["log", "linear", "log"]  # the second crosses 0
    for axes in panels:
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [800]
    np.testing.assert_array_equal(panels[0].lines[0].get_ydata(), GROWING(np.arange(100, 1300, 100)))


def test_a_quiet_alarm_leaves_no_mark():
    drawn = figure.draw(watched(fisher=lambda b: 1.0, loss=GROWING))
    assert "The alarm on fisher does not ring in 12 checkpoints" in words(drawn)
    assert "first ring" not in words(drawn)
    assert not [line for axes in drawn.get_axes() for line in axes.lines if line.get_linestyle() == "--"]


@pytest.mark.parametrize("measures", [("fisher",), ("fisher", "gradient_square", "top_eigenvalue", "loss")])
def test_panels_fill_a_picture_on_which_nothing_rings(measures):
    drawn = figure.draw(watched(**dict.fromkeys(measures, lambda b: 1 + 1 / b)))
    drawn.canvas.draw()  # lays out; a layout that collapses warns
    rows = -(-len(measures) // 2)
    assert all(axes.get_position().height > 0.45 / rows for axes in drawn.get_axes())


RECORDS = {
    "one measure": {"fisher": GROWING},
    "all measures": dict.fromkeys((*figure._TITLES, "loss"), GROWING),
    "two checkpoints": {"fisher": GROWING, "budgets": (10, 20)},
    "neighbouring budgets": {"fisher": GROWING, "budgets": (1001, 1002, 1003)},
    "a constant": {"fisher": lambda b: 1e-7},
    "zero": {"fisher": lambda b: 0.0},
    "nothing known": {"fisher": lambda b: np.nan},
    "unknown here and there": {"fisher": lambda b: np.nan if b % 200 else float(b)},
    "own measure": {"fisher": GROWING, "their_own": FALLING},
    "extremes": {"fisher": lambda b: 10.0 ** (b / 10 - 60)},
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", RECORDS)
def test_any_record_can_be_drawn(tmp_path, name):
    assert all(path.stat().st_size > 5_000 for path in figure.save(watched(**RECORDS[name]), tmp_path))


@pytest.mark.parametrize("low", [0.24, 1.01e-5, 3.3, 950.0, 9.99e5, 7e-120])
@pytest.mark.parametrize("width", [1.05, 1.6, 9.0, 1e4])
def test_a_panel_has_two_labels_or_more_and_each_tells_its_value(low, width):
    axes = new_figure(2, 2).subplots()
    axes.set_yscale("log")
    decades(axes.yaxis, low, low * width)
    axes.figure.canvas.draw()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= low * width]
    assert len(ticks) >= 2
    for tick in ticks:
        text = in_full(tick).strip("$").replace("\\times10^{", "e").replace("}", "").replace("\N{THIN SPACE}", "")
        assert float(text) == pytest.approx(tick, rel=6e-4)  # four digits


def test_a_stored_record_is_redrawn_with_the_same_bytes(tmp_path, capsys):
    dataset = watched(fisher=GROWING, hessian_trace=FALLING, loss=GROWING)
    assert_redrawn(figure, dataset, tmp_path)
    capsys.readouterr()
    assert command.main(["watch", "--data", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_record_is_refused():
    dataset = watched(fisher=GROWING)
    with pytest.raises(InvalidInput, match="dataset: got no alarm_rings; allowed: a record of monitors"):
        figure.draw(dataset.drop_vars("alarm_rings"))
    with pytest.raises(InvalidInput, match="dataset: got no measure with its error"):
        figure.draw(dataset.drop_vars("fisher_error"))
