"""Draw the whole gallery, or some of it, from results that are there; those that are missing are computed first.

    python -m figures [NAME ...]

A result in results/NAME counts before one that comes with the figures (figures/stored/NAME). A result that is there
is not computed again: remove its folder for that. Prints a line a picture.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from linsim.errors import InvalidInput, RunFailed
from linsim.storage import store

from .gallery import FOLDER, GALLERY, RESULTS, Entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 0, 2 for a name that the gallery does not have, 3 where a picture could not be made."""
    names = {entry.name: entry for entry in GALLERY}
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"pictures: {', '.join(names)}; default all")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the pictures; default the gallery")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names]
    if unknown:
        print(InvalidInput("NAME", unknown[0], f"one of {', '.join(names)}"), file=sys.stderr)
        return 2
    wanted = [names[name] for name in options.names] or list(GALLERY)
    started, failed = time.perf_counter(), []
    for entry in wanted:
        try:
            told = f"{_obtain(entry)}; {_draw(entry, options.out)}"
        except (InvalidInput, RunFailed) as error:
            failed.append(entry.name)
            told = f"not made: {error}"
        print(f"{entry.name:<24}{told}", flush=True)
    taken = time.perf_counter() - started
    print(f"{len(wanted) - len(failed)} of {len(wanted)} pictures in {options.out}, in {taken:.0f} s")
    return 3 if failed else 0


def _obtain(entry: Entry) -> str:
    """Have a result computed if there is none; in words, where it comes from."""
    if (source := entry.source()) is not None:
        return f"result in {source} kept" if source.is_relative_to(RESULTS) else "result that comes with the figures"
    started = time.perf_counter()
    # In a process of its own: figures hold no JAX, and a failure there ends nothing here.
    command = [sys.executable, "-m", *entry.command, "--no-figure", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        word = (done.stderr.strip() or "no word").splitlines()[-1]
        raise RunFailed(f"{entry.module} ended with status {done.returncode} ({word})")
    return f"result computed in {time.perf_counter() - started:.0f} s"


def _draw(entry: Entry, folder: Path) -> str:
    """Draw a result that is there; in words, whether the picture changed."""
    source = entry.source()
    if source is None:
        raise RunFailed(f"{RESULTS / entry.name} holds no {store.DATA}")
    before = {path: path.read_bytes() for path in folder.glob(f"{entry.name}.*")}
    paths = import_module(entry.drawn_by).save(store.load(source), folder, entry.name)
    if not all(path in before for path in paths):
        return "picture new"
    return "picture the same" if all(path.read_bytes() == before[path] for path in paths) else "picture changed"


if __name__ == "__main__":
    sys.exit(main())
