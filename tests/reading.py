"""Does what a page says, in the current folder and in one process: `python -m tests.reading PAGE` from elsewhere.

One process instead of one for each block, as most of a small command is importing and compiling.
"""

import importlib
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType
from unittest import mock

from tests.pages import Step, steps


def read(page: str) -> None:
    """Follow the page; says on stderr how long each step took, and stops at the first that fails."""
    sys.path[0] = ""  # as of a reader's Python
    cells = ModuleType("__main__").__dict__
    for step in steps(page):
        started = time.perf_counter()
        follow(step, cells)
        print(f"{time.perf_counter() - started:6.1f} s  {step.kind} {step.text.splitlines()[0]}", file=sys.stderr)


def follow(step: Step, cells: dict[str, object]) -> None:
    """One step."""
    if step.kind == "file":
        Path(step.name).write_text(step.text)
        importlib.invalidate_caches()
    elif step.kind == "command":
        command(step.words)
    else:
        exec(compile(step.text, "<page>", "exec"), cells if step.kind == "cell" else {"__name__": "__main__"})


def command(words: list[str]) -> None:
    """A line of the console; raises unless it ends with status 0."""
    program, *arguments = words
    try:
        if program == "linsim":
            from linsim.commands.lab import main

            with mock.patch.object(sys, "argv", ["linsim", *arguments]):
                raise SystemExit(main())
        assert program == "python", f"{program}: nobody said how to run it"
        module = arguments[0] == "-m"
        name, *rest = arguments[module:]
        with mock.patch.object(sys, "argv", [name, *rest]):
            (runpy.run_module if module else runpy.run_path)(name, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{' '.join(words)} ended with status {end.code}") from end


if __name__ == "__main__":
    read(sys.argv[1])
