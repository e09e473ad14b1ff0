"""Fine-tuning that amplifies the tail of a power law: both losses of models of any size, in closed form.

A mode from n0 on is wanted c times as strong. All of it is covariant: with times in units of n0^a, losses in units of
n0^(1 - 2 a) are one function of D, T and N/n0 in the continuum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, numbers, require_integer, require_number
from linsim.theory.scaling.laws import of_depth, whole_sizes
from linsim.theory.scaling.power_law import MOST_MODES, PowerLaw


class Tuned(NamedTuple):
    """Losses after fine-tuning, over times and sizes."""

    pretrain: Float[np.ndarray, "times sizes"]
    finetune: Float[np.ndarray, "times sizes"]


def tuned_tail(
    law: PowerLaw,
    sizes: ArrayLike,
    times: ArrayLike,
    first: int,
    factor: float,
    finetune_time: float,
    penalty: float = 0.0,
) -> Tuned:
    """L_pre and L_ft after flow time T of fine-tuning towards c sigma_i for i >= n0, from models of N modes at D.

    Args:
      law: of two layers.
      sizes: N, whole numbers >= 1.
      times: D >= 0.
      first: n0 >= 1.
      factor: c > 0.
      finetune_time: T >= 0.
      penalty: lambda >= 0 on the product, towards the checkpoint.

    Raises:
      InvalidInput: a number outside its domain, another depth.

    Example:
      >>> told = tuned_tail(PowerLaw(1.0), [7, 64], [1000.0], first=8, factor=4.0, finetune_time=4.0)
      >>> told.pretrain.round(3), told.finetune.round(3)
      (array([[0.133, 0.849]]), array([[2.13 , 0.303]]))

    Source: re-derived.
    """
    of_depth(law, 2, 2)
    count, when = whole_sizes(sizes), np.asarray(numbers("times", times, 1, at_least=0, most=LARGEST))
    require_integer("first", first, at_least=1, at_most=MOST_MODES)
    require_number("factor", factor, above=0, at_most=1e6)
    require_number("finetune_time", finetune_time, at_least=0, at_most=LARGEST)
    require_number("penalty", penalty, at_least=0, at_most=1e6)
    sigma = law.strengths(int(count.max()))
    goal = np.where(np.arange(1, len(sigma) + 1) >= first, factor, 1.0) * sigma
    begun = sigma * (1 - law.missing(when[:, None] * sigma))
    limit = (goal + penalty * begun) / (1 + penalty)
    left = np.exp(-np.minimum(4 * (1 + penalty) * limit * finetune_time, 700.0))
    reached = limit * begun / (begun + (limit - begun) * left)
    beyond, ahead = law.beyond(count), law.beyond(np.array([first - 1]))[0]
    pretrain = np.cumsum((reached - sigma) ** 2, axis=1)[:, count - 1] + beyond
    finetune = np.cumsum((reached - goal) ** 2, axis=1)[:, count - 1]
    return Tuned(pretrain, finetune + beyond + (factor**2 - 1) * np.minimum(beyond, ahead))
