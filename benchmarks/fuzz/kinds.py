"""What is fuzzed: one example is decided by its kind and one number, so that whatever was found is found again."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from linsim.errors import InvalidInput, RunFailed

LIMIT = 90
"""Seconds for one example: programs of deep networks compile for half a minute where other work goes on."""


@dataclass(frozen=True)
class Kind:
    """One of the ways in which something reaches linsim from outside."""

    name: str
    attempt: Callable[[np.random.Generator, Path], str | None]
    """An example from what is drawn, in an empty folder: what is wrong with what came of it, or None."""
    plant: Callable[[], contextlib.AbstractContextManager[None]]
    """Within, linsim has a fault of this kind, put in on purpose."""

    def fault(self, seed: int, folder: Path) -> str | None:
        """What is wrong with an example, in a line; None where nothing is."""
        try:
            with _limited():
                return self.attempt(np.random.default_rng(seed), folder)
        except _Endless:
            return f"no end within {LIMIT} s"


class _Endless(BaseException):
    """Raised by the clock, through whatever catches exceptions."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Within, time is limited, where there is a clock that interrupts."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_: int, __: FrameType | None) -> None:
        raise _Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal_or_fault(work: Callable[[], str | None], warned: type[Warning] = RuntimeWarning) -> str | None:
    """What is wrong with a piece of work: nothing where it is refused in one line, else what it says of itself.

    Args:
      work: to be done.
      warned: warnings that it may not give.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", warned)
        try:
            return work()
        except (InvalidInput, RunFailed) as error:
            return None if len(str(error).splitlines()) == 1 else f"several lines: {str(error)[:200]!r}"
        except Exception as error:
            return _in_a_line(error)


def command_or_fault(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> tuple[int | None, str | None]:
    """Exit status of a command, and what is wrong with how it ended."""
    printed, told = io.StringIO(), io.StringIO()
    status: int | None = None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            status = main(arguments)
        except Exception as error:
            return None, _in_a_line(error)
    lines = [line for line in told.getvalue().splitlines() if line.strip()]
    if status not in (0, 2, 3, 4):
        return status, f"exit status {status}"
    if any("Warning" in line or "Traceback" in line for line in lines):
        return status, f"on stderr: {' '.join(lines)[:200]}"
    if status in (2, 3) and len(lines) != 1:
        return status, f"exit status {status} with {len(lines)} lines: {' '.join(lines)[:200]}"
    return status, None


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes of which some are other ones, or missing, or there twice."""
    out = bytearray(data)
    at = int(rng.integers(len(out) + 1))
    match rng.integers(6):
        case 0:
            del out[at:]
        case 1:
            for place in rng.integers(max(len(out), 1), size=int(rng.integers(1, 5))):
                out[place:] = bytes([out[place] ^ 1 << int(rng.integers(8))]) + out[place + 1 :] if out else b""
        case 2:
            out[at : at + int(rng.integers(1, 64))] = b""
        case 3:
            out[at:at] = out[at : at + int(rng.integers(1, 64))]
        case 4:
            out[at:at] = rng.bytes(int(rng.integers(1, 16)))
        case _:
            out = bytearray(rng.bytes(int(rng.integers(64))))
    return bytes(out)


def chosen(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """One of some values, whatever they are."""
    return values[int(rng.integers(len(values)))]


@contextlib.contextmanager
def put(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within, an attribute has another value."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
