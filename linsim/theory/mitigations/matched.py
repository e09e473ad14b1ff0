"""A checkpoint judged at matched fine-tuning loss: how far above what any network could reach it ends.

Modes of balanced layers in the bases of both tasks, inputs whitened, fine-tuned by plain descent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import SMALLEST, numbers, require, require_number, require_together
from linsim.theory.data.effort import last_loss_bounds

Numbers = Float[np.ndarray, "..."]

_HALVINGS = 64


class Matched(NamedTuple):
    """Where fine-tuning comes to its level."""

    time: Numbers
    """T, flow time; infinite where it never does, and NaN where it begins below."""
    excess: Numbers
    """Pre-training loss then, over its bound: 1 at best, NaN where there is no such time."""


def matched_excess(checkpoint: ArrayLike, pretrain: ArrayLike, finetune: ArrayLike, level: float) -> Matched:
    """L_pre/((1 - sqrt(phi))^2 D^2) at L_ft = phi D^2, D = ||A_ft - A_pre||: 1 is the bound of every network.

    Fine-tuned from a checkpoint s, which may be stopped early, shrunk, or made by another optimiser: the excess of the
    one learned in full, s = sigma, is what any of them may gain. It is 1 if all modes that are moved are equal.

    Args:
      checkpoint: s_i >= 0; further axes come before those of the modes.
      pretrain: sigma_i >= 0.
      finetune: sigma_ft,i of the same modes, of either sign.
      level: phi in (0, 1).

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast, tasks that are one.

    Example:
      >>> full = matched_excess([2.0, 1.0], [2.0, 1.0], [8.0, 4.0], level=0.5)
      >>> early = matched_excess([2.0, 0.1], [2.0, 1.0], [8.0, 4.0], level=0.5)
      >>> float(full.excess.round(3)), float(early.excess.round(3))
      (1.084, 2.692)

    Source: re-derived; the bound is `convex-front`.
    """
    given = (
        np.asarray(numbers("checkpoint", checkpoint, at_least=0, most=1e30), np.float64),
        np.asarray(numbers("pretrain", pretrain, at_least=0, most=1e30), np.float64),
        np.asarray(numbers("finetune", finetune, most=1e30), np.float64),
    )
    require_together(checkpoint=given[0], pretrain=given[1], finetune=given[2])
    begun, sigma, goal = np.broadcast_arrays(*given)
    require(begun.ndim > 0, "checkpoint", "one number", "a list of modes")
    require_number("level", level, at_least=SMALLEST, below=1)
    apart = np.sum((goal - sigma) ** 2, axis=-1)
    require(bool(np.all(apart > 0)), "finetune", finetune, "another task than that of pre-training")

    def left(time: ArrayLike) -> np.ndarray:
        return np.asarray(np.sum((_tuned(begun, goal, np.asarray(time)) - goal) ** 2, axis=-1) / apart)

    scale = np.max(np.maximum(np.maximum(sigma, np.abs(goal)), begun), axis=-1)
    low, high = np.log(1e-12 / scale), np.log(1e12 / scale)
    before, after = left(np.zeros_like(scale)), left(np.exp(high))
    for _ in range(_HALVINGS):  # the loss falls all the while
        middle = (low + high) / 2
        above = left(np.exp(middle)) > level
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    time = np.where(before > level, np.exp(high), np.where(before == level, 0.0, np.nan))
    time = np.where(after > level, np.inf, time)
    reached = _tuned(begun, goal, np.asarray(np.nan_to_num(time, posinf=0.0)))
    base = np.sum((reached - sigma) ** 2, axis=-1) / apart
    return Matched(np.asarray(time), np.where(np.isfinite(time), base / last_loss_bounds(level).least, np.nan))


def _tuned(begun: np.ndarray, goal: np.ndarray, time: np.ndarray) -> np.ndarray:
    """`tuned` without a penalty, in NumPy: a search calls it a hundred times."""
    exponent, up = 4 * goal * time[..., None], goal > 0
    left = np.exp(-np.abs(exponent))
    rising = np.where(up, begun + (goal - begun) * left, 1.0)
    risen = np.where(rising > 0, goal * begun / np.where(rising > 0, rising, 1.0), 0.0)
    below = np.where(goal < 0, -np.expm1(-np.abs(exponent)) / np.where(goal < 0, -goal, 1.0), 4 * time[..., None])
    return np.asarray(np.where(up, risen, begun * left / (1 + begun * below)))
