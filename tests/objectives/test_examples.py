"""Cross-entropy over labelled examples: against plain NumPy, in a sweep, and what it refuses."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim as ls
from linsim.errors import InvalidInput
from linsim.sweeping.results import objectives_of
from linsim.tasks import Transfer

COUNT, INPUTS, OUTPUTS = 40, 3, 4
POINTS = np.random.default_rng(0).standard_normal((COUNT, INPUTS))
CLASSES = np.random.default_rng(1).integers(OUTPUTS, size=COUNT)  # no linear map's


def plain(product, classes, smoothing):
    """Loss above the entropy of the labels and its gradient, an example at a time, in NumPy alone."""
    loss, slope = 0.0, np.zeros_like(product)
    for x, name in zip(POINTS, classes, strict=True):
        label = np.full(OUTPUTS, smoothing / OUTPUTS)
        label[name] += 1 - smoothing
        predicted = np.exp(product @ x) / np.exp(product @ x).sum()
        some = label > 0
        loss += np.sum(label[some] * np.log(label[some] / predicted[some])) / COUNT
        slope += np.outer(predicted - label, x) / COUNT
    return loss, slope


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_and_slope_are_those_of_a_script_in_numpy(smoothing):
    task = ls.classified(POINTS, CLASSES, OUTPUTS, smoothing)
    products = np.random.default_rng(2).standard_normal((3, OUTPUTS, INPUTS))
    wanted = [plain(product, CLASSES, smoothing) for product in products]
    # Sums of hundreds of terms of order 1, in float64.
    np.testing.assert_allclose(task.loss_of(products), [loss for loss, _ in wanted], rtol=1e-12)
    np.testing.assert_allclose(task.own_loss.slope(products), [slope for _, slope in wanted], rtol=0, atol=1e-13)
    in_jax = jax.tree.map(jnp.asarray, task.own_loss)
    np.testing.assert_allclose(in_jax.loss(jnp.asarray(products[0])), wanted[0][0], rtol=1e-12)


def test_a_sweep_is_descent_in_numpy_and_its_attributes_are_short():
    other = (CLASSES + 1) % OUTPUTS
    transfer = Transfer(ls.classified(POINTS, CLASSES, OUTPUTS), ls.classified(POINTS, other, OUTPUTS, 0.1))
    start = ls.gaussian((INPUTS, 5, OUTPUTS), 0.3, jax.random.key(0))
    problem = ls.Problem(transfer, ls.stack_seeds([start]), ls.Phase(0.2), ls.Phase(0.1), np.array([5, 40]), 25)
    result = ls.sweep(problem, {"learning_rate": [0.05, 0.4]})
    first, second = (np.asarray(layer) for layer in start)
    for classes, smoothing, rate, steps in ((CLASSES, 0.0, 0.2, 40), (other, 0.1, 0.4, 25)):
        for _ in range(steps):
            slope = plain(second @ first, classes, smoothing)[1]
            first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    lane = result.isel(seed=0, pretrain_steps=1, learning_rate=1)
    # The same recurrence of 65 steps in float64.
    np.testing.assert_allclose(lane["pretrain_loss_after"], plain(second @ first, CLASSES, 0)[0], rtol=1e-11)
    np.testing.assert_allclose(lane["finetune_loss_after"], plain(second @ first, other, 0.1)[0], rtol=1e-11)
    told = json.loads(result.attrs["finetune_objective"])
    assert told["is"] == "LabelledExamples"
    assert np.allclose(told["labels"], transfer.finetune.objective.labels)


def test_many_examples_or_contexts_are_told_by_their_digest():
    points, classes = np.tile(POINTS, (100, 1)), np.tile(CLASSES, 100)
    many = ls.classified(points, classes)
    rows = tuple(map(tuple, points.tolist()))
    contexts = ls.CrossEntropy("hard", inputs=rows, frequencies=(1 / 4000,) * 4000)
    other = replace(many, objective=contexts)
    start, phase = ls.stack_seeds([ls.gaussian((INPUTS, 5, OUTPUTS), 0.3, jax.random.key(0))]), ls.Phase(0.1)
    told = objectives_of(ls.Problem(Transfer(many, other), start, phase, phase, np.array([5]), 5))
    for text in told.values():
        assert json.loads(text)["inputs"].startswith("float64 (4000, 3) ")
        assert len(text) < 300


def test_separable_examples_have_no_least_loss_and_smoothed_ones_have():
    classes = np.eye(3)
    hard, soft = (ls.classified(classes, [0, 1, 2], smoothing=share) for share in (0.0, 0.1))
    losses = np.stack([task.loss_of(np.stack([scale * np.eye(3) for scale in (1, 4, 16)])) for task in (hard, soft)])
    assert losses[0, 0] > losses[0, 1] > losses[0, 2] > 0
    assert losses[1, 2] > losses[1, 1]
    met = np.log(0.9 * np.eye(3) + 0.1 / 3)
    assert soft.loss_of(met.T) < 1e-28  # a square of rounding


def test_equal_examples_are_equal_and_cannot_be_changed():
    one, same = (ls.classified(POINTS, CLASSES).objective for _ in "ab")
    other = ls.classified(POINTS, CLASSES, smoothing=0.1).objective
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    with pytest.raises(ValueError, match="read-only"):
        one.inputs[0, 0] = 1.0


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ls.classified(np.zeros((2, 2)), [0, 1]), "inputs: got inputs that are all 0"),
        (lambda: ls.classified(np.eye(2), [0, 1, 1]), "classes: got 3 of them; allowed: 2"),
        (lambda: ls.classified(np.eye(2), [0, 0.5]), "classes: got"),
        (lambda: ls.classified(np.eye(2), [0, -1]), "classes: got"),
        (lambda: ls.classified(np.eye(2), [0, 3], 3), "classes: got one of 3; allowed: integers from 0 to 2"),
        (lambda: ls.classified(np.eye(2), [0, 0]), "outputs: got 1"),
        (lambda: ls.classified(np.eye(2), [0, 1], smoothing=1.0), "smoothing: got 1.0"),
        (lambda: ls.LabelledExamples(np.eye(2), [[0.5, 0.5]]), "labels: got 1 rows; allowed: 2"),
        (lambda: ls.LabelledExamples(np.eye(2), [[0.5, 0.5], [1.5, -0.5]]), "labels: got an entry of -0.5"),
        (lambda: ls.LabelledExamples(np.eye(2), [[0.5, 0.5], [0.5, 0.6]]), "labels: got a row whose sum is off 1"),
        (lambda: replace(ls.classified(np.eye(2), [0, 1]), input_covariance=np.eye(2)), "input_covariance: got"),
        (lambda: replace(ls.classified(np.eye(2), [0, 1]), label_noise=0.1), "label_noise: got 0.1"),
        (lambda: ls.LinearTask.create([1.0] * 3, objective=ls.classified(np.eye(2), [0, 1]).objective), "target: got"),
    ],
)
def test_bad_input_is_refused_in_one_line(unchecked, make, told):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
