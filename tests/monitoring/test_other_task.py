"""The loss of the fine-tuning task as a monitor, and a watched run that is stopped by a forecast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim as ls

KEY = jax.random.key(0)
INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
BASE, LATER = jnp.array([[2.0, 0], [0, 1]]), jnp.array([[2.0, 0], [0, 4]])
LOSS = ls.Predictive(lambda weights, x: x @ weights.T, ls.SQUARED_ERROR)


def batches(target):
    return [(INPUTS[:3], INPUTS[:3] @ target.T), (INPUTS[3:], INPUTS[3:] @ target.T)]


def test_both_are_told_with_their_errors():
    monitor = ls.Monitor(LOSS, ["loss_ratio", "finetune_loss"], finetune=batches(LATER))
    weights = 0.3 * BASE
    reading = monitor.measure(weights, batches(BASE), KEY)
    assert set(reading) == {"loss_ratio", "finetune_loss", "loss"}
    base, later = (float(np.mean(np.sum((INPUTS @ (weights - each).T) ** 2, axis=1))) for each in (BASE, LATER))
    assert float(reading["finetune_loss"].mean) == pytest.approx(later, rel=1e-5)
    assert float(reading["loss_ratio"].mean) == pytest.approx(later / base, rel=1e-5)
    assert float(reading["loss_ratio"].error) > 0


def test_layers_are_told_of_the_other_measures_alone():
    monitor = ls.Monitor(LOSS, ["gradient_square", "loss_ratio"], finetune=batches(LATER), by_layer=True)
    reading = monitor.measure(BASE, batches(BASE + 1), KEY)
    assert not any(name.startswith("loss_ratio@") for name in reading)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"measures": ["loss", "loss"]}, "^measures: got .'loss', 'loss'.; allowed: at least one, each once"),
        ({"measures": ["loss_ratio"]}, "where `finetune` is given"),
        ({"measures": ["loss_ratio"], "finetune": []}, "at least one"),
        ({"measures": ["loss_ratio"], "finetune": 3}, "a list of microbatches"),
        ({"measures": ["loss_ratio"], "finetune": [1, 2]}, r"^finetune\[0\]: got shape \(\)"),
    ],
)
def test_it_needs_batches_of_the_other_task(given, told, unchecked):
    with pytest.raises(ls.InvalidInput, match=told):
        ls.Monitor(LOSS, **given)


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ((INPUTS[:, :1], INPUTS), r"^finetune\[1\]: got shapes \(6, 1\), \(6, 2\); .* fails with TypeError"),
        (np.array(["some", "text"]), r"^finetune\[1\]: got shapes \(2,\); allowed: a microbatch that the loss takes"),
    ],
)
def test_batches_of_the_other_task_that_the_loss_does_not_take_are_named(batch, told, unchecked):
    monitor = ls.Monitor(LOSS, ["loss_ratio"], finetune=[*batches(LATER)[:1], batch])
    with pytest.raises(ls.InvalidInput, match=told):
        monitor.measure(BASE, batches(BASE + 1), KEY)


def test_a_watched_run_is_stopped_by_a_forecast_where_the_alarm_has_not_rung(unchecked):
    """A tail that is wanted four times as strong: the forecast may stop it, and never below three checkpoints."""
    monitor = ls.Monitor(LOSS, ["finetune_loss"], finetune=batches(LATER))
    always = ls.Stopping(chance=1e-6)
    watch = ls.Watch(monitor, batches(BASE), measure="finetune_loss", alarm=always)
    said = [watch(step, (1 - 0.7**step) * BASE) for step in (1, 2, 4)]
    assert said == [False, False, True]
    with pytest.raises(ls.InvalidInput, match="alarm"):
        ls.Watch(monitor, batches(BASE), measure="finetune_loss", alarm=3)
