"""Rows that grow at very different rates, made triangular by reflections of the hidden layer, the fastest first.

Reflections change nothing of the flow. Afterwards each column has a row of its own, its pivot, beyond which it is
exactly 0: the growth of a faster row would multiply what rounding leaves there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from linsim.dynamics.matrices.eigenbasis import Factor


class Triangle(NamedTuple):
    """Rows after the reflections."""

    rows: Factor
    pivots: Int[Array, " hidden"]
    """The row chosen for each column."""


def in_order(rows: Factor, growth: Float[Array, " sides"]) -> Triangle:
    """Pivots by what rows have grown to as a whole: one decomposition by LAPACK.

    Where one row is nearly made of faster ones, a slower row may outgrow what is left of it: see `by_remainder`.
    """
    size = jnp.sqrt(jnp.sum(rows**2, axis=1))
    grown = jnp.where(size > 0, growth + jnp.log(jnp.where(size > 0, size, 1)), -jnp.inf)
    order = jnp.argsort(-grown)
    reduced = jnp.linalg.qr(rows[order].T, mode="r").T
    return Triangle(reduced[jnp.argsort(order)], order[: rows.shape[1]])


def by_remainder(rows: Factor, growth: Float[Array, " sides"]) -> Triangle:
    """Pivots by what is left of each row beyond the columns done: nothing outgrows them, whatever the rows."""
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
        rows = rows.at[chosen].set(jnp.where(columns > column, 0, rows[chosen]))
        return rows, free.at[chosen].set(False), pivots.at[column].set(chosen.astype(pivots.dtype))

    begin = (rows, jnp.ones(sides, bool), jnp.zeros(hidden, jnp.int32))
    rows, _, pivots = jax.lax.fori_loop(0, hidden, reflect, begin)
    return Triangle(rows, pivots)
