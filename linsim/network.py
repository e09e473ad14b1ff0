"""The linear network f(x) = W_L ... W_1 x as a Flax module, and its initialisations.

Weights are a tuple (W_1, ..., W_L) with W_1 the input layer; widths are (d_in, h_1, ..., h_{L-1}, d_out), so W_l
has shape (widths[l], widths[l-1]).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from linsim.errors import (
    LARGEST,
    brief,
    brief_row,
    listed,
    numbers,
    require,
    require_integer,
    require_kind,
    require_number,
)
from linsim.losses import Weights, require_chain
from linsim.precision import in_float64
from linsim.tasks import LinearTask

_WIDEST = 10**7
_LARGEST_TAU = 700.0  # e^tau is a number


class LinearNetwork(nnx.Module):
    """f(x) = W_L ... W_1 x without biases, of any depth L >= 1 and any widths; NaN and infinite where inputs are.

    Example:
      >>> network = LinearNetwork(identity((3, 3, 3), tau=2.0))
      >>> network(jnp.ones((5, 3))).shape
      (5, 3)
    """

    def __init__(self, weights: Weights) -> None:
        """Wrap weights, in the precision that JAX is set to; `InvalidInput` where consecutive shapes do not chain."""
        require_chain(weights)
        real = jnp.result_type(float)
        self.layers = nnx.List([nnx.Param(jnp.asarray(weight, real)) for weight in weights])

    def __call__(self, inputs: Float[Array, "... d_in"]) -> Float[Array, "... d_out"]:
        """Apply the network to inputs along the last axis; NaN and infinite where they are, or where products overflow.

        Raises:
          InvalidInput: what is no array of real numbers, or one of another width.
        """
        width = self.widths[0]
        real = getattr(getattr(inputs, "dtype", None), "kind", "O") in "iufV" and inputs.shape[-1:] == (width,)
        real &= not isinstance(inputs, np.ma.MaskedArray)
        require(real, "inputs", brief(inputs), f"an array of real numbers of shape (..., {width})")
        with np.errstate(over="ignore"):  # of numbers that JAX has no room for, where it is set to float32
            inputs = jnp.asarray(inputs)
        for layer in self.layers:
            inputs = inputs @ layer[...].T
        return inputs

    @property
    def weights(self) -> Weights:
        """(W_1, ..., W_L) as plain arrays, what the solvers work on."""
        return tuple(layer[...] for layer in self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """(d_in, h_1, ..., d_out)."""
        weights = self.weights
        return (weights[0].shape[1], *(weight.shape[0] for weight in weights))

    def __repr__(self) -> str:
        return f"LinearNetwork({brief_row(self.widths, ' -> ')})"


@in_float64
def identity(widths: Sequence[int], tau: float) -> Weights:
    """W_l = e^(-tau) I (rectangular where widths differ), so P(0) = e^(-L tau) I. [Feng et al. 2026, C.8]

    Example:
      >>> first, second = ls.identity((3, 2, 3), tau=0.0)
      >>> np.asarray(second @ first)
      array([[1., 0., 0.],
             [0., 1., 0.],
             [0., 0., 0.]])
    """
    widths = _widths(widths)
    require_number("tau", tau, at_least=-_LARGEST_TAU, at_most=_LARGEST_TAU)
    return tuple(jnp.eye(rows, columns) * np.exp(-tau) for columns, rows in _shapes(widths))


@in_float64
def aligned(widths: Sequence[int], task: LinearTask, strengths: Float[np.ndarray, " modes"]) -> Weights:
    """Balanced weights diagonal in a task's bases with P = sum_i s_i u_i v_i^T: each layer carries |s_i|^(1/L).

    Args:
      widths: their ends must be the task's inputs and outputs.
      task: whose bases are used.
      strengths: s_i, one per mode of the task; at most min(widths) of them non-zero.

    Example:
      >>> task = ls.LinearTask.create(ls.power_law(3))
      >>> first, second = ls.aligned((3, 5, 3), task, np.array([0.5, 0.25, 0.0]))
      >>> np.diag(second @ first).round(6)
      array([0.5 , 0.25, 0.  ])
    """
    widths = _widths(widths)
    require_kind("task", task, LinearTask)
    strengths = numbers("strengths", strengths, 1)
    ends = (task.inputs, task.outputs)
    require((widths[0], widths[-1]) == ends, "widths", tuple(widths), f"ends {ends}, the task's inputs and outputs")
    modes = (len(task.strengths),)
    require(strengths.shape == modes, "strengths", strengths, f"{modes[0]} numbers, one for each mode of the task")
    rank, narrowest = int(np.count_nonzero(strengths)), min(widths)
    require(rank <= narrowest, "strengths", f"{rank} non-zero modes", f"at most min(widths) = {narrowest}")
    order = np.argsort(strengths == 0, kind="stable")[:narrowest]  # hidden units go to the modes that need them
    share = np.abs(strengths[order]) ** (1 / (len(widths) - 1))
    bases = [task.right[:, order], *(np.eye(width, narrowest) for width in widths[1:-1]), task.left[:, order]]
    bases[-1] = bases[-1] * np.where(strengths[order] < 0, -1.0, 1.0)
    return _chained(bases, [share] * (len(widths) - 1))


@in_float64
def rank_checkpoint(widths: Sequence[int], task: LinearTask, modes: int) -> Weights:
    """The idealised checkpoint of stage n: P is A with only its first n modes, the others exactly 0.

    Example:
      >>> first, second = ls.rank_checkpoint((3, 3, 3), ls.LinearTask.create(ls.power_law(3)), modes=2)
      >>> np.diag(second @ first).round(6)
      array([2., 1., 0.])
    """
    require_integer("modes", modes, at_least=0, at_most=len(require_kind("task", task, LinearTask).strengths))
    kept = np.where(np.arange(len(task.strengths)) < modes, task.strengths, 0.0)
    return aligned(widths, task, kept)


@in_float64
def balanced(widths: Sequence[int], scale: float, key: PRNGKeyArray) -> Weights:
    """W_l = scale * R_l R_{l-1}^T with random orthonormal R_l of min(widths) columns: exactly balanced, not aligned.

    Example:
      >>> first, second = ls.balanced((3, 5, 4), scale=0.1, key=jax.random.key(0))
      >>> bool(np.allclose(second.T @ second, first @ first.T))
      True
    """
    widths = _widths(widths)
    require_number("scale", scale, at_least=0, at_most=LARGEST)
    require_key(key)
    narrowest = min(widths)
    bases = [
        np.asarray(jax.random.orthogonal(level, width, m=narrowest))
        for level, width in zip(jax.random.split(key, len(widths)), widths, strict=True)
    ]
    return _chained(bases, [np.full(narrowest, float(scale))] * (len(widths) - 1))


@in_float64
def lambda_balanced(widths: Sequence[int], scale: float, balance: float, key: PRNGKeyArray) -> Weights:
    """Two layers in random bases with W_2^T W_2 - W_1 W_1^T = balance * I and scale^2 for the singular values of P.

    balance = 0 is the rich regime, large |balance| the lazy one. [Domine et al. 2025]

    Raises:
      InvalidInput: other than two layers, or a hidden layer wider than the side that must carry the balance
        (d_out for balance > 0, d_in for balance < 0).

    Example:
      >>> first, second = ls.lambda_balanced((4, 3, 4), scale=0.1, balance=0.5, key=jax.random.key(0))
      >>> bool(np.allclose(second.T @ second - first @ first.T, 0.5 * np.eye(3)))
      True
    """
    widths = _widths(widths)
    require(len(widths) == 3, "widths", tuple(widths), "three widths (two layers)")
    require_number("scale", scale, at_least=0, at_most=LARGEST)
    require_number("balance", balance, at_least=-LARGEST, at_most=LARGEST)
    require_key(key)
    inputs, hidden, outputs = widths
    carrier = outputs if balance > 0 else inputs if balance < 0 else hidden
    require(hidden <= carrier, "widths", tuple(widths), f"a hidden width <= {carrier} for balance {balance:g}")
    active = np.arange(hidden) < min(inputs, outputs)
    common = np.sqrt(balance**2 / 4 + np.where(active, scale, 0.0) ** 4)  # p^2 and q^2 are this +- balance/2
    outer, inner = np.sqrt(np.maximum(common + balance / 2, 0)), np.sqrt(np.maximum(common - balance / 2, 0))
    if balance and scale:  # the smaller factor from p q = scale^2, free of cancellation
        smaller, larger = (inner, outer) if balance > 0 else (outer, inner)
        smaller[active] = scale**2 / larger[active]
    keys = jax.random.split(key, 3)
    columns = min(inputs, hidden), min(hidden, max(inputs, outputs)), min(hidden, outputs)
    right, middle, left = (
        np.asarray(jax.random.orthogonal(k, n, m=m)) for k, n, m in zip(keys, widths, columns, strict=True)
    )
    first = (middle[:, :inputs] * inner[:inputs]) @ right[:, :hidden].T
    second = (left[:, :hidden] * outer[:outputs]) @ middle[:, :outputs].T
    return jnp.asarray(first), jnp.asarray(second)


@in_float64
def gaussian(widths: Sequence[int], scale: float, key: PRNGKeyArray) -> Weights:
    """Entries drawn from N(0, scale^2 / fan_in), so singular values are of order scale at any width.

    Example:
      >>> [weight.shape for weight in ls.gaussian((3, 5, 4), scale=0.1, key=jax.random.key(0))]
      [(5, 3), (4, 5)]
    """
    widths = _widths(widths)
    require_number("scale", scale, at_least=0, at_most=LARGEST)
    require_key(key)
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        float(scale) / np.sqrt(columns) * jax.random.normal(layer, (rows, columns))
        for layer, (columns, rows) in zip(keys, _shapes(widths), strict=True)
    )


def _chained(bases: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> Weights:
    """W_l = B_l diag(values_l) B_{l-1}^T."""
    pairs = zip(bases[:-1], bases[1:], values, strict=True)
    return tuple(jnp.asarray((outer * value) @ inner.T) for inner, outer, value in pairs)


def _shapes(widths: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(widths))


def _widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths as Python integers."""
    widths = listed("widths", widths, "a list of integers, (d_in, ..., d_out)")
    require(len(widths) >= 2, "widths", widths, "at least (d_in, d_out)")
    for width in widths:
        require_integer("widths", width, at_least=1, at_most=_WIDEST)
    return widths


def require_key(key: PRNGKeyArray) -> None:
    """Raise `InvalidInput` unless this is one key of JAX, of the old kind or the new."""
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    old = dtype == np.uint32 and key.shape[-1:] == (2,)
    require((typed and key.shape == ()) or (old and key.ndim == 1), "key", brief(key), "a key, jax.random.key(SEED)")
