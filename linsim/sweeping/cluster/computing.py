"""The workers of a Dask cluster, through a client: who is given which chunk, and what is made of what they say."""

from __future__ import annotations

import importlib
import platform
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from linsim.errors import InvalidInput, RunFailed, brief_error
from linsim.progress.showing import Progress
from linsim.sweeping.plan import Box
from linsim.sweeping.work import Work

RETURN = 120.0
"""Seconds that a run waits for a worker when all are gone."""
AHEAD = 2
"""Chunks that a worker is given at a time: one to compute, one so that it need not wait for the next."""

_BEAT = 0.5  # seconds after which to look for new workers at the latest
_MUST_AGREE = ("linsim", "jax", "jaxlib", "numpy")

_ONE_AT_A_TIME = threading.Lock()  # a worker with several threads still has one work, whose checkpoints chunks share


class Failure(tuple[str, ...]):
    """What went wrong in a worker: field, value and what is allowed of an `InvalidInput`, or one line."""


class Cluster:
    """The workers of a Dask cluster, through a client."""

    def __init__(self, dask: Any, client: Any) -> None:
        self._dask, self.client = dask, client
        self._alike: set[str] = set()  # workers whose versions were looked at
        self._seen = time.monotonic()

    def compute(
        self, work: Work, boxes: Iterable[Box], report: Progress | None
    ) -> Iterator[tuple[Box, dict[str, np.ndarray]]]:
        """Chunks as workers finish them; a few of each worker are under way at a time."""
        waiting, run, needed = _Waiting(work, boxes), uuid.uuid4().hex[:8], versions()
        flying: dict[Any, tuple[str, Box]] = {}
        held: list[Any] = []
        self._seen = time.monotonic()
        try:
            with self._told():
                # A result of a task, not data put on a worker: where its holder dies, the scheduler makes it again.
                payload = self._dask.protocol.pickle.dumps(work)
                held = [self.client.submit(bytes, payload, key=f"linsim-work-{run}")]
            while waiting or flying:
                with self._told():
                    for address in self._free(flying):
                        if waiting:
                            box = waiting.take(address)
                            place = {"workers": address, "allow_other_workers": True}
                            name = f"linsim-chunk-{run}-{'-'.join(map(str, box.start))}"
                            future = self.client.submit(run_chunk, *held, box, needed, key=name, **place)
                            flying[future] = address, box
                    landed = self._landed(flying)
                for future in landed:
                    with self._told():
                        values = future.result()
                        if isinstance(values, Failure):
                            raise InvalidInput(*values) if len(values) > 1 else RunFailed(f"worker: {values[0]}")
                    _, box = flying.pop(future)
                    future.release()
                    yield box, values
        finally:
            with suppress(Exception):  # the client is closed, or its scheduler lost: nothing is left to cancel
                self.client.cancel([*flying, *held], force=True)

    def look(self) -> None:
        """`RunFailed` where scheduler or workers have other versions than this process."""
        needed, told = versions(), self.client.get_versions(packages=_MUST_AGREE)
        for name, found in [*told["workers"].items(), ("the scheduler", told["scheduler"])]:
            _require_alike(name, found["packages"], needed)
        self._alike |= set(told["workers"])

    def _free(self, flying: Mapping[Any, tuple[str, Box]]) -> list[str]:
        """Workers, each as often as it may be given a chunk."""
        present = list(self.client.nthreads())
        if not self._alike.issuperset(present):
            self.look()
        ready = [address for address in present if address in self._alike]
        if ready:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > RETURN:
            raise RunFailed(f"cluster: no worker is left, and none came in {RETURN:g} s")
        busy = Counter(address for address, _ in flying.values())
        return [address for address in ready for _ in range(AHEAD - busy[address])]

    def _landed(self, flying: Mapping[Any, tuple[str, Box]]) -> list[Any]:
        """Chunks that are finished, soon."""
        if not flying:
            time.sleep(_BEAT)
        with self.client.as_current(), suppress(TimeoutError):
            return list(self._dask.wait(list(flying), timeout=_BEAT, return_when="FIRST_COMPLETED").done)
        return []

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever Dask raises, as one line."""
        try:
            yield
        except (InvalidInput, RunFailed):
            raise
        except (CancelledError, OSError) as error:
            raise RunFailed(f"cluster: the scheduler was lost ({brief_error(error)})") from error
        except self._dask.KilledWorker as error:
            died = f"{error.allowed_failures + 1} workers died with a chunk under way"
            raise RunFailed(f"cluster: {died}, of lack of memory perhaps: --memory makes chunks smaller") from error
        except Exception as error:
            raise RunFailed(f"cluster: {brief_error(error)}") from error


def run_chunk(payload: bytes, box: Box, needed: Mapping[str, str]) -> dict[str, np.ndarray] | Failure:
    """In a worker: a chunk of the pickled work, if this process is like the client."""
    try:
        _require_alike("this worker", versions(), needed)
        with _ONE_AT_A_TIME:
            return opened(payload).run(box)
    except InvalidInput as error:
        return Failure((error.field, str(error.value), error.allowed))
    except Exception as error:
        return Failure((str(error) if isinstance(error, RunFailed) else brief_error(error),))


@lru_cache(maxsize=1)
def opened(payload: bytes) -> Work:
    """In a worker: the work, once for all its chunks, with what it has computed and compiled so far."""
    work: Work = importlib.import_module("distributed.protocol.pickle").loads(payload)
    return work


def versions() -> dict[str, str]:
    """Of this process, what client and workers must agree in."""
    found = {"python": platform.python_version()}
    for package in _MUST_AGREE:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


class _Waiting:
    """Chunks not given out yet. A worker goes on with its block, then begins another, then helps with a begun one."""

    def __init__(self, work: Work, boxes: Iterable[Box]) -> None:
        self._begun: dict[Box, deque[Box]] = {}
        self._at: dict[str, Box] = {}
        blocks: dict[Box, deque[Box]] = {}
        for box in boxes:
            blocks.setdefault(work.plan.block_of(box), deque()).append(box)
        self._fresh = deque(blocks.items())

    def __bool__(self) -> bool:
        return bool(self._fresh or self._begun)

    def take(self, worker: str) -> Box:
        """The next chunk of a worker."""
        block = self._at.get(worker)
        if block not in self._begun:
            if self._fresh:
                block, boxes = self._fresh.popleft()
                self._begun[block] = boxes
            else:
                block = max(self._begun, key=lambda each: len(self._begun[each]))
            self._at[worker] = block
        box = self._begun[block].popleft()
        if not self._begun[block]:
            del self._begun[block]
        return box


def _require_alike(who: str, found: Mapping[str, str | None], needed: Mapping[str, str]) -> None:
    """`RunFailed` unless versions are as needed; of Python the third number may differ."""
    cut = {name: 2 if name == "python" else None for name in needed}
    differ = [n for n in needed if (found.get(n) or "").split(".")[: cut[n]] != needed[n].split(".")[: cut[n]]]
    if differ:
        has = ", ".join(f"{name} {found.get(name) or 'missing'}" for name in differ)
        raise RunFailed(f"{who} has {has}; needed: {', '.join(f'{name} {needed[name]}' for name in differ)}")
