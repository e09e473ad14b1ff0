"""Inflection points: located in curves whose minimum is known, and predicted against simulation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim import network, shifts, spectra
from linsim.errors import InvalidInput
from linsim.inflection import Prediction, Unpredictable, locate, predict
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.sweep import chart
from linsim.tasks import LinearTask
from tests.problems import aligned_problem

BUDGETS = np.unique(np.geomspace(10, 10_000, 40).round().astype(int))


def test_a_curve_that_never_turns_has_no_inflection_and_no_harm():
    found = locate(BUDGETS, 1.0 / BUDGETS)
    assert np.isnan(found.steps)
    assert found.harm == 0


@given(st.floats(30, 3000), st.floats(0.5, 3), st.floats(0.5, 3))
def test_the_minimum_is_found_between_budgets(turn, fall, rise):
    # L = x^-fall / fall + x^rise / rise with x = budget / turn has its minimum at the turn.
    x = BUDGETS / turn
    curve = x**-fall / fall + x**rise / rise
    found = locate(BUDGETS, curve)
    # A cubic spline is off by O(h^4) in value and O(h^3) in the place of the minimum, h = 0.18 in log budget.
    assert found.steps == pytest.approx(turn, rel=0.02)
    assert found.harm == pytest.approx(curve[-1] / curve.min() - 1)


def test_rounding_is_no_inflection():
    curve = np.maximum(1 / BUDGETS, 1e-3)
    curve[-1] *= 1 + 1e-12
    assert np.isnan(locate(BUDGETS, curve).steps)
    curve[-1] *= 1 + 1e-6
    assert np.isfinite(locate(BUDGETS, curve).steps)


def test_below_the_floor_losses_are_equal():
    curve = np.maximum(1 / BUDGETS**8.0, 1e-30)
    curve[-1] = 5e-29  # the wiggle of a loss that is nothing but rounding
    assert locate(BUDGETS, curve).harm > 1
    found = locate(BUDGETS, curve, floor=1e-24)
    assert found.harm == 0
    assert np.isnan(found.steps)


def test_diverged_lanes_are_kept_out_of_the_minimum_and_count_as_harm():
    curve = np.linspace(2, 1, len(BUDGETS))
    diverged = np.zeros(len(BUDGETS), bool)
    diverged[-5:] = True
    curve[-5:] = 1e-3  # a diverged lane may end on any number
    found = locate(BUDGETS, curve, diverged)
    assert found.steps == BUDGETS[-6]
    assert found.harm == np.inf
    everything = locate(BUDGETS, np.full(len(BUDGETS), np.nan))
    assert np.isnan(everything.steps)
    assert np.isnan(everything.harm)


def test_a_single_budget_and_a_curve_that_rises_from_the_start():
    assert np.isnan(locate(BUDGETS[:1], np.ones(1)).steps)
    assert locate(BUDGETS, BUDGETS.astype(float)).steps == BUDGETS[0]


def test_budgets_and_losses_must_match():
    with pytest.raises(InvalidInput, match="budgets: got 39 values"):
        locate(BUDGETS[1:], np.ones(len(BUDGETS)))


def slow_problem(**changes):
    """Two layers, aligned, with learning rates so small that gradient descent is the flow."""
    task = LinearTask.create(spectra.power_law(4))
    transfer = shifts.shifted(task, shifts.Rescale((2, 3, 4), 4.0))
    initial = stack_seeds([network.identity((4, 4, 4), 3.0)])
    steps = np.unique(np.geomspace(200, 40_000, 50).round().astype(int))
    return replace(Problem(transfer, initial, Phase(5e-4), Phase(1e-4), steps, 1000), **changes)


@pytest.mark.parametrize(
    ("regularizer", "changes"),
    [
        ("product_penalty", {}),
        ("weight_decay", {}),
        ("product_penalty", {"pretrain": Phase(5e-4, weight_decay=0.05)}),
    ],
)
def test_prediction_is_the_limit_of_small_rates(regularizer, changes):
    problem, rates, strengths = slow_problem(**changes), np.asarray([3e-5, 2e-4]), np.asarray([0.0, 0.3])
    prediction = predict(problem, rates, strengths, regularizer)
    assert isinstance(prediction, Prediction)
    result = chart(problem, rates, strengths, regularizer)
    simulated = result["pretrain_loss_after"].values
    # Euler's method lags by eta sigma <= 1e-3 in time; on the rise of a mode the loss moves by a few times that.
    np.testing.assert_allclose(prediction.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())
    turned = ~np.isnan(result["inflection_steps"].values)
    np.testing.assert_array_equal(turned, ~np.isnan(prediction.steps))
    assert turned.any()
    np.testing.assert_allclose(result["inflection_steps"].values[turned], prediction.steps[turned], rtol=0.03)
    np.testing.assert_allclose(1 + result["harm"].values, 1 + prediction.harm, rtol=0.01)


def test_prediction_with_an_input_spectrum_and_random_bases():
    problem = aligned_problem(
        coloured=True,
        pretrain=Phase(5e-4),
        finetune=Phase(1e-4),
        budgets=(1000, 4000, 20_000, 60_000),
        finetune_steps=2000,
    )
    rates, strengths = np.asarray([5e-5, 2e-4]), np.asarray([0.0, 1.0])
    prediction = predict(problem, rates, strengths, "product_penalty")
    simulated = chart(problem, rates, strengths)["pretrain_loss_after"].values
    np.testing.assert_allclose(prediction.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())


def test_a_dropped_factor_would_be_noticed():
    # The same comparison with lambda doubled in the prediction only: the tolerance above can fail.
    problem, rates = slow_problem(), np.asarray([2e-4])
    wrong = predict(problem, rates, np.asarray([0.6]), "product_penalty")
    simulated = chart(problem, rates, np.asarray([0.3]))["pretrain_loss_after"].values
    assert not np.allclose(wrong.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())


@pytest.mark.parametrize(
    ("problem", "regularizer", "reason"),
    [
        (lambda: aligned_problem(3), "product_penalty", "two layers, not 3"),
        (lambda: aligned_problem(idealised=True), "product_penalty", "idealised"),
        (lambda: aligned_problem(pretrain=Phase(0.01, momentum=0.5)), "product_penalty", "plain gradient descent"),
        (lambda: aligned_problem(finetune=Phase(0.01, batch_size=3)), "product_penalty", "not this fine-tuning"),
        (lambda: aligned_problem(), "weight_penalty", "no penalty in weight space"),
        (lambda: slow_problem(initial=(np.eye(4)[None] * 0.1, np.eye(4)[None] * 0.2)), "product_penalty", "balanced"),
        (
            lambda: slow_problem(initial=(np.diag([0.1, 1e-9, 0.1, 0.1])[None], np.diag([0.1, 0, 0.1, 0.1])[None])),
            "product_penalty",
            "balanced",
        ),
        (lambda: slow_problem(pretrain=Phase(0.4)), "product_penalty", "pre-training is unstable"),
        (lambda: slow_problem(initial=(np.ones((1, 4, 4)), np.eye(4)[None])), "product_penalty", "overlapping"),
    ],
)
def test_outside_its_domain_the_prediction_gives_its_reason(problem, regularizer, reason):
    answer = predict(problem(), np.asarray([1e-3]), np.asarray([0.0]), regularizer)
    assert isinstance(answer, Unpredictable)
    assert reason in answer.reason
