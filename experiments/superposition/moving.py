"""What moves where the input layer makes codes without negative entries, and where layers are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from linsim.errors import require
from linsim.losses import Weights
from linsim.phase import Strength, swept


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled:
    """Layers c W_1 and W_2/c, which make the same product: descent of weights that were scaled at the checkpoint.

    With `absolute` the input layer is |W_1|: a step is reflected at 0, and codes have no negative entries.
    """

    layer_scale: Strength = field(default=1.0, metadata=swept("scale of the input layer, c", "1", above=0))
    """c."""
    absolute: bool = field(default=False, metadata={"static": True})

    def require_fits(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Two layers."""
        require(len(shapes) == 2, f"{name}.layers", len(shapes), "two")

    def begin(self, weights: Weights, key: Any) -> Weights:
        """c W_1 and W_2/c."""
        first, second = weights
        return first * self.layer_scale, second / self.layer_scale

    def weights(self, parameters: Weights, checkpoint: Weights) -> Weights:
        """W_1 and W_2."""
        first, second = parameters
        return (jnp.abs(first) if self.absolute else first) / self.layer_scale, second * self.layer_scale
