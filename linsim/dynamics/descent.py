"""Time stepping by an optax optimiser, shared by the solvers that step: they differ in their coordinates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from jax import lax

from linsim import losses
from linsim.dynamics.moving.averages import evaluated, evaluates
from linsim.dynamics.solver import State, Target
from linsim.losses import Scalar
from linsim.phase import Parameters, Phase

Slopes = Callable[[State, Any], State]
"""(state, number of the step) -> gradient of the objective with respect to the state."""

_Moving = tuple[Parameters, Any, Any, Any]  # what moves, the optimiser's memory, that of the average, step

_AT_THE_BEGINNING = 2**32 - 1  # number of no step, for what is drawn before the first
_ASIDE = 2  # beside the two halves of a step's key that draw its minibatch


class Carry(NamedTuple):
    """A state on its way through a phase of descent."""

    moving: Parameters
    """What moves: the state, or what the phase makes it of."""
    optimizer: Any
    """What the optax optimiser remembers."""
    step: Any
    """Steps done since the phase began."""
    anchor: State
    """The state at the beginning, to which penalties pull."""
    average: Any
    """What an average remembers."""
    evaluated: State | None
    """The state to evaluate; None where that is what moves."""

    @property
    def state(self) -> State:
        """The state reached, to be evaluated."""
        return self.moving if self.evaluated is None else self.evaluated


@runtime_checkable
class Coordinates(Protocol):
    """What descent needs to know of a parametrisation."""

    def product(self, state: State) -> Any:
        """The end-to-end map P in these coordinates."""
        ...

    def training_loss(self, state: State, target: Target, phase: Phase, key: Any) -> Scalar:
        """The loss whose gradient is followed: of the population, or of a fresh sample."""
        ...


def begin(state: State, phase: Phase, key: Any = None) -> Carry:
    """Enter a phase of descent at a state; the key is for what the phase draws at its beginning."""
    moving, average = state, None
    if phase.moves is not None:
        moving = phase.moves.begin(state, None if key is None else jax.random.fold_in(key, _AT_THE_BEGINNING))
    if phase.averaging is not None:
        average = phase.averaging.begin(moving)
    memory = phase.build_optimizer().init(moving)
    elsewhere = phase.moves is not None or phase.averaging is not None or evaluates(memory)
    return Carry(moving, memory, jax.numpy.zeros((), "int32"), state, average, state if elsewhere else None)


def advance(coordinates: Coordinates, carry: Carry, target: Target, phase: Phase, steps: Any, key: Any) -> Carry:
    """`steps` updates W <- W - optimiser(gradient of loss + penalties), by differentiation."""
    return follow(slopes(coordinates, carry.anchor, target, phase, key), carry, phase, steps, key)


def slopes(coordinates: Coordinates, anchor: State, target: Target, phase: Phase, key: Any) -> Slopes:
    """The gradient of loss + penalties, by differentiation. The key is folded with the step's number."""
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

    def slope(state: State, step: Any) -> State:
        return jax.grad(objective)(state, None if phase.batch_size is None else jax.random.fold_in(key, step))

    return slope


def follow(slopes: Slopes, carry: Carry, phase: Phase, steps: Any, key: Any = None, *, paired: bool = False) -> Carry:
    """`steps` updates W <- W - optimiser(gradient).

    Args:
      slopes: gradient of the objective.
      carry: where the phase is.
      phase: whose optimiser steps, which says what moves, where its gradient is taken, and what is evaluated.
      steps: how many; may be traced.
      key: for what is drawn in a step.
      paired: take two steps a turn of the loop. The compiler then writes into two sets of buffers in turn, where it
        would copy the state at every turn of a loop of one step; compilation takes a body more.
    """
    optimizer, averaging = phase.build_optimizer(), phase.averaging
    slope = gradient(slopes, carry.anchor, phase, key)

    def update(at: _Moving) -> _Moving:
        moving, memory, average, step = at
        change, memory = optimizer.update(slope(moving, step), memory, moving)
        moving = optax.apply_updates(moving, change)
        if averaging is not None:
            average = averaging.update(average, evaluated(memory, moving), step + 1)
        return moving, memory, average, step + 1

    at: _Moving = (carry.moving, carry.optimizer, carry.average, carry.step)
    if paired:
        at = lax.fori_loop(0, steps // 2, lambda _, here: update(update(here)), at)
        steps = steps % 2
    moving, memory, average, step = lax.fori_loop(0, steps, lambda _, here: update(here), at)
    if carry.evaluated is None:
        return Carry(moving, memory, step, carry.anchor, average, None)
    reached = evaluated(memory, moving)
    if averaging is not None:
        reached = averaging.read(average, reached)
    if phase.moves is not None:
        reached = phase.moves.weights(reached, carry.anchor)
    return Carry(moving, memory, step, carry.anchor, average, reached)


def gradient(slopes: Slopes, anchor: State, phase: Phase, key: Any) -> Callable[[Parameters, Any], Parameters]:
    """The gradient with respect to what moves, taken where the phase takes it: of (parameters, step)."""
    moves, elsewhere = phase.moves, phase.gradient_at

    def followed(moving: Parameters, step: Any) -> Parameters:
        def slope(parameters: Parameters) -> Parameters:
            if moves is None:
                return slopes(parameters, step)
            weights, pull_back = jax.vjp(lambda at: moves.weights(at, anchor), parameters)
            return pull_back(slopes(weights, step))[0]

        if elsewhere is None:
            return slope(moving)
        aside = None if key is None else jax.random.fold_in(jax.random.fold_in(key, step), _ASIDE)
        return elsewhere.gradient(slope, moving, step, aside)

    return followed
