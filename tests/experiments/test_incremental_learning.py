"""Modes learned one after another: against NumPy, against closed forms, and what the conclusion may say."""

import itertools

import numpy as np
import pytest

from experiments.incremental_learning import Config, main, run, table
from linsim.commands.config import PretrainConfig
from linsim.finding import Finding

RATE = 0.005
CONFIG = Config(
    dim=3,
    depth=(1, 2),
    scales=(1e-3, 1e-2),
    seeds=2,
    pretrain=PretrainConfig(learning_rate=RATE, steps=2000, first=5, budgets=120),
)
SIGMA = 2 / np.arange(1, 4)


@pytest.fixture(scope="module")
def dataset():
    return run(CONFIG)


def test_aligned_shares_are_those_of_scalar_descent(dataset):
    weight = np.full((2, 1), [[np.sqrt(1e-3)], [np.sqrt(1e-2)]]) * np.ones(3)
    budgets, reached = dataset["pretrain_steps"].values, []
    for step in range(1, budgets[-1] + 1):
        weight = weight - 2 * RATE * weight * (weight**2 - SIGMA)
        if step in budgets:
            reached.append(weight**2 / SIGMA)
    ours = dataset["aligned_learned"].sel(depth=2).transpose("pretrain_steps", "scale", "mode")
    # Rounding of 2,000 contracting steps: some thousand times 1e-16.
    np.testing.assert_allclose(ours, np.stack(reached), rtol=1e-11)


def test_random_shares_are_those_of_descent_from_the_stored_weights(dataset):
    at = {"scale": 1e-2, "seed": 1}
    first, second = (dataset[f"initial_weights_{layer}_of_2"].sel(at).values for layer in (1, 2))
    budgets, target = dataset["pretrain_steps"].values, dataset["pretrain_target"].values
    until = int(budgets[budgets >= 300][0])
    for _ in range(until):
        residual = 2 * (second @ first - target)
        first, second = first - RATE * second.T @ residual, second - RATE * residual @ first.T
    ours = dataset["random_learned"].sel(depth=2, pretrain_steps=until, **at)
    # Rounding, amplified by e^(4 sigma t) < 1e6 while a mode escapes from its start.
    np.testing.assert_allclose(ours, np.diag(second @ first) / SIGMA, atol=1e-9)


def test_half_learned_budgets_and_rises_agree_with_the_closed_form(dataset):
    for name in ("half_learned_steps", "rise_steps", "overlap"):
        ours, theirs = dataset[f"aligned_{name}"], dataset[f"predicted_{name}"]
        known = theirs.notnull()
        assert bool(ours.notnull().where(known, True).all())
        # A step of descent lags the flow by rate x sigma = 0.01 of its time; a chord over 5 % of the budget adds 0.1 %.
        np.testing.assert_allclose(ours.values[known.values], theirs.values[known.values], rtol=0.02)


def test_a_smaller_start_gives_sharper_steps_at_two_layers_and_not_at_one(dataset):
    found = Finding.of(dataset)
    assert (found.verdict, found.trust) == ("seen", "")
    assert (found.numbers["depths"], found.numbers["sharper"]) == (2, 1)
    for end, scale in ("smallest", 1e-3), ("largest", 1e-2):
        share = dataset["aligned_overlap"].sel(scale=scale, depth=2, mode=1)
        assert found.numbers[f"{end} start, depth 2"] == float(share)
    assert "at depth 2, and stays at 50 % at depth 1" in found.sentence


def coarse(rate, scales):
    """Pre-training at a rate that some starts do not bear."""
    pretrain = PretrainConfig(learning_rate=rate, steps=300, first=1, budgets=60)
    return run(Config(dim=2, depth=(2,), seeds=1, scales=scales, pretrain=pretrain))


def test_where_runs_from_an_end_of_the_scales_diverge_nothing_is_compared():
    found = coarse(0.1, (0.01, 20.0))  # 20 is ten times the target
    np.testing.assert_array_equal(found["aligned_diverged"], [[False, True]])
    assert Finding.of(found).verdict == "cannot tell"
    assert Finding.of(found).sentence.endswith("runs diverged or are beyond the edge of stability")
    assert "2 of 4 runs diverged." in Finding.of(found).details


def test_runs_that_diverge_or_step_beyond_the_edge_once_modes_are_learned_leave_no_measures():
    found = coarse(0.4, (0.01, 0.1))  # 0.4 x 4 sigma_1 = 3.2: the aligned start steps to and fro across the target
    assert found["random_diverged"].all()
    assert found["aligned_unstable"].all() and not found["aligned_diverged"].any()
    for kind, name in itertools.product(("aligned", "random"), ("half_learned_steps", "rise_steps", "overlap")):
        assert found[f"{kind}_{name}"].isnull().all()
    assert "2 of 4 runs are beyond the edge of stability." in Finding.of(found).details


def test_the_table_has_a_row_for_each_depth_and_says_who_was_first_at_random(dataset):
    head, first, second = table(dataset)[-3:]
    half = dataset["random_half_learned_steps"].sel(depth=2).transpose("scale", "seed", "mode").values.reshape(-1, 3)
    ordered = np.sum(half[:, :-1] < half[:, 1:])
    assert f"{ordered} of 8" in second
    assert second.split()[0] == "2"
    assert max(map(len, (head, first, second))) <= 120


def test_without_a_closed_form_it_says_why():
    config = Config(
        dim=2, depth=(1,), seeds=1, scales=(0.01,), pretrain=PretrainConfig(steps=3, budgets=1, first=1, momentum=0.5)
    )
    dataset = run(config)
    assert dataset["predicted_learned"].isnull().all()
    assert "none: pre-training is not plain gradient descent" in dataset.attrs["prediction"]
    assert "none: pre-training is not plain gradient descent" in Finding.of(dataset).details[0]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--scales", "0", "0.1"], "scales"),
        (["--scales", "0.1", "0.01"], "scales"),
        (["--depth", "0"], "depth"),
        (["--network.tau", "3"], "network.tau"),
        (["--network.init", "balanced"], "network.init"),
        (["--solver", "modes"], "solver"),
        (["--task.data", "x.npz"], "task.data"),
        (["--task.spectrum", "explicit", "--task.values", "1", "-1"], "task"),
    ],
)
def test_bad_input_is_one_line(flags, named, tmp_path, capsys):
    assert main([*flags, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"{named}: got")
