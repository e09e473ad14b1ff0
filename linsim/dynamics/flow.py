"""Gradient flow in closed form: the scalar mode of two balanced layers."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Values = Float[ArrayLike, "..."]


def mode_flow(start: Values, drive: Values, stiffness: Values, time: Values) -> Float[Array, "..."]:
    """s(t) of one mode of two balanced layers, ds/dt = 4 |s| (a - b s), at flow times t = learning rate * steps.

    With x = 4 |a| t and s(0) = s0 of the sign of a,  s(t) = s0 / (e^(-x) + |b s0 / a| (1 - e^(-x))). Pre-training on
    a whitened task is a = sigma, b = 1 [Saxe et al. 2014]; an input variance v multiplies both by v [Gidel et al.
    2019]; the product-space penalty adds lambda s_0 to a and lambda to b [re-derived]; weight decay beta takes
    beta/2 from |a| [re-derived]. Loss without 1/2.

    Args:
      start: s0, of either sign; stays of that sign, and at 0 if 0.
      drive: a, the gradient of the loss at s = 0, halved and reversed.
      stiffness: b >= 0.
      time: t >= 0, finite. All four broadcast.

    Returns:
      s(t), without overflow for any t; cost independent of t.
    """
    start, drive, stiffness, time = (jnp.asarray(value) for value in (start, drive, stiffness, time))
    sign = jnp.where(start < 0, -1.0, 1.0)
    size, a = jnp.abs(start), sign * drive
    x = 4 * a * time
    # Dividing numerator and denominator by e^x keeps every exponential bounded for a > 0; for a < 0 the
    # denominator may overflow to infinity, which is the right limit: the mode decays to 0.
    saturation = stiffness * size * 4 * time * _expm1_ratio(-x)
    return jnp.where(size == 0, 0.0, sign * size / jnp.where(size == 0, 1.0, jnp.exp(-x) + saturation))


def _expm1_ratio(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^x - 1) / x, which is 1 at x = 0, with a finite derivative there."""
    small = jnp.abs(x) < 1e-5
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1 + x / 2 + x**2 / 6, jnp.expm1(safe) / safe)
