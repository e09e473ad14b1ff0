"""Superposition: codes, losses and harm against NumPy, networks that differ in one thing alone, and the verdicts."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.superposition import Config, experiment, main
from experiments.superposition.finding import find, stand, table
from experiments.superposition.reading import correlation
from experiments.superposition.tasks import Tasks
from linsim.sweeping.running import running
from linsim.theory.over_seeds import OverSeeds
from tests.computed import computed

CONFIG = Config(
    **{"dim": 4, "seeds": 1, "seed": 2, "geometries": ("separate", "rare"), "widths": (1, 2, 4)},
    **{"shifts": ("strengthened",), "changed": 1, "steps": 1600, "budgets": 8, "finetune_steps": 50},
    **{"times": (0.05, 0.1, 0.2, 0.4, 0.8), "turns": (0.0, 1.0), "scales": (0.5, 1.0, 2.0), "imbalance": 0.3},
)
VERDICTS = {
    "rare features in few units": (CONFIG, "seen"),
    "features that all modes mix": (replace(CONFIG, geometries=("mixed",)), "not seen"),
    "the same task": (replace(CONFIG, factor=1.0), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


@pytest.fixture(scope="module")
def others():
    """Of codes without negative entries, and of a shift to outputs of others."""
    with running(recheck=0):
        return computed(experiment, replace(CONFIG, geometries=("mixed", "non-negative"), shifts=("relabelled",)))


def descended(layers, target, covariance, rate, steps, reflected=False, scale=1.0):
    """Gradient descent of two layers, in NumPy alone, of layers that are scaled if asked."""
    first, second = layers[0] * scale, layers[1] / scale
    for _ in range(steps):
        slope = 2 * (second @ first - target) @ covariance
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
        first = np.abs(first) if reflected else first
    return first / scale, second * scale


def harm_of(layers, target, other, covariance, seen, budgets, time, reflected=False):
    """Losses after fine-tuning on the features that it sees alone, their harm, and overlap of the codes."""
    after, overlaps, kept, done = [], [], [], 0
    narrow = covariance * np.outer(seen, seen)
    for budget in budgets:
        layers = descended(layers, target, covariance, 0.02, budget - done, reflected)
        done = budget
        tuned = descended(layers, other, narrow, time / 50, 50, reflected)
        apart = tuned[1] @ tuned[0] - target
        after.append(np.trace(apart @ covariance @ apart.T))
        rest = ~seen
        kept.append(np.trace(apart[:, rest] @ covariance[np.ix_(rest, rest)] @ apart[:, rest].T))
        gram = layers[0].T @ layers[0]
        overlaps.append(1 - np.sum(np.diag(gram) ** 2) / np.sum(gram**2))
    return np.array(after), np.array(after)[-1] / min(after) - 1, np.array(kept), np.array(overlaps)


@pytest.mark.parametrize(("geometry", "width"), [("rare", 1), ("separate", 0), ("non-negative", 1)])
def test_harm_overlap_and_what_is_kept_are_those_of_a_script_in_numpy(small, others, geometry, width):
    from_here = others if geometry == "non-negative" else small
    at = from_here.isel(shift=0, seed=0, width=width).sel(geometry=geometry)
    covariance = from_here.get("input_covariance", from_here.get(f"input_covariance_of_{geometry}"))
    covariance = covariance.sel(geometry=geometry) if "geometry" in covariance.dims else covariance
    covariance = covariance.isel({dim: 0 for dim in covariance.dims if dim in ("shift", "seed")}).values
    target, other = (at[f"{phase}_target"].values for phase in ("pretrain", "finetune"))
    layers, seen = (at["initial_weights_1"].values, at["initial_weights_2"].values), np.arange(4) < 1
    assert np.array_equal(layers[0][CONFIG.widths[width] :], np.zeros((4 - CONFIG.widths[width], 4)))
    columns = 4 * target[:, seen] if from_here is small else np.roll(target[:, seen], 1, axis=0)
    np.testing.assert_allclose(other[:, seen], columns, atol=1e-13)
    after, harm, kept, overlaps = harm_of(
        *(layers, target, other, covariance, seen, at["pretrain_steps"].values, 0.2, geometry == "non-negative")
    )
    here = at.sel(learning_rate=0.2 / 50, method="nearest")
    # The same recurrence in float64: rounding of some thousand steps, which a saddle may grow a thousand times.
    np.testing.assert_allclose(here["pretrain_loss_after"], after, rtol=1e-9)
    np.testing.assert_allclose(here["kept_loss_after"], kept, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(at["feature_overlap"], overlaps, atol=1e-9)
    counted = harm if harm > 0.01 else 0.0
    np.testing.assert_allclose(at["counted_harm"].sel(effort="fixed time"), counted, rtol=1e-7)
    if counted:
        best = int(np.argmin(after))
        share = float(at["kept_excess"].sel(effort="fixed time"))
        np.testing.assert_allclose(share, kept[-1] - kept[best], rtol=1e-6, atol=1e-12)


def test_codes_without_negative_entries_have_none(others):
    told = others.isel(shift=0, seed=0).sel(geometry="non-negative")
    assert float(told["initial_weights_1"].min()) >= 0
    assert float(others["end_overlap"].sel(geometry="non-negative").max()) > 0.01


def test_turned_layers_differ_in_overlap_alone(small):
    overlaps, traces = small["turned_end_overlap"].isel(seed=0), small["turned_end_sensitivity"].isel(seed=0)
    assert float(overlaps[0]) < 1e-12 < 1e-3 < float(overlaps[1])
    np.testing.assert_allclose(traces[1], traces[0], rtol=1e-12)
    spilled = small["turned_spilled"].sel(effort="fixed time").isel(seed=0)
    assert abs(float(spilled[0])) < 1e-12 < 1e-4 < float(spilled[1])


def test_scaled_layers_differ_in_sensitivity_alone_and_descend_as_they_are_scaled(small):
    told = small["scaled_end_sensitivity"].isel(seed=0).values
    assert told[0] > 1.5 * told[1] < told[2]
    tasks = Tasks(4, 1, 2.0, 0.5, 4.0, 0.5, 0.02, 0.02, (20,), 50, 2)
    task = tasks.teacher("mixed", 0)
    transfer, layers = tasks.transfer(task, "strengthened"), tasks.starts([4], 0)[0]
    layers = descended(layers, task.target, np.eye(4), 0.02, 1600)
    for at, scale in enumerate((0.5, 1.0, 2.0)):
        tuned = descended(
            *(layers, transfer.finetune.target, transfer.finetune.input_covariance, 0.2 / 50, 50), scale=scale
        )
        loss = np.sum((tuned[1] @ tuned[0] - task.target) ** 2)
        np.testing.assert_allclose(small["scaled_last_loss"].sel(effort="fixed time").isel(seed=0)[at], loss, rtol=1e-9)
        trace = 2 * 4 * (np.sum((scale * layers[0]) ** 2) + np.sum((layers[1] / scale) ** 2))
        np.testing.assert_allclose(told[at], trace, rtol=1e-9)


def test_names_of_features_change_no_harm(small):
    harm = small["renamed_counted_harm"].sel(effort="fixed time").values
    assert abs(harm[1] - harm[0]) < 1e-9 * max(harm[0], 1)
    assert abs(float(np.diff(small["renamed_end_overlap"].values)[0])) > 1e-3


def test_rank_correlations_are_spearmans():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 9))
    ranks = [np.argsort(np.argsort(each)) for each in (first, second)]
    np.testing.assert_allclose(correlation(first, second), np.corrcoef(*ranks)[0, 1])
    assert np.isnan(correlation(first, np.ones(9)))
    assert np.isnan(correlation(first[:2], second[:2]))
    assert correlation(np.append(first, np.nan), np.append(first, 1.0)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("link", "told", "expected"),
    [
        ("gain", (0.2, 0.1, 0.3, 5), "for"),
        ("gain", (0.2, -0.1, 0.3, 5), "open"),
        ("across", (-0.2, -0.3, -0.1, 5), "against"),
        ("rise", (0.02, 0.005, 0.03, 5), "open"),
        ("rise", (0.0, -0.005, 0.009, 5), "against"),
        ("kept_share", (0.3, 0.2, 0.4, 5), "against"),
        ("kept_share", (0.6, np.nan, np.nan, 1), "for"),
        ("kept_share", (np.nan, np.nan, np.nan, 0), "open"),
    ],
)
def test_a_link_stands_by_its_interval(link, told, expected):
    assert stand(link, OverSeeds(*told)) == expected


def test_two_budgets_tell_nothing(small):
    assert find(small.isel(pretrain_steps=[0, -1])).verdict == "cannot tell"


def test_teachers_that_differ_too_much_tell_nothing(small):
    three = small.isel(seed=[0, 0, 0])
    wide = xr.DataArray([-1.0, 0.1, 1.0], dims="seed")
    told = {name: 0 * three[name] + wide for name in ("gain", "across", "rise", "kept_share")}
    found = find(three.assign(told).assign_attrs(small.attrs))
    assert found.verdict == "cannot tell"
    assert "is open" in found.sentence


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    config, verdict = VERDICTS[name]
    with running(recheck=0):
        found = find(computed(experiment, config))
    assert found.verdict == verdict, found.sentence


def test_the_table_has_a_row_for_each_width(small):
    assert len(table(small)) == 1 + len(CONFIG.widths)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--changed", "8"], "changed: got 8; allowed: an integer >= 1 and <= 7"),
        (["--widths", "4", "2"], "widths: got"),
        (["--time", "0.3"], "time: got 0.3; allowed: one of the times"),
        (["--scales", "1", "2"], "scales: got (1.0, 2.0); allowed: 1 between two others"),
        (["--turns", "0"], "turns: got (0.0,); allowed: at least two"),
        (["--level", "1"], "level: got 1.0"),
        (["--geometries", "mixed", "mixed"], "geometries: got"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, tmp_path, capsys):
    assert main([*flags, "--out", str(tmp_path / "result")]) == 2
    out = capsys.readouterr()
    assert told in out.err
    assert len(out.err.strip().splitlines()) == 1
    assert not (tmp_path / "result").exists()
