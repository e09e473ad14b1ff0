"""Gradient flow of two layers in closed form: any lambda-balanced start, any whitened target, any shapes.

In Q = [W_1^T; W_2] of shape (d_in + d_out, h) and u = 2 t the flow is the Riccati equation of Q Q^T with
F = [[-(l + beta)/2 I, A^T], [A, (l - beta)/2 I]], solved by

    Q Q^T(u) = e^(Fu) Q_0 [I + Q_0^T K(u) Q_0]^(-1) Q_0^T e^(Fu),   K(u) = integral_0^u e^(2Fv) dv

[Fukumizu 1998, Braun et al. 2022, Domine et al. 2025; weight decay re-derived]. Neither e^(Fu) nor the bracket can be
formed at large u. Here the rows of Q_0 in the eigenbasis of F, which grow as e^(f u), are made triangular from the
fastest-growing one down by reflections of the hidden layer, which change nothing; each column is then scaled by its
fastest row. All exponentials are bounded by 1 and the bracket is well conditioned, at any time and initial scale.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from linsim.dynamics.matrices.width import balance_of, narrowed
from linsim.dynamics.modes.mode_flow import expm1_ratio
from linsim.errors import require, require_number
from linsim.losses import Scalar, matmul
from linsim.precision import in_float64

Factor = Float[Array, "sides hidden"]
"""Q = [W_1^T; W_2] with d_in + d_out rows, up to a rotation of the hidden layer."""


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of F, the matrix that drives the flow."""

    rates: Float[Array, " sides"]
    """f, growth per u = 2 t."""
    directions: Float[Array, "sides sides"]
    """Columns: (input part, output part), not of length 1."""
    lengths: Float[Array, " sides"]


@in_float64
def matrix_flow(
    weights: tuple[Any, Any],
    target: Any,
    times: Any,
    weight_decay: float = 0.0,
) -> tuple[Float[np.ndarray, "*times hidden d_in"], Float[np.ndarray, "*times d_out hidden"]]:
    """Weights W_1(t), W_2(t) of the gradient flow of ||W_2 W_1 - A||^2 + (beta / 2) (||W_1||^2 + ||W_2||^2).

    P, W_1^T W_1 and W_2 W_2^T are exact; W_1 and W_2 themselves up to one rotation of the hidden layer, which nothing
    outside it sees. The flow conserves the balance: flow on another task is this function once more, from the result.

    Args:
      weights: (W_1, W_2) at t = 0, shapes (hidden, d_in) and (d_out, hidden), with W_2^T W_2 - W_1 W_1^T = l I.
      target: A, shape (d_out, d_in); inputs are whitened.
      times: flow times t >= 0, an array of any shape.
      weight_decay: beta >= 0; needs l = 0.

    Returns:
      (W_1, W_2), times along the leading axes. At t = 0 the start itself. Computed in float64; the cost does not
      depend on t. Errors are those of rounding the start, eps (||W_1||^2 + ||W_2||^2) at first, and grow as modes do
      where the flow passes a saddle: a mode that exact arithmetic would never learn is learned at about t = 18 / sigma.

    Raises:
      InvalidInput: shapes that do not chain, a start that is not lambda-balanced (says by how much), weight decay with
        l != 0, or times that are negative, complex or not finite.

    Example:
      >>> W_1, W_2 = ls.matrix_flow(ls.identity((2, 2, 2), tau=2.0), np.diag([2.0, 1.0]), times=[0.0, 10.0])
      >>> (W_2 @ W_1)[-1].round(3)
      array([[2., 0.],
             [0., 1.]])
    """
    require(len(weights) == 2, "weights", f"{len(weights)} layers", "two layers (W_1, W_2)")
    first, second, matrix = (_matrix(name, m) for name, m in zip(("W_1", "W_2", "A"), (*weights, target), strict=True))
    chained = second.shape[1] == first.shape[0] and matrix.shape == (second.shape[0], first.shape[1])
    shapes = f"W_1 {first.shape}, W_2 {second.shape}, A {matrix.shape}"
    require(chained, "weights", shapes, "shapes that chain: (h, d_in), (d_out, h), (d_out, d_in)")
    times = _times(times)
    require_number("weight_decay", weight_decay, at_least=0)
    balance = balance_of(first, second)
    allowed = "0 unless W_2^T W_2 = W_1 W_1^T: decay does not conserve another balance"
    require(weight_decay == 0 or balance == 0, "weight_decay", f"{weight_decay:g} with l = {balance:.3g}", allowed)
    narrow = narrowed(first, second)
    left, strengths, right = np.linalg.svd(matrix)
    modes = spectrum(jnp.asarray(left), jnp.asarray(strengths), jnp.asarray(right.T), jnp.asarray(balance))
    start = jnp.concatenate([narrow.first.T, narrow.second])
    factors = np.asarray(_at_times(modes, start, jnp.asarray(times.ravel()), jnp.asarray(float(weight_decay))))
    inputs = first.shape[1]
    firsts = np.swapaxes(factors[:, :inputs] @ narrow.basis.T, 1, 2)
    seconds = factors[:, inputs:] @ narrow.basis.T
    return firsts.reshape(*times.shape, *first.shape), seconds.reshape(*times.shape, *second.shape)


