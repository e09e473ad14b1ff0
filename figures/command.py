"""The command line that all figures share: draw a stored result again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import xarray as xr

from linsim import store
from linsim.errors import InvalidInput, RunFailed

Save = Callable[[xr.Dataset, Path, str], list[Path]]
"""Draw a result and write FOLDER/NAME.png and .svg; returns both paths."""


class _OneLineParser(argparse.ArgumentParser):
    """Tells a bad argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")


def redraw(save: Save, figure: str, description: str | None, arguments: Sequence[str] | None) -> int:
    """Draw a stored result again, by default results/FIGURE into the gallery.

    Args:
      save: of the figure's module.
      figure: its name.
      description: its first line is shown by --help.
      arguments: command line without the program's name; None means sys.argv.

    Returns:
      Exit status 0, or with one line on stderr 2 (a bad argument, no result) or 3 (not written).
    """
    parser = _OneLineParser(prog=f"python -m figures.{figure}", description=(description or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("results") / figure, help="folder of the result")
    parser.add_argument("--out", type=Path, default=Path("figures/gallery"), help="folder for the picture")
    parser.add_argument("--name", default=figure, help="name of the files, without ending")
    options = parser.parse_args(arguments)
    try:
        paths = save(store.load(options.data), options.out, options.name)
    except (InvalidInput, RunFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 3
    for path in paths:
        print(path)
    return 0
