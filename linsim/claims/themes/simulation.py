"""What claims about two and more layers are held against: NumPy and an adaptive integrator, nothing of linsim's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from linsim.tasks import LinearTask

Matrix = np.ndarray
Layers = Sequence[Matrix]
"""(W_1, ..., W_L), W_1 the input layer."""


def rotation(seed: int, size: int) -> Matrix:
    """A random orthonormal basis with determinant 1."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    basis[:, 0] *= np.sign(np.linalg.det(basis))
    return basis


def turned(size: int, degrees: float) -> Matrix:
    """A rotation of the first axis towards the last one."""
    turn = np.eye(size)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn[0, 0], turn[0, -1], turn[-1, 0], turn[-1, -1] = cosine, -sine, sine, cosine
    return turn


def product(layers: Layers) -> Matrix:
    """P = W_L ... W_1."""
    return reduce(lambda inner, outer: outer @ inner, layers)


def imbalance(layers: Layers) -> Matrix:
    """W_2^T W_2 - W_1 W_1^T of two layers."""
    return layers[1].T @ layers[1] - layers[0] @ layers[0].T


def grams(layers: Layers) -> Matrix:
    """P and both Gram matrices, [[G_1, P^T], [P, G_2]]: all that is left of layers up to a rotation between them."""
    factor = np.concatenate([layers[0].T, layers[1]])
    return factor @ factor.T


def two_layers(left: Matrix, strengths: Any, right: Matrix, balance: Any, middle: Matrix) -> list[Matrix]:
    """Layers with P = sum_i s_i u_i v_i^T and W_2^T W_2 - W_1 W_1^T = l, one l for all hidden directions or one each.

    Hidden directions are the columns of `middle`; those without a strength carry l in one layer.
    """
    hidden = len(middle)
    s, l = np.zeros(hidden), np.broadcast_to(np.asarray(balance, float), hidden)
    s[: len(strengths)] = strengths
    larger = np.sqrt(np.hypot(l / 2, s) + np.abs(l) / 2)
    smaller = s / np.where(larger > 0, larger, 1)  # free of cancellation
    inner, outer = np.where(l > 0, smaller, larger), np.where(l > 0, larger, smaller)
    first = middle @ (np.eye(hidden, len(right)) * inner[:, None]) @ right.T
    second = left @ (np.eye(len(left), hidden) * outer) @ middle.T
    return [first, second]


def random_start(strengths: Any, balance: Any, seed: int, widths: tuple[int, int, int]) -> list[Matrix]:
    """Two layers with these modes and this balance, in three random bases."""
    right, middle, left = (rotation(seed + shift, width) for shift, width in enumerate(widths))
    return two_layers(left, strengths[: min(widths)], right, balance, middle)


def random_task(strengths: Any, seed: int, widths: tuple[int, int, int]) -> Matrix:
    """A target with these modes in two random bases."""
    rank = len(strengths)
    left, right = rotation(seed, widths[2]), rotation(seed + 1, widths[0])
    return (left[:, :rank] * np.asarray(strengths)) @ right[:, :rank].T


def task_of(target: Matrix, covariance: Matrix | None = None) -> LinearTask:
    """A target as linsim takes it, without label noise."""
    left, strengths, right = np.linalg.svd(target)
    return LinearTask(left, strengths, right.T, np.eye(len(right)) if covariance is None else covariance, 0.0)


def velocity(
    layers: Layers, target: Matrix, covariance: Matrix | None = None, weight_decay: float = 0.0
) -> list[Matrix]:
    """dW/dt = - dL/dW of L = tr((P - A) S (P - A)^T) + (beta / 2) sum_l ||W_l||^2."""
    before = list(itertools.accumulate(layers, lambda inner, outer: outer @ inner))
    residual = 2 * (before[-1] - target)
    back = residual if covariance is None else residual @ covariance
    speeds = []
    for layer in reversed(range(len(layers))):
        gradient = back @ before[layer - 1].T if layer else back
        speeds.append(-gradient - weight_decay * layers[layer] if weight_decay else -gradient)
        if layer:
            back = layers[layer].T @ back
    return speeds[::-1]


def speed(layers: Layers, target: Matrix) -> Matrix:
    """dP/dt under gradient flow, by the product rule."""
    each = enumerate(velocity(layers, target))
    return np.sum([product([*layers[:layer], change, *layers[layer + 1 :]]) for layer, change in each], axis=0)


def flowed(
    layers: Layers, target: Matrix, time: float, covariance: Matrix | None = None, weight_decay: float = 0.0
) -> list[Matrix]:
    """Layers after gradient flow for some time, to about 1e-9 of the largest weight."""
    unpacked = _unpacking(layers)

    def slope(_: float, state: Matrix) -> Matrix:
        return _packed(velocity(unpacked(state), target, covariance, weight_decay))

    if time == 0:
        return list(layers)
    return unpacked(solve_ivp(slope, (0, time), _packed(layers), **_ACCURACY).y[:, -1])


def half_time(strength: float, layers: Layers) -> float:
    """Time at which layers of one unit each have learned half of a mode."""
    target, unpacked = np.full((1, 1), strength), _unpacking(layers)

    def missing(_: float, state: Matrix) -> float:
        return float(product(unpacked(state))[0, 0]) - strength / 2

    def slope(_: float, state: Matrix) -> Matrix:
        return _packed(velocity(unpacked(state), target))

    missing.terminal = True  # type: ignore[attr-defined]
    latest = 1e3 / strength
    reached = solve_ivp(slope, (0, latest), _packed(layers), events=missing, **_ACCURACY).t[-1]
    later = flowed(layers, target, reached)  # where the event was interpolated: one step of Newton's method from there
    return float(reached - (product(later)[0, 0] - strength / 2) / speed(later, target)[0, 0])


def descended(
    layers: Layers,
    target: Matrix,
    rate: float,
    steps: int,
    covariance: Matrix | None = None,
    weight_decay: float = 0.0,
) -> list[Matrix]:
    """Layers after plain gradient descent."""
    moving = list(layers)
    for _ in range(steps):
        speeds = velocity(moving, target, covariance, weight_decay)
        moving = [layer + rate * speed for layer, speed in zip(moving, speeds, strict=True)]
    return moving


_ACCURACY: Any = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-14}


def _packed(parts: Layers) -> Matrix:
    return np.concatenate([part.ravel() for part in parts])


def _unpacking(layers: Layers) -> Callable[[Matrix], list[Matrix]]:
    ends = itertools.accumulate([layer.size for layer in layers], initial=0)
    parts = [(slice(*span), layer.shape) for span, layer in zip(itertools.pairwise(ends), layers, strict=True)]
    return lambda state: [state[part].reshape(shape) for part, shape in parts]
