"""Solver `modes`: descent of aligned problems as scalar chains, one per singular mode. O(L d) a step, any depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linsim.dynamics import descent
from linsim.dynamics.chains import Chain, Chains, Target
from linsim.losses import Scalar
from linsim.phase import Phase
from linsim.problem import Problem


@dataclass(frozen=True)
class Modes(Chains):
    """Gradient descent with momentum and penalties, mode by mode."""

    name: str = "modes"
    summary: str = (
        "the tasks, input covariances and initial weights are diagonal in one set of bases, so each singular mode "
        "is a scalar chain"
    )
    stepping: bool = True
    factorises: bool = False

    def refusal(self, problem: Problem) -> str | None:
        """Which of the assumptions above fails, and by how much."""
        for name, phase in (("pre-training", problem.pretrain), ("fine-tuning", problem.finetune)):
            if phase.batch_size is not None:
                return f"minibatches in {name} couple the modes"
            if phase.optimizer is not None:
                return f"the optimizer of {name} is not known to commute with a change of basis"
        return self.chain_refusal(problem)

    def begin(self, state: Chain, phase: Phase) -> descent.Carry:
        """Enter a phase."""
        return descent.begin(state, phase)

    def advance(self, carry: descent.Carry, target: Target, phase: Phase, steps: Any, key: Any) -> descent.Carry:
        """Train for a number of steps."""
        return descent.advance(self, carry, target, phase, steps, key)

    def state(self, carry: descent.Carry) -> Chain:
        """The chains reached."""
        chain: Chain = carry.state
        return chain

    def training_loss(self, state: Chain, target: Target, phase: Phase, key: Any) -> Scalar:
        """The population loss: minibatches, which couple the modes, are refused beforehand."""
        return self.loss(state, target)
