"""Dropout on hidden units: the mean over all masks, written out, is at rest where the closed form says."""

import itertools

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.mitigations.dropout import dropped

SIGMA, HIDDEN = np.array([2.0, 1.0, 0.2]), 4
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def mean_loss(second, first, probability):
    """Of all 16 masks, by their probabilities."""
    losses = []
    for mask in itertools.product((0, 1), repeat=HIDDEN):
        kept = np.array(mask)
        weight = np.prod(np.where(kept, 1 - probability, probability))
        through = (second * (kept / (1 - probability))) @ first
        losses.append(weight * np.sum((through - np.diag(SIGMA)) ** 2))
    return sum(losses)


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_no_layers_nearby_have_less_loss_over_all_masks(probability):
    root = np.sqrt(dropped(SIGMA, probability, HIDDEN))
    second, first = root[:, None] * HADAMARD[:3], (root[:, None] * HADAMARD[:3]).T
    least, rng = mean_loss(second, first, probability), np.random.default_rng(0)
    for _ in range(100):
        off = 1e-2 * rng.normal(size=(2, 3, HIDDEN))
        assert mean_loss(second + off[0], first + off[1].T, probability) > least - 1e-12


def test_own_units_are_a_saddle_with_more_loss():
    root = np.sqrt(np.diag(dropped(SIGMA, 0.5, HIDDEN, "own")))
    second, first = np.pad(root, ((0, 0), (0, 1))), np.pad(root, ((0, 1), (0, 0)))
    told = mean_loss(second, first, 0.5)
    for at in np.ndindex(3, HIDDEN):
        off = np.zeros((3, HIDDEN))
        off[at] = 1e-5
        slope = mean_loss(second + off, first, 0.5) - mean_loss(second - off, first, 0.5)
        assert abs(slope) < 1e-11
    shared = np.sqrt(dropped(SIGMA, 0.5, HIDDEN))[:, None] * HADAMARD[:3]
    assert mean_loss(shared, shared.T, 0.5) < told - 0.1


def test_nothing_is_dropped_at_0_and_all_modes_meet_their_sum():
    np.testing.assert_array_equal(dropped(SIGMA, 0.0, 3), SIGMA)
    left = dropped(SIGMA, 0.6, 5)
    np.testing.assert_allclose(left, np.maximum(SIGMA - 1.5 * left.sum() / 5, 0), rtol=1e-12)


@pytest.mark.parametrize("arguments", [([-1.0], 0.1, 1), ([1.0], 1.0, 1), ([1.0, 1.0], 0.1, 1), ([1.0], 0.1, 1, "all")])
def test_numbers_outside_their_domains_are_refused(unchecked, arguments):
    with pytest.raises(InvalidInput):
        dropped(*arguments)
