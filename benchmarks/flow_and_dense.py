"""The same chart by gradient flow in closed form and by descent with full matrices: time, and how far they are apart.

    python -m benchmarks.flow_and_dense [DIM]

The tasks do not share singular vectors, and the initial weights are balanced in random bases.
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np
import xarray as xr

from linsim import (
    LinearTask,
    Phase,
    Problem,
    Rescale,
    Rotate,
    balanced,
    chart,
    power_law,
    random_basis,
    shifted,
    stack_seeds,
)
from linsim.dynamics.choosing import SolverName


def build(dim: int, longer: int = 1) -> Problem:
    """A chart's problem; `longer` stretches the horizon and the number of fine-tuning steps."""
    rng = np.random.default_rng(0)
    task = LinearTask.create(power_law(dim), left=random_basis(dim, rng), right=random_basis(dim, rng))
    with jax.enable_x64(True):
        weights = balanced((dim, dim, dim), float(np.exp(-4)), jax.random.key(0))
    return Problem(
        transfer=shifted(task, Rescale(range(dim // 4 + 1, dim + 1), factor=4.0), Rotate(20.0)),
        initial=stack_seeds([weights]),
        pretrain=Phase(1e-3),
        finetune=Phase(1e-3),
        budgets=np.unique(np.geomspace(100, 10_000 * longer, 20).astype(int)),
        finetune_steps=250 * longer,
    )


def timed(problem: Problem, solver: SolverName) -> tuple[xr.Dataset, float]:
    """A chart and the seconds it took, compilation left out by a first run."""
    rates, strengths = np.geomspace(1e-5, 2e-3, 8), np.asarray([0.0, 0.5, 2.0])
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        result = chart(problem, rates, strengths, solver=solver)
        seconds = time.perf_counter() - started
    return result, seconds


def main() -> None:
    """Print the table."""
    dim = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    print(f"d = {dim}; 20 budgets x 8 rates x 3 strengths, prediction included; the second of two runs, in seconds")
    for longer in (1, 4, 16):
        problem = build(dim, longer)
        (flow, flow_time), (dense, dense_time) = timed(problem, "flow"), timed(problem, "dense")
        name = "pretrain_loss_after"
        apart = np.abs(flow[name].values - dense[name].values) / np.abs(dense[name].values)
        print(
            f"{problem.budgets[-1]:>7} + {problem.finetune_steps} steps: flow {flow_time:.2f}, dense {dense_time:.2f}, "
            f"ratio {dense_time / flow_time:.1f}; losses apart by {np.median(apart):.1e}, at most {apart.max():.1e}"
        )


if __name__ == "__main__":
    main()
