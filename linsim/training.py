"""The two phases: `pretrain` once to the largest budget, `finetune` from the checkpoints of every budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linsim.dynamics.solver import Encoded, Solver, State, Target
from linsim.losses import Scalar
from linsim.phase import Phase, Regularizer
from linsim.problem import Problem

Progress = Callable[[int, int], None]
"""Called with (training steps done, training steps in all), summed over lanes, as a computation goes on."""

DIVERGED = 1e6
"""A lane whose final loss is not finite, or above this multiple of the loss of the zero network, has diverged."""


class Checkpoints(NamedTuple):
    """What pre-training leaves behind."""

    states: State
    """States in the solver's coordinates; every leaf has leading axes (budget, seed)."""
    losses: Float[Array, "budgets seeds"]
    """Pre-training loss of each."""


class Lanes(NamedTuple):
    """Fine-tuning runs, one a lane: where each starts and with which swept values."""

    budget: Int[Array, " lanes"]
    seed: Int[Array, " lanes"]
    learning_rate: Float[Array, " lanes"]
    regularization: Float[Array, " lanes"]


class Finetuned(NamedTuple):
    """Where fine-tuning lanes end."""

    pretrain_loss: Float[Array, " lanes"]
    finetune_loss: Float[Array, " lanes"]
    diverged: Bool[Array, " lanes"]


@dataclass(frozen=True, eq=False)
class Session:
    """A problem at a solver: encoded once, then pre-trained and fine-tuned."""

    problem: Problem
    solver: Solver
    dtype: Any
    encoded: Encoded

    @classmethod
    def open(cls, problem: Problem, solver: Solver, dtype: Any) -> Session:
        """Put a problem into the coordinates of a solver, with numbers of the dtype."""
        return cls(problem, solver, dtype, solver.encode(problem, dtype))

    def pretrain(self, report: Progress | None = None) -> Checkpoints:
        """One trajectory per seed to the largest budget, recorded at every budget."""
        phase, target, keys = self.problem.pretrain.as_dtype(self.dtype), self.encoded.pretrain, self._keys(0)
        carry = _begin(self.solver, self.encoded.initial, phase)
        records = []
        budgets = self.problem.budgets
        for budget, steps in zip(budgets, np.diff(budgets, prepend=0), strict=True):
            carry = _advance(self.solver, carry, target, phase, np.int32(steps), keys)
            records.append(_record(self.solver, carry, target, self.problem.idealised))
            if report is not None:
                jax.block_until_ready(records[-1])
                report(int(budget) * self.problem.seeds, int(budgets[-1]) * self.problem.seeds)
        states, losses = jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)
        return Checkpoints(states, losses)

    def finetune(self, checkpoints: Checkpoints, regularizer: Regularizer, lanes: Lanes) -> Finetuned:
        """Fine-tune every lane from its checkpoint; one compiled program whatever the swept values."""
        phase = self.problem.finetune.as_dtype(self.dtype)
        tasks = self.encoded.pretrain, self.encoded.finetune
        steps, keys = np.int32(self.problem.finetune_steps), self._keys(1)
        ceiling = self.dtype(
            DIVERGED * max(self.problem.transfer.pretrain.zero_loss, self.problem.transfer.finetune.zero_loss)
        )
        return _finetune(self.solver, regularizer, checkpoints.states, tasks, phase, lanes, steps, keys, ceiling)

    def _keys(self, phase: int) -> Array:
        """One key a seed and phase, shared by all lanes of the seed: common random numbers across a sweep."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.problem.seed), phase), self.problem.seeds)


@partial(jax.jit, static_argnames="solver")
def _begin(solver: Solver, initial: State, phase: Phase) -> Any:
    return jax.vmap(solver.begin, in_axes=(0, None))(initial, phase)


@partial(jax.jit, static_argnames="solver")
def _advance(solver: Solver, carry: Any, target: Target, phase: Phase, steps: Any, keys: Any) -> Any:
    return jax.vmap(solver.advance, in_axes=(0, None, None, None, 0))(carry, target, phase, steps, keys)


@partial(jax.jit, static_argnames=("solver", "idealised"))
def _record(solver: Solver, carry: Any, target: Target, idealised: bool) -> tuple[State, Array]:
    def record(one: Any) -> tuple[State, Scalar]:
        state = solver.idealise(solver.state(one), target) if idealised else solver.state(one)
        return state, solver.loss(state, target)

    return jax.vmap(record)(carry)


@partial(jax.jit, static_argnames=("solver", "regularizer"))
def _finetune(
    solver: Solver,
    regularizer: Regularizer,
    states: State,
    tasks: tuple[Target, Target],
    phase: Phase,
    lanes: Lanes,
    steps: Any,
    keys: Any,
    ceiling: Any,
) -> Finetuned:
    pretrain_task, finetune_task = tasks

    def lane(lane: Lanes) -> Finetuned:
        checkpoint = jax.tree.map(lambda leaf: leaf[lane.budget, lane.seed], states)
        here = phase.at(lane.learning_rate, regularizer, lane.regularization)
        carry = solver.begin(checkpoint, here)
        state = solver.state(solver.advance(carry, finetune_task, here, steps, keys[lane.seed]))
        on_pretrain, on_finetune = solver.loss(state, pretrain_task), solver.loss(state, finetune_task)
        worst = jnp.maximum(on_pretrain, on_finetune)
        return Finetuned(on_pretrain, on_finetune, ~(jnp.isfinite(worst) & (worst <= ceiling)))

    return jax.vmap(lane)(lanes)
