"""One step of descent of a scalar chain, by hand, in units in which the pull of every mode has slope 1.

With  s = w_1 ... w_L,  the loss of a mode and its penalty in product space are  (lambda + rho) (s - a)^2  and a
constant, where  a = (lambda sigma + rho s_0) / (lambda + rho).  A step of rate eta takes  k (s - a) prod_{m != l} w_m
off w_l, with  k = 2 eta (lambda + rho).  Measured in  x_l = c w_l,  where  c = k^(1 / (2 L - 2)),  it reads

    x_l <- x_l - (x_1 ... x_L - c^L a) prod_{m != l} x_m

so that neither the rate nor the strength is left but in one constant. Decay and penalties of weights are linear and do
not mind the unit. One layer alone has no such unit: there c = 1, and the slope stays k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from linsim.dynamics.kernels.vectors import Vector
from linsim.dynamics.modes.chains import Chain, Target
from linsim.phase import Phase

OfModes = Float[Array, "*modes"]
"""A number of every mode; under vmap of every mode of every lane, and in a kernel, as a `Vector`, of some of them."""
if not TYPE_CHECKING:
    OfModes |= Vector


class Constants(NamedTuple):
    """What does not change while a chain descends; None for what is absent."""

    aim: OfModes
    """c^L a."""
    slope: OfModes | None
    """k of a single layer."""
    decay: OfModes | None
    """eta beta."""
    pull: OfModes | None
    """eta mu."""
    home: tuple[OfModes, ...] | None
    """c w_l^0, where the pull is to."""
    momentum: OfModes | None


class Moving(NamedTuple):
    """What changes."""

    layers: tuple[OfModes, ...]
    """x_l."""
    velocity: tuple[OfModes, ...] | None
    """eta c times the heavy-ball average of the gradients, where there is momentum."""


def in_own_unit(
    phase: Phase, target: Target, anchor: Chain | None, reference: OfModes | None, depth: int
) -> tuple[OfModes, Constants]:
    """The unit c, and the constants in it.

    The two pulls of a mode are one, towards a: where the penalty outweighs the loss by more than the precision holds,
    2^24 times in float32, the loss pulls no more. At depth 1 that hides an instability from rates above 1 / rho on.

    Args:
      phase: rate and penalties of this lane.
      target: sigma and lambda.
      anchor: w^0, where a penalty refers to it.
      reference: s_0, likewise.
      depth: L.
    """
    rate, rho = phase.learning_rate, phase.product_penalty
    if rho is None:
        weight, aim = target.variances, target.strengths
    else:
        weight = target.variances + rho
        pulled = target.variances * target.strengths + rho * reference
        aim = jnp.where(weight > 0, pulled / jnp.where(weight > 0, weight, 1), 0)
    slope = 2 * rate * weight
    # A mode without any pull must keep a unit; the pull that this gives it is far below rounding.
    visible = jnp.maximum(slope, np.sqrt(np.finfo(slope.dtype).tiny))
    unit = visible ** (1 / (2 * depth - 2)) if depth > 1 else jnp.ones_like(slope)

    def everywhere(factor: Any) -> OfModes | None:
        return None if factor is None else jnp.broadcast_to(factor, slope.shape).astype(slope.dtype)

    pull = phase.weight_penalty
    return unit, Constants(
        aim=unit**depth * aim,
        slope=slope if depth == 1 else None,
        decay=everywhere(None if phase.weight_decay is None else rate * phase.weight_decay),
        pull=everywhere(None if pull is None else rate * pull),
        home=None if pull is None or anchor is None else tuple(unit * layer for layer in anchor),
        momentum=everywhere(phase.momentum),
    )


def step(constants: Constants, moving: Moving, nesterov: bool = False) -> Moving:
    """One update of every layer; elementwise, so that lanes and modes may lie in memory as they like."""
    changes = descent_of(constants, moving.layers)
    velocity = moving.velocity
    if velocity is not None and constants.momentum is not None:
        velocity = tuple(c + constants.momentum * v for c, v in zip(changes, velocity, strict=True))
        ahead = tuple(c + constants.momentum * v for c, v in zip(changes, velocity, strict=True))
        changes = ahead if nesterov else velocity
    return Moving(tuple(x - change for x, change in zip(moving.layers, changes, strict=True)), velocity)


def descent_of(constants: Constants, layers: tuple[OfModes, ...]) -> tuple[OfModes, ...]:
    """eta c times the gradient with respect to w_l: what plain descent subtracts from x_l.

    From the last layer to the first the excess takes one more layer, 3 L - 3 products and sums in all where two of them
    are one operation.
    """
    below: list[OfModes | None] = [None]  # the product of all layers before each
    for layer in layers[:-1]:
        below.append(layer if below[-1] is None else below[-1] * layer)
    last = layers[-1] if below[-1] is None else below[-1] * layers[-1]
    pull = last - constants.aim
    if constants.slope is not None:
        pull = constants.slope * pull
    changes = []
    for number, (layer, before) in reversed(list(enumerate(zip(layers, below, strict=True)))):
        change = pull if before is None else pull * before
        pull = pull * layer
        if constants.decay is not None:
            change = change + constants.decay * layer
        if constants.pull is not None and constants.home is not None:
            change = change + constants.pull * (layer - constants.home[number])
        changes.append(change)
    return tuple(changes[::-1])


def loop(constants: Constants, moving: Moving, steps: Any, nesterov: bool = False) -> Moving:
    """Many steps, several in one pass over memory.

    A fused loop of XLA on a CPU writes one array, and computes what several arrays share once for each: two real
    numbers therefore travel as the parts of a complex one.
    """
    several = max(32 // (len(moving.layers) * (1 if moving.velocity is None else 2)), 1)

    def advance(packed: list[Any], count: int) -> list[Any]:
        here = _unpack(packed, moving)
        for _ in range(count):
            here = step(constants, here, nesterov)
        return _pack(here)

    packed = lax.fori_loop(0, steps // several, lambda _, packed: advance(packed, several), _pack(moving))
    packed = lax.fori_loop(0, steps % several, lambda _, packed: advance(packed, 1), packed)
    return _unpack(packed, moving)


def _pack(moving: Moving) -> list[Any]:
    numbers = [*moving.layers, *(moving.velocity or ())]
    pairs = [lax.complex(*numbers[first : first + 2]) for first in range(0, len(numbers) - 1, 2)]
    return pairs + numbers[len(numbers) - len(numbers) % 2 :]


def _unpack(packed: list[Any], like: Moving) -> Moving:
    parts = [(lax.real(each), lax.imag(each)) if jnp.iscomplexobj(each) else (each,) for each in packed]
    numbers = tuple(part for pair in parts for part in pair)
    depth = len(like.layers)
    return Moving(numbers[:depth], None if like.velocity is None else numbers[depth:])
