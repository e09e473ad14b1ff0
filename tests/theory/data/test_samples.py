"""The edge of useful modes against the thresholds of Gavish and Donoho, and truncations of drawn samples."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.data.samples import useful_singular_value
from linsim.theory.held_out import mean_heldout


def test_the_threshold_of_square_matrices_is_that_of_the_paper():
    assert float(useful_singular_value(400, 400, 1.0)) == pytest.approx(4 / np.sqrt(3) * 20)


@pytest.mark.parametrize(("ratio", "stated"), [(0.05, 1.5066), (0.5, 1.9786), (1.0, 2.3094)])
def test_thresholds_of_others_are_those_of_its_table(ratio, stated):
    assert float(useful_singular_value(round(1000 * ratio), 1000, 1e-3)) == pytest.approx(stated, abs=5e-5)
    assert float(useful_singular_value(1000, round(1000 * ratio), 1e-3)) == pytest.approx(stated, abs=5e-5)


def test_the_best_truncation_keeps_what_is_above_the_edge():
    size, variance, rng = 300, 0.02, np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for _ in "ab")
    # Strengths over sqrt(3 d v), from which on learning a mode is of use.
    target = (left * np.array([2.0, 1.4, 0.8, 0.6]) * np.sqrt(3 * size * variance)) @ right.T
    outer, found, inner = np.linalg.svd(target + np.sqrt(variance) * rng.standard_normal((size, size)))
    losses = [np.sum(((outer[:, :n] * found[:n]) @ inner[:n] - target) ** 2) for n in range(8)]
    assert int(np.argmin(losses)) == int(np.sum(found > float(useful_singular_value(size, size, variance)))) == 2


def test_first_order_in_the_noise_follows_the_base_loss_and_misses_its_turn():
    strengths, start, variance = np.array([1, 1, 0.5, 0.5, 0.25, 0.25, 1e-9, 1e-9]), 1e-3, 1e-3
    sample = np.diag(strengths) + np.sqrt(variance) * np.random.default_rng(0).standard_normal((60, 8, 8))
    first = second = np.tile(np.sqrt(start) * np.eye(8), (60, 1, 1))
    losses = []
    for step in range(2001):
        product = second @ first
        if step % 50 == 0:
            losses.append(np.mean(np.sum((product - np.diag(strengths)) ** 2, axis=(1, 2))))
        slope = 2 * (product - sample)
        first, second = first - 0.02 * second.swapaxes(1, 2) @ slope, second - 0.02 * slope @ first.swapaxes(1, 2)
    stated = mean_heldout(np.full(8, start), strengths, variance, np.linspace(0, 40, 2001))[::50]
    # Of first order: what is left out is of the order of the noise over the weakest strength, 0.03/0.25.
    assert np.max(np.abs(stated / losses - 1)) < 0.12
    assert losses[-1] > 1.02 * min(losses)
    assert stated[-1] < 1.005 * min(stated)


def test_no_noise_hides_nothing():
    assert float(useful_singular_value(3, 5, 0.0)) == 0


@pytest.mark.parametrize("arguments", [(0, 3, 1.0), (3, 0, 1.0), (3, 3, -1.0), (3, 3, np.nan)])
def test_numbers_outside_their_domains_are_refused(arguments):
    with pytest.raises(InvalidInput):
        useful_singular_value(*arguments)
