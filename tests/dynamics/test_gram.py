"""Descent of two layers at any width: solver `gram` against `dense`, and the literal recursion of the Gram matrices."""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linsim import network, shifts
from linsim.dynamics.choosing import choose
from linsim.dynamics.matrices.gram import Gram, Grams, gram_step
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.phase import Phase
from linsim.problem import stack_seeds
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.dynamics.battery import wide
from tests.problems import gaussian_problem

EPS = float(np.finfo(np.float64).eps)

# Narrow weights are the wide ones in another basis, so both round alike, to 1e-16 a step. From a Gaussian start of
# scale 0.05 nothing is near a saddle: errors add up along 5,000 steps at most linearly, to 5e-13. We promise 1e-11.
AGREEMENT = 1e-11
BUDGETS = np.asarray([50, 500, 5000])

PHASES = {
    "product penalty": Phase(0.01, product_penalty=0.3),
    "weight decay": Phase(0.01, weight_decay=0.05),
    "weight-space penalty": Phase(0.01, weight_penalty=0.2),
    "momentum with all three": Phase(0.004, 0.1, 0.1, 0.05, momentum=0.8),
    "Nesterov": Phase(0.004, momentum=0.8, nesterov=True),
    "minibatches": Phase(0.01, batch_size=4, momentum=0.5),
}


def deviation_over_training(problem):
    """Of gram from dense at every budget: the losses and both layers, relative to the largest entry of each."""
    outcomes = []
    for name in ("gram", "dense"):
        solver = choose(problem, name).solver
        checkpoints = Session.open(problem, solver, np.float64).pretrain()
        layers = [
            layer
            for budget in range(len(problem.budgets))
            for layer in solver.weights(problem, jax.tree.map(lambda leaf, b=budget: leaf[b], checkpoints.states))
        ]
        outcomes.append([np.asarray(checkpoints.losses), *map(np.asarray, layers)])
    assert np.all(np.ptp(outcomes[1][0], axis=0) > 0.1)  # it was trained
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(*outcomes, strict=True))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", PHASES)
def test_gram_is_dense_over_five_thousand_steps(name):
    problem = wide(gaussian_problem(pretrain=PHASES[name], budgets=BUDGETS, finetune_steps=1))
    assert deviation_over_training(problem) < AGREEMENT


def test_gram_is_dense_on_data_with_more_outputs_than_inputs():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)) @ np.diag([1.0, 0.7, 0.3]), rng.normal(size=(40, 5))
    task = LinearTask.from_data(X, Y + 2 * X @ rng.normal(size=(3, 5)))
    drawn = [network.gaussian((3, 30, 5), 0.1, jax.random.key(seed)) for seed in range(2)]
    problem = replace(
        gaussian_problem(budgets=BUDGETS, finetune_steps=1), transfer=Transfer(task, task), initial=stack_seeds(drawn)
    )
    assert deviation_over_training(problem) < AGREEMENT


@pytest.mark.parametrize("shape", [(3, 8, 5), (5, 3, 3)], ids=str)
def test_the_recursion_of_the_gram_matrices_is_what_descent_on_the_weights_does(shape):
    found, expected = recursion_and_descent(shape, 2000)
    # 2,000 steps of some roundings each, on a scale where no mode starts small: the fixed point attracts both.
    assert largest_difference(found, expected) < 2000 * EPS


def test_the_recursion_does_not_keep_the_rank_of_a_narrow_layer():
    # A third singular value of the Gram matrices, rounding of 1e-16, grows as a mode does, by e^(4 sigma t): the
    # recursion is descent on some wider network in the end. Weights have no such entry.
    early, late = (largest_difference(*recursion_and_descent((5, 2, 3), steps)) for steps in (100, 2000))
    assert early < 100 * EPS
    assert late > 1e-9


def largest_difference(found, expected):
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in zip(found, expected, strict=True))


def recursion_and_descent(shape, steps):
    """P, G_1 and G_2 by the recursion and by descent on the weights, with everything in the loss that it allows."""
    inputs, _, outputs = shape
    rng = np.random.default_rng(1)
    target, spread = rng.normal(size=(outputs, inputs)), rng.normal(size=(inputs, inputs)) / 2
    covariance = spread @ spread.T + 0.2 * np.eye(inputs)
    start = network.gaussian(shape, 0.5, jax.random.key(0))
    checkpoint, rate, decay, penalty = start[1] @ start[0], 0.01, 0.05, 0.3

    def objective(weights):
        product = weights[1] @ weights[0]
        loss = jnp.sum(((product - target) @ covariance) * (product - target))
        size = jnp.sum(weights[0] ** 2) + jnp.sum(weights[1] ** 2)
        return loss + penalty * jnp.sum((product - checkpoint) ** 2) + decay / 2 * size

    @jax.jit
    def both(weights, grams):
        def step(_, moving):
            weights, grams = moving
            pull = (grams.product - target) @ covariance + penalty * (grams.product - checkpoint)
            slopes = jax.grad(objective)(weights)
            moved = tuple(weight - rate * slope for weight, slope in zip(weights, slopes, strict=True))
            return moved, gram_step(grams, pull, jnp.asarray(rate), jnp.asarray(decay))

        return jax.lax.fori_loop(0, steps, step, (weights, grams))

    weights, found = both(start, of_weights(start))
    assert float(objective(weights)) < 0.9 * float(objective(start))
    return found, of_weights(weights)


