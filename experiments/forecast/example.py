"""Makes the example: linear networks at eleven budgets, whose losses up to 16 times the last are known.

python -m experiments.forecast.example
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from linsim.forecasting.columns import COLUMNS
from linsim.network import identity
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.shifts import Rescale, shifted
from linsim.spectra import exponential
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask

from ..objectives.tasks import FINETUNE_LOSS_BEFORE

TABLE = Path(__file__).with_name("networks.csv")
BUDGETS = np.round(40 * 2 ** (np.arange(11) / 2)).astype(int)
AHEAD = np.round(BUDGETS[-1] * 2.0 ** np.arange(1, 5)).astype(int)
FACTORS = {"tail x 3": 3.0, "tail x 0.7": 0.7}
RATES = (5e-4, 2e-3, 8e-3)
_SOURCES = ("pretrain_loss_before", "finetune_loss_before", "pretrain_loss_after", "finetune_loss_after")


def rows(ahead: bool = False) -> list[tuple[object, ...]]:
    """Rows of the table, or those of the budgets that it does not know."""
    found: list[tuple[object, ...]] = []
    for run, factor in FACTORS.items():
        transfer = shifted(LinearTask.create(exponential(8, 2.0, 0.35)), Rescale(range(4, 9), factor))
        start, budgets = stack_seeds([identity((8, 8, 8), tau=3.0)]), np.concatenate([BUDGETS, AHEAD])
        problem = Problem(transfer, start, Phase(2e-3), Phase(2e-3), budgets, 100)
        result = sweep(problem, {"learning_rate": RATES}, [FINETUNE_LOSS_BEFORE], rechecked=0).isel(seed=0)
        for rate in RATES:
            of_rate = result.sel(learning_rate=rate)
            for steps in AHEAD if ahead else BUDGETS:
                losses = (float(of_rate.sel(pretrain_steps=steps)[name]) for name in _SOURCES)
                found.append((run, rate, int(steps), *(f"{loss:.6g}" for loss in losses)))
    return found


def main() -> int:
    """Write the table."""
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("run", "rate", "budget", *COLUMNS))
        writer.writerows(rows())
    return 0


if __name__ == "__main__":
    sys.exit(main())
