"""What a network forgets of its first task while it learns a second one by another head.

Tasks of one output, y = sigma_k a_k . x with unit vectors a_k, whitened inputs, two balanced layers that have learned
the first task and nothing else. The shared layer goes on with a head of the second task's own; the first task is then
read by the head that it had.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import SMALLEST, numbers, require_choice, require_together
from linsim.theory.objectives.new_heads import headed

Numbers = Float[np.ndarray, "..."]
HEADS = ("fresh", "copied")


def head_forgetting(first: ArrayLike, second: ArrayLike, overlap: ArrayLike, head: str = "fresh") -> Numbers:
    """sigma_1 (w^2 + sigma_1 - 2 w sqrt(sigma_1) o), the first task's loss once the second one is learned.

    o = a_1 . a_2, and w^2 = ||W||^2: (sigma_1 + sqrt(sigma_1^2 + 4 sigma_2^2))/2 from a head of 0, and sigma_2 from a
    copy of the first head. A fresh head learns through what both tasks share, so that any o > 0 is enough, and the less
    it is the more is forgotten; at o = 0 it stays 0, and nothing is. A copied one forgets the more the less they share.

    Args:
      first: sigma_1 > 0.
      second: sigma_2 > 0.
      overlap: o from 0 to 1. All broadcast.
      head: "fresh" or "copied".

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast, another head.

    Example:
      >>> head_forgetting(1.0, 1.0, [0.0, 0.25, 0.5, 1.0]).round(3)
      array([0.   , 1.982, 1.346, 0.074])
      >>> head_forgetting(1.0, 1.0, [0.0, 0.5, 1.0], head="copied")
      array([2., 1., 0.])

    Source: re-derived; the question is that of Lee, Goldt and Saxe 2021.
    """
    one = np.asarray(numbers("first", first, at_least=SMALLEST, most=1e15), np.float64)
    two = np.asarray(numbers("second", second, at_least=SMALLEST, most=1e15), np.float64)
    shared = np.asarray(numbers("overlap", overlap, at_least=0, most=1.0), np.float64)
    require_together(first=one, second=two, overlap=shared)
    require_choice("head", head, HEADS)
    square = headed(one, two) if head == "fresh" else two
    told = one * (square + one - 2 * np.sqrt(square * one) * shared)
    return np.asarray(np.where((shared == 0) & (head == "fresh"), 0.0, told))
