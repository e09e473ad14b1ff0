"""The picture of a result, for experiments, which know no figures until one is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import xarray as xr


def drawn_by(figure: str) -> Callable[[xr.Dataset, Path], Sequence[Path]]:
    """What draws a result into a folder with `figures.FIGURE`, which is imported then."""

    def draw(dataset: xr.Dataset, folder: Path) -> Sequence[Path]:
        paths: Sequence[Path] = import_module(f"figures.{figure}").save(dataset, folder)
        return paths

    return draw
