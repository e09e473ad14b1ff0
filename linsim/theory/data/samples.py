"""Where the held-out base loss turns by itself: modes of a sample that are more noise than signal.

A sample asks for A + E, entries of E independent with variance v, and whitened inputs. From small weights two layers
learn its singular modes one after the other, strongest first. Source: Gavish and Donoho 2014, of truncated singular
value decompositions, which are what stages are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, numbers, require_integer

Numbers = Float[np.ndarray, "..."]
_WIDEST = 10**7


def useful_singular_value(outputs: int, inputs: int, variance: ArrayLike) -> Numbers:
    """Singular value of A + E from which on learning the mode lowers the held-out loss: square, (4/sqrt 3) sqrt(d v).

    In general sqrt(2 (b + 1) + 8 b/(b + 1 + sqrt(b^2 + 14 b + 1))) sqrt(n v), b = m/n <= 1 the ratio of the sides and
    n the longer one. A mode below is learned beyond twice what it has of A; it has the strength sqrt(3 d v) in A
    where square. In the limit of large matrices, with few modes that stand out.

    Args:
      outputs: d_out.
      inputs: d_in.
      variance: v >= 0, squared label noise / examples.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> float(useful_singular_value(100, 100, 0.01).round(4)), float(useful_singular_value(50, 100, 0.01).round(4))
      (2.3094, 1.9786)
    """
    require_integer("outputs", outputs, at_least=1, at_most=_WIDEST)
    require_integer("inputs", inputs, at_least=1, at_most=_WIDEST)
    noise = np.asarray(numbers("variance", variance, at_least=0, most=LARGEST), np.float64)
    longer, shorter = max(outputs, inputs), min(outputs, inputs)
    ratio = shorter / longer
    square = 2 * (ratio + 1) + 8 * ratio / (ratio + 1 + np.sqrt(ratio**2 + 14 * ratio + 1))
    return np.asarray(np.sqrt(square * longer * noise))
