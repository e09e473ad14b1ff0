"""Expected losses under noise against brute force, samples, and training."""

import itertools

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
from linsim.tasks import LinearTask, Transfer, power_covariance, random_basis
from linsim.theory.inflection import locate
from linsim.theory.noise_turning import noise_inflection

# Few enough weights that every pattern of signs can be listed: 2^n patterns.
SHAPES = [(2, 2), (2, 1, 3), (2, 1, 2, 1, 1)]
# Rectangular everywhere, too many weights to list.
WIDTHS = [(5, 4, 3), (3, 6, 2), (3, 4, 4, 2, 3)]
seeds = st.integers(0, 2**16)
scales = st.floats(1e-3, 2.0)
strengths = st.floats(0.05, 4.0)


def problem(widths, seed):
    """Random weights, target and covariance, nothing shared; all in NumPy."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths)]
    factor = rng.standard_normal((widths[0], widths[0]))
    return weights, rng.standard_normal((widths[-1], widths[0])), factor @ factor.T, rng


def loss_of(weights, target, covariance):
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return np.einsum("...oi,ij,...oj->...", product - target, covariance, product - target)


def jaxed(weights):
    return tuple(jnp.asarray(weight) for weight in weights)


@settings(max_examples=30)
@given(st.sampled_from(SHAPES), seeds, st.lists(scales, min_size=4, max_size=4), st.booleans())
def test_expected_loss_is_the_mean_over_every_pattern_of_signs(widths, seed, drawn, by_rows):
    # L is a quadratic polynomial in each single weight, so its mean over independent signs +-gamma_l, of which all
    # 2^n patterns can be listed, is its mean over Gaussian noise of the same variance: an exact check without samples.
    weights, target, covariance, rng = problem(widths, seed)
    gammas = drawn[: len(weights)]
    if by_rows:  # a scale of its own for every output unit, or none
        gammas = [gamma * rng.integers(0, 4, len(weight)) for gamma, weight in zip(gammas, weights, strict=True)]
    signs = np.asarray(list(itertools.product([-1.0, 1.0], repeat=sum(weight.size for weight in weights))))
    parts = np.split(signs, np.cumsum([weight.size for weight in weights])[:-1], axis=1)
    columns = [np.reshape(gamma, (-1, 1)) for gamma in gammas]
    noisy = [w + g * part.reshape(-1, *w.shape) for w, g, part in zip(weights, columns, parts, strict=True)]
    values = loss_of(noisy, target, covariance)
    found = sensitivity.expected_loss(jaxed(weights), target, gammas, covariance)
    # A sum of 2^n positive terms of float64 is good to n roundings, each term to some tens more.
    np.testing.assert_allclose(found, values.mean(), rtol=1e-12)
    increase = sensitivity.expected_increase(jaxed(weights), gammas, covariance)
    # The brute force subtracts losses as large as the largest pattern's: that many roundings, absolutely.
    np.testing.assert_allclose(
        increase, values.mean() - loss_of(weights, target, covariance), atol=1e-13 * values.max()
    )


@pytest.mark.parametrize("widths", WIDTHS[1:])
def test_expected_loss_is_the_mean_over_gaussian_noise(widths):
    weights, target, covariance, rng = problem(widths, 0)
    gammas, samples = 0.1 + 0.1 * np.arange(len(weights)), 100_000
    noisy = [w + g * rng.standard_normal((samples, *w.shape)) for w, g in zip(weights, gammas, strict=True)]
    values = loss_of(noisy, target, covariance)
    found = sensitivity.expected_loss(jaxed(weights), target, gammas, covariance)
    assert abs(found - values.mean()) < 4 * values.std() / np.sqrt(samples)


@settings(max_examples=15)
@given(st.sampled_from(WIDTHS[:2]), seeds, scales, scales)
def test_orders_of_two_layers_add_up_to_the_increase(widths, seed, first, second):
    weights, _, covariance, _ = problem(widths, seed)
    for given_covariance, S in ((None, np.eye(widths[0])), (covariance, covariance)):
        orders = sensitivity.two_layer_increase(jaxed(weights), (first, second), given_covariance)
        total = sensitivity.expected_increase(jaxed(weights), (first, second), given_covariance)
        # Sums of positive terms on both sides: some tens of roundings.
        np.testing.assert_allclose(sum(orders), total, rtol=1e-13)
        rows = first * np.arange(widths[1]), second * np.arange(widths[2])
        by_rows = sensitivity.two_layer_increase(jaxed(weights), rows, given_covariance)
        total = sensitivity.expected_increase(jaxed(weights), rows, given_covariance)
        np.testing.assert_allclose(sum(by_rows), total, rtol=1e-13)
        # Noise on one layer alone leaves the quadratic order only.
        alone = [
            sensitivity.expected_increase(jaxed(weights), only, given_covariance)
            for only in ((first, 0.0), (0.0, second))
        ]
        np.testing.assert_allclose(orders.quadratic, sum(alone), rtol=1e-13)
        np.testing.assert_allclose(
            orders.quartic, (first * second) ** 2 * widths[2] * widths[1] * np.trace(S), rtol=1e-13
        )


def test_a_tiny_increase_keeps_its_digits():
    # 1e-9 of noise raises a loss of order 10 by order 1e-16 of it: a difference of losses would be rounding only.
    weights, _, covariance, _ = problem((5, 4, 3), 1)
    found = sensitivity.expected_increase(jaxed(weights), 1e-9, covariance)
    first, second = weights
    leading = 1e-18 * (np.trace(covariance) * np.sum(second**2) + 3 * np.trace(first @ covariance @ first.T))
    # The quartic order is 1e-18 of the quadratic one: the rest is rounding.
    np.testing.assert_allclose(found, leading, rtol=1e-13)


@settings(max_examples=20)
@given(st.sampled_from([(4, 3), *WIDTHS]), seeds, st.floats(0.01, 1.0), st.floats(-3, 3))
def test_relative_noise_sees_no_rescaling_of_layers(widths, seed, relative, power):
    weights, target, covariance, rng = problem(widths, seed)
    factors = 10 ** rng.uniform(-1, 1, len(weights))
    rescaled = [factor * weight for factor, weight in zip(factors, weights, strict=True)]

    def increase(layers):
        return sensitivity.expected_increase(
            jaxed(layers), sensitivity.relative_scales(jaxed(layers), relative), covariance
        )

    np.testing.assert_allclose(increase(rescaled), np.prod(factors**2) * increase(weights), rtol=1e-12)
    sizes = [np.sqrt(np.mean(weight**2)) for weight in weights]
    found = sensitivity.relative_scales(jaxed(weights), [relative] * len(weights))
    np.testing.assert_allclose(found, relative * np.asarray(sizes), rtol=1e-14)
    if len(weights) > 1:
        moved = [10**power * weights[0], weights[1] / 10**power, *weights[2:]]
        before, after = (
            sensitivity.expected_loss(jaxed(w), target, sensitivity.relative_scales(jaxed(w), relative), covariance)
            for w in (weights, moved)
        )
        np.testing.assert_allclose(after, before, rtol=1e-12)  # products of some tens of rounded factors


def test_absolute_noise_sees_the_rescaling_of_layers():
    first, second = jnp.eye(2), jnp.eye(2)
    plain, rescaled = (sensitivity.expected_increase((c * first, second / c), 0.1) for c in (1.0, 3.0))
    # gamma^2 2 (c^2 2 + 2 / c^2) + gamma^4 8, to rounding.
    np.testing.assert_allclose([plain, rescaled], [0.0808, 0.02 * (18 + 2 / 9) + 0.0008], rtol=1e-13)


def test_functions_of_weights_trace_under_jit_and_map_over_scales():
    weights, target, covariance, _ = problem((3, 6, 2), 2)
    weights, gammas = jaxed(weights), jnp.asarray([0.0, 0.1, 0.5])
    mapped = jax.jit(jax.vmap(lambda gamma: sensitivity.expected_loss(weights, target, gamma, covariance)))(gammas)
    single = [sensitivity.expected_loss(weights, target, float(gamma), covariance) for gamma in gammas]
    np.testing.assert_allclose(mapped, single, rtol=1e-13)  # the same sums in another order
    np.testing.assert_allclose(mapped[0], losses.population_loss(weights, jnp.asarray(target), jnp.asarray(covariance)))
    times = jax.jit(sensitivity.turning_time)(gammas, gammas / 10, 0.1)
    np.testing.assert_array_equal(np.isinf(times), [True, False, False])


@settings(max_examples=15)
@given(seeds, scales)
def test_modes_pay_the_price_in_any_rectangular_aligned_network(seed, gamma):
    rng = np.random.default_rng(seed)
    sigma, learned = rng.uniform(-2, 2, 3), rng.uniform(-2, 2, 3)
    task = LinearTask.create(sigma, outputs=3, inputs=5, left=random_basis(3, rng), right=random_basis(5, rng))
    weights = network.aligned((5, 4, 3), task, learned)
    full = sensitivity.expected_loss(weights, task.target, gamma)
    by_modes = sensitivity.modes_loss(learned, sigma, sensitivity.noise_price(gamma, 5, 3))
    constant = gamma**4 * 3 * 4 * 5
    # Bases are orthonormal to 1e-15, everything is positive.
    np.testing.assert_allclose(by_modes + constant, full, rtol=1e-12)


@settings(max_examples=15)
@given(seeds, scales)
def test_noise_on_a_square_network_is_weight_decay(seed, gamma):
    weights, target, _, _ = problem((4, 6, 4), seed)
    G = sensitivity.noise_price(gamma, 4, 4)
    noisy = sensitivity.expected_loss(jaxed(weights), target, gamma)
    decayed = losses.population_loss(jaxed(weights), jnp.asarray(target)) + losses.weight_decay(weights, G)
    np.testing.assert_allclose(noisy, decayed + gamma**4 * 4 * 6 * 4, rtol=1e-13)  # positive sums, tens of roundings


@given(st.floats(-4, 4), st.floats(0.0, 4.0))
def test_soft_threshold_has_the_least_loss_of_all_strengths(sigma, G):
    best = sensitivity.soft_threshold(sigma, G)
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
    assert np.argmin(stages) == sensitivity.useful_modes(sigma, sensitivity.noise_price(gamma, 5, 4))


@settings(max_examples=20)
@given(strengths, st.floats(1e-8, 0.9), st.floats(0.01, 0.99), st.sampled_from([-1.0, 1.0]))
def test_a_mode_turns_where_its_flow_reaches_the_soft_threshold(size, fraction, half, sign):
    sigma, G = sign * size, 2 * half * size
    start = fraction * float(sensitivity.soft_threshold(sigma, G))
    time = float(sensitivity.turning_time(sigma, start, G))
    flow = solve_ivp(
        lambda _, s: 4 * np.abs(s) * (sigma - s), (0, time), [start], "DOP853", rtol=1e-12, atol=1e-14 * abs(start)
    )
    # Relative errors of a rising mode never grow, so the integrator's is about its tolerance times its steps, at most
    # some hundreds.
    np.testing.assert_allclose(flow.y[0, -1], sign * (size - G / 2), rtol=1e-9)


def test_turning_time_says_never_and_at_once():
    def turn(sigma, start, G):
        return float(sensitivity.turning_time(sigma, start, G))

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
        assert jax.grad(sensitivity.turning_time, (0, 1, 2))(1.0, start, G) == (0, 0, 0)  # no NaN from the other branch


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
    price = sensitivity.noise_price(gamma, 2, 2)
    turns = sensitivity.turning_time(sigma, np.full(2, start), price)
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
    budgets = np.unique(np.geomspace(500, 20_000, 60).astype(int))
    problem = Problem(Transfer(task, task), begin, Phase(rate), Phase(rate), budgets, 1)
    solver = Gram()
    states = Session.open(problem, solver, np.float64).pretrain().states
    weights = [
        solver.weights(problem, jax.tree.map(lambda leaf, at=at: leaf[at], states)) for at in range(len(budgets))
    ]
    layers = [jnp.stack([jnp.asarray(each[l][0]) for each in weights]) for l in range(2)]
    curve = np.asarray(jax.vmap(lambda *w: sensitivity.expected_loss(w, task.target, gamma))(*layers))
    price = float(sensitivity.noise_price(gamma, 3, 3))
    exact = noise_inflection(sigma, np.full(3, start), price, rate * budgets[0], rate * budgets[-1])
    found = locate(budgets, curve)
    # Descent lags the flow by rate * sigma = 0.2 % of the time, and the spline adds less at 6 % between budgets.
    assert float(found.steps) * rate == pytest.approx(exact.time, rel=4e-3)
    # Harm is defined with the quartic constant here, without it there.
    constant = gamma**4 * 27
    assert curve.min() - constant == pytest.approx(exact.loss, rel=1e-2)  # a grid point off the minimum by up to 3 %
    # The last two modes are still apart by more than a budget: the turn is not that of a single mode.
    assert abs(exact.time / float(sensitivity.turning_time(0.5, start, price)) - 1) > 1e-4


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
    price = sensitivity.label_noise_price(rate, label_noise, batch, inputs, outputs)
    predicted = sensitivity.soft_threshold(sigma, price)
    standard_error = modes.std(0) / np.sqrt(lanes)
    # Beyond 4 standard errors, the next order in the rate: rate * sharpness = 4 % of a shift of 0.1. Half the
    # price, or the arithmetic mean of 8 and 2 for the geometric one, is off by 0.025 and more.
    assert np.all(np.abs(modes.mean(0) - predicted) < 4 * standard_error + 0.004)
    assert np.all(standard_error < 0.005)  # else the line above would say nothing


GOOD = (jnp.ones((3, 4)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity.expected_increase(GOOD, -0.1), "scales: got -0.1; allowed: a finite number >= 0"),
        (lambda: sensitivity.expected_increase(GOOD, (0.1, float("nan"))), "scales: got nan; allowed: a finite"),
        (lambda: sensitivity.expected_increase(GOOD, np.asarray([0.1, -1])), "scales: got array.*; allowed: finite"),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1,) * 3),
            r"scales: got shape \(3,\); allowed: one number, or 2",
        ),
        (lambda: sensitivity.expected_increase((), 0.1), r"weights: got \(\); allowed: at least one layer"),
        (
            lambda: sensitivity.expected_increase(GOOD[::-1], 0.1),
            r"weights: got W_1 \(2, 3\) then W_2 \(3, 4\); allowed",
        ),
        (
            lambda: sensitivity.expected_increase(GOOD, 0.1, np.eye(3)),
            r"covariance: got shape \(3, 3\); allowed: \(4, 4\)",
        ),
        (
            lambda: sensitivity.expected_loss(GOOD, np.eye(2), 0.1),
            r"target: got shape \(2, 2\); allowed: shape \(2, 4\)",
        ),
        (lambda: sensitivity.two_layer_increase(GOOD[:1], 0.1), "weights: got 1 layers; allowed: two layers"),
        (lambda: sensitivity.noise_price(-1.0, 2, 2), "scale: got -1.0; allowed"),
        (lambda: sensitivity.noise_price(1.0, 0, 2), "d_in: got 0; allowed: an integer >= 1"),
        (lambda: sensitivity.label_noise_price(0.1, -1.0, 1, 2, 2), "label_noise: got -1.0"),
        (lambda: sensitivity.label_noise_price(-0.1, 1.0, 1, 2, 2), "rate: got -0.1"),
        (lambda: sensitivity.label_noise_price(0.1, 1.0, 0, 2, 2), "batch_size: got 0; allowed: an integer >= 1"),
        (lambda: sensitivity.soft_threshold(1.0, -1.0), "price: got -1.0"),
        (lambda: sensitivity.useful_modes(np.ones(2), -1.0), "price: got -1.0"),
        (lambda: sensitivity.modes_loss(np.ones(2), np.ones(2), -1.0), "price: got -1.0"),
        (lambda: sensitivity.turning_time(1.0, 0.1, -1.0), "price: got -1.0"),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1, np.ones(3))),
            r"scales: got shape \(3,\); allowed: one number, or shape \(2,\), one for each row of W_2",
        ),
        (
            lambda: sensitivity.expected_increase(GOOD, (0.1, np.asarray([0.1, -1]))),
            "scales: got array.*; allowed: fin",
        ),
        (lambda: sensitivity.relative_scales(GOOD, -0.1), "relative: got -0.1"),
        (
            lambda: sensitivity.relative_scales(GOOD, (0.1,) * 3),
            r"relative: got shape \(3,\); allowed: one number, or 2",
        ),
        (lambda: sensitivity.relative_scales((), 0.1), r"weights: got \(\); allowed: at least one layer"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_covariances_of_tasks_are_accepted_as_they_are():
    task = LinearTask.create(
        np.ones(3), input_covariance=power_covariance(random_basis(3, np.random.default_rng(0)), 1.0)
    )
    weights = network.rank_checkpoint((3, 3, 3), task, 3)
    found = sensitivity.expected_loss(weights, task.target, 0.1, task.input_covariance)
    trace = np.trace(task.input_covariance)
    # P = A: gamma^2 (tr(S) 3 + 3 tr(S)) + gamma^4 9 tr(S), to rounding.
    np.testing.assert_allclose(found, trace * (0.01 * 6 + 1e-4 * 9), rtol=1e-12)
