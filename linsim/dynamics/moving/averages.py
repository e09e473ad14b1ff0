"""Weights to evaluate: averages of those that move, and what optimisers of optax say themselves.

A checkpoint is what is evaluated: its losses are told, fine-tuning begins there, penalties refer to it. Where a phase
goes on from a checkpoint, it goes on with the weights that moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import SAMState, ScheduleFreeState

from linsim.phase import Parameters, Strength, swept


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExponentialAverage:
    """A_t = decay A_{t-1} + (1 - decay) W_t, with A_0 = W_0.

    Example:
      >>> average = ExponentialAverage(0.75)
      >>> float(average.update(average.begin(1.0), 2.0, 1))
      1.25
    """

    decay: Strength = field(
        default=None,
        metadata=swept("decay of averaged weights", "1", at_least=0, below=1, axis="averaging_decay"),
    )
    """Per step, in [0, 1); None where it is swept, as the axis `averaging_decay`."""

    def begin(self, parameters: Parameters) -> Parameters:
        """W_0."""
        return parameters

    def update(self, memory: Parameters, parameters: Parameters, step: Any) -> Parameters:
        """A_t."""
        return jax.tree.map(lambda mean, now: self.decay * mean + (1 - self.decay) * now, memory, parameters)

    def read(self, memory: Parameters, parameters: Parameters) -> Parameters:
        """The average."""
        return memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TailAverage:
    """The mean of W_t over all t > start; until then W_t itself. [Polyak and Juditsky 1992]

    Example:
      >>> average = TailAverage(1)
      >>> memory = average.begin(5.0)
      >>> for step, weight in enumerate([4.0, 2.0, 1.0], start=1):
      ...     memory = average.update(memory, weight, step)
      >>> float(memory)
      1.5
    """

    start: Strength = field(
        default=None,
        metadata=swept("steps before averaging", "steps", at_least=0, whole=True, axis="averaging_start"),
    )
    """Steps; None where it is swept, as the axis `averaging_start`."""

    def begin(self, parameters: Parameters) -> Parameters:
        """W_0."""
        return parameters

    def update(self, memory: Parameters, parameters: Parameters, step: Any) -> Parameters:
        """The mean of the weights that count so far."""
        count = step - self.start

        def mean(before: Any, now: Any) -> Any:
            return jnp.where(count <= 1, now, before + (now - before) / jnp.maximum(count, 1))

        return jax.tree.map(mean, memory, parameters)

    def read(self, memory: Parameters, parameters: Parameters) -> Parameters:
        """The mean."""
        return memory


def evaluates(memory: Any) -> bool:
    """Whether an optimiser's memory says that other weights are to be evaluated than those that move."""
    return any(map(_decides, _states(memory)))


def evaluated(memory: Any, parameters: Parameters) -> Parameters:
    """The parameters to evaluate beside an optimiser's memory, wherever in it the state that decides them is.

    After `optax.contrib.schedule_free` those of `schedule_free_eval_params`; of `optax.contrib.sam`, which stands at an
    adversarial point between two synchronisations, those of the last one. [Defazio et al. 2024; Foret et al. 2021]
    """
    for state in filter(_decides, _states(memory)):
        kept = state.cache if isinstance(state, SAMState) else state.z
        told = _told(state, _where(kept, parameters, kept))
        parameters = _where(told, told, parameters)
    return parameters


def _told(state: Any, parameters: Parameters) -> Parameters:
    if isinstance(state, SAMState):
        synchronised = state.steps_since_sync == 0
        begun = jax.tree.map(lambda now, kept: jnp.where(synchronised, now, kept), parameters, state.cache)
        return evaluated(state.opt_state, begun)
    return optax.contrib.schedule_free_eval_params(state, parameters)


def _where(masked: Any, inside: Any, outside: Any) -> Any:
    """Trees of parameters merged: `outside` where a mask of optax has left a hole, else `inside`."""
    parts = (masked, inside, outside)
    return jax.tree.map(lambda mask, a, b: b if _is_hole(mask) else a, *parts, is_leaf=_is_hole)


def _is_hole(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _decides(state: Any) -> bool:
    return isinstance(state, SAMState | ScheduleFreeState)


def _states(memory: Any) -> list[Any]:
    return jax.tree.leaves(memory, is_leaf=_decides)
