"""Panels draw what they are given, tell simulation from theory, and name their axes as the dataset does."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from figures.panels import canvas
from figures.panels.axes import LEAST_HARM, along, apart, decades, harm_axis, visible
from figures.panels.curves import closed_form, curves, median, middle, spread
from figures.panels.fronts import front
from figures.panels.looks import Look, explain, legend, looks
from figures.panels.maps import contour, crossings, heat, label_scale, scale, thinned
from figures.panels.rows import ranges, span, stacked
from figures.panels.words import in_full, rise, says, short
from figures.picture import Picture
from linsim.errors import InvalidInput
from linsim.finding import Finding

BUDGETS, RATES, SEEDS = np.array([10, 30, 100, 300, 1000]), np.array([0.001, 0.01]), 3


@pytest.fixture
def axes():
    with canvas.style():
        yield canvas.new_figure(4, 3).subplots()


@pytest.fixture
def losses():
    """Losses that turn at 100 steps, over (budget, rate, seed)."""
    depth = np.abs(np.log(BUDGETS / 100))[:, None, None] + 0.1
    values = depth * np.array([1.0, 2.0])[:, None] * np.array([1.0, 1.1, 1.5])
    coords = {
        "pretrain_steps": ("pretrain_steps", BUDGETS, {"long_name": "pre-training budget", "units": "steps"}),
        "learning_rate": RATES,
    }
    return xr.DataArray(
        values, coords, ("pretrain_steps", "learning_rate", "seed"), attrs={"long_name": "loss", "units": "nats"}
    )


def simulated(axes):
    return [line for line in axes.lines if line.get_marker() not in ("None", "*")]


def theory(axes):
    return [line for line in axes.lines if line.get_marker() == "None"]


def ticks(axis):
    axis.axes.figure.draw_without_rendering()
    return [label.get_text() for label in axis.get_ticklabels()]


def test_curves_are_medians_on_bands_of_the_whole_range(axes, losses):
    drawn = curves(axes, losses, by="learning_rate", names="rate {}")
    assert list(drawn) == ["rate 0.001", "rate 0.01"]
    assert axes.get_legend_handles_labels()[1] == list(drawn)
    for at, line in enumerate(simulated(axes)):
        np.testing.assert_array_equal(line.get_xdata(), BUDGETS)
        np.testing.assert_allclose(line.get_ydata(), losses[:, at].median("seed"))
        heights = axes.collections[at].get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (losses[:, at].min(), losses[:, at].max())
    assert axes.get_xlabel() == "pre-training budget (steps)"
    assert axes.get_ylabel() == "loss (nats)"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_markers_are_joined_where_no_theory_does_so(axes, losses):
    told = losses.median("seed").where(losses["learning_rate"] > 0.001)
    curves(axes, losses, told, by="learning_rate")
    assert [line.get_linestyle() for line in simulated(axes)] == ["-", "None"]
    assert all(line.get_markerfacecolor() == "white" for line in simulated(axes))
    (line,) = theory(axes)
    np.testing.assert_allclose(line.get_ydata(), told[:, 1])
    assert line.get_color() == simulated(axes)[1].get_color()


def test_a_star_stands_where_the_median_curve_turns(axes, losses):
    turns = xr.DataArray([[100.0, 100.0, 90.0], [np.nan] * 3], dims=("learning_rate", "seed"))
    curves(axes, losses, by="learning_rate", turns=turns)
    places = [star.get_xydata() for star in axes.lines if star.get_marker() == "*"]
    np.testing.assert_allclose(places[0], [[100.0, float(losses[2, 0].median())]])
    assert len(places[1]) == 0


def test_the_order_of_numbers_shows_without_colour_and_one_curve_has_no_band(axes, losses):
    drawn = curves(axes, losses.isel(seed=[0]), by="learning_rate")
    brightness = [sum(int(look.color[at : at + 2], 16) for at in (1, 3, 5)) for look in drawn.values()]
    assert brightness == sorted(brightness)
    assert len({look.marker for look in drawn.values()}) == len({look.line for look in drawn.values()}) == 2
    assert not axes.collections


@pytest.mark.parametrize("change", [lambda x: x * np.nan, lambda x: x.isel(pretrain_steps=[0]), lambda x: x[:, :0]])
def test_curves_of_nothing_can_be_drawn(axes, losses, change):
    curves(axes, change(losses), by="learning_rate")
    decades(axes.yaxis)
    axes.figure.draw_without_rendering()


def test_medians_and_ranges_pass_over_what_is_not_known():
    runs = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [np.inf, np.inf, 1.0]])
    np.testing.assert_array_equal(median(runs), [2.0, np.nan, np.inf])
    np.testing.assert_array_equal(spread(runs), [[1.0, np.nan, 1.0], [3.0, np.nan, np.inf]])
    np.testing.assert_array_equal(middle(xr.DataArray(runs, dims=("place", "seed"))), median(runs))


def test_a_closed_form_that_is_not_there_is_unknown(losses):
    dataset = xr.Dataset({"loss": losses})
    assert closed_form(dataset, "loss").isnull().all()
    assert closed_form(dataset.assign(predicted_loss=losses), "loss").equals(losses)


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1e-4, 1e-3, 1e-2], "log", {"$\\mathdefault{10^{-3}}$"}),
        ([0.0, 0.1, 1.0, 8.0], "symlog", {"0", "0.1", "1", "8"}),
        ([0.0, 0.5, 0.9], "linear", set()),
        ([2, 4, 8, 32, 128], "log", {"2", "4", "8", "32", "128"}),
        ([0.3], "linear", {"0.3"}),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_are_spaced_so(axes, values, kind, said):
    along(axes, xr.DataArray(values, attrs={"long_name": "strength"}))
    assert axes.get_xscale() == kind
    assert said <= set(ticks(axes.xaxis))
    assert axes.get_xlabel() == "strength"


def test_a_short_axis_says_values_between_powers_of_ten(axes):
    axes.set_yscale("log")
    decades(axes.yaxis, 2, 8)
    assert ticks(axes.yaxis) == ["2", "3", "4", "5", "7"]
    decades(axes.yaxis, 1, 10, above=1.0)
    assert axes.get_ylim() == (1, 100)
    decades(axes.yaxis, np.nan, 1)
    assert axes.get_ylim() == (1, 100)


def test_harm_is_in_percent_and_little_of_it_at_the_lower_end(axes):
    harm = xr.DataArray([0.0, 0.5, 12.0, np.inf, np.nan])
    shown = visible(harm)
    np.testing.assert_array_equal(shown, [LEAST_HARM, 0.5, 12.0, np.nan, np.nan])
    axes.plot(shown)
    harm_axis(axes)
    assert ticks(axes.yaxis) == ["≤0.1 %", "1 %", "10 %", "100 %", "1\N{THIN SPACE}000 %"]
    harm_axis(axes, top=1e9)
    assert len(ticks(axes.yaxis)) <= 7


def test_names_beside_curves_keep_apart():
    assert apart([0.5, 0.5, 0.1], 0.2, 0, 1) == pytest.approx([0.4, 0.6, 0.1])


def test_legends_explain_what_is_there(axes, losses):
    said = [entry.get_label() for entry in explain(3, losses, losses * np.nan)]
    assert said == ["simulation (median)", "range of 3 seeds", "closed form"]
    assert [entry.get_label() for entry in explain(1, turns=losses)] == ["simulation", "inflection point"]
    legend(axes, {"a": Look("red", "s", "--")})
    (line,) = axes.get_legend().get_lines()
    assert (line.get_marker(), line.get_linestyle(), line.get_markerfacecolor()) == ("s", "--", "white")
    assert [look.size for look in looks(3, sizes=(8, 4))] == [8, 4, 8]


def test_ranges_are_bars_around_hollow_points_or_filled_ones(axes):
    runs = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]])
    ranges(axes, [0, 1], span(runs), Look("red"), filled=[True, False], label="cases")
    np.testing.assert_array_equal([path.vertices[:, 0] for path in axes.collections[0].get_paths()], [[1, 4], [3, 3]])
    hollow, filled, key = axes.lines
    np.testing.assert_array_equal(hollow.get_xdata(), [np.nan, 3.0])
    np.testing.assert_array_equal(filled.get_xdata(), [2.0, np.nan])
    assert (hollow.get_markerfacecolor(), filled.get_markerfacecolor(), key.get_label()) == ("white", "red", "cases")


def test_shares_of_a_whole_stand_one_after_another(axes):
    stacked(axes, np.arange(2.0), {"a": np.array([30, 60]), "b": np.array([70, 40])}, {"a": ("r", ""), "b": ("b", "/")})
    assert [bar.get_x() for bar in axes.patches] == [0, 0, 30, 60]


def test_a_map_keeps_a_band_apart_for_zero(axes):
    x, y = scale(np.array([1e-3, 1e-2, 1e-1])), scale(np.array([0.0, 1.0, 10.0]))
    values = np.arange(9.0).reshape(3, 3)
    heat(axes, values, x, y)
    _, zero = axes.collections
    np.testing.assert_array_equal(zero.get_array().ravel(), values[:, 0])
    assert y.high[0] < y.low[1]
    label_scale(axes.yaxis, y, np.array([0.0, 1.0, 10.0]))
    assert ticks(axes.yaxis)[0] == "0"


def test_a_contour_and_its_markers_stand_where_a_level_is_crossed(axes):
    x, y = scale(np.array([1e-3, 1e-1])), scale(np.array([0.0, 1.0, 10.0]))
    values = np.array([[0.1, 0.1, 0.1], [10.0, 10.0, 10.0]])
    points = crossings(values, 1.0, x, y)
    np.testing.assert_allclose(points[:, 0], -2.0)  # halfway in the logarithms, in every row
    np.testing.assert_allclose(points[:, 1], y.centres)
    assert not len(crossings(np.array([[10.0, 0.1, 0.1]] * 2), 1.0, x, y))  # none between 0 and the rest
    contour(axes, values, 1.0, x, y, color="black")
    (line,) = axes.collections
    np.testing.assert_allclose(line.get_paths()[0].vertices[:, 0], -2.0)
    (stroke,) = axes.lines  # across the band of 0, where a contour cannot be
    np.testing.assert_allclose(stroke.get_xydata(), [[-2.0, y.low[0]], [-2.0, y.high[0]]])
    assert len(thinned(np.repeat(points, 2, axis=0), x, y, 0.01)) == len(points)


def test_no_front_is_drawn_below_its_bound(axes):
    reached, bound = xr.DataArray([1.0, 4.0], dims="target"), xr.DataArray([4.0, 1.0], dims="target")
    losses = xr.DataArray([[[9.0], [4.0]], [[4.0], [1.0]]], {"method": ["a", "b"]}, ("method", "target", "seed"))
    front(axes, losses, reached, bound, 9.0)
    limit, first, second = axes.lines
    np.testing.assert_array_equal(limit.get_xydata(), [[1, 2], [2, 1]])
    np.testing.assert_array_equal([first.get_ydata(), second.get_ydata()], [[3, 2], [2, 1]])


def test_numbers_are_said_as_a_reader_says_them():
    assert [short(value) for value in (0.0, 0.0234, 512.3, 4e-5)] == ["0", "0.023", "512", "$4\\times10^{-5}$"]
    assert [rise(harm) for harm in (0, 5e-4, 0.031, 0.5, 150.0, np.inf)] == [
        *("+0 %", "<0.1 %", "+3.1 %", "+50 %", "×151", "from 0"),
    ]
    assert [in_full(value) for value in (0.015, 12_000, 1.25e7)] == [
        *("0.015", "12\N{THIN SPACE}000", "$1.25\\times10^{7}$"),
    ]
    assert says(xr.DataArray(0, attrs={"long_name": "share", "units": "1"})) == "share"


def picture():
    def paint(dataset):
        figure = canvas.new_figure(4, 3)
        figure.subplots().set_xlabel(says(dataset["pretrain_steps"]))
        return figure

    return Picture("any", "a result", {"pretrain_steps"}, paint)


def test_a_picture_is_titled_by_the_finding_in_as_many_lines_as_it_takes():
    dataset = xr.Dataset(coords={"pretrain_steps": [1, 2]})
    sentence = "More pre-training makes the fine-tuned model worse in 12 of 60 cells, by 31 % at worst"
    found = Finding(sentence, "seen").stored_in(dataset)
    title = picture().draw(found).get_suptitle()
    assert title.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ") == sentence
    assert max(map(len, title.split("\n"))) <= 9.2 * 4
    assert "31\N{NO-BREAK SPACE}%" in title
    assert picture().draw(dataset).get_suptitle() == ""


def test_a_picture_says_what_speaks_against_its_result():
    dataset = Finding("All is well", "seen", trust="Do not trust this.").stored_in(
        xr.Dataset(coords={"pretrain_steps": [1, 2]})
    )
    assert picture().draw(dataset).get_suptitle().replace("\n", " ") == "All is well. Do not trust this."


def test_shared_names_are_labelled_and_what_is_missing_is_named():
    drawn = picture().draw(xr.Dataset(coords={"pretrain_steps": [1, 2]}))
    assert drawn.axes[0].get_xlabel() == "pre-training budget (steps)"
    with pytest.raises(InvalidInput, match="dataset: got no pretrain_steps; allowed: a result"):
        picture().draw(xr.Dataset())


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "module://nowhere", "nonsense", "agg"]
)
def test_a_backend_that_was_inherited_does_no_harm(backend):
    check = "import os, figures.panels.canvas; print(os.environ['MPLBACKEND'])"
    ran = subprocess.run(
        [sys.executable, "-c", check], env=os.environ | {"MPLBACKEND": backend}, capture_output=True, text=True
    )
    assert (ran.stdout, ran.stderr) == (f"{backend}\n", "")
