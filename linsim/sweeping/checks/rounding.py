"""A few lanes of a sweep twice, from weights that differ in their last places: where the answer is rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from linsim.dynamics.choosing import FLOWS
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.rounding import TRUSTED, moved
from linsim.dynamics.measuring import USUAL
from linsim.dynamics.runs import Checkpoints
from linsim.dynamics.seen import PRETRAIN_LOSS_BEFORE
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import Session, scale_of
from linsim.measure import Measure
from linsim.problem import Problem
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.plain_descent import BY, is_quick, plain_losses
from linsim.sweeping.checks.sample import AFFORDABLE, TRAJECTORIES, Sample, steps

_POINTS = 40  # along each phase
_ALONG = tuple(
    Measure(f"{task}_loss_along", at="along", of=of)
    for task, of in (("pretrain", lambda seen: seen.pretrain_loss), ("finetune", lambda seen: seen.finetune_loss))
)


class Rounding(NamedTuple):
    """What the last places of the initial weights decide."""

    lanes: int
    """How many were run twice, that did not diverge; 0 where no solver takes the moved weights."""
    deviation: float
    """Largest change of a loss, along pre-training and fine-tuning, relative to `Session.scale`."""
    by: str
    """In words: what they were computed with."""
    trusted: bool
    """Whether that is at most `linsim.dynamics.matrices.rounding.TRUSTED`."""
    worst: str = ""
    """Where on the axes the lane is that changes most."""


def rounding(dataset: xr.Dataset, problem: Problem, axes: Axes, solver: Solver, lanes: int) -> Rounding:
    """Run lanes twice in float64, by full matrices where that is quick: a chain of modes cannot leave its mode.

    In NumPy where that takes a second at most, else by a solver.

    Args:
      dataset: the finished sweep, whose lanes that diverged or are unstable say nothing here.
      problem: what it is of.
      axes: its axes.
      solver: what it was computed with.
      lanes: how many, half of them from the last budget.
    """
    shape = axes.shape(problem)
    other = replace(problem, initial=moved(problem.initial))
    by, count = _affordable(axes.representative(other), solver, min(lanes, int(np.prod(shape))))
    if by is None or count == 0:
        return Rounding(0, 0.0, "nothing: no solver that takes moved weights is quick enough", True)
    sample = _drawn(problem, axes, count)
    plain = solver.stepping and is_quick(axes.representative(other), 2 * TRAJECTORIES, 2 * count)
    aside = [sample.taken(dataset[[name]])[name].values for name in ("diverged", "unstable") if name in dataset]
    scale = scale_of(problem, np.float64)
    with jax.enable_x64(True):
        if plain:
            once, again = (_in_numpy(each, sample, scale) for each in (problem, other))
        else:
            once, again = (_by_solver(Session.open(each, by, np.float64), sample) for each in (problem, other))
    kept = ~np.any(np.stack([*aside, once[0], again[0]]), axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        changes = np.max(np.abs(once[1] - again[1]), axis=1)
    changes = np.where(kept, changes / scale, 0.0)
    worst = int(np.argmax(changes))
    deviation = float(changes[worst])
    told = BY if plain else f"{by.name} in float64"
    return Rounding(int(kept.sum()), deviation, told, deviation <= TRUSTED, sample.place(worst))


def _drawn(problem: Problem, axes: Axes, count: int) -> Sample:
    """The first lane is the last of every axis: the largest rate, for the longest time."""
    shape = axes.shape(problem)
    rng = np.random.default_rng(1)
    pool = np.stack([np.linspace(shape[dim] - 1, 0, TRAJECTORIES).round().astype(int) for dim in axes.trajectory_dims])
    indices = np.stack([rng.integers(length, size=count) for length in shape])
    indices[:, :1] = np.asarray(shape)[:, None] - 1
    indices[0, ::2] = shape[0] - 1
    return Sample.of(problem, axes, pool, np.arange(count) % TRAJECTORIES, indices)


def _looks(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Budgets and points of fine-tuning at which losses are compared: between the sweep's own, too."""
    between = _between(int(problem.budgets[-1]), problem.budgets)
    return np.union1d(problem.budgets, between), _between(problem.finetune_steps, ())


def _in_numpy(problem: Problem, sample: Sample, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_by_solver`."""
    budgets, points = _looks(problem)
    looks = np.union1d(points, problem.finetune_steps)
    found = plain_losses(problem, sample, budgets.tolist(), looks.tolist())
    before = _until_branched(found.before, budgets, problem, sample)
    return found.diverged(scale), np.concatenate([before, found.pretrain, found.finetune], axis=1)


def _by_solver(session: Session, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Which lanes diverged, and all losses on their way, along a second axis."""
    problem = session.problem
    budgets, points = _looks(problem)
    trajectories, lanes = sample.runs(session)
    on_the_way = replace(session, problem=replace(problem, budgets=budgets)).pretrain(None, trajectories, USUAL)
    at = np.searchsorted(budgets, problem.budgets)
    states, measured = jax.tree.map(lambda leaf: np.asarray(leaf)[at], (on_the_way.states, on_the_way.measured))
    measuring = replace(USUAL, along=_ALONG, points=tuple(points.tolist()))
    tuned = session.finetune(Checkpoints(states, measured, on_the_way.seed), lanes, measuring)
    before = _until_branched(np.asarray(on_the_way.measured[PRETRAIN_LOSS_BEFORE.name]), budgets, problem, sample)
    along = [np.asarray(tuned.along[measure.name]) for measure in _ALONG]
    ends = np.stack([np.asarray(tuned.pretrain_loss), np.asarray(tuned.finetune_loss)], axis=1)
    return np.asarray(tuned.diverged), np.concatenate([before, *along, ends], axis=1)


def _until_branched(losses: np.ndarray, budgets: np.ndarray, problem: Problem, sample: Sample) -> np.ndarray:
    """Losses along pre-training, lanes first; 0 beyond the budget that a lane branches from, which is none of its."""
    own = problem.budgets[sample.indices[0]]
    return np.asarray(np.where(budgets[None, :] <= own[:, None], losses[:, sample.trajectory].T, 0.0))


def _between(last: int, other_than: Sequence[int] | np.ndarray) -> np.ndarray:
    """Steps before the last, over three decades: denser than a saddle is left, as many whatever the last is."""
    steps = np.setdiff1d(np.geomspace(max(1, last // 1000), max(1, last), 20 * _POINTS).round().astype(int), other_than)
    steps = steps[steps <= last] if last else np.zeros(1, int)
    return steps[np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).round().astype(int)]


def _affordable(problem: Problem, solver: Solver, lanes: int) -> tuple[Solver | None, int]:
    """The most general solver of the same dynamics that takes the problem and is quick enough; for how many lanes."""
    alike = [Dense()] if solver.stepping else FLOWS
    able = [each for each in (solver, *alike) if each.refusal(problem) is None]
    able.sort(key=lambda each: each.cost(problem))
    for count in (lanes, min(lanes, TRAJECTORIES)):
        quick = [each for each in able if not each.stepping or each.cost(problem) * steps(problem, count) <= AFFORDABLE]
        if quick:
            return quick[-1], count
    return None, 0
