"""What a command is called by whoever called it: `linsim stages`, or `python -m experiments.stages`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BY_LINSIM = ContextVar("by_linsim", default=False)


@contextmanager
def by_linsim() -> Iterator[None]:
    """Within, commands are those of `linsim`."""
    token = _BY_LINSIM.set(True)
    try:
        yield
    finally:
        _BY_LINSIM.reset(token)


def spoken(module: str) -> str:
    """The command that runs a module of experiments, or figures.

    Args:
      module: as `python -m` takes it.
    """
    return f"linsim {dashed(module.rpartition('.')[2])}" if _BY_LINSIM.get() else f"python -m {module}"


def described(module: str, text: str | None) -> str:
    """The docstring of a module of experiments, which names it as in a checkout, with the command as it is here."""
    return (text or "").strip().replace(f"python -m experiments.{module.rpartition('.')[2]}", spoken(module))


def say(text: str) -> None:
    """Print, and flush; where the reader has gone, as of `linsim stages --help | head`, nothing more is said."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        silence()


def silence() -> None:
    """From now on what is printed goes nowhere, not even what is left to be flushed at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def dashed(name: str) -> str:
    """The name of a module as that of a command."""
    return name.replace("_", "-")
