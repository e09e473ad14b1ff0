"""The two phases: `pretrain` once to the largest budget, `finetune` from the checkpoints of every budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
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
"""A lane whose final loss is not finite, or above this multiple of `Session.scale`, has diverged."""

Recorded = tuple[Float[Array, "budgets seeds _ _"], ...]
"""(W_1, ..., W_L) at every budget of every seed."""

_PIECE = 10_000  # steps


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

    @cached_property
    def scale(self) -> float:
        """The loss that others are large or small against: of the zero network, or of the initial one if larger."""
        tasks = self.problem.transfer.pretrain, self.problem.transfer.finetune
        encoded = self.encoded.pretrain, self.encoded.finetune
        initial = (float(jnp.max(_losses(self.solver, self.encoded.initial, target))) for target in encoded)
        sizes = [float(np.finfo(self.dtype).tiny), *(task.zero_loss for task in tasks), *initial]
        return max(size for size in sizes if np.isfinite(size))

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
        done, total = 0, int(budgets[-1]) * self.problem.seeds
        for steps in np.diff(budgets, prepend=0):
            for piece in _pieces(int(steps), self.solver):
                carry = _advance(self.solver, carry, target, phase, piece, keys)
                jax.block_until_ready(carry)
                done += int(piece) * self.problem.seeds
                if report is not None:
                    report(done, total)
            records.append(_record(self.solver, carry, target, self.problem.idealised))
        states, losses = jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)
        return Checkpoints(states, losses)

    def finetune(self, checkpoints: Checkpoints, regularizer: Regularizer, lanes: Lanes) -> Finetuned:
        """Fine-tune every lane from its checkpoint; one compiled program whatever the swept values."""
        ceiling = self.dtype(min(DIVERGED * self.scale, float(np.finfo(self.dtype).max)))
        carry = self._tune(checkpoints, regularizer, lanes)
        return _measure(self.solver, carry, (self.encoded.pretrain, self.encoded.finetune), ceiling)

    def tuned(self, checkpoints: Checkpoints, regularizer: Regularizer, rate: float, strength: float) -> State:
        """States after fine-tuning at one rate and strength, every leaf with leading axes (budget, seed)."""
        budgets, seeds = shape = len(self.problem.budgets), self.problem.seeds
        budget, seed = (jnp.ravel(index).astype(jnp.int32) for index in jnp.indices(shape))
        swept = (jnp.full(budgets * seeds, value, self.dtype) for value in (rate, strength))
        carry = self._tune(checkpoints, regularizer, Lanes(budget, seed, *swept))
        return jax.tree.map(lambda leaf: leaf.reshape(shape + leaf.shape[1:]), _states(self.solver, carry))

    def weights(self, states: State) -> Recorded:
        """(W_1, ..., W_L) of states with leading axes (budget, seed), for the measures that take weights.

        In the coordinates of the problem, up to a rotation of the hidden layer in the solver `flow`.
        """
        rows = [jax.tree.map(lambda leaf, row=row: leaf[row], states) for row in range(len(self.problem.budgets))]
        each = [self.solver.weights(self.problem, row) for row in rows]
        return tuple(jnp.stack(layers) for layers in zip(*each, strict=True))

    def _tune(self, checkpoints: Checkpoints, regularizer: Regularizer, lanes: Lanes) -> Any:
        phase, keys = self.problem.finetune.as_dtype(self.dtype), self._keys(1)
        carry = _branch(self.solver, regularizer, checkpoints.states, phase, lanes)
        for piece in _pieces(self.problem.finetune_steps, self.solver):
            carry = _continue(self.solver, regularizer, carry, self.encoded.finetune, phase, lanes, piece, keys)
            jax.block_until_ready(carry)
        return carry

    def _keys(self, phase: int) -> Array:
        """One key a seed and phase, shared by all lanes of the seed: common random numbers across a sweep."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.problem.seed), phase), self.problem.seeds)


@partial(jax.jit, static_argnames="solver")
def _losses(solver: Solver, states: State, target: Target) -> Array:
    return jax.vmap(solver.loss, in_axes=(0, None))(states, target)


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
def _branch(solver: Solver, regularizer: Regularizer, states: State, phase: Phase, lanes: Lanes) -> Any:
    """Enter fine-tuning at the checkpoint of every lane."""

    def branch(lane: Lanes) -> Any:
        checkpoint = jax.tree.map(lambda leaf: leaf[lane.budget, lane.seed], states)
        return solver.begin(checkpoint, phase.at(lane.learning_rate, regularizer, lane.regularization))

    return jax.vmap(branch)(lanes)


@partial(jax.jit, static_argnames=("solver", "regularizer"), donate_argnames="carry")
def _continue(
    solver: Solver,
    regularizer: Regularizer,
    carry: Any,
    target: Target,
    phase: Phase,
    lanes: Lanes,
    steps: Any,
    keys: Any,
) -> Any:
    def advance(one: Any, lane: Lanes) -> Any:
        here = phase.at(lane.learning_rate, regularizer, lane.regularization)
        return solver.advance(one, target, here, steps, keys[lane.seed])

    return jax.vmap(advance)(carry, lanes)


@partial(jax.jit, static_argnames="solver")
def _states(solver: Solver, carry: Any) -> State:
    return jax.vmap(solver.state)(carry)


@partial(jax.jit, static_argnames="solver")
def _measure(solver: Solver, carry: Any, tasks: tuple[Target, Target], ceiling: Any) -> Finetuned:
    def measure(one: Any) -> Finetuned:
        on_pretrain, on_finetune = (solver.loss(solver.state(one), task) for task in tasks)
        worst = jnp.maximum(on_pretrain, on_finetune)
        return Finetuned(on_pretrain, on_finetune, ~(jnp.isfinite(worst) & (worst <= ceiling)))

    return jax.vmap(measure)(carry)


def _pieces(steps: int, solver: Solver) -> list[np.int32]:
    """Steps in pieces that a user can wait for: an interrupt is heard, and progress told, between two of them."""
    if not solver.stepping:
        return [np.int32(steps)]
    whole, rest = divmod(steps, _PIECE)
    return [np.int32(_PIECE)] * whole + [np.int32(rest)] * (rest > 0)
