"""How sweeps run, as opposed to what they are of: where finished chunks are kept, in how much memory, by which hands.

Experiments do not pass this on: whoever starts them says it once, for all the sweeps that they make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import xarray as xr

from linsim.errors import brief, require, require_choice, require_integer, require_kind
from linsim.progress.bar import progress_bar
from linsim.progress.showing import Progress, is_shown, telling
from linsim.storage import room
from linsim.sweeping.plan import Box
from linsim.sweeping.work import Work

SMALLEST_MEMORY = 2**20


@runtime_checkable
class Watcher(Protocol):
    """Whoever is told of chunks."""

    def __call__(self, done: int, total: int, lanes: int) -> None:
        """`done` of `total` chunks are finished, `lanes` lanes of them in this run."""
        ...


@runtime_checkable
class Hands(Protocol):
    """Whoever computes chunks."""

    def compute(
        self, work: Work, boxes: Iterable[Box], report: Progress | None
    ) -> Iterator[tuple[Box, dict[str, np.ndarray]]]:
        """Chunks as they are finished, in any order; `report` is told the steps of the chunk at hand, if any."""
        ...


class ThisProcess:
    """One chunk after another."""

    def compute(
        self, work: Work, boxes: Iterable[Box], report: Progress | None
    ) -> Iterator[tuple[Box, dict[str, np.ndarray]]]:
        """Chunks in the order asked for."""
        for box in boxes:
            yield box, work.run(box, report)


_HERE = ThisProcess()


@dataclass(frozen=True)
class Running:
    """How the sweeps of a run are computed."""

    keep: Path | None = None
    """Folder in which finished chunks are kept until the run is complete; None keeps them in memory."""
    memory: int | None = None
    """Bytes on each device; None is a quarter of what is free."""
    hands: Hands = _HERE
    watcher: Watcher | None = None
    """Told after every chunk."""
    recheck: int | None = None
    """Lanes of each result that are computed again, but of sweeps that ask for none; None leaves it to the sweep."""
    refining: bool = True
    """Whether charts may add budgets to their first ones; not where several share theirs."""
    earlier: xr.Dataset | None = None
    """A result of a part of what is to be computed, which is right as far as it goes; sweeps have no use for it."""
    parts: int = 1
    """Sweeps that are one result together, and share the lanes that are computed again."""


_USUAL = Running()
_CURRENT: ContextVar[Running] = ContextVar("running", default=_USUAL)


def current() -> Running:
    """How sweeps run now."""
    return _CURRENT.get()


@contextmanager
def running(**changes: Any) -> Iterator[Running]:
    """Within, sweeps run as now but for some fields of `Running`.

    Example:
      >>> with ls.running(memory=64 << 20, recheck=0):
      ...     with ls.running(recheck=8) as how:
      ...         print(how.memory, how.recheck)
      67108864 8
    """
    for name in changes:
        require_choice("running", name, [each.name for each in fields(Running)])
    changed = replace(current(), **changes)
    _require_sound(changed)
    token = _CURRENT.set(changed)
    try:
        yield changed
    finally:
        _CURRENT.reset(token)


def _require_sound(how: Running) -> None:
    """Raise `InvalidInput` for a field outside its domain."""
    require(how.keep is None or isinstance(how.keep, Path), "keep", brief(how.keep), "a pathlib.Path, or None")
    if how.memory is not None:
        require_integer("memory", how.memory, at_least=SMALLEST_MEMORY)
    if how.recheck is not None:
        require_integer("recheck", how.recheck, at_least=0)
    require(
        isinstance(how.hands, Hands), "hands", brief(how.hands), "what computes chunks, see linsim.sweeping.cluster"
    )
    require(how.watcher is None or callable(how.watcher), "watcher", brief(how.watcher), "a function, or None")
    require_kind("refining", how.refining, bool)
    require_integer("parts", how.parts, at_least=1)


@contextmanager
def reporting(progress: bool | None, report: Progress | None, doing: str = "training") -> Iterator[Progress]:
    """What sweeps report to, as in `linsim.progress.showing`; a bar is told of chunks too."""
    if not is_shown(progress, report):
        yield telling(report)
        return
    with progress_bar(doing) as bar, running(watcher=current().watcher or bar.chunks):
        yield telling(bar, report)


def free_memory(devices: list[jax.Device]) -> int:
    """A quarter of what the fullest device has free, as a power of two, so that the same machine cuts alike again."""
    free = []
    for device in devices:
        told = device.memory_stats() if device.platform != "cpu" else None
        free.append(told["bytes_limit"] - told["bytes_in_use"] if told else _host_share(len(devices)))
    return max(2 ** int(np.log2(max(min(free) // 4, 1))), SMALLEST_MEMORY)


def _host_share(devices: int) -> int:
    return room.memory_left() // devices
