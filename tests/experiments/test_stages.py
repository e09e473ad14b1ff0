"""Harm feature by feature: against NumPy, against closed forms, and what the conclusion may say."""

import numpy as np
import pytest
from scipy.integrate import quad

from experiments.stages import Config, main, run, theory
from experiments.stages.summary import calls, summarise
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, TaskConfig
from linsim.theory.stages import critical_time, misaligned, stage_losses

CONFIG = Config(
    dim=3,
    seeds=4,
    ratios=(-1.0, 6.0),
    task=TaskConfig(spectrum="explicit", values=(1.21, 2.0, 0.74)),  # not in the order of learning
    network=NetworkConfig(tau=10.0),
    pretrain=PretrainConfig(steps=10_000, budgets=60),
    finetune=FinetuneConfig(steps=2000, learning_rates=(1e-4, 4e-3), regularizations=(0.0, 1.0)),
)


@pytest.fixture(scope="module")
def dataset():
    return run(CONFIG)


def test_losses_are_those_of_scalar_descent(dataset):
    seed, penalty, rate = 1, 1.0, 4e-3
    sigma = dataset["strength"].values[:, seed]
    goal = dataset["ratio"].values[:, seed] * sigma
    for kind in ("idealised", "real"):
        for stage, budget in enumerate(dataset["stage_steps"].values[:, seed]):
            if kind == "idealised":
                weight = np.sqrt(np.where(np.arange(3) < stage, sigma, 0.0))
            else:
                weight = np.full(3, np.exp(-10.0))
                for _ in range(budget):
                    weight = weight - 2 * 0.005 * weight * (weight**2 - sigma)
            checkpoint = weight**2
            for _ in range(2000):
                weight = weight - 2 * rate * weight * (weight**2 - goal + penalty * (weight**2 - checkpoint))
            cell = {"checkpoint": kind, "stage": stage, "learning_rate": rate, "regularization": penalty, "seed": seed}
            # Rounding over thousands of contracting steps.
            np.testing.assert_allclose(
                dataset["pretrain_loss_after"].sel(cell), np.sum((weight**2 - sigma) ** 2), rtol=1e-9
            )


def test_idealised_stages_end_where_the_closed_form_says(dataset):
    kept = np.arange(3)[None, :] < np.arange(4)[:, None]
    for seed in range(4):
        sigma, ratio = (dataset[name].values[:, seed] for name in ("strength", "ratio"))
        for penalty in (0.0, 1.0):
            at = {"checkpoint": "idealised", "regularization": penalty, "seed": seed}
            goal = (ratio + penalty) * sigma / (1 + penalty)
            for rate in (0, 1):
                time = 2000 * float(dataset["learning_rate"][rate])
                ends = goal / (1 + (goal / sigma - 1) * np.exp(-4 * (1 + penalty) * goal * time))
                stated = np.sum((np.where(kept, ends, 0.0) - sigma) ** 2, axis=-1)
                closed = dataset["predicted_pretrain_loss_after"].sel(at).isel(learning_rate=rate)
                np.testing.assert_allclose(closed, stated, rtol=1e-9)  # the same, with fewer precautions
    at = {"checkpoint": "idealised", "regularization": 1.0, "seed": 0}
    limit = stage_losses(*(np.asarray(values) for values in _of_seed(dataset, 0)), 1.0)
    ours = dataset["pretrain_loss_after"].sel(at).isel(learning_rate=-1)
    # T = 8 leaves 1 / (4 T) at most of a mode, where its target is near 0.
    np.testing.assert_allclose(ours, limit, atol=2 * dataset["strength"].values[-1, 0] / (4 * 8))


def _of_seed(dataset, seed):
    sigma, ratio = (dataset[name].values[:, seed] for name in ("strength", "ratio"))
    return sigma, ratio * sigma


