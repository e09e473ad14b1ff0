"""What the commands of experiments share: flags, by what an experiment does, and the end, exit status 0, 2 or 3."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import xarray as xr

from linsim.commands.reading import BadArgument as BadArgument
from linsim.commands.reading import parse as parse
from linsim.commands.spoken import spoken
from linsim.errors import InvalidInput, RunFailed, require, require_integer
from linsim.progress.bar import Bar
from linsim.storage.leases import Lease
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.running import SMALLEST_MEMORY, running

_FRESH = {"--overwrite", "--no-overwrite", "--resume", "--no-resume"}  # not on the command that goes on


@dataclass(frozen=True)
class Folder:
    """Where the result goes, and the configuration comes from."""

    out: Path
    """Folder for the result."""
    overwrite: bool = False
    """Replace a result that is already there."""
    config: Path | None = None
    """TOML file with the configuration, as --print-config writes it; flags beside it count more."""
    print_config: bool = False
    """Write the configuration as TOML, every field with what it is for, and compute nothing."""


@dataclass(frozen=True)
class Drawing(Folder):
    """Picture, and what is told."""

    figure: bool = True
    """Draw the picture, and write the page beside it."""
    page: bool = True
    """Write the page to explore the result beside the picture."""
    verbose: bool = False
    """Tell all lines of what was found, not only the first dozen."""

    def validate(self) -> None:
        """Raise `InvalidInput` for a flag outside its domain, before any work is done."""


@dataclass(frozen=True)
class Resumable(Drawing):
    """Going on after a run that was killed."""

    resume: bool = False
    """Go on with what an earlier run left unfinished, if anything: finished parts are not computed again."""


@dataclass(frozen=True)
class Sweeping(Resumable):
    """How sweeps are computed, which changes the last bits of numbers at most."""

    memory: str | None = None
    """Most memory that the chunks of a sweep take on each device, such as 512MB or 2GB; default a quarter of what is
    free."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute the chunks, such as tls://host:8786."""
    unencrypted: bool = False
    """Go to a scheduler beyond this machine without TLS: whoever reaches it can run code on its workers."""
    workers: int | None = None
    """Compute the chunks in this many processes on this machine."""
    recheck: int = LANES
    """Lanes of every sweep that are computed again, in float64 and by another solver where one is exact."""

    @property
    def bytes(self) -> int | None:
        """The memory as a number."""
        return None if self.memory is None else parse_bytes("memory", self.memory)

    def validate(self) -> None:
        """Raise `InvalidInput` for a memory that is no size, or a sample of less than nothing."""
        require_integer("recheck", self.recheck, at_least=0)
        _ = self.bytes


@contextlib.contextmanager
def computing(flags: Drawing, keep: Path, bar: Bar, earlier: xr.Dataset | None = None) -> Iterator[None]:
    """Within, work is done as the flags say.

    Args:
      flags: what was asked for.
      keep: folder for finished parts, where they are kept at all.
      bar: told of chunks.
      earlier: a result of a part of the same.
    """
    if isinstance(flags, Sweeping):
        from linsim.sweeping import cluster  # which brings asyncio, and --help has no need of

        how = {"keep": keep, "memory": flags.bytes, "watcher": bar.chunks, "recheck": flags.recheck}
        with cluster.hands(flags.scheduler, flags.workers, flags.unencrypted) as hands, running(hands=hands, **how):
            yield
    else:
        with running(keep=keep if isinstance(flags, Resumable) else None, earlier=earlier):
            yield


@dataclass
class Made:
    """What a run has made so far, as far as it matters when it fails."""

    created: Path | None = None
    """The folder, if it is new."""
    saved: Path | None = None
    """The result, once it is whole."""
    lease: Lease | None = None
    """The folder, where it keeps what is finished."""
    parts: str = "chunks"
    """What it keeps."""
    again: str = ""
    """Command that goes on with them."""


def parse_bytes(name: str, text: str) -> int:
    """A size such as 512MB as a number of bytes; `InvalidInput` names the field."""
    match = re.fullmatch(r"([0-9.]+) *([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    try:
        size = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ") if match else 0.0
    except ValueError:
        size = 0.0
    require(SMALLEST_MEMORY <= size < 2**62, name, text, "a size from 1MB on, such as 512MB or 2GB")
    return int(size)


def complete(work: Callable[[Made], int]) -> int:
    """Do the work of a command and return its exit status, or 2 or 3 with one line on what went wrong.

    Args:
      work: notes in `Made` what it has made as it goes on; a new folder is removed again unless something was saved.

    Returns:
      What `work` does; 2 for a bad argument; 3 when the run could not be completed, and then nothing half-written is
      left behind, and finished chunks are kept for --resume.
    """
    for stream in (sys.stdout, sys.stderr):  # a path or a name that the terminal cannot show is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    made = Made()
    try:
        with _stoppable():
            return work(made)
    except SystemExit:  # of --help, which ends before JAX is needed, below too
        raise
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except (RunFailed, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"run not completed: {reason}{_kept(made)}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"run not completed: interrupted{_kept(made)}", file=sys.stderr)
        return 3
    finally:
        if made.created is not None and made.saved is None:
            with contextlib.suppress(OSError):  # something else is in it, or it was never made
                made.created.rmdir()


def _kept(made: Made) -> str:
    if made.saved is not None:
        return f"; {made.saved} is whole"
    if made.lease is not None and made.lease.kept:
        return f"; finished {made.parts} are kept, go on with: {made.again}"
    return "; nothing was kept"


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Have SIGTERM, by which batch systems end jobs, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def going_on(module: str, arguments: Sequence[str] | None) -> str:
    """The command that goes on with what a run kept; arguments None means sys.argv."""
    given = [each for each in (sys.argv[1:] if arguments is None else arguments) if each not in _FRESH]
    return f"{spoken(module)} {shlex.join([*given, '--resume'])}"
