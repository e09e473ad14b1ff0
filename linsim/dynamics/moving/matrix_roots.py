"""Polar factors, inverses and inverse roots of matrices by products alone.

Nothing is decomposed: products are mapped over lanes and differ in rounding only from device to device, where two
batched decompositions in one program of XLA may wait for each other on a CPU.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from linsim.losses import matmul

Matrix = Float[Array, "rows columns"]
Square = Float[Array, "size size"]

_INFLATING = (3.4445, -4.7750, 2.0315)
"""Odd quintic of slope 3.44 at 0, that keeps (0, 1] below 1.21 and what it has lifted above 0.67. [Jordan 2024]"""
_INFLATED = 16  # lift what is 3.44^-16 = 3e-9 of the Frobenius norm
_CONVERGING = (1.875, -1.25, 0.375)
"""x -> 1 with an error of (5/2) e^3, from all of (0, 1.52)."""
_CONVERGED = 5
_SPREAD = 1e10  # of eigenvalues whose roots are told
_SETTLED = 8  # steps from 1/2 to 1 in rounding


def polar_factor(matrix: Matrix) -> Matrix:
    """U V^T of M = U diag(m) V^T; directions with m below 3e-9 of the largest are left short of length 1.

    Example:
      >>> polar_factor(jnp.diag(jnp.array([3.0, -0.01]))).round(6).tolist()
      [[1.0, 0.0], [0.0, -1.0]]
    """
    size = jnp.sqrt(jnp.sum(matrix**2))
    tall = matrix.shape[0] > matrix.shape[1]
    scaled = matrix / jnp.where(size > 0, size, 1)
    scaled = scaled.T if tall else scaled

    def quintic(x: Matrix, a: float, b: float, c: float) -> Matrix:
        square = matmul(x, x.T)
        return a * x + matmul(b * square + c * matmul(square, square), x)

    lifted = lax.fori_loop(0, _INFLATED, lambda _, x: quintic(x, *_INFLATING), scaled)
    found = lax.fori_loop(0, _CONVERGED, lambda _, x: quintic(x, *_CONVERGING), lifted)
    return found.T if tall else found


def inverse_root(matrix: Square, order: int) -> Square:
    """M^(-1/p) of a positive matrix, by the coupled Newton iteration. [Higham 2008, section 7.3]

    X_{k+1} = X_k ((p + 1) I - M_k) / p  and  M_{k+1} = (((p + 1) I - M_k) / p)^p M_k,  until M is I.

    Args:
      matrix: symmetric, its eigenvalues within a factor of 1e10.
      order: p, 1 for the inverse, 2 or 4.

    Example:
      >>> inverse_root(jnp.diag(jnp.array([16.0, 1.0])), 4).round(6).tolist()
      [[0.5, 0.0], [0.0, 1.0]]
    """
    unit = jnp.eye(len(matrix), dtype=matrix.dtype)
    steps = _SETTLED + math.ceil(math.log(_SPREAD) / (order * math.log((order + 1) / order)))
    scale = (1 + order) / (2 * jnp.sqrt(jnp.sum(matrix**2)))

    def improve(_: Any, at: tuple[Square, Square]) -> tuple[Square, Square]:
        root, rest = at
        factor = ((order + 1) * unit - rest) / order
        power = factor
        for _ in range(order.bit_length() - 1):
            power = matmul(power, power)
        rest = matmul(power, rest)
        return matmul(root, factor), 0.5 * (rest + rest.T)

    begun = (scale ** (1 / order) * unit, scale * matrix)
    root, _ = lax.fori_loop(0, steps, improve, begun)
    return 0.5 * (root + root.T)
