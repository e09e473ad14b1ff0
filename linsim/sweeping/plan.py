"""How a sweep is cut: blocks that pre-train together, chunks that are kept as a whole, lanes that step together.

A chunk holds all budgets of its cells, so that inflection points are found within it. Chunks are the chunks of the
result on disk: each has one writer, and is either there or not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from linsim.errors import require

CACHED = 4 << 20
"""Bytes of state that step together on a CPU: about what the caches of a core pair hold."""
COPIES = 13
"""Times the state of a lane that a step holds: carry, penalties' anchor, gradient, momentum and what is in between."""
RESULT_BYTES = 128
"""Of a lane, on their way to disk."""
CHUNK_LANES = {"cpu": 2**14, "accelerator": 2**18}
"""Most lanes of a chunk: what is lost at worst when a run is killed, a fraction of a second to some seconds of work."""


class Box(NamedTuple):
    """Part of a grid."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """To index an array of the whole grid."""
        return tuple(map(slice, self.start, self.stop))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))


class Machine(NamedTuple):
    """What a plan must fit."""

    memory: int
    """Bytes that the sweep may use on each device."""
    devices: int
    """That lanes spread over."""
    accelerator: bool = False
    """Whether the devices are none of a CPU, whose caches favour few lanes at a time."""


@dataclass(frozen=True)
class Plan:
    """The cuts of a sweep. The same plan gives the same numbers, bit for bit."""

    shape: tuple[int, ...]
    """Of the whole grid: budgets, swept fields, seeds."""
    chunk: tuple[int, ...]
    """Lengths of a chunk; the last of each axis may be shorter."""
    block: tuple[int, ...]
    """Lengths of what pre-trains together, whole chunks."""
    bite: int
    """Lanes that step together on a device."""

    def as_dict(self) -> dict[str, object]:
        """As JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def sound(self) -> bool:
        """Whether these can be the cuts of a sweep: blocks of whole chunks, all of them at least one lane."""
        cuts = (self.shape, self.chunk, self.block)
        return (
            len({len(lengths) for lengths in cuts}) == 1
            and min(self.bite, *(min(lengths) for lengths in cuts)) >= 1
            and all(block % chunk == 0 or block == length for length, chunk, block in zip(*cuts, strict=True))
        )

    def boxes(self) -> list[Box]:
        """All chunks, those of a block one after another."""
        whole = Box((0,) * len(self.shape), self.shape)
        return [box for block in _tiles(whole, self.block) for box in _tiles(block, self.chunk)]

    def block_of(self, box: Box) -> Box:
        """The block that a chunk is in."""
        start = tuple(first // length * length for first, length in zip(box.start, self.block, strict=True))
        return Box(start, tuple(map(min, self.shape, map(sum, zip(start, self.block, strict=True)))))


class Measured(NamedTuple):
    """Bytes that measures take, beside the losses."""

    formed: int = 0
    """On the way to those of one lane."""
    lane: int = 0
    """Of the values of one lane, on their way to disk."""
    checkpoint: int = 0
    """Of the values of one checkpoint."""


def cut(
    shape: Sequence[int],
    trajectory_dims: Sequence[int],
    state_bytes: int,
    machine: Machine,
    measured: Measured = Measured(),  # noqa: B008 - a constant
) -> Plan:
    """Cut a sweep so that what it holds at once fits into the memory.

    Half of it is for lanes that step, a quarter for checkpoints, a quarter for results on their way.

    Args:
      shape: budgets, swept fields, seeds.
      trajectory_dims: numbers of the dimensions that tell pre-training runs apart.
      state_bytes: of the state of one lane.
      machine: what must be fitted.
      measured: what measures take.

    Raises:
      InvalidInput: one step of one lane, or one curve, does not fit.
    """
    shape, budgets = tuple(shape), shape[0]
    state = max(state_bytes, 1)
    stepping, kept, told = COPIES * state + measured.formed, state + measured.checkpoint, RESULT_BYTES + measured.lane
    most = machine.memory // 2 // stepping
    trajectories = min(machine.memory // 4 // (budgets * kept), most)
    results = machine.memory // 4 // told
    needed = max(2 * stepping, 4 * budgets * kept, 4 * budgets * told)
    require(min(most, trajectories, results // budgets) >= 1, "memory", machine.memory, f"at least {needed} bytes here")
    lanes = min(results, max(CHUNK_LANES["accelerator" if machine.accelerator else "cpu"], budgets))
    held = tuple(length if number in trajectory_dims else 1 for number, length in enumerate(shape))
    block = _split(held, trajectories)
    within = tuple(
        min(length, block[number]) if number in trajectory_dims else length for number, length in enumerate(shape)
    )
    chunk = (budgets, *_split(within[1:], lanes // budgets))
    whole = tuple(
        block[number] // chunk[number] * chunk[number] if number in trajectory_dims else length
        for number, length in enumerate(shape)
    )
    count = math.prod(chunk)
    together = most if machine.accelerator else min(most, max(CACHED // state, 1))
    bites = -(-count // (together * machine.devices)) * machine.devices
    return Plan(shape, chunk, whole, -(-count // bites))


def _split(shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """Lengths of equal parts of at most `limit` elements, the last axes kept whole as long as possible."""
    lengths, room = [], limit
    for length in reversed(shape):
        parts = -(-length // max(min(room, length), 1))
        lengths.append(-(-length // parts))
        room //= lengths[-1]
    return tuple(reversed(lengths))


def _tiles(whole: Box, lengths: tuple[int, ...]) -> itertools.starmap[Box]:
    along = (
        [(first, min(first + length, stop)) for first in range(start, stop, length)]
        for start, stop, length in zip(whole.start, whole.stop, lengths, strict=True)
    )
    return itertools.starmap(lambda *spans: Box(*zip(*spans, strict=True)), itertools.product(*along))
