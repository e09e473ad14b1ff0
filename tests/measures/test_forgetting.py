"""Forgetting: exact, to second order and by mode, against differences of losses and scalar chains in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim import network
from linsim.errors import InvalidInput
from linsim.measures.curvature import loss_hessian
from linsim.measures.forgetting import exact_forgetting, forgetting_by_mode, loss_by_mode, quadratic_forgetting
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, random_basis

WIDTHS = [(4, 3), (2, 5, 4), (3, 1, 3), (2, 3, 2, 3, 2)]  # depths 1 to 4, wide, tall and narrow
widths_ = st.sampled_from(WIDTHS)
seeds = st.integers(0, 2**16)
# Compiled once a shape, for speed.
EXACT, QUADRATIC, HESSIAN = map(jax.jit, (exact_forgetting, quadratic_forgetting, loss_hessian))


def problem(widths, seed, size=1.0, white=False):
    """Random weights, a displacement of the given size, a task with nothing in common; NumPy."""
    rng = np.random.default_rng(seed)
    shapes = [(rows, columns) for columns, rows in itertools.pairwise(widths)]
    before = [rng.standard_normal(shape) for shape in shapes]
    after = [weight + size * rng.standard_normal(weight.shape) for weight in before]
    inputs, outputs = widths[0], widths[-1]
    task = LinearTask.create(
        rng.standard_normal(min(inputs, outputs)),
        outputs=outputs,
        inputs=inputs,
        left=random_basis(outputs, rng),
        right=random_basis(inputs, rng),
        input_covariance=None if white else power_covariance(random_basis(inputs, rng), 1.5),
    )
    return before, after, task


def jaxed(weights):
    return tuple(jnp.asarray(weight) for weight in weights)


def product_of(weights):
    product = weights[0]
    for weight in weights[1:]:
        product = weight @ product
    return product


def loss_of(weights, task):
    error = product_of(weights) - task.target
    return float(np.trace(error @ task.input_covariance @ error.T))


@settings(max_examples=20)
@given(widths_, seeds, st.booleans())
def test_forgetting_is_the_difference_of_losses_and_the_sum_over_modes(widths, seed, white):
    before, after, task = problem(widths, seed, white=white)
    difference = loss_of(after, task) - loss_of(before, task)
    size = loss_of(after, task) + loss_of(before, task)
    given_covariance = None if white else task.input_covariance
    # Losses of up to 4 factors of at most 5 rows: some hundreds of roundings of the larger loss.
    exact = EXACT(jaxed(before), jaxed(after), task.target, given_covariance)
    np.testing.assert_allclose(exact, difference, atol=1e-13 * size)
    by_mode = forgetting_by_mode(jaxed(before), jaxed(after), task)
    assert by_mode.own.shape == by_mode.cross.shape == task.strengths.shape
    np.testing.assert_allclose(jnp.sum(by_mode.own + by_mode.cross), difference, atol=1e-13 * size)
    np.testing.assert_array_equal(by_mode.total, by_mode.own + by_mode.cross)
    # Mode by mode it is the change of the loss, which is split likewise.
    first, last = loss_by_mode(jaxed(before), task), loss_by_mode(jaxed(after), task)
    np.testing.assert_allclose(jnp.sum(last.total), loss_of(after, task), rtol=1e-12)
    np.testing.assert_allclose(by_mode.own, last.own - first.own, atol=1e-13 * size)
    np.testing.assert_allclose(by_mode.cross, last.cross - first.cross, atol=1e-13 * size)


@settings(max_examples=15)
@given(widths_, seeds)
def test_the_split_is_that_of_its_definition(widths, seed):
    # Entry by entry in NumPy: interactions of two entries halved, cross-talk halved, entries beyond the modes to one.
    weights, _, task = problem(widths, seed)
    R = task.left.T @ (product_of(weights) - task.target) @ task.right
    C = task.right.T @ task.input_covariance @ task.right
    modes = len(task.strengths)
    own, cross = np.zeros(modes), np.zeros(modes)
    for i, j in np.ndindex(*R.shape):
        entry = C[j, j] * R[i, j] ** 2 + sum(2 * R[i, j] * C[j, k] * R[i, k] / 2 for k in range(len(C)) if k != j)
        if i == j:
            own[i] += entry
        else:
            takers = [mode for mode in (i, j) if mode < modes]
            cross[takers] += entry / len(takers)
    found = loss_by_mode(jaxed(weights), task)
    np.testing.assert_allclose(found.own, own, atol=1e-13 * loss_of(weights, task))
    np.testing.assert_allclose(found.cross, cross, atol=1e-13 * loss_of(weights, task))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_of_aligned_transfers_each_mode_loses_what_its_scalar_chain_loses(depth):
    rng = np.random.default_rng(0)
    left, right = random_basis(3, rng), random_basis(4, rng)
    sigma, s, tuned = np.asarray([3.0, 1.0, 0.2]), np.asarray([2.9, 0.6, 0.0]), np.asarray([2.0, 1.1, 0.5])
    task = LinearTask.create(
        sigma, outputs=3, inputs=4, left=left, right=right, input_covariance=power_covariance(right, 0.5)
    )
    widths = (4, *[3] * (depth - 1), 3)
    before, after = (network.aligned(widths, task, strengths) for strengths in (s, tuned))
    found = forgetting_by_mode(before, after, task)
    variances = np.arange(1, 4) ** -0.5
    # Bases are orthonormal to 1e-15, numbers of order 10.
    np.testing.assert_allclose(found.own, variances * ((tuned - sigma) ** 2 - (s - sigma) ** 2), atol=1e-13)
    np.testing.assert_allclose(found.cross, 0, atol=1e-13)
    assert np.all(np.sign(found.own) == [1, -1, 1])  # mode 1 is lost, mode 2 gained, mode 3 overshoots


def test_rotated_features_are_lost_to_cross_talk():
    # P turns from A to A G: mode i keeps cos of itself, and sends sin to the other.
    task, angle = LinearTask.create(np.asarray([2.0, 1.0])), 0.3
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = forgetting_by_mode((jnp.asarray(task.target),), (jnp.asarray(task.target @ turn),), task)
    np.testing.assert_allclose(found.own, (1 - np.cos(angle)) ** 2 * np.asarray([4, 1]), rtol=1e-13)
    np.testing.assert_allclose(found.cross, np.full(2, np.sin(angle) ** 2 * 5 / 2), rtol=1e-13)


@settings(max_examples=15)
@given(widths_, seeds)
def test_the_quadratic_is_that_of_the_dense_hessian(widths, seed):
    before, after, task = problem(widths, seed, size=0.3)
    found = QUADRATIC(jaxed(before), jaxed(after), task.target, task.input_covariance)
    hessian = np.asarray(HESSIAN(jaxed(before), task.target, task.input_covariance))
    moved = np.concatenate([(b - a).ravel() for a, b in zip(before, after, strict=True)])
    scale = np.linalg.norm(hessian) * np.sum(moved**2)
    np.testing.assert_allclose(found.curvature, moved @ hessian @ moved / 2, atol=1e-13 * scale)
    # By layers the gradient is 2 (W_L ... W_{l+1})^T R S (W_{l-1} ... W_1)^T.
    error = (product_of(before) - task.target) @ task.input_covariance
    slope = 0.0
    for l, (old, new) in enumerate(zip(before, after, strict=True)):
        others = [*before[:l], new - old, *before[l + 1 :]]
        slope += 2 * np.sum(error * product_of(others))
    np.testing.assert_allclose(found.gradient, slope, atol=1e-13 * (scale + loss_of(before, task)))
    np.testing.assert_allclose(found.exact, loss_of(after, task) - loss_of(before, task), atol=1e-12 * (1 + scale))


@pytest.mark.parametrize("widths", WIDTHS)
def test_the_quadratic_is_off_by_third_order_and_exact_for_one_layer(widths):
    before, after, task = problem(widths, 0)
    sizes, errors = np.geomspace(1e-3, 1e-2, 6), []
    for size in sizes:
        near = [a + size * (b - a) for a, b in zip(before, after, strict=True)]
        found = QUADRATIC(jaxed(before), jaxed(near), task.target, task.input_covariance)
        errors.append(abs(float(found.exact - found.total)))
    if len(widths) == 2:
        # Quadratic in its weights: rounding of numbers below 1.
        assert max(errors) < 1e-15
        return
    order = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # The fourth order is 1e-3 to 1e-2 times some ratio of norms of the third.
    assert order == pytest.approx(3, abs=0.1)


def test_at_a_minimum_forgetting_is_the_curvature_term():
    task = LinearTask.create(np.asarray([2.0, 1.0, 0.5]))
    before = network.rank_checkpoint((3, 3, 3), task, 3)
    after = tuple(weight + 1e-4 * jnp.ones_like(weight) for weight in before)
    found = quadratic_forgetting(before, after, task.target)
    assert abs(float(found.gradient)) < 1e-18  # P - A is a rounding, times D of 1e-4
    # The third order is 1e-4 of the second.
    np.testing.assert_allclose(found.curvature, found.exact, rtol=1e-3)
    assert float(found.exact) > 1e-8


def test_little_forgetting_keeps_its_digits():
    # A step of 1e-12 changes a loss of order 1 by order 1e-12: of a difference of losses 4 digits would be left.
    before, after, task = problem((3, 4, 2), 1)
    step = [b - a for a, b in zip(before, after, strict=True)]
    # A power of two, and weights on a grid that it keeps: the displacement is exact.
    small = 2.0**-40
    before = [np.round(weight * 2**8) / 2**8 for weight in before]
    step = [np.round(each * 2**3) / 2**3 for each in step]
    after = [weight + small * each for weight, each in zip(before, step, strict=True)]
    slope = 2 * np.sum(
        (product_of(before) - task.target) @ task.input_covariance * (step[1] @ before[0] + before[1] @ step[0])
    )
    exact = exact_forgetting(jaxed(before), jaxed(after), task.target, task.input_covariance)
    # The second order is 1e-12 of the first.
    np.testing.assert_allclose(exact, small * slope, rtol=1e-10)
    by_mode = forgetting_by_mode(jaxed(before), jaxed(after), task)
    np.testing.assert_allclose(jnp.sum(by_mode.total), exact, rtol=1e-12)


def test_nothing_moved_is_nothing_forgotten_and_float32_stays():
    before, after, task = problem((3, 4, 2), 2)
    np.testing.assert_array_equal(exact_forgetting(jaxed(before), jaxed(before), task.target), 0)
    single = [tuple(jnp.asarray(weight, jnp.float32) for weight in weights) for weights in (before, after)]
    expansion = quadratic_forgetting(*single, task.target, task.input_covariance)
    for leaf in jax.tree.leaves((expansion, forgetting_by_mode(*single, task))):
        assert leaf.dtype == jnp.float32
    np.testing.assert_allclose(expansion.exact, loss_of(after, task) - loss_of(before, task), rtol=1e-4)


def test_budgets_and_seeds_map_over_leading_axes():
    pairs = [problem((3, 4, 2), seed)[:2] for seed in range(4)]
    task = problem((3, 4, 2), 9)[2]
    before, after = (
        tuple(
            jnp.stack([jnp.asarray(pair[k][l]) for pair in pairs]).reshape(2, 2, *pairs[0][k][l].shape) for l in (0, 1)
        )
        for k in (0, 1)
    )
    mapped = jax.jit(jax.vmap(jax.vmap(lambda b, a: forgetting_by_mode(b, a, task))))(before, after)
    assert mapped.own.shape == (2, 2, 2)
    single = [forgetting_by_mode(jaxed(pair[0]), jaxed(pair[1]), task) for pair in pairs]
    np.testing.assert_allclose(mapped.own.reshape(4, 2), [each.own for each in single], rtol=1e-11)
    np.testing.assert_allclose(mapped.total.reshape(4, 2), [each.total for each in single], rtol=1e-11)
    expansion = jax.vmap(jax.vmap(lambda b, a: quadratic_forgetting(b, a, task.target, task.input_covariance)))
    np.testing.assert_allclose(expansion(before, after).exact, jnp.sum(mapped.total, axis=-1), rtol=1e-11)


PAIR = (jnp.ones((3, 4)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_forgetting(PAIR, PAIR[:1], np.ones((2, 4))), r"after: got shapes \[\(3, 4\)\]; allowed: those"),
        (lambda: exact_forgetting(PAIR, PAIR, np.ones((2, 2))), r"target: got shape \(2, 2\); allowed: shape \(2, 4\)"),
        (lambda: quadratic_forgetting(PAIR, PAIR, np.ones((2, 4)), np.eye(3)), r"covariance: got shape \(3, 3\); all"),
        (lambda: exact_forgetting(PAIR[::-1], PAIR, np.ones((2, 4))), "weights: got W_1"),
        (lambda: loss_by_mode(PAIR, LinearTask.create(np.ones(2))), r"target: got shape \(2, 2\)"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()
