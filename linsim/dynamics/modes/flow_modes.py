"""Solver `flow` for aligned problems: every singular mode in closed form, also of many layers where balanced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from linsim.dynamics import flow
from linsim.dynamics.handling import Handles
from linsim.dynamics.matrices.width import BALANCED
from linsim.dynamics.modes.chains import Chain, Chains, Target
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import mode_flow, mode_layers
from linsim.losses import Scalar
from linsim.phase import Phase
from linsim.problem import Problem


@dataclass(frozen=True)
class FlowModes(flow.Flowing, Chains):
    """Scalar chains as in `modes`, moved by gradient flow instead of descent."""

    handles: ClassVar[Handles] = flow.HANDLES
    name: str = "flow"
    summary: str = "gradient flow of every singular mode in closed form, the limit of small learning rate x curvature"
    stepping: bool = False
    factorises: bool = False
    samples: int = 128

    def misfit(self, problem: Problem) -> str | None:
        """Which assumption fails, and by how much."""
        if (misfit := super().misfit(problem)) is not None:
            return misfit
        if problem.depth == 1 or (problem.depth == 2 and not flow.decays(problem)):
            return None
        if problem.depth > 2 and flow.decays(problem):
            return "weight decay of more than two layers has no closed form"
        sizes = np.abs(np.asarray(self.encode(problem, np.float64).initial))
        off = float(np.max((np.max(sizes, axis=1) - np.min(sizes, axis=1)) / np.maximum(np.max(sizes, axis=1), 1e-300)))
        if off > BALANCED:
            what = "more than two layers" if problem.depth > 2 else "weight decay"
            return f"{what} need balanced layers, and the initial weights of a mode differ by {off:.1e}"
        return None

    def advance(self, carry: flow.Carry, target: Target, phase: Phase, steps: Any, key: Any) -> flow.Carry:
        """Flow for a time of learning rate * steps, from the start of the phase."""
        elapsed = carry.elapsed + phase.learning_rate * steps
        return flow.Carry(carry.start, elapsed, self._flow(carry.start, target, phase, elapsed))

    def sharpest(self, state: Chain, target: Target, phase: Phase) -> Scalar:
        """2 b sum_l (s / w_l)^2 + beta of the mode where that is largest; 2 b sqrt(l^2 + 4 s^2) for two layers."""
        start, drive, stiffness, decay = self._forces(state, target, phase)
        limit = jnp.abs(drive) / jnp.where(stiffness == 0, 1.0, stiffness)
        size = jnp.maximum(jnp.abs(start), jnp.where(stiffness == 0, 0.0, limit))
        depth = len(state)
        if depth == 2:
            slopes = jnp.sqrt((state[1] ** 2 - state[0] ** 2) ** 2 + 4 * size**2)
        else:
            slopes = depth * size ** (2 - 2 / depth)
        return jnp.max(2 * stiffness * slopes) + decay

    def _forces(self, chain: Chain, target: Target, phase: Phase) -> tuple[Any, Any, Any, Any]:
        """s_0, a and b of ds/dt ~ a - b s in this phase, and beta."""
        penalty = 0.0 if phase.product_penalty is None else phase.product_penalty
        decay = 0.0 if phase.weight_decay is None else phase.weight_decay
        start = self.product(chain)
        return start, target.variances * target.strengths + penalty * start, target.variances + penalty, decay

    def _flow(self, chain: Chain, target: Target, phase: Phase, time: Any) -> Chain:
        start, drive, stiffness, decay = self._forces(chain, target, phase)
        depth = len(chain)
        if depth == 1:
            return deep_mode_flow(start, drive, stiffness + decay / 2, time, 1)[None]
        if depth > 2:
            size = jnp.abs(deep_mode_flow(start, drive, stiffness, time, depth)) ** (1 / depth)
            return jnp.where(chain < 0, -1.0, 1.0) * size[None]
        inner, outer = chain
        balance = (outer - inner) * (outer + inner)
        later = mode_flow(start, drive - jnp.where(start < 0, -1.0, 1.0) * decay / 2, stiffness, time, balance)
        sizes = mode_layers(later, balance)
        # The larger layer never crosses 0 and keeps its sign; the other one takes the sign that makes their product.
        larger = jnp.where(balance > 0, jnp.where(outer < 0, -1.0, 1.0), jnp.where(inner < 0, -1.0, 1.0))
        other = larger * jnp.where(later < 0, -1.0, 1.0)
        moved = jnp.where(balance > 0, other, larger) * sizes[0], jnp.where(balance > 0, larger, other) * sizes[1]
        return jnp.stack(moved)
