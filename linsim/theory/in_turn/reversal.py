"""Reversal: a task learned in full, and then the same with the sign changed, y = -A x."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import SMALLEST, numbers, require_together

Numbers = Float[np.ndarray, "..."]


def reversal_time(strength: ArrayLike, balance: ArrayLike, left: ArrayLike = 0.5) -> Numbers:
    """Flow time in which a mode goes from sigma to -(1 - r) sigma under the target -sigma, r the share that is left.

    Layers with W_2^T W_2 - W_1 W_1^T = l in the mode follow ds/dt = -2 (sigma + s) sqrt(l^2 + 4 s^2). With
    a = l/2, R^2 = sigma^2 + a^2 and g(u) = (R^2 - sigma u + R sqrt(u^2 - 2 sigma u + R^2))/u it is
    ln(g(r sigma)/g(2 sigma))/(4 R): for small l ln(2 sqrt 2 sigma/|l|)/(2 sigma) at r = 1/2. Balanced layers, l = 0,
    never pass 0, at which they come to rest.

    Args:
      strength: sigma > 0.
      balance: l, of either sign.
      left: r in (0, 1). All broadcast.

    Returns:
      Infinite where l = 0.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> reversal_time(1.0, [0.0, 1e-4, 0.01, 1.0]).round(3)
      array([  inf, 5.125, 2.822, 0.562])

    Source: re-derived, from the mode equation of Domine et al. 2025; reversal as of Braun et al. 2022.
    """
    sigma = np.asarray(numbers("strength", strength, at_least=SMALLEST, most=1e15), np.float64)
    l = np.asarray(numbers("balance", balance, most=1e15), np.float64)
    part = np.asarray(numbers("left", left, at_least=SMALLEST, most=1 - 1e-12), np.float64)
    require_together(strength=sigma, balance=l, left=part)
    a = np.abs(l) / (2 * sigma)  # all in units of sigma
    R = np.hypot(1, a)
    late = (R**2 - part + R * np.hypot(1 - part, a)) / part
    # R^2 - 2 + R^2, free of cancellation.
    early = a**2
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(late / early) / (4 * R * sigma))
