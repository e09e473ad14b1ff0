"""Fine-tuning lanes in chunks of one size, spread over the devices of the process."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from linsim.phase import Regularizer
from linsim.training import Checkpoints, Finetuned, Lanes, Progress, Session

_CHUNK_BYTES = 4 << 20  # state of the lanes that step together: about what the caches of a core pair hold

LaneIndices = Int[np.ndarray, "four lanes"]
"""(budget, rate, strength, seed) of every lane, as positions on the axes."""


class Axes(NamedTuple):
    """What is swept besides budgets and seeds."""

    learning_rates: Float[np.ndarray, " rates"]
    strengths: Float[np.ndarray, " strengths"]
    regularizer: Regularizer
    """What the strengths are for."""

    def shape(self, session: Session) -> tuple[int, int, int, int]:
        """Lengths of the axes (budget, rate, strength, seed)."""
        problem = session.problem
        return len(problem.budgets), len(self.learning_rates), len(self.strengths), problem.seeds


def all_lanes(session: Session, axes: Axes) -> LaneIndices:
    """Every combination of the axes, the last one fastest."""
    shape = axes.shape(session)
    return np.stack(np.unravel_index(np.arange(np.prod(shape)), shape))


def run_lanes(
    session: Session, checkpoints: Checkpoints, axes: Axes, indices: LaneIndices, report: Progress | None = None
) -> Finetuned:
    """Fine-tune the given lanes; every chunk is padded to the same size, so that all are one compiled program.

    Args:
      session: the problem at its solver.
      checkpoints: what pre-training left behind.
      axes: the swept values.
      indices: which lanes.
      report: called after every chunk with (training steps done, training steps in all).
    """
    lanes, steps = indices.shape[1], session.problem.finetune_steps
    chunk = _chunk_size(session, lanes)
    pieces = []
    for first in range(0, lanes, chunk):
        part = indices[:, first : first + chunk]
        pieces.append(_run_chunk(session, checkpoints, axes, part, chunk))
        if report is not None:
            report((first + part.shape[1]) * steps, lanes * steps)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def _chunk_size(session: Session, lanes: int) -> int:
    """Lanes that step together: a multiple of the device count, and of equal size so that padding wastes little."""
    leaves = jax.tree.leaves(session.encoded.initial)
    lane_bytes = sum(leaf.nbytes for leaf in leaves) // session.problem.seeds
    chunks = -(-lanes * lane_bytes // _CHUNK_BYTES)
    devices = len(_devices(session))
    return -(-lanes // (chunks * devices)) * devices


def _run_chunk(session: Session, checkpoints: Checkpoints, axes: Axes, indices: LaneIndices, chunk: int) -> Finetuned:
    used = indices.shape[1]
    budget, rate, strength, seed = np.pad(indices, ((0, 0), (0, chunk - used)), mode="edge")
    values = axes.learning_rates[rate].astype(session.dtype), axes.strengths[strength].astype(session.dtype)
    over_devices = NamedSharding(Mesh(np.asarray(_devices(session)), ("lanes",)), PartitionSpec("lanes"))
    lanes = jax.device_put(Lanes(budget.astype(np.int32), seed.astype(np.int32), *values), over_devices)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:used], session.finetune(checkpoints, axes.regularizer, lanes))


def _devices(session: Session) -> list[jax.Device]:
    """All devices, but one where CPU devices would decompose matrices: they share one pool of threads and deadlock."""
    devices = jax.devices()
    return devices[:1] if session.solver.factorises and devices[0].platform == "cpu" else devices
