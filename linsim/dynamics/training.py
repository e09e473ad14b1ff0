"""The two phases: `pretrain` once to the largest budget, `finetune` from the checkpoints of every budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, wraps
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

Recorded = tuple[Float[Array, "budgets trajectories _ _"], ...]
"""(W_1, ..., W_L) at every budget of every trajectory."""

Swept = dict[str, Float[Array, " runs"]]
"""Fields of a phase whose values differ from run to run: name -> value of every run."""

_PIECE = 10_000  # steps


class Trajectories(NamedTuple):
    """Pre-training runs: from which initial weights, and with which swept values."""

    seed: Int[Array, " trajectories"]
    swept: Swept


class Checkpoints(NamedTuple):
    """What pre-training leaves behind."""

    states: State
    """States in the solver's coordinates; every leaf has leading axes (budget, trajectory)."""
    losses: Float[Array, "budgets trajectories"]
    """Pre-training loss of each."""
    seed: Int[Array, " trajectories"]
    """Seed of each trajectory."""


class Lanes(NamedTuple):
    """Fine-tuning runs, one a lane: where each starts and with which swept values."""

    budget: Int[Array, " lanes"]
    """Position of its checkpoint among the budgets."""
    trajectory: Int[Array, " lanes"]
    """Position of its checkpoint among the trajectories: the seed, unless pre-training is swept."""
    swept: Swept


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

    @property
    def state_bytes(self) -> int:
        """Of the state of one run, and of its minibatch, where there is one: inputs, outputs and what is predicted."""
        inputs, *_, outputs = self.problem.widths
        batch = max(phase.batch_size or 0 for phase in (self.problem.pretrain, self.problem.finetune))
        state = sum(leaf.nbytes for leaf in jax.tree.leaves(self.encoded.initial)) // self.problem.seeds
        return state + batch * (inputs + 2 * outputs) * np.dtype(self.dtype).itemsize

    @classmethod
    def open(cls, problem: Problem, solver: Solver, dtype: Any) -> Session:
        """Put a problem into the coordinates of a solver, with numbers of the dtype."""
        return cls(problem, solver, dtype, solver.encode(problem, dtype))

    def pretrain(self, report: Progress | None = None, trajectories: Trajectories | None = None) -> Checkpoints:
        """Every trajectory to the largest budget, recorded at every budget; by default one a seed, nothing swept."""
        runs = trajectories or Trajectories(jnp.arange(self.problem.seeds), {})
        phase, target, keys = self.problem.pretrain.as_dtype(self.dtype), self.encoded.pretrain, self._keys(0)
        carry = _begin(self.solver, self.encoded.initial, phase, runs)
        records = []
        budgets, count = self.problem.budgets, len(runs.seed)
        done, total = 0, int(budgets[-1]) * count
        for steps in np.diff(budgets, prepend=0):
            for piece in _pieces(int(steps), self.solver):
                carry = _advance(self.solver, carry, target, phase, piece, keys, runs)
                jax.block_until_ready(carry)
                done += int(piece) * count
                if report is not None:
                    report(done, total)
            records.append(_record(self.solver, carry, target, self.problem.idealised))
        states, losses = jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)
        return Checkpoints(states, losses, runs.seed)

    def finetune(self, checkpoints: Checkpoints, lanes: Lanes) -> Finetuned:
        """Fine-tune every lane from its checkpoint; one compiled program whatever the swept values."""
        ceiling = self.dtype(min(DIVERGED * self.scale, float(np.finfo(self.dtype).max)))
        carry = self._tune(checkpoints, lanes)
        return _measure(self.solver, carry, (self.encoded.pretrain, self.encoded.finetune), ceiling)

    def tuned(self, checkpoints: Checkpoints, regularizer: Regularizer, rate: float, strength: float) -> State:
        """States after fine-tuning at one rate and strength, every leaf with leading axes (budget, trajectory)."""
        shape = checkpoints.losses.shape
        budget, trajectory = (jnp.ravel(index).astype(jnp.int32) for index in jnp.indices(shape))
        values = {"learning_rate": rate, regularizer: strength}
        swept = {name: jnp.full(budget.size, value, self.dtype) for name, value in values.items()}
        carry = self._tune(checkpoints, Lanes(budget, trajectory, swept))
        return jax.tree.map(lambda leaf: leaf.reshape(shape + leaf.shape[1:]), _states(self.solver, carry))

    def weights(self, states: State) -> Recorded:
        """(W_1, ..., W_L) of states of one trajectory a seed, axes (budget, seed) first, as measures take weights.

        In the coordinates of the problem, up to a rotation of the hidden layer in the solver `flow`.
        """
        rows = [jax.tree.map(lambda leaf, row=row: leaf[row], states) for row in range(len(self.problem.budgets))]
        each = [self.solver.weights(self.problem, row) for row in rows]
        return tuple(jnp.stack(layers) for layers in zip(*each, strict=True))

    def _tune(self, checkpoints: Checkpoints, lanes: Lanes) -> Any:
        phase, keys = self.problem.finetune.as_dtype(self.dtype), self._keys(1)[checkpoints.seed]
        carry = _branch(self.solver, checkpoints.states, phase, lanes)
        for piece in _pieces(self.problem.finetune_steps, self.solver):
            carry = _continue(self.solver, carry, self.encoded.finetune, phase, lanes, piece, keys)
            jax.block_until_ready(carry)
        return carry

    def _keys(self, phase: int) -> Array:
        """One key a seed and phase, shared by all lanes of the seed: common random numbers across a sweep."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.problem.seed), phase), self.problem.seeds)


def _many_steps(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """Compile a program that spends its time in loops over lanes.

    On a CPU with vectors of 512 bits: XLA's 256 leave the units waiting on chains of multiplications, at 0.6 of the
    speed (`python -m benchmarks.modes`). Processors without such vectors take them in two halves.
    """
    anywhere = jax.jit(function, **settings)
    on_cpu = jax.jit(function, compiler_options={"xla_cpu_prefer_vector_width": 512}, **settings)

    @wraps(function)
    def run(*arguments: Any) -> Any:
        return (on_cpu if jax.default_backend() == "cpu" else anywhere)(*arguments)

    run.lower = on_cpu.lower  # type: ignore[attr-defined] # to look at the program, as of any jitted function
    return run


@partial(jax.jit, static_argnames="solver")
def _losses(solver: Solver, states: State, target: Target) -> Array:
    return jax.vmap(solver.loss, in_axes=(0, None))(states, target)


@partial(jax.jit, static_argnames="solver")
def _begin(solver: Solver, initial: State, phase: Phase, trajectories: Trajectories) -> Any:
    def begin(run: Trajectories) -> Any:
        return solver.begin(jax.tree.map(lambda leaf: leaf[run.seed], initial), phase.put(run.swept))

    return jax.vmap(begin)(trajectories)


@partial(_many_steps, static_argnames="solver")
def _advance(
    solver: Solver, carry: Any, target: Target, phase: Phase, steps: Any, keys: Any, trajectories: Trajectories
) -> Any:
    def advance(one: Any, run: Trajectories) -> Any:
        return solver.advance(one, target, phase.put(run.swept), steps, keys[run.seed])

    return jax.vmap(advance)(carry, trajectories)


@partial(jax.jit, static_argnames=("solver", "idealised"))
def _record(solver: Solver, carry: Any, target: Target, idealised: bool) -> tuple[State, Array]:
    def record(one: Any) -> tuple[State, Scalar]:
        state = solver.idealise(solver.state(one), target) if idealised else solver.state(one)
        return state, solver.loss(state, target)

    return jax.vmap(record)(carry)


@partial(jax.jit, static_argnames="solver")
def _branch(solver: Solver, states: State, phase: Phase, lanes: Lanes) -> Any:
    """Enter fine-tuning at the checkpoint of every lane."""

    def branch(lane: Lanes) -> Any:
        checkpoint = jax.tree.map(lambda leaf: leaf[lane.budget, lane.trajectory], states)
        return solver.begin(checkpoint, phase.put(lane.swept))

    return jax.vmap(branch)(lanes)


@partial(_many_steps, static_argnames="solver", donate_argnames="carry")
def _continue(solver: Solver, carry: Any, target: Target, phase: Phase, lanes: Lanes, steps: Any, keys: Any) -> Any:
    def advance(one: Any, lane: Lanes) -> Any:
        return solver.advance(one, target, phase.put(lane.swept), steps, keys[lane.trajectory])

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
