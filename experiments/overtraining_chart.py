"""After how many pre-training steps does more pre-training do harm, at which fine-tuning rate and regularisation?

    python -m experiments.overtraining_chart --out DIR

pre-trains once, fine-tunes from every budget at every learning rate and strength, locates the inflection point of every
curve of pre-training loss after fine-tuning, and predicts it in closed form where theory allows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from linsim import cli
from linsim.building import build_chart
from linsim.config import ChartConfig as Config
from linsim.summary import summarise
from linsim.training import Progress
from linsim.transfers import build_transfer


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The chart of a configuration; `InvalidInput` for a field outside its domain."""
    return build_chart(config, build_transfer(config), report)


def draw(dataset: xr.Dataset, folder: Path) -> Sequence[Path]:
    """The picture of this chart; figures are imported only when one is wanted."""
    from figures import overtraining_chart as figure

    return figure.save(dataset, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return cli.execute(
        Config,
        run,
        out=Path("results/overtraining_chart"),
        draw=draw,
        picture="overtraining_chart",
        summarise=summarise,
        arguments=arguments,
        description=(__doc__ or "").strip(),
        prog="python -m experiments.overtraining_chart",
    )


if __name__ == "__main__":
    sys.exit(main())
