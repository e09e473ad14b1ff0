"""Plain descent of full matrices in NumPy: it shares nothing with the solvers that it judges, and compiles nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linsim.dynamics.handling import TASK, Handles
from linsim.dynamics.training import DIVERGED
from linsim.losses import TaskLoss
from linsim.phase import Phase
from linsim.problem import Problem, multiplied
from linsim.sweeping.checks.edge import factors_of
from linsim.sweeping.checks.sample import Sample
from linsim.tasks import LinearTask

_HANDLES = Handles(
    phase=(
        *("learning_rate", "product_penalty", "weight_penalty", "weight_decay"),
        *("momentum", "nesterov", "schedule"),
    ),
    task=(*TASK, "objective"),
    problem=("transfer", "initial", "pretrain", "finetune", "budgets", "finetune_steps", "seed"),
)
BY = "full matrices in NumPy"
"""What computes here, in words."""

_QUICK = 1.0  # seconds; what would take longer is for a solver that is compiled
_CALL, _MATRIX, _PRODUCT = 2e-6, 5e-7, 3e-10  # seconds of an operation, of each matrix in it, of each multiplication

Weights = tuple[Float[np.ndarray, "runs _ _"], ...]


class Losses(NamedTuple):
    """Of some lanes of a sweep and the trajectories that they branch from."""

    before: Float[np.ndarray, "budgets trajectories"]
    """Pre-training loss at every budget."""
    pretrain: Float[np.ndarray, "lanes points"]
    """Pre-training loss along fine-tuning."""
    finetune: Float[np.ndarray, "lanes points"]
    """Fine-tuning loss there."""

    def diverged(self, scale: float) -> Bool[np.ndarray, " lanes"]:
        """Which lanes have, at the last point: as `linsim.dynamics.programs.ended` says."""
        worst = np.maximum(self.pretrain[:, -1], self.finetune[:, -1])
        return ~(np.isfinite(worst) & (worst <= DIVERGED * scale))


def is_quick(problem: Problem, trajectories: int, lanes: int) -> bool:
    """Whether it is plain descent, and takes about a second at most."""
    if _HANDLES.refusal(problem) is not None:
        return False
    widths = problem.widths
    products = max(a * b * c for a, b, c in zip(widths, (*widths[1:], 1), (*widths[2:], 1, 1), strict=True))
    products = max(products, widths[0] ** 2 * widths[-1])
    operations = 5 * problem.depth
    runs = ((int(problem.budgets[-1]), trajectories), (problem.finetune_steps, lanes))
    return sum(s * operations * (_CALL + r * (_MATRIX + products * _PRODUCT)) for s, r in runs) <= _QUICK


@np.errstate(over="ignore", invalid="ignore")
def plain_losses(problem: Problem, sample: Sample, budgets: Sequence[int], points: Sequence[int]) -> Losses:
    """Both phases once more, for a sample.

    Args:
      problem: one for which it `is_quick`.
      sample: which trajectories and lanes.
      budgets: increasing, the problem's own and any others up to the last of them.
      points: steps of fine-tuning, increasing.
    """
    first, second = problem.transfer.pretrain, problem.transfer.finetune
    seeds, own = sample.pool[-1], set(problem.budgets.tolist())
    before, checkpoints = [], []
    start = tuple(np.asarray(layer, np.float64)[seeds] for layer in problem.initial)
    for step, weights in _descent(start, first, problem.pretrain, _numbers(problem, sample, True), budgets):
        before.append(first.loss_of(multiplied(weights)))
        if step in own:
            checkpoints.append(weights)
    at = sample.indices[0], sample.trajectory
    branched = tuple(np.stack(layer)[at] for layer in zip(*checkpoints, strict=True))
    tuned = _descent(branched, second, problem.finetune, _numbers(problem, sample, False), points)
    products = (multiplied(weights) for _, weights in tuned)
    along = [(first.loss_of(product), second.loss_of(product)) for product in products]
    return Losses(np.stack(before), *(np.stack(losses, axis=1) for losses in zip(*along, strict=True)))


def _numbers(problem: Problem, sample: Sample, pretraining: bool) -> dict[str, Float[np.ndarray, "runs 1 1"]]:
    """Of every run: swept, or the phase's own; 0 where absent."""
    phase = problem.pretrain if pretraining else problem.finetune
    count = sample.pool.shape[1] if pretraining else len(sample.trajectory)
    told = {name: np.full(count, float(getattr(phase, name) or 0.0)) for name in _HANDLES.phase[:5]}
    along = dict(zip(sample.axes.trajectory_dims, sample.pool, strict=True))
    for number, field, values in sample.axes.fields():
        if field.pretraining == pretraining:
            told[field.name] = np.asarray(values, np.float64)[along[number] if pretraining else sample.indices[number]]
    return {name: values[:, None, None] for name, values in told.items()}


