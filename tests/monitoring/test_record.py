"""Records over checkpoints, and the callback that stops a training loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm
from linsim.monitoring.measuring import Monitor
from linsim.monitoring.predictive import SQUARED_ERROR, Predictive
from linsim.monitoring.record import Record, Watch

LOSS = Predictive(lambda params, inputs: inputs @ params["map"], SQUARED_ERROR)
BATCHES = [(jnp.eye(3), jnp.eye(3))]
ALARM = Alarm(window=3, consecutive=2)


def reading(value, error=0.0):
    return {"fisher": Estimate(value, error)}


def growing(watch, rate, most=50):
    """The budget at which a watch stops a loop whose parameters, and so the noise increase, grow exponentially."""
    for step in range(1, most):
        if watch(step, {"map": jnp.eye(3) * np.exp(rate * step)}):
            return step
    return None


def test_a_loop_stops_as_soon_as_the_record_rings():
    watch = Watch(Monitor(LOSS, ("noise_increase",)), BATCHES, measure="noise_increase", alarm=ALARM)
    stopped = growing(watch, rate=0.5)  # relative noise: the increase grows by e^(2 rate) a step, growth = 2 rate step
    budgets = np.arange(1, stopped + 1)
    assert watch.record.budgets == budgets.tolist()
    means, errors = watch.record.series("noise_increase")
    np.testing.assert_allclose(np.diff(np.log(means)), 1.0, rtol=1e-6)
    watched = watch.record.watch("noise_increase", ALARM)
    assert watched.first == stopped - 1
    np.testing.assert_array_equal(watched.rings, ALARM.watch(budgets, means, errors).rings)


def test_a_loop_whose_monitor_rests_goes_on():
    watch = Watch(Monitor(LOSS, ("noise_increase",)), BATCHES, measure="noise_increase", alarm=ALARM)
    assert growing(watch, rate=0.0, most=12) is None


def test_all_checkpoints_share_their_random_numbers():
    watch = Watch(Monitor(LOSS, ("fisher",)), BATCHES)
    for step in (1, 2):
        watch(step, {"map": jnp.eye(3)})
    first, second = watch.record.readings
    assert first == second


@pytest.mark.parametrize("integer", [int, np.int64, jnp.int32])
def test_budgets_may_be_integers_of_any_library(integer):
    watch = Watch(Monitor(LOSS, ("fisher",)), BATCHES)
    watch(integer(3), {"map": jnp.eye(3)})
    assert watch.record.budgets == [3] and type(watch.record.budgets[0]) is int


def test_a_bad_budget_is_told_before_anything_is_measured():
    measured = []
    watch = Watch(
        Monitor(lambda params, batch: measured.append(1) or jnp.sum(params), ("hessian_trace",)),
        BATCHES,
        measure="hessian_trace",
    )
    for bad in (0, 1.5, True):
        with pytest.raises(InvalidInput, match="budget: got"):
            watch(bad, jnp.ones(3))
    assert not measured


def test_a_record_becomes_a_dataset_with_errors_beside_means():
    record = Record()
    record.add(10, reading(1.0, 0.1))
    record.add(30, reading(2.0, 0.2))
    dataset = record.to_dataset()
    np.testing.assert_array_equal(dataset["pretrain_steps"], [10, 30])
    np.testing.assert_array_equal(dataset["fisher"], [1.0, 2.0])
    np.testing.assert_array_equal(dataset["fisher_error"], [0.1, 0.2])


def test_what_was_recorded_survives_a_loss_that_became_nan():
    watch = Watch(Monitor(LOSS, ("fisher",)), BATCHES)
    watch(1, {"map": jnp.eye(3)})
    with pytest.raises(InvalidInput, match="loss: got nan"):
        watch(2, {"map": jnp.eye(3) * jnp.nan})
    assert watch.record.budgets == [1]


def two_readings(first, second):
    record = Record()
    record.add(*first)
    record.add(*second)


def switched():
    watch = Watch(Monitor(LOSS, ("fisher",)), BATCHES)
    watch(1, {"map": jnp.eye(3)})
    watch(2, {"map": jnp.ones((3, 2))})


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: Record([5], [reading(1.0)]).watch("fisher", ALARM),
            "checkpoints: got 1; allowed: at least 2, and 4 for this alarm to ring",
        ),
        (
            lambda: two_readings((5, reading(1.0)), (5, reading(1.0))),
            "budget: got 5; allowed: more steps than the 5 of the checkpoint before",
        ),
        (
            lambda: two_readings((5, reading(1.0)), (6, {})),
            "reading: got {}; allowed: a mapping, name of a measure -> its Estimate",
        ),
        (lambda: Record().series("fisher"), "measure: got fisher; allowed: one of none: the record is empty"),
        (lambda: Record([5], [reading(1.0)]).series("top"), "measure: got top; allowed: one of fisher"),
        (switched, "params['map']: got (3, 2); allowed: (3, 3), as in the first checkpoint"),
        (
            lambda: Watch(Monitor(LOSS, ("fisher",)), BATCHES, measure="hessian_trace"),
            "measure: got hessian_trace; allowed: one of fisher",
        ),
        (
            lambda: Watch(Monitor(LOSS, ("fisher",)), iter(BATCHES)),
            "batches: got <list_iterator",
        ),
    ],
)
def test_bad_input_is_one_line(call, line):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert str(caught.value) == line or str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
