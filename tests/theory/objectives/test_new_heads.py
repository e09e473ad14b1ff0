"""Representations without labels in closed form, and new heads on them: against descent of matrices in NumPy."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.objectives.new_heads import best_representation, headed, representation_mode

SIZES, STARTS = np.array([2.0, 1.0, 0.5]), np.array([0.02, 0.05, 0.01])


def descended(pretext, time, rate=2e-5):
    """Strengths of modes after descent on W, by the gradient written out."""
    W, data = np.diag(np.sqrt(STARTS)), np.diag(SIZES)
    for _ in range(round(time / rate)):
        if pretext == "autoencoder":
            off = W.T @ W - np.eye(3)
            slope = 2 * W @ (off @ data + data @ off)
        elif pretext == "contrastive":
            slope = 4 * W @ (W.T @ W - data)
        else:
            slope = 4 * (W @ data @ W.T - np.eye(3)) @ W @ data
        W = W - rate * slope
    return np.diag(W.T @ W)


@pytest.mark.parametrize("pretext", ["autoencoder", "contrastive", "whitening"])
def test_modes_grow_as_by_descent_on_the_matrix(pretext):
    # Descent lags the flow by rate x curvature, 8 x 4 at most, of its time, in exponents of some e-folds.
    np.testing.assert_allclose(representation_mode(STARTS, 0.3, SIZES, pretext), descended(pretext, 0.3), rtol=5e-3)
    np.testing.assert_allclose(representation_mode(STARTS, 0.0, SIZES, pretext), STARTS, rtol=1e-14)
    limit = {"autoencoder": np.ones(3), "contrastive": SIZES, "whitening": 1 / SIZES}[pretext]
    np.testing.assert_allclose(representation_mode(STARTS, 1e6, SIZES, pretext), limit, rtol=1e-14)


def tuned(strength, target, steps=40_000, rate=5e-3):
    """w^2 after descent with a new head."""
    w, h = np.sqrt(strength), 0.0
    for _ in range(steps):
        error = 2 * (h * w - target)
        w, h = w - rate * error * h, h - rate * error * w
    return w**2


def test_a_new_head_ends_where_it_says_and_the_best_budget_at_the_limit():
    for strength, target in ((0.5, 0.3), (1.0, 2.0), (0.1, -1.0)):
        # Steps break the conserved w^2 - h^2 by their squares, rate x beta relative at most.
        np.testing.assert_allclose(tuned(strength, target), headed(strength, target), rtol=2e-2)
    np.testing.assert_allclose(headed(best_representation(1.5, 0.8), 0.8), 1.5, rtol=1e-14)
    assert best_representation(1.0, 1.0) == 0


@pytest.mark.parametrize(
    ("ratio", "than_small", "than_zero"), [(0.6, False, False), (0.75, True, False), (1.5, True, True)]
)
def test_harm_begins_where_it_says(ratio, than_small, than_zero):
    learned, small = (abs(tuned(strength, 2 * ratio) - 2) for strength in (2.0, 1e-6))
    assert (learned > small) == than_small
    assert (learned > 2) == than_zero


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: representation_mode(0.0, 1.0, 1.0, "whitening"), "start: got"),
        (lambda: representation_mode(1.0, -1.0, 1.0, "whitening"), "time: got"),
        (lambda: representation_mode(1.0, 1.0, 1.0, "masking"), "pretext: got masking"),
        (lambda: headed(-1.0, 1.0), "strength: got"),
        (lambda: best_representation(0.0, 1.0), "limit: got"),
        (lambda: headed([1.0, 2.0], [1.0, 2.0, 3.0]), "strength and target: got"),
    ],
)
def test_what_is_no_mode_is_refused_by_name(unchecked, call, told):
    with pytest.raises(InvalidInput) as refused:
        call()
    assert str(refused.value).startswith(told)
