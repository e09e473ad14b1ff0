"""Solver `dense`: full weight matrices, any depth, any task, any optax optimiser, minibatches. O(L d^3) a step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim import losses
from linsim.dynamics import descent
from linsim.dynamics.handling import TASK, Handles, Solving
from linsim.dynamics.matrices import matrix_steps
from linsim.dynamics.seen import SeenTask
from linsim.dynamics.solver import Encoded
from linsim.losses import Scalar, SeedWeights, TaskLoss, Weights
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.tasks import LinearTask

Basis = Float[Array, "_ modes"]


class Target(NamedTuple):
    """A task as arrays; None where S = I."""

    matrix: Float[Array, "d_out d_in"]
    covariance: Float[Array, "d_in d_in"] | None
    root: Float[Array, "d_in d_in"] | None
    label_noise: Scalar
    left: Basis
    strengths: Float[Array, " modes"]
    right: Basis
    terms_see: tuple[SeenTask, SeenTask] | None
    """Both tasks, where a term of a phase looks at them."""
    own_loss: TaskLoss | None
    """Of the task's objective; None of squared error."""


@dataclass(frozen=True)
class Dense(Solving):
    """Weights as they are: the reference that applies to every problem."""

    handles: ClassVar = Handles(
        phase=(
            *("learning_rate", "product_penalty", "weight_penalty", "weight_decay"),
            *("momentum", "nesterov", "optimizer", "schedule", "batch_size"),
            *("terms", "averaging", "gradient_at", "moves"),
        ),
        task=(*TASK, "objective"),
    )
    name: str = "dense"
    summary: str = "steps the full weight matrices, which is exact for every problem"
    stepping: bool = True
    factorises: bool = False
    rotates: bool = False

    def misfit(self, problem: Problem) -> str | None:
        """What is known of squared error alone, where a task has another objective."""
        transfer, steps = problem.transfer, (("pre-training", problem.pretrain), ("fine-tuning", problem.finetune))
        for (where, phase), task in zip(steps, (transfer.pretrain, transfer.finetune), strict=True):
            if task.objective is not None and phase.batch_size is not None:
                return f"minibatches of {where} are drawn for squared error alone"
            if task.objective is not None and problem.idealised:
                return f"idealised checkpoints are those of squared error, which {where} does not minimise"
        return None

    def cost(self, problem: Problem) -> float:
        """Products of the weights, and with the gradient of the loss."""
        return descent_cost(problem.widths)

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """Arrays of the requested type."""
        initial = tuple(jnp.asarray(weight, dtype) for weight in problem.initial)
        tasks = problem.transfer.pretrain, problem.transfer.finetune
        looked_at = problem.pretrain.terms or problem.finetune.terms
        seen = (SeenTask.of(tasks[0], dtype), SeenTask.of(tasks[1], dtype)) if looked_at else None
        return Encoded(initial, *(_encode(task, dtype, seen) for task in tasks))

    def begin(self, state: Weights, phase: Phase, key: Any = None) -> descent.Carry:
        """Enter a phase."""
        return descent.begin(state, phase, key)

    def advance(self, carry: descent.Carry, target: Target, phase: Phase, steps: Any, key: Any) -> descent.Carry:
        """Train for a number of steps: on the population loss by products written out, else by differentiation."""
        slopes = self.slopes(carry.anchor, target, phase, key)
        return descent.follow(slopes, carry, phase, steps, key, paired=phase.batch_size is None)

    def slopes(self, anchor: Weights, target: Target, phase: Phase, key: Any) -> descent.Slopes:
        """The gradient of the objective with respect to the weights."""
        sampled = None if phase.batch_size is None else descent.slopes(self, anchor, target, phase, key)

        def slopes(weights: Weights, step: Any) -> Weights:
            if sampled is not None:
                found = sampled(weights, step)
            else:
                found = matrix_steps.gradient(weights, anchor, target.matrix, target.covariance, phase, target.own_loss)
            return _with_terms(found, weights, anchor, target, phase)

        return slopes

    def state(self, carry: descent.Carry) -> Weights:
        """The weights reached."""
        weights: Weights = carry.state
        return weights

    def product(self, state: Weights) -> Float[Array, "d_out d_in"]:
        """P."""
        return losses.end_to_end(state)

    def loss(self, state: Weights, target: Target) -> Scalar:
        """tr((P - A) S (P - A)^T), or that of the objective."""
        if target.own_loss is not None:
            own: Scalar = target.own_loss.loss(losses.end_to_end(state))
            return own
        return losses.population_loss(state, target.matrix, target.covariance)

    def training_loss(self, state: Weights, target: Target, phase: Phase, key: Any) -> Scalar:
        """The population loss, or the loss on a fresh Gaussian sample of the task."""
        if phase.batch_size is None:
            return self.loss(state, target)
        batch = losses.draw_batch(key, target.matrix, target.root, target.label_noise, phase.batch_size)
        return losses.sampled_loss(state, *batch)

    def learned(self, state: Weights, target: Target) -> Float[Array, " modes"]:
        """u_i^T P v_i / sigma_i."""
        strengths = jnp.sum(target.left * losses.matmul(self.product(state), target.right), axis=0)
        present = target.strengths != 0
        return jnp.where(present, strengths / jnp.where(present, target.strengths, 1), 0)

    def idealise(self, state: Weights, target: Target) -> Weights:
        """W_l = B_l diag(|s|^(1/L)) B_{l-1}^T with s the strengths of the modes at least half learned."""
        narrowest = min(min(weight.shape) for weight in state)
        kept = jnp.where(self.learned(state, target) >= 0.5, target.strengths, 0)
        order = jnp.argsort(kept == 0, stable=True)[:narrowest]
        kept = kept[order]
        share = jnp.abs(kept) ** (1 / len(state))
        hidden = [jnp.eye(weight.shape[0], len(kept), dtype=kept.dtype) for weight in state[:-1]]
        signed = target.left[:, order] * jnp.where(kept < 0, -1, 1)[None, :]
        bases = [target.right[:, order], *hidden, signed]
        pairs = itertools.pairwise(bases)
        return tuple(losses.matmul(outer * share[None, :], inner.T) for inner, outer in pairs)

    def coordinates(self, problem: Problem, dtype: Any) -> Any:
        """None are needed: they are those of the problem."""
        return ()

    def end_to_end(self, state: Weights, coordinates: Any) -> Float[Array, "d_out d_in"]:
        """P."""
        return losses.end_to_end(state)

    def layers(self, state: Weights, coordinates: Any) -> Weights:
        """The state is the weights."""
        return state

    def weights(self, problem: Problem, states: SeedWeights) -> SeedWeights:
        """The states are the weights."""
        return states


