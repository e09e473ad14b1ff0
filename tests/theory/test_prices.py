"""Noise as a price: against brute force, quadrature, and training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim import losses, network
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput
from linsim.measures import sensitivity
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.tasks import LinearTask, Transfer, random_basis
from linsim.theory import prices
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.turns import Criteria, locate

seeds = st.integers(0, 2**16)
scales = st.floats(1e-3, 2.0)
strengths = st.floats(0.05, 4.0)


@settings(max_examples=15)
@given(seeds, scales)
def test_modes_pay_the_price_in_any_rectangular_aligned_network(seed, gamma):
    rng = np.random.default_rng(seed)
    sigma, learned = rng.uniform(-2, 2, 3), rng.uniform(-2, 2, 3)
    task = LinearTask.create(sigma, outputs=3, inputs=5, left=random_basis(3, rng), right=random_basis(5, rng))
    weights = network.aligned((5, 4, 3), task, learned)
    full = sensitivity.expected_loss(weights, task.target, gamma)
    by_modes = prices.modes_loss(learned, sigma, prices.noise_price(gamma, 5, 3))
    constant = gamma**4 * 3 * 4 * 5
    # Bases are orthonormal to 1e-15, everything is positive.
    np.testing.assert_allclose(by_modes + constant, full, rtol=1e-12)


@given(st.floats(-4, 4), st.floats(0.0, 4.0))
def test_soft_threshold_has_the_least_loss_of_all_strengths(sigma, G):
    best = prices.soft_threshold(sigma, G)
    grid = np.linspace(-5, 5, 2001)
    least = np.min((sigma - grid) ** 2 + G * np.abs(grid))
    found = (sigma - best) ** 2 + G * abs(best)
    # The grid misses the minimum by at most half its spacing, and the loss has curvature 2 there; at a kink at 0 the
    # grid holds the minimum itself.
    assert found <= least + 1e-13
    assert found >= least - 0.0025**2


@settings(max_examples=20)
@given(seeds, st.floats(0.05, 0.8))
def test_the_best_idealised_checkpoint_has_learned_the_useful_modes(seed, gamma):
    rng = np.random.default_rng(seed)
    sigma = np.sort(rng.uniform(0, 4, 4))[::-1]
    task = LinearTask.create(sigma, outputs=4, inputs=5, left=random_basis(4, rng), right=random_basis(5, rng))
    stages = [
        sensitivity.expected_loss(network.rank_checkpoint((5, 4, 4), task, modes), task.target, gamma)
        for modes in range(5)
    ]
    assert np.argmin(stages) == prices.useful_modes(sigma, prices.noise_price(gamma, 5, 4))


def costs(gamma):
    """Of noise on three weights from 5 inputs to 4 hidden units and 3 outputs, with its scale in each layer."""
    return {
        "absolute": (prices.NoiseCost.absolute(gamma, 5, 4, 3), lambda weights: gamma),
        "relative": (prices.NoiseCost.relative(gamma, 4), lambda weights: sensitivity.relative_scales(weights, gamma)),
    }


@pytest.mark.parametrize("kind", ["absolute", "relative"])
@settings(max_examples=15)
@given(seeds, scales)
def test_the_cost_of_noise_is_its_exact_mean_on_balanced_aligned_layers(kind, seed, gamma):
    rng = np.random.default_rng(seed)
    learned = rng.uniform(0, 2, 3)
    task = LinearTask.create(np.ones(3), outputs=3, inputs=5, left=random_basis(3, rng), right=random_basis(5, rng))
    weights = network.aligned((5, 4, 3), task, learned)
    cost, scale = costs(gamma)[kind]
    # Sums of positive terms on both sides.
    np.testing.assert_allclose(
        cost.of(learned.sum()), sensitivity.expected_increase(weights, scale(weights)), rtol=1e-12
    )
    step = 1e-4
    slope = (cost.of(learned.sum() + step) - cost.of(learned.sum() - step)) / (2 * step)
    assert cost.marginal(learned.sum()) == pytest.approx(slope, rel=1e-6)  # of a square, but for rounding


@given(st.lists(st.floats(0, 4), min_size=1, max_size=5), st.floats(0, 4), st.floats(0, 0.5))
def test_the_best_strengths_have_the_least_loss_of_a_search(sigma, price, collective):
    sigma, cost = np.asarray(sigma), prices.NoiseCost(price, collective, 0.3)
    found = sigma.copy()
    for _ in range(300):  # projected descent; contracts by at least 1 - 0.2 a step
        found = np.maximum(found - 0.2 * ((found - sigma) + cost.marginal(found.sum()) / 2), 0)
    np.testing.assert_allclose(cost.best_strengths(sigma), found, atol=1e-12)
    if collective == 0:
        np.testing.assert_allclose(found, prices.soft_threshold(sigma, price), atol=1e-12)


@settings(max_examples=20)
@given(seeds, st.floats(0.05, 0.8), st.sampled_from(["absolute", "relative"]))
def test_the_best_stage_is_that_of_exact_means_over_all_stages(seed, gamma, kind):
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0, 4, 3)
    strongest = np.sort(sigma)[::-1]
    task = LinearTask.create(strongest, outputs=3, inputs=5, left=random_basis(3, rng), right=random_basis(5, rng))
    cost, scale = costs(gamma)[kind]
    stages = [network.rank_checkpoint((5, 4, 3), task, modes) for modes in range(4)]
    losses_ = [float(sensitivity.expected_loss(stage, task.target, scale(stage))) for stage in stages]
    assert cost.best_stage(sigma) == np.argmin(losses_)


@settings(max_examples=20)
@given(strengths, st.floats(1e-8, 0.9), st.floats(0.01, 0.99), st.sampled_from([-1.0, 1.0]))
def test_a_mode_turns_where_its_flow_reaches_the_soft_threshold(size, fraction, half, sign):
    sigma, G = sign * size, 2 * half * size
    start = fraction * float(prices.soft_threshold(sigma, G))
    time = float(prices.turning_time(sigma, start, G))
    flow = solve_ivp(
        lambda _, s: 4 * np.abs(s) * (sigma - s), (0, time), [start], "DOP853", rtol=1e-12, atol=1e-14 * abs(start)
    )
    # Relative errors of a rising mode never grow, so the integrator's is about its tolerance times its steps, at most
    # some hundreds.
    np.testing.assert_allclose(flow.y[0, -1], sign * (size - G / 2), rtol=1e-9)


def test_turning_times_are_mapped_and_compiled():
    strengths = jnp.asarray([0.0, 0.1, 0.5])
    times = jax.jit(prices.turning_time)(strengths, strengths / 10, 0.1)
    np.testing.assert_array_equal(np.isinf(times), [True, False, False])


def test_turning_time_says_never_and_at_once():
    def turn(sigma, start, G):
        return float(prices.turning_time(sigma, start, G))

    assert turn(1.0, 0.1, 0.0) == np.inf  # no noise
    assert turn(1.0, 0.0, 0.5) == np.inf  # stays at zero
    assert turn(1.0, 1.0, 0.5) == np.inf  # at its target
    assert turn(1.0, 1.5, 0.5) == np.inf  # falls towards it
    assert turn(1.0, -0.1, 0.5) == np.inf  # vanishes from the other side
    assert turn(0.0, 0.1, 0.5) == np.inf
    assert turn(1.0, 0.1, 2.5) == 0.0  # not worth any learning
    assert turn(1.0, 0.8, 0.5) == 0.0  # already within G/2
    assert 0 < turn(1.0, 0.7499, 0.5) < 1e-3  # the formula joins these continuously
    for start, G in ((0.0, 0.5), (0.1, 0.0)):
        assert jax.grad(prices.turning_time, (0, 1, 2))(1.0, start, G) == (0, 0, 0)  # no NaN from the other branch


def test_trained_networks_grow_sensitive_and_turn_when_the_closed_form_says():
    # One matrix run from e^-4 I in a rotated basis. Mode 1 is done long before mode 2 rises, so the loss under noise
    # has a minimum of its own at each turn; sensitivity rises all along.
    rng = np.random.default_rng(0)
    sigma, gamma, rate = np.asarray([2.0, 0.25]), 0.2, 1e-3
    basis = random_basis(2, rng)
    task = LinearTask.create(sigma, left=basis, right=basis)
    weights, start, step = network.identity((2, 2, 2), 4.0), np.exp(-8.0), jax.grad(losses.population_loss)
    target = jnp.asarray(task.target)

    def descend(weights, _):
        moved = jax.tree.map(lambda w, g: w - rate * g, weights, step(weights, target))
        after = sensitivity.expected_increase(moved, gamma), sensitivity.expected_loss(moved, target, gamma)
        return moved, after

    _, (increase, loss) = jax.lax.scan(descend, weights, None, length=9000)
    assert np.all(np.diff(increase) >= -1e-15)  # rounding of numbers of order 1
    price = prices.noise_price(gamma, 2, 2)
    turns = prices.turning_time(sigma, np.full(2, start), price)
    early = int(3 / rate)
    found = [np.argmin(loss[:early]) + 1, early + np.argmin(loss[early:]) + 1]
    # Euler's method lags the flow by about rate * 2 sigma_1 = 0.4 % in time; the step is 0.07 % of the first turn, and
    # the slope of the other mode moves it by less: twice their sum.
    np.testing.assert_allclose(np.asarray(found) * rate, turns, rtol=0.01)
    assert 0 < found[1] < 8999  # a turn, not the end of the run


def test_the_inflection_of_simulated_weights_is_the_closed_form():
    # Descent in random bases, full matrices, and the exact expectation of every checkpoint under absolute noise.
    rng = np.random.default_rng(3)
    sigma, gamma, rate, start = np.asarray([2.0, 1.0, 0.5]), 0.15, 1e-3, 1e-3
    basis = random_basis(3, rng)
    task = LinearTask.create(sigma, left=basis, right=basis)
    begin = stack_seeds([network.aligned((3, 3, 3), task, np.full(3, start))])
    budgets = np.unique(np.geomspace(500, 20_000, 240).astype(int))
    problem = Problem(Transfer(task, task), begin, Phase(rate), Phase(rate), budgets, 1)
    solver = Gram()
    states = Session.open(problem, solver, np.float64).pretrain().states
    weights = [
        solver.weights(problem, jax.tree.map(lambda leaf, at=at: leaf[at], states)) for at in range(len(budgets))
    ]
    layers = [jnp.stack([jnp.asarray(each[l][0]) for each in weights]) for l in range(2)]
    curve = np.asarray(jax.vmap(lambda *w: sensitivity.expected_loss(w, task.target, gamma))(*layers))
    price = float(prices.noise_price(gamma, 3, 3))
    exact = noise_inflection(sigma, np.full(3, start), price, rate * budgets[0], rate * budgets[-1])
    found = locate(budgets, curve, criteria=Criteria(least_harm=0.0))
    # Descent lags the flow by rate * sigma = 0.2 % of the time, and the spline adds less at 1.6 % between budgets.
    assert float(found.steps) * rate == pytest.approx(exact.time, rel=4e-3)
    # Harm is defined with the quartic constant here, without it there.
    constant = gamma**4 * 27
    assert curve.min() - constant == pytest.approx(exact.loss, rel=1e-2)  # a grid point off the minimum by up to 1 %
    # The last two modes are still apart by more than a budget: the turn is not that of a single mode.
    assert abs(exact.time / float(prices.turning_time(0.5, start, price)) - 1) > 1e-4


def test_label_noise_holds_every_mode_below_its_target():
    # 64 runs of minibatch descent; P averaged over steps and runs, which has a standard error over the runs.
    inputs, outputs, sigma, rate, label_noise, batch, lanes = 8, 2, np.asarray([2.0, 0.8]), 5e-3, np.sqrt(20.0), 4, 64
    target = jnp.asarray(LinearTask.create(sigma, outputs=outputs, inputs=inputs).target)

    def descend(weights, key):
        examples = losses.draw_batch(key, target, None, jnp.asarray(label_noise), batch)
        moved = jax.tree.map(lambda w, g: w - rate * g, weights, jax.grad(losses.sampled_loss)(weights, *examples))
        return moved, jnp.diag(losses.end_to_end(moved))

    def run(key):
        begin = (0.5 * jnp.eye(2, inputs), 0.5 * jnp.eye(outputs, 2))
        return jax.lax.scan(descend, begin, jax.random.split(key, 6000))[1][2000:].mean(0)

    modes = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), lanes)))
    price = prices.label_noise_price(rate, label_noise, batch, inputs, outputs)
    predicted = prices.soft_threshold(sigma, price)
    standard_error = modes.std(0) / np.sqrt(lanes)
    # Beyond 4 standard errors, the next order in the rate: rate * sharpness = 4 % of a shift of 0.1. Half the
    # price, or the arithmetic mean of 8 and 2 for the geometric one, is off by 0.025 and more.
    assert np.all(np.abs(modes.mean(0) - predicted) < 4 * standard_error + 0.004)
    assert np.all(standard_error < 0.005)  # else the line above would say nothing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prices.noise_price(-1.0, 2, 2), "scale: got -1.0; allowed"),
        (lambda: prices.noise_price(1.0, 0, 2), "d_in: got 0; allowed: an integer >= 1"),
        (lambda: prices.label_noise_price(0.1, -1.0, 1, 2, 2), "label_noise: got -1.0"),
        (lambda: prices.label_noise_price(-0.1, 1.0, 1, 2, 2), "rate: got -0.1"),
        (lambda: prices.label_noise_price(0.1, 1.0, 0, 2, 2), "batch_size: got 0; allowed: an integer >= 1"),
        (lambda: prices.soft_threshold(1.0, -1.0), "price: got -1.0"),
        (lambda: prices.useful_modes(np.ones(2), -1.0), "price: got -1.0"),
        (lambda: prices.modes_loss(np.ones(2), np.ones(2), -1.0), "price: got -1.0"),
        (lambda: prices.turning_time(1.0, 0.1, -1.0), "price: got -1.0"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
