"""Sensitivity along pre-training: exact means against NumPy, closed forms, and what the conclusion says."""

import dataclasses

import numpy as np
import pytest

from experiments.progressive_sensitivity import Config, main, run
from experiments.progressive_sensitivity.summary import summarise
from experiments.progressive_sensitivity.theory import collective_threshold
from linsim.commands.config import NetworkConfig, PretrainConfig, TaskConfig

CONFIG = Config(
    dim=4,
    seeds=2,
    absolute=(0.1, 0.3),
    relative=(0.3, 1.0),
    samples=20,
    pretrain=PretrainConfig(learning_rate=0.002, steps=10_000, first=100, budgets=60),
)
TARGET = np.diag(2 / np.arange(1, 5))


@pytest.fixture(scope="module")
def small():
    return run(CONFIG)


@pytest.fixture(scope="module")
def nothing():
    """Stopped before any mode is learned: nothing turns."""
    early = dataclasses.replace(CONFIG.pretrain, steps=300)
    return run(dataclasses.replace(CONFIG, starts=("identity",), pretrain=early))


def descended(first, second, rate, budgets):
    """Gradient descent of two layers, in NumPy alone."""
    kept = []
    for step in range(1, int(budgets[-1]) + 1):
        slope = 2 * (second @ first - TARGET)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
        if step in budgets:
            kept.append((first, second))
    return kept


def test_losses_under_noise_are_those_of_a_script_in_numpy(small):
    part = small.sel(start="gaussian", seed=1)
    start = [small[f"initial_weights_{layer}_of_gaussian"].values[1] for layer in (1, 2)]
    kept = descended(*start, 0.002, part["pretrain_steps"].values)
    for kind, scale in (("absolute", 0.3), ("relative", 1.0)):
        theirs = []
        for first, second in kept:
            inner, outer = (
                (scale if kind == "absolute" else scale * np.sqrt(np.mean(w**2))) ** 2 for w in (first, second)
            )
            rise = inner * 4 * np.sum(second**2) + outer * 4 * np.sum(first**2) + inner * outer * 4**3
            theirs.append(np.sum((second @ first - TARGET) ** 2) + rise)
        ours = part[f"loss_{kind}"].sel({f"{kind}_noise": scale}).transpose("pretrain_steps").values
        # Both step the same recurrence in float64: rounding of 1e4 steps that contract in the end, 1e-12, and a margin.
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_closed_form_and_simulation_differ_by_the_lag_of_descent(small):
    part = small.sel(start="identity")
    for kind in ("absolute", "relative"):
        # A step of rate x curvature = 0.002 x 8 delays the rise of a mode by half of that, 0.8 % of its time, while the
        # loss falls by e^(-4 sigma t): at most some 4 sigma t x 0.8 %, with 4 sigma t = 10 at the rise, of what falls.
        np.testing.assert_allclose(part[f"loss_{kind}"], part[f"predicted_loss_{kind}"], rtol=0.08)
        flat = part[f"loss_{kind}"] / part[f"predicted_loss_{kind}"]
        np.testing.assert_allclose(flat.isel(pretrain_steps=-1), 1, rtol=1e-9)  # all is learned
        # The lag in time, and a spline between budgets 8 % apart, good to a tenth of that.
        np.testing.assert_allclose(part[f"inflection_{kind}"], part[f"predicted_inflection_{kind}"], rtol=0.02)
        # The lowest budget is within 4 % of the minimum, where the logarithm of the loss bends by up to (4 sigma t)^2,
        # some 25: 25 x 0.04^2 / 2.
        np.testing.assert_allclose(1 + part[f"harm_{kind}"], 1 + part[f"predicted_harm_{kind}"], rtol=0.02)


def test_samples_agree_with_the_exact_mean(small):
    for kind in ("absolute", "relative"):
        exact = small[f"loss_{kind}"].isel(seed=0).sel(pretrain_steps=small["sampled_steps"].values)
        sampled, error = (
            small[f"sampled_{kind}{part}"].transpose("start", "sampled_steps", ...) for part in ("", "_error")
        )
        units = (sampled.values - exact.transpose("start", "pretrain_steps", ...).values) / error.values
        # 28 means a kind; errors of 20 draws are t-distributed, and 5 of them is one chance in 10^4 each.
        assert np.abs(units).max() < 5
        assert 0.6 < np.std(units) < 1.5


