"""What the closed-form solvers share: time is learning rate x steps, and any time costs the same.

The solver `flow` is `flow_modes` where modes are scalar chains and `flow_matrices` elsewhere. Descent tends to the flow
as learning rate x curvature tends to 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

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


class Carry(NamedTuple):
    """A state on its way through a phase of gradient flow."""

    start: State
    """Where the phase began, to which penalties pull."""
    elapsed: Any
    """Flow time since."""
    current: State


def begin(state: State, phase: Phase) -> Carry:
    """Enter a phase of flow at a state."""
    return Carry(state, 0 * phase.learning_rate, state)


def phases_refusal(problem: Problem) -> str | None:
    """Why a phase is not gradient flow of a loss in P, with weight decay."""
    for name, phase in (("pre-training", problem.pretrain), ("fine-tuning", problem.finetune)):
        if phase.batch_size is not None:
            return f"minibatches make {name} a random walk, not a flow"
        if phase.optimizer is not None or phase.momentum is not None:
            return f"{name} is not plain gradient descent"
        if phase.schedule is not None:
            return f"the learning rate of {name} is not constant"
        if phase.weight_penalty is not None:
            return f"the penalty in weight space of {name} does not leave the flow in closed form"
    return None


def decays(problem: Problem) -> bool:
    """Whether a phase has weight decay."""
    return any(phase.weight_decay is not None for phase in (problem.pretrain, problem.finetune))
