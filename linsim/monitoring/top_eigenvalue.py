"""The largest eigenvalue of the curvature of a model, to a tolerance, with memory for a few vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import eigh_tridiagonal

from linsim.losses import Scalar
from linsim.measures.matrix_free import scale_of

_LOOK = 8  # products between two looks at how far it is
_ENDED = 32  # in units of rounding: a step as small is none, and the space is whole

Product = Callable[[Array], tuple[Array, Any]]
"""v -> H v, and whatever else is told of v."""


class Carry(NamedTuple):
    """Where the recurrence stands."""

    before: Any
    """The vector before, of shape (n,)."""
    vector: Any
    """The next one, of length 1 or, where there is none, 0."""
    coupling: Any
    """Between the two."""
    gathered: Any
    """sum_k weight_k v_k over the vectors so far."""


class Step(NamedTuple):
    """What one product adds to T, and what it told."""

    diagonal: Scalar
    coupling: Scalar
    told: Any


class Top(NamedTuple):
    """The largest eigenvalue of H, from below."""

    value: float
    error: float
    """||H v - value v|| of its unit vector v: H has an eigenvalue no further from the value."""
    weights: Float[np.ndarray, " products"]
    """v = sum_k weight_k v_k over the vectors of the recurrence."""


def begun(start: Any) -> Carry:
    """The recurrence at a start of any length > 0, made in NumPy: nothing is compiled for it."""
    vector = np.asarray(start)
    scaled = vector / np.abs(vector).max()
    vector, nothing = scaled / np.linalg.norm(scaled), np.zeros_like(vector)
    return Carry(nothing, vector, np.zeros((), vector.dtype), nothing)


def extended(product: Product, carry: Carry, weight: Any) -> tuple[Carry, Step]:
    """One more step of Lanczos' recurrence; to be compiled, once for all steps."""
    before, vector, coupling, gathered = carry
    image, told = product(vector)
    image = image - coupling * before
    diagonal = jnp.sum(image * vector)
    image = image - diagonal * vector
    image = image - jnp.sum(image * vector) * vector  # what rounding left
    unit = scale_of(image)
    length = jnp.sqrt(jnp.sum((image / unit) ** 2))
    after = image / unit / jnp.where(length > 0, length, 1)
    return Carry(vector, after, unit * length, gathered + weight * vector), Step(diagonal, unit * length, told)


def top_eigenvalue(step: Callable[[Carry, Any], tuple[Carry, Step]], carry: Carry, tolerance: float, most: int) -> Top:
    """The largest eigenvalue of H, the algebraically largest and not that of largest size, by Lanczos.

    Products are taken, eight between two looks, until the residual of the Ritz vector is at most `tolerance` of the
    Ritz value, or the rounding of a product, or `most` are taken. H then has an eigenvalue within the residual of the
    value, and the distance from it is about the residual's square over the gap to the next one. No bound tells that it
    is the largest: a random start misses one that stands apart only by chance of its being orthogonal to it. Vectors
    are not kept and lose their orthogonality: what converged comes again, which is no harm to the largest.

    Args:
      step: `extended` with the product, compiled.
      carry: `begun` at a random start.
      tolerance: of the residual, relative to the value, > 0.
      most: products >= 1.

    Source: Lanczos 1950; without orthogonalisation Paige 1980; the bound in Parlett 1998.
    """
    rounding = float(_ENDED * np.finfo(carry.vector.dtype).eps)
    steps: list[Step] = []
    while True:
        for _ in range(min(_LOOK, most - len(steps))):
            carry, further = step(carry, 0.0)
            steps.append(further._replace(told=None))
        pairs = np.asarray(jax.device_get([each[:2] for each in steps]), np.float64)
        size = np.maximum.accumulate(np.abs(pairs).sum(axis=1))
        ended = pairs[:, 1] <= rounding * size  # what comes behind is noise
        used = int(np.argmax(ended)) + 1 if ended.any() else len(pairs)
        found = _largest(pairs[:used])
        if ended.any() or found.error <= max(tolerance * abs(found.value), rounding * size[-1]) or used >= most:
            return found


def _largest(pairs: Float[np.ndarray, "k 2"]) -> Top:
    """The largest eigenvalue of T, from its diagonal and its couplings, the last of which leads out of it."""
    last = len(pairs) - 1
    values, vectors = eigh_tridiagonal(pairs[:, 0], pairs[:-1, 1], select="i", select_range=(last, last))
    return Top(float(values[0]), float(pairs[-1, 1] * abs(vectors[-1, 0])), vectors[:, 0])
