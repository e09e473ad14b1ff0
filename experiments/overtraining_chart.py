"""After how many pre-training steps does more pre-training do harm, at which fine-tuning rate and regularisation?

    python -m experiments.overtraining_chart --out DIR

pre-trains once, fine-tunes from every budget at every learning rate and strength, locates the inflection point of every
curve of pre-training loss after fine-tuning, and predicts it in closed form where theory allows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import xarray as xr

from linsim.commands.building import build_chart
from linsim.commands.config import ChartConfig as Config
from linsim.commands.summary import summarise
from linsim.commands.transfers import build_transfer
from linsim.dynamics.training import Progress

from .command import command


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart of a configuration; `InvalidInput` for a field outside its domain."""
    return build_chart(config, build_transfer(config), report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "overtraining_chart", __doc__, summarise, arguments)


if __name__ == "__main__":
    sys.exit(main())
