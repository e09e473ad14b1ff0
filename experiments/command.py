"""The command line of an experiment that still tells its result in lines of its own: no value `Finding` yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import xarray as xr

from linsim.commands import cli
from linsim.finding import Finding
from linsim.progress.showing import Progress

from .experiment import Experiment

C = TypeVar("C")


@dataclass(frozen=True)
class _Summarised(Experiment[C]):
    """Told by a function from the dataset to lines."""

    summarise: Callable[[xr.Dataset], str] = str

    def run(self, config: C, report: Progress | None = None, progress: bool | None = None) -> xr.Dataset:
        return self.compute(config, report)

    def tell(self, dataset: xr.Dataset) -> str:
        parts = [self.summarise(dataset), self.claims_told, str(dataset.attrs.get("solver_reason", ""))]
        return "\n\n".join(filter(None, parts))


def command(
    config_type: type[C],
    run: Callable[[C, Progress | None], xr.Dataset],
    name: str,
    description: str | None,
    summarise: Callable[[xr.Dataset], str],
    arguments: Sequence[str] | None,
    *,
    figure: str = "",
    claims: Sequence[str] = (),
    doing: str = "training",
    flags: type[cli.Drawing] = cli.Drawing,
) -> int:
    """The `main` of an experiment module; see `Experiment` for the arguments."""

    def find(dataset: xr.Dataset) -> Finding:
        return Finding("Nothing is said in one sentence", "cannot tell")

    ids = tuple(claims)
    return _Summarised(
        name, description, config_type, run, find, None, ids, figure, doing, flags, summarise=summarise
    ).main(arguments)
