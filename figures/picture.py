"""What every figure module is: a result in, the same picture out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

from linsim.errors import require
from linsim.finding import Finding
from linsim.labels import label

from .panels import canvas


@dataclass(frozen=True)
class Picture:
    """A figure by its name; a module of figures hands out its methods as `draw` and `save`."""

    name: str
    """Of the module, and of the files."""
    of: str
    """What the dataset must be, in words."""
    needed: Collection[str]
    """Variables and axes that must be there."""
    paint: Callable[[xr.Dataset], Figure]
    """The figure of a dataset that has them, all shared names labelled, in the style in force."""

    def draw(self, dataset: xr.Dataset) -> Figure:
        """The figure of a result, with what was found as its title.

        Args:
          dataset: as the experiment returns it.

        Raises:
          InvalidInput: variables are missing.
        """
        missing = sorted(set(self.needed) - set(map(str, dataset.variables)))
        older = "config" in dataset.attrs and dataset.attrs.get("experiment", self.name) == self.name
        allowed = f"{self.of}; `linsim again` computes that of an older version anew" if older else self.of
        require(not missing, "dataset", f"no {', '.join(missing)}", allowed)
        with canvas.style():
            figure = self.paint(label(dataset))
            if "finding" in dataset.attrs:
                canvas.entitle(figure, title(dataset))
            return figure

    def save(self, dataset: xr.Dataset, folder: Path, name: str | None = None) -> list[Path]:
        """Draw and write FOLDER/NAME.png and .svg, the same bytes every time; returns both paths."""
        figure = self.draw(dataset)
        with canvas.style():
            return canvas.write(canvas.settle(figure), folder, name or self.name)


def title(dataset: xr.Dataset) -> str:
    """What a picture says above its panels: what was found, and what speaks against trusting it.

    Raises:
      InvalidInput: the dataset carries no finding.
    """
    found = Finding.of(dataset)
    return f"{found.sentence}. {found.trust}" if found.trust else found.sentence
