"""Time stepping by an optax optimiser, shared by the solvers that step: they differ in their coordinates only."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from jax import lax

from linsim import losses
from linsim.dynamics.solver import State, Target
from linsim.losses import Scalar
from linsim.phase import Phase


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
    optimizer = phase.build_optimizer()
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

    def update(_: Any, moving: tuple[State, Any, Any]) -> tuple[State, Any, Any]:
        state, memory, step = moving
        gradient = jax.grad(objective)(state, None if phase.batch_size is None else jax.random.fold_in(key, step))
        change, memory = optimizer.update(gradient, memory, state)
        return optax.apply_updates(state, change), memory, step + 1

    state, memory, step = lax.fori_loop(0, steps, update, (carry.state, carry.optimizer, carry.step))
    return Carry(state, memory, step, anchor)
