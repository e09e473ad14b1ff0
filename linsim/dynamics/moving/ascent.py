"""Gradients that are taken elsewhere than at the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from linsim.phase import Parameters, Strength, swept


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SharpnessAware:
    """Sharpness-aware minimisation: the gradient at W + rho g / ||g||, with g that at W. [Foret et al. 2021]

    ||g|| is over all that moves, together. Both gradients are of one minibatch, where there are any.

    Example:
      >>> ahead = SharpnessAware(radius=0.5)
      >>> float(ahead.gradient(lambda weight: 2 * weight, jnp.array(3.0), 0, None))
      7.0
    """

    radius: Strength = field(
        default=None, metadata=swept("radius of the ascent, rho", "weight", at_least=0, axis="sharpness_radius")
    )
    """rho; None where it is swept, as the axis `sharpness_radius`."""
    start: Strength = field(
        default=0, metadata=swept("steps before the ascent", "steps", at_least=0, whole=True, axis="sharpness_start")
    )
    """Steps of plain descent before it; its axis is `sharpness_start`."""

    def gradient(
        self, slope: Callable[[Parameters], Parameters], parameters: Parameters, step: Any, key: Any
    ) -> Parameters:
        """The gradient at the end of the ascent; at the weights where it vanishes there."""
        uphill = slope(parameters)
        size = optax.tree.norm(uphill)
        reach = jnp.where((step >= self.start) & (size > 0), self.radius / jnp.where(size > 0, size, 1), 0)
        return slope(jax.tree.map(lambda at, towards: at + reach.astype(towards.dtype) * towards, parameters, uphill))
