"""What every figure module is: a stored result in, the same picture out, from Python and from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import xarray as xr
from matplotlib.figure import Figure

from linsim.errors import InvalidInput, RunFailed, require
from linsim.finding import Finding
from linsim.labels import label
from linsim.storage import store

from .panels import canvas


@dataclass(frozen=True)
class Picture:
    """A figure by its name; a module of figures hands out its methods as `draw`, `save` and `main`."""

    name: str
    """Of the module, of the result's default folder in results/, and of the files."""
    description: str | None
    """The module's docstring; --help shows its first line."""
    of: str
    """What the dataset must be, in words."""
    needed: Collection[str]
    """Variables and axes that must be there."""
    paint: Callable[[xr.Dataset], Figure]
    """The figure of a dataset that has them, all shared names labelled, in the style in force."""
    title: Callable[[xr.Dataset], str] | None = None
    """The sentence above the figure of a dataset that carries no finding."""

    def draw(self, dataset: xr.Dataset) -> Figure:
        """The figure of a result, with what was found as its title.

        Args:
          dataset: as the experiment returns it.

        Raises:
          InvalidInput: variables are missing.
        """
        missing = sorted(set(self.needed) - set(map(str, dataset.variables)))
        require(not missing, "dataset", f"no {', '.join(missing)}", self.of)
        with canvas.style():
            figure = self.paint(label(dataset))
            if "finding" in dataset.attrs:
                found = Finding.of(dataset)
                canvas.entitle(figure, f"{found.sentence}. {found.trust}" if found.trust else found.sentence)
            elif self.title is not None:
                canvas.entitle(figure, self.title(dataset))
            return figure

    def save(self, dataset: xr.Dataset, folder: Path, name: str | None = None) -> list[Path]:
        """Draw and write FOLDER/NAME.png and .svg, the same bytes every time; returns both paths."""
        figure = self.draw(dataset)
        with canvas.style():
            return canvas.write(canvas.settle(figure), folder, name or self.name)

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Draw a stored result again, by default results/NAME into the gallery.

        Args:
          arguments: command line without the program's name; None means sys.argv.

        Returns:
          Exit status 0, or with one line on stderr 2 (a bad argument, no result) or 3 (not written).
        """
        first = (self.description or "").split("\n")[0]
        parser = _OneLineParser(prog=f"python -m {__package__}.{self.name}", description=first)
        parser.add_argument("--data", type=Path, default=Path("results") / self.name, help="folder of the result")
        parser.add_argument("--out", type=Path, default=Path("figures/gallery"), help="folder for the picture")
        parser.add_argument("--name", default=self.name, help="name of the files, without ending")
        options = parser.parse_args(arguments)
        try:
            paths = self.save(store.load(options.data), options.out, options.name)
        except (InvalidInput, RunFailed) as error:
            print(error, file=sys.stderr)
            return 2 if isinstance(error, InvalidInput) else 3
        for path in paths:
            print(path)
        return 0


class _OneLineParser(argparse.ArgumentParser):
    """Tells a bad argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; see --help\n")
