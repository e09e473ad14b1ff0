"""Limits and thresholds of fine-tuning against descent on the scalar chains, in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from linsim.theory.stages import (
    critical_effort,
    critical_ratios,
    critical_time,
    harm_limits,
    learning_time,
    misaligned,
    stage_losses,
    tuned,
    tuned_limit,
)

strengths = st.floats(0.2, 3)
penalties = st.floats(0, 3)


def descend(checkpoint, finetune, penalty, time, rate=2e-5):
    """Two equal layers w, s = w^2, by gradient descent with small steps."""
    w = np.sqrt(checkpoint)
    for _ in range(round(time / rate)):
        w = w - 2 * rate * w * ((w * w - finetune) + penalty * (w * w - checkpoint))
    return w * w


def test_fine_tuning_follows_descent_with_the_penalty():
    # A step is a relative change of at most 4 (1 + lambda) s rate = 1e-3 of the distance to go: so is its error.
    for case in ((0.5, 2.0, 0.0, 0.3), (1.0, 3.0, 1.5, 0.2), (2.0, 0.5, 0.5, 0.4)):
        assert float(tuned(*case)) == pytest.approx(descend(*case), rel=1e-3)


@given(strengths, strengths, penalties)
def test_long_fine_tuning_ends_at_the_limit(checkpoint, finetune, penalty):
    # 4 (1 + lambda) s T >= 4 * 0.2 * 100: e^-80 is left of the way.
    assert float(tuned(checkpoint, finetune, penalty, 100.0)) == pytest.approx(
        float(tuned_limit(checkpoint, finetune, penalty)), rel=1e-12
    )


def test_an_absent_mode_stays_absent():
    assert float(tuned_limit(0.0, 2.0)) == 0
    assert float(tuned(0.0, 2.0, 0.5, 1e3)) == 0


@given(strengths, penalties, st.sampled_from([0.5, 0.99, 1.01, 3.0]))
def test_a_mode_is_misaligned_beyond_two_plus_lambda(pretrain, penalty, factor):
    finetune = (2 + penalty) * pretrain * factor
    assert bool(misaligned(pretrain, finetune, penalty)) == (factor > 1)
    without = pretrain**2
    learned = (float(tuned_limit(pretrain, finetune, penalty)) - pretrain) ** 2
    assert (learned > without) == (factor > 1)


@given(strengths, penalties, st.floats(1.05, 4), st.sampled_from([0.5, 0.9, 1.1, 3.0]))
def test_harm_begins_at_the_critical_rate_times_steps(pretrain, penalty, excess, share):
    finetune = (2 + penalty) * pretrain * excess
    time = float(critical_time(pretrain, finetune, penalty))
    harmed = float(tuned(pretrain, finetune, penalty, share * time)) > 2 * pretrain
    assert harmed == (share > 1)


@given(st.floats(-3, 3), st.floats(-9, 9), penalties)
def test_exactly_the_misaligned_modes_have_a_critical_time(pretrain, finetune, penalty):
    assert np.isfinite(critical_time(pretrain, finetune, penalty)) == bool(misaligned(pretrain, finetune, penalty))


def test_the_critical_time_is_meant_in_the_sign_of_the_mode():
    assert float(critical_time(-1.0, -3.0)) == float(critical_time(1.0, 3.0))
    assert float(critical_time(0.0, 1.0)) == np.inf


def test_a_mode_that_is_not_misaligned_has_no_critical_time():
    assert float(critical_time(1.0, 2.0)) == np.inf
    assert float(critical_time(1.0, 2.9, 1.0)) == np.inf


@given(st.tuples(strengths, strengths, strengths), st.tuples(strengths, strengths, strengths), penalties)
def test_stage_losses_are_those_of_the_rank_n_checkpoints(pretrain, finetune, penalty):
    pretrain, finetune = np.asarray(pretrain), np.asarray(finetune)
    losses = np.asarray(stage_losses(pretrain, finetune, penalty))
    for stage in range(4):
        checkpoint = np.where(np.arange(3) < stage, pretrain, 0.0)
        end = np.asarray(tuned(checkpoint, finetune, penalty, 200.0))
        assert losses[stage] == pytest.approx(np.sum((end - pretrain) ** 2), rel=1e-10, abs=1e-12)


def test_the_critical_effort_is_the_critical_time_at_any_depth():
    pull = 2 + np.geomspace(1e-6, 50, 200)
    # sigma = 1, lambda = 0: rho is the ratio, and effort the flow time.
    stated = critical_time(np.ones_like(pull), pull)
    np.testing.assert_allclose(critical_effort(2, pull), stated, rtol=1e-9)  # quadrature, to rounding
    for at in pull[[60, 120, 199]]:
        time, _ = quad(lambda s, rho=at: 1 / (8 * s**1.5 * (rho - s)), 1, 2, epsrel=1e-10)
        assert float(critical_effort(4, at)) == pytest.approx(time, rel=1e-7)


def test_limits_change_sign_at_the_critical_ratios():
    for penalty in (0.0, 0.5, 2.0):
        for which, critical in enumerate(critical_ratios(penalty)):
            if penalty > 0 or which == 0:
                around = critical + np.array([-1e-3, 0.0, 1e-3])
                harm = harm_limits(around, penalty)[which]
                np.testing.assert_array_equal(np.sign(np.round(harm, 12)), [-1, 0, 1])  # of numbers near 1
    assert np.isnan(critical_ratios(0.0)[1])
    never, anyway = harm_limits(np.array([-3.0, 0.0, 1.0, 9.0]), 0.0)
    np.testing.assert_allclose(never, [0, 0, -1, 63])
    np.testing.assert_allclose(anyway, 0)


def test_the_learning_time_is_that_of_the_logistic_curve():
    begun, goal = 1e-3, 0.8
    time = learning_time(2, begun, goal)
    np.testing.assert_allclose(time, np.log(goal / begun - 1) / (4 * goal), rtol=1e-9)
    # The penalty acts like a faster clock and a nearer limit.
    limit = (goal + 2 * begun) / 3
    time = learning_time(2, begun, goal, 2.0)
    np.testing.assert_allclose(time, np.log(limit / begun - 1) / (4 * 3 * limit), rtol=1e-9)
    others = learning_time(2, np.array([0.0, 0.1, 0.7]), np.array([1.0, -1.0, 0.8]))
    np.testing.assert_array_equal(others, [np.inf, np.inf, 0.0])
