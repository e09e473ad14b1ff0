"""Optimisers of matrices that commute with a change of basis, which optax lacks: Muon, Shampoo, descent on P itself.

Each is a factory as `Phase(optimizer=...)` takes it, and has `of_modes`, the same rule for networks that are diagonal
in the bases of their tasks: there it is one for every mode alone, which the solver `modes` follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from linsim.dynamics.moving.matrix_roots import Matrix, inverse_root, polar_factor
from linsim.errors import brief, require, require_number
from linsim.losses import Weights, matmul

_SMALLEST, _LARGEST = 1e-12, 1e12


@runtime_checkable
class Spectral(Protocol):
    """An optimiser that treats every mode of an aligned network alone."""

    @property
    def by_lengths(self) -> bool:
        """Whether directions of hardly any gradient move by much: outside the modes, where it is rounding, too."""
        ...

    def __call__(self, learning_rate: Any) -> optax.GradientTransformation:
        """Of weights (W_1, ..., W_L)."""
        ...

    def of_modes(self, learning_rate: Any) -> optax.GradientTransformation:
        """The same of chains w_{l,i}, an array of shape (layers, modes)."""
        ...


@dataclass(frozen=True)
class Muon:
    """W <- W - eta U V^T with U, V those of the gradient of each layer: exactly, without momentum, scale or decay.

    `optax.contrib.muon` has five steps of Newton and Schulz in place of U V^T, and momentum. [Jordan et al. 2024] Where
    layers have directions outside the modes of the task, their gradient is rounding, and moves them by eta as well.

    Example:
      >>> muon, weights = ls.Muon()(0.1), (jnp.eye(2),)
      >>> change, _ = muon.update((jnp.diag(jnp.array([3.0, -0.01])),), muon.init(weights), weights)
      >>> np.asarray(10 * change[0]).round(6)
      array([[-1., -0.],
             [-0.,  1.]])
    """

    by_lengths: ClassVar[bool] = True

    def __call__(self, learning_rate: Any) -> optax.GradientTransformation:
        """With eta, in weight per step, or a schedule of it."""
        polar = optax.stateless(lambda slopes, _: jax.tree.map(polar_factor, slopes))
        return optax.chain(polar, optax.scale_by_learning_rate(learning_rate))

    def of_modes(self, learning_rate: Any) -> optax.GradientTransformation:
        """The polar factor of a diagonal matrix is its signs."""
        return optax.sign_sgd(learning_rate)


class _Accumulated(NamedTuple):
    left: Any
    right: Any


@dataclass(frozen=True)
class Shampoo:
    """W <- W - eta L^(-1/4) G R^(-1/4), where L and R add up G G^T and G^T G, from `initial` I on. [Gupta et al. 2018]

    Example:
      >>> shampoo, weights = ls.Shampoo()(0.1), (jnp.eye(2),)
      >>> change, _ = shampoo.update((jnp.diag(jnp.array([3.0, -0.1])),), shampoo.init(weights), weights)
      >>> np.asarray(10 * change[0]).round(3)
      array([[-1.   , -0.   ],
             [-0.   ,  0.995]])
    """

    initial: float = 1e-4
    """Both accumulators before the first step, in squared gradients; above 0, and within 1e-10 of what adds up."""
    by_lengths: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_number("initial", self.initial, at_least=_SMALLEST, at_most=_LARGEST)

    def __call__(self, learning_rate: Any) -> optax.GradientTransformation:
        """With eta, in weight per step, or a schedule of it."""

        def begin(weights: Any) -> _Accumulated:
            sides = (tuple(self.initial * jnp.eye(w.shape[side], dtype=w.dtype) for w in weights) for side in (0, 1))
            return _Accumulated(*sides)

        def update(slopes: Weights, at: _Accumulated, _: Any = None) -> tuple[Weights, _Accumulated]:
            left = tuple(kept + matmul(slope, slope.T) for kept, slope in zip(at.left, slopes, strict=True))
            right = tuple(kept + matmul(slope.T, slope) for kept, slope in zip(at.right, slopes, strict=True))
            sides = zip(left, slopes, right, strict=True)
            changes = tuple(matmul(matmul(inverse_root(a, 4), slope), inverse_root(b, 4)) for a, slope, b in sides)
            return changes, _Accumulated(left, right)

        return optax.chain(
            optax.GradientTransformation(begin, update),
            optax.scale_by_learning_rate(learning_rate),
        )

    def of_modes(self, learning_rate: Any) -> optax.GradientTransformation:
        """g / sqrt(initial + sum g^2) of every mode."""
        scaled = optax.scale_by_rss(initial_accumulator_value=self.initial, eps=0.0)
        return optax.chain(scaled, optax.scale_by_learning_rate(learning_rate))


@dataclass(frozen=True)
class NaturalGradient:
    """Two layers that move P as descent on P itself would, dP = -eta dL/dP, up to damping and terms in eta^2.

    W_1 <- W_1 - (eta/2) (W_2^T W_2 + e I)^(-1) G_1  and  W_2 <- W_2 - (eta/2) G_2 (W_1 W_1^T + e I)^(-1): every mode,
    learned or not, goes to its target at one speed. Steps are stable for eta sigma_1 below e, and modes with s > e
    follow. [Amari 1998; of the product, re-derived]

    Example:
      >>> natural, weights = ls.NaturalGradient(1e-9)(0.1), (jnp.diag(jnp.array([2.0, 0.5])), jnp.eye(2))
      >>> first, second = natural.update((jnp.eye(2), weights[0].T), natural.init(weights), weights)[0]
      >>> np.asarray(second @ weights[0] + weights[1] @ first).round(6)
      array([[-0.1,  0. ],
             [ 0. , -0.1]])
    """

    damping: float = 0.01
    """e, in squared weights; above 0."""
    by_lengths: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_number("damping", self.damping, at_least=_SMALLEST, at_most=_LARGEST)

    def __call__(self, learning_rate: Any) -> optax.GradientTransformation:
        """With eta, in flow time per step, or a schedule of it."""

        def change(slopes: Weights, first: Any, second: Any) -> Weights:
            inner = inverse_root(self._damped(matmul(second.T, second)), 1)
            outer = inverse_root(self._damped(matmul(first, first.T)), 1)
            return 0.5 * matmul(inner, slopes[0]), 0.5 * matmul(slopes[1], outer)

        return _of_two_layers(change, learning_rate)

    def of_modes(self, learning_rate: Any) -> optax.GradientTransformation:
        """g_1 / (2 (w_2^2 + e)) and g_2 / (2 (w_1^2 + e))."""

        def change(slopes: Any, first: Float[Array, " modes"], second: Float[Array, " modes"]) -> Any:
            sizes = jnp.stack([second**2, first**2]) + self.damping
            return slopes / (2 * sizes)

        return _of_two_layers(change, learning_rate)

    def _damped(self, gram: Matrix) -> Matrix:
        return gram + self.damping * jnp.eye(len(gram), dtype=gram.dtype)


def _of_two_layers(change: Callable[..., Any], learning_rate: Any) -> optax.GradientTransformation:
    """A transformation of slopes by both layers."""

    def update(slopes: Any, weights: Any) -> Any:
        told = weights if isinstance(weights, tuple) else brief(weights)
        require(len(weights) == 2, "optimizer", f"{len(told)} layers", "two layers, for NaturalGradient")
        return change(slopes, weights[0], weights[1])

    return optax.chain(optax.stateless(update), optax.scale_by_learning_rate(learning_rate))
