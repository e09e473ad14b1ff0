"""The command line that all experiments share: compute, save, draw with the figure of the same name, tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import xarray as xr

from linsim.commands import cli
from linsim.dynamics.training import Progress

C = TypeVar("C")

_HERE = __package__  # `experiments` in a checkout, inside another package where it is installed
_FIGURES = f"{_HERE.removesuffix('experiments')}figures"


def command(
    config_type: type[C],
    run: Callable[[C, Progress | None], xr.Dataset],
    name: str,
    description: str | None,
    summarise: Callable[[xr.Dataset], str],
    arguments: Sequence[str] | None,
    *,
    figure: str | None = None,
    claims: Sequence[str] = (),
    doing: str = "training",
) -> int:
    """The `main` of an experiment module.

    Args:
      config_type: its frozen dataclass; every field becomes a flag.
      run: configuration, progress report -> result.
      name: of the module; results go to results/NAME unless --out says otherwise.
      description: its docstring, shown by --help.
      summarise: result -> its conclusion, in a few lines computed from the data.
      arguments: command line without the program's name; None means sys.argv.
      figure: module of `figures` that draws the result, if not the one of the same name.
      claims: ids of the claims that its conclusion stands on, told after it.
      doing: what the progress bar says.

    Returns:
      Exit status 0, 2 or 3, see `linsim.commands.cli.execute`.
    """
    drawn_by = figure or name

    def draw(dataset: xr.Dataset, folder: Path) -> Sequence[Path]:
        # Experiments know no figures until one is wanted.
        paths: Sequence[Path] = import_module(f"{_FIGURES}.{drawn_by}").save(dataset, folder)
        return paths

    def tell(dataset: xr.Dataset) -> str:
        if not claims:
            return summarise(dataset)
        ids = " ".join(claims)
        return f"{summarise(dataset)}\n\nThe claims behind it: python -m {_HERE}.claims --only {ids}"

    return cli.execute(
        config_type,
        run,
        module=f"{_HERE}.{name}",
        description=description,
        draw=draw,
        summarise=tell,
        picture=drawn_by,
        doing=doing,
        arguments=arguments,
    )