def test_the_collective_threshold_is_the_least_of_a_search():
    sigma, price = np.array([2.0, 1.0, 0.6, 0.1]), 0.12
    best = collective_threshold(sigma, price)
    assert best[-1] == 0 < best[-2]
    strengths = sigma.copy()
    for _ in range(2000):  # projected descent; contracts by 1 - 0.1 a step
        strengths = np.maximum(strengths - 0.1 * ((strengths - sigma) + price * strengths.sum()), 0)
    np.testing.assert_allclose(best, strengths, atol=1e-12)


def test_idealised_checkpoints_are_best_at_the_useful_modes():
    stages = run(dataclasses.replace(CONFIG, starts=("identity",), checkpoints="idealised", samples=0))
    for kind in ("absolute", "relative"):
        best = stages[f"loss_{kind}"].isel(start=0, seed=0).argmin("pretrain_steps")
        kept = (stages["learned"].isel(start=0, seed=0) > 0).sum("mode").isel(pretrain_steps=best)
        np.testing.assert_array_equal(kept, stages[f"useful_{kind}"])
    assert "jump from stage to stage" in summarise(stages)


def test_the_conclusion_names_growth_turns_and_the_soft_threshold(small):
    text = " ".join(summarise(small).split())  # wherever lines break
    assert text.count("turns up in 2 of 2 curves") == 2  # one run from a start that draws nothing
    assert text.count("turns up in 4 of 4 curves") == 2
    assert text.count("sensitivity never falls") == 4
    assert "Early stopping is no soft threshold" in text
    assert "No closed form from gaussian: the start overlaps" in text


def test_the_conclusion_denies_what_does_not_happen(nothing):
    text = " ".join(summarise(nothing).split())  # wherever lines break
    assert text.count("the loss under noise never turns up") == 2
    assert "soft threshold" not in text


def test_a_fall_of_sensitivity_is_told(small):
    falling = small.copy()
    falling["sensitivity_absolute"] = 1 / small["sensitivity_absolute"]
    assert "sensitivity FALLS" in summarise(falling)


def test_three_layers_have_no_closed_form_and_say_so():
    deep = run(
        dataclasses.replace(CONFIG, depth=3, starts=("identity",), samples=0, network=NetworkConfig(tau=1.0), seeds=1)
    )
    assert deep["predicted_inflection_absolute"].isnull().all()
    text = " ".join(summarise(deep).split())  # wherever lines break
    assert "No closed form from identity: it is for two layers, not 3." in text
    assert "No thresholds" in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--network.init", "gaussian"), "network.init: got gaussian; allowed: its default; --starts"),
        (("--absolute", "0.2", "0.1"), "absolute: got (0.2, 0.1); allowed: strictly increasing values"),
        (("--samples", "1"), "samples: got 1; allowed: 0, or at least 2"),
        (("--starts", "gaussian", "gaussian"), "starts: got ('gaussian', 'gaussian'); allowed: some of"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, said):
    assert main([*flags, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith(said)


def test_a_single_budget_has_no_turn():
    alone = dataclasses.replace(CONFIG.pretrain, budgets=1)
    single = run(dataclasses.replace(CONFIG, starts=("identity",), samples=0, pretrain=alone))
    told = summarise(single)
    assert "Too few budgets to tell" in told and "never" not in told and "grows 1" not in told


def test_means_below_the_rounding_of_the_losses_are_left_out(small):
    assert "left out" not in summarise(small)
    # Losses shifted by a rounding of float32, and errors as small as before anything is learned.
    coarse = small.assign_attrs(precision="float32")
    early = small["sampled_steps"] == small["sampled_steps"][0]
    for name in ("sampled_absolute", "sampled_relative"):
        coarse[name] = small[name].where(~early, small[name] * (1 + 1e-7))
        coarse[f"{name}_error"] = small[f"{name}_error"].where(~early, 1e-9).where(early, 1e-2)
    told = summarise(coarse)
    assert "8 means of samples are left out: rounding in float32 drowns" in told  # 2 starts x 4 scales
    assert "48 means of 20 samples" in told  # at the other 6 of 7 budgets


def test_a_coloured_input_has_no_thresholds():
    coloured = TaskConfig(covariance="aligned")
    told = summarise(run(dataclasses.replace(CONFIG, starts=("identity",), samples=0, task=coloured)))
    assert "inputs are not whitened" in told
    assert "No thresholds" in told
