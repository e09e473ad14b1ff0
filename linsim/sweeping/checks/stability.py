"""Which lanes descend beyond the edge of stability: rate x top curvature above 2 somewhere on their way.

There a step overshoots by more than it corrects. What follows is chaos on the scale of the curvature: solvers that
agree to rounding elsewhere end anywhere, and the loss says nothing about pre-training. Heavy-ball momentum m moves the
edge to 2 (1 + m), Nesterov's form of it to 2 (1 + m) / (1 + 2 m). The curvature is that of the objective, penalties
included, over the weights that move.

Other optimisers have an edge of their own, or none: nothing is told of them. Nor of minibatches: there a product of
random matrices decides, which may grow where their mean is stable. Pre-training that was unstable leaves checkpoints
that say nothing, so all lanes from there on are unstable too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from linsim.dynamics.seen import PRETRAIN_LOSS_BEFORE
from linsim.dynamics.solver import Solver
from linsim.problem import Problem
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.again import Again
from linsim.sweeping.checks.bound import Reach, Start
from linsim.sweeping.checks.edge import Edge, started
from linsim.sweeping.checks.sharpness import tells


class Stability(NamedTuple):
    """What is known of the edge of stability."""

    unstable: Bool[np.ndarray, "..."]
    """Over all axes; False where nothing is told."""
    words: str
    """Whether it is told, and why not of a phase or of some lanes."""


def stability(problem: Problem, axes: Axes, solver: Solver, dataset: xr.Dataset) -> Stability:
    """Which lanes of a finished sweep are unstable.

    Lanes are acquitted by `linsim.sweeping.checks.bound` from what the sweep has told. The others run again, and their
    curvature is looked at before the first step, at the last and at 15 between: an excursion between two is missed.
    A lane that diverged is unstable, as no loss rises below the edge.

    Args:
      problem: what the sweep is of.
      axes: its axes.
      solver: what it was computed with.
      dataset: the sweep, of which `diverged` and `pretrain_loss_before` are read.
    """
    shape = axes.shape(problem)
    if not solver.stepping:
        return Stability(np.zeros(shape, bool), "told: a flow takes no steps, so that none is too large")
    unknown = None if tells(solver) else f"the solver {solver.name}"
    before = Edge.of(problem, axes, pretraining=True, untold=unknown)
    after = Edge.of(problem, axes, pretraining=False, untold=unknown)
    diverged, loss = (_over(dataset, axes, name) for name in ("diverged", PRETRAIN_LOSS_BEFORE.name))
    begun = started(tuple(np.asarray(weight, np.float64) for weight in problem.initial), before.task)
    reached = before.reach(Start(*(each.reshape(*[1] * (len(shape) - 1), -1) for each in begun)))
    tuned = after.reach(_at_checkpoint(problem, reached, loss))
    found, asked = np.zeros(shape, bool), np.zeros(shape, bool)
    suspect = np.zeros([shape[dim] if dim in axes.trajectory_dims else 1 for dim in range(len(shape))], bool)
    if before.untold is None:
        suspect |= ~reached.acquitted
    if after.untold is None and after.steps > 0:
        found |= diverged & np.isfinite(loss)
        asked |= ~tuned.acquitted & ~diverged
    told = tuple(dim for dim in range(len(shape)) if dim not in axes.trajectory_dims)
    pool = np.stack(np.nonzero((suspect | asked.any(axis=told, keepdims=True)).squeeze(told)))
    left = 0
    if pool.size:
        left = Again(problem, axes, solver, before, after, bool(suspect.any())).judge(found, asked, pool)
    return Stability(found, _words(before.untold, after.untold, left, found.size))


def _over(dataset: xr.Dataset, axes: Axes, name: str) -> np.ndarray:
    """A variable over all axes, of length 1 along those that it does not have."""
    told = dataset[name]
    missing = [dim for dim in axes.dims if dim not in told.dims]
    return np.asarray(told.expand_dims(missing).transpose(*axes.dims).values)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def _at_checkpoint(problem: Problem, reached: Reach, loss: Float[np.ndarray, "..."]) -> Start:
    """Where fine-tuning begins at most: from the pre-training loss there, and from what pre-training cannot exceed."""
    first, second = problem.transfer.pretrain, problem.transfer.finetune
    least = max(float(np.linalg.eigvalsh(first.input_covariance)[0]), 0.0)
    apart = first.target - second.target
    distance = np.sqrt(np.sum(apart * (apart @ second.input_covariance)))
    off = np.sqrt(loss.astype(np.float64) / least)  # ||P_0 - A||
    if first.objective is not None:  # of which the loss tells no distance
        off = np.full_like(off, np.inf)
    top = float(np.linalg.norm(first.target, 2))
    product = np.fmin(top + off, reached.product)
    farther = (distance + np.sqrt(np.linalg.norm(second.input_covariance, 2)) * off) ** 2
    layer, imbalance = reached.layer, reached.imbalance
    if problem.idealised:
        layer, imbalance = np.full_like(layer, top ** (1 / problem.depth)), np.zeros_like(imbalance)
    elif problem.pretrain.averaging is not None:
        imbalance = np.full_like(imbalance, np.inf)
    return Start(product, farther, np.fmin(imbalance, layer**2), layer)


def _words(before: str | None, after: str | None, left: int, lanes: int) -> str:
    if before is not None and before == after:
        return f"not told: {before}"
    pairs = (("pre-training", before), ("fine-tuning", after))
    reasons = [f"of {phase}: {reason}" for phase, reason in pairs if reason is not None]
    if left:
        reasons.append(f"of {left} of {lanes} lanes: to run them again would take too long")
    return f"told, but not {'; nor '.join(reasons)}" if reasons else "told"