def descent_cost(widths: tuple[int, ...]) -> float:
    """Multiplications of a step on full matrices: the product, and as much twice for the gradient."""
    inputs = widths[0]
    return 3.0 * sum(rows * columns * inputs for columns, rows in itertools.pairwise(widths[1:])) + inputs * widths[1]


def _with_terms(slopes: Weights, weights: Weights, anchor: Weights, target: Target, phase: Phase) -> Weights:
    """A gradient with that of the further terms of a phase's objective."""
    for term in phase.terms:
        rise = jax.grad(term.of)(weights, anchor, *(target.terms_see or ()))
        slopes = tuple(slope + term.strength * more for slope, more in zip(slopes, rise, strict=True))
    return slopes


def _encode(task: LinearTask, dtype: Any, seen: tuple[SeenTask, SeenTask] | None) -> Target:
    modes = len(task.strengths)
    return Target(
        matrix=jnp.asarray(task.target, dtype),
        covariance=None if task.whitened else jnp.asarray(task.input_covariance, dtype),
        root=None if task.whitened else jnp.asarray(_root(task), dtype),
        label_noise=jnp.asarray(task.label_noise, dtype),
        left=jnp.asarray(task.left[:, :modes], dtype),
        strengths=jnp.asarray(task.strengths, dtype),
        right=jnp.asarray(task.right[:, :modes], dtype),
        terms_see=seen,
        own_loss=jax.tree.map(lambda array: jnp.asarray(array, dtype), task.own_loss),
    )


def _root(task: LinearTask) -> np.ndarray:
    variances, directions = np.linalg.eigh(task.input_covariance)
    return (directions * np.sqrt(np.maximum(variances, 0))) @ directions.T
