"""Two layers at their least width, and the balance of two layers."""

import jax
import numpy as np
import pytest

from linsim import network
from linsim.dynamics.matrices.width import BALANCED, balance_of, narrowed
from linsim.errors import InvalidInput

EPS = float(np.finfo(np.float64).eps)


def layers(shape, scale=0.5, balance=None, seed=0):
    key = jax.random.key(seed)
    drawn = (
        network.gaussian(shape, scale, key) if balance is None else network.lambda_balanced(shape, scale, balance, key)
    )
    return tuple(np.asarray(weight) for weight in drawn)


@pytest.mark.parametrize("shape", [(3, 40, 2), (3, 6, 2), (1, 3, 1)], ids=str)
def test_a_wide_layer_is_its_narrow_form_in_an_orthonormal_basis(shape):
    inputs, hidden, outputs = shape
    first, second = layers(shape)
    narrow = narrowed(first, second)
    assert narrow.first.shape == (inputs + outputs, inputs)
    assert narrow.second.shape == (outputs, inputs + outputs)
    assert narrow.basis.shape == (hidden, inputs + outputs)
    np.testing.assert_allclose(narrow.basis.T @ narrow.basis, np.eye(inputs + outputs), rtol=0, atol=32 * EPS)
    np.testing.assert_allclose(narrow.basis @ narrow.first, first, rtol=0, atol=32 * EPS)
    np.testing.assert_allclose(narrow.second @ narrow.basis.T, second, rtol=0, atol=32 * EPS)
    np.testing.assert_allclose(narrow.second @ narrow.first, second @ first, rtol=0, atol=64 * EPS)


@pytest.mark.parametrize("shape", [(3, 5, 2), (3, 1, 2)], ids=str)
def test_a_layer_that_is_not_wide_is_left_as_it_is(shape):
    first, second = layers(shape)
    narrow = narrowed(first, second)
    assert narrow.first is first and narrow.second is second
    np.testing.assert_array_equal(narrow.basis, np.eye(shape[1]))


def test_hidden_vectors_that_repeat_or_vanish_have_a_narrow_form_too():
    one = np.ones((9, 2)) @ np.diag([1.0, 0.0])
    narrow = narrowed(one, one.T)
    np.testing.assert_allclose(narrow.basis @ narrow.first, one, rtol=0, atol=16 * EPS)
    np.testing.assert_allclose(narrow.basis.T @ narrow.basis, np.eye(4), rtol=0, atol=16 * EPS)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9, 1e-150])
@pytest.mark.parametrize(
    ("shape", "balance"), [((2, 3, 4), 0.7), ((4, 2, 2), -1.3), ((4, 2, 3), 1e-9), ((2, 9, 3), 0.0)]
)
def test_the_balance_is_found_at_any_scale_of_the_weights(shape, balance, scale):
    first, second = (scale * layer for layer in layers(shape, 0.5, balance))
    size = np.sum(first**2) + np.sum(second**2)
    np.testing.assert_allclose(balance_of(first, second), balance * scale**2, rtol=0, atol=16 * EPS * size)


def test_a_balance_within_rounding_is_none():
    first = layers((3, 3, 3), 0.5, 0.0)[0]
    assert balance_of(first, first.T * (1 + 1e-13)) == 0
    assert balance_of(first, first.T * (1 + 1e-11)) > 0  # 2e-11 / 6 of the squared norm
    assert balance_of(np.zeros((3, 2)), np.zeros((2, 3))) == 0


@pytest.mark.parametrize("hidden", [3, 9])
def test_layers_out_of_balance_are_refused_with_how_much_they_are_off(hidden):
    first, second = layers((2, hidden, 3), 0.5, 0.0)
    assert balance_of(first, second) == 0
    # A change by x of entries of size 1/2, in a squared norm of 1: off by about x, less what looks like a balance.
    for change, order in ((1e-3, "[0-9.]+e-0[34]"), (1e-9, "[0-9.]+e-(09|10)")):
        with pytest.raises(InvalidInput, match=f"weights: got balance off by {order}; allowed: W_2.* up to 1e-12"):
            balance_of(first + change * np.eye(hidden, 2), second)
    balance_of(first + 0.01 * BALANCED * np.eye(hidden, 2), second)


def test_a_wide_hidden_layer_cannot_have_a_balance():
    first, second = np.eye(9, 2), 1.1 * np.eye(3, 9)
    with pytest.raises(InvalidInput, match="balance off by"):
        balance_of(first, second)
