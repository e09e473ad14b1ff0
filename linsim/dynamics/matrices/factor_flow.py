"""Gradient flow of two lambda-balanced layers in closed form, any whitened target, any shapes: the factor Q.

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
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from linsim.dynamics.modes.mode_flow import expm1_ratio
from linsim.losses import Scalar, matmul

Factor = Float[Array, "sides hidden"]
"""Q = [W_1^T; W_2] with d_in + d_out rows, up to a rotation of the hidden layer."""


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of F, the matrix that drives the flow."""

    rates: Float[Array, " sides"]
    """f, growth per u = 2 t."""
    directions: Float[Array, "sides sides"]
    """Columns: (input part, output part), not of length 1."""
    lengths: Float[Array, " sides"]


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


class Grown(NamedTuple):
    """Rows after a time: I + rows^T K rows = D L L^T D with D = e^log_scale."""

    log_scale: Float[Array, " hidden"]
    root: Float[Array, "hidden hidden"]
    """L, well conditioned."""
    shrunk: Factor
    """e^(fu) rows D^(-1), of which L^(-T) is still to be taken."""


def factor_flow(modes: Spectrum, start: Factor, time: Scalar, weight_decay: Scalar) -> Factor:
    """Q(t) from Q(0), up to a rotation of the hidden layer; hidden width <= d_in + d_out. May be vmapped."""
    u = 2 * time
    rates = modes.rates - weight_decay / 2
    rows, pivots = triangular(matmul(modes.directions.T, start) / modes.lengths[:, None], jnp.maximum(rates, 0) * u)
    _, root, shrunk = grown(rates, rows, pivots, u)
    later = matmul(modes.directions / modes.lengths[None, :], solve_triangular(root, shrunk.T, lower=True).T)
    return jnp.where(time == 0, start, later)


def grown(rates: Float[Array, " sides"], rows: Factor, pivots: Array, u: Scalar) -> Grown:
    """Triangular rows in the eigenbasis of F, with the row chosen for each column, after a time u.

    All is bounded where the rows were chosen for this very time.
    """
    growing = jnp.maximum(rates, 0)
    pivot = jnp.abs(rows[pivots, jnp.arange(rows.shape[1])])
    log_pivot, pivot_rate = jnp.log(jnp.where(pivot > 0, pivot, 1)), growing[pivots]
    # Rows grown until now, over the scale of their column: max(1, its pivot).
    scale = jnp.where(pivot > 0, jnp.maximum(pivot_rate * u + log_pivot, 0), 0)
    exponents = jnp.where(
        (scale > 0)[None, :], (growing[:, None] - pivot_rate[None, :]) * u - log_pivot[None, :], (growing * u)[:, None]
    )
    present = rows != 0
    exponents = exponents + jnp.log(jnp.where(present, jnp.abs(rows), 1))
    scaled = jnp.where(present, jnp.sign(rows) * jnp.exp(exponents), 0)
    weights = u * expm1_ratio(-2 * jnp.abs(rates) * u)
    bracket = jnp.diag(jnp.exp(-2 * scale)) + matmul((scaled * weights[:, None]).T, scaled)
    unit = 1 / jnp.sqrt(jnp.diag(bracket))
    root = jnp.linalg.cholesky(bracket * unit[:, None] * unit[None, :])
    shrunk = jnp.exp(jnp.minimum(rates, 0) * u)[:, None] * scaled * unit[None, :]
    return Grown(scale - jnp.log(unit), root, shrunk)


def triangular(rows: Factor, growth: Float[Array, " sides"]) -> tuple[Factor, Any]:
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
