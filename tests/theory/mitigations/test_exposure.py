"""Redundant inputs: where training takes weights, against descent; pre-training on a mixture at its minimum."""

import numpy as np
import pytest

from linsim.errors import InvalidInput
from linsim.theory.mitigations.exposure import mixed_solution, redundant_end


def descended(start, along, level, depth, rate=5e-4, steps=40_000):
    """Descent of balanced layers with one hidden unit on (p . v - c)^2, in NumPy alone."""
    size = np.linalg.norm(start)
    row, rest = size ** (1 / depth) * start / size, np.full(depth - 1, size ** (1 / depth))
    for _ in range(steps):
        error = 2 * (np.prod(rest) * row @ along - level)
        others = np.array([np.prod(np.delete(rest, at)) for at in range(depth - 1)])
        row, rest = row - rate * error * np.prod(rest) * along, rest - rate * error * (row @ along) * others
    return np.prod(rest) * row


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("level", [1.0, -0.6])
def test_weights_end_where_descent_takes_them(depth, level):
    start, along = np.array([0.5, 0.1, -0.2]), np.array([1.0, 0.8, 0.3])
    # Layers that move by steps of 5e-4 do not stay balanced to more than that.
    np.testing.assert_allclose(
        redundant_end(start, along, level, depth), descended(start, along, level, depth), atol=1e-3
    )


def test_what_is_conserved_is_the_same_at_every_level():
    start, along = np.array([[0.5, 0.1, -0.2], [0.1, 0.9, 0.4]]), np.array([1.0, 0.8, 0.3])
    for depth in (1, 2, 5):
        kept = []
        for level in (-3.0, 0.0, 1e-3, 2.0, 1e3):
            end = redundant_end(start, along, level, depth)
            np.testing.assert_allclose(end @ along, level, atol=1e-12 + 1e-12 * abs(level))
            size = np.linalg.norm(end, axis=-1)
            sine = np.linalg.norm(end - (end @ along)[:, None] * along / (along @ along), axis=-1) / size
            kept.append(size * sine**depth)
        np.testing.assert_allclose(kept, np.broadcast_to(kept[0], (5, 2)), rtol=1e-6)


def test_weights_along_the_inputs_stay_there_and_do_not_pass_zero():
    along = np.array([1.0, 2.0])
    np.testing.assert_allclose(redundant_end(along, along, 1.0, 3), along / 5, rtol=1e-12)
    np.testing.assert_allclose(redundant_end(-along, along, 1.0, 1), along / 5, rtol=1e-12)
    for start in (-along, 0 * along):
        np.testing.assert_array_equal(redundant_end(start, along, 1.0, 2), [0.0, 0.0])


def test_a_mixture_is_at_its_minimum_and_moves_along_the_inputs_alone():
    base, along = np.array([0.8, -0.3]), np.array([1.0, 0.7])
    for share in (0.0, 0.3, 0.99):
        told = mixed_solution(base, along, 1.5, share)
        slope = (1 - share) * (told - base) + share * (told @ along - 1.5) * along
        np.testing.assert_allclose(slope, 0.0, atol=1e-12)
        np.testing.assert_allclose((told - base) @ [-0.7, 1.0], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: redundant_end([1.0, 0.0], [0.0, 0.0], 1.0, 2),
        lambda: redundant_end([1.0], [1.0, 0.0], 1.0, 2),
        lambda: redundant_end([1.0, 0.0], [1.0, 0.0], 1.0, 0),
        lambda: mixed_solution([1.0, 0.0], [1.0, 1.0], 1.0, 1.0),
        lambda: mixed_solution([1.0], [1.0, 1.0], 1.0, 0.5),
    ],
)
def test_numbers_outside_their_domains_are_refused(call):
    with pytest.raises(InvalidInput):
        call()
