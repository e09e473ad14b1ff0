"""Dropout on hidden units: a threshold that all modes share, and one from which aligned layers are kept.

Each of h hidden units is 0 with probability p, the others are 1/(1 - p) times themselves. On average that adds
q sum_k ||W_2 e_k||^2 ||e_k^T W_1||^2 to the loss, q = p/(1 - p), on whitened inputs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, numbers, require_choice, require_integer, require_number

Modes = Float[np.ndarray, " modes"]
HIDDEN = ("shared", "own")


def dropped(strengths: ArrayLike, probability: float, hidden: int, units: str = "shared") -> Modes:
    """s_i = (sigma_i - q N/h)_+ with N = sum s, where dropout on h hidden units ends.

    Hidden bases are free, so that descent spreads N evenly over all units, and pays q N^2/h: that is the least. With k
    modes left N = (sum of the k strongest)/(1 + k q/h). Layers that begin with a unit of its own for each mode, all
    else 0, stay so, at a saddle: units "own", s_i = sigma_i/(1 + q).

    Args:
      strengths: sigma_i >= 0.
      probability: p of a unit to be dropped, from 0 to below 1.
      hidden: h, at least the number of modes.
      units: "shared", from a start that is not aligned to single units, or "own".

    Raises:
      InvalidInput: a number outside its domain, other units.

    Example:
      >>> dropped([2.0, 1.0, 0.5, 0.1], probability=0.3, hidden=4).round(3)
      array([1.716, 0.716, 0.216, 0.   ])
      >>> dropped([2.0, 1.0], probability=0.5, hidden=4, units="own")
      array([1. , 0.5])

    Source: Mianjy, Arora and Vidal 2018 for units that share evenly; the modes re-derived.
    """
    sigma = numbers("strengths", strengths, 1, at_least=0, most=LARGEST, sized=True)
    require_number("probability", probability, at_least=0, below=1)
    require_integer("hidden", hidden, at_least=len(sigma))
    require_choice("units", units, HIDDEN)
    odds = probability / (1 - probability)
    if units == "own":
        return np.asarray(sigma / (1 + odds))
    falling = np.sort(sigma)[::-1]
    counts = np.arange(1, len(sigma) + 1)
    levels = odds / hidden * np.cumsum(falling) / (1 + counts * odds / hidden)
    # The level is at its highest where it is right: one mode more or less lowers it.
    return np.maximum(sigma - float(levels.max()), 0.0)
