"""Training that has to stay finite, as there is one learning rate and no result without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from linsim.errors import LARGEST, require


def require_settled(weights: Sequence[Any], rate: float) -> None:
    """Raise `InvalidInput` naming `learning_rate` where weights are not finite, or too large to go on with."""
    sound = all(bool(np.all(np.abs(layer) <= LARGEST)) for layer in weights)
    require(sound, "learning_rate", rate, "a smaller one: at this one training diverges")
