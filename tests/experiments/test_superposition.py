"""Superposition: codes, losses and harm against NumPy, networks that differ in one thing alone, and the verdicts."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.superposition import Config, experiment, main
from experiments.superposition.finding import LINKS, find, stand, table
from experiments.superposition.relations import correlation
from experiments.superposition.tasks import Tasks
from linsim.sweeping.running import running
from linsim.theory.over_seeds import OverSeeds
from tests.computed import computed

CONFIG = Config(
    **{"dim": 4, "seeds": 1, "seed": 2, "geometries": ("separate", "rare"), "widths": (1, 2, 4)},
    **{"shifts": ("strengthened",), "changed": 1, "steps": 1600, "budgets": 8, "finetune_steps": 50},
    **{"times": (0.05, 0.1, 0.2, 0.4, 0.8), "draws": 2, "scales": (0.5, 1.0, 2.0), "imbalance": 0.3},
)
VERDICTS = {
    "rare features in few units": (CONFIG, "seen"),
    "short fine-tuning": (replace(CONFIG, geometries=("mixed",), time=0.1, level=0.5), "not seen"),
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


def unseen_harm_of(kept, target, covariance):
    """Harm to the loss on features not seen, which has a best budget of its own."""
    excess = kept[-1] - min(kept)
    return (
        excess / min(kept) if excess > max(0.01 * min(kept), 1e-3 * np.trace(target @ covariance @ target.T)) else 0.0
    )


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
    unseen = at["unseen_harm"].sel(effort="fixed time")
    np.testing.assert_allclose(unseen, unseen_harm_of(kept, target, covariance), rtol=1e-6)
    np.testing.assert_allclose(at["time_unseen_harm"].sel(learning_rate=0.2 / 50, method="nearest"), unseen)
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


def test_turned_layers_have_one_loss_and_trace_and_differ_in_overlap(small):
    overlaps, traces = small["turned_end_overlap"], small["turned_end_sensitivity"]
    assert overlaps.sizes == {"turn": 2, "draw": 2}
    assert float(overlaps[0].max()) < 1e-12 < 1e-3 < float(overlaps[1].min())
    np.testing.assert_allclose(traces[1], traces[0], rtol=1e-12)
    spilled = small["turned_spilled"].sel(effort="fixed time")
    assert np.abs(spilled.isel(turn=0)).max() < 1e-12
    assert float(spilled.isel(turn=1).min()) > 1e-4
    harm = small["turned_counted_harm"].transpose("turn", "effort", "draw")
    np.testing.assert_array_equal(small["overlap_rise"].transpose("effort", "draw"), harm[1] - harm[0])


def test_draws_are_those_of_a_sweep_of_their_own(small):
    """The second draw, by descent in NumPy from layers that are built from its balances and its basis here."""
    rng = np.random.default_rng([2, 1, 2])
    balance = rng.permutation(np.linspace(-0.3, 0.3, 4))
    middle = np.hypot(balance / 2, 0.02**2)
    tasks = Tasks(4, 1, 2.0, 0.5, 4.0, 0.5, 0.02, 0.02, (20,), 50, 2)
    basis, target = tasks.turn(1.0, 1), tasks.equal * np.eye(4)
    layers = np.sqrt(middle - balance / 2)[:, None] * basis.T, basis * np.sqrt(middle + balance / 2)
    layers = descended(layers, target, np.eye(4), 0.02, 1600)
    seen = np.diag([1.0, 0, 0, 0])
    tuned = descended(layers, target + 3 * tasks.equal * seen, seen, 0.2 / 50, 50)
    told = small["turned_last_loss"].sel(effort="fixed time").isel(turn=1, draw=1)
    np.testing.assert_allclose(told, np.sum((tuned[1] @ tuned[0] - target) ** 2), rtol=1e-9)


def test_a_factor_of_the_axis_is_what_outputs_are_strengthened_by(small):
    at = small.isel(shift=0, seed=0, width=1).sel(geometry="rare")
    covariance = small["input_covariance"].sel(geometry="rare")
    covariance = covariance.isel({dim: 0 for dim in covariance.dims if dim in ("shift", "seed")}).values
    target, seen = at["pretrain_target"].values, np.arange(4) < 1
    layers, budgets = (at["initial_weights_1"].values, at["initial_weights_2"].values), at["pretrain_steps"].values
    after, _, kept, _ = harm_of(layers, target, target * (1 + seen), covariance, seen, budgets, 0.2)
    told = small.sel(factor=2.0, geometry="rare", effort="fixed time").isel(seed=0, width=1)
    np.testing.assert_allclose(told["factor_least_loss"], min(after), rtol=1e-7)
    np.testing.assert_allclose(told["factor_last_loss"], after[-1], rtol=1e-7)
    np.testing.assert_allclose(told["factor_unseen_harm"], unseen_harm_of(kept, target, covariance), rtol=1e-6)


def test_relations_over_times_are_those_of_the_fixed_time(small):
    at = small.sel(learning_rate=0.2 / 50, method="nearest")
    fixed = small.sel(effort="fixed time")
    np.testing.assert_allclose(at["unseen_narrow_over_times"], fixed["unseen_narrow"])
    np.testing.assert_allclose(at["kept_share_over_times"], fixed["kept_share"])
    np.testing.assert_allclose(at["unseen_across_over_times"], fixed["unseen_across"].sel(candidate="overlap"))


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
        ("across", (-0.2, -0.3, -0.1, 5), "against"),
        ("across", (0.2, -0.1, 0.3, 5), "open"),
        ("unseen_across", (0.2, 0.1, 0.3, 5), "for"),
        ("unseen_narrow", (0.02, 0.005, 0.03, 5), "open"),
        ("unseen_narrow", (0.0, -0.005, 0.009, 5), "against"),
        ("kept_share", (0.3, 0.2, 0.4, 5), "against"),
        ("kept_share", (0.6, np.nan, np.nan, 1), "for"),
        ("kept_share", (np.nan, np.nan, np.nan, 0), "open"),
    ],
)
def test_a_link_stands_by_its_interval(link, told, expected):
    assert stand(link, OverSeeds(*told)) == expected


def test_two_budgets_tell_nothing(small):
    assert find(small.isel(pretrain_steps=[0, -1])).verdict == "cannot tell"


SAID = {
    "both losses": ({"kept_share": 0.8, "across": 0.5, "unseen_narrow": 0.2, "unseen_across": 0.5}, "seen"),
    "neither": ({"kept_share": 0.1, "across": 0.5, "unseen_narrow": 0.0, "unseen_across": 0.5}, "not seen"),
    "one of them": ({"kept_share": 0.1, "across": 0.5, "unseen_narrow": 0.2, "unseen_across": 0.5}, "cannot tell"),
    "the other": ({"kept_share": 0.8, "across": 0.5, "unseen_narrow": 0.2, "unseen_across": -0.5}, "cannot tell"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_verdict_takes_both_losses(small, name):
    told, verdict = SAID[name]
    assert set(told) == set(LINKS)
    assert find(small.assign({link: 0 * small[link] + value for link, value in told.items()})).verdict == verdict


def test_teachers_that_differ_too_much_tell_nothing(small):
    three = small.isel(seed=[0, 0, 0])
    wide = xr.DataArray([-1.0, 0.1, 1.0], dims="seed")
    found = find(three.assign({name: 0 * three[name] + wide for name in LINKS}))
    assert found.verdict == "cannot tell"
    assert "may turn" in found.sentence


def test_networks_that_never_come_to_the_level_are_counted(small):
    none = small.assign(matched_time=small["matched_time"].where(small["width"] > 1))
    told = next(line for line in find(none).details if line.startswith("Matched effort"))
    assert "0 of 2 of 1 units (separate 0, rare 0 of 1 each)" in told


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
        (["--draws", "0"], "draws: got 0"),
        (["--factors", "3", "2"], "factors: got"),
        (["--level", "1"], "level: got 1.0"),
        (["--geometries", "mixed", "mixed"], "geometries: got"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