def spectrum(
    left: Float[Array, "d_out d_out"],
    strengths: Float[Array, " modes"],
    right: Float[Array, "d_in d_in"],
    balance: Scalar,
) -> Spectrum:
    """Eigenpairs of F from a singular value decomposition A = U diag(sigma) V^T with full bases, without decay.

    A mode has f = +-r, r = sqrt(l^2/4 + sigma^2), along (x v, y u) and (y v, -x u); what remains of the larger side has
    f = -l/2 on the input side and +l/2 on the output side.
    """
    inputs, outputs, modes = right.shape[0], left.shape[0], strengths.shape[0]
    size = jnp.abs(strengths)
    rate = jnp.where(balance == 0, size, jnp.sqrt(balance**2 / 4 + size**2))
    # Of x and y the larger is 1, and both are where balanced: of W_1 = -W_2, in exact bases, nothing is left to grow.
    sum_of_rates = rate + jnp.abs(balance) / 2
    ratio = jnp.where(balance == 0, 1.0, size / jnp.where(sum_of_rates == 0, 1.0, sum_of_rates))
    x, y = jnp.where(balance > 0, ratio, 1.0), jnp.where(balance > 0, 1.0, ratio)
    u, v = left[:, :modes] * jnp.where(strengths < 0, -1.0, 1.0)[None, :], right[:, :modes]
    directions = [
        jnp.concatenate([v * x[None, :], u * y[None, :]]),
        jnp.concatenate([v * y[None, :], -u * x[None, :]]),
        jnp.concatenate([right[:, modes:], jnp.zeros((outputs, inputs - modes), right.dtype)]),
        jnp.concatenate([jnp.zeros((inputs, outputs - modes), left.dtype), left[:, modes:]]),
    ]
    rates = [rate, -rate, jnp.full(inputs - modes, -balance / 2), jnp.full(outputs - modes, balance / 2)]
    length = jnp.sqrt(1 + ratio**2)
    lengths = [length, length, jnp.ones(inputs + outputs - 2 * modes, length.dtype)]
    return Spectrum(*(jnp.concatenate(part, axis=-1) for part in (rates, directions, lengths)))


