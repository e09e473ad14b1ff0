"""The inflection point in closed form: the solver `flow` over continuous budgets, and certified turning points.

With t = eta_pre * budget and T = eta * K the loss after fine-tuning is L(t) = L_pre(F_T(W(t))), where both flows have
closed forms: for aligned problems mode by mode, at any balance, input spectrum and depth; for two lambda-balanced
layers on whitened tasks with any singular vectors, through the matrix solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linsim.dynamics.choosing import flow_of
from linsim.errors import brief_fields, numbers, require_axis, require_choice, require_kind
from linsim.phase import REGULARIZERS, Regularizer
from linsim.precision import in_float64
from linsim.problem import Problem
from linsim.theory.curve import Curve
from linsim.theory.turning import lowest
from linsim.theory.turns import Criteria, material

_STABLE = 2.0  # learning rate x curvature beyond which gradient descent oscillates instead of following the flow
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

    Raises:
      InvalidInput: what is no problem, axes that do not increase, criteria outside their domains.

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
    require_kind("problem", problem, Problem)
    require_choice("regularizer", regularizer, REGULARIZERS)
    learning_rates, strengths = (
        numbers("learning_rates", learning_rates, 1, above=0),
        numbers("strengths", strengths, 1),
    )
    require_axis("learning_rates", learning_rates.tolist(), above=0)
    require_axis("strengths", strengths.tolist(), at_least=0)
    criteria = Criteria() if criteria is None else require_kind("criteria", criteria, Criteria)
    criteria.validate()
    predictor = Predictor.open(problem, float(learning_rates[-1]), regularizer, float(strengths[-1]))
    if isinstance(predictor, Unpredictable):
        return predictor
    return predictor.predict(learning_rates, strengths, np.arange(problem.seeds), criteria=criteria)


@dataclass(frozen=True, eq=False)
class Predictor:
    """The closed form of a problem, ready for any part of its chart."""

    problem: Problem
    curve: Curve

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
        curve = Curve.of(problem, solver, regularizer)
        step = problem.pretrain.learning_rate * curve.pretraining_curvature
        if not step <= _STABLE:
            reason = f"pre-training is unstable, with learning rate x curvature = {step:.1f} above {_STABLE:g}"
            return Unpredictable(reason)
        return cls(problem, curve)

    @in_float64
    def predict(
        self,
        learning_rates: Float[np.ndarray, " rates"],
        strengths: Float[np.ndarray, " strengths"],
        seeds: Int[np.ndarray, " seeds"],
        *,
        criteria: Criteria | None = None,
    ) -> Prediction:
        """The closed form on a grid of cells (see `predict`).

        Args:
          learning_rates: fine-tuning rates.
          strengths: of the regulariser.
          seeds: which of the problem's initial weights.
          criteria: what is material.
        """
        budgets = self.problem.budgets.astype(np.float64)
        grid = np.linspace(np.log(budgets[0]), np.log(budgets[-1]), self.curve.solver.samples)
        places, zero_loss = np.concatenate([grid, np.log(budgets)]), self.problem.transfer.pretrain.zero_loss
        each = (self.curve.on_grid(places, learning_rates, strengths, int(seed)) for seed in seeds)
        grids, curvatures = zip(*each, strict=True)
        losses, sharpest = np.stack(grids, axis=2), np.stack(curvatures, axis=1)
        stable = learning_rates[:, None, None] * sharpest <= _STABLE
        at = np.nonzero(stable)
        on_grid, curves = losses[at][:, : len(grid)], losses[at][:, len(grid) :]
        cells = learning_rates[at[0]], strengths[at[1]], seeds[at[2]]

        def loss(log_budgets: np.ndarray, which: np.ndarray) -> np.ndarray:
            return self.curve.at(log_budgets, *(values[which] for values in cells))

        turn = lowest(loss, grid, on_grid, _ROUNDING * zero_loss)
        least, last = np.minimum(turn.value, curves.min(axis=1)), curves[:, -1]
        harm = np.where(last == least, 0.0, last / least - 1)
        excess = (last - least) / (zero_loss or np.nan)
        turns = material(harm, excess, criteria or Criteria())
        bracket = np.exp(np.stack([turn.low, turn.high], axis=1))
        bracket = np.where((turns & turn.certified)[:, None], bracket, np.nan)
        lowest_budget = np.exp(turn.place)

        def told(values: np.ndarray) -> np.ndarray:
            whole = np.full((*stable.shape, *values.shape[1:]), np.nan)
            whole[at] = values
            return whole

        steps = np.where(turns, lowest_budget, np.nan)
        curves, steps, lowest_budget, harm, excess, bracket = (
            told(values) for values in (curves, steps, lowest_budget, harm, excess, bracket)
        )
        method = self.curve.solver.summary
        return Prediction(np.moveaxis(curves, -1, 0), steps, lowest_budget, harm, excess, bracket, method)
