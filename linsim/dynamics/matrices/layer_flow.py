"""Gradient flow of one layer, exactly: an exponential towards the target along every direction of the inputs.

W moves by dW/dt = -2 (W - A) S - (2 lambda + kappa) (W - W_0) - beta W, whatever singular vectors the tasks have: in
the eigenbasis of S each column is by itself, and each task has its own basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics import flow
from linsim.dynamics.handling import Handles
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.solver import Encoded
from linsim.losses import Scalar, SeedWeights, Weights, matmul, quadratic
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.tasks import LinearTask

Layer = Float[Array, "d_out d_in"]


def layer_flow(start: Any, drive: Any, stiffness: Any, times: Any) -> Array:
    """w(t) of dw/dt = 2 (a - b w), entry by entry. All four broadcast."""
    return deep_mode_flow(start, drive, stiffness, times, 1)


class Target(NamedTuple):
    """A task, with the eigenvectors E and eigenvalues of S."""

    left: Float[Array, "d_out modes"]
    strengths: Float[Array, " modes"]
    right: Float[Array, "d_in modes"]
    directions: Float[Array, "d_in d_in"]
    variances: Float[Array, " d_in"]

    @property
    def matrix(self) -> Layer:
        """A."""
        return matmul(self.left * self.strengths[None, :], self.right.T)


@dataclass(frozen=True)
class FlowLayer(flow.Flowing):
    """One layer, on any two tasks."""

    handles: ClassVar[Handles] = Handles((*flow.HANDLES.phase, "weight_penalty"), flow.HANDLES.because)
    name: str = "flow"
    summary: str = "gradient flow of one layer in closed form, the limit of small learning rate x curvature"
    stepping: bool = False
    factorises: bool = False
    rotates: bool = False
    samples: int = 128

    def misfit(self, problem: Problem) -> str | None:
        """That there are more layers."""
        return None if problem.depth == 1 else f"the exponential solution is for one layer, not {problem.depth}"

    def cost(self, problem: Problem) -> float:
        """Of one evaluation; there are no steps."""
        return float(2 * problem.widths[0] ** 2 * problem.widths[-1])

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """Arrays of the requested type."""
        tasks = problem.transfer.pretrain, problem.transfer.finetune
        return Encoded(jnp.asarray(problem.initial[0], dtype), *(_encode(task, dtype) for task in tasks))

    def advance(self, carry: flow.Carry, target: Target, phase: Phase, steps: Any, key: Any) -> flow.Carry:
        """Flow for a time of learning rate * steps, from the start of the phase."""
        elapsed = carry.elapsed + phase.learning_rate * steps
        pull, decay = _pull(phase), 0.0 if phase.weight_decay is None else phase.weight_decay / 2
        start, goal = (matmul(matrix, target.directions) for matrix in (carry.start, target.matrix))
        drive, stiffness = goal * target.variances[None, :] + pull * start, target.variances[None, :] + pull + decay
        later = layer_flow(start, drive, stiffness, elapsed).astype(start.dtype)
        moved = jnp.where(elapsed == 0, carry.start, matmul(later, target.directions.T))
        return flow.Carry(carry.start, elapsed, moved)

    def sharpest(self, state: Layer, target: Target, phase: Phase) -> Scalar:
        """2 (v + lambda) + kappa + beta, v the largest input variance."""
        decay = 0.0 if phase.weight_decay is None else phase.weight_decay
        return 2 * (jnp.max(target.variances) + _pull(phase)) + decay

    def loss(self, state: Layer, target: Target) -> Scalar:
        """tr((W - A) S (W - A)^T)."""
        residual = matmul(state - target.matrix, target.directions)
        return quadratic(residual, residual * target.variances[None, :])

    def learned(self, state: Layer, target: Target) -> Float[Array, " modes"]:
        """u_i^T W v_i / sigma_i."""
        strengths = jnp.sum(target.left * matmul(state, target.right), axis=0)
        present = target.strengths != 0
        return jnp.where(present, strengths / jnp.where(present, target.strengths, 1), 0)

    def idealise(self, state: Layer, target: Target) -> Layer:
        """The modes at least half learned, at their target."""
        kept = jnp.where(self.learned(state, target) >= 0.5, target.strengths, 0)
        return matmul(target.left * kept[None, :], target.right.T)

    def coordinates(self, problem: Problem, dtype: Any) -> Any:
        """None are needed: they are those of the problem."""
        return ()

    def end_to_end(self, state: Layer, coordinates: Any) -> Layer:
        """The state is P."""
        return state

    def layers(self, state: Layer, coordinates: Any) -> Weights:
        """The state is the only layer."""
        return (state,)

    def weights(self, problem: Problem, states: Float[Array, "seeds d_out d_in"]) -> SeedWeights:
        """The states are the only layer."""
        return (states,)


def _pull(phase: Phase) -> Any:
    """lambda + kappa / 2: in the product and in the weights it is the same pull."""
    in_product = 0.0 if phase.product_penalty is None else phase.product_penalty
    return in_product + (0.0 if phase.weight_penalty is None else phase.weight_penalty / 2)


def _encode(task: LinearTask, dtype: Any) -> Target:
    modes = len(task.strengths)
    variances, directions = np.linalg.eigh(task.input_covariance)
    if np.array_equal(task.input_covariance, np.diag(np.diag(task.input_covariance))):  # exactly, in its own order
        variances, directions = np.diag(task.input_covariance), np.eye(task.inputs)
    parts = task.left[:, :modes], task.strengths, task.right[:, :modes], directions, np.maximum(variances, 0)
    return Target(*(jnp.asarray(part, dtype) for part in parts))