def of_weights(weights):
    first, second = weights
    return Grams(second @ first, first.T @ first, second @ second.T)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_recursion_loses_what_weights_keep_where_descent_passes_a_saddle(sign):
    # The determinant of a balanced square P keeps its sign along the flow. Where the target's is the other one, the
    # last mode is learned only as far as steps and rounding break that, and rounding is what it starts from: of
    # weights, EPS in w; of their squares, EPS in w^2. From e^(-3): 1e-12 and 1e-5 of the loss. From e^(-5) the
    # recursion even leaves the Gram matrices behind (they get negative eigenvalues) and diverges.
    rng, size, steps = np.random.default_rng(0), 6, 5000
    target = (random_basis(size, rng) * (2 / np.arange(1, size + 1))) @ random_basis(size, rng)
    first, second = (np.asarray(w) for w in network.balanced((size, 40, size), np.exp(-3.0), jax.random.key(0)))
    side = sign * np.sign(np.linalg.det(second @ first) * np.linalg.det(target))
    second = second * np.where(np.arange(size) == 0, side, 1.0)[:, None]

    def descend(weights, _):
        first, second = weights
        pull = second @ first - target
        return (first - 0.02 * second.T @ pull, second - 0.02 * pull @ first.T), jnp.sum(pull**2)

    def recur(grams, _):
        pull = grams.product - target
        return gram_step(grams, pull, jnp.asarray(0.01), jnp.asarray(0.0)), jnp.sum(pull**2)

    narrow = np.linalg.qr(np.concatenate([first, second.T], axis=1))[0]
    along = jax.jit(lambda weights: jax.lax.scan(descend, weights, None, steps)[1])
    dense, gram = along((first, second)), along((narrow.T @ first, second @ narrow))
    literal = jax.jit(lambda grams: jax.lax.scan(recur, grams, None, steps)[1])(of_weights((first, second)))
    ours, theirs = (float(jnp.max(jnp.abs(losses - dense)) / dense[0]) for losses in (gram, literal))
    if sign > 0:
        assert ours < 1e-13 and theirs < 1e-11
    else:
        assert ours < 1e-10 and theirs > 1e-8


def test_a_hundred_thousand_hidden_units_cost_what_sixteen_do():
    task = LinearTask.create(np.linspace(2.0, 0.5, 8))
    transfer = shifts.shifted(task, shifts.Rotate(20.0))
    weights = network.gaussian((8, 100_000, 8), 0.05, jax.random.key(0))
    problem = replace(
        gaussian_problem(), transfer=transfer, initial=stack_seeds([weights]), budgets=np.asarray([10, 2000])
    )
    solver = choose(problem).solver
    assert isinstance(solver, Gram) and solver.cost(problem) < 1e4
    began = time.monotonic()
    session = Session.open(problem, solver, np.float64)
    assert [leaf.shape for leaf in jax.tree.leaves(session.encoded.initial)] == [(1, 16, 8), (1, 8, 16)]
    checkpoints = session.pretrain()
    zero, rate = np.zeros(1, np.int32), np.full(1, 0.01)
    tuned = session.finetune(checkpoints, Lanes(zero + 1, zero, {"learning_rate": rate}))
    first, second = solver.weights(problem, jax.tree.map(lambda leaf: leaf[-1], checkpoints.states))
    # Seconds, of which compilation is the most; 4,000 dense steps of 1e7 multiplications take minutes.
    assert time.monotonic() - began < 60
    assert first.shape == (1, 100_000, 8) and second.shape == (1, 8, 100_000)
    assert float(checkpoints.losses[-1, 0]) < 1e-6 and float(tuned.finetune_loss[0]) < float(tuned.pretrain_loss[0])
    np.testing.assert_allclose(second[0] @ first[0], task.target, rtol=0, atol=1e-3)  # the loss's square root
    np.testing.assert_allclose(
        jnp.linalg.norm(first), jnp.linalg.norm(checkpoints.states[0][-1]), rtol=1e-10
    )  # the basis is orthonormal