def test_harm_agrees_with_the_closed_form(dataset):
    ideal, real = (
        np.abs(dataset["feature_harm"] - dataset["predicted_feature_harm"]).sel(checkpoint=k)
        for k in ("idealised", "real")
    )
    # A step of rate x curvature 4 (1 + lambda) s < 0.4 errs by that order of what is moving; little is, at either T.
    assert float(ideal.max()) < 0.02
    # A lag of rate x sigma = 1 % of the pre-training time, where a mode grows by e^20 before it is learned.
    assert float(real.max()) < 0.5
    assert float(real.median()) < 0.02


def test_stages_have_n_features_learned(dataset):
    before = dataset["pretrain_loss_before"].sel(checkpoint="idealised")
    sigma = dataset["strength"].values
    stated = np.concatenate([np.cumsum(sigma[::-1] ** 2, axis=0)[::-1], np.zeros((1, 4))])
    np.testing.assert_allclose(before, stated, atol=1e-12)  # a sum of three squares
    half = 0.5 * dataset["strength"]
    assert bool((dataset["begun"] < half).all())
    assert bool((np.diff(dataset["stage_steps"].values, axis=0) > 0).all())


def test_the_critical_ratio_decides_on_idealised_stages_and_half_of_it_on_real_ones(dataset):
    for index, penalty in enumerate((0.0, 1.0)):
        right, count = calls(dataset, "idealised", 1, index)
        assert right == count == 12
        harm = dataset["feature_harm"].sel(checkpoint="idealised", regularization=penalty).isel(learning_rate=1)
        stated = misaligned(dataset["strength"].values, (dataset["ratio"] * dataset["strength"]).values, penalty)
        np.testing.assert_array_equal(harm.values > 0.01, stated)
    own = (dataset["own_time"] < 8).sel(regularization=1.0)
    harm = dataset["feature_harm"].sel(checkpoint="real", regularization=1.0).isel(learning_rate=1)
    assert int(own.sum()) >= 4
    np.testing.assert_array_equal((harm > 0.01).values[own.values], (dataset["ratio"] > 1.5).values[own.values])


def test_the_boundary_is_the_critical_time_at_any_depth():
    pull, effort = theory.boundary(2)
    # sigma = 1, lambda = 0: rho is the ratio, and effort the flow time.
    np.testing.assert_allclose(effort, critical_time(np.ones_like(pull), pull), rtol=1e-9)  # quadrature, to rounding
    pull, effort = theory.boundary(4)
    for at in (60, 120, 199):
        time, _ = quad(lambda s, rho=pull[at]: 1 / (8 * s**1.5 * (rho - s)), 1, 2, epsrel=1e-10)
        np.testing.assert_allclose(effort[at], time, rtol=1e-7)


def test_limits_change_sign_at_the_critical_ratios():
    for penalty in (0.0, 0.5, 2.0):
        for part, critical in zip(
            theory.limits(np.array([2, 1]) + penalty * np.array([1, 0.5]), penalty), (0, 1), strict=True
        ):
            np.testing.assert_allclose(part[critical], 0, atol=1e-12)  # of numbers near 1
    never, anyway = theory.limits(np.array([-3.0, 0.0, 1.0, 9.0]), np.array(0.0))
    np.testing.assert_allclose(never, [0, 0, -1, 63])
    np.testing.assert_allclose(anyway, 0)


def test_own_time_is_that_of_the_logistic_curve():
    begun, goal = 1e-3, 0.8
    time = theory.own_time(2, np.array(begun), np.array(goal), np.array(0.0))
    np.testing.assert_allclose(time, np.log(goal / begun - 1) / (4 * goal), rtol=1e-9)
    # The penalty acts like a faster clock and a nearer limit.
    limit = (goal + 2 * begun) / 3
    time = theory.own_time(2, np.array(begun), np.array(goal), np.array(2.0))
    np.testing.assert_allclose(time, np.log(limit / begun - 1) / (4 * 3 * limit), rtol=1e-9)
    others = theory.own_time(2, np.array([0.0, 0.1, 0.7]), np.array([1.0, -1.0, 0.8]), np.zeros(3))
    np.testing.assert_array_equal(others, [np.inf, np.inf, 0.0])


