"""Many claims tried, in one process or several; each is kept when it is finished, whatever becomes of the others."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import linsim
from linsim.claims import registry
from linsim.claims.judge import Verdict, judge
from linsim.claims.report import as_json, from_json
from linsim.errors import RunFailed
from linsim.progress.showing import Progress
from linsim.sweeping.keeping import remembered
from linsim.sweeping.running import running

_LIBRARY = Path(linsim.__file__).parent


def try_all(
    ids: Sequence[str],
    examples: int,
    seed: int,
    *,
    processes: int = 1,
    keep: Path | None = None,
    report: Progress | None = None,
) -> list[Verdict]:
    """The verdicts on claims of the registry, in their order; on how many processes they do not depend.

    Args:
      ids: of the claims.
      examples: problems to try of each, see `linsim.claims.judge.judge`.
      seed: of the draws, of each claim anew.
      processes: how many claims are tried at a time; 1 is in this process.
      keep: folder that has a file of every finished claim; those that are there already are not tried again.
      report: called with (claims finished, claims in all).

    Raises:
      RunFailed: the disk is full or fails, or one of the processes was ended from outside.
    """
    found: dict[str, Any] = {}
    told = report or (lambda *_: None)
    tasks = [(name, examples, seed, keep) for name in ids]
    if processes == 1:
        for task in tasks:
            found[task[0]] = _tried(*task)
            told(len(found), len(ids))
    else:
        with _pool(processes) as pool:
            for done in as_completed([pool.submit(_tried, *task) for task in tasks]):
                found |= {done.result()["id"]: done.result()}
                told(len(found), len(ids))
    return [from_json(found[name]) for name in ids]


def sources() -> dict[str, str]:
    """What claims are of, as a digest: every room of linsim.claims, and the library that they judge."""
    rooms = {path.relative_to(_LIBRARY).as_posix(): path.read_bytes() for path in sorted(_LIBRARY.rglob("*.py"))}
    judged = b"".join(name.encode() + text for name, text in rooms.items() if not name.startswith("claims/"))
    claims = {f"linsim/{name}": text for name, text in rooms.items() if name.startswith("claims/")}
    return {name: hashlib.sha256(text).hexdigest()[:12] for name, text in ({"linsim": judged} | claims).items()}


def _tried(name: str, examples: int, seed: int, keep: Path | None) -> dict[str, Any]:
    """A verdict as plain data, from the folder if it is there."""
    claim, of = registry.CLAIMS[name], {"claim": name, "examples": examples, "seed": seed}
    with running(keep=keep):
        told: dict[str, Any] = remembered(of, lambda: as_json(judge(claim, examples, seed, progress=False)))
    return told


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end when this context does, or with this process, however it ends."""
    context = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would not have
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(processes, context, _begin, (theirs,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise RunFailed("a process that tried a claim was ended from outside; fewer need less memory") from error
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _begin(held: Connection) -> None:
    """An interrupt reaches every process of a terminal: whoever started this one is to end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(held,), daemon=True).start()


def _end_with(held: Connection) -> None:
    """End this process when the other end of a pipe is closed, as by a kill of the process that had it."""
    with contextlib.suppress(EOFError, OSError):
        held.recv()
    os._exit(1)
