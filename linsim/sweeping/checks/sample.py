"""Lanes of a finished sweep that are run again: where they are on its axes, and the runs that they are."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Int

from linsim.dynamics.runs import Lanes, Trajectories
from linsim.dynamics.training import Session
from linsim.problem import Problem
from linsim.sweeping.axes import Axes

TRAJECTORIES = 4
"""That a sample is taken from: each is pre-trained for it."""
AFFORDABLE = 3e10
"""Multiplications for a sample: some seconds."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Lanes of a few trajectories, by positions on the axes."""

    problem: Problem
    axes: Axes
    pool: Int[np.ndarray, "trajectory_dims trajectories"]
    """Where each trajectory is, on those axes that tell trajectories apart."""
    trajectory: Int[np.ndarray, " lanes"]
    """Position of a lane's own in the pool."""
    indices: Int[np.ndarray, "dims lanes"]
    """Where each lane is, on all axes."""

    @classmethod
    def of(cls, problem: Problem, axes: Axes, pool: np.ndarray, trajectory: np.ndarray, indices: np.ndarray) -> Sample:
        """Lanes with the positions of their trajectories put in."""
        indices = indices.copy()
        for dim, positions in zip(axes.trajectory_dims, pool, strict=True):
            indices[dim] = positions[trajectory]
        return cls(problem, axes, pool, trajectory, indices)

    def taken(self, dataset: xr.Dataset) -> xr.Dataset:
        """These lanes of the sweep, along an axis `lane`."""
        named = zip(self.axes.dims, self.indices, strict=True)
        return dataset.isel({dim: xr.DataArray(index, dims="lane") for dim, index in named if dim in dataset.dims})

    def place(self, lane: int) -> str:
        """Where a lane is, in words."""
        return self.axes.place(self.problem, range(len(self.axes.dims)), self.indices[:, lane].tolist())

    def runs(self, session: Session) -> tuple[Trajectories, Lanes]:
        """What is run for these lanes."""
        swept: dict[bool, dict[str, jax.Array]] = {True: {}, False: {}}
        along = dict(zip(self.axes.trajectory_dims, self.pool, strict=True))
        for number, field, values in self.axes.fields():
            positions = along[number] if field.pretraining else self.indices[number]
            swept[field.pretraining][field.name] = jnp.asarray(values[positions], session.dtype)
        seeds = jnp.asarray(along[self.axes.trajectory_dims[-1]], jnp.int32)
        lanes = jnp.asarray(self.indices[0], jnp.int32), jnp.asarray(self.trajectory, jnp.int32)
        return Trajectories(seeds, swept[True]), Lanes(*lanes, swept[False])


def steps(problem: Problem, lanes: int) -> int:
    """Of training, that a sample of as many lanes takes."""
    return TRAJECTORIES * int(problem.budgets[-1]) + lanes * problem.finetune_steps
