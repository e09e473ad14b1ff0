"""The two phases: `pretrain` once to the largest budget, `finetune` from the checkpoints of every budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics import programs
from linsim.dynamics.kernels.paths import told
from linsim.dynamics.measuring import USUAL, Measuring, formed_bytes
from linsim.dynamics.runs import Checkpoints, Finetuned, Lanes, Trajectories
from linsim.dynamics.seen import (
    AFTER,
    BEFORE,
    FINETUNE_LOSS_AFTER,
    PRETRAIN_LOSS_AFTER,
    Measured,
    SeenTask,
    Surroundings,
    observe,
)
from linsim.dynamics.solver import Carry, Coordinates, Encoded, Solver, State
from linsim.errors import brief, require, require_kind
from linsim.measure import Measure
from linsim.phase import Phase
from linsim.problem import Problem, multiplied
from linsim.progress.showing import Progress

DIVERGED = 1e6
"""A lane whose final loss is not finite, or above this multiple of `Session.scale`, has diverged."""

Recorded = tuple[Float[Array, "budgets trajectories _ _"], ...]
"""(W_1, ..., W_L) at every budget of every trajectory."""

_PIECE = 10_000  # steps


@dataclass(frozen=True, eq=False)
class Session:
    """A problem at a solver: encoded once, then pre-trained and fine-tuned."""

    problem: Problem
    solver: Solver
    dtype: Any
    encoded: Encoded

    def __repr__(self) -> str:
        return f"Session of {self.solver.name} in {np.dtype(self.dtype)}, {self.problem}"

    @cached_property
    def scale(self) -> float:
        """See `scale_of`."""
        return scale_of(self.problem, self.dtype)

    @property
    def state_bytes(self) -> int:
        """Of the state of one run, and of its minibatch, where there is one: inputs, outputs and what is predicted."""
        inputs, *_, outputs = self.problem.widths
        batch = max(phase.batch_size or 0 for phase in (self.problem.pretrain, self.problem.finetune))
        state = sum(leaf.nbytes for leaf in jax.tree.leaves(self.encoded.initial)) // self.problem.seeds
        return state + batch * (inputs + 2 * outputs) * np.dtype(self.dtype).itemsize

    @property
    def stepped_by(self) -> dict[str, str]:
        """Phase -> who takes its steps, a kernel or a program of XLA, and why."""
        encoded, problem = self.encoded, self.problem
        phases = (("pretrain", problem.pretrain, encoded.pretrain), ("finetune", problem.finetune, encoded.finetune))
        return {name: told(self.solver, encoded.initial, target, phase) for name, phase, target in phases}

    @classmethod
    def open(cls, problem: Problem, solver: Solver, dtype: Any) -> Session:
        """Put a problem into the coordinates of a solver, with numbers of the dtype.

        Raises:
          InvalidInput: a solver that is none or does not apply, another dtype than float32 and float64, a problem whose
            losses have no room in it.
        """
        require_kind("problem", problem, Problem)
        require_kind("solver", solver, Solver, "a solver, see linsim.choose")
        known = any(dtype is each for each in (np.float32, np.float64))
        require(known, "dtype", brief(dtype), "numpy.float32 or numpy.float64")
        least, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
        for task in (problem.transfer.pretrain, problem.transfer.finetune):
            loss = task.zero_loss
            told, allowed = f"{np.dtype(dtype)} of losses of {loss:.3g}", f"losses of 0, or {least:.0e} to {most:.0e}"
            require(loss == 0 or least <= loss <= most, "precision", told, allowed)
        return cls(problem, solver, dtype, solver.encode(problem, dtype))

    def pretrain(
        self,
        report: Progress | None = None,
        trajectories: Trajectories | None = None,
        measuring: Measuring = USUAL,
    ) -> Checkpoints:
        """Every trajectory to the largest budget, recorded at every budget; by default one a seed, nothing swept."""
        runs = trajectories or Trajectories(jnp.arange(self.problem.seeds), {})
        around = self._around(self.problem.pretrain.as_dtype(self.dtype), measuring.checkpoint)
        records = [
            programs.record(self.solver, carry, around, runs, step, self.problem.idealised, measuring.checkpoint)
            for step, carry in self.pretraining(runs, report)
        ]
        states, measured = jax.tree.map(lambda *leaves: stacked(leaves), *records)
        return Checkpoints(states, measured, runs.seed)

    def pretraining(self, runs: Trajectories, report: Progress | None = None) -> Iterator[tuple[np.int32, Carry]]:
        """Every trajectory on its way: budget after budget, and what has been reached there."""
        phase, target, keys = self.problem.pretrain.as_dtype(self.dtype), self.encoded.pretrain, self._keys(0)
        carry = programs.begin(self.solver, self.encoded.initial, phase, keys, runs)
        budgets, count = self.problem.budgets, len(runs.seed)
        done, total = 0, int(budgets[-1]) * count
        for budget, steps in zip(budgets, np.diff(budgets, prepend=0), strict=True):
            for piece in _pieces(int(steps), self.solver):
                carry = programs.advance(self.solver, carry, target, phase, piece, keys, runs)
                jax.block_until_ready(carry)
                done += int(piece) * count
                if report is not None:
                    report(done, total)
            yield np.int32(budget), carry

    def finetune(self, checkpoints: Checkpoints, lanes: Lanes, measuring: Measuring = USUAL) -> Finetuned:
        """Fine-tune every lane from its checkpoint; one compiled program whatever the swept values."""
        carry, along = self._through(checkpoints, lanes, measuring)
        ceiling = self.dtype(min(DIVERGED * self.scale, float(np.finfo(self.dtype).max)))
        around = self._around(self.problem.finetune.as_dtype(self.dtype), measuring.tuned)
        began, last = (checkpoints.states, checkpoints.seed, lanes), np.int32(self.problem.finetune_steps)
        measured, diverged = programs.ended(self.solver, carry, around, *began, last, measuring.tuned, ceiling)
        losses = measured[PRETRAIN_LOSS_AFTER.name], measured[FINETUNE_LOSS_AFTER.name]
        return Finetuned(*losses, diverged, measured, along)

    def finetune_initial(self, measuring: Measuring, report: Progress | None = None) -> tuple[State, Measured]:
        """Fine-tune the initial weights, one run a seed: states at the end, and what was measured on the way there."""
        seeds = jnp.arange(self.problem.seeds)
        checkpoints = Checkpoints(jax.tree.map(lambda leaf: leaf[None], self.encoded.initial), {}, seeds)
        carry, along = self._through(checkpoints, Lanes(jnp.zeros_like(seeds), seeds, {}), measuring, report)
        return programs.states(self.solver, carry), along

    def shapes(self, measuring: Measuring) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of one value of every measure, without computing any.

        Raises:
          InvalidInput: a measure that fails, is no array of its dims, or asks for what the solver cannot give.
        """
        found: dict[str, jax.ShapeDtypeStruct] = jax.eval_shape(*self._traced(measuring.all))
        return found

    def measuring_bytes(self, measuring: Measuring) -> int:
        """All that is formed on the way to the measures of one lane at a place: more than is held at any time."""
        places = (measuring.checkpoint, measuring.tuned, measuring.along)
        traced = (self._traced(place) for place in places if not _of_losses(place))
        return max((formed_bytes(jax.make_jaxpr(f)(*arguments).jaxpr) for f, *arguments in traced), default=0)

    def weights(self, states: State) -> Recorded:
        """(W_1, ..., W_L) of states of one trajectory a seed, axes (budget, seed) first, as measures take weights.

        In the coordinates of the problem, up to a rotation of the hidden layer in the solver `flow`.
        """
        rows = [jax.tree.map(lambda leaf, row=row: leaf[row], states) for row in range(len(self.problem.budgets))]
        each = [self.solver.weights(self.problem, row) for row in rows]
        return tuple(jnp.stack(layers) for layers in zip(*each, strict=True))

    def _through(
        self, checkpoints: Checkpoints, lanes: Lanes, measuring: Measuring, report: Progress | None = None
    ) -> tuple[Any, Measured]:
        """All of fine-tuning: where it ends, and what is measured along it, with a second axis over the points."""
        last, told = self.problem.finetune_steps, list[Measured]()
        around = self._around(self.problem.finetune.as_dtype(self.dtype), measuring.along)
        carry: Any = None
        for point, carry in self.finetuning(checkpoints, lanes, (*measuring.points, last)):
            if report is not None:
                report(int(point), last)
            if len(told) < len(measuring.points):
                began = checkpoints.states, checkpoints.seed, lanes
                told.append(programs.observed(self.solver, carry, around, *began, point, measuring.along))
        return carry, jax.tree.map(lambda *leaves: stacked(leaves, axis=1), *told) if told else {}

    def finetuning(
        self, checkpoints: Checkpoints, lanes: Lanes, points: Sequence[int]
    ) -> Iterator[tuple[np.int32, Carry]]:
        """Every lane on its way: point after point, and what has been reached there, to be used before the next."""
        phase, keys = self.problem.finetune.as_dtype(self.dtype), programs.chosen(self._keys(1), checkpoints.seed)
        carry, done = programs.branch(self.solver, checkpoints.states, phase, keys, lanes), 0
        for point in points:
            for piece in _pieces(point - done, self.solver):
                carry = programs.continued(self.solver, carry, self.encoded.finetune, phase, lanes, piece, keys)
                jax.block_until_ready(carry)
            done = point
            yield np.int32(point), carry

    def surroundings(self, phase: Phase) -> Surroundings:
        """What is around the states of all seeds, where `phase` moves them."""
        targets = self.encoded.pretrain, self.encoded.finetune
        return Surroundings(*self._tasks, targets, self._coordinates, phase.as_dtype(self.dtype))

    def _around(self, phase: Phase, measures: Sequence[Measure]) -> Surroundings:
        """What measures see of all seeds together; what the solvers' own measures do not look at is left out."""
        if _of_losses(measures):
            return Surroundings(None, None, (self.encoded.pretrain, self.encoded.finetune), (), phase)
        return self.surroundings(phase)

    @cached_property
    def _tasks(self) -> tuple[SeenTask, SeenTask]:
        transfer = self.problem.transfer
        return SeenTask.of(transfer.pretrain, self.dtype), SeenTask.of(transfer.finetune, self.dtype)

    @cached_property
    def _coordinates(self) -> Coordinates:
        return self.solver.coordinates(self.problem, self.dtype)

    def _traced(self, measures: Sequence[Measure]) -> tuple[Any, ...]:
        """A function of one lane, and what it is to be traced with."""
        state = jax.tree.map(lambda leaf: leaf[0], self.encoded.initial)
        around = self._around(self.problem.finetune.as_dtype(self.dtype), measures)
        around = around.of_run(0, {})
        return partial(observe, tuple(measures), self.solver), state, around, state, np.int32(0)

    def _keys(self, phase: int) -> Array:
        """One key a seed and phase, shared by all lanes of the seed: common random numbers across a sweep."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.problem.seed), phase), self.problem.seeds)


def scale_of(problem: Problem, dtype: Any) -> float:
    """The loss that others are large or small against: of the zero network, or of the initial one if larger."""
    tasks, product = (
        (problem.transfer.pretrain, problem.transfer.finetune),
        multiplied(map(np.asarray, problem.initial)),
    )
    with np.errstate(over="ignore", invalid="ignore"):
        initial = [float(np.max(task.loss_of(product))) for task in tasks]
    sizes = [float(np.finfo(dtype).tiny), *(task.zero_loss for task in tasks), *initial]
    return max(size for size in sizes if np.isfinite(size))


def stacked(leaves: Sequence[Array], axis: int = 0) -> Array:
    """Along a new axis; on a CPU by NumPy, as XLA compiles a program for every number of them."""
    if jax.default_backend() == "cpu":
        return jnp.asarray(np.stack(leaves, axis))
    return jnp.stack(leaves, axis)


def _of_losses(measures: Sequence[Measure]) -> bool:
    """Whether solvers tell all of it in their own coordinates."""
    return {*measures} <= {*BEFORE, *AFTER}


def _pieces(steps: int, solver: Solver) -> list[np.int32]:
    """Steps in pieces that a user can wait for: an interrupt is heard, and progress told, between two of them."""
    if not solver.stepping:
        return [np.int32(steps)]
    whole, rest = divmod(steps, _PIECE)
    return [np.int32(_PIECE)] * whole + [np.int32(rest)] * (rest > 0)
