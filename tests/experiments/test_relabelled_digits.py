"""Relabelled digits: descent and held-out losses against NumPy, the split, what is told apart, and the conclusion."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.digits import load
from experiments.relabelled_digits import Config, experiment, main
from experiments.relabelled_digits.finding import find, table
from experiments.relabelled_digits.heldout import harms
from experiments.relabelled_digits.images import HARD, NEW, OBJECTIVES, RELABELLED, SHIFTS, SMOOTHED, SQUARED, Images
from linsim.sweeping.running import running
from tests.computed import computed

CONFIG = Config(
    per_digit=8,
    components=6,
    seeds=1,
    steps=600,
    first=20,
    budgets=7,
    finetune_steps=40,
    times=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    noise=(0.3,),
)
VERDICTS = {
    "margins that are unlearned": (CONFIG, "seen"),
    "time enough to unlearn them": (replace(CONFIG, short=32.0), "not seen"),
    "too few budgets": (replace(CONFIG, budgets=2), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    with running(recheck=0):
        return computed(experiment, CONFIG)


def drawn(shift):
    """Of the first sample, for both tasks: images and names that are trained on, and those that are held out.

    Which images these are is the experiment's draw; all else is worked out here.
    """
    pixels, digits = load()
    sample = Images(8, 6, 0.1, 0).sample(0)
    rng = np.random.default_rng([0, 0])
    chosen = np.concatenate([rng.permutation(np.flatnonzero(digits == digit))[:8] for digit in range(10)])
    trained = np.isin(np.arange(len(digits)), chosen)
    centred = pixels - pixels[trained].mean(axis=0)
    variances, directions = np.linalg.eigh(centred[trained].T @ centred[trained])
    inputs = centred @ directions[:, np.argsort(-variances)[:6]]
    signs = np.sign(np.sum(inputs[trained] * sample.trained.pixels, axis=0))  # of a component: either
    inputs = inputs * signs
    names = digits.copy()
    for digit, other in zip(sample.half, [*sample.half[1:], sample.half[0]], strict=True):
        names[digits == digit] = other
    some = np.isin(digits, sample.half)
    pairs = ((~some, digits), (some, digits)) if shift == NEW else ((~some | some, digits), (~some | some, names))
    return [
        ((inputs[on & trained], told[on & trained]), (inputs[on & ~trained], told[on & ~trained])) for on, told in pairs
    ]


def labels_of(objective, names):
    """A row for each image."""
    hard = np.eye(10)[names]
    return {SQUARED: hard - 0.1, HARD: hard, SMOOTHED: 0.9 * hard + 0.01}[objective]


def slope_and_loss(objective, product, images):
    """dL/dP and the mean loss over images, above the entropy of labels, in NumPy alone."""
    inputs, names = images
    labels, outputs = labels_of(objective, names), inputs @ product.T
    if objective == SQUARED:
        return 2 * (outputs - labels).T @ inputs / len(inputs), np.mean(np.sum((outputs - labels) ** 2, axis=1))
    predicted = np.exp(outputs) / np.exp(outputs).sum(axis=1)[:, None]
    logs = np.where(labels > 0, np.log(np.where(labels > 0, labels, 1)) - np.log(predicted), 0)
    return (predicted - labels).T @ inputs / len(inputs), np.mean(np.sum(labels * logs, axis=1))


def descended(objective, layers, images, rate, steps):
    """Gradient descent of two layers, in NumPy alone."""
    first, second = layers
    for _ in range(steps):
        slope, _ = slope_and_loss(objective, second @ first, images)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


def least_of_any_map(images):
    """Mean squared error of the least-squares map."""
    labels = labels_of(SQUARED, images[1])
    solution = np.linalg.lstsq(images[0], labels, rcond=None)[0]
    return np.mean(np.sum((images[0] @ solution - labels) ** 2, axis=1))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("shift", SHIFTS)
def test_losses_errors_and_traces_are_those_of_a_script_in_numpy(small, objective, shift):
    at = small.sel(objective=objective, shift=shift).isel(seed=0)
    cell = at.isel(pretrain_steps=5, learning_rate=3)
    (before, before_held), (after, after_held) = drawn(shift)
    start = at["initial_weights_1"].values, at["initial_weights_2"].values
    checkpoint = descended(objective, start, before, 0.2, int(cell["pretrain_steps"]))
    tuned = descended(objective, checkpoint, after, float(cell["learning_rate"]), 40)
    product = tuned[1] @ tuned[0]
    for name, images in (("pretrain", before), ("finetune", after)):
        told = slope_and_loss(objective, product, images)[1]
        told -= least_of_any_map(images) if objective == SQUARED else 0
        # The same recurrence in float64: rounding of some hundred steps, which a saddle may grow a thousand times.
        np.testing.assert_allclose(cell[f"{name}_loss_after"], told, rtol=1e-9)
    told = slope_and_loss(objective, checkpoint[1] @ checkpoint[0], before_held)[1]
    np.testing.assert_allclose(cell["heldout_pretrain_loss_before"], told, rtol=1e-9)
    for name, images in (("pretrain", before_held), ("finetune", after_held)):
        np.testing.assert_allclose(
            cell[f"heldout_{name}_loss_after"], slope_and_loss(objective, product, images)[1], rtol=1e-9
        )
    wrong = np.mean(np.argmax(after_held[0] @ product.T, axis=1) != after_held[1])
    np.testing.assert_allclose(cell["heldout_finetune_errors"], wrong)
    kept = ~np.isin(before[1], Images(8, 6, 0.1, 0).sample(0).half)
    told = slope_and_loss(objective, product, (before[0][kept], before[1][kept]))[1]
    np.testing.assert_allclose(cell["kept_loss_after"], told, rtol=1e-9)
    trace, (first, second) = 0.0, checkpoint
    for x in before[0]:
        rows = np.concatenate([np.kron(second, x), np.kron(np.eye(10), first @ x)], axis=1)  # derivative of the outputs
        if objective == SQUARED:
            trace += np.sum(rows**2) / len(before[0])
        else:
            p = np.exp(second @ first @ x) / np.exp(second @ first @ x).sum()
            trace += np.sum(p * np.sum((rows - p @ rows) ** 2, axis=1)) / len(before[0])
    np.testing.assert_allclose(cell["fisher_trace"], trace, rtol=1e-9)


def test_a_split_has_as_many_images_of_each_digit_and_no_image_twice():
    images = Images(30, 12, 0.1, 0)
    samples = [images.sample(number) for number in range(3)]
    for sample in samples:
        np.testing.assert_array_equal(np.bincount(sample.trained.digits), 30)
        assert len(sample.trained.digits) + len(sample.heldout.digits) == 1797
        rows = np.concatenate([sample.trained.pixels, sample.heldout.pixels]).round(9)
        assert len(np.unique(rows, axis=0)) > 1790  # but for images that hardly differ
        np.testing.assert_allclose(sample.trained.pixels.mean(axis=0), 0, atol=1e-12)
    assert not np.array_equal(samples[0].trained.pixels, samples[1].trained.pixels)
    assert len({tuple(sorted(sample.half)) for sample in samples}) > 1


def test_a_shift_renames_half_of_the_digits_or_has_the_other_half():
    images = Images(10, 5, 0.1, 0)
    sample = images.sample(1)
    before, after = images.pair(sample.trained, sample.half, RELABELLED)
    renamed = np.isin(before.digits, sample.half)
    assert np.all((before.digits != after.digits) == renamed)
    assert set(after.digits[renamed]) == set(sample.half)
    first, second = images.pair(sample.heldout, sample.half, NEW)
    assert set(second.digits) == set(sample.half)
    assert not set(first.digits) & set(second.digits)


def test_harm_before_overfitting_looks_no_further():
    budgets, rates = np.array([1, 2, 4, 8]), [0.1]
    curve = np.array([4.0, 1.0, 1.5, 3.0]).reshape(1, 4, 1)
    dims = ("seed", "pretrain_steps", "learning_rate")
    found = xr.Dataset(
        {
            "finetune_loss_after": (dims, curve),
            "heldout_finetune_loss_after": (dims, curve + 1),
            "heldout_pretrain_loss_before": (dims[:2], np.array([[3.0, 2.0, 1.0, 2.0]])),
            "kept_loss_after": (dims, curve),
            "diverged": (dims, np.zeros((1, 4, 1), bool)),
            "finetune_zero_loss": ("seed", [1.0]),
            "heldout_finetune_zero_loss": ("seed", [1.0]),
            "finetune_harm": (("learning_rate", "seed"), [[2.0]]),
            "finetune_excess": (("learning_rate", "seed"), [[2.0]]),
        },
        {"pretrain_steps": budgets, "learning_rate": rates, "seed": [0]},
    )
    told = {name: float(values.values.squeeze()) for name, values in harms(found).items()}
    assert told["stopped_steps"] == 4
    assert told["stopped_finetune_harm"] == 0.5
    assert told["stopped_heldout_finetune_harm"] == 0.25
    np.testing.assert_allclose(told["overfit_harm"], 1.0, rtol=0.1)  # between budgets a spline is lower
    np.testing.assert_allclose(told["counted_heldout_finetune_harm"], 1.0, rtol=0.1)
    np.testing.assert_allclose(told["tuned_heldout_finetune_harm"], 1.0, rtol=0.1)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    # What these configurations change of the result, which is computed once.
    budgets = slice(None) if config.budgets == CONFIG.budgets else [0, -1]
    found = find(small.assign_attrs(short=config.short).isel(pretrain_steps=budgets))
    assert found.verdict == verdict, found.sentence
    assert "nan" not in found.sentence


def test_samples_that_differ_too_much_tell_nothing(small):
    wide = small.isel(seed=[0, 0, 0]).copy(deep=True)
    at = {"shift": RELABELLED, "learning_rate": 1 / 40}
    wide["counted_finetune_harm"].loc[{"objective": HARD, **at}] = [0.0, 0.3, 0.9]
    wide["counted_finetune_harm"].loc[{"objective": SQUARED, **at}] = [0.0, 0.1, 0.6]
    found = find(wide)
    assert found.verdict == "cannot tell"
    assert "differ too much" in found.sentence


def test_the_table_has_a_row_for_each_objective_and_shift(small):
    lines = table(small)
    assert len(lines) == 7
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--per-digit", "174"], "per_digit: got 174; allowed: an integer >= 1 and <= 173"),
        (["--components", "65"], "components: got 65"),
        (["--smoothing", "1"], "smoothing: got 1.0"),
        (["--short", "3"], "short: got 3.0; allowed: one of the times"),
        (["--level", "1"], "level: got 1.0"),
        (["--noise", "0"], "noise: got"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
