"""Kernels against the programs of XLA whose place they take, by all solvers that have them.

    python -m benchmarks.kernels [--json FILE] [--quick]

Both are `Session.finetune` of the same lanes, from the checkpoint to both losses; the peer runs with
LINSIM_KERNELS=off. Every lane has a rate of its own. A multiplication is one of the 3 (L - 1) d^3 of a step of
matrices, a mode-step one update of all layers of a mode.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.racing import Row, main, race
from linsim import LinearTask, Phase, Problem, Transfer, aligned, gaussian, power_law, random_basis, stack_seeds
from linsim.dynamics.choosing import choose
from linsim.dynamics.kernels.paths import VARIABLE
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session

_STATE_BYTES = 2 << 20  # of the lanes that step together


def session(solver: str, dim: int, depth: int, dtype: type, steps: int) -> tuple[Session, int]:
    """A problem of a solver, and lanes that step together."""
    rng = np.random.default_rng(0)
    sides = [(random_basis(dim, rng), random_basis(dim, rng)) for _ in range(2)]
    tasks = [
        LinearTask.create(power_law(dim), left=u, right=v) for u, v in (sides if solver == "dense" else sides[:1] * 2)
    ]
    widths = (dim,) * (depth + 1)
    first = (
        gaussian(widths, 0.5, jax.random.key(0)) if solver == "dense" else aligned(widths, tasks[0], np.full(dim, 0.1))
    )
    problem = Problem(Transfer(*tasks), stack_seeds([first]), Phase(1e-3), Phase(1e-3), np.asarray([1]), steps)
    entries = depth * dim * (dim if solver == "dense" else 1)
    lanes = max(4, _STATE_BYTES // (np.dtype(dtype).itemsize * entries))
    return Session.open(problem, choose(problem, solver).solver, dtype), lanes  # type: ignore[arg-type]


def contenders(opened: Session, lanes: int) -> list[Callable[[], np.ndarray]]:
    """Fine-tuning losses by kernels, and by XLA."""
    checkpoints, nowhere = opened.pretrain(), jnp.zeros(lanes, "int32")
    swept = {"learning_rate": jnp.geomspace(1e-4, 1e-2, lanes, dtype=opened.dtype)}

    def by(setting: str) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            os.environ[VARIABLE] = setting
            return np.asarray(opened.finetune(checkpoints, Lanes(nowhere, nowhere, swept)).finetune_loss)

        return run

    return [by(setting) for setting in ("on", "off")]


def rows(quick: bool) -> Iterator[Row]:
    """Matrices of several sizes, chains of several depths, in both precisions."""
    total, rounds = (0.0, 1) if quick else (2e9, 5)
    dims, depths, modes = ((5,), (2,), (2,)) if quick else ((16, 17, 32, 64, 128), (2, 3), (2, 3, 4, 6))
    cases = [("dense", dim, depth) for depth, dim in itertools.product(depths, dims)]
    cases += [("modes", 5 if quick else 64, depth) for depth in modes]
    with jax.enable_x64(True):
        for (solver, dim, depth), dtype in itertools.product(cases, (np.float32, np.float64)):
            each = 3.0 * (depth - 1) * dim**3 if solver == "dense" else float(dim)
            lanes = session(solver, dim, depth, dtype, 1)[1]
            steps = max(20, int(total / each / lanes / (1 if solver == "dense" else 4)))
            kernels, xla = contenders(session(solver, dim, depth, dtype, steps)[0], lanes)
            expected = xla()
            apart = np.max(np.abs(kernels() - expected)) / np.max(np.abs(expected))
            unit = "multiplications" if solver == "dense" else "mode-steps"
            name = f"XLA, {solver}, {depth} layers, d = {dim}, {np.dtype(dtype).name}"
            note = f"{steps} steps of {lanes} lanes; losses apart by {apart:.0e}"
            yield race(name, each * lanes * steps, unit, kernels, xla, rounds=rounds, note=note)


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
