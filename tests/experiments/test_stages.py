"""Harm feature by feature: against NumPy, against closed forms, and what the conclusion may say."""

import dataclasses

import numpy as np
import pytest

from experiments.stages import Config, main, run
from experiments.stages.finding import decided, find, table
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, TaskConfig
from linsim.finding import Finding
from linsim.theory.stages import misaligned, stage_losses

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
        cells = dataset.sel(checkpoint="idealised").isel(learning_rate=1, regularization=index)
        assert decided(cells, "limit_harm") == (12, 12)
        harm = dataset["feature_harm"].sel(checkpoint="idealised", regularization=penalty).isel(learning_rate=1)
        stated = misaligned(dataset["strength"].values, (dataset["ratio"] * dataset["strength"]).values, penalty)
        np.testing.assert_array_equal(harm.values > 0.01, stated)
    own = (dataset["own_time"] < 8).sel(regularization=1.0)
    harm = dataset["feature_harm"].sel(checkpoint="real", regularization=1.0).isel(learning_rate=1)
    assert int(own.sum()) >= 4
    np.testing.assert_array_equal((harm > 0.01).values[own.values], (dataset["ratio"] > 1.5).values[own.values])


def test_the_finding_counts_what_both_critical_ratios_decide(dataset):
    finding = Finding.of(dataset)
    assert finding.verdict == "seen"
    assert (finding.numbers["right"], finding.numbers["features"]) == (24, 24)
    own = dataset["own_time"] < finding.numbers["flow_time"]
    assert finding.numbers["features_alone"] == int(own.sum()) >= 8
    assert finding.numbers["right_alone"] >= 0.9 * finding.numbers["features_alone"]
    assert decided(dataset.sel(checkpoint="idealised"), "predicted_feature_harm") == (48, 48)
    assert not any("other sign" in line for line in finding.details)
    for line, penalty in zip(table(dataset)[2:], (0, 1), strict=True):
        cells = [cell.strip() for cell in line.split("|")]
        harm = dataset["feature_harm"].sel(checkpoint="idealised", regularization=penalty).isel(learning_rate=-1)
        ratio = dataset["ratio"].where(dataset["ratio"] >= 0)
        assert cells[1:3] == [
            f"{float(ratio.where(harm > 0.01).min()):.3g}",
            f"{float(ratio.where(harm <= 0.01).max()):.3g}",
        ]
        assert cells[3] == "12 of 12"
        turning = dataset["pretrain_loss_after"].sel(regularization=penalty).isel(learning_rate=-1)
        worse = (turning.isel(stage=-1) > 1.01 * turning.min("stage")).sum("seed")
        assert [cells[4], cells[7]] == [f"{int(worse.sel(checkpoint=kind))} of 4" for kind in ("idealised", "real")]
    assert max(map(len, table(dataset))) <= 120


def _with_harm(dataset, harm, where):
    return dataset.assign(feature_harm=dataset["feature_harm"].where(~where, harm))


def test_harm_of_the_other_sign_is_put_down_to_imbalance_where_modes_cross_zero(dataset):
    other = dataset["ratio"] < 0
    beyond = dataset["ratio"] < -dataset["regularization"]
    assert int(other.sum()) >= 1
    (told,) = (line for line in find(_with_harm(dataset, 0.4, beyond)).details if "other sign" in line)
    assert "up to 0.4, for r < -lambda: by imbalance" in told
    (told,) = (
        line for line in find(_with_harm(dataset, 0.4, other)).details if "other sign" in line
    )  # at lambda = 1 too
    assert "by imbalance" not in told and "up to 0.4" in told
    assert not any("other sign" in line for line in find(_with_harm(dataset, np.nan, other)).details)
    assert "-" not in table(_with_harm(dataset, 0.4, beyond))[2].split("|")[1]


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


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda dataset: {"feature_harm": -abs(dataset["feature_harm"])}, "not seen"),
        (lambda dataset: {"feature_harm": dataset["feature_harm"] * np.nan}, "cannot tell"),
        (lambda dataset: {"limit_harm": -dataset["limit_harm"]}, "cannot tell"),
    ],
    ids=["no harm", "all diverged", "the rule does not decide"],
)
def test_harm_is_not_seen_where_there_is_none_or_nobody_can_tell(dataset, change, verdict):
    finding = find(dataset.assign(change(dataset)))
    assert finding.verdict == verdict
    assert "nan" not in " ".join((finding.sentence, *finding.details, *table(dataset.assign(change(dataset)))))


PLAIN = dataclasses.replace(CONFIG.finetune, steps=5)


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"finetune": dataclasses.replace(PLAIN, momentum=0.5)}, []),
        ({"network": NetworkConfig(init="gaussian", tau=10.0), "finetune": PLAIN}, ["idealised"]),
        ({"finetune": PLAIN}, ["idealised", "real"]),
    ],
    ids=["momentum", "a start out of line", "neither"],
)
def test_there_is_a_closed_form_where_descent_is_plain_and_starts_are_aligned(changes, known):
    few = run(dataclasses.replace(CONFIG, seeds=1, **changes))
    assert Finding.of(few).verdict == "not seen"  # 5 steps do nothing
    if known:
        closed = few["predicted_feature_harm"].notnull().all(["feature", "learning_rate", "regularization", "seed"])
        assert few["checkpoint"].values[closed.values].tolist() == known
    else:
        assert "predicted_feature_harm" not in few
        assert any("plain gradient descent" in line for line in Finding.of(few).details)


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
