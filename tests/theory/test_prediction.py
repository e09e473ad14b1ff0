"""Predicted inflection points against simulation, in the limit of small rates, and their certificates."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from linsim import network, shifts, spectra
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.sweeping.sweep import chart
from linsim.tasks import LinearTask, random_basis
from linsim.theory.prediction import Prediction, Unpredictable, predict
from tests.problems import aligned_problem


def slow_problem(**changes):
    """Two layers, aligned, with learning rates so small that gradient descent is the flow."""
    task = LinearTask.create(spectra.power_law(4))
    transfer = shifts.shifted(task, shifts.Rescale((2, 3, 4), 4.0))
    initial = stack_seeds([network.identity((4, 4, 4), 3.0)])
    steps = np.unique(np.geomspace(200, 40_000, 50).round().astype(int))
    return replace(Problem(transfer, initial, Phase(5e-4), Phase(1e-4), steps, 1000), **changes)


def both(problem, rates, strengths, regularizer="product_penalty"):
    """The chart, and the prediction at its budgets."""
    result = chart(problem, rates, strengths, regularizer)
    prediction = predict(replace(problem, budgets=result["pretrain_steps"].values), rates, strengths, regularizer)
    assert isinstance(prediction, Prediction)
    return result, prediction


@pytest.mark.sampled(1)
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
    result, prediction = both(problem, rates, strengths, regularizer)
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
    result, prediction = both(problem, rates, strengths)
    simulated = result["pretrain_loss_after"].values
    np.testing.assert_allclose(prediction.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())


def test_a_dropped_factor_would_be_noticed():
    # The same comparison with lambda doubled in the prediction only: the tolerance above can fail.
    problem, rates = slow_problem(), np.asarray([2e-4])
    wrong = predict(problem, rates, np.asarray([0.6]), "product_penalty")
    simulated = chart(problem, rates, np.asarray([0.3]), tolerance=None)["pretrain_loss_after"].values
    assert not np.allclose(wrong.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())


def start(kind):
    """slow_problem from other initial weights, and with other tasks where these ask for them."""
    problem = slow_problem()
    task = problem.transfer.pretrain
    small = np.full(4, np.exp(-6))
    match kind:
        case "depth 3":
            return replace(problem, initial=stack_seeds([network.aligned((4, 4, 4, 4), task, small)]))
        case "depth 1":
            return replace(problem, initial=stack_seeds([network.aligned((4, 4), task, small)]))
        case "aligned with a balance":
            inner, outer = np.diag([0.02, 0.3, 0.01, 0.05]), np.diag([0.1, 0.02, 0.4, 0.05])
            return replace(problem, initial=stack_seeds([[inner, outer]]))
        case "singular vectors that differ" | "balance 0.5, singular vectors that differ":
            rng = np.random.default_rng(4)
            turned = LinearTask.create(spectra.power_law(4), left=random_basis(4, rng), right=random_basis(4, rng))
            transfer = shifts.shifted(turned, shifts.Rescale((2, 3, 4), 4.0), shifts.Rotate(20.0))
            balance = 0.5 if "balance" in kind else 0.0
            first, second = map(np.array, network.lambda_balanced((4, 4, 4), 0.05, balance, jax.random.key(0)))
            if np.linalg.det(second @ first) * np.linalg.det(turned.target) < 0:
                second[0] *= -1  # a flow of balanced layers keeps the sign of det P, and could not learn the last mode
            return replace(problem, transfer=transfer, initial=stack_seeds([[first, second]]))
    raise ValueError(kind)


STARTS = (
    "depth 1",
    "depth 3",
    "aligned with a balance",
    "singular vectors that differ",
    "balance 0.5, singular vectors that differ",
)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", STARTS)
def test_prediction_holds_for_every_start_that_flow_accepts(kind):
    problem, rates, strengths = start(kind), np.asarray([3e-5, 2e-4]), np.asarray([0.0, 0.3])
    result, prediction = both(problem, rates, strengths)
    simulated = result["pretrain_loss_after"].values
    # As above. Where the network does not turn, both must say so.
    np.testing.assert_allclose(prediction.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())
    np.testing.assert_array_equal(np.isnan(result["inflection_steps"].values), np.isnan(prediction.steps))
    turned = ~np.isnan(prediction.steps)
    np.testing.assert_allclose(result["inflection_steps"].values[turned], prediction.steps[turned], rtol=0.03)
    assert turned.any() or kind == "depth 1"
    # Where the minimum is no first budget, from which the curve only rises, it has a certificate.
    inside = prediction.steps > problem.budgets[0]
    low, high = np.moveaxis(prediction.bracket, -1, 0)
    assert np.all((low[inside] < prediction.steps[inside]) & (prediction.steps[inside] < high[inside]))
    assert np.all(high[inside] / low[inside] < 1.01)


def test_a_bracket_holds_the_minimum_seen_from_budgets_around_it():
    problem, rates, strengths = slow_problem(), np.asarray([2e-4]), np.asarray([0.3])
    steps = predict(problem, rates, strengths, "product_penalty").steps.item()
    around = np.asarray([steps * 0.95, steps, steps * 1.05]).round().astype(int)
    curve = predict(replace(problem, budgets=around), rates, strengths, "product_penalty").loss.ravel()
    assert curve[0] > curve[1] < curve[2]


def test_a_mode_that_one_layer_lacks_is_predicted_with_weight_decay():
    # Its imbalance, 1e-18, is nothing beside the target; its size, 1e-9, is what grows.
    weights = [np.diag([0.1, 1e-9, 0.1, 0.1]), np.diag([0.1, 0.0, 0.1, 0.1])]
    problem, rates, strengths = slow_problem(initial=stack_seeds([weights])), np.asarray([2e-4]), np.asarray([0.0, 0.1])
    result, prediction = both(problem, rates, strengths, "weight_decay")
    simulated = result["pretrain_loss_after"].values
    np.testing.assert_allclose(prediction.loss, simulated, rtol=1e-2, atol=1e-3 * simulated.max())


def test_a_flow_of_balanced_layers_cannot_learn_the_last_mode_from_a_determinant_of_the_other_sign():
    # Exactly so; in float64 descent rounding leads away from the saddle, after a time of some ln(1e16) / (4 sigma).
    problem = start("singular vectors that differ")
    first, second = (layer.copy() for layer in problem.initial)
    second[0, 0] *= -1
    stuck = replace(problem, initial=(first, second), budgets=np.asarray([10_000, 14_000, 400_000]))
    rates, strengths = np.asarray([1e-8]), np.asarray([0.0])
    exact = predict(stuck, rates, strengths, "product_penalty").loss.ravel()
    simulated = chart(stuck, rates, strengths)["pretrain_loss_after"].values.ravel()
    weakest = spectra.power_law(4)[-1] ** 2
    np.testing.assert_allclose(exact[:2], weakest, rtol=0.05)
    np.testing.assert_allclose(simulated[:2], weakest, rtol=0.05)
    assert simulated[-1] < 1e-6 * weakest


def test_a_curve_that_only_falls_has_no_turn_and_no_bracket():
    problem = slow_problem()
    same = replace(problem, transfer=shifts.shifted(problem.transfer.pretrain))
    prediction = predict(same, np.asarray([1e-4]), np.asarray([0.0]), "product_penalty")
    assert np.isnan(prediction.steps).all()
    assert np.isnan(prediction.bracket).all()


@pytest.mark.parametrize(
    ("problem", "regularizer", "reason"),
    [
        (lambda: aligned_problem(3), "product_penalty", "weight decay of more than two layers"),
        (lambda: aligned_problem(idealised=True), "product_penalty", "idealised"),
        (lambda: aligned_problem(pretrain=Phase(0.01, momentum=0.5)), "product_penalty", "plain gradient descent"),
        (lambda: aligned_problem(finetune=Phase(0.01, batch_size=3)), "product_penalty", "make fine-tuning a random"),
        (lambda: aligned_problem(), "weight_penalty", "penalty in weight space of fine-tuning"),
        (
            lambda: slow_problem(initial=(np.eye(4)[None] * 0.1, np.eye(4)[None] * 0.2)),
            "weight_decay",
            "weight decay need balanced layers, and the initial weights of a mode differ by 5.0e-01",
        ),
        (lambda: slow_problem(pretrain=Phase(0.4)), "product_penalty", "pre-training is unstable"),
        (
            lambda: slow_problem(initial=(np.ones((1, 4, 4)), np.eye(4)[None])),
            "product_penalty",
            "one layer, not 2, and the initial weights are not lambda-balanced: balance off by 6.9e-01",
        ),
    ],
)
def test_outside_its_domain_the_prediction_gives_its_reason(problem, regularizer, reason):
    answer = predict(problem(), np.asarray([1e-3]), np.asarray([0.0]), regularizer)
    assert isinstance(answer, Unpredictable)
    assert reason in answer.reason


def test_rates_all_beyond_the_edge_leave_nothing_to_predict():
    found = predict(aligned_problem(), np.asarray([50.0, 100.0]), np.asarray([0.0, 1.0]), "product_penalty")
    assert np.isnan(found.harm).all()
    assert np.isnan(found.loss).all()


def test_a_prediction_is_in_float64_whatever_its_caller_computes_in():
    settings = np.asarray([1e-3]), np.asarray([0.0]), "product_penalty"
    problem = aligned_problem(3, pretrain=Phase(1e-3), finetune=Phase(1e-3))
    with jax.enable_x64(False):  # asking for float64 there is a warning, and so an error
        prediction = predict(problem, *settings)
    np.testing.assert_array_equal(prediction.loss, predict(problem, *settings).loss)
