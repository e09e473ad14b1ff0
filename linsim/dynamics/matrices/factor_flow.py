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

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from linsim.dynamics.matrices.eigenbasis import Factor, Spectrum, into_eigenbasis, out_of_eigenbasis
from linsim.dynamics.matrices.triangular import Triangle, by_remainder, in_order
from linsim.dynamics.modes.mode_flow import expm1_ratio
from linsim.losses import Scalar, matmul

_OUTGROWN = 30.0
"""How far a row may outgrow the pivot of a column: the bracket loses the square of that in precision."""


Factors = Float[Array, "lanes sides hidden"]

_FEW = 12
"""Hidden units up to which pivots chosen one by one cost no more than those chosen at once."""


class Grown(NamedTuple):
    """Rows after a time: I + rows^T K rows = D L L^T D with D = e^log_scale."""

    log_scale: Float[Array, " hidden"]
    root: Float[Array, "hidden hidden"]
    """L, well conditioned."""
    shrunk: Factor
    """e^(fu) rows D^(-1), of which L^(-T) is still to be taken."""
    outgrown: Scalar
    """The largest entry of the rows grown until now, over the scale of its column: beyond 1 conditioning suffers."""


def factor_flow(modes: Spectrum, start: Factor, time: Scalar, weight_decay: Scalar) -> Factor:
    """Q(t) from Q(0), up to a rotation of the hidden layer; hidden width <= d_in + d_out. May be vmapped.

    By pivots that are chosen at once, and of the few lanes where that is not enough by pivots chosen one by one, which
    takes several times as long.
    """
    later: Factor = _lane(modes, start, time, weight_decay)
    return later


@custom_vmap
def _lane(*given: Any) -> Factor:
    """Of a single lane."""
    given = jax.tree.map(jnp.asarray, given)
    if given[1].shape[-1] <= _FEW:
        return _surely(*given)
    later, enough = factor_flow_by(in_order, *given)
    return jax.lax.cond(enough, lambda: later, lambda: _surely(*given))


@_lane.def_vmap
def _lanes(count: int, mapped: Any, *given: Any) -> tuple[Factors, bool]:
    """Every lane at once, and then one by one those that need it."""
    given = jax.tree.map(jnp.asarray, given)  # literals come as numbers
    over_lanes = partial(jax.vmap, in_axes=jax.tree.map(lambda each: 0 if each else None, mapped), axis_size=count)
    if given[1].shape[-1] <= _FEW:
        return over_lanes(_surely)(*given), True
    later, enough = over_lanes(partial(factor_flow_by, in_order))(*given)
    again = jnp.argsort(enough)  # lanes, those first that are to be done again
    left = count - jnp.sum(enough)

    def redo(state: tuple[Any, Factors]) -> tuple[Any, Factors]:
        done, later = state
        lane = again[done]
        own = jax.tree.map(lambda value, each: value[lane] if each else value, given, tuple(mapped))
        return done + 1, later.at[lane].set(_surely(*own))

    _, later = jax.lax.while_loop(lambda state: state[0] < left, redo, (jnp.zeros_like(left), later))
    return later, True


def _surely(*given: Any) -> Factor:
    """Q(t) by pivots that nothing outgrows."""
    return factor_flow_by(by_remainder, *given)[0]


def factor_flow_by(
    triangular: Callable[[Factor, Array], Triangle], modes: Spectrum, start: Factor, time: Scalar, weight_decay: Scalar
) -> tuple[Factor, Bool[Array, ""]]:
    """Q(t), and whether the pivots kept all that is computed in bounds."""
    u = 2 * time
    rates = modes.rates - weight_decay / 2
    rows, pivots = triangular(into_eigenbasis(modes, start), jnp.maximum(rates, 0) * u)
    now = grown(rates, rows, pivots, u)
    later = out_of_eigenbasis(modes, solve_triangular(now.root, now.shrunk.T, lower=True).T)
    return jnp.where(time == 0, start, later), (time == 0) | (now.outgrown <= _OUTGROWN) & jnp.isfinite(now.root[0, 0])


def grown(rates: Float[Array, " sides"], rows: Factor, pivots: Array, u: Scalar) -> Grown:
    """Triangular rows in the eigenbasis of F, with the row chosen for each column, after a time u.

    All is bounded where the rows were chosen for this very time.
    """
    size = jnp.sqrt(jnp.sum(rows**2, axis=1))
    unit_rows = rows / jnp.where(size > 0, size, 1)[:, None]
    log_size = jnp.maximum(rates, 0) * u + jnp.log(jnp.where(size > 0, size, 1))  # of rows grown until now
    pivot = jnp.abs(unit_rows[pivots, jnp.arange(rows.shape[1])])
    # The scale of a column: max(1, its pivot), grown.
    scale = jnp.where(pivot > 0, jnp.maximum(log_size[pivots] + jnp.log(jnp.where(pivot > 0, pivot, 1)), 0), 0)
    scaled = jnp.where(unit_rows == 0, 0, unit_rows * jnp.exp(log_size[:, None] - scale[None, :]))
    weights = u * expm1_ratio(-2 * jnp.abs(rates) * u)
    bracket = jnp.diag(jnp.exp(-2 * scale)) + matmul((scaled * weights[:, None]).T, scaled)
    unit = 1 / jnp.sqrt(jnp.diag(bracket))
    root = jnp.linalg.cholesky(bracket * unit[:, None] * unit[None, :], symmetrize_input=False)
    shrunk = jnp.exp(jnp.minimum(rates, 0) * u)[:, None] * scaled * unit[None, :]
    return Grown(scale - jnp.log(unit), root, shrunk, jnp.max(jnp.abs(scaled)))
