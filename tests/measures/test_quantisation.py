"""Rounding against its definition, and its model as noise against actual rounding, also where the model fails."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim import losses
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput
from linsim.measures import sensitivity
from linsim.measures.quantisation import quantisation_scales, quantise
from linsim.tasks import random_basis
from tests.problems import gaussian_problem

WIDTHS = [(5, 4, 3), (3, 6, 2), (4, 3), (3, 1, 2)]
GRIDS = ["layer", "row"]
seeds = st.integers(0, 2**16)


def gaussian_weights(widths, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((rows, columns)) for columns, rows in itertools.pairwise(widths)]


def dense_minimum(size, depth, seed):
    """Balanced, sigma_i = 2 / i, in random bases, hidden ones too, so that rounding errors are spread."""
    rng = np.random.default_rng(seed)
    share = (2 / np.arange(1.0, size + 1)) ** (1 / depth)
    bases = [random_basis(size, rng) for _ in range(depth + 1)]
    return [(outer * share) @ inner.T for inner, outer in itertools.pairwise(bases)]


def jaxed(weights):
    return tuple(jnp.asarray(weight) for weight in weights)


def product_of(weights):
    product = np.asarray(weights[0])
    for weight in weights[1:]:
        product = np.asarray(weight) @ product
    return product


def ratios(networks, bits, per):
    """Increase of actual rounding over that of the model, for converged networks; one compiled call for all."""
    layers = tuple(jnp.stack(layer) for layer in zip(*map(jaxed, networks), strict=True))
    predicted = jax.vmap(lambda *w: sensitivity.expected_increase(w, quantisation_scales(w, bits, per)))(*layers)
    rounded = jax.vmap(lambda *w: quantise(w, bits, per))(*layers)
    actual = [
        np.sum((product_of([layer[n] for layer in rounded]) - product_of(weights)) ** 2)
        for n, weights in enumerate(networks)
    ]
    return np.asarray(actual) / np.asarray(predicted)


@settings(max_examples=15)
@given(st.sampled_from(WIDTHS), seeds, st.integers(2, 10), st.sampled_from(GRIDS))
def test_rounding_leaves_few_levels_and_the_largest_weight(widths, seed, bits, per):
    weights = gaussian_weights(widths, seed)
    for weight, rounded in zip(weights, quantise(jaxed(weights), bits, per), strict=True):
        rounded, most = np.asarray(rounded), 2 ** (bits - 1) - 1
        step = np.abs(weight).max(axis=None if per == "layer" else 1, keepdims=True) / most
        levels = rounded / step
        # A multiple of the step up to a few roundings of a number of at most 2^9 steps.
        np.testing.assert_allclose(levels, np.round(levels), atol=1e-12)
        # The largest weight keeps its place, of the layer or of every row.
        np.testing.assert_allclose(np.abs(levels).max(axis=None if per == "layer" else 1), most, rtol=1e-14)
        assert np.all(np.abs(rounded - weight) <= step / 2 * (1 + 1e-12))  # halves round either way


def test_rows_keep_a_step_of_their_own():
    weight = jnp.asarray([[7.0, 3.4, -0.6], [0.07, 0.034, -0.006], [0.0, 0.0, 0.0]])
    (by_row,), (by_layer,) = quantise((weight,), 4, "row"), quantise((weight,), 4)
    # Steps 1 and 0.01 per row; step 1 for the layer.
    np.testing.assert_allclose(by_row, [[7, 3, -1], [0.07, 0.03, -0.01], [0, 0, 0]], rtol=1e-14)
    np.testing.assert_allclose(by_layer, [[7, 3, -1], [0, 0, 0], [0, 0, 0]], rtol=1e-14)
    (scales,) = quantisation_scales((weight,), 4, "row")
    np.testing.assert_allclose(scales, np.asarray([1, 0.01, 0]) / np.sqrt(12), rtol=1e-14)


@pytest.mark.parametrize("per", GRIDS)
def test_zeros_are_left_alone_by_rounding(per):
    zeros = (jnp.zeros((2, 2)), jnp.ones((1, 2)))
    with jax.debug_nans(True):  # none inside either
        np.testing.assert_array_equal(quantise(zeros, 4, per)[0], 0)
    first, second = quantisation_scales(zeros, 4, per)
    np.testing.assert_array_equal(first, 0)
    # Four roundings.
    np.testing.assert_allclose(np.ravel(second), [1 / 7 / np.sqrt(12)], rtol=1e-15)


@pytest.mark.parametrize("per", GRIDS)
def test_compiled_rounding_gives_the_same_bits(per):
    weights = jaxed(gaussian_weights((3, 6, 2), 0))
    for bits in (3, 4, 8):
        compiled = jax.jit(partial(quantise, bits=bits, per=per))(weights)
        for once, again in zip(compiled, quantise(weights, bits, per), strict=True):
            np.testing.assert_array_equal(once, again)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("per", GRIDS)
@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize(
    "make", [dense_minimum, lambda size, depth, seed: gaussian_weights((size,) * (depth + 1), seed)]
)
def test_rounding_dense_weights_costs_what_the_scales_predict(make, bits, per):
    size, networks = 32, 40
    found = ratios([make(size, 2, seed) for seed in range(networks)], bits, per)
    # Of each row of 32 entries the largest is a level: 1/32 less than predicted; of a layer 1/1024.
    expected = 1 - 1 / size if per == "row" else 1 - 1 / size**2
    standard_error = found.std() / np.sqrt(networks)
    assert abs(found.mean() - expected) < 4.5 * standard_error
    assert standard_error < 0.012  # 4 to 7 % a network over sqrt(40): else the line above would say nothing


@pytest.mark.parametrize("per", GRIDS)
def test_two_bits_cost_less_than_the_scales_predict(per):
    # Levels -D, 0, D: most entries of a layer are rounded to 0, which errs by the entry itself, not by up to D / 2.
    two, three = (ratios([dense_minimum(32, 4, seed) for seed in range(6)], bits, per).mean() for bits in (2, 3))
    assert two < (0.4 if per == "layer" else 0.75)
    assert three > 0.9


def test_diagonal_networks_cost_a_few_per_cent_of_what_the_scales_predict():
    # Zeros are levels: d of d^2 entries carry an error per layer, none per row, where each row has one entry.
    diagonal = [np.diag(np.sqrt(2 / np.arange(1.0, 17)))] * 2
    for bits in (4, 6, 8):
        assert 0.03 < ratios([diagonal], bits, "layer")[0] < 0.1
        assert ratios([diagonal], bits, "row")[0] < 1e-20  # roundings of the products, squared


def test_a_column_of_weights_is_rounded_without_error_per_row():
    # The model errs by its whole value at n = 1.
    weights = jaxed(gaussian_weights((1, 5), 0))
    np.testing.assert_allclose(quantise(weights, 3, "row")[0], weights[0], rtol=1e-14)
    stated = float(sensitivity.expected_increase(weights, quantisation_scales(weights, 3, "row")))
    assert stated == pytest.approx(float(jnp.sum(weights[0] ** 2)) / 9 / 12)


def test_rounding_along_pretraining_and_after_finetuning_costs_what_noise_costs():
    # Weights with leading axes (budget, seed), under vmap; both phases, both losses, both grids.
    dim, seeds_, bits, rate = 16, 20, 3, 0.01
    problem = gaussian_problem(
        2, dim=dim, seeds=seeds_, scale=1.0, budgets=np.asarray((50, 400, 2000)), finetune_steps=60
    )
    session = Session.open(problem, Dense(), np.float64)
    checkpoints = session.pretrain()
    before = jax.vmap(partial(Dense().weights, problem))(checkpoints.states)
    tasks = problem.transfer.pretrain, problem.transfer.finetune
    after = _descended(before, tasks[1], rate, problem.finetune_steps)
    budget, seed = map(jnp.asarray, (np.repeat(np.arange(3), seeds_), np.tile(np.arange(seeds_), 3)))
    tuned = session.finetune(checkpoints, Lanes(budget, seed, {"learning_rate": jnp.full(60, rate)}))
    clean = {}
    for weights, phase in ((before, "before"), (after, "after")):
        for task, name in zip(tasks, ("pretrain", "finetune"), strict=True):
            A, S = jnp.asarray(task.target), jnp.asarray(task.input_covariance)
            over = lambda function: np.asarray(jax.vmap(jax.vmap(function))(*weights))  # noqa: B023, E731
            clean[phase, name] = over(lambda *w, A=A, S=S: losses.population_loss(w, A, S))
            for per in GRIDS:
                rounded = over(lambda *w, A=A, S=S, per=per: losses.population_loss(quantise(w, bits, per), A, S))
                # The largest entry of a row is a level: 1/16 of the variance is missing.
                share = np.sqrt(1 - 1 / dim) if per == "row" else 1.0
                noisy = over(lambda *w, A=A, S=S, per=per, share=share: _noisy(w, A, S, bits, per, share))
                difference = rounded - noisy
                error = difference.std(axis=1) / np.sqrt(seeds_)
                assert np.all(np.abs(difference.mean(axis=1)) < 4.5 * error), (phase, name, per)
                raised = (noisy - clean[phase, name]).mean(axis=1)
                # Else the line above would say nothing. Away from minima the first order scatters.
                assert np.all(error[1:] < 0.4 * raised[1:]), (phase, name, per)
    # The weights measured are those of the sessions: 60 steps in another order of summation.
    np.testing.assert_allclose(clean["before", "pretrain"], checkpoints.losses, rtol=1e-12)
    np.testing.assert_allclose(clean["after", "pretrain"].ravel(), tuned.pretrain_loss, rtol=1e-9)
    np.testing.assert_allclose(clean["after", "finetune"].ravel(), tuned.finetune_loss, rtol=1e-9)


def _noisy(weights, target, covariance, bits, per, share):
    scales = [share * scale for scale in quantisation_scales(weights, bits, per)]
    return sensitivity.expected_loss(weights, target, scales, covariance)


def _descended(weights, task, rate, steps):
    """Plain descent in NumPy of two layers with any leading axes."""
    first, second = (np.asarray(weight) for weight in weights)
    for _ in range(steps):
        pull = 2 * rate * (second @ first - task.target) @ task.input_covariance
        first, second = first - np.swapaxes(second, -1, -2) @ pull, second - pull @ np.swapaxes(first, -1, -2)
    return jaxed((first, second))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: quantise(w, 1), "bits: got 1; allowed: an integer >= 2 and <= 32"),
        (lambda w: quantisation_scales(w, 33), "bits: got 33"),
        (lambda w: quantise((), 4), r"weights: got \(\); allowed: at least one layer"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call((jnp.ones((3, 4)), jnp.ones((2, 3))))
