"""What belongs to the shift and what to the order in which modes are learned, whatever the optimiser.

Modes s_i of balanced layers in the bases of both tasks, inputs whitened, fine-tuned by plain descent for T: a mode ends
at F_T(s_i), which grows with s_i. An optimiser decides on the path of s alone, from 0 to sigma.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from linsim.dynamics.modes.mode_flow import Values
from linsim.errors import LARGEST, numbers, require, require_choice, require_number, require_together
from linsim.precision import in_float64
from linsim.theory.stages import tuned

Order = Literal["soft threshold", "natural", "muon"]
ORDERS: tuple[Order, ...] = ("soft threshold", "natural", "muon")


class AnyOrder(NamedTuple):
    """Pre-training losses after fine-tuning that hold for every optimiser."""

    last: Float[Array, "..."]
    """From the converged checkpoint, the same for all that converge in balance: sum (F_T(sigma_i) - sigma_i)^2."""
    bound: Float[Array, "..."]
    """No budget is better, as long as no mode goes beyond its target: sum max(sigma_i - F_T(sigma_i), 0)^2."""


@in_float64
def any_order(pretrain: Float[ArrayLike, " modes"], finetune: Float[ArrayLike, " modes"], time: Values) -> AnyOrder:
    """The last loss, and a bound on the best: what is between them, the overshoot, is what an order may save.

    With all sigma_ft >= sigma_pre the bound is 0, and harm, last / best - 1, has no bound over orders. [re-derived]

    Args:
      pretrain: sigma_i >= 0.
      finetune: sigma_ft,i of the same modes, of either sign.
      time: T >= 0; further axes come before those of the modes.

    Example:
      >>> told = any_order(pretrain=[1.0, 0.5], finetune=[0.5, 2.0], time=10.0)
      >>> float(told.last.round(6)), float(told.bound.round(6))
      (2.5, 0.25)
    """
    numbers("pretrain", pretrain, 1, at_least=0, most=LARGEST)
    require_together(pretrain=pretrain, finetune=finetune)
    given = (jnp.asarray(pretrain, float), jnp.asarray(finetune, float), jnp.asarray(time, float)[..., None])
    sigma, goal, long = jnp.broadcast_arrays(*given)
    over = tuned(sigma, goal, 0.0, long) - sigma
    return AnyOrder(jnp.sum(over**2, axis=-1), jnp.sum(jnp.minimum(over, 0) ** 2, axis=-1))


@in_float64
def at_loss(strengths: Float[np.ndarray, " modes"], loss: float, order: Order) -> Float[np.ndarray, " modes"]:
    """s_i with sum (sigma_i - s_i)^2 equal to a base loss: where a path is, on an axis that optimisers share.

    "soft threshold": s = max(sigma - m, 0), what penalties on the trace lead to; "natural": s = (1 - c) sigma, descent
    on P from 0; "muon": s = min(sigma, m), `muon_flow` from 0. The trace of the curvature, 2 (d_in + d_out) sum s_i,
    is least on the first among all paths, and on the second at most that on the third. [re-derived]

    Args:
      strengths: sigma_i >= 0, not all 0.
      loss: of the pre-training task, from 0 to sum sigma_i^2.
      order: which path.

    Example:
      >>> at_loss(np.array([3.0, 1.0]), loss=2.0, order="soft threshold")
      array([2., 0.])
    """
    sigma = numbers("strengths", strengths, 1, at_least=0, sized=True)
    require_choice("order", order, ORDERS)
    whole = float(np.sum(sigma**2))
    require(whole > 0, "strengths", strengths, "one above 0")
    require_number("loss", loss, at_least=0, at_most=whole)
    if order == "natural":
        return (1 - np.sqrt(loss / whole)) * sigma
    rising = np.sort(sigma)
    if order == "soft threshold":  # residuals min(sigma, m): the k weakest are missing
        missing = np.concatenate([[0.0], np.cumsum(rising**2)[:-1]])
        levels = np.sqrt(np.maximum(loss - missing, 0) / np.arange(len(sigma), 0, -1))
        fits = levels <= rising
        level = float(levels[np.argmax(fits)]) if fits.any() else float(rising[-1])
        return np.maximum(sigma - level, 0)
    falling = rising[::-1]  # residuals max(sigma - m, 0): the k strongest are not done
    sums, squares, counts = np.cumsum(falling), np.cumsum(falling**2), np.arange(1, len(sigma) + 1)
    levels = (sums - np.sqrt(np.maximum(sums**2 - counts * (squares - loss), 0))) / counts
    fits = levels >= np.append(falling[1:], 0.0)
    return np.minimum(sigma, float(levels[np.argmax(fits)]))
