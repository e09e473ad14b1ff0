"""A run under way: one process at a time on a folder, and what it has finished outlives it.

DIR/.unfinished holds what the run is of (run.json) and a store of finished chunks for every sweep it makes. It goes
when the result is saved, and stays when the run is killed, interrupted or out of disk: then `resume` goes on with it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import store
from linsim.storage.fingerprint import differences
from linsim.storage.identity import Identity
from linsim.storage.places import DATA, LOCK, UNFINISHED, prepare, remove
from linsim.storage.plain import read_json, write_json

_RUN = "run.json"
_TOLD = 3  # differences, in full


@dataclass
class Lease:
    """A folder that belongs to this process until the context is left."""

    folder: Path
    complete: bool = False
    """The result is there already, of the same: nothing is left to do."""
    earlier: bool = False
    """There is a result of the same, but of fewer inputs: what it says of those is right."""
    saved: Path | None = None
    """The result, once it is whole."""

    @property
    def chunks(self) -> Path:
        """Where sweeps keep finished chunks."""
        return self.folder / UNFINISHED

    @property
    def kept(self) -> bool:
        """Whether a killed run would leave something to go on with."""
        finished = itertools.chain(self.chunks.glob("*/*/c/**/*"), self.chunks.glob("*.json"))
        return any(path.is_file() and path.suffix != ".partial" and path.name != _RUN for path in finished)


Told = Callable[[Path], Mapping[str, str] | None]
"""What the result in a folder is of, field by field; None where there is none."""


def _of_dataset(folder: Path) -> Mapping[str, str] | None:
    """The identity of a dataset in a folder, every chunk of which is read once; None where there is none."""
    if not (folder / DATA).exists():
        return None
    store.verify(folder)
    try:
        return Identity.of_attrs(store.view(folder).attrs).fields
    except ValueError as error:
        raise InvalidInput(
            "resume", str(folder / DATA), f"a result to be told again ({error}), or --overwrite"
        ) from error


@contextmanager
def lease(
    folder: Path,
    of: Mapping[str, str],
    bits: Mapping[str, str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    grows: str = "",
    result: Told = _of_dataset,
) -> Iterator[Lease]:
    """Have a folder for a run, or refuse before any work is done.

    Args:
      folder: for the result.
      of: what decides the numbers of the run, field by field.
      bits: what decides their last bits as well: what is unfinished must have been begun with the same.
      overwrite: replace what is there.
      resume: go on with what an earlier run of the same left unfinished, if anything.
      grows: beginning of fields that may be new; what was computed without them still holds.
      result: what the result in a folder is of.

    Raises:
      InvalidInput: the folder is in use or cannot be had, or what is there is of something else.
    """
    require(not (overwrite and resume), "resume", resume, "--resume or --overwrite, one of them")
    new = not os.path.exists(folder)
    if not os.path.isdir(folder):
        prepare(folder, overwrite, resume)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InvalidInput("out", str(folder), "a folder that no other run is writing to at the moment") from None
    except OSError as error:
        raise InvalidInput("out", str(folder), f"a folder that can be locked ({error.strerror or error})") from error
    try:
        prepare(folder, overwrite, resume)  # not before: another run may be saving
    except InvalidInput:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        raise
    leased = Lease(folder)
    try:
        if resume:
            _resume(leased, of, {**of, **bits}, grows, result)
        if not leased.complete:
            _begin(leased, {**of, **bits}, resume)
        yield leased
    except InvalidInput:
        if not resume:  # a run that should not have begun; one that is resumed may just have been asked wrongly
            remove(leased.chunks)
        raise
    finally:
        if leased.saved is not None or leased.complete or not leased.kept:
            (leased.chunks / _RUN).unlink(missing_ok=True)  # first: without it the result is what counts
            remove(leased.chunks)
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if new and leased.saved is None:
            with suppress(OSError):  # something is kept in it
                folder.rmdir()


def _resume(leased: Lease, of: Mapping[str, str], whole: Mapping[str, str], grows: str, result: Told) -> None:
    """Find out what is there to go on with; refuses what is of something else."""
    run = leased.chunks / _RUN
    begun = run.exists()
    if begun:
        try:
            kept = read_json(run)
            if not isinstance(kept, dict):
                raise ValueError("it names no fields")
        except (OSError, ValueError) as error:
            raise InvalidInput("resume", str(run), f"a readable file ({error}), or --overwrite") from error
        _require_same(kept, whole, grows)
    try:
        told = result(leased.folder)
        if told is None:
            return
        _require_same(told, of, grows)
    except InvalidInput:
        if begun:  # which is to replace that result
            return
        raise
    leased.complete = not begun and told == of
    leased.earlier = not leased.complete


def _require_same(kept: Mapping[str, str], now: Mapping[str, str], grows: str) -> None:
    added = {name for name in now if grows and name.startswith(grows) and name not in kept}
    differing = differences(kept, {name: value for name, value in now.items() if name not in added})
    more = [f"and {len(differing) - _TOLD} more"] * (len(differing) > _TOLD)
    allowed = f"what the run was begun with, or --overwrite; it differs in {'; '.join([*differing[:_TOLD], *more])}"
    require(not differing, "resume", "another configuration, input, source or version", allowed)


def _begin(leased: Lease, of: Mapping[str, str], resume: bool) -> None:
    if not resume:
        remove(leased.chunks)
    try:
        leased.chunks.mkdir(exist_ok=True)
    except OSError as error:
        raise RunFailed(f"out: {leased.chunks} could not be made ({error.strerror or error})") from error
    write_json(dict(of), leased.chunks / _RUN)
