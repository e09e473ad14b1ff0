"""Solver `flow` for two lambda-balanced layers on tasks with any singular vectors: the matrix solution, chained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics import flow
from linsim.dynamics.handling import Handles
from linsim.dynamics.matrices.dense import descent_cost
from linsim.dynamics.matrices.eigenbasis import Factor, spectrum
from linsim.dynamics.matrices.factor_flow import factor_flow
from linsim.dynamics.matrices.matrix_flow import two_layer_flow
from linsim.dynamics.matrices.width import balance_of, narrowed
from linsim.dynamics.modes.frame import ALIGNED
from linsim.dynamics.solver import Encoded
from linsim.errors import InvalidInput
from linsim.losses import Scalar, SeedWeights, Weights, matmul, quadratic
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.tasks import LinearTask


class State(NamedTuple):
    """Two layers up to a rotation of the hidden one."""

    factor: Factor
    """[W_1^T; W_2]."""
    balance: Scalar
    """l of W_2^T W_2 - W_1 W_1^T = l I, which the flow conserves."""


class Basis(NamedTuple):
    """What leads back to the layers."""

    hidden: Float[Array, "h k"]
    """Orthonormal hidden vectors in use."""
    inputs: Float[Array, " d_in"]
    """Zeros, as many as rows of the factor belong to W_1."""


class Target(NamedTuple):
    """A task with input covariance v I."""

    left: Float[Array, "d_out d_out"]
    strengths: Float[Array, " modes"]
    right: Float[Array, "d_in d_in"]
    variance: Scalar

    @property
    def matrix(self) -> Float[Array, "d_out d_in"]:
        """A."""
        modes = len(self.strengths)
        return matmul(self.left[:, :modes] * self.strengths[None, :], self.right[:, :modes].T)


@dataclass(frozen=True)
class FlowMatrices(flow.Flowing):
    """The exact matrix solution in every phase; the product-space penalty moves the target and the clock."""

    handles: ClassVar[Handles] = flow.HANDLES
    name: str = "flow"
    summary: str = (
        "gradient flow of two lambda-balanced layers in closed form, the limit of small learning rate x curvature"
    )
    stepping: bool = False
    factorises: bool = True
    rotates: bool = True
    samples: int = 128

    def misfit(self, problem: Problem) -> str | None:
        """Which assumption fails, and by how much."""
        if problem.depth != 2:
            return f"the matrix solution is for two layers, not {problem.depth}"
        for name, task in (("pre-training", problem.transfer.pretrain), ("fine-tuning", problem.transfer.finetune)):
            variance, off = _isotropic(task)
            if not (variance > 0 and off <= ALIGNED):
                return f"the {name} input covariance is no multiple of the identity (off by {off:.1e} of its norm)"
        try:
            balances = [balance_of(*layers) for layers in zip(*problem.initial, strict=True)]
        except InvalidInput as error:
            return f"the initial weights are not lambda-balanced: {error.value}{error.allowed.partition(';')[2]}"
        if any(balances) and (flow.decays(problem) or problem.idealised):
            what = "weight decay" if flow.decays(problem) else "idealised checkpoints"
            return f"{what} need balanced layers, and these have l = {max(balances, key=abs):.3g}"
        return None

    def cost(self, problem: Problem) -> float:
        """Of one evaluation; there are no steps."""
        return 10 * descent_cost(problem.widths)

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """Narrow factors and balances of every seed."""
        factors, balances = [], []
        for layers in zip(*problem.initial, strict=True):
            narrow = narrowed(*layers)
            factors.append(np.concatenate([narrow.first.T, narrow.second]))
            balances.append(balance_of(*layers))
        initial = State(jnp.asarray(np.stack(factors), dtype), jnp.asarray(balances, dtype))
        return Encoded(
            initial, *(_encode(task, dtype) for task in (problem.transfer.pretrain, problem.transfer.finetune))
        )

    def advance(self, carry: flow.Carry, target: Target, phase: Phase, steps: Any, key: Any) -> flow.Carry:
        """Flow for a time of learning rate * steps, from the start of the phase."""
        elapsed = carry.elapsed + phase.learning_rate * steps
        start = carry.start
        goal, pull = self._goal(self.product(start, target), target, phase)
        left, strengths, right = target[:3]
        if phase.product_penalty is not None:
            left, strengths, transposed = jnp.linalg.svd(goal, full_matrices=True)
            right = transposed.T
        decay = jnp.zeros_like(pull) if phase.weight_decay is None else phase.weight_decay / pull
        modes = spectrum(left, strengths, right, start.balance)
        later = factor_flow(modes, start.factor, elapsed * pull, decay)
        return flow.Carry(start, elapsed, State(later, start.balance))

    def sharpest(self, state: State, target: Target, phase: Phase) -> Scalar:
        """2 (v + lambda) sqrt(l^2 + 4 s^2) + beta, s the top singular value of P at the start or at the limit."""
        decay = 0.0 if phase.weight_decay is None else phase.weight_decay
        product = self.product(state, target)
        goal, pull = self._goal(product, target, phase)
        top = jnp.maximum(_top_singular_value(product), _top_singular_value(goal))
        return 2 * pull * jnp.sqrt(state.balance**2 + 4 * top**2) + decay

    def product(self, state: State, target: Target) -> Float[Array, "d_out d_in"]:
        """P."""
        inputs = target.right.shape[0]
        return matmul(state.factor[inputs:], state.factor[:inputs].T)

    def _goal(self, checkpoint: Array, target: Target, phase: Phase) -> tuple[Array, Array]:
        """A' = (v A + lambda P_0) / b, b = v + lambda: v ||P - A||^2 + lambda ||P - P_0||^2 = b ||P - A'||^2."""
        if phase.product_penalty is None:
            return target.matrix, target.variance
        pull = target.variance + phase.product_penalty
        return (target.variance * target.matrix + phase.product_penalty * checkpoint) / pull, pull

    def loss(self, state: State, target: Target) -> Scalar:
        """v ||P - A||^2."""
        residual = self.product(state, target) - target.matrix
        return quadratic(residual, target.variance * residual)

    def learned(self, state: State, target: Target) -> Float[Array, " modes"]:
        """u_i^T P v_i / sigma_i."""
        modes = len(target.strengths)
        strengths = jnp.sum(
            target.left[:, :modes] * matmul(self.product(state, target), target.right[:, :modes]), axis=0
        )
        present = target.strengths != 0
        return jnp.where(present, strengths / jnp.where(present, target.strengths, 1), 0)

    def idealise(self, state: State, target: Target) -> State:
        """Balanced layers with P the modes at least half learned, at their target."""
        columns = state.factor.shape[1]
        kept = jnp.where(self.learned(state, target) >= 0.5, target.strengths, 0)
        order = jnp.argsort(kept == 0, stable=True)[:columns]
        share = jnp.sqrt(jnp.abs(kept[order]))
        sides = jnp.concatenate(
            [target.right[:, order] * share[None, :], target.left[:, order] * (jnp.sign(kept[order]) * share)[None, :]]
        )
        return State(jnp.pad(sides, ((0, 0), (0, columns - sides.shape[1]))), state.balance)

    def coordinates(self, problem: Problem, dtype: Any) -> Basis:
        """The hidden vectors in use, of every seed."""
        bases = [narrowed(*layers).basis for layers in zip(*problem.initial, strict=True)]
        return Basis(jnp.asarray(np.stack(bases), dtype), jnp.zeros((problem.seeds, problem.widths[0]), dtype))

    def end_to_end(self, state: State, coordinates: Basis) -> Float[Array, "d_out d_in"]:
        """P."""
        inputs = len(coordinates.inputs)
        return matmul(state.factor[inputs:], state.factor[:inputs].T)

    def layers(self, state: State, coordinates: Basis) -> Weights:
        """W_1 and W_2, up to a rotation of the hidden layer."""
        wide, inputs = matmul(state.factor, coordinates.hidden.T), len(coordinates.inputs)
        return wide[:inputs].T, wide[inputs:]

    def weights(self, problem: Problem, states: State) -> SeedWeights:
        """W_1 and W_2, up to a rotation of the hidden layer."""
        return jax.vmap(self.layers)(states, self.coordinates(problem, states.factor.dtype))

    def finetuned_initial(self, problem: Problem) -> SeedWeights:
        """W_1 and W_2 in their own coordinates, after fine-tuning the initial weights."""
        task, phase = _encode(problem.transfer.finetune, np.float64), problem.finetune
        time, seeds = phase.learning_rate * problem.finetune_steps, []
        for first, second in zip(*problem.initial, strict=True):
            goal, pull = map(np.asarray, self._goal(jnp.asarray(second @ first), task, phase))
            left, strengths, right = task[:3]
            if phase.product_penalty is not None:
                left, strengths, transposed = map(jnp.asarray, np.linalg.svd(goal))
                right = transposed.T
            modes = spectrum(left, strengths, right, jnp.asarray(balance_of(first, second)))
            decay = float((phase.weight_decay or 0.0) / pull)
            seeds.append(two_layer_flow(first, second, modes, np.asarray(time * pull), decay))
        return tuple(jnp.asarray(np.stack(layers)) for layers in zip(*seeds, strict=True))


def _top_singular_value(matrix: Array) -> Scalar:
    """(tr (M^T M)^64)^(1/128): the top singular value or up to r^(1/128) more, 3 % at rank r = 64.

    Not by LAPACK: XLA on CPU runs independent calls of it at once on one pool of threads, and those of large batches
    wait for each other for ever.
    """
    size = jnp.sqrt(jnp.sum(matrix**2))
    power = matmul(matrix.T, matrix) / jnp.where(size == 0, 1.0, size**2)
    scale = jnp.zeros_like(size)  # logarithm of what was divided out, per power of M^T M
    for doubling in range(6):
        power = matmul(power, power)
        shrunk = jnp.trace(power)
        power = power / jnp.where(shrunk == 0, 1.0, shrunk)
        scale = scale + jnp.log(jnp.where(shrunk == 0, 1.0, shrunk)) / 2 ** (doubling + 1)
    return size * jnp.exp(scale / 2)


def _encode(task: LinearTask, dtype: Any) -> Target:
    values = task.left, task.strengths, task.right, np.asarray(_isotropic(task)[0])
    return Target(*(jnp.asarray(value, dtype) for value in values))


def _isotropic(task: LinearTask) -> tuple[float, float]:
    """v of S = v I, and how far S is from that."""
    variance = float(np.trace(task.input_covariance)) / task.inputs
    rest = task.input_covariance - variance * np.eye(task.inputs)
    return variance, float(np.linalg.norm(rest) / (np.linalg.norm(task.input_covariance) or 1.0))
