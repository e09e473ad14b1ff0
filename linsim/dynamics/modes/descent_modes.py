"""Solver `modes`: descent of aligned problems as scalar chains, one per singular mode. O(L d) a step, any depth.

Optimisers that commute with a change of basis say what they are there (`linsim.dynamics.moving.spectral`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from linsim.dynamics import descent
from linsim.dynamics.handling import Handles
from linsim.dynamics.modes.chains import Chain, Chains, Target
from linsim.dynamics.modes.fused_modes import descend
from linsim.dynamics.modes.mode_steps import Constants, Moving, in_own_unit
from linsim.dynamics.moving.spectral import Spectral
from linsim.losses import Scalar
from linsim.phase import Phase
from linsim.problem import Problem


class Carry(NamedTuple):
    """Chains on their way through a phase, in the units of `linsim.dynamics.modes.mode_steps`."""

    moving: Moving
    unit: Any
    """c; 1 until the first step, since the target decides it."""
    anchor: Chain | None
    """The chains at the beginning, where a penalty refers to them."""


@dataclass(frozen=True)
class Modes(Chains):
    """Gradient descent with momentum and penalties, mode by mode."""

    handles: ClassVar = Handles(
        phase=(
            *("learning_rate", "product_penalty", "weight_penalty", "weight_decay"),
            *("momentum", "nesterov", "schedule", "optimizer"),
        ),
        because={"batch_size": "minibatches in {where} couple the modes"},
    )
    name: str = "modes"
    summary: str = (
        "the tasks, input covariances and initial weights are diagonal in one set of bases, so each singular mode "
        "is a scalar chain"
    )
    stepping: bool = True
    factorises: bool = False

    def misfit(self, problem: Problem) -> str | None:
        """An optimiser that has no form in modes, or which assumption of the chains fails."""
        for where, phase in (("pre-training", problem.pretrain), ("fine-tuning", problem.finetune)):
            if phase.optimizer is not None and not isinstance(phase.optimizer, Spectral):
                return f"the optimizer of {where} is not known to commute with a change of basis"
            if isinstance(phase.optimizer, Spectral) and phase.optimizer.by_lengths and len(set(problem.widths)) > 1:
                return f"the optimizer of {where} moves what is outside the modes of layers that are not square"
        return super().misfit(problem)

    def begin(self, state: Chain, phase: Phase, key: Any = None) -> Carry | descent.Carry:
        """Enter a phase."""
        if phase.schedule is not None or phase.optimizer is not None:
            return descent.begin(state, _of_modes(phase))
        layers = tuple(state)
        velocity = None if phase.momentum is None else tuple(jnp.zeros_like(layer) for layer in layers)
        anchored = phase.product_penalty is not None or phase.weight_penalty is not None
        return Carry(Moving(layers, velocity), jnp.ones_like(layers[0]), state if anchored else None)

    def advance(self, carry: Any, target: Target, phase: Phase, steps: Any, key: Any) -> Carry | descent.Carry:
        """Train for a number of steps: by hand where descent is plain, with optax where it is scheduled or another."""
        if isinstance(carry, descent.Carry):
            return descent.advance(self, carry, target, _of_modes(phase), steps, key)
        constants, begun = self.in_own_unit(carry, target, phase)
        return begun._replace(moving=descend(constants, begun.moving, steps, phase.nesterov))

    def in_own_unit(self, carry: Carry, target: Target, phase: Phase) -> tuple[Constants, Carry]:
        """What does not change while it descends, and a carry in the unit of that."""
        anchor = carry.anchor
        reference = None if anchor is None else self.product(anchor)
        unit, constants = in_own_unit(phase, target, anchor, reference, depth=len(carry.moving.layers))
        ratio = unit / carry.unit  # exactly 1 from the second time on
        return constants, Carry(jax.tree.map(lambda values: ratio * values, carry.moving), unit, anchor)

    def state(self, carry: Any) -> Chain:
        """The chains reached."""
        if isinstance(carry, descent.Carry):
            return carry.state
        return jnp.stack([layer / carry.unit for layer in carry.moving.layers])

    def training_loss(self, state: Chain, target: Target, phase: Phase, key: Any) -> Scalar:
        """The population loss: minibatches, which couple the modes, are refused beforehand."""
        return self.loss(state, target)


def _of_modes(phase: Phase) -> Phase:
    """The phase with its optimiser as it is in modes."""
    return replace(phase, optimizer=phase.optimizer.of_modes) if isinstance(phase.optimizer, Spectral) else phase
