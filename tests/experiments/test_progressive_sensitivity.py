"""Sensitivity along pre-training: exact means against NumPy, closed forms, and what the conclusion says."""

import dataclasses

import numpy as np
import pytest

from experiments.progressive_sensitivity import Config, experiment, main, run
from experiments.progressive_sensitivity.finding import KINDS, find, loss_gap, table
from linsim.commands.config import NetworkConfig, PretrainConfig, TaskConfig
from linsim.finding import Finding
from linsim.sweeping.running import running
from tests.computed import computed

CONFIG = Config(
    dim=4,
    seeds=2,
    absolute=(0.2, 0.3),
    relative=(0.3, 1.0),
    samples=20,
    pretrain=PretrainConfig(learning_rate=0.002, steps=10_000, first=100, budgets=120),
)
TARGET = np.diag(2 / np.arange(1, 5))


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


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
    start = [part[f"initial_weights_{layer}"].values for layer in (1, 2)]
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
        # The lag in time, and a spline between budgets 4 % apart, good to a tenth of that.
        np.testing.assert_allclose(part[f"inflection_{kind}"], part[f"predicted_inflection_{kind}"], rtol=0.02)
        # The lowest budget is within 2 % of the minimum, where the logarithm of the loss bends by up to (4 sigma t)^2,
        # some 25: 25 x 0.02^2 / 2.
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


def test_idealised_checkpoints_are_best_at_the_useful_modes():
    stages = run(dataclasses.replace(CONFIG, starts=("identity",), checkpoints="idealised", samples=0))
    for kind in ("absolute", "relative"):
        best = stages[f"loss_{kind}"].isel(start=0, seed=0).argmin("pretrain_steps")
        kept = (stages["learned"].isel(start=0, seed=0) > 0).sum("mode").isel(pretrain_steps=best)
        np.testing.assert_array_equal(kept, stages[f"useful_{kind}"])
    assert any("jump from stage to stage" in line for line in Finding.of(stages).details)


def test_sensitivity_that_never_falls_and_losses_that_turn_are_seen(small):
    found = Finding.of(small)
    assert (found.verdict, found.trust) == ("seen", "")
    # 2 scales of 2 kinds of noise, from a start that draws nothing in one run, from the other in two.
    assert (found.numbers["curves"], found.numbers["turned"], found.numbers["fall"]) == (12, 12, 0)
    for kind in ("absolute", "relative"):
        assert found.numbers[f"harm of {kind} noise"] == float(small[f"harm_{kind}"].max())
    assert any("two modes to overlapping directions" in line for line in found.details)
    counts = [line.split("of")[:2] for line in table(small)[1:]]
    assert [(int(before.split()[-1]), int(after.split()[0])) for before, after in counts] == [(2, 2)] * 2 + [(4, 4)] * 2


def test_early_stopping_leaves_more_loss_than_the_best_strengths(small):
    part, sigma, gamma = small.sel(start="identity"), np.diag(TARGET), np.asarray(CONFIG.absolute)
    price, constant = 8 * gamma**2, 4**3 * gamma**4
    best = np.maximum(sigma - price[:, None] / 2, 0)
    np.testing.assert_allclose(part["best_strengths_absolute"], best, rtol=1e-12)
    least = np.sum((sigma - best) ** 2 + price[:, None] * best, axis=1)
    lowest = part["loss_absolute"].min("pretrain_steps").isel(seed=0).values - constant
    np.testing.assert_allclose(loss_gap(part, "absolute"), lowest / least - 1, rtol=1e-9)  # a difference of some 1 %
    for kind in ("absolute", "relative"):
        assert (loss_gap(part, kind) > 0).all()


def test_where_nothing_turns_it_is_not_seen(nothing):
    found = Finding.of(nothing)
    assert (found.verdict, found.numbers["turned"]) == ("not seen", 0)
    assert not any("early stopping" in line for line in found.details)


def test_sensitivity_falls_from_a_start_that_is_larger_than_the_task():
    large = dataclasses.replace(CONFIG, starts=("identity",), samples=0, seeds=1, network=NetworkConfig(tau=-1.0))
    with running(recheck=0):
        falling = run(large)
    found = Finding.of(falling)
    assert found.verdict == "not seen"
    curves = [falling[f"sensitivity_{kind}"].transpose("pretrain_steps", ...).values for kind in KINDS]
    fall = max(float(np.max(1 - steps[1:] / steps[:-1])) for steps in curves)
    assert found.numbers["fall"] == pytest.approx(fall, rel=1e-12) and fall > 0.01


def test_equal_seeds_are_one_run(small):
    some = small.copy(deep=True)
    some["inflection_absolute"].loc[{"start": "identity", "absolute_noise": 0.2}] = np.nan
    assert (find(some).numbers["turned"], find(some).numbers["curves"]) == (11, 12)
    assert "1 turn in one alone" in table(some)[1]


def test_starts_that_diverged_are_left_out(small):
    lost = small["start"] == "gaussian"
    one = find(small.assign(pretrain_loss=small["pretrain_loss"].where(~lost)))
    assert (one.verdict, one.numbers["curves"]) == ("seen", 4)


def test_three_layers_have_no_closed_form_and_say_so():
    deep = run(
        dataclasses.replace(CONFIG, depth=3, starts=("identity",), samples=0, network=NetworkConfig(tau=1.0), seeds=1)
    )
    assert deep["predicted_inflection_absolute"].isnull().all()
    details = Finding.of(deep).details
    assert any(line.startswith("No closed form: it is for two layers") for line in details)
    assert any(line.startswith("No thresholds") for line in details)


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
    assert Finding.of(single).verdict == "cannot tell"
    assert single["predicted_inflection_relative"].isnull().all()
    np.testing.assert_array_equal(single["predicted_harm_absolute"], 0)
    experiment.tell(single)  # without a warning, which is an error here


def test_means_below_the_rounding_of_the_losses_are_left_out(small):
    def told(dataset):
        return [line for line in find(dataset).details if "means of" in line]

    assert len(told(small)) == 1
    # Losses shifted by a rounding of float32, and errors as small as before anything is learned.
    coarse = small.assign_attrs(precision="float32")
    early = small["sampled_steps"] == small["sampled_steps"][0]
    for name in ("sampled_absolute", "sampled_relative"):
        coarse[name] = small[name].where(~early, small[name] * (1 + 1e-7))
        coarse[f"{name}_error"] = small[f"{name}_error"].where(~early, 1e-9).where(early, 1e-2)
    left, kept = told(coarse)
    assert left.startswith("8 means")  # 2 starts x 4 scales
    assert kept.startswith("48 means of 20 samples")  # at the other 6 of 7 budgets


def test_a_coloured_input_has_neither_closed_form_nor_thresholds():
    coloured = TaskConfig(covariance="aligned")
    told = run(dataclasses.replace(CONFIG, starts=("identity",), samples=0, task=coloured))
    assert told["predicted_loss_absolute"].isnull().all()
    assert "useful_absolute" not in told
    assert any("whitened inputs" in line for line in Finding.of(told).details)


def test_a_result_is_told_in_a_dozen_lines_of_a_terminal(small):
    said, _, _ = experiment.tell(small).partition("\nThe claims behind it")
    lines = [line for line in said.splitlines() if line]
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120
