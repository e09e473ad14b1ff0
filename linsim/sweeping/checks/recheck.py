"""A sample of a finished sweep in float64 again: in NumPy where that is quick, else by another solver that is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from linsim.dynamics.choosing import SOLVERS
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.seen import FINETUNE_LOSS_AFTER, FORGETTING, PRETRAIN_LOSS_AFTER, PRETRAIN_LOSS_BEFORE
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import Session, scale_of
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.problem import Problem
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.plain_descent import BY, is_quick, plain_losses
from linsim.sweeping.checks.sample import AFFORDABLE, TRAJECTORIES, Sample, steps

LANES = 64
"""Size of the sample."""

TRUSTED = {"float32": 1e-3, "float64": 1e-7}
"""Largest deviation, relative to the loss of the zero network, that passes without a warning: in float32 the rounding
of 1e4 stable steps; in float64 that too, and what saddles make of it: a mode that starts at 1e-6 grows a million times.
"""

_SMALLEST = 1e-6  # largest value of a measure that is 0 but for rounding, such as the imbalance of balanced layers


class Recheck(NamedTuple):
    """How a sample compares."""

    lanes: int
    """Its size; 0 where nothing could be held against the sweep."""
    deviation: float
    """Largest, of stable lanes that diverged in neither: of a loss relative to `Session.scale`, of a measure relative
    to its largest value in the sample."""
    by: str
    """In words: what it was computed with."""
    trusted: bool
    """Whether no deviation is larger than rounding may be, and the same lanes diverged, of those that are stable."""
    apart: int = 0
    """Lanes of the sample of which that is not true."""
    worst: str = ""
    """Where on the axes the worst lane is."""
    unstable: int = 0
    """Lanes of the sample beyond the edge of stability, on which no two solvers need agree."""


def recheck(
    dataset: xr.Dataset,
    problem: Problem,
    axes: Axes,
    measuring: Measuring,
    solver: Solver,
    precision: str,
    lanes: int,
) -> Recheck:
    """Compute a random sample of lanes again.

    Args:
      dataset: the finished sweep.
      problem: what it is of.
      axes: its axes.
      measuring: what it measures; measures are compared in units of their own largest value in the sample.
      solver: what it was computed with.
      precision: likewise.
      lanes: size of the sample.
    """
    sample = _drawn(problem, axes, lanes)
    count = len(sample.trajectory)
    with jax.enable_x64(True):
        other = other_solver(axes.representative(problem), solver, steps(problem, count))
        plain = solver.stepping and not measuring.own and is_quick(axes.representative(problem), TRAJECTORIES, count)
        if count == 0 or not (plain or other is not None or precision == "float32"):
            return Recheck(0, 0.0, "nothing: no other solver is exact here and quick enough", True)
        scale, by = scale_of(problem, np.float64), solver if other is None else other
        if plain:
            theirs, theirs_diverged = _in_numpy(problem, sample, scale)
        else:
            session = Session.open(problem, by, np.float64)
            measuring = _known_to(session, measuring)
            theirs, theirs_diverged = _by_solver(session, sample, measuring)
    ours_told = sample.taken(dataset[["diverged", *(measure.name for measure in measuring.all)]])
    diverged = ours_told["diverged"].values
    stable = ~sample.taken(dataset[["unstable"]])["unstable"].values
    kept = stable & ~(theirs_diverged | diverged)
    errors, finite = np.zeros(count), np.ones(count, bool)
    for measure in measuring.all:
        ours = ours_told[measure.name].transpose("lane", ...).values.reshape(count, -1).astype(np.float64)
        finite &= np.isfinite(ours).all(axis=1) | (measure in measuring.own)
        again_told = np.asarray(theirs[measure.name], np.float64).reshape(count, -1)
        largest = np.max(np.abs(again_told[kept]), initial=_SMALLEST)
        with np.errstate(invalid="ignore"):  # infinite in both: not among those kept
            apart = np.abs(ours - again_told).max(axis=1, initial=0.0)
            errors = np.maximum(errors, apart / (largest if measure in measuring.own else scale))
    errors = np.where(kept, np.nan_to_num(errors, nan=np.inf), 0.0)
    otherwise = (stable & (theirs_diverged != diverged)) | ~(finite | diverged)  # a flag is missed wherever it is
    apart = (errors > TRUSTED[precision]) | otherwise
    worst = int(np.argmax(np.where(otherwise, np.inf, errors)))
    told = BY if plain else f"{by.name} in float64"
    found = float(errors.max()), told, not apart.any(), int(apart.sum()), sample.place(worst)
    return Recheck(count, *found, int(np.sum(~stable)))


def _in_numpy(problem: Problem, sample: Sample, scale: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The losses of lanes, and which diverged."""
    found = plain_losses(problem, sample, problem.budgets.tolist(), [problem.finetune_steps])
    before, after = found.before[sample.indices[0], sample.trajectory], found.pretrain[:, -1]
    losses = {PRETRAIN_LOSS_BEFORE.name: before, PRETRAIN_LOSS_AFTER.name: after}
    losses |= {FINETUNE_LOSS_AFTER.name: found.finetune[:, -1], FORGETTING.name: after - before}
    return losses, found.diverged(scale)


def _by_solver(session: Session, sample: Sample, measuring: Measuring) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All that is measured of lanes, and which diverged."""
    trajectories, lanes = sample.runs(session)
    checkpoints = session.pretrain(None, trajectories, measuring)
    tuned = session.finetune(checkpoints, lanes, measuring)
    checkpoints, tuned = jax.tree.map(np.asarray, (checkpoints, tuned))
    at_lanes = {name: values[sample.indices[0], sample.trajectory] for name, values in checkpoints.measured.items()}
    return {**at_lanes, **tuned.measured, **tuned.along}, np.asarray(tuned.diverged)


def _drawn(problem: Problem, axes: Axes, lanes: int) -> Sample:
    """Lanes at random, of trajectories at random."""
    shape = axes.shape(problem)
    rng = np.random.default_rng(0)
    pool = np.stack([rng.integers(shape[dim], size=TRAJECTORIES) for dim in axes.trajectory_dims])
    count = min(lanes, int(np.prod(shape)))
    trajectory = rng.integers(TRAJECTORIES, size=count)
    return Sample.of(problem, axes, pool, trajectory, np.stack([rng.integers(length, size=count) for length in shape]))


def _known_to(session: Session, measuring: Measuring) -> Measuring:
    """Without the measures that ask for what the solver cannot give."""

    def known(measures: Sequence[Measure]) -> tuple[Measure, ...]:
        return tuple(measure for measure in measures if _gives(session, measure))

    along = known(measuring.along)
    return Measuring(known(measuring.checkpoint), known(measuring.tuned), along, measuring.points if along else ())


def _gives(session: Session, measure: Measure) -> bool:
    try:
        session.shapes(Measuring((measure,), (), ()))
    except InvalidInput:
        return False
    return True


def other_solver(problem: Problem, solver: Solver, steps: int) -> Solver | None:
    """The cheapest other solver that is exact for the same descent, unless the sample would take it too long."""
    others = [
        each for each in SOLVERS if each.stepping and solver.stepping and not _same_products(each, solver, problem)
    ]
    exact = [each for each in others if each.cost(problem) * steps <= AFFORDABLE and each.refusal(problem) is None]
    return min(exact, key=lambda each: each.cost(problem), default=None)


def _same_products(one: Solver, other: Solver, problem: Problem) -> bool:
    """Whether both step as one, as `gram` and `dense` do on narrow layers: that is no second opinion."""
    return type(one).advance is type(other).advance and one.cost(problem) == other.cost(problem)
