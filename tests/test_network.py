"""The Flax module and what each initialisation promises."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from linsim import network
from linsim.errors import InvalidInput
from linsim.losses import end_to_end
from linsim.tasks import LinearTask, random_basis

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TASK = LinearTask.create(
    np.asarray([3.0, -2.0, 1.0]), outputs=3, inputs=5, left=random_basis(3, RNG), right=random_basis(5, RNG)
)
ROUNDING = 1e-14  # a few products of orthonormal matrices of size up to 8


def balance(weights):
    """Largest entry of W_{l+1}^T W_{l+1} - W_l W_l^T over the layers."""
    pairs = itertools.pairwise(weights)
    return max(float(jnp.max(jnp.abs(outer.T @ outer - inner @ inner.T))) for inner, outer in pairs)


def test_the_module_applies_the_product_of_its_weights():
    module = network.LinearNetwork(network.gaussian((5, 7, 2, 3), 1.0, KEY))
    inputs = jax.random.normal(KEY, (11, 5))
    np.testing.assert_allclose(module(inputs), inputs @ end_to_end(module.weights).T, atol=1e-13)
    assert module.widths == (5, 7, 2, 3)


def test_the_module_survives_split_and_merge_and_trains_under_nnx():
    module = network.LinearNetwork(network.identity((3, 3, 3), 0.0))
    graph, parameters = nnx.split(module, nnx.Param)
    again = nnx.merge(graph, jax.tree.map(lambda leaf: 2 * leaf, parameters))
    np.testing.assert_allclose(again(jnp.ones((1, 3))), 4.0)
    gradient = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 3)))))(module)
    assert len(jax.tree.leaves(gradient)) == 2


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.floats(0, 5))
def test_identity_start_has_the_stated_product(widths, tau):
    product = end_to_end(network.identity(widths, tau))
    kept = np.arange(min(widths[0], widths[-1])) < min(widths)
    expected = np.zeros((widths[-1], widths[0]))
    np.fill_diagonal(expected, np.where(kept, np.exp(-tau * (len(widths) - 1)), 0))
    np.testing.assert_allclose(product, expected, rtol=1e-13)


@pytest.mark.parametrize("widths", [(5, 3), (5, 4, 3), (5, 3, 8, 3)])
def test_aligned_start_is_balanced_with_the_given_strengths(widths):
    strengths = np.asarray([0.5, -0.3, 0.2])
    weights = network.aligned(widths, TASK, strengths)
    expected = (TASK.left * strengths) @ TASK.right[:, :3].T
    np.testing.assert_allclose(end_to_end(weights), expected, atol=ROUNDING)
    assert len(weights) == 1 or balance(weights) < ROUNDING


@pytest.mark.parametrize("modes", [0, 1, 2, 3])
def test_rank_checkpoint_has_the_first_modes_exactly(modes):
    product = end_to_end(network.rank_checkpoint((5, 4, 3), TASK, modes))
    kept = np.where(np.arange(3) < modes, TASK.strengths, 0)
    np.testing.assert_allclose(product, (TASK.left * kept) @ TASK.right[:, :3].T, atol=ROUNDING)
    assert np.linalg.matrix_rank(product, tol=1e-12) == modes


def test_rank_checkpoint_fits_a_narrow_network_when_its_rank_does():
    assert np.linalg.matrix_rank(end_to_end(network.rank_checkpoint((5, 2, 3), TASK, 2))) == 2
    with pytest.raises(InvalidInput, match="3 non-zero modes; allowed: at most min"):
        network.rank_checkpoint((5, 2, 3), TASK, 3)


@pytest.mark.parametrize("widths", [(4, 4), (4, 4, 4), (5, 3, 8, 4)])
def test_balanced_start_is_balanced_with_equal_singular_values(widths):
    weights = network.balanced(widths, 0.1, KEY)
    assert len(weights) == 1 or balance(weights) < ROUNDING
    found = np.linalg.svd(end_to_end(weights), compute_uv=False)
    np.testing.assert_allclose(found[: min(widths)], 0.1 ** (len(widths) - 1), rtol=1e-12)


@pytest.mark.parametrize("widths", [(6, 4, 5), (4, 4, 4), (3, 4, 6), (6, 4, 3), (3, 8, 6)])
@pytest.mark.parametrize("l", [0.0, 0.7, -1.3, 1e3])
def test_lambda_balanced_start_has_the_stated_balance_and_product(widths, l):
    inputs, hidden, outputs = widths
    carrier = outputs if l > 0 else inputs
    if l and hidden > carrier:
        with pytest.raises(InvalidInput, match="widths: got"):
            network.lambda_balanced(widths, 1e-3, l, KEY)
        return
    first, second = network.lambda_balanced(widths, 1e-3, l, KEY)
    difference = second.T @ second - first @ first.T
    np.testing.assert_allclose(difference, l * np.eye(hidden), atol=ROUNDING * max(1, abs(l)))
    found = np.linalg.svd(second @ first, compute_uv=False)
    # 1e-6 is a difference of products of size up to |l|, hence the absolute tolerance.
    np.testing.assert_allclose(found[: min(widths)], 1e-6, atol=ROUNDING * max(1, abs(l)))


def test_gaussian_start_has_the_stated_variance():
    (weight,) = network.gaussian((400, 300), 0.5, KEY)
    # The variance of 120,000 draws is off by sqrt(2/120000) = 0.4 % in one standard error.
    assert float(jnp.var(weight)) == pytest.approx(0.25 / 400, rel=0.02)


def test_more_seeds_do_not_change_the_first_ones():
    few, many = jax.random.split(KEY, 2), jax.random.split(KEY, 5)
    for short, long in zip(few, many, strict=False):
        np.testing.assert_array_equal(network.gaussian((3, 3), 1.0, short)[0], network.gaussian((3, 3), 1.0, long)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network.identity((3,), 1.0), "widths: got"),
        (lambda: network.identity((3, 0), 1.0), "widths: got 0; allowed: an integer >= 1"),
        (lambda: network.identity((3, 3), float("nan")), "tau: got nan"),
        (lambda: network.gaussian((3, 3), -1.0, KEY), "scale: got -1.0"),
        (lambda: network.lambda_balanced((3, 3), 1.0, 0.0, KEY), "widths: got .*three widths"),
        (lambda: network.aligned((4, 3), TASK, np.ones(3)), "widths: got .*ends"),
        (lambda: network.rank_checkpoint((5, 3), TASK, 4), "modes: got 4"),
        (lambda: network.LinearNetwork((jnp.ones((2, 3)), jnp.ones((2, 3)))), "weights: got W_1 .*shapes that chain"),
    ],
)
def test_bad_networks_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