def factor_flow(modes: Spectrum, start: Factor, time: Scalar, weight_decay: Scalar) -> Factor:
    """Q(t) from Q(0), up to a rotation of the hidden layer; hidden width <= d_in + d_out. May be vmapped."""
    u = 2 * time
    rates = modes.rates - weight_decay / 2
    growing = jnp.maximum(rates, 0)
    rows, pivots = _triangular(matmul(modes.directions.T, start) / modes.lengths[:, None], growing * u)
    pivot = jnp.abs(rows[pivots, jnp.arange(rows.shape[1])])
    log_pivot, pivot_rate = jnp.log(jnp.where(pivot > 0, pivot, 1)), growing[pivots]
    grown = (pivot > 0) & (pivot_rate * u + log_pivot > 0)
    # Rows grown until now, over the scale of their column: max(1, its pivot).
    exponents = jnp.where(
        grown[None, :], (growing[:, None] - pivot_rate[None, :]) * u - log_pivot[None, :], (growing * u)[:, None]
    )
    present = rows != 0
    exponents = exponents + jnp.log(jnp.where(present, jnp.abs(rows), 1))
    scaled = jnp.where(present, jnp.sign(rows) * jnp.exp(jnp.minimum(exponents, 1.0)), 0)
    weights = u * expm1_ratio(-2 * jnp.abs(rates) * u)
    bracket = jnp.diag(jnp.where(grown, jnp.exp(-2 * jnp.where(grown, pivot_rate * u + log_pivot, 0.0)), 1.0))
    bracket = bracket + matmul((scaled * weights[:, None]).T, scaled)
    unit = 1 / jnp.sqrt(jnp.diag(bracket))
    root = jnp.linalg.cholesky(bracket * unit[:, None] * unit[None, :])
    shrunk = jnp.exp(jnp.minimum(rates, 0) * u)[:, None] * scaled * unit[None, :]
    later = matmul(modes.directions / modes.lengths[None, :], solve_triangular(root, shrunk.T, lower=True).T)
    return jnp.where(time == 0, start, later)


def _triangular(rows: Factor, growth: Float[Array, " sides"]) -> tuple[Factor, Any]:
    """Reflect the hidden layer so that every chosen row, the one with most growth left at each turn, ends in zeros.

    Returns:
      The rows, and the index of the row chosen for each column.
    """
    sides, hidden = rows.shape
    columns = jnp.arange(hidden)

    def reflect(column: Any, moving: tuple[Factor, Array, Array]) -> tuple[Factor, Array, Array]:
        rows, free, pivots = moving
        rest = jnp.where((columns >= column)[None, :], rows, 0)
        peak = jnp.max(jnp.abs(rest), axis=1)
        size = peak * jnp.sqrt(jnp.sum((rest / jnp.where(peak > 0, peak, 1)[:, None]) ** 2, axis=1))
        rank = jnp.where(free & (size > 0), growth + jnp.log(jnp.where(size > 0, size, 1)), -jnp.inf)
        chosen = jnp.argmax(rank)
        towards = rest[chosen] / jnp.where(size[chosen] > 0, size[chosen], 1)
        mirror = towards + jnp.where(towards[column] < 0, -1.0, 1.0) * (columns == column)
        share = jnp.where(size[chosen] > 0, 2 / jnp.sum(mirror**2), 0)
        rows = rows - share * (rows @ mirror)[:, None] * mirror[None, :]
        # Exactly zero, because the growth of the row would multiply what rounding leaves.
        rows = rows.at[chosen].set(jnp.where(columns > column, 0, rows[chosen]))
        return rows, free.at[chosen].set(False), pivots.at[column].set(chosen.astype(pivots.dtype))

    begin = (rows, jnp.ones(sides, bool), jnp.zeros(hidden, jnp.int32))
    rows, _, pivots = jax.lax.fori_loop(0, hidden, reflect, begin)
    return rows, pivots


@jax.jit
def _at_times(modes: Spectrum, start: Factor, times: Float[Array, " times"], weight_decay: Scalar) -> Array:
    return jax.vmap(factor_flow, in_axes=(None, None, 0, None))(modes, start, times, weight_decay)


def _matrix(field: str, values: Any) -> Float[np.ndarray, "_ _"]:
    matrix = np.asarray(values)
    real = matrix.dtype.kind in "fiu" and matrix.ndim == 2 and matrix.size > 0
    require(real, field, f"{matrix.dtype} of shape {matrix.shape}", "a matrix of real numbers")
    require(bool(np.isfinite(matrix).all()), field, "NaN or infinite entries", "finite numbers")
    return matrix.astype(np.float64)


def _times(values: Any) -> Float[np.ndarray, "*times"]:
    times = np.asarray(values)
    require(times.dtype.kind in "fiu", "times", f"{times.dtype} values", "real numbers")
    bad = times[~(np.isfinite(times) & (times >= 0))]
    require(bad.size == 0, "times", float(bad[0]) if bad.size else None, "finite numbers >= 0")
    return times.astype(np.float64)
