"""Muon in closed form: modes grow by a length, not by a rate, in pre-training and in fine-tuning alike.

Exact polar factors on both of two layers, no momentum and no decay, balanced layers in the bases of the task, inputs
whitened, eta -> 0: every weight w_i = sqrt(s_i) moves at speed 1 until it is where it is wanted. Time is eta x steps.
Descent by the sign of the gradient does the same where the bases of the task are the coordinates. [re-derived]
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from linsim.dynamics.modes.mode_flow import Values
from linsim.errors import LARGEST, numbers, require_together
from linsim.precision import in_float64


class MuonTimes(NamedTuple):
    """Fine-tuning times from which on a learned mode is worse than others, where its new target is beyond."""

    absent: Float[Array, "..."]
    """Worse than the same mode at 0, which stays there: (sqrt 2 - 1) sqrt(sigma)."""
    beginning: Float[Array, "..."]
    """Worse than the same mode at a small strength, which grows by T as well: (sqrt 3 - 1) sqrt(sigma) / 2."""


@in_float64
def muon_flow(start: Values, target: Values, time: Values) -> Float[Array, "..."]:
    """s(t) = (w_0 + clip(sqrt(max(sigma, 0)) - w_0, -t, t))^2 with w_0 = sqrt(s_0); 0 stays 0.

    From w_0 below all sqrt(sigma_i) that is min((w_0 + t)^2, sigma_i): all modes grow as one, and the weak are done
    first, at sqrt(sigma_i). Fine-tuned, a mode moves by a length T whatever its strength and its new target are; the
    least loss after it within a mode is at sqrt(s) = sqrt(sigma) - T. Where sigma < 0 balanced layers stop at 0.

    Args:
      start: s_0 >= 0, the strength at the beginning.
      target: sigma, of either sign.
      time: t >= 0, learning rate x steps. All broadcast.

    Example:
      >>> np.asarray(ls.muon_flow(start=0.01, target=np.array([4.0, 0.25]), time=0.9)).round(3)
      array([1.  , 0.25])
    """
    numbers("start", start, at_least=0, most=LARGEST)
    numbers("target", target, most=LARGEST)
    numbers("time", time, at_least=0, most=LARGEST)
    require_together(start=start, target=target, time=time)
    start, target, time = jnp.broadcast_arrays(*(jnp.asarray(value, float) for value in (start, target, time)))
    weight = jnp.sqrt(start)
    moved = weight + jnp.clip(jnp.sqrt(jnp.maximum(target, 0)) - weight, -time, time)
    return jnp.where(start > 0, moved**2, 0.0)


@in_float64
def muon_times(strength: Values) -> MuonTimes:
    """Fine-tuning times of Muon from which on having learned a mode is net harm, whatever it is wanted to become.

    A learned mode ends at (sqrt(sigma) + T)^2 while its new target is beyond. Under plain descent the time depends on
    that target (`critical_time`), and there is none at targets below 2 sigma.

    Args:
      strength: sigma >= 0 of the pre-training task.

    Example:
      >>> ls.muon_times(1.0)
      MuonTimes(absent=Array(0.41421356, dtype=float64), beginning=Array(0.3660254, dtype=float64))
    """
    numbers("strength", strength, at_least=0, most=LARGEST)
    weight = jnp.sqrt(jnp.asarray(strength, float))
    return MuonTimes((jnp.sqrt(2.0) - 1) * weight, (jnp.sqrt(3.0) - 1) / 2 * weight)


@in_float64
def sign_floor(strengths: Values, learning_rate: Values) -> Float[Array, "..."]:
    """Mean loss (4/3) sigma_i eta^2 of a mode where Muon at a constant rate has settled, in any bases of the task.

    Descent by signs has it where layers are diagonal in the coordinates, elsewhere several times as much. Both weights
    of the mode step over sqrt(sigma_i) and back, by eta; the phase is uniform. At most 4 sigma_i eta^2, to leading
    order in eta / sqrt(sigma_i).

    Args:
      strengths: sigma_i >= 0.
      learning_rate: eta > 0, in weight per step. Both broadcast.

    Example:
      >>> round(float(sign_floor(strengths=3.0, learning_rate=0.01)), 6)
      0.0004
    """
    numbers("strengths", strengths, at_least=0, most=LARGEST)
    numbers("learning_rate", learning_rate, above=0, most=LARGEST)
    require_together(strengths=strengths, learning_rate=learning_rate)
    strengths, rate = jnp.broadcast_arrays(jnp.asarray(strengths, float), jnp.asarray(learning_rate, float))
    return 4 / 3 * strengths * rate**2
