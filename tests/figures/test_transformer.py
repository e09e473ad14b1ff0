"""The picture of the transformer: any result can be drawn, says what is in it, and gives the same bytes every time."""

import numpy as np
import pytest

from figures import __main__ as command
from figures import transformer as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.experiments.transformer.synthetic import BUDGETS, result, turning
from tests.figures.pictures import assert_redrawn, in_full, words

GROWING = {"hessian_trace": lambda b: np.exp(b / 150)}


def marks(axes, marker):
    """Where a marker stands."""
    return [
        float(place)
        for line in axes.lines
        if line.get_marker() == marker and line.get_markersize() > 8
        for place in line.get_xdata()
    ]


def test_a_quiet_result_says_so_and_has_no_marks():
    drawn = figure.draw(result())
    text = words(drawn)
    for part in (
        Finding.of(result()).sentence,
        "no alarm rings",
        "before",
        "after, at rate 0.001",
        "2 seeds",
    ):
        assert part in text
    assert "inflection point" not in text
    losses, _, monitors, _ = drawn.get_axes()
    assert not marks(losses, "*")
    assert not marks(monitors, "o")


def test_stars_stand_at_inflection_points_and_circles_where_alarms_ring():
    dataset = result(after=turning(), monitors=GROWING)
    drawn = figure.draw(dataset)
    losses, _, monitors, _ = drawn.get_axes()
    np.testing.assert_allclose(marks(losses, "*"), np.median(dataset["inflection_steps"].values[1]))
    assert marks(monitors, "o") == [1000.0, 1000.0]
    text = words(drawn)
    for part in (Finding.of(dataset).sentence, "circle: the alarm rings"):
        assert part in text


def test_lines_are_medians_in_units_of_the_first_budget():
    drawn = figure.draw(result(noise=lambda x: x**0.5, monitors={"fisher": np.sqrt}))
    losses, noise, monitors, _ = drawn.get_axes()
    before = next(line for line in losses.lines if line.get_label() == "before")
    np.testing.assert_allclose(before.get_ydata(), 1.05 * (BUDGETS / 50) ** -0.3)
    for axes, said in ((noise, "absolute noise 0.02"), (noise, "relative noise 0.2"), (monitors, "Fisher trace")):
        line = next(line for line in axes.lines if line.get_label() == said)
        np.testing.assert_allclose(line.get_ydata(), (BUDGETS / 50) ** 0.5)


def _diverged():
    after = turning()
    after[3:, 1] = np.inf
    return result(after=after, diverged=~np.isfinite(after))


RESULTS = {
    "a turn": lambda: result(after=turning()),
    "diverged runs": _diverged,
    "one seed": lambda: result().isel(seed=slice(1)),
    "one rate": lambda: result().isel(learning_rate=slice(1)),
    "one budget": lambda: result().isel(pretrain_steps=slice(1)),
    "monitors unknown": lambda: result(monitors={"fisher": lambda b: b * np.nan}),
    "a monitor that turns negative": lambda: result(monitors={"hessian_trace": lambda b: 500 - b}),
    "a monitor that is 0": lambda: result(monitors={"gradient_square": lambda b: 0 * b}),
    "a wide range": lambda: result(noise=lambda x: x**8),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(name):
    drawn = figure.draw(RESULTS[name]())
    in_full(drawn)


def test_a_stored_result_is_redrawn_with_the_same_bytes(tmp_path, capsys):
    dataset = result(after=turning(), monitors=GROWING)
    assert_redrawn(figure, dataset, tmp_path)
    capsys.readouterr()
    assert command.main(["transformer", "--data", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_no_result_is_refused():
    with pytest.raises(InvalidInput, match="dataset: got no harm; allowed: a result of the transformer"):
        figure.draw(result().drop_vars("harm"))
