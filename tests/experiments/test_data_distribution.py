"""Kinds of data side by side: descent against NumPy, what is equal by each recipe, and what is concluded."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.data_distribution import Config, experiment, main
from experiments.data_distribution.finding import find, moved, table
from experiments.data_distribution.reading import FIXED, LOSS, REACH
from experiments.data_distribution.rows import ROWS, Common
from linsim.finding import Finding
from linsim.sweeping.running import running
from tests.computed import computed

CONFIG = Config(
    rows=("own_inputs", "sample_size", "coverage"),
    dim=4,
    hidden=8,
    seeds=1,
    shifted_from=2,
    examples=16,
    noise=0.3,
    steps=1000,
    budgets=14,
    finetune_steps=60,
    times=(0.03, 0.06, 0.12, 0.25, 0.5, 1.0),
    time=0.25,
)
ALONE = replace(CONFIG, rows=("coverage",))
VERDICTS = {
    "fewer classes are seen": (ALONE, "seen"),
    "modes are weakened": (replace(ALONE, factor=0.5), "not seen"),
    "a level that is never reached": (replace(ALONE, level=1e-9), "cannot tell"),
}
KAPPA = np.log(3) / 16
"""Of factor 4."""


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


def descended(layers, target, covariance, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    first, second = layers
    for _ in range(steps):
        slope = 2 * (second @ first - target) @ covariance
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


def loss(product, target, covariance):
    return np.trace((product - target) @ covariance @ (product - target).T)


@pytest.mark.parametrize("row", ["own_inputs", "sample_size", "coverage"])
def test_losses_are_those_of_a_script_in_numpy(small, row):
    for kind in (np.flatnonzero(small["row"].values == row)[[1, -1]]).tolist():
        at = small.isel(data=kind, seed=0)
        layers = at["initial_weights_1"].values, at["initial_weights_2"].values
        trained, judged, tuned = (at[f"{name}_target"].values for name in ("pretrain", "judged", "finetune"))
        own, whole = at["input_covariance"].values, at["finetune_input_covariance"].values
        if row == "own_inputs":
            np.testing.assert_allclose(own, whole)
        else:
            assert abs(trained - judged).max() > 1e-3 or abs(own - whole).max() > 1e-3
        for budget, time in ((5, 2), (10, 4)):
            cell = at.isel(pretrain_steps=budget, learning_rate=time)
            checkpoint = descended(layers, trained, own, 0.05, int(cell["pretrain_steps"]))
            # The same recurrence in float64: rounding of some hundred steps, which a saddle may grow a thousand times.
            told = loss(checkpoint[1] @ checkpoint[0], judged, whole)
            np.testing.assert_allclose(cell["base_loss_before"], told, rtol=1e-9)
            first, second = descended(checkpoint, tuned, whole, float(cell["learning_rate"]), 60)
            np.testing.assert_allclose(cell["base_loss_after"], loss(second @ first, judged, whole), rtol=1e-9)
            met = whole * (np.diag(own) > 0) if row == "coverage" else whole
            np.testing.assert_allclose(cell["matched_loss_after"], loss(second @ first, tuned, met), rtol=1e-9)


def test_every_recipe_keeps_what_it_says(small):
    for kind, row in enumerate(small["row"].values):
        at = small.isel(data=kind, seed=0)
        assert float(at["time"].sel(recipe=FIXED)) == pytest.approx(0.25)
        np.testing.assert_allclose(at["most_beyond"].sel(recipe=REACH), 2)
        layers = at["initial_weights_1"].values, at["initial_weights_2"].values
        own, whole = at["input_covariance"].values, at["finetune_input_covariance"].values
        last = descended(layers, at["pretrain_target"].values, own, 0.05, 1000)
        met = whole * (np.diag(own) > 0) if row == "coverage" else whole
        before, after = (
            loss(second @ first, at["finetune_target"].values, met)
            for first, second in (
                last,
                descended(last, at["finetune_target"].values, whole, float(at["time"].sel(recipe=LOSS)) / 60, 60),
            )
        )
        assert abs(after / before / 0.3 - 1) < 0.1, row  # read between times a factor of 2 apart


def test_modes_are_placed_by_strength_variance_and_time(small):
    kind = int(np.flatnonzero((small["row"] == "own_inputs") & (small["value"] == 1))[0])
    at = small.isel(data=kind, seed=0).sel(recipe=FIXED)
    variances = 1 / np.arange(1, 5)
    reach = variances / variances.mean() / np.arange(1, 5) * 0.25 / KAPPA
    np.testing.assert_allclose([at["most_beyond"], at["least_beyond"]], reach[[1, 3]])


def test_harm_is_of_the_curve_and_of_its_part_up_to_the_least_base_loss(small):
    for kind in range(small.sizes["data"]):
        at = small.isel(data=kind, seed=0).sel(recipe=FIXED)
        curve, before = at["curve"].values, at["base_loss_before"].values
        # A spline between budgets may find a little less than they have.
        np.testing.assert_allclose(at["harm"], curve[-1] / curve.min() - 1, rtol=0.1, atol=0.02)
        stop = len(curve) - 1
        if before[-1] > 1.01 * before.min() and np.isfinite(at["base_stop_steps"]):
            stop = int(before.argmin())
            assert at["base_stop_steps"] == small["pretrain_steps"][stop]
            np.testing.assert_allclose(at["base_harm"], before[-1] / before.min() - 1)
        early = curve[: stop + 1]
        np.testing.assert_allclose(at["stopped_harm"], early[-1] / early.min() - 1, rtol=0.1, atol=0.02)
    assert np.isfinite(small["base_stop_steps"]).any()


def test_the_last_loss_of_aligned_data_is_known(small):
    off = abs(small["last"] / small["predicted_last"] - 1)
    # Descent of 60 steps for the flow: half of rate x curvature, 0.5/60 x 4 x 4, in the exponents; read between times.
    assert float(off.max()) < 0.1
    assert int(np.isfinite(off).sum()) >= 12


@pytest.mark.parametrize("name", ROWS)
def test_every_axis_makes_tasks_of_one_size(name):
    common, rng = Common(8, 1.0, 3, 4.0, 1.0, 32, 0.5), np.random.default_rng(0)
    for value in ROWS[name].values:
        tasks = ROWS[name].make(common, value, rng)
        for task in tasks[:-1]:
            assert task.target.shape == (8, 8)
        for task in (tasks.judged, tasks.finetune):
            np.testing.assert_allclose(np.trace(task.input_covariance), 8)
        if name != "sample_size":
            np.testing.assert_allclose(np.trace(tasks.trained.input_covariance), 8)
        moved_modes = tasks.finetune.strengths / tasks.judged.strengths
        assert set(np.round(moved_modes, 12)) == {1.0, 4.0}
        assert (moved_modes[tasks.shifted] == 4).all()
        assert tasks.reach.min() > 0


def test_covered_classes_are_spread_over_the_frequencies():
    common = Common(8, 1.0, 3, 4.0, 1.0, 32, 0.5)
    tasks = common.classes(np.random.default_rng(0), covered=0.5)
    met = np.diag(tasks.trained.input_covariance)
    assert np.flatnonzero(met).tolist() == [1, 3, 5, 7]
    assert tasks.shifted.tolist() == [5, 7]
    whole = np.diag(tasks.judged.input_covariance)
    np.testing.assert_allclose(met[met > 0] / met[1], whole[met > 0] / whole[1])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    config, verdict = VERDICTS[name]
    with running(recheck=0):
        result = computed(experiment, config)
    found = Finding.of(result)
    assert found.verdict == verdict, found.sentence
    assert "nan" not in " ".join((found.sentence, *found.details, *table(result)))


def test_teachers_that_differ_too_much_tell_nothing(small):
    wide = small.isel(seed=[0, 0, 0]).copy(deep=True)
    harm = wide["stopped_harm"] * 0
    ends = {row: np.flatnonzero(small["row"].values == row)[[0, -1]] for row in CONFIG.rows}
    for first, _ in ends.values():
        harm.loc[{"data": small["data"][first], "recipe": FIXED}] = [1.0, 1.0, 1.0]
        harm.loc[{"data": small["data"][first], "recipe": LOSS}] = [-0.5, 0.5, 3.0]
    found = find(wide.assign(stopped_harm=harm))
    assert found.verdict == "cannot tell"
    assert "differ too much" in found.sentence


def test_what_effort_alone_does_is_not_seen(small):
    harm = small["stopped_harm"] * 0
    first = small["data"][np.flatnonzero(small["row"].values == "coverage")[0]]
    harm.loc[{"data": first, "recipe": FIXED}] = 2.0
    found = find(small.assign(stopped_harm=harm))
    assert found.verdict == "not seen"
    assert "by the effort they take alone" in found.sentence


def test_axes_are_compared_between_the_same_two_values(small):
    for move in moved(small):
        harm = small["stopped_harm"].isel(seed=0)
        for recipe, told in ((FIXED, move.fixed), (LOSS, move.equal)):
            low, high = (1 + float(harm.sel(recipe=recipe)[kind]) for kind in (move.low, move.high))
            np.testing.assert_allclose(told.middle, np.log(high / low))
        assert small["row"].values[move.low] == small["row"].values[move.high] == move.row
    assert len(table(small)) == 4
    assert isinstance(small, xr.Dataset)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--rows", "spectra"], "rows: got ('spectra',); allowed: some of spectrum, own_inputs"),
        (["--rows", "coverage", "coverage"], "rows: got"),
        (["--dim", "1"], "dim: got 1"),
        (["--time", "50"], "time: got 50.0"),
        (["--level", "0"], "level: got 0.0"),
        (["--times", "1", "0.5"], "times: got"),
        (["--shifted-from", "9"], "shifted_from: got 9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
