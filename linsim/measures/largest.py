"""The largest eigenvalue alone: of many matrices at once, without LAPACK, in memory for a few vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linsim.losses import Scalar
from linsim.measures.matrix_free import Operator, Product, Vector, flattened, scale_of

_BLOCK = 64  # products between two looks at how far it is
_TOLERANCE = 1e-8  # of the residual, relative to the largest |eigenvalue|; that of the value is about its square
_ENDED = 16  # in units of rounding: a step as small is none, and the space is whole
_SECTIONS, _ROUNDS = 64, 10  # 64^10 = 2^60, beyond float64


class Largest(NamedTuple):
    """The largest eigenvalue, from below."""

    value: Scalar
    error: Scalar
    """|beta s_last| = ||H v - value v|| of its Ritz vector v: H has an eigenvalue no further from the value."""
    products: Int[Array, ""]
    """With H, that it took."""


class _Krylov(NamedTuple):
    """T so far: its diagonal, what couples each entry to the next, and where the recurrence stands."""

    diagonal: Float[Array, " limit"]
    coupling: Float[Array, " limit"]
    used: Int[Array, ""]
    before: Vector
    vector: Vector
    ended: Bool[Array, ""]
    value: Scalar
    error: Scalar


def largest_eigenvalue(matvec: Product, like: Any) -> Largest:
    """The largest eigenvalue of H by Lanczos from a fixed start, with as many products as it takes.

    They are taken 64 at a time until the residual is 1e-8 of the largest |eigenvalue|, at most about twice as many as
    there are numbers. The vectors are not kept and lose their orthogonality; what converged then comes a second time,
    which is no harm to the largest. |value - eigenvalue| is at most the residual, and at most its square over the
    distance to the next one: where eigenvalues do not crowd the value is exact to rounding. The eigenvalues of T above
    x are counted by the signs of the pivots of T - x (Sturm), and x is closed in on.

    Args:
      matvec: v -> H v.
      like: a tree of the shapes that H acts on; its values are not read.

    Raises:
      InvalidInput: leaves that are not real floating numbers.

    Source: Lanczos 1950; without orthogonalisation Paige 1980; the bound in Parlett 1998.
    """
    operator = flattened(matvec, like)
    block = min(_BLOCK, operator.size)
    limit = -(-2 * operator.size // block) * block
    begun, scale = _begun(operator, limit)

    def go_on(so_far: _Krylov) -> Bool[Array, ""]:
        size = _size(so_far.diagonal, so_far.coupling)
        rough = (so_far.used == 0) | (so_far.error > _TOLERANCE * size)
        return rough & (so_far.used < limit)

    def further(so_far: _Krylov) -> _Krylov:
        return _looked_at(_extended(operator, scale, so_far, block))

    found = jax.lax.while_loop(go_on, further, begun)
    return Largest(scale * found.value, scale * found.error, found.used)


def exceeds(matvec: Product, like: Any, value: Any, products: int) -> Bool[Array, ""]:
    """Whether H has an eigenvalue above a value, from a number of products: at much less than the eigenvalue costs.

    T of the same recurrence has its eigenvalues within those of H: true is true up to rounding. False says that none
    was seen: the largest of T, from below, misses one that crowds with others by up to about (ln n / products)^2 of
    the spectrum's width, and one that stands alone by nothing.

    Args:
      matvec: v -> H v.
      like: a tree of the shapes that H acts on; its values are not read.
      value: may be traced.
      products: no more than twice as many as there are numbers are taken.
    """
    operator = flattened(matvec, like)
    products = min(products, 2 * operator.size)
    begun, scale = _begun(operator, products)
    found = _extended(operator, scale, begun, products)
    size = _size(found.diagonal, found.coupling)
    places = jnp.arange(products)
    diagonal = jnp.where(places < found.used, found.diagonal, -2 * size - 1)
    inside = jnp.where(places < found.used - 1, found.coupling, 0)
    asked = jnp.asarray(value, diagonal.dtype) / scale
    return _reached(diagonal, inside, asked[None])[0]


def _begun(operator: Operator, limit: int) -> tuple[_Krylov, Scalar]:
    """From a fixed start, and the unit in which T is kept."""
    start = operator.normal(jax.random.key(0), 1)[0]
    zeros, nought = jnp.zeros(limit, start.dtype), jnp.zeros((), start.dtype)
    begun = _Krylov(
        zeros, zeros, jnp.zeros((), int), jnp.zeros_like(start), start / jnp.linalg.norm(start),
        jnp.zeros((), bool), nought, nought,
    )  # fmt: skip
    return begun, scale_of(operator.apply(start))


def _extended(operator: Operator, scale: Scalar, so_far: _Krylov, block: int) -> _Krylov:
    """With `block` more steps of the recurrence; none once the space is whole."""
    rounding = _ENDED * np.finfo(so_far.vector.dtype).eps

    def step(carry: tuple[Any, ...], _: None) -> tuple[tuple[Any, ...], tuple[Scalar, Scalar, Bool[Array, ""]]]:
        before, vector, coupling, size, ended = carry
        image = operator.apply(vector) / scale - coupling * before
        diagonal = jnp.sum(image * vector)
        image = image - diagonal * vector
        image = image - jnp.sum(image * vector) * vector  # what rounding left
        length = jnp.linalg.norm(image)
        size = jnp.maximum(size, jnp.abs(diagonal) + length)
        whole = ended | (length <= rounding * size)
        after = jnp.where(whole, 0, image / jnp.where(whole, 1, length))
        length = jnp.where(whole, 0, length)
        return (vector, after, length, size, whole), (diagonal, length, ended)

    last = jnp.maximum(so_far.used - 1, 0)
    size = _size(so_far.diagonal, so_far.coupling)
    carry = so_far.before, so_far.vector, so_far.coupling[last], size, so_far.ended
    (before, vector, _, _, ended), (diagonal, coupling, without) = jax.lax.scan(step, carry, length=block)

    def put(entries: Array, more: Array) -> Array:
        return jax.lax.dynamic_update_slice(entries, jnp.where(without, 0, more), (so_far.used,))

    return so_far._replace(
        diagonal=put(so_far.diagonal, diagonal),
        coupling=put(so_far.coupling, coupling),
        used=so_far.used + block - jnp.sum(without),
        before=before,
        vector=vector,
        ended=ended,
    )


def _looked_at(so_far: _Krylov) -> _Krylov:
    """With the largest eigenvalue of T, and the bound |beta s_last| for it."""
    places = jnp.arange(len(so_far.diagonal))
    size = _size(so_far.diagonal, so_far.coupling)
    diagonal = jnp.where(places < so_far.used, so_far.diagonal, -2 * size - 1)  # below all others
    inside = jnp.where(places < so_far.used - 1, so_far.coupling, 0)
    value = _top(diagonal, inside, size)
    # From its last entry backwards the eigenvector grows by the pivots of T - value over the couplings, all positive.
    tiny = np.finfo(diagonal.dtype).tiny ** 0.5

    def pivot(after: Scalar, entry: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        here = jnp.maximum(value - entry[0] - entry[1] ** 2 / after, tiny)
        return here, here

    _, pivots = jax.lax.scan(pivot, jnp.ones_like(value), (diagonal, inside), reverse=True)
    grown = jnp.where(inside[:-1] > 0, jnp.log(pivots[1:]) - jnp.log(jnp.maximum(inside[:-1], tiny)), 0)
    logs = jnp.cumsum(jnp.append(grown, 0)[::-1])[::-1]  # log(s_i / s_last)
    share = -0.5 * jax.nn.logsumexp(jnp.where(places < so_far.used, 2 * logs, -jnp.inf))
    return so_far._replace(value=value, error=so_far.coupling[so_far.used - 1] * jnp.exp(share))


def _top(diagonal: Float[Array, " k"], coupling: Float[Array, " k"], size: Scalar) -> Scalar:
    """The largest eigenvalue of a tridiagonal matrix within (-size, size)."""

    def close_in(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        values = low + (high - low) * jnp.arange(_SECTIONS + 1, dtype=low.dtype) / _SECTIONS
        below = jnp.sum(_reached(diagonal, coupling, values[1:-1]))
        return values[below], values[below + 1]

    low, high = jax.lax.fori_loop(0, _ROUNDS, close_in, (-size, size))
    return 0.5 * (low + high)


def _reached(
    diagonal: Float[Array, " k"], coupling: Float[Array, " k"], values: Float[Array, " values"]
) -> Bool[Array, " values"]:
    """Whether a tridiagonal matrix has an eigenvalue above each."""
    squares = jnp.roll(coupling, 1).at[0].set(0) ** 2
    tiny = np.finfo(diagonal.dtype).tiny ** 0.5

    def pivot(carry: tuple[Array, Array], entry: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        before, above = carry
        here = entry[0] - values - entry[1] / jnp.where(before == 0, tiny, before)
        return (here, above | (here > 0)), None

    begun = jnp.ones_like(values), jnp.zeros(values.shape, bool)
    return jax.lax.scan(pivot, begun, (diagonal, squares))[0][1]


def _size(diagonal: Array, coupling: Array) -> Scalar:
    """No eigenvalue of T is larger (Gershgorin)."""
    return jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(coupling))
