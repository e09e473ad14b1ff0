"""The lanes of one chunk: pre-trained together, fine-tuned in bites of one size, spread over the devices."""

from __future__ import annotations

import math

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from linsim.dynamics.measuring import USUAL, Measuring
from linsim.dynamics.runs import Checkpoints, Finetuned, Lanes, Trajectories
from linsim.dynamics.training import Session
from linsim.progress.showing import Progress
from linsim.sweeping.axes import Axes
from linsim.sweeping.plan import Box, Plan

LaneIndices = Int[np.ndarray, "dims lanes"]
"""Positions of lanes on every dimension: budget, swept fields, seed."""


def all_lanes(box: Box) -> LaneIndices:
    """Every lane of a box, the last dimension fastest."""
    first = np.asarray(box.start)[:, None]
    return first + np.stack(np.unravel_index(np.arange(math.prod(box.shape)), box.shape))


def pretrain_block(
    session: Session,
    axes: Axes,
    plan: Plan,
    block: Box,
    report: Progress | None = None,
    measuring: Measuring = USUAL,
) -> Checkpoints:
    """Pre-train the trajectories of a block, padded to the size of all blocks so that all are one compiled program."""
    dims = axes.trajectory_dims
    shape = tuple(block.stop[dim] - block.start[dim] for dim in dims)
    count, size = math.prod(shape), math.prod(plan.block[dim] for dim in dims)
    within = np.stack(np.unravel_index(np.pad(np.arange(count), (0, size - count), mode="edge"), shape))
    where = dict(zip(dims, within + np.asarray([block.start[dim] for dim in dims])[:, None], strict=True))
    swept = {
        field.name: values[where[number]].astype(session.dtype)
        for number, field, values in axes.fields()
        if field.pretraining
    }
    return session.pretrain(report, Trajectories(where[dims[-1]].astype(np.int32), swept), measuring)


def run_lanes(
    session: Session,
    axes: Axes,
    plan: Plan,
    block: Box,
    checkpoints: Checkpoints,
    indices: LaneIndices,
    report: Progress | None = None,
    measuring: Measuring = USUAL,
) -> Finetuned:
    """Fine-tune lanes of a block from its checkpoints.

    Args:
      session: the problem at its solver.
      axes: the swept values.
      plan: its cuts.
      block: where the checkpoints belong.
      checkpoints: of `pretrain_block`.
      indices: which lanes.
      report: called after every bite with (training steps done, training steps in all).
      measuring: what is measured.
    """
    count, steps = indices.shape[1], session.problem.finetune_steps
    devices = usable_devices(session)
    size = plan.bite * len(devices)
    pieces = []
    for first in range(0, count, size):
        part = indices[:, first : first + size]
        lanes = _over_devices(
            _lanes(session, axes, block, np.pad(part, ((0, 0), (0, size - part.shape[1])), "edge")), devices
        )
        tuned = session.finetune(checkpoints, lanes, measuring)
        pieces.append(jax.tree.map(lambda leaf, used=part.shape[1]: np.asarray(leaf)[:used], tuned))
        if report is not None:
            report((first + part.shape[1]) * steps, count * steps)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def usable_devices(session: Session) -> list[jax.Device]:
    """All devices, but one where CPU devices would decompose matrices: they share one pool of threads and deadlock."""
    devices = jax.local_devices()
    return devices[:1] if session.solver.factorises and devices[0].platform == "cpu" else devices


def _lanes(session: Session, axes: Axes, block: Box, indices: LaneIndices) -> Lanes:
    dims = axes.trajectory_dims
    within = tuple(indices[dim] - block.start[dim] for dim in dims)
    trajectory = np.ravel_multi_index(within, tuple(block.shape[dim] for dim in dims))
    swept = {
        field.name: values[indices[number]].astype(session.dtype)
        for number, field, values in axes.fields()
        if not field.pretraining
    }
    return Lanes(indices[0].astype(np.int32), trajectory.astype(np.int32), swept)


def _over_devices(lanes: Lanes, devices: list[jax.Device]) -> Lanes:
    placed: Lanes = jax.device_put(lanes, NamedSharding(Mesh(np.asarray(devices), ("lanes",)), PartitionSpec("lanes")))
    return placed
