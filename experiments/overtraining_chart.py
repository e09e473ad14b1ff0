"""After how many pre-training steps does more pre-training do harm, at which fine-tuning rate and regularisation?

    python -m experiments.overtraining_chart --out DIR

pre-trains once, fine-tunes from every budget at every learning rate and strength, locates the inflection point of every
curve of pre-training loss after fine-tuning, and predicts it in closed form where theory allows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import xarray as xr

from experiments.picture import drawn_by
from linsim import cli
from linsim.building import build_chart
from linsim.config import ChartConfig as Config
from linsim.summary import summarise
from linsim.training import Progress
from linsim.transfers import build_transfer

C = TypeVar("C")


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart of a configuration; `InvalidInput` for a field outside its domain."""
    return build_chart(config, build_transfer(config), report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return chart_command(Config, run, "overtraining_chart", __doc__, summarise, arguments)


def chart_command(
    config_type: type[C],
    run: Callable[[C, Progress | None], xr.Dataset],
    name: str,
    description: str | None,
    summarise: Callable[[xr.Dataset], str],
    arguments: Sequence[str] | None,
) -> int:
    """The command line of any experiment whose result is an overtraining chart."""
    return cli.execute(
        config_type,
        run,
        name=name,
        description=description,
        draw=drawn_by("overtraining_chart"),
        summarise=summarise,
        picture="overtraining_chart",
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