def test_the_conclusion_names_the_line_and_where_it_moves(dataset):
    told = summarise(dataset)
    assert "r > 2 + lambda = 3 decides 12 of 12 rightly" in told
    assert "F_T(sigma) > 2 sigma of 100%" in told
    assert "with r > 1 + lambda/2 = 1.5 for the" in told
    assert "does no harm" in told
    assert "balanced layers cannot cross 0" in told
    assert max(len(line) for line in told.splitlines()) <= 120


def test_harm_of_the_other_sign_is_put_down_to_imbalance_where_modes_cross_zero(dataset):
    other = dataset["ratio"] < 0
    beyond = dataset["ratio"] < -dataset["regularization"]
    assert int(other.sum()) >= 1
    told = " ".join(summarise(dataset.assign(feature_harm=dataset["feature_harm"].where(~beyond, 0.4))).split())
    assert "does harm for r < -lambda, up to 0.4: by imbalance" in told
    assert "harm from r = -" not in told
    within = summarise(dataset.assign(feature_harm=dataset["feature_harm"].where(~other, 0.4)))  # at lambda = 1 too
    assert "by imbalance" not in within
    assert "does harm: up to 0.4" in within
    lost = dataset.assign(feature_harm=dataset["feature_harm"].where(~other))
    assert "features): every run diverged" in summarise(lost)


def test_a_mode_out_of_balance_crosses_zero_after_the_stated_time_and_is_harm():
    small, goal = 1e-6, -0.7
    first, second, crossed = 1.0 + small / 2, 1.0 - small / 2, None
    for step in range(15_000):
        pull = 2e-3 * (first * second - goal)
        first, second = first - pull * second, second - pull * first
        crossed = step * 1e-3 if crossed is None and first * second < 0 else crossed
    # The time is that of the linearised flow, off by what the start far from 0 saves: of order 1 / (4 |goal|).
    assert crossed == pytest.approx(np.log(2 / small) / (4 * 0.7), abs=1 / 0.7)
    assert (first * second - 1) ** 2 - 1 == pytest.approx((goal - 1) ** 2 - 1, rel=1e-3)  # converged


def test_the_conclusion_denies_harm_where_there_is_none(dataset):
    harmless = dataset.assign(feature_harm=-np.abs(dataset["feature_harm"]))
    assert "From idealised stages no feature does harm" in summarise(harmless)
    lost = dataset.assign(feature_harm=dataset["feature_harm"] * np.nan)
    assert summarise(lost).startswith("Nothing can be said")
    silent = dataset.assign(predicted_feature_harm=dataset["feature_harm"] * np.nan)
    assert "Closed form: " in summarise(silent.isel(seed=[0], learning_rate=[0]))


def test_there_is_no_closed_form_where_descent_is_not_plain():
    momentum = FinetuneConfig(momentum=0.5)
    assert "plain descent" in theory.why_not(Config(finetune=momentum), "idealised")
    assert theory.why_not(Config(), "idealised") == theory.why_not(Config(), "real") == ""
    gaussian = Config(network=NetworkConfig(init="gaussian"))
    assert theory.why_not(gaussian, "idealised") == ""
    assert "aligned" in theory.why_not(gaussian, "real")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--depth", "1"], "depth"),
        (["--seeds", "0"], "seeds"),
        (["--ratios", "2", "1"], "ratios"),
        (["--task.covariance", "aligned"], "task.covariance"),
        (["--finetune.regularizer", "weight_decay"], "finetune.regularizer"),
        (["--network.hidden", "2"], "network.hidden"),
        (["--pretrain.steps", "100"], "pretrain"),
        (["--task.decay", "0"], "task"),
    ],
)
def test_bad_input_is_one_line(flags, named, tmp_path, capsys):
    small = ["--dim", "3", "--network.tau", "5", "--pretrain.budgets", "30"]
    small += [] if "--pretrain.steps" in flags else ["--pretrain.steps", "3000"]
    assert main([*small, *flags, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"{named}: got")
