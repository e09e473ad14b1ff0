"""What the closed-form solvers share: time is learning rate x steps, and any time costs the same.

The solver `flow` is `flow_modes` where modes are scalar chains, `layer_flow` of one layer and
`flow_matrices` of two elsewhere. Descent tends to the flow as learning rate x curvature tends to 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from linsim.dynamics.handling import Handles, Solving
from linsim.dynamics.solver import Solver, State, Target
from linsim.losses import Scalar
from linsim.phase import Phase
from linsim.problem import Problem


@runtime_checkable
class FlowSolver(Solver, Protocol):
    """A solver in closed form, to which steps are a real number: what predictions are made of."""

    @property
    def samples(self) -> int:
        """Budgets on which a prediction looks for the lowest, before it refines."""
        ...

    def sharpest(self, state: State, target: Target, phase: Phase) -> Scalar:
        """Top Gauss-Newton eigenvalue plus decay of a phase's loss, the larger of its start and its limit.

        Along the modes where those stay scalar chains. Descent follows the flow where rate x curvature is small.
        """
        ...


HANDLES = Handles(
    phase=("learning_rate", "product_penalty", "weight_decay", "nesterov"),  # the last means nothing without momentum
    because={
        "batch_size": "minibatches make {where} a random walk, not a flow",
        "optimizer": "{where} is not plain gradient descent",
        "momentum": "{where} is not plain gradient descent",
        "schedule": "the learning rate of {where} is not constant",
        "weight_penalty": "the penalty in weight space of {where} does not leave the flow in closed form",
    },
)
"""Gradient flow of a loss in P, with weight decay."""


class Carry(NamedTuple):
    """A state on its way through a phase of gradient flow."""

    start: State
    """Where the phase began, to which penalties pull."""
    elapsed: Any
    """Flow time since."""
    current: State


class Flowing(Solving):
    """What every solver in closed form shares: a phase is its start, and the flow time since."""

    def begin(self, state: State, phase: Phase, key: Any = None) -> Carry:
        """Enter a phase of flow at a state."""
        return Carry(state, 0 * phase.learning_rate, state)

    def state(self, carry: Carry) -> State:
        """The state reached."""
        return carry.current


def decays(problem: Problem) -> bool:
    """Whether a phase has weight decay."""
    return any(phase.weight_decay is not None for phase in (problem.pretrain, problem.finetune))
