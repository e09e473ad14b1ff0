"""What methods are made of: a problem by the standard recipe with some fields of a phase changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from linsim.problem import Problem

Schedule = Callable[[Any], Any]
"""Step -> factor on the rate."""
Change = Callable[[Problem, float | None], Problem]
"""Of a method: problem by the standard recipe, strength -> the problem with the method."""
_LAST = 0.2
"""Share of the steps in which the standard recipe's rate decays."""


@lru_cache
def stable_decay(steps: int) -> Schedule:
    """1, and in the last fifth linearly to 0: one object for equal steps, which is compiled once."""
    last = max(round(_LAST * steps), 1)
    return lambda count: jnp.clip((steps - jnp.asarray(count, float)) / last, 0.0, 1.0)


@lru_cache
def cosine(steps: int) -> Schedule:
    """(1 + cos(pi t / steps)) / 2."""
    return lambda count: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(jnp.asarray(count, float) / steps, 1.0)))


def pretrained(**changes: Any) -> Callable[[Problem, float | None], Problem]:
    """What changes fields of pre-training."""
    return lambda problem, _: replace(problem, pretrain=replace(problem.pretrain, **changes))


def finetuned(**changes: Any) -> Callable[[Problem, float | None], Problem]:
    """What changes fields of fine-tuning."""
    return lambda problem, _: replace(problem, finetune=replace(problem.finetune, **changes))


def scheduled(schedule: Callable[[int], Schedule]) -> Callable[[Problem, float | None], Problem]:
    """What replaces the schedule of pre-training."""
    return lambda problem, _: pretrained(schedule=schedule(int(problem.budgets[-1])))(problem, None)


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """Strengths evenly in the logarithm, to two digits."""
    return tuple(float(f"{value:.2g}") for value in np.geomspace(low, high, count))
