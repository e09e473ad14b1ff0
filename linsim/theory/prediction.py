"""The inflection point in closed form: the solver `flow` over continuous budgets, and certified turning points.

With t = eta_pre * budget and T = eta * K the loss after fine-tuning is L(t) = L_pre(F_T(W(t))), where both flows have
closed forms: for aligned problems mode by mode, at any balance, input spectrum and depth; for two lambda-balanced
layers on whitened tasks with any singular vectors, through the matrix solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linsim.dynamics.choosing import flow_of
from linsim.dynamics.flow import FlowSolver
from linsim.dynamics.solver import Encoded
from linsim.errors import brief_fields
from linsim.phase import Phase, Regularizer
from linsim.precision import in_float64
from linsim.problem import Problem
from linsim.theory.turning import lowest
from linsim.theory.turns import Criteria, material, rounding_floor

_STABLE = 2.0  # learning rate x curvature beyond which gradient descent oscillates instead of following the flow
_NUMBERS = 2**23  # of checkpoints held at once: 64 MB
_ROUNDING = 1e-13  # of a loss, relative to that of the zero network: some hundreds of operations


class Prediction(NamedTuple):
    """Inflection points and harm from the closed form, with its curves."""

    loss: Float[np.ndarray, "budgets rates strengths seeds"]
    """Pre-training loss after fine-tuning."""
    steps: Float[np.ndarray, "rates strengths seeds"]
    """Budget of the smallest loss, budgets being continuous; NaN where the turn is not material."""
    lowest: Float[np.ndarray, "rates strengths seeds"]
    """The same, material or not."""
    harm: Float[np.ndarray, "rates strengths seeds"]
    """Loss at the largest budget / smallest loss - 1, whatever the budgets between."""
    excess: Float[np.ndarray, "rates strengths seeds"]
    """Their difference over the loss of the zero network."""
    bracket: Float[np.ndarray, "rates strengths seeds two"]
    """Budgets on both sides of `steps` between which the slope goes from negative to positive, beyond rounding; NaN
    where the curve does not turn within the budgets, or too flatly to tell."""
    method: str
    """In words: which closed form."""

    def __repr__(self) -> str:
        return brief_fields(self)


class Unpredictable(NamedTuple):
    """Why the closed form does not apply."""

    reason: str


class _Inputs(NamedTuple):
    """All that a curve depends on."""

    encoded: Encoded
    phases: tuple[Phase, Phase]
    finetune_steps: Any
    floor: Any
    rounding: Any
    scale: Any
    """Loss of the zero network; NaN where that is 0."""


def predict(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    regularizer: Regularizer,
    criteria: Criteria | None = None,
) -> Prediction | Unpredictable:
    """Loss after fine-tuning, inflection point and harm of a whole chart in closed form, without simulating.

    The inflection point is the smallest value of L on a grid of budgets, then the root of dL/dlog t between its
    neighbours, by bisection, with a bracket that proves it.

    Args:
      problem: its fine-tuning rate is replaced by the axis.
      learning_rates: fine-tuning rates eta, in flow time per step.
      strengths: of the regulariser, >= 0.
      regularizer: which one.
      criteria: what is material.

    Returns:
      The prediction, or why there is none: it needs a problem that the solver `flow` accepts. It holds to first order
      in learning rate x curvature and is NaN in cells where that is above 2, where descent does not follow the flow.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> start = ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)])
      >>> problem = ls.Problem(
      ...     transfer, start, ls.Phase(0.02), ls.Phase(0.01), budgets=np.array([10, 40, 160]), finetune_steps=50
      ... )
      >>> ls.predict(problem, np.array([0.001, 0.01]), np.array([0.0, 4.0]), "product_penalty").harm[..., 0].round(2)
      array([[ 4.52,  2.27],
             [ 0.28, 16.32]])
    """
    predictor = Predictor.open(problem, float(learning_rates[-1]), regularizer, float(strengths[-1]))
    if isinstance(predictor, Unpredictable):
        return predictor
    return predictor.predict(learning_rates, strengths, np.arange(problem.seeds), criteria=criteria or Criteria())


@dataclass(frozen=True, eq=False)
class Predictor:
    """The closed form of a problem, ready for any part of its chart."""

    problem: Problem
    solver: FlowSolver
    regularizer: Regularizer
    inputs: _Inputs

    @classmethod
    @in_float64
    def open(
        cls, problem: Problem, rate: float, regularizer: Regularizer, strength: float
    ) -> Predictor | Unpredictable:
        """Check that the closed form applies, at one rate and strength for all."""
        if problem.idealised:
            reason = "idealised checkpoints jump from stage to stage: there is no smooth curve over budgets"
            return Unpredictable(reason)
        solver = flow_of(problem.tuned(rate, regularizer, strength))
        if isinstance(solver, str):
            return Unpredictable(solver)
        inputs = _inputs(problem, solver)
        step = problem.pretrain.learning_rate * float(_pretraining_curvature(solver, inputs))
        if not step <= _STABLE:
            reason = f"pre-training is unstable, with learning rate x curvature = {step:.1f} above {_STABLE:g}"
            return Unpredictable(reason)
        return cls(problem, solver, regularizer, inputs)

    @in_float64
    def predict(
        self,
        learning_rates: Float[np.ndarray, " rates"],
        strengths: Float[np.ndarray, " strengths"],
        seeds: Int[np.ndarray, " seeds"],
        *,
        padded: tuple[int, int] | None = None,
        criteria: Criteria | None = None,
    ) -> Prediction:
        """The closed form on a grid of cells (see `predict`).

        Args:
          learning_rates: fine-tuning rates.
          strengths: of the regulariser.
          seeds: which of the problem's initial weights.
          criteria: what is material.
          padded: (cells, seeds) of the largest part of a chart that is predicted in parts: all are one program then.
        """
        cells = np.stack(np.meshgrid(learning_rates, strengths, np.arange(len(seeds)), indexing="ij"), axis=-1)
        rows = cells.reshape(-1, 3)
        wanted, drawn = padded or (len(rows), len(seeds))
        chosen = np.resize(seeds, drawn)
        initial = jax.tree.map(lambda leaf: leaf[chosen], self.inputs.encoded.initial)
        inputs = self.inputs._replace(encoded=self.inputs.encoded._replace(initial=initial))
        budgets = self.problem.budgets.astype(np.float64)
        numbers = sum(leaf[0].size for leaf in jax.tree.leaves(initial)) * self.solver.samples
        most = max(_NUMBERS // numbers, 1)
        size = -(-wanted // -(-wanted // most))  # parts of one size, so that all are one program
        parts = [
            _predict_cells(
                self.solver, self.regularizer, inputs, np.resize(rows[first : first + size], (size, 3)), budgets
            )
            for first in range(0, len(rows), size)
        ]
        loss, lowest, harm, excess, bracket = (np.concatenate(part)[: len(rows)] for part in zip(*parts, strict=True))
        shape = cells.shape[:-1]
        curves = np.moveaxis(loss.reshape(*shape, -1), -1, 0)
        turns = material(harm, excess, criteria or Criteria())
        steps, bracket = np.where(turns, lowest, np.nan), np.where(turns[:, None], bracket, np.nan)
        steps, lowest, harm, excess = (each.reshape(shape) for each in (steps, lowest, harm, excess))
        return Prediction(curves, steps, lowest, harm, excess, bracket.reshape(*shape, 2), self.solver.summary)


def _inputs(problem: Problem, solver: FlowSolver) -> _Inputs:
    floor = rounding_floor(problem.transfer.pretrain.zero_loss, np.dtype(np.float64))
    return _Inputs(
        solver.encode(problem, np.float64),
        (problem.pretrain.as_dtype(np.float64), problem.finetune.as_dtype(np.float64)),
        np.float64(problem.finetune_steps),
        np.float64(floor),
        np.float64(_ROUNDING * problem.transfer.pretrain.zero_loss),
        np.float64(problem.transfer.pretrain.zero_loss or np.nan),
    )


def _train(solver: FlowSolver, state: Any, target: Any, phase: Phase, steps: Any) -> Any:
    """The state after a phase of any number of steps, fractions included."""
    return solver.state(solver.advance(solver.begin(state, phase), target, phase, steps, None))


@partial(jax.jit, static_argnames="solver")
def _pretraining_curvature(solver: FlowSolver, inputs: _Inputs) -> Array:
    """The largest of all seeds."""
    sharpest = jax.vmap(solver.sharpest, in_axes=(0, None, None))
    return jnp.max(sharpest(inputs.encoded.initial, inputs.encoded.pretrain, inputs.phases[0]))


@partial(jax.jit, static_argnames=("solver", "regularizer"))
def _predict_cells(
    solver: FlowSolver, regularizer: Regularizer, inputs: _Inputs, cells: Array, budgets: Array
) -> tuple[Array, ...]:
    """Curves, their lowest budgets, harm, excess and certified brackets of cells (rate, strength, seed)."""
    pretrain, finetune = inputs.phases
    tasks = inputs.encoded.pretrain, inputs.encoded.finetune
    grid = jnp.linspace(jnp.log(budgets[0]), jnp.log(budgets[-1]), solver.samples)
    places = jnp.concatenate([grid, jnp.log(budgets)])

    def checkpoint(initial: Any, log_budget: Any) -> Any:
        return _train(solver, initial, tasks[0], pretrain, jnp.exp(log_budget))

    over_places = jax.vmap(jax.vmap(checkpoint, in_axes=(None, 0)), in_axes=(0, None))
    checkpoints = over_places(inputs.encoded.initial, places)

    def predict_cell(cell: Array) -> tuple[Array, ...]:
        rate, strength, seed = cell
        phase = finetune.at(rate, regularizer, strength)
        initial, starts = jax.tree.map(lambda leaf: leaf[seed.astype(int)], (inputs.encoded.initial, checkpoints))

        def after(state: Any) -> Array:
            end = _train(solver, state, tasks[1], phase, inputs.finetune_steps)
            return jnp.maximum(solver.loss(end, tasks[0]), inputs.floor)

        def loss(log_budget: Array) -> Array:
            return after(checkpoint(initial, log_budget))

        losses = jax.vmap(after)(starts)
        on_grid, curve = losses[: len(grid)], losses[len(grid) :]
        turn = lowest(loss, grid, on_grid, inputs.rounding)
        bracket = jnp.exp(jnp.stack([turn.low, turn.high]))
        least = jnp.minimum(turn.value, jnp.min(curve))
        harm = jnp.where(curve[-1] == least, 0.0, curve[-1] / least - 1)
        excess = (curve[-1] - least) / inputs.scale
        learned = jax.tree.map(lambda leaf: leaf[-1], starts)
        stable = rate * solver.sharpest(learned, tasks[1], phase) <= _STABLE
        outcome = curve, jnp.exp(turn.place), harm, excess, jnp.where(turn.certified, bracket, jnp.nan)
        return tuple(jnp.where(stable, value, jnp.nan) for value in outcome)

    return jax.vmap(predict_cell)(cells)
