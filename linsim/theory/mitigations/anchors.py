"""Anchors of fine-tuning: rehearsal as a penalty on the product, and elastic weights (EWC) between two penalties."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, SMALLEST, numbers, require_integer, require_number

Numbers = Float[np.ndarray, "..."]


def replay_penalty(share: ArrayLike) -> Numbers:
    """lambda = r/(1 - r): fine-tuning with a share r of the pre-training task is a penalty on the product.

    (1 - r) ||P - A_ft||^2 + r ||P - A_pre||^2 is (1 - r) times the loss with lambda ||P - P_0||^2, up to a constant,
    if P_0 = A_pre: the same path in the flow time (1 - r) T, of any network. Inputs of both tasks are whitened.

    Args:
      share: r from 0 to below 1.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> replay_penalty([0.0, 0.2, 0.5])
      array([0.  , 0.25, 1.  ])

    Source: re-derived.
    """
    part = np.asarray(numbers("share", share, at_least=0, most=1 - 1e-15), np.float64)
    return np.asarray(part / (1 - part))


class ElasticLimits(NamedTuple):
    """What (c/2) sum_k F_k (w_k - w_k0)^2 is near to, in two kinds of hidden bases; F of the checkpoint."""

    product: float
    """lambda of `tuned`: a hidden unit of its own for each mode, balanced layers, small changes."""
    weight: float
    """mu of a penalty (mu/2) ||W - W_0||^2: hidden bases at random, many modes."""
    spread: float
    """Standard deviation of F over hidden units in random bases, in units of its mean: 0 where the latter is exact."""


def elastic_limits(strengths: ArrayLike, weight: float, hidden: int) -> ElasticLimits:
    """c/4 of the product, c N/h of the weights, and sqrt(2 (h sum s^2/N^2 - 1)/(h + 2)) beside it, N = sum s.

    The diagonal of the Fisher matrix, of unit noise and whitened inputs, is F = ||W_2 e_k||^2 for what leads to the
    hidden unit k, and ||e_k^T W_1||^2 for what leads away. With own units F = s_i, and the penalty of a mode that
    goes to s is c s_0 (sqrt s - sqrt s_0)^2 = (c/4) (s - s_0)^2 4 s_0/(sqrt s + sqrt s_0)^2: four times as much as of
    the product to take it to 0, and less to amplify it. In random bases F is N/h on average; it varies over units
    however wide the layer is, by sqrt(2 sum s^2)/N.

    Args:
      strengths: s_i >= 0 of the checkpoint, not all 0.
      weight: c >= 0.
      hidden: h, at least the number of modes.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> limits = elastic_limits([2.0, 1.0, 1.0], weight=8.0, hidden=16)
      >>> limits.product, limits.weight, round(limits.spread, 3)
      (2.0, 2.0, 0.745)

    Source: re-derived; EWC of Kirkpatrick et al. 2017.
    """
    learned = numbers("strengths", strengths, 1, at_least=0, most=LARGEST, sized=True)
    require_number("weight", weight, at_least=0, at_most=LARGEST)
    require_integer("hidden", hidden, at_least=len(learned))
    total = float(np.sum(learned))
    require_number("sum of strengths", total, at_least=SMALLEST)
    squares = float(np.sum((learned / total) ** 2))
    spread = float(np.sqrt(max(2 * (hidden * squares - 1) / (hidden + 2), 0.0)))
    return ElasticLimits(weight / 4, weight * total / hidden, spread)
