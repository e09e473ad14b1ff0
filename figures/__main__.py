"""Draw the whole gallery, or some of it, from results that are there; those that are missing are computed first.

    python -m figures [NAME ...] [--out DIR]
    python -m figures NAME --data DIR [--out DIR]

A result in results/NAME counts before one that comes with the figures (figures/stored/NAME). A result that is there
is not computed again: remove its folder for that. Prints a line a picture. The gallery's page quotes the title of what
is drawn into the gallery. With --data the one picture is that of the result in that folder, and nothing is computed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from linsim.commands.reading import OneLineParser
from linsim.commands.spoken import spoken
from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import store

from .gallery import FOLDER, GALLERY, OTHERS, PAGE, RESULTS, Entry, quoted
from .picture import title

_DISTRUSTED = 4  # the status of a result whose own check says not to trust it: it is drawn, and says so


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
      arguments: without the program's name; None means sys.argv.

    Returns:
      Exit status 0; with one line on stderr 2 (a bad argument, no result) or 3 (not written). Of the gallery, 3 where
      any picture could not be made.
    """
    names = {entry.name: entry for entry in (*GALLERY, *OTHERS)}
    parser = OneLineParser(prog=spoken(__package__), description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"pictures: {', '.join(names)}; default the gallery")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of a result to draw; default results/NAME")
    parser.add_argument("--out", type=Path, metavar="DIR", default=FOLDER, help="for the pictures; default the gallery")
    options = parser.parse_args(arguments)
    try:
        for name in options.names:
            require(name in names, "NAME", name, f"one of {', '.join(names)}")
        if options.data is None:
            return _draw_all([names[name] for name in options.names] or GALLERY, options.out)
        require(len(options.names) == 1, "data", options.data, "a folder beside one NAME")
        (name,) = options.names
        for path in import_module(names[name].drawn_by).save(store.load(options.data), options.out, name):
            print(path)
    except (InvalidInput, RunFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 3
    return 0


def _draw_all(wanted: Sequence[Entry], folder: Path) -> int:
    started, failed = time.perf_counter(), 0
    for entry in wanted:
        try:
            told = f"{_obtain(entry)}; {_draw(entry, folder)}"
        except (InvalidInput, RunFailed) as error:
            failed += 1
            told = f"not made: {error}"
        print(f"{entry.name:<24}{told}", flush=True)
    taken = time.perf_counter() - started
    print(f"{len(wanted) - failed} of {len(wanted)} pictures in {folder}, in {taken:.0f} s")
    return 3 if failed else 0


def _obtain(entry: Entry) -> str:
    """Have a result computed if there is none; in words, where it comes from."""
    if (source := entry.source()) is not None:
        return f"result in {source} kept" if source.is_relative_to(RESULTS) else "result that comes with the figures"
    started = time.perf_counter()
    # In a process of its own: figures hold no JAX, and a failure there ends nothing here.
    command = [sys.executable, "-m", *entry.command, "--no-figure", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, _DISTRUSTED):
        word = (done.stderr.strip() or "no word").splitlines()[-1]
        raise RunFailed(f"{entry.module} ended with status {done.returncode} ({word})")
    return f"result computed in {time.perf_counter() - started:.0f} s"


def _draw(entry: Entry, folder: Path) -> str:
    """Draw a result that is there, and quote it if that is the gallery; in words, whether the picture changed."""
    source = entry.source()
    if source is None:
        raise RunFailed(f"{RESULTS / entry.name} holds no {store.DATA}")
    before = {path: path.read_bytes() for path in folder.glob(f"{entry.name}.*")}
    dataset = store.load(source)
    paths = import_module(entry.drawn_by).save(dataset, folder, entry.name)
    if folder == FOLDER and PAGE.is_file():
        PAGE.write_text(quoted(PAGE.read_text(), entry.name, title(dataset)))
    if not all(path in before for path in paths):
        return "picture new"
    return "picture the same" if all(path.read_bytes() == before[path] for path in paths) else "picture changed"


if __name__ == "__main__":
    sys.exit(main())
