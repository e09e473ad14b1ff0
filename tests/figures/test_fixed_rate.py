"""The picture of fixed rates: theory and simulation told apart, the message from the data, the same bytes twice."""

import numpy as np
import pytest

from experiments.fixed_rate import experiment
from figures import fixed_rate as figure
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed
from tests.experiments.test_fixed_rate import SMALL
from tests.figures.pictures import assert_redrawn, in_full, words


@pytest.fixture(scope="module")
def result():
    whole = computed(experiment, SMALL)
    return experiment.found(whole.isel(shift=[0, 5, 7], checkpoints=[0]))  # drawing many panels takes seconds


def with_theory(dataset):
    predicted = {f"predicted_{name}": dataset[name] * 1.01 for name in ("pretrain_loss_after", "inflection_steps")}
    return dataset.assign(predicted)


def test_simulation_is_hollow_markers_and_theory_is_lines(result):
    for dataset, said, line in ((result, False, "-"), (with_theory(result), True, "None")):
        drawn = figure.draw(dataset)
        assert ("closed form" in words(drawn)) is said
        markers = [each for each in drawn.axes[0].lines if each.get_marker() == "o"]
        assert [each.get_linestyle() for each in markers] == [line]
        assert all(each.get_markerfacecolor() == "white" for each in markers)


def test_lines_are_the_losses_in_units_of_the_zero_network(result):
    drawn = figure.draw(result)
    marked = next(line for line in drawn.axes[0].lines if line.get_marker() == "o")
    expected = np.median(result["pretrain_loss_after"].values[0, 0, :, 0, 0], axis=-1) / (4 + 1 + 4 / 9)
    np.testing.assert_allclose(marked.get_ydata(), expected)


def test_there_is_a_panel_for_every_shift_with_its_overshoot(result):
    text = words(figure.draw(result))
    for part in ("weak modes × 4", "rotated by 90°", "r = 4", "r = ∞"):
        assert part in text
    assert Finding.of(result).sentence in text


def test_what_counts_is_filled_and_what_does_not_is_hollow(result):
    cost = figure.draw(result).axes[-1]
    shown = [line for line in cost.lines if line.get_marker() == "o" and len(line.get_xdata()) == 3]
    excess = np.median(result["excess"].values[0, ..., 0, :], axis=-1)
    worst = np.argmax(np.nan_to_num(excess, nan=-1.0), axis=1)
    counted = result["counts"].values[0, ..., 0][np.arange(3), worst]
    drawn = {line.get_markerfacecolor() == "white": int(np.isfinite(line.get_xdata()).sum()) for line in shown}
    assert drawn == {True: int((~counted).sum()), False: int(counted.sum())}
    assert 0 < counted.sum() < 3


def _still(result):
    flat = result["pretrain_loss_after"] * 0 + 1.0
    nothing = result["counts"] & False
    told = {"counts": nothing, "resolved": result["resolved"] | True, "inflection_steps": result["harm"] * np.nan}
    return result.assign(told | {"pretrain_loss_after": flat})


RESULTS = {
    "nothing turns": (_still, "not seen"),
    "turns may lie between budgets": (
        lambda result: _still(result).assign(resolved=result["resolved"] & False),
        "cannot tell",
    ),
    "one seed": (lambda result: result.isel(seed=slice(1)), "seen"),
    "one rate": (lambda result: result.isel(learning_rate=slice(1, 2)), "seen"),
    "one budget": (lambda result: _still(result).isel(pretrain_steps=slice(1)), "cannot tell"),
    "all diverged": (
        lambda result: _still(result).assign(diverged=~result["diverged"], excess=result["excess"] * np.nan),
        "cannot tell",
    ),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RESULTS)
def test_any_result_can_be_drawn(result, name):
    change, verdict = RESULTS[name]
    changed = experiment.found(change(result))
    in_full(figure.draw(changed))
    assert Finding.of(changed).verdict == verdict


def test_a_stored_result_is_redrawn_with_the_same_bytes(result, tmp_path):
    assert_redrawn(figure, result, tmp_path)


def test_what_is_no_result_is_refused(result):
    with pytest.raises(InvalidInput, match="dataset: got no counts; allowed: a result of fixed rates"):
        figure.draw(result.drop_vars("counts"))
