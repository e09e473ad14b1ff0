"""Objectives side by side: descent against NumPy, what is matched, and what is concluded."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.curves import material_harm
from experiments.objectives import Config, experiment, main
from experiments.objectives.curves import fisher_left
from experiments.objectives.finding import find, table
from experiments.objectives.tasks import HARD, RELABELLED, SMOOTHED, SOFT, SQUARED, STRENGTHENED, under_noise
from linsim.dynamics.seen import SeenTask
from linsim.measures.sensitivity import expected_loss
from linsim.sweeping.running import running
from linsim.tasks import LinearTask
from tests.computed import computed

CONFIG = Config(
    dim=4,
    seeds=1,
    strengths=(16.0,),
    steps=1600,
    first=10,
    budgets=8,
    finetune_steps=80,
    times=(0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    noise=(0.3,),
    strengthened_from=2,
)
VERDICTS = {
    "margins that are unlearned": (CONFIG, "seen"),
    "time enough to unlearn them": (replace(CONFIG, short=8.0), "not seen"),
    "too few budgets": (replace(CONFIG, budgets=2), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    with running(recheck=4):
        return computed(experiment, CONFIG)


def labels_of(objective, logits):
    """A distribution for every context, as rows."""
    soft = np.exp(logits) / np.exp(logits).sum(axis=1)[:, None]
    hard = np.eye(4)[logits.argmax(axis=1)]
    return {SOFT: soft, HARD: hard, SMOOTHED: 0.9 * hard + 0.1 / 4}[objective]


def slope_and_loss(objective, product, target, shares):
    """dL/dP and L, in NumPy alone."""
    if objective == SQUARED:
        return 2 * (product - target) * shares, np.sum((product - target) ** 2 * shares)
    labels, logits = labels_of(objective, target.T), product.T
    predicted = np.exp(logits) / np.exp(logits).sum(axis=1)[:, None]
    entropy = np.sum(np.where(labels > 0, labels * np.log(np.where(labels > 0, labels, 1)), 0), axis=1)
    loss = shares @ (entropy - np.sum(labels * np.log(predicted), axis=1))
    return ((predicted - labels) * shares[:, None]).T, loss


def descended(objective, layers, target, shares, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    first, second = layers
    for _ in range(steps):
        slope, _ = slope_and_loss(objective, second @ first, target, shares)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


def stored(small, shift):
    """Initial weights, both targets and the frequencies of contexts, as the result keeps them."""
    at = small.sel(shift=shift).isel(seed=0, objective=0)
    layers = at["initial_weights_1"].values, at["initial_weights_2"].values
    return layers, at["pretrain_target"].values, at["finetune_target"].values, np.diag(at["input_covariance"].values)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("objective", [SQUARED, SOFT, HARD, SMOOTHED])
def test_losses_and_traces_are_those_of_a_script_in_numpy(small, objective):
    for shift in (STRENGTHENED, RELABELLED):
        layers, before, after, shares = stored(small, shift)
        cell = small.sel(objective=objective, shift=shift).isel(seed=0, pretrain_steps=4, learning_rate=4)
        checkpoint = descended(objective, layers, before, shares, 0.1, int(cell["pretrain_steps"]))
        tuned = descended(objective, checkpoint, after, shares, float(cell["learning_rate"]), 80)
        for name, target in (("pretrain", before), ("finetune", after)):
            told = slope_and_loss(objective, tuned[1] @ tuned[0], target, shares)[1]
            # The same recurrence in float64: rounding of some hundred steps, which a saddle may grow a thousand times.
            np.testing.assert_allclose(cell[f"{name}_loss_after"], told, rtol=1e-9)
        told = slope_and_loss(objective, checkpoint[1] @ checkpoint[0], after, shares)[1]
        np.testing.assert_allclose(cell["finetune_loss_before"], told, rtol=1e-9)
        trace = 0.0
        for context, share in enumerate(shares):
            first, second = checkpoint
            rows = np.concatenate(
                [np.kron(second, np.eye(4)[context]), np.kron(np.eye(4), first[:, context])], axis=1
            )  # derivative of the logits of this context
            if objective == SQUARED:
                trace += share * np.sum(rows**2)
            else:
                logits = second @ first[:, context]
                p = np.exp(logits) / np.exp(logits).sum()
                trace += share * np.sum(p * np.sum((rows - p @ rows) ** 2, axis=1))
        np.testing.assert_allclose(cell["fisher_trace"], trace, rtol=1e-9)


def test_relabelled_contexts_have_the_labels_of_others(small):
    _, before, after, shares = stored(small, RELABELLED)
    np.testing.assert_allclose(after[:, ::2], before[:, ::2], atol=1e-14)
    np.testing.assert_allclose(after[:, 1::2], np.roll(before[:, 1::2], 1, axis=0), atol=1e-14)
    np.testing.assert_allclose(shares, (1 / np.arange(1, 5)) / np.sum(1 / np.arange(1, 5)))
    np.testing.assert_allclose(np.linalg.svd(before)[1], 8 / np.sqrt(np.arange(1, 5)))


def test_matched_effort_leaves_the_level(small):
    layers, before, after, shares = stored(small, STRENGTHENED)
    for objective in (SQUARED, SOFT):
        cell = small.sel(objective=objective, shift=STRENGTHENED).isel(seed=0)
        rate = float(cell["matched_time"]) / 80
        checkpoint = descended(objective, layers, before, shares, 0.1, 1600)
        tuned = descended(objective, checkpoint, after, shares, rate, 80)
        share = slope_and_loss(objective, tuned[1] @ tuned[0], after, shares)[1] / float(
            cell["finetune_loss_before"][-1]
        )
        assert abs(share / 0.3 - 1) < 0.3  # read between rates a factor of 2 apart, over which losses fall tenfold
        curve = cell["matched_curve"]
        np.testing.assert_allclose(cell["matched_harm"], curve[-1] / curve.min() - 1, rtol=0.05, atol=1e-3)


def test_noise_is_averaged_as_it_costs():
    rng = np.random.default_rng(0)
    weights = tuple(jnp.asarray(rng.standard_normal((4, 4))) for _ in "ab")
    task = LinearTask.from_target(rng.standard_normal((4, 4)), np.diag([0.4, 0.3, 0.2, 0.1]))
    seen = type("Seen", (), {"pretrain": SeenTask.of(task, np.float64), "weights": weights})
    with jax.enable_x64(True):
        told = np.asarray(under_noise((0.05, 0.3)).of(seen))
    for mean, scale in zip(told, (0.05, 0.3), strict=True):
        exact = float(expected_loss(weights, task.target, jnp.asarray([scale, scale]), task.input_covariance))
        drawn = []
        for _ in range(4000):
            first, second = (np.asarray(weight) + scale * rng.standard_normal((4, 4)) for weight in weights)
            drawn.append(task.loss_of(second @ first))
        # 128 draws, in pairs of both signs, which vary less than single ones: 5 standard errors.
        assert abs(mean - exact) < 5 * np.std(drawn) / np.sqrt(128)


def test_hard_labels_have_no_progressive_sensitivity(small):
    left = fisher_left(small).isel(seed=0).sel(shift=STRENGTHENED)
    assert float(left.sel(objective=SQUARED)) > 0.99
    assert float(left.sel(objective=HARD)) < 0.5
    assert float(small["noise_harm"].sel(objective=HARD, shift=STRENGTHENED).max()) == 0


def test_what_is_immaterial_does_not_count():
    harm, excess = (xr.DataArray([0.5, 0.5, np.nan, np.inf]), xr.DataArray([1e-5, 0.1, np.nan, np.inf]))
    np.testing.assert_array_equal(material_harm(harm, excess), [0, 0.5, np.nan, np.inf])


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    # What these configurations change of the result, which is computed once.
    budgets = slice(None) if config.budgets == CONFIG.budgets else [0, -1]
    found = find(small.assign_attrs(short=config.short).isel(pretrain_steps=budgets))
    assert found.verdict == verdict, found.sentence


def test_teachers_that_differ_too_much_tell_nothing(small):
    harm = small["counted_finetune_harm"].isel(seed=[0, 0, 0]).copy()
    rate = {"shift": RELABELLED, "learning_rate": 1 / 80}
    harm.loc[{"objective": HARD, **rate}] = [0.0, 0.3, 0.9]
    harm.loc[{"objective": SQUARED, **rate}] = [0.0, 0.1, 0.6]
    names = ["matched_harm", "confident_harm", "noise_harm", "tuned_finetune_harm", "diverged", "unstable"]
    wide = small[names].isel(seed=[0, 0, 0]).assign(counted_finetune_harm=harm).assign_attrs(small.attrs)
    found = find(wide)
    assert found.verdict == "cannot tell"
    assert "differ too much" in found.sentence


def test_the_table_has_a_row_for_each_objective(small):
    lines = table(small)
    assert len(lines) == 5
    assert all(any(name in line for line in lines) for name in (SQUARED, SOFT, HARD, SMOOTHED))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--smoothing", "1"], "smoothing: got 1.0"),
        (["--dim", "1"], "dim: got 1"),
        (["--short", "3"], "short: got 3.0; allowed: one of the times"),
        (["--strengths", "8"], "strengths: got (8.0,); allowed: others than --strength"),
        (["--level", "1"], "level: got 1.0"),
        (["--times", "1", "0.5"], "times: got"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
