"""Progress for people: a bar on a terminal and in a notebook, one line a minute elsewhere."""

from __future__ import annotations

import builtins
import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE = 2.0  # seconds of work before a bar appears
_PAUSE = 60.0  # seconds between two lines where there is no terminal
_BLINK = 0.5  # seconds between two bars in a notebook
_WIDTH = 100  # columns there


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process; where none does, IPython is not imported to find out."""
    ask = getattr(builtins, "get_ipython", None) or getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and getattr(ask(), "kernel", None) is not None


class Bar:
    """Called with (done, total) of whatever is counted; `chunks` is told of the chunks of a sweep besides."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.notebook = in_notebook()
        # A notebook takes plain text, whose last line is written over: rich would ask for widgets there.
        self.console = Console(stderr=True, force_jupyter=False, width=_WIDTH if self.notebook else None)
        columns = (TextColumn(doing), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[chunks]}"))
        left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *left, console=self.console, transient=True)
        self._task = self._bar.add_task(doing, total=None, chunks="")
        self._started = self._told = time.monotonic()
        self._since = self._started  # when the sweep at hand began
        self._chunks = ""
        self._found: int | None = None  # done before this run

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is."""
        now = time.monotonic()
        self._found = done if self._found is None else self._found
        self._bar.update(self._task, completed=done, total=total, chunks=self._chunks)
        if self.notebook:
            if now - self._started > _PATIENCE and now - self._told > _BLINK:
                self._told = now
                with self.console.capture() as drawn:
                    self.console.print(self._bar.get_renderable(), end="")
                self._write_over(drawn.get())
        elif self.console.is_terminal:
            if now - self._started > _PATIENCE and not self._bar.live.is_started:
                self._bar.start()
        elif now - self._told > _PAUSE:
            self._told = now
            gained = done - self._found
            left = (now - self._started) * (total - done) / gained if gained > 0 else float("inf")
            told = [f"{self.doing}: {done / total:.0%}", self._chunks, f"{_duration(left)} left"]
            print(", ".join(filter(None, told)), file=self.console.file, flush=True)

    def chunks(self, done: int, total: int, lanes: int) -> None:
        """Note how far a sweep is; told with what comes next."""
        now = time.monotonic()
        if lanes == 0:
            self._since = now
        speed = lanes / max(now - self._since, 1e-9)
        rate = f", {speed:.2g} lanes/s" if lanes else ""
        self._chunks = f"chunk {done} of {total}{rate}"

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar.live.is_started:
            self._bar.stop()
        if self.notebook and self._told > self._started:
            self._write_over("")

    def _write_over(self, line: str) -> None:
        print(f"\r{line.strip():<{_WIDTH}}\r", end="", file=self.console.file, flush=True)


@contextlib.contextmanager
def progress_bar(doing: str = "training") -> Iterator[Bar]:
    """A bar on standard error, once work has gone on for two seconds; lines where that is no terminal or notebook."""
    bar = Bar(doing)
    try:
        yield bar
    finally:
        bar.stop()


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
