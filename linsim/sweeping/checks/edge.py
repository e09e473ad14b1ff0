"""The edge of stability of a phase: where it is for every lane, who is far from it, and who beyond."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim.phase import REGULARIZERS, Phase
from linsim.problem import Problem, multiplied
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.bound import OfLanes, Reach, Rule, Start, reach
from linsim.sweeping.results import describe
from linsim.tasks import LinearTask

DIVERGED = 1e6
"""A weight as large has: no product, or square of one, of smaller ones overflows."""

Positions = Int[np.ndarray, "dims lanes"]
"""Of some lanes, on all axes."""


@dataclass(frozen=True, eq=False)
class Edge:
    """A phase of a sweep."""

    phase: Phase
    task: LinearTask
    steps: int
    widths: tuple[int, ...]
    untold: str | None
    """Why nothing is told of it."""
    rank: int
    """Of the sweep."""
    swept: dict[str, tuple[int, Float[np.ndarray, " values"]]]
    """Name of a number -> number of its axis, and its values there."""
    factors: Float[np.ndarray, " steps"]
    """That a schedule puts on the rate; one alone where there is none."""

    @classmethod
    def of(cls, problem: Problem, axes: Axes, *, pretraining: bool, untold: str | None) -> Edge:
        """Of either phase; nothing is told for the reason given, or for one of the phase's own."""
        transfer, rank = problem.transfer, len(axes.dims)
        phase, task = (problem.finetune, transfer.finetune)
        steps = problem.finetune_steps
        if pretraining:
            phase, task, steps = problem.pretrain, transfer.pretrain, int(problem.budgets[-1])
        swept = {
            field.name: (number, values) for number, field, values in axes.fields() if field.pretraining == pretraining
        }
        factors = factors_of(phase, max(steps, 1)) if phase.schedule is not None else np.ones(1)
        return cls(phase, task, steps, problem.widths, untold or _untold(phase), rank, swept, factors)

    def number(self, name: str, at: Positions | None = None) -> OfLanes:
        """Of the lanes there, or of all along its own axis; 0 where the phase has none."""
        if name not in self.swept:
            own = getattr(self.phase, name)
            return np.asarray(0.0 if own is None else own, np.float64)
        number, values = self.swept[name]
        if at is not None:
            return values[at[number]]
        return values.reshape(-1, *[1] * (self.rank - number - 1))

    def limit(self, at: Positions | None = None) -> OfLanes:
        """Of rate x curvature: 2 (1 + m), with Nesterov's form of the momentum 2 (1 + m) / (1 + 2 m).

        The roots of a step on (h/2) w^2 are within the circle below it: those of z^2 - (1 + m - a) z + m with a = rate
        x h, and those of z^2 - (1 + m) (1 - a) z + m (1 - a).
        """
        momentum = self.number("momentum", at)
        return 2 * (1 + momentum) / (1 + 2 * momentum * self.phase.nesterov)

    def curvature(self, step: int, at: Positions) -> Float[np.ndarray, " lanes"]:
        """The largest that is stable in the step that follows so many."""
        factor = self.factors[min(step, len(self.factors) - 1)]
        with np.errstate(divide="ignore"):
            return np.broadcast_to(self.limit(at) / np.abs(self.number("learning_rate", at) * factor), at.shape[1:])

    def reach(self, start: Start, at: Positions | None = None) -> Reach:
        """The bound; it is of descent of all weights on squared error and penalties, and acquits no other."""
        phase, momentum = self.phase, self.number("momentum", at)
        rate = self.number("learning_rate", at) * float(np.max(self.factors))
        product, weight, decay = (self.number(name, at) for name in REGULARIZERS)
        found = reach(start, Rule(rate, product, weight, decay, momentum, self.steps), self.task, self.widths)
        known = self.untold is None and phase.moves is None and not phase.terms and bool(np.all(self.factors >= 0))
        known &= self.task.objective is None
        if known and not (phase.nesterov and bool(np.any(momentum > 0))):
            return found
        return Reach(np.zeros_like(found.acquitted), *(np.full_like(each, np.inf) for each in found[1:]))


def factors_of(phase: Phase, steps: int) -> Float[np.ndarray, " steps"]:
    """What the schedule makes of the learning rate in each of so many steps; 1 without one."""
    if phase.schedule is None:
        return np.ones(steps)
    return np.asarray(jax.vmap(phase.schedule)(np.arange(steps)), np.float64)


def _untold(phase: Phase) -> str | None:
    """What is not plain descent."""
    if phase.optimizer is not None:
        return str(describe(phase)["optimizer"])
    if phase.batch_size is not None:
        return "minibatches"
    if phase.gradient_at is not None:
        return f"a gradient that is taken elsewhere ({type(phase.gradient_at).__name__})"
    return None


def started(weights: tuple[np.ndarray, ...], task: LinearTask) -> Start:
    """What the bound begins with, from weights with any leading axes; infinite where weights have diverged."""
    bounded = (np.max(np.abs(weight), axis=(-2, -1)) < DIVERGED for weight in weights)  # not so for NaN
    lost = ~np.all(list(bounded), axis=0)
    weights = tuple(np.where(lost[..., None, None], 0, weight) for weight in weights)
    product = multiplied(weights)
    layer = np.max([np.linalg.norm(weight, 2, axis=(-2, -1)) for weight in weights], axis=0)
    off = [_imbalance(inner, outer) for inner, outer in itertools.pairwise(weights)]
    imbalance = np.max(off, axis=0) if off else np.zeros_like(layer)
    found = np.linalg.norm(product, 2, axis=(-2, -1)), task.loss_of(product), imbalance, layer
    return Start(*(np.where(lost, np.inf, each) for each in found))


def _imbalance(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """||W_2^T W_2 - W_1 W_1^T||_F, without a matrix as large as the hidden layer where that is wide."""

    def square(weight: np.ndarray) -> np.ndarray:
        turned = np.swapaxes(weight, -2, -1)
        gram = weight @ turned if weight.shape[-2] <= weight.shape[-1] else turned @ weight
        return np.asarray(np.sum(gram**2, axis=(-2, -1)))

    crossed = np.sum((outer @ inner) ** 2, axis=(-2, -1))
    return np.asarray(np.sqrt(np.maximum(square(outer) + square(inner) - 2 * crossed, 0)))
