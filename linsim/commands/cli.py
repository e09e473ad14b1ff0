"""The command line of an experiment: parse, prepare, run, save, draw, tell. Exit status 0, 2 or 3 (see `execute`)."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import tyro
import xarray as xr

from linsim.commands.progress import progress_bar
from linsim.dynamics.training import Progress as Report
from linsim.errors import InvalidInput, RunFailed, require, require_integer
from linsim.storage import store
from linsim.storage.fingerprint import fingerprint
from linsim.storage.leases import Lease, lease
from linsim.storage.provenance import deciding
from linsim.sweeping import cluster
from linsim.sweeping.recheck import LANES
from linsim.sweeping.running import SMALLEST_MEMORY, running

C = TypeVar("C")
O = TypeVar("O", bound="Folder")

_BOX = "╭╮╰╯│─"
_FRESH = {"--overwrite", "--no-overwrite", "--resume", "--no-resume"}  # not on the command that goes on


@dataclass(frozen=True)
class Folder:
    """Where the result goes."""

    out: Path
    """Folder for the result."""
    overwrite: bool = False
    """Replace a result that is already there."""


@dataclass(frozen=True)
class Output(Folder):
    """Where the data and the picture go, and how they are computed: that changes the last bits of numbers at most."""

    resume: bool = False
    """Go on with what an earlier run left unfinished, if anything: finished chunks are not computed again."""
    memory: str | None = None
    """Most memory that the chunks of a sweep take on each device, such as 512MB or 2GB; default a quarter of what is
    free."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers compute the chunks, such as tcp://host:8786."""
    workers: int | None = None
    """Compute the chunks in this many processes on this machine."""
    recheck: int = LANES
    """Lanes of every sweep that are computed again, in float64 and by another solver where one is exact."""
    figure: bool = True
    """Draw the picture."""


@dataclass
class Made:
    """What a run has made so far, as far as it matters when it fails."""

    created: Path | None = None
    """The folder, if it is new."""
    saved: Path | None = None
    """The result, once it is whole."""
    lease: Lease | None = None
    """The folder, where it keeps finished chunks."""
    again: str = ""
    """Command that goes on with them."""


def execute(
    config_type: type[C],
    run: Callable[[C, Report | None], xr.Dataset],
    *,
    module: str,
    description: str | None,
    draw: Callable[[xr.Dataset, Path], Sequence[Path]],
    summarise: Callable[[xr.Dataset], str],
    picture: str,
    doing: str = "training",
    arguments: Sequence[str] | None = None,
) -> int:
    """Do the main job of an experiment module.

    Args:
      config_type: frozen dataclass of the experiment; every field becomes a flag.
      run: configuration, progress report -> result.
      module: of the experiment, as `python -m` takes it; its last part names the folder in results/, unless --out does.
      description: shown by --help.
      draw: result, folder -> pictures written.
      summarise: result -> the message in a few lines of text.
      picture: name of the picture's files, without ending; an old one is removed when it is not drawn again.
      doing: what the progress bar says.
      arguments: command line without the program's name; default sys.argv.

    Returns:
      0 on success; 2 for a bad argument, told in one line; 3 when the run could not be completed, and then nothing
      half-written is left behind, and finished chunks are kept for --resume.
    """
    name = _name(module)

    def work(made: Made) -> int:
        config, output = parse(config_type, Output, module, description, arguments)
        memory, recheck = parse_bytes("memory", output.memory), output.recheck
        require_integer("recheck", recheck, at_least=0)
        made.again = _again(module, arguments)
        of = fingerprint({"experiment": name, "config": config, "memory": memory})
        with lease(output.out, of, deciding(), overwrite=output.overwrite, resume=output.resume) as made.lease:
            started = time.perf_counter()
            if not made.lease.complete:
                with (
                    progress_bar(doing) as bar,
                    cluster.hands(output.scheduler, output.workers) as hands,
                    running(keep=made.lease.chunks, memory=memory, hands=hands, watcher=bar.chunks, recheck=recheck),
                ):
                    made.lease.saved = store.save(run(config, bar), output.out)
            made.saved = output.out / store.DATA
            computed = time.perf_counter()
            dataset = store.view(output.out)
            for old in (output.out / f"{picture}.png", output.out / f"{picture}.svg"):
                old.unlink(missing_ok=True)
            written = [made.saved, *(draw(dataset, output.out) if output.figure else ())]
            finished = time.perf_counter()
            print(summarise(dataset))
        if "solver_reason" in dataset.attrs:
            print(f"\n{dataset.attrs['solver_reason']}")
        did = "complete before" if made.lease.complete else f"computed and saved in {computed - started:.1f} s"
        print(f"{did}, drawn in {finished - computed:.1f} s:")
        for file in written:
            print(f"  {file}")
        return 0

    return complete(work)


def _name(module: str) -> str:
    return module.rpartition(".")[2]


def _again(module: str, arguments: Sequence[str] | None) -> str:
    given = [each for each in (sys.argv[1:] if arguments is None else arguments) if each not in _FRESH]
    return shlex.join(["python", "-m", module, *given, "--resume"])


def parse_bytes(name: str, text: str | None) -> int | None:
    """A size such as 512MB as a number of bytes; `InvalidInput` names the field."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]+) *([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    try:
        size = float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ") if match else 0.0
    except ValueError:
        size = 0.0
    require(SMALLEST_MEMORY <= size < 2**62, name, text, "a size from 1MB on, such as 512MB or 2GB")
    return int(size)


def complete(work: Callable[[Made], int]) -> int:
    """Do the work of a command and return its exit status, or 2 or 3 with one line on what went wrong (see `execute`).

    Args:
      work: notes in `Made` what it has made as it goes on; a new folder is removed again unless something was saved.
    """
    for stream in (sys.stdout, sys.stderr):  # a path or a name that the terminal cannot show is no reason to fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    made = Made()
    try:
        with _stoppable():
            return work(made)
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
        return f"; finished chunks are kept, go on with: {made.again}"
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


def parse(
    config_type: type[C], output_type: type[O], module: str, description: str | None, arguments: Sequence[str] | None
) -> tuple[C, O]:
    """Read flags into a configuration and an output; a bad one is `InvalidInput` with the whole story in one line."""
    # Docstrings name an experiment as a checkout does.
    shown = (description or "").strip().replace(f"experiments.{_name(module)}", module)
    flat, place = tyro.conf.arg(name=""), Path("results") / _name(module)
    command = dataclasses.make_dataclass(
        "Command",
        [
            ("config", Annotated[config_type, flat], field(default_factory=config_type)),
            ("output", Annotated[output_type, flat], field(default_factory=lambda: output_type(place))),
        ],
    )
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            parsed: Any = tyro.cli(command, args=arguments, description=shown, prog=f"python -m {module}")
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise BadArgument(_one_line(captured.getvalue())) from None
    return parsed.config, parsed.output


class BadArgument(InvalidInput):
    """A command line that could not be read into a configuration."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


def _one_line(message: str) -> str:
    """The text of a boxed message: what is wrong, and the help of the argument it names."""
    lines = [line.strip(_BOX + " ") for line in message.splitlines()]
    return " ".join(line for line in lines[1:] if line) or "command line could not be read; see --help"
