"""Representations that are learned without labels, and what a new linear head does to them.

A mode of a representation W has the strength s = w^2. Three objectives make it grow logistically, each by itself where
the data are diagonal; none has a factor 1/2. A new head h, 0 at first, is then trained with the representation on
(h w - beta)^2, which conserves w^2 - h^2.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, SMALLEST, numbers, require_choice, require_together

Pretext = Literal["autoencoder", "contrastive", "whitening"]

Numbers = Float[np.ndarray, "..."]


def representation_mode(start: ArrayLike, time: ArrayLike, size: ArrayLike, pretext: Pretext) -> Numbers:
    """s(t) = K / (1 + (K / s_0 - 1) e^(-r t)), the strength of a mode of a representation without labels.

    Of a tied autoencoder ||W^T W x - x||^2 on inputs of variance lambda, ds/dt = 8 lambda s (1 - s); of the spectral
    contrastive loss ||W^T W - C||^2, ds/dt = 8 s (c - s); of whitening, ||W G W^T - I||^2, ds/dt = 8 g s (1 - g s).

    Args:
      start: s_0 > 0.
      time: t >= 0, flow time.
      size: lambda, c or g of the mode, > 0. All broadcast.
      pretext: which of them.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast, another pretext.

    Example:
      >>> representation_mode(0.01, [0.0, 0.5, 5.0], 2.0, "contrastive").round(3)
      array([0.01 , 1.875, 2.   ])

    Source: re-derived.
    """
    require_choice("pretext", pretext, get_args(Pretext))
    first = np.asarray(numbers("start", start, at_least=SMALLEST, most=1e30), np.float64)
    each = np.asarray(numbers("size", size, at_least=SMALLEST, most=1e30), np.float64)
    later = np.asarray(numbers("time", time, at_least=0, most=LARGEST))
    require_together(start=first, time=later, size=each)
    limit = {"autoencoder": np.ones_like(each), "contrastive": each, "whitening": 1 / each}[pretext]
    return np.asarray(limit / (1 + (limit / first - 1) * np.exp(-8 * each * later)))


def headed(strength: ArrayLike, target: ArrayLike) -> Numbers:
    """w^2 = (s + sqrt(s^2 + 4 beta^2)) / 2, where a mode of the representation ends beside a new head.

    Args:
      strength: s >= 0 when the head is put on; a mode of 0 would not move, and is told as the limit of small ones.
      target: beta, what h w is trained to be, of either sign. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> headed([0.0, 1.0], 1.0).round(3)
      array([1.   , 1.618])

    Source: re-derived.
    """
    first = np.asarray(numbers("strength", strength, at_least=0, most=1e30), np.float64)
    beta = np.asarray(numbers("target", target, most=1e30), np.float64)
    require_together(strength=first, target=beta)
    return np.asarray((first + np.hypot(first, 2 * beta)) / 2)


def best_representation(limit: ArrayLike, target: ArrayLike) -> Numbers:
    """s = c - beta^2 / c, from which a new head takes a mode to its limit c exactly: the best budget; 0 if none does.

    Learned in full the mode is then worse than hardly learned iff beta > 2 c / 3, and than a mode of 0 iff
    beta > sqrt(2) c.

    Args:
      limit: c > 0, the strength that pre-training would end at.
      target: beta. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> best_representation(1.0, [0.5, 2.0])
      array([0.75, 0.  ])

    Source: re-derived.
    """
    end = np.asarray(numbers("limit", limit, at_least=SMALLEST, most=1e30), np.float64)
    beta = np.asarray(numbers("target", target, most=1e30), np.float64)
    require_together(limit=end, target=beta)
    return np.asarray(np.maximum(end - beta**2 / end, 0.0))
