"""Does what pages say, each in a folder of its own, and all in one process: `python -m tests.reading PAGE ...`.

One process instead of one for each block, as most of a small command is importing and compiling.
"""

import contextlib
import importlib
import io
import os
import runpy
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType
from unittest import mock

from tests.pages import ROOT, Step, steps

COPIED = ("experiments", "figures", "pages")
"""What a page may add files to, or draw into."""


def read(page: str, folder: Path) -> None:
    """Follow the page; says on stderr what each step took, in seconds of this process, and stops at one that fails."""
    folder.mkdir()
    os.chdir(folder)
    if any(step.name.startswith(COPIED) for step in steps(page)):
        for name in COPIED:
            ignored = shutil.ignore_patterns("gallery", "stored", "__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / "linsim").symlink_to(ROOT / "linsim")  # which looks for these two beside itself
    cells = ModuleType("__main__").__dict__
    for step in steps(page):
        started = time.process_time()
        follow(step, cells)
        print(f"{time.process_time() - started:6.1f} s {page}: {step.text.splitlines()[0]}", file=sys.stderr)


def follow(step: Step, cells: dict[str, object]) -> None:
    """One step."""
    if step.kind == "file":
        Path(step.name).write_text(step.text)
        importlib.invalidate_caches()
    elif step.kind == "command":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed) if step.name else contextlib.nullcontext():
            command(step.words)
        if step.name:
            Path(step.name).write_text(printed.getvalue())
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
    sys.path[:1] = ["", str(ROOT)]  # first what lies in the folder, as of a reader's Python
    within = Path.cwd()
    for page in sys.argv[1:]:
        read(page, within / page.replace("/", "-"))
