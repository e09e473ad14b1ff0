"""Logistic modes in closed form: against integration, brute force, high precision and descent on matrices."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import linsim as ls
from linsim.errors import InvalidInput
from linsim.theory.objectives.logistic import (
    FISHER_PEAK,
    fisher_of_mode,
    flipped_mode,
    hard_label_mode,
    overshoot_threshold,
)


def integrated(start, times, sign):
    """Both weights of a mode, by Runge-Kutta."""

    def velocity(_, weights):
        first, second = weights
        error = sign / (1 + np.exp(sign * first * second))  # of the label less the prediction
        return error * second, error * first

    found = solve_ivp(velocity, (0, times[-1]), [np.sqrt(start)] * 2, "DOP853", times, rtol=1e-12, atol=1e-14)
    return found.y[0] * found.y[1]


@pytest.mark.parametrize("start", [1e-6, 0.3, 2.0, 12.0])
def test_margins_are_learned_and_unlearned_as_by_integration(start):
    times = np.array([0.0, 0.01, 1.0, 8.0, 40.0])
    # 1e-12 a step in some hundred steps; an early error grows with the mode, by e^t until it is learned.
    np.testing.assert_allclose(hard_label_mode(start, times), integrated(start, times, 1), rtol=1e-8)
    np.testing.assert_allclose(flipped_mode(start, times[:4]), integrated(start, times[:4], -1), rtol=1e-8)


def test_at_the_beginning_nothing_has_moved_and_far_on_the_logarithm_leads():
    starts = np.array([1e-60, 1e-9, 1.0, 600.0])
    for mode in (hard_label_mode, flipped_mode):
        np.testing.assert_allclose(mode(starts, 0.0), starts, rtol=1e-13)
    times = np.array([1e4, 1e8, 1e16, 1e64])
    limit = np.log(2 * times * np.log(2 * times))
    ratio = hard_label_mode(1.0, times) / limit
    assert np.all(np.diff(np.abs(ratio - 1)) < 0)
    assert abs(ratio[-1] - 1) < 1e-3
    assert flipped_mode(1e-3, 3.0) < 1e-3 * np.exp(-3.0) * 1.01  # ds/dt -> -s where s is small


def test_the_threshold_is_where_the_loss_is_that_of_nothing_learned():
    for logit in (0.05, 1.0, 4.0, 30.0):
        other = 1 / (1 + np.exp(logit))

        def above(ratio, logit=logit, other=other):
            return np.logaddexp(0, -ratio * logit) + other * ratio * logit - np.log(2)

        wanted = brentq(above, 1.0, 1e3 + 3 * np.exp(logit), xtol=1e-14, rtol=1e-14)
        # The difference of losses of order 1 over its slope a^2 / 4 at small a.
        np.testing.assert_allclose(overshoot_threshold(logit), wanted, rtol=1e-11)
        np.testing.assert_allclose(overshoot_threshold(-logit), wanted, rtol=1e-11)
    told = overshoot_threshold([0.1, 0.5, 1.0, 2.0, 3.0, 5.0])
    np.testing.assert_allclose(told, [2.0017, 2.042, 2.179, 2.895, 4.87, 20.7], rtol=1e-3)
    small, large = np.geomspace(1e-5, 0.3, 9), np.array([8.0, 20.0, 600.0])
    assert np.all(np.abs(overshoot_threshold(small) - 2 - small**2 / 6) < 0.02 * small**4 + 1e-10)
    np.testing.assert_allclose(overshoot_threshold(large), np.log(2) * (1 + np.exp(large)) / large, rtol=1e-2)


def test_the_fisher_trace_of_a_mode_has_its_peak_where_it_says():
    grid = np.linspace(0, 10, 100_001)
    traces = fisher_of_mode(grid)
    assert abs(grid[np.argmax(traces)] - FISHER_PEAK) <= 1e-4
    assert abs(FISHER_PEAK * np.tanh(FISHER_PEAK / 2) - 1) < 1e-15
    task = ls.LinearTask.create(np.array([2.0]), objective=ls.CrossEntropy("hard", link="sigmoid"))
    weights = (np.array([[1.2]]), np.array([[1.2]]))
    with jax.enable_x64(True):
        loss = jax.tree.map(jax.numpy.asarray, task.own_loss)
        told = float(loss.fisher_trace(tuple(map(jax.numpy.asarray, weights))))
    np.testing.assert_allclose(told, fisher_of_mode(1.44), rtol=1e-13)


def test_descent_on_matrices_has_these_modes():
    shares = np.array([0.5, 0.3, 0.2])
    objective = ls.CrossEntropy("hard", link="sigmoid")
    task = ls.LinearTask.create(np.ones(3), input_covariance=np.diag(shares), objective=objective)
    start = ls.identity((3, 3, 3), 1.0)
    rate, steps = 0.002, 4000
    pretrained = ls.train(start, task, ls.Phase(rate), steps)
    modes = np.diag(np.asarray(pretrained.weights[1]) @ np.asarray(pretrained.weights[0]))
    # Descent lags the flow by a multiple of the rate.
    np.testing.assert_allclose(modes, hard_label_mode(np.exp(-2.0), rate * steps * shares), rtol=2 * rate)
    flipped = ls.LinearTask(-task.left, task.strengths, task.right, task.input_covariance, objective=objective)
    tuned = ls.train(pretrained.weights, flipped, ls.Phase(rate), 2000)
    after = np.diag(np.asarray(tuned.weights[1]) @ np.asarray(tuned.weights[0]))
    np.testing.assert_allclose(after, flipped_mode(modes, rate * 2000 * shares), rtol=2 * rate)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: hard_label_mode(0.0, 1.0), "start: got"),
        (lambda: hard_label_mode(1.0, -1.0), "time: got"),
        (lambda: flipped_mode([1.0, 2.0], [1.0, 2.0, 3.0]), "start and time: got start (2,), time (3,)"),
        (lambda: overshoot_threshold(0.0), "logit: got one of size 0"),
        (lambda: overshoot_threshold(np.nan), "logit: got"),
        (lambda: fisher_of_mode(-1.0), "logit: got"),
    ],
)
def test_what_is_no_mode_is_refused_by_name(unchecked, call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
