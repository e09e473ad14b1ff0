"""What measures cost: the default chart with ten of them, and with none, in turns.

    python -m benchmarks.measured [--json FILE] [--quick]

Ours is the chart that also tells ten measures of every checkpoint and lane, the peer the same chart without: the ratio
is what is left of the speed. Nothing is compared with another solver, foretold, kept or drawn. The last row holds the
chart without measures against itself: what the ratio of nothing is on this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.racing import Row, main, race
from linsim.commands.building import build_problem, learning_rates, strengths
from linsim.commands.config import ChartConfig, FinetuneConfig, RefinedConfig
from linsim.commands.transfers import build_transfer
from linsim.measure import Measure
from linsim.measures.built_in import built_in
from linsim.sweeping.sweep import chart

CHEAP = (
    *("learned_share", "hessian_trace", "gradient_square", "imbalance", "rise_under_absolute_noise"),
    *("weight_distance", "product_distance", "bound_ratio", "hessian_trace@tuned", "learned_share@tuned"),
)
COSTLY = (*CHEAP[:8], "top_eigenvalue", "curvature_along_displacement")
"""With two that take products with the Hessian, of every checkpoint and of every lane."""


def measures_of(names: Iterable[str], transfer: Any) -> list[Measure]:
    """Built-in measures, each under a name of its own."""
    found = [built_in(name, transfer) for name in names]
    return [measure.taken(measure.at, f"{measure.name}_{at}") for at, measure in enumerate(found)]


def rows(quick: bool) -> Iterable[Row]:
    """Races in float64."""
    config = ChartConfig()
    if quick:
        small = FinetuneConfig(rates=2, strengths=2, steps=20)
        config = ChartConfig(dim=4, finetune=small, pretrain=RefinedConfig(steps=200, budgets=4, tolerance=None))
    transfer = build_transfer(config)
    problem = build_problem(config, transfer)
    axes = learning_rates(config.finetune), strengths(config.finetune)
    lanes = len(problem.budgets) * len(axes[0]) * len(axes[1])

    def charted(measures: list[Measure]) -> Callable[[], xr.Dataset]:
        return lambda: chart(problem, *axes, measures=measures, predicted=False, rechecked=0)

    plain = charted([])
    for name, measures in (
        ("ten measures", measures_of(CHEAP, transfer)),
        ("ten measures, two with Hessian products", measures_of(COSTLY, transfer)),
        ("none, against itself", []),
    ):
        ours = charted(measures)
        with_measures, without = ours(), plain()
        apart = max(float(np.max(np.abs(with_measures[each] - without[each]))) for each in _LOSSES)
        note = f"losses apart by {apart:.1g}"
        yield race(
            f"default chart, {name}", lanes * problem.finetune_steps, "lane-steps", ours, plain, rounds=7, note=note
        )


_LOSSES = ("pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "forgetting")

if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
