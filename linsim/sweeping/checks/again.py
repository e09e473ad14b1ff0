"""Runs that the bound on curvature does not acquit, once more: with the curvature looked at on their way."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Bool, Int

from linsim.dynamics import programs
from linsim.dynamics.runs import Checkpoints
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import Session, stacked
from linsim.problem import Problem
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.bound import Start
from linsim.sweeping.checks.edge import Edge
from linsim.sweeping.checks.sample import Sample
from linsim.sweeping.checks.sharpness import Sharpness, look_cost, sharpness

POINTS = 17
"""Along fine-tuning: the first step, the last, and between them evenly in the logarithm."""
_ALONG_PRETRAINING = 24  # beside the budgets
_AFFORDABLE = 1e11  # multiplications for all that is run again: some seconds
_MEMORY = 2**28  # bytes at once, roughly
_TOGETHER = 128  # runs in a program, where as many are affordable: whatever is asked, so that all rounds share it


@dataclass(frozen=True, eq=False)
class Again:
    """A sweep, ready for some of its lanes to be run again in float64."""

    problem: Problem
    axes: Axes
    solver: Solver
    before: Edge
    after: Edge
    pretraining: bool
    """Whether to look at pre-training on its way, too."""

    def judge(
        self, found: Bool[np.ndarray, "..."], asked: Bool[np.ndarray, "..."], pool: Int[np.ndarray, "_ _"]
    ) -> int:
        """Mark what is unstable, and count what would take too long.

        Args:
          found: unstable lanes, to which others are added.
          asked: lanes that are not acquitted.
          pool: trajectories that are not, or that have such lanes: positions on the axes that tell them apart.
        """
        count, left, cost = pool.shape[1], 0, self._cost(int(self.problem.budgets[-1]), len(self._budgets))
        several = math.prod(found.shape[dim] for dim in self.axes.trajectory_dims)
        if count * cost > _AFFORDABLE:
            return count * found.size // several if self.pretraining else int(asked.sum())
        with jax.enable_x64(True):
            held = max(1, int(_MEMORY // (len(self._budgets) * self._session.state_bytes)))
            size = min(_TOGETHER, several, int(_AFFORDABLE / cost), held)
            allowed = int(_AFFORDABLE / self._cost(self.problem.finetune_steps, POINTS) / -(-count // size))
            for first in range(0, count, size):
                block = pool[:, np.minimum(np.arange(first, first + size), count - 1)]  # all of one size: one program
                checkpoints, unstable = self._pretrained(block)
                for position, beyond in zip(block.T, unstable.T, strict=True):
                    lanes = found[self._lanes_of(position)]
                    lanes |= beyond.reshape(-1, *[1] * (lanes.ndim - 1))
                left += self._finetuned(block, checkpoints, found, asked & ~found, allowed)
        return left

    @cached_property
    def _budgets(self) -> np.ndarray:
        """The problem's own, and where else pre-training is looked at."""
        own = self.problem.budgets
        between = np.geomspace(1, int(own[-1]), _ALONG_PRETRAINING).round().astype(own.dtype)
        return np.union1d(own, between) if self.pretraining else own

    @cached_property
    def _session(self) -> Session:
        return Session.open(replace(self.problem, budgets=self._budgets), self.solver, np.float64)

    @cached_property
    def _before(self) -> Sharpness:
        return sharpness(self._session, self.before)

    @cached_property
    def _after(self) -> Sharpness:
        return sharpness(self._session, self.after)

    def _cost(self, steps: int, points: int) -> float:
        """Of a run that is looked at."""
        stepping = self.solver.cost(self.axes.representative(self.problem)) * steps
        return stepping + points * look_cost(self.solver, self.problem.widths)

    def _lanes_of(self, position: np.ndarray) -> tuple[slice | int, ...]:
        """Where the lanes of a trajectory are."""
        index: list[slice | int] = [slice(None)] * len(self.axes.dims)
        for dim, at in zip(self.axes.trajectory_dims, position.tolist(), strict=True):
            index[dim] = at
        return tuple(index)

    def _pretrained(self, pool: np.ndarray) -> tuple[Checkpoints, np.ndarray]:
        """Checkpoints at the budgets, and which of them a trajectory reached by way of an unstable step."""
        session, problem, records = self._session, self.problem, []
        at = np.zeros((len(self.axes.dims), pool.shape[1]), int)
        runs, _ = Sample.of(problem, self.axes, pool, np.arange(pool.shape[1]), at).runs(session)
        around, seen = session.surroundings(self.before.phase), (problem.idealised, ())
        at[list(self.axes.trajectory_dims)] = pool
        unstable = np.zeros((len(problem.budgets), pool.shape[1]), bool)
        for step, carry in session.pretraining(runs):
            if step in problem.budgets:
                records.append(programs.record(self.solver, carry, around, runs, step, *seen)[0])
            if self.pretraining:
                over = self._before.exceeds(carry, int(step), runs.seed, runs.swept, at)
                unstable |= (problem.budgets >= step)[:, None] & over
        states = jax.tree.map(lambda *leaves: stacked(leaves), *records)
        return Checkpoints(states, {}, runs.seed), unstable

    def _finetuned(
        self, pool: np.ndarray, checkpoints: Checkpoints, found: np.ndarray, asked: np.ndarray, allowed: int
    ) -> int:
        """Mark unstable lanes of some trajectories; how many are beyond what is allowed."""
        place = np.full([found.shape[dim] for dim in self.axes.trajectory_dims], -1)
        place[tuple(pool)] = np.arange(pool.shape[1])
        lanes = np.stack(np.nonzero(asked))
        lanes = lanes[:, place[tuple(lanes[list(self.axes.trajectory_dims)])] >= 0]
        trajectory = place[tuple(lanes[list(self.axes.trajectory_dims)])]
        begun = self._after.start(checkpoints.states)
        close = ~self.after.reach(Start(*(each[lanes[0], trajectory] for each in begun)), lanes).acquitted
        lanes, trajectory = lanes[:, close], trajectory[close]
        rate = np.broadcast_to(self.after.number("learning_rate", lanes), trajectory.shape)
        chosen = np.argsort(-rate, kind="stable")[:allowed]
        held = int(_MEMORY // (64 * self._session.state_bytes))
        size = max(1, min(_TOGETHER, asked.size, allowed, held))
        for first in range(0, len(chosen), size):
            part = chosen[np.minimum(np.arange(first, first + size), len(chosen) - 1)]
            sample = Sample.of(self.problem, self.axes, pool, trajectory[part], lanes[:, part])
            found[tuple(sample.indices)] |= self._unstable(sample, checkpoints)
        return len(trajectory) - len(chosen)

    def _unstable(self, sample: Sample, checkpoints: Checkpoints) -> np.ndarray:
        """Which lanes are beyond the edge at any of the points."""
        last = self.problem.finetune_steps
        spaced = np.geomspace(1, last, POINTS - 1).round().astype(int)
        runs, unstable = sample.runs(self._session)[1], np.zeros(len(sample.trajectory), bool)
        seeds = np.asarray(checkpoints.seed)[sample.trajectory]
        for step, carry in self._session.finetuning(checkpoints, runs, np.unique([0, *spaced]).tolist()):
            unstable |= self._after.exceeds(carry, int(step), seeds, runs.swept, sample.indices)
        return unstable
