"""Modes learned one after another: against NumPy, against closed forms, and what the conclusion may say."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from experiments import rises as measures
from experiments.incremental_learning import Config, main, run
from experiments.incremental_learning.summary import summarise
from linsim.commands.config import PretrainConfig

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
    first, second = (dataset[f"initial_weights_{layer}_of_depth_2"].sel(at).values for layer in (1, 2))
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


def test_flow_time_is_the_time_an_integrator_takes():
    for depth in (1, 2, 3, 5):
        start, end = 0.01, 0.6
        reached = measures.flow_time(depth, np.array(start), np.array(end), np.array(0.7))
        solved = solve_ivp(
            lambda _, s, L=depth: 2 * L * s ** (2 - 2 / L) * (0.7 - s), (0, reached), [start], rtol=1e-11, atol=1e-14
        )
        np.testing.assert_allclose(solved.y[0, -1], end, rtol=1e-8)  # a thousand times the integrator's tolerance
    assert np.isnan(measures.flow_time(2, np.array(0.5), np.array(0.1), np.array(0.7)))


def test_at_two_layers_the_next_mode_has_the_stated_odds(dataset):
    scales = CONFIG.scales
    share = dataset["predicted_overlap"].sel(depth=2).isel(mode=slice(2)).values
    for index, start in enumerate(scales):
        odds = (SIGMA[:-1] / start - 1) ** (SIGMA[1:] / SIGMA[:-1]) / (SIGMA[1:] / start - 1)
        np.testing.assert_allclose(share[index], odds / (1 + odds), rtol=1e-10)  # arithmetic on both sides


def test_a_rise_is_found_between_budgets_and_left_out_where_they_do_not_resolve_it():
    budgets = np.arange(1, 2001)
    known = 1 / (1 + np.exp(-(budgets - 500.5) / 40))
    curves = np.stack([known, known * 0.4, np.ones(2000), budgets > 700.0])
    rise = measures.rise_of(budgets, curves)
    # A chord of a curve with curvature 1 / (10 x 40^2) errs by 1/8 of that.
    np.testing.assert_allclose(rise.half, [500.5, np.nan, np.nan, 700.5], atol=1e-3)
    np.testing.assert_allclose(rise.width[0], 2 * np.log(9) * 40, atol=0.01)
    assert np.isnan(rise.width[1:]).all()


def test_the_conclusion_finds_steps_at_two_layers_and_none_at_one(dataset):
    told = summarise(dataset)
    assert "At depth 2 a smaller start (s_0 from 0.01 to 0.001) gives sharper steps" in told
    assert "At depth 1 a smaller start (s_0 from 0.01 to 0.001) gives no sharper steps" in told
    assert "depth 2: stronger first in" in told


def test_the_conclusion_says_so_where_nothing_can_be_said(dataset):
    assert "one scale, or too few budgets" in summarise(dataset.isel(scale=[0]))
    early = summarise(run_early(dataset))
    assert "Nothing can be said of sharper steps at depths 1 and 2" in early
    assert "no mode is half learned within the budgets" in early
    assert "One mode alone" in summarise(dataset.isel(mode=[0]))


def run_early(dataset):
    """The result as it would be had training ended before anything was learned."""
    gone = [name for name in dataset if str(name).endswith(("_half_learned_steps", "_rise_steps", "_overlap"))]
    return dataset.assign({name: dataset[name] * np.nan for name in gone}).isel(pretrain_steps=[0])


def test_runs_that_diverge_are_said_to_and_leave_no_measures(dataset):
    config = Config(
        dim=2, depth=(2,), seeds=1, scales=(0.01, 0.1), pretrain=PretrainConfig(learning_rate=5, steps=300, budgets=9)
    )
    assert summarise(run(config)) == "Every run diverged: nothing can be said."  # and no warnings, errors in tests
    deep = dataset["depth"] == 2
    told = summarise(dataset.assign(aligned_learned=dataset["aligned_learned"].where(~deep, -1e11)))
    assert "Nothing can be said of sharper steps at depth 2: runs diverged" in told
    assert "diverged (0." in told
    assert "e+" not in told
    first = deep & (dataset["seed"] == 0)
    told = summarise(dataset.assign(random_learned=dataset["random_learned"].where(~first)))
    assert "2 of 4 runs diverged" in " ".join(told.split())
    told = summarise(dataset.assign(random_learned=dataset["random_learned"].where(~deep)))
    assert "depth 2: every run diverged" in told


def test_cells_of_the_table_stay_apart(dataset):
    table = summarise(dataset.assign(aligned_overlap=dataset["aligned_overlap"] * np.nan)).splitlines()
    (row,) = (line for line in table if line.startswith(f"{2:>7}"))
    assert row.count(" not learned (") == 3
    assert max(len(line) for line in table) <= 120


def test_without_a_closed_form_it_says_why():
    config = Config(
        dim=2, depth=(1,), seeds=1, scales=(0.01,), pretrain=PretrainConfig(steps=3, budgets=1, first=1, momentum=0.5)
    )
    dataset = run(config)
    assert dataset["predicted_learned"].isnull().all()
    assert dataset.attrs["prediction"].startswith("none: depth 1: ")
    assert "Closed form: none" in summarise(dataset)


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
