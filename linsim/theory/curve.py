"""Loss after fine-tuning in closed form, at any budgets, rates and strengths: a few small programs for any chart.

Points are computed in blocks of one size, so that no number of cells and budgets is compiled for. What a checkpoint and
a strength decide, for full matrices the decomposition of the target that the penalty moves, is computed once for
several rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linsim.dynamics.flow import FlowSolver
from linsim.dynamics.solver import Encoded, State, Target
from linsim.phase import Phase, Regularizer
from linsim.problem import Problem
from linsim.theory.turns import rounding_floor

_POINTS = 256  # of a block
_FACTORISED = 64  # pairs of checkpoint and strength in a block, where each pays for a decomposition
_RATES = 8  # that share it
_NUMBERS = 2**22  # of the states of a block, at most: 32 MB

Points = Float[np.ndarray, " points"]


@dataclass(frozen=True, eq=False)
class Curve:
    """L(t) = L_pre(F_T(W(t))) of a problem whose flow is known, t = eta_pre * budget, T = eta * K."""

    solver: FlowSolver
    regularizer: Regularizer
    encoded: Encoded
    phases: tuple[Phase, Phase]
    finetune_steps: float
    floor: float
    """Below which losses are rounding."""

    @classmethod
    def of(cls, problem: Problem, solver: FlowSolver, regularizer: Regularizer) -> Curve:
        """In float64."""
        phases = problem.pretrain.as_dtype(np.float64), problem.finetune.as_dtype(np.float64)
        floor = float(rounding_floor(problem.transfer.pretrain.zero_loss, np.dtype(np.float64)))
        steps = float(problem.finetune_steps)
        return cls(solver, regularizer, solver.encode(problem, np.float64), phases, steps, floor)

    @property
    def pretraining_curvature(self) -> float:
        """The largest of all seeds, see `FlowSolver.sharpest`."""
        arguments = self.encoded.initial, self.encoded.pretrain, self.phases[0]
        return float(_pretraining_curvature(self.solver, *arguments))

    def on_grid(
        self,
        log_budgets: Float[np.ndarray, " budgets"],
        rates: Float[np.ndarray, " rates"],
        strengths: Float[np.ndarray, " strengths"],
        seed: int,
    ) -> tuple[Float[np.ndarray, "rates strengths budgets"], Float[np.ndarray, " strengths"]]:
        """Losses of a seed, and the curvature of fine-tuning from the last budget (`FlowSolver.sharpest`).

        Args:
          log_budgets: log of pre-training steps.
          rates: of fine-tuning.
          strengths: of the regulariser.
          seed: which of the problem's initial weights.
        """
        states = self._checkpoints(log_budgets, np.full(len(log_budgets), seed))
        place, strength = (each.ravel() for each in np.indices((len(log_budgets), len(strengths))))
        losses = self._tuned(states, place, rates, strengths[strength])
        last = np.full(len(strengths), len(log_budgets) - 1)
        sharpest = self._by_blocks(self._sharpest_at, (last, strengths), self._block(1), states)
        shape = len(log_budgets), len(strengths), len(rates)
        return np.transpose(losses.reshape(shape), (2, 1, 0)), sharpest

    def at(self, log_budgets: Points, rates: Points, strengths: Points, seeds: Int[np.ndarray, " points"]) -> Points:
        """Losses at any points, all four as long."""
        arguments = np.arange(len(seeds)), rates[:, None], strengths
        states = self._checkpoints(log_budgets, seeds)
        return np.asarray(self._by_blocks(self._losses_at, arguments, self._block(1), states)[:, 0])

    def _tuned(
        self,
        states: State,
        place: Int[np.ndarray, " pairs"],
        rates: Float[np.ndarray, " rates"],
        strengths: Float[np.ndarray, " pairs"],
    ) -> Float[np.ndarray, "pairs rates"]:
        """Losses of pairs of checkpoint and strength at every rate."""
        together = _RATES if self.solver.factorises else 1
        columns = []
        for first in range(0, len(rates), together):
            some = rates[np.minimum(np.arange(first, first + together), len(rates) - 1)]
            arguments = place, np.tile(some, (len(place), 1)), strengths
            columns.append(self._by_blocks(self._losses_at, arguments, self._block(together), states))
        return np.concatenate(columns, axis=1)[:, : len(rates)]

    def _checkpoints(self, log_budgets: Points, seeds: Int[np.ndarray, " points"]) -> State:
        """States after pre-training, points along the first axis."""
        return self._by_blocks(self._trained, (seeds, log_budgets), self._block(1), self.encoded.initial)

    def _trained(self, initial: State, log_budgets: Any) -> State:
        return _checkpoints(self.solver, self.encoded.pretrain, self.phases[0], initial, log_budgets)

    def _losses_at(self, states: State, rates: Any, strengths: Any) -> Array:
        tasks, numbers = (self.encoded.pretrain, self.encoded.finetune), (self.finetune_steps, self.floor)
        return _losses(self.solver, self.regularizer, tasks, self.phases[1], numbers, states, rates, strengths)

    def _sharpest_at(self, states: State, strengths: Any) -> Array:
        return _sharpest(self.solver, self.regularizer, self.encoded.finetune, self.phases[1], states, strengths)

    def _block(self, rates: int) -> int:
        """Pairs of checkpoint and strength that are computed together."""
        numbers = sum(leaf[0].size for leaf in jax.tree.leaves(self.encoded.initial))
        most = _FACTORISED if self.solver.factorises else _POINTS
        return max(1, min(most, _NUMBERS // (numbers * rates)))

    def _by_blocks(self, compute: Callable[..., Any], arguments: tuple[Any, ...], size: int, states: State) -> Any:
        """A function of states and numbers, all along a first axis, in blocks of one length.

        The first of the arguments says which states; the last block is filled up with what it ends with.
        """
        count, parts = len(arguments[0]), []
        for first in range(0, count, size):
            which, *numbers = (each[np.minimum(np.arange(first, first + size), count - 1)] for each in arguments)
            chosen = jax.tree.map(lambda leaf, at=which: np.asarray(leaf)[at], states)
            parts.append(jax.tree.map(np.asarray, compute(chosen, *numbers)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _flowed(solver: FlowSolver, state: State, target: Target, phase: Phase, steps: Any) -> State:
    """The state after a phase of any number of steps, fractions included."""
    return solver.state(solver.advance(solver.begin(state, phase), target, phase, steps, None))


@partial(jax.jit, static_argnames="solver")
def _pretraining_curvature(solver: FlowSolver, initial: State, target: Target, phase: Phase) -> Array:
    return jnp.max(jax.vmap(solver.sharpest, in_axes=(0, None, None))(initial, target, phase))


@partial(jax.jit, static_argnames="solver")
def _checkpoints(solver: FlowSolver, target: Target, phase: Phase, initial: State, log_budgets: Array) -> State:
    def one(initial: State, log_budget: Any) -> State:
        return _flowed(solver, initial, target, phase, jnp.exp(log_budget))

    return jax.vmap(one)(initial, log_budgets)


@partial(jax.jit, static_argnames=("solver", "regularizer"))
def _losses(
    solver: FlowSolver,
    regularizer: Regularizer,
    tasks: tuple[Target, Target],
    phase: Phase,
    numbers: tuple[Any, Any],
    states: State,
    rates: Float[Array, "pairs rates"],
    strengths: Float[Array, " pairs"],
) -> Float[Array, "pairs rates"]:
    steps, floor = numbers

    def one(state: State, rate: Any, strength: Any) -> Array:
        end = _flowed(solver, state, tasks[1], phase.at(rate, regularizer, strength), steps)
        return jnp.maximum(solver.loss(end, tasks[0]), floor)

    over_rates = jax.vmap(one, in_axes=(None, 0, None))  # what the rate does not decide is computed once
    return jax.vmap(over_rates)(states, rates, strengths)


@partial(jax.jit, static_argnames=("solver", "regularizer"))
def _sharpest(
    solver: FlowSolver, regularizer: Regularizer, target: Target, phase: Phase, states: State, strengths: Array
) -> Array:
    def one(state: State, strength: Any) -> Array:
        return solver.sharpest(state, target, phase.at(phase.learning_rate, regularizer, strength))

    return jax.vmap(one)(states, strengths)
