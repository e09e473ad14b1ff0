"""The picture of a sweep: every axis with its spread, an honest title, the same bytes every time."""

import numpy as np
import pytest

from experiments.sweep import experiment
from experiments.sweep.effects import add_effects
from figures import sweep as figure
from figures.panels.axes import spaced_in_log
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_sweep import config
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def panels(drawn):
    return [axes for axes in drawn.get_axes() if axes.axison]


def axes_of(result):
    return list(map(str, result["axis"].values))


def test_every_axis_has_a_panel_with_medians_and_two_bands(result):
    drawn = in_full(figure.draw(result))
    for axes, name in zip(panels(drawn), axes_of(result), strict=True):
        (median, *_) = axes.lines
        others = [dim for dim in result["harm"].dims if dim != name]
        expected = result["harm"].median(others).values
        np.testing.assert_allclose(median.get_xdata(), result[name].values)
        np.testing.assert_allclose(median.get_ydata(), np.maximum(expected, 1e-3))
        assert median.get_markerfacecolor() == "white"
        outer, inner = axes.collections
        for band, shares in ((outer, (0.0, 1.0)), (inner, (0.25, 0.75))):
            low, high = (np.maximum(result["harm"].quantile(share, others), 1e-3) for share in shares)
            heights = band.get_paths()[0].vertices[:, 1]
            assert heights.min() == pytest.approx(float(low.min()))
            assert heights.max() == pytest.approx(float(high.max()))
    scales = [axes.get_xscale() for axes in panels(drawn)]
    assert scales == ["log", "linear", "linear", "linear"]  # 0 and 2, 0 and 0.5, 0.005 and 0.01 tell no spacing


def test_the_title_is_the_finding(result):
    assert Finding.of(result).sentence in words(figure.draw(result))


def test_an_axis_of_no_phase_is_called_by_its_name_alone(result):
    deep = result.rename(momentum="depth")
    deep["depth"].attrs = {"long_name": "number of layers"}
    drawn = in_full(figure.draw(add_effects(deep.drop_dims("axis"), ["depth"])))
    (panel,) = panels(drawn)
    assert (panel.get_title("left"), panel.get_xlabel()) == ("(a) number of layers", "number of layers")


def test_axes_are_logarithmic_where_they_are_spaced_so_and_keep_a_zero(result):
    spaced = {(0.1, 1.0, 10.0): True, (1.0, 2.0, 4.0): True, (1.0, 2.0, 3.0): False, (1.0,): False, (1.0, 2.0): False}
    for values, expected in spaced.items():
        assert spaced_in_log(np.array(values)) is expected
    rates = result["learning_rate"].copy(data=[0.0, *result["learning_rate"].values[1:]])
    first = panels(in_full(figure.draw(result.assign_coords(learning_rate=rates))))[0]
    assert first.get_xscale() == "symlog" and "0" in [tick.get_text() for tick in first.get_xticklabels()]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7])
def test_any_number_of_axes_can_be_drawn(result, count):
    names = axes_of(result)
    shown = result.drop_dims("axis")
    for extra in range(count - len(names)):
        more = f"extra_{extra}"
        shown = shown.assign(harm=shown["harm"].expand_dims({more: [0.1, 1.0, 10.0]}))
        shown[more].attrs.update(long_name=f"fine-tuning {more}", units="1")
        names.append(more)
    drawn = in_full(figure.draw(add_effects(shown, names[:count])))
    assert len(panels(drawn)) == min(count, 6)
    assert ("not shown: 1 that moves it less" in words(drawn)) == (count == 7)


@pytest.mark.parametrize("case", ["all diverged", "one value diverged", "infinite", "one value each"])
def test_any_result_can_be_drawn(result, case):
    harm = result["harm"]
    first = result["learning_rate"] > float(result["learning_rate"][0])
    changed = {
        "all diverged": result.assign(harm=harm * np.nan),
        "one value diverged": result.assign(harm=harm.where(first)),
        "infinite": result.assign(harm=harm.where(first, np.inf)),
        "one value each": result.isel({name: [0] for name in axes_of(result)}),
    }[case]
    drawn = in_full(figure.draw(experiment.found(add_effects(changed, axes_of(result)))))
    assert ("diverged" in words(drawn)) == (case != "one value each")
    crosses = [line for line in panels(drawn)[0].lines if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == {"all diverged": 6, "one value each": 0}.get(case, 1)


def test_the_same_result_gives_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no harm_moved; allowed: a result of sweep"):
        figure.draw(result.drop_vars("harm_moved"))
