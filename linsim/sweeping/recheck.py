"""A sample of a finished sweep, computed again: in float64, and by another solver where one is exact as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from linsim.dynamics.choosing import SOLVERS
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.runs import Checkpoints, Finetuned, Lanes, Trajectories
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.problem import Problem
from linsim.sweeping.axes import Axes

LANES = 64
"""Size of the sample."""

TRUSTED = {"float32": 1e-3, "float64": 1e-7}
"""Largest deviation, relative to the loss of the zero network, that passes without a warning: in float32 the rounding
of 1e4 stable steps; in float64 that too, and what saddles make of it: a mode that starts at 1e-6 grows a million times.
"""

_SMALLEST = 1e-6  # largest value of a measure that is 0 but for rounding, such as the imbalance of balanced layers
_TRAJECTORIES = 4  # that the sample is taken from: each is pre-trained for it
_AFFORDABLE = 3e10  # multiplications for the sample: some seconds


class Recheck(NamedTuple):
    """How a sample compares."""

    lanes: int
    """Its size; 0 where nothing could be held against the sweep."""
    deviation: float
    """Largest, of lanes that diverged in neither: of a loss relative to `Session.scale`, of a measure relative to its
    largest value in the sample."""
    by: str
    """In words: what it was computed with."""
    trusted: bool
    """Whether no deviation is larger than rounding may be, and the same lanes diverged."""
    apart: int = 0
    """Lanes of the sample of which that is not true."""
    worst: str = ""
    """Where on the axes the worst lane is."""


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
    shape = axes.shape(problem)
    rng = np.random.default_rng(0)
    pool = [rng.integers(length, size=_TRAJECTORIES) for length in (shape[dim] for dim in axes.trajectory_dims)]
    count = min(lanes, int(np.prod(shape)))
    trajectory = rng.integers(_TRAJECTORIES, size=count)
    indices = np.stack([rng.integers(length, size=count) for length in shape])
    for dim, positions in zip(axes.trajectory_dims, pool, strict=True):
        indices[dim] = positions[trajectory]
    with jax.enable_x64(True):
        steps = _TRAJECTORIES * int(problem.budgets[-1]) + count * problem.finetune_steps
        other = other_solver(axes.representative(problem), solver, steps)
        if (other is None and precision == "float64") or count == 0:
            return Recheck(0, 0.0, "nothing: no other solver is exact here and quick enough", True)
        by = solver if other is None else other
        session = Session.open(problem, by, np.float64)
        measuring = _known_to(session, measuring)
        checkpoints, again = _finetuned(session, axes, np.stack(pool), trajectory, indices, measuring)
    where = {dim: xr.DataArray(index, dims="lane") for dim, index in zip(axes.dims, indices, strict=True)}
    sample = dataset[["diverged", *(measure.name for measure in measuring.all)]].isel(where)
    diverged = sample["diverged"].values
    kept = ~(again.diverged | diverged)
    at_lanes = {name: values[indices[0], trajectory] for name, values in checkpoints.measured.items()}
    theirs = {**at_lanes, **again.measured, **again.along}
    errors = np.zeros(count)
    for measure in measuring.all:
        ours = sample[measure.name].transpose("lane", ...).values.reshape(count, -1).astype(np.float64)
        again_told = np.asarray(theirs[measure.name], np.float64).reshape(count, -1)
        largest = np.max(np.abs(again_told[kept]), initial=_SMALLEST)
        with np.errstate(invalid="ignore"):  # infinite in both: not among those kept
            apart = np.abs(ours - again_told).max(axis=1, initial=0.0)
            errors = np.maximum(errors, apart / (largest if measure in measuring.own else session.scale))
    errors = np.where(kept, np.nan_to_num(errors, nan=np.inf), 0.0)
    apart = (errors > TRUSTED[precision]) | (again.diverged != diverged)
    worst = int(np.argmax(np.where(again.diverged != diverged, np.inf, errors)))
    place = axes.place(problem, range(len(axes.dims)), indices[:, worst].tolist())
    return Recheck(count, float(errors.max()), f"{by.name} in float64", not apart.any(), int(apart.sum()), place)


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
    exact = [each for each in others if each.cost(problem) * steps <= _AFFORDABLE and each.refusal(problem) is None]
    return min(exact, key=lambda each: each.cost(problem), default=None)


def _same_products(one: Solver, other: Solver, problem: Problem) -> bool:
    """Whether both step as one, as `gram` and `dense` do on narrow layers: that is no second opinion."""
    return type(one).advance is type(other).advance and one.cost(problem) == other.cost(problem)


def _finetuned(
    session: Session,
    axes: Axes,
    pool: np.ndarray,
    trajectory: np.ndarray,
    indices: np.ndarray,
    measuring: Measuring,
) -> tuple[Checkpoints, Finetuned]:
    """Lanes of a few trajectories, given by their positions on the axes."""
    trajectories, lanes = runs(session, axes, pool, trajectory, indices)
    checkpoints = session.pretrain(None, trajectories, measuring)
    return jax.tree.map(np.asarray, (checkpoints, session.finetune(checkpoints, lanes, measuring)))


def runs(
    session: Session, axes: Axes, pool: np.ndarray, trajectory: np.ndarray, indices: np.ndarray
) -> tuple[Trajectories, Lanes]:
    """Trajectories and lanes, by positions on the axes; `trajectory` is the position of a lane's own in the pool."""
    swept: dict[bool, dict[str, jax.Array]] = {True: {}, False: {}}
    along = dict(zip(axes.trajectory_dims, pool, strict=True))
    for number, field, values in axes.fields():
        positions = along[number] if field.pretraining else indices[number]
        swept[field.pretraining][field.name] = jnp.asarray(values[positions], session.dtype)
    seeds = jnp.asarray(along[axes.trajectory_dims[-1]], jnp.int32)
    lanes = Lanes(jnp.asarray(indices[0], jnp.int32), jnp.asarray(trajectory, jnp.int32), swept[False])
    return Trajectories(seeds, swept[True]), lanes
