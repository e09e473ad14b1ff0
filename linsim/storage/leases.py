"""A run under way: one process at a time on a folder, and what it has finished outlives it.

DIR/.unfinished holds what the run is of (run.json) and a store of finished chunks for every sweep it makes. It goes
when the result is saved, and stays when the run is killed, interrupted or out of disk: then `resume` goes on with it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import store
from linsim.storage.fingerprint import differences, fingerprint

_RUN = "run.json"


@dataclass
class Lease:
    """A folder that belongs to this process until the context is left."""

    folder: Path
    complete: bool
    """The result is there already, of the same configuration: nothing is left to do."""
    saved: Path | None = None
    """The result, once it is whole."""

    @property
    def chunks(self) -> Path:
        """Where sweeps keep finished chunks."""
        return self.folder / store.UNFINISHED

    @property
    def kept(self) -> bool:
        """Whether a killed run would leave something to go on with."""
        finished = itertools.chain(self.chunks.glob("*/*/c/**/*"), self.chunks.glob("*.json"))
        return any(path.is_file() and path.suffix != ".partial" and path.name != _RUN for path in finished)


def _of_dataset(folder: Path) -> Mapping[str, str] | None:
    """The configuration of a dataset in a folder, every chunk of which is read once; None where there is none."""
    if not (folder / store.DATA).exists():
        return None
    told = store.view(folder).attrs.get("config", "{}")
    store.verify(folder)
    return fingerprint({"config": json.loads(told)})


@contextmanager
def lease(
    folder: Path,
    of: Mapping[str, str],
    versions: Mapping[str, str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    result: Callable[[Path], Mapping[str, str] | None] = _of_dataset,
) -> Iterator[Lease]:
    """Have a folder for a run, or refuse before any work is done.

    Args:
      folder: for the result.
      of: configuration of the run, field by field.
      versions: of what computes it: chunks of others would not be the same bit for bit.
      overwrite: replace what is there.
      resume: go on with what an earlier run of the same configuration left unfinished, if anything.
      result: what the result in a folder is of, as far as it tells; None where there is none.

    Raises:
      InvalidInput: the folder is in use or cannot be had, or what is there is of another configuration.
    """
    require(not (overwrite and resume), "resume", resume, "--resume or --overwrite, one of them")
    new = not os.path.exists(folder)
    if not os.path.isdir(folder):
        store.prepare(folder, overwrite, resume)
    lock = FileLock(folder / store.LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InvalidInput("out", str(folder), "a folder that no other run is writing to at the moment") from None
    except OSError as error:
        raise InvalidInput("out", str(folder), f"a folder that can be locked ({error.strerror or error})") from error
    try:
        store.prepare(folder, overwrite, resume)  # not before: another run may be saving
    except InvalidInput:
        (folder / store.LOCK).unlink(missing_ok=True)
        lock.release()
        raise
    leased = Lease(folder, False)
    try:
        leased.complete = resume and _resumed(leased, of, versions, result)
        if not leased.complete:
            _begin(leased, {**of, **versions}, resume)
        yield leased
    except InvalidInput:
        if not resume:  # a run that should not have begun; one that is resumed may just have been asked wrongly
            shutil.rmtree(leased.chunks, ignore_errors=True)
        raise
    finally:
        if leased.saved is not None or leased.complete or not leased.kept:
            (leased.chunks / _RUN).unlink(missing_ok=True)  # first: without it the result is what counts
            shutil.rmtree(leased.chunks, ignore_errors=True)
        (folder / store.LOCK).unlink(missing_ok=True)
        lock.release()
        if new and leased.saved is None:
            with suppress(OSError):  # something is kept in it
                folder.rmdir()


def _resumed(
    leased: Lease,
    of: Mapping[str, str],
    versions: Mapping[str, str],
    result: Callable[[Path], Mapping[str, str] | None],
) -> bool:
    """Whether the result is complete; refuses what is of another configuration."""
    run = leased.chunks / _RUN
    if run.exists():
        try:
            kept = json.loads(run.read_text(encoding="utf-8"))
            if not isinstance(kept, dict):
                raise ValueError("it names no fields")
        except (OSError, ValueError) as error:
            raise InvalidInput("resume", str(run), f"a readable file ({error}), or --overwrite") from error
        _require_same(kept, {**of, **versions})
        return False
    told = result(leased.folder)
    if told is None:
        return False
    _require_same(told, {key: of[key] for key in of if key.startswith(("config.", "source."))})
    return True


def _require_same(kept: Mapping[str, str], now: Mapping[str, str]) -> None:
    differing = differences(kept, now)
    allowed = f"what the run was begun with, or --overwrite; it differs in {'; '.join(differing)}"
    require(not differing, "resume", "another configuration or version", allowed)


def _begin(leased: Lease, of: Mapping[str, str], resume: bool) -> None:
    if not resume:
        shutil.rmtree(leased.chunks, ignore_errors=True)
    run = leased.chunks / _RUN
    if run.exists():
        return
    try:
        leased.chunks.mkdir(exist_ok=True)
    except OSError as error:
        raise RunFailed(f"out: {leased.chunks} could not be made ({error.strerror or error})") from error
    store.write_json(dict(of), run)
