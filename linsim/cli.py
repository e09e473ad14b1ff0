"""The command line of an experiment: parse, prepare, run, save, draw, tell. Exit status 0, 2 or 3 (see `execute`)."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import tyro
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from linsim import store
from linsim.errors import InvalidInput, RunFailed
from linsim.training import Progress as Report

C = TypeVar("C")
O = TypeVar("O", bound="Folder")

_PATIENCE = 2.0  # seconds of work before a progress bar appears
_BOX = "╭╮╰╯│─"


@dataclass(frozen=True)
class Folder:
    """Where the result goes."""

    out: Path
    """Folder for the result."""
    overwrite: bool = False
    """Replace a result that is already there."""


@dataclass(frozen=True)
class Output(Folder):
    """Where the data and the picture go."""

    figure: bool = True
    """Draw the picture."""


@dataclass
class Made:
    """What a run has made so far, as far as it matters when it fails."""

    created: Path | None = None
    """The folder, if it is new."""
    saved: Path | None = None
    """The result, once it is whole."""


def execute(
    config_type: type[C],
    run: Callable[[C, Report | None], xr.Dataset],
    *,
    name: str,
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
      name: of the experiment's module; its results go to results/NAME unless --out says otherwise.
      description: shown by --help.
      draw: result, folder -> pictures written.
      summarise: result -> the message in a few lines of text.
      picture: name of the picture's files, without ending; an old one is removed when it is not drawn again.
      doing: what the progress bar says.
      arguments: command line without the program's name; default sys.argv.

    Returns:
      0 on success; 2 for a bad argument, told in one line; 3 when the run could not be completed, and then nothing
      half-written is left behind.
    """

    def work(made: Made) -> int:
        config, output = parse(config_type, Output, name, description, arguments)
        made.created = output.out if store.prepare(output.out, output.overwrite) else None
        started = time.perf_counter()
        with progress_bar(doing) as report:
            dataset = run(config, report)
        computed = time.perf_counter()
        made.saved = store.save(dataset, output.out)
        for old in (output.out / f"{picture}.png", output.out / f"{picture}.svg"):
            old.unlink(missing_ok=True)
        written = [made.saved, *(draw(dataset, output.out) if output.figure else ())]
        finished = time.perf_counter()
        print(summarise(dataset))
        if "solver_reason" in dataset.attrs:
            print(f"\n{dataset.attrs['solver_reason']}")
        print(f"computed in {computed - started:.1f} s, saved and drawn in {finished - computed:.1f} s:")
        for file in written:
            print(f"  {file}")
        return 0

    return complete(work)


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
        return work(made)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except (RunFailed, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"run not completed: {reason}{_kept(made.saved)}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print(f"run not completed: interrupted{_kept(made.saved)}", file=sys.stderr)
        return 3
    finally:
        if made.created is not None and made.saved is None:
            with contextlib.suppress(OSError):  # something else is in it, or it was never made
                made.created.rmdir()


def _kept(saved: Path | None) -> str:
    return "; nothing was kept" if saved is None else f"; {saved} is whole"


def parse(
    config_type: type[C], output_type: type[O], name: str, description: str | None, arguments: Sequence[str] | None
) -> tuple[C, O]:
    """Read flags into a configuration and an output; a bad one is `InvalidInput` with the whole story in one line."""
    flat, place = tyro.conf.arg(name=""), Path("results") / name
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
            parsed: Any = tyro.cli(
                command, args=arguments, description=(description or "").strip(), prog=f"python -m experiments.{name}"
            )
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


@contextlib.contextmanager
def progress_bar(doing: str = "training") -> Iterator[Report | None]:
    """A bar with the time left on standard error, once work has gone on for two seconds; none if not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn(doing), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task(doing, total=None)
    started = time.monotonic()

    def report(done: int, total: int) -> None:
        if time.monotonic() - started > _PATIENCE and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()
