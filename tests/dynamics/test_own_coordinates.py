"""Both layers along the flow, entry by entry, against numerical integration of their differential equation."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from linsim.dynamics.in_turn import train
from linsim.dynamics.matrices import own_coordinates
from linsim.dynamics.matrices.matrix_flow import matrix_flow
from linsim.phase import Phase
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, random_basis
from tests.dynamics.test_matrix_flow import BETWEEN, NARROW, WIDE, facing, starts, targets

# One step of Runge-Kutta is right to 1e-13 and there are some hundreds, whose errors in the rotation add up.
TOLERANCE = 1e-11


def integrated(weights, target, time, weight_decay=0.0, covariance=None):
    """Weights after a time, by DOP853 on the entries of all layers."""
    covariance = np.eye(target.shape[1]) if covariance is None else covariance
    splits = np.cumsum([weight.size for weight in weights])[:-1]

    def slope(_, entries):
        layers = [part.reshape(weight.shape) for part, weight in zip(np.split(entries, splits), weights, strict=True)]
        pull = 2 * ((layers[1] @ layers[0] if len(layers) == 2 else layers[0]) - target) @ covariance
        slopes = (layers[1].T @ pull, pull @ layers[0].T) if len(layers) == 2 else (pull,)
        both = zip(slopes, layers, strict=True)
        return -np.concatenate([(slope + weight_decay * layer).ravel() for slope, layer in both])

    begin = np.concatenate([weight.ravel() for weight in weights])
    smallest = 1e-14 * np.min(np.abs(begin[begin != 0]), initial=1.0)
    ends = solve_ivp(slope, (0.0, time), begin, method="DOP853", rtol=1e-13, atol=max(smallest, 1e-22)).y[:, -1]
    return [part.reshape(weight.shape) for part, weight in zip(np.split(ends, splits), weights, strict=True)]


def apart(ours, theirs):
    """The largest difference of an entry, over the largest entry of all layers."""
    largest = max(float(np.max(np.abs(layer))) for layer in theirs)
    return max(float(np.max(np.abs(a - b))) for a, b in zip(ours, theirs, strict=True)) / largest


@pytest.mark.sampled(3)
@pytest.mark.parametrize("scale", [0.7, 1e-2, 1e-5])
@pytest.mark.parametrize(
    ("shape", "balance", "decay"),
    [(NARROW, 0.0, 0.0), (NARROW, -1.3, 0.0), (BETWEEN, 0.7, 0.0), (BETWEEN, 0.0, 0.3), (WIDE, 0.0, 0.0)],
)
def test_both_layers_are_those_of_integration_before_and_after_every_transition(shape, balance, decay, scale):
    weights, target = starts(shape, scale, balance, 2), targets(shape, [2.0, 1.0], 3)
    times = np.asarray([9.0, 0.1, 0.5, 3.0])
    found = matrix_flow(weights, target, times, decay)
    for number, time in enumerate(times):
        expected = integrated(weights, target, time, decay)
        assert apart([layer[number] for layer in found], expected) < TOLERANCE


def test_a_layer_follows_tasks_one_after_another_with_the_rotation_that_each_leaves():
    ours = theirs = starts((3, 3, 3), 0.1, 0.0, 1)
    for number in range(3):
        target = targets((3, 3, 3), [2.0, 1.0], number)
        ours = matrix_flow(ours, target, 1.5)
        theirs = integrated(theirs, target, 1.5)
    assert apart(ours, theirs) < 3 * TOLERANCE


def test_a_transition_at_the_end_of_a_long_step_is_seen():
    # Cut evenly, one of the steps passes over it and agrees with itself: 9e-11 off.
    target = targets((3, 3, 3), [2.0, 1.0, 0.3], 18)
    weights = facing(starts((3, 3, 3), 1e-3, 0.0, 18), target)
    assert apart(matrix_flow(weights, target, 6.0), integrated(weights, target, 6.0)) < TOLERANCE


def test_times_on_the_way_do_not_move_the_end_and_late_ones_take_few_steps(monkeypatch):
    weights, target = starts((3, 3, 3), 1e-3, 0.0, 4), targets((3, 3, 3), [1.0, 0.999], 4)
    steps = []
    followed = own_coordinates._followed
    monkeypatch.setattr(own_coordinates, "_followed", lambda *given: steps.append(given[2]) or followed(*given))
    once = matrix_flow(weights, target, 1e9)
    assert len(steps) < 60  # 30 doublings from 1 to 1e9, and the transitions
    often = matrix_flow(weights, target, np.geomspace(1.0, 1e9, 30))
    assert apart([layer[-1] for layer in often], once) < TOLERANCE


def test_without_the_rotation_layers_would_be_off(monkeypatch):
    # The control of the above: a rotation that is not followed shows in the layers, and in nothing else.
    weights, target = starts((3, 3, 3), 0.5, 0.0, 1), targets((3, 3, 3), [2.0, 1.0], 3)
    expected = integrated(weights, target, 2.0)
    monkeypatch.setattr(own_coordinates, "_transported", untransported(own_coordinates._transported))
    found = matrix_flow(weights, target, 2.0)
    assert apart(found, expected) > 1e6 * TOLERANCE
    assert apart([found[1] @ found[0]], [expected[1] @ expected[0]]) < TOLERANCE


def untransported(transported):
    def still(rows, rates, pivots, times):
        turn, later = transported(rows, rates, pivots, times)
        return np.eye(len(turn)), later

    return still


@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_one_layer_is_that_of_integration_on_any_task(decay):
    rng = np.random.default_rng(0)
    target, start = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    covariance = power_covariance(random_basis(4, rng), 1.5)
    times = np.asarray([[0.0, 0.2], [3.0, 1e6]])
    (found,) = matrix_flow((start,), target, times, decay, input_covariance=covariance)
    assert found.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(found[0, 0], start)
    for at, time in (((0, 1), 0.2), ((1, 0), 3.0)):
        # An exponential: as right as the steps of the integrator, whose errors fade.
        assert apart([found[at]], integrated([start], target, time, decay, covariance)) < 1e-12
    limit = target @ covariance @ np.linalg.inv(covariance + decay / 2 * np.eye(4))
    np.testing.assert_allclose(found[1, 1], limit, rtol=0, atol=1e-13)


def test_two_layers_take_white_inputs_of_any_variance():
    weights, target = starts(BETWEEN, 0.3, 0.0, 1), targets(BETWEEN, [2.0, 1.0], 3)
    found = matrix_flow(weights, target, 1.1, 0.2, input_covariance=0.5 * np.eye(2))
    assert apart(found, integrated(weights, target, 1.1, 0.2, 0.5 * np.eye(2))) < TOLERANCE


@pytest.mark.sampled(2)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("penalty", [None, 0.5])
def test_training_by_flow_returns_weights_in_their_own_coordinates(depth, penalty):
    rng = np.random.default_rng(1)
    tasks = [
        LinearTask.create(np.asarray([2.0, 1.0]), left=random_basis(2, rng), right=random_basis(2, rng))
        for _ in range(2)
    ]
    start = starts((2, 2, 2), 0.5, 0.0, 1)[:depth]
    phase = Phase(0.01, product_penalty=penalty, weight_decay=0.2)
    theirs = start
    for task in tasks:
        pull, begin = 1 + (penalty or 0.0), np.linalg.multi_dot([np.eye(2), *theirs[::-1]])
        goal = (task.target + (penalty or 0.0) * begin) / pull
        theirs = integrated(theirs, goal, 1.3 * pull, 0.2 / pull)
    found = train(start, [(task, phase, 130) for task in tasks], solver="flow").weights
    assert apart(found, theirs) < 2 * TOLERANCE
