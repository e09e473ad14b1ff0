"""Solver `gram` against `dense` on two layers far wider than both sides: the same numbers at the cost of narrow ones.

    python -m benchmarks.gram [--json FILE] [--quick]

A step of `dense` makes 3 d^2 h multiplications, one of `gram` 3 d^2 min(h, 2 d): h / (2 d) times fewer, 64 times at
d = 32 and h = 4096. The ratio of times may be larger: wide weights, 2 MB a lane in float64, pass through memory several
times a step, and narrow ones stay in the caches. It may be smaller where steps are short, since starting a small
product costs as much as the product. Encoding is not timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.racing import Row, main, race
from linsim import LinearTask, Phase, Problem, Transfer, gaussian, power_law, random_basis, stack_seeds
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.runs import Checkpoints, Lanes
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import Session


def build(dim: int, hidden: int, steps: int) -> Problem:
    """Two layers from a Gaussian start, fine-tuned for a number of steps."""
    rng = np.random.default_rng(0)
    tasks = [LinearTask.create(power_law(dim), left=random_basis(dim, rng), right=random_basis(dim, rng)) for _ in "ab"]
    first, second = gaussian((dim, hidden, dim), 0.5, jax.random.key(0))
    start = first * np.sqrt(dim / hidden), second  # singular values of order 0.5 in both, at any width
    return Problem(Transfer(*tasks), stack_seeds([start]), Phase(1e-3), Phase(1e-3), np.asarray([1]), steps)


def contender(problem: Problem, solver: Solver, lanes: int) -> Callable[[], np.ndarray]:
    """Both losses of every lane, each lane at a rate of its own."""
    session = Session.open(problem, solver, np.float64)
    checkpoints: Checkpoints = session.pretrain()
    nowhere = jnp.zeros(lanes, "int32")
    swept = {"learning_rate": jnp.geomspace(1e-3, 1e-2, lanes)}

    def run() -> np.ndarray:
        tuned = session.finetune(checkpoints, Lanes(nowhere, nowhere, swept))
        return np.stack([tuned.pretrain_loss, tuned.finetune_loss])

    return run


def rows(quick: bool) -> Iterator[Row]:
    """One size at several widths."""
    dim, widths, lanes, steps, rounds = (4, (16, 64), 2, 5, 1) if quick else (32, (1024, 4096, 16384), 4, 20, 5)
    with jax.enable_x64(True):
        for hidden in widths:
            longer = 50 * steps  # gram takes as many more steps, so that both run for a time that can be told
            problem, long = build(dim, hidden, steps), build(dim, hidden, longer)
            expected, found = contender(problem, Dense(), lanes), contender(problem, Gram(), lanes)
            apart = float(np.max(np.abs(found() - expected()) / np.abs(expected())))
            fewer = hidden / min(hidden, 2 * dim)
            note = f"float64; {fewer:.3g} x fewer multiplications; losses apart by {apart:.0e} after {steps} steps"
            name, work = f"dense, d = {dim}, h = {hidden}", lanes * longer
            contest = contender(long, Gram(), lanes), expected
            yield race(name, work, "lane-steps", *contest, rounds=rounds, peer_work=lanes * steps, note=note)


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
