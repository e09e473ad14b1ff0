"""How large models may be: ranks of thousands in modes, and one network of matrices in gram, against the closed form.

    python -m benchmarks.ranks [--modes 512 1024 2048 4096] [--gram 1024]

trains two layers on sigma_i = 1/i from 10^-3 sigma_i by the solver `modes`, to three times the flow time at which the
weakest mode is compute-optimal, and tells processor and wall time, the memory that the process came to, and the largest
deviation of L(N, D) over N = rank/16, rank/4 and rank from the sum of logistic curves, from D = 10 on. `gram` trains
one network of that width to D = 10. Exit status 1 where one is off by more than rate x curvature, which is what finite
steps are for.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import linsim as ls
from linsim.measures.built_in import LEARNED
from linsim.theory.scaling.laws import loss
from linsim.theory.scaling.power_law import PowerLaw

RATE = 0.1
LAW = PowerLaw(1.0)
SETTLED = 10.0
"""Flow time from which on the strongest modes, on which finite steps tell most, are learned."""
HEADS = "solver      rank   steps   processor s      wall s   memory GB   deviation"


class Row(NamedTuple):
    """What one size took."""

    solver: str
    rank: int
    steps: int
    processor: float
    wall: float
    memory: float
    deviation: float

    def __str__(self) -> str:
        times = f"{self.processor:14.1f}{self.wall:12.1f}{self.memory:12.2f}"
        return f"{self.solver:6}{self.rank:10}{self.steps:8}{times}{self.deviation:12.1e}"


def measured(solver: str, rank: int, last: float) -> Row:
    """One size, trained to a flow time."""
    begun = time.process_time(), time.perf_counter()
    strengths = LAW.strengths(rank)
    task = ls.LinearTask.create(strengths)
    start = ls.stack_seeds([ls.aligned((rank, rank, rank), task, LAW.start * strengths)])
    budgets = np.unique(np.round(np.geomspace(min(SETTLED, last), last, 12) / RATE).astype(int))
    problem = ls.Problem(ls.Transfer(task, task), start, ls.Phase(RATE), ls.Phase(RATE), budgets, 0)
    measures = [LEARNED] if solver == "modes" else []
    found = ls.sweep(problem, {}, measures, solver=solver, rechecked=0, progress=False)  # type: ignore[arg-type]
    times = budgets * RATE
    if measures:
        sizes = np.unique([max(rank // 16, 1), max(rank // 4, 1), rank])
        learned = found["learned"].isel(seed=0).transpose("pretrain_steps", "mode").values
        told = np.cumsum((learned - strengths) ** 2, axis=1)[:, sizes - 1] + LAW.beyond(sizes)
    else:
        sizes = np.array([rank])
        told = found["pretrain_loss_before"].values + LAW.beyond(sizes)
    apart = float(np.max(np.abs(told / loss(LAW, sizes, times) - 1)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = time.process_time() - begun[0], time.perf_counter() - begun[1]
    return Row(solver, rank, int(budgets[-1]), *took, memory, apart)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", type=int, nargs="*", default=[512, 1024, 2048, 4096])
    parser.add_argument("--gram", type=int, nargs="*", default=[1024])
    asked = parser.parse_args(arguments)
    print(HEADS)
    off = False
    for solver, ranks in (("modes", asked.modes), ("gram", asked.gram)):
        for rank in ranks:
            row = measured(solver, rank, 3 * 1.54 * rank if solver == "modes" else SETTLED)
            print(row, flush=True)
            off |= row.deviation > 4 * RATE
    return int(off)


if __name__ == "__main__":
    sys.exit(main())
