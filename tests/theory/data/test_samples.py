"""The edge of useful modes against the thresholds of Gavish and Donoho, and truncations of drawn samples."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.data.samples import useful_singular_value


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


def test_no_noise_hides_nothing():
    assert float(useful_singular_value(3, 5, 0.0)) == 0


@pytest.mark.parametrize("arguments", [(0, 3, 1.0), (3, 2.5, 1.0), (3, 3, -1.0), (3, 3, np.nan)])
def test_numbers_outside_their_domains_are_refused(arguments):
    with pytest.raises(InvalidInput):
        useful_singular_value(*arguments)
