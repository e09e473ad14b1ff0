"""Time stepping by an optax optimiser, shared by the solvers that step: they differ in their coordinates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from jax import lax

from linsim import losses
from linsim.dynamics.solver import State, Target
from linsim.losses import Scalar
from linsim.phase import Phase

_Moving = tuple[State, Any, Any]  # state, the optimiser's memory, step


class Carry(NamedTuple):
    """A state on its way through a phase of descent."""

    state: State
    optimizer: Any
    """What the optax optimiser remembers."""
    step: Any
    """Steps done since the phase began."""
    anchor: State
    """The state at the beginning, to which penalties pull."""


@runtime_checkable
class Coordinates(Protocol):
    """What descent needs to know of a parametrisation."""

    def product(self, state: State) -> Any:
        """The end-to-end map P in these coordinates."""
        ...

    def training_loss(self, state: State, target: Target, phase: Phase, key: Any) -> Scalar:
        """The loss whose gradient is followed: of the population, or of a fresh sample."""
        ...


def begin(state: State, phase: Phase) -> Carry:
    """Enter a phase of descent at a state."""
    return Carry(state, phase.build_optimizer().init(state), jax.numpy.zeros((), "int32"), state)


def advance(coordinates: Coordinates, carry: Carry, target: Target, phase: Phase, steps: Any, key: Any) -> Carry:
    """`steps` updates W <- W - optimiser(gradient of loss + penalties). The key is folded with the step's number."""
    anchor = carry.anchor
    anchor_product: Any = None if phase.product_penalty is None else coordinates.product(anchor)

    def objective(state: State, step_key: Any) -> Scalar:
        value = coordinates.training_loss(state, target, phase, step_key)
        if phase.product_penalty is not None:
            value += losses.product_penalty(coordinates.product(state), anchor_product, phase.product_penalty)
        if phase.weight_penalty is not None:
            value += losses.weight_penalty(state, anchor, phase.weight_penalty)
        if phase.weight_decay is not None:
            value += losses.weight_decay(state, phase.weight_decay)
        return value

    def gradient(state: State, step: Any) -> State:
        return jax.grad(objective)(state, None if phase.batch_size is None else jax.random.fold_in(key, step))

    return follow(gradient, carry, phase, steps)


def follow(
    gradient: Callable[[State, Any], State], carry: Carry, phase: Phase, steps: Any, *, paired: bool = False
) -> Carry:
    """`steps` updates W <- W - optimiser(gradient).

    Args:
      gradient: (state, number of the step) -> gradient.
      carry: where the phase is.
      phase: whose optimiser steps.
      steps: how many; may be traced.
      paired: take two steps a turn of the loop. The compiler then writes into two sets of buffers in turn, where it
        would copy the state at every turn of a loop of one step; compilation takes a body more.
    """
    optimizer = phase.build_optimizer()

    def update(moving: _Moving) -> _Moving:
        state, memory, step = moving
        change, memory = optimizer.update(gradient(state, step), memory, state)
        return optax.apply_updates(state, change), memory, step + 1

    moving: _Moving = (carry.state, carry.optimizer, carry.step)
    if paired:
        moving = lax.fori_loop(0, steps // 2, lambda _, at: update(update(at)), moving)
        steps = steps % 2
    state, memory, step = lax.fori_loop(0, steps, lambda _, at: update(at), moving)
    return Carry(state, memory, step, carry.anchor)
