"""Gradients of perturbed networks, hidden units dropped or weights shaken; and layers with rates of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from linsim.errors import require
from linsim.losses import Weights
from linsim.phase import Parameters, Strength, swept

_WEIGHTS = "weights (W_1, ..., W_L), without `moves`"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dropout:
    """Every hidden unit is 0 with probability p in a step, else 1/(1 - p) times itself. [Srivastava et al. 2014]

    One mask a step, for the whole minibatch; what is evaluated is the whole network.
    """

    probability: Strength = field(
        default=None, metadata=swept("probability to drop a unit", "1", at_least=0, below=1, axis="dropout")
    )
    """p; None where it is swept, as the axis `dropout`."""

    def gradient(self, slope: Callable[[Parameters], Parameters], parameters: Weights, step: Any, key: Any) -> Weights:
        """The gradient of the network with units left out, in the weights of the whole one."""
        require(_layered(parameters), "gradient_at", "other parameters", _WEIGHTS)
        kept = [
            jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.probability, (len(weight), 1)).astype(
                weight.dtype
            )
            / (1 - self.probability).astype(weight.dtype)
            for layer, weight in enumerate(parameters[:-1])
        ]
        masks = [*kept, jnp.ones((1, 1), parameters[-1].dtype)]
        slopes = slope(tuple(mask * weight for mask, weight in zip(masks, parameters, strict=True)))
        return tuple(mask * each for mask, each in zip(masks, slopes, strict=True))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WeightNoise:
    """The gradient at W + gamma e, e of unit normal entries that are drawn anew in every step."""

    scale: Strength = field(
        default=None, metadata=swept("noise on the weights, gamma", "weight", at_least=0, axis="weight_noise")
    )
    """gamma; None where it is swept, as the axis `weight_noise`."""

    def gradient(
        self, slope: Callable[[Parameters], Parameters], parameters: Parameters, step: Any, key: Any
    ) -> Parameters:
        """The gradient at weights that are shaken."""
        leaves, tree = jax.tree.flatten(parameters)
        shaken = [
            leaf
            + self.scale.astype(leaf.dtype) * jax.random.normal(jax.random.fold_in(key, at), leaf.shape, leaf.dtype)
            for at, leaf in enumerate(leaves)
        ]
        return slope(jax.tree.unflatten(tree, shaken))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerRates:
    """Layer l of L has the rate eta r^(l - (L + 1)/2): r = 1 is one rate for all, r > 1 spares what is near the input.

    The rates of all layers have the geometric mean eta. Of plain descent: optimisers that rescale gradients undo it.

    Example:
      >>> rates = LayerRates(jnp.asarray(4.0))
      >>> [float(each[0, 0]) for each in rates.gradient(lambda at: at, (jnp.ones((1, 1)),) * 2, 0, None)]
      [0.5, 2.0]
    """

    ratio: Strength = field(
        default=None, metadata=swept("rate of a layer over that of the one before", "1", above=0, axis="layer_ratio")
    )
    """r; None where it is swept, as the axis `layer_ratio`."""

    def gradient(self, slope: Callable[[Parameters], Parameters], parameters: Weights, step: Any, key: Any) -> Weights:
        """The gradient, each layer's times its share of the rate."""
        require(_layered(parameters), "gradient_at", "other parameters", _WEIGHTS)
        middle = (len(parameters) - 1) / 2
        return tuple(
            (self.ratio ** (layer - middle)).astype(each.dtype) * each for layer, each in enumerate(slope(parameters))
        )


def _layered(parameters: Any) -> bool:
    return isinstance(parameters, tuple) and all(getattr(each, "ndim", 0) == 2 for each in parameters)