def _descent(
    weights: Weights, task: LinearTask, phase: Phase, numbers: dict[str, np.ndarray], looks: Sequence[int]
) -> Iterator[tuple[int, Weights]]:
    """Steps done, and the weights there."""
    objective, momentum = _Objective.of(weights, task, numbers), numbers["momentum"]
    factors, moving = factors_of(phase, int(looks[-1])), bool(np.any(momentum))
    velocity, done = tuple(np.zeros_like(layer) for layer in weights), 0
    for look in map(int, looks):
        for step in range(done, look):
            slopes = moves = objective.gradient(weights)
            if moving:
                velocity = tuple(slope + momentum * speed for slope, speed in zip(slopes, velocity, strict=True))
                moves = velocity
            if moving and phase.nesterov:
                moves = tuple(slope + momentum * speed for slope, speed in zip(slopes, velocity, strict=True))
            rate = numbers["learning_rate"] * factors[step]
            weights = tuple(layer - rate * move for layer, move in zip(weights, moves, strict=True))
        done = look
        yield look, weights


@dataclass(frozen=True)
class _Objective:
    """||P - A||_S^2 + lambda ||P - P_0||^2 + (mu/2) sum ||W_l - W_l^0||^2 + (beta/2) sum ||W_l||^2.

    Prepared for thousands of steps of small matrices: what is 0 in every run, or the identity, is None.
    """

    target: Float[np.ndarray, "d_out d_in"]
    covariance: Float[np.ndarray, "d_in d_in"] | None
    anchor: Weights
    begun: Float[np.ndarray, "runs d_out d_in"]
    product_penalty: Float[np.ndarray, "runs 1 1"] | None
    weight_penalty: Float[np.ndarray, "runs 1 1"] | None
    weight_decay: Float[np.ndarray, "runs 1 1"] | None
    own_loss: TaskLoss | None
    """In place of squared error."""

    @classmethod
    def of(cls, weights: Weights, task: LinearTask, numbers: dict[str, np.ndarray]) -> _Objective:
        """Of a phase that begins at these weights."""
        names = ("product_penalty", "weight_penalty", "weight_decay")
        strengths = {name: numbers[name] if np.any(numbers[name]) else None for name in names}
        covariance = None if task.whitened else task.input_covariance
        return cls(task.target, covariance, weights, multiplied(weights), **strengths, own_loss=task.own_loss)

    def gradient(self, weights: Weights) -> Weights:
        """By the chain rule, a layer at a time."""
        below = list(itertools.accumulate(weights, lambda product, layer: layer @ product))
        pull = 2 * (below[-1] - self.target) if self.own_loss is None else self.own_loss.slope(below[-1])
        if self.covariance is not None and self.own_loss is None:
            pull = pull @ self.covariance
        if self.product_penalty is not None:
            pull = pull + 2 * self.product_penalty * (below[-1] - self.begun)
        slopes = []
        for layer in range(len(weights) - 1, -1, -1):
            slope = pull if layer == 0 else pull @ below[layer - 1].swapaxes(1, 2)
            if self.weight_penalty is not None:
                slope = slope + self.weight_penalty * (weights[layer] - self.anchor[layer])
            if self.weight_decay is not None:
                slope = slope + self.weight_decay * weights[layer]
            slopes.append(slope)
            if layer:
                pull = weights[layer].swapaxes(1, 2) @ pull
        return tuple(reversed(slopes))
