"""Solver `dense` against gradients written by hand over torch.bmm, and against the loop that most people would write.

    python -m benchmarks.dense [--json FILE] [--quick]

Ours is `Session.finetune`, from the checkpoint to both losses, in bites of as many lanes as a sweep steps together. The
peer `bmm` steps the same bites in place: buffers allocated once, no autograd, the update part of the product
(`baddbmm`), and as many threads as there are cores. The peer `autograd` trains one lane after another with torch.optim.
All in float32; every lane has its own learning rate, and penalty strength where there is one.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.racing import Row, main, race
from linsim import LinearTask, Phase, Problem, Transfer, gaussian, power_law, random_basis, stack_seeds
from linsim.dynamics.kernels.threads import cores
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.runs import Checkpoints, Lanes
from linsim.dynamics.training import Session

Weights = tuple[np.ndarray, ...]

_BITE_BYTES = 2 << 20  # state of the lanes that step together


@dataclass(frozen=True)
class Race:
    """Lanes that are fine-tuned, each at a rate and penalty of its own."""

    dim: int
    depth: int
    lanes: int
    steps: int
    penalised: bool = False

    @property
    def multiplications(self) -> float:
        """Of all products of all lanes and steps: 3 (L - 1) d^3 each."""
        return 3.0 * (self.depth - 1) * self.dim**3 * self.lanes * self.steps

    @property
    def rates(self) -> np.ndarray:
        """Learning rates of the lanes."""
        return np.geomspace(1e-3, 2e-2, self.lanes).astype(np.float32)

    @property
    def strengths(self) -> np.ndarray:
        """Penalties lambda of the lanes."""
        return np.linspace(0, 1, self.lanes).astype(np.float32)

    @property
    def bites(self) -> list[slice]:
        """Lanes that step together."""
        count = max(1, min(self.lanes, _BITE_BYTES // (4 * self.depth * self.dim**2)))
        return [slice(first, first + count) for first in range(0, self.lanes, count)]

    def open(self) -> tuple[Session, Checkpoints]:
        """The problem after one step of pre-training; no two matrices share singular vectors."""
        rng = np.random.default_rng(0)
        tasks = [
            LinearTask.create(power_law(self.dim), left=random_basis(self.dim, rng), right=random_basis(self.dim, rng))
            for _ in range(2)
        ]
        weights = gaussian((self.dim,) * (self.depth + 1), 0.5, jax.random.key(0))
        problem = Problem(
            Transfer(*tasks), stack_seeds([weights]), Phase(1e-3), Phase(1e-3), np.asarray([1]), self.steps
        )
        session = Session.open(problem, Dense(), np.float32)
        return session, session.pretrain()


def ours(race: Race, session: Session, checkpoints: Checkpoints) -> Callable[[], np.ndarray]:
    """Fine-tuning losses of every lane."""

    def run() -> np.ndarray:
        losses = []
        for bite in race.bites:
            swept = {"learning_rate": jnp.asarray(race.rates[bite])}
            if race.penalised:
                swept["product_penalty"] = jnp.asarray(race.strengths[bite])
            nowhere = jnp.zeros(len(race.rates[bite]), "int32")
            losses.append(session.finetune(checkpoints, Lanes(nowhere, nowhere, swept)).finetune_loss)
        return np.concatenate(losses)

    return run


def by_hand(race: Race, start: Weights, target: np.ndarray) -> Callable[[], np.ndarray]:
    """The same by products of batches of matrices, in place."""

    def buffers(bite: slice) -> tuple[list[torch.Tensor], ...]:
        count = len(race.rates[bite])
        weights = [torch.empty(count, *layer.shape) for layer in start]
        partial = [torch.empty(count, race.dim, race.dim) for _ in start[1:]]
        pulled = [torch.empty(count, race.dim, race.dim) for _ in start[1:]]
        return weights, partial, pulled

    goal, origin = torch.from_numpy(target), torch.from_numpy(start[-1])
    for layer in start[-2::-1]:
        origin = origin @ torch.from_numpy(layer)

    def bite_of(bite: slice) -> Callable[[], np.ndarray]:
        weights, partial, pulled = buffers(bite)
        transposed = [layer.mT for layer in weights]
        rates = torch.from_numpy(race.rates[bite])[:, None, None]
        pull = torch.from_numpy(race.strengths[bite])[:, None, None] if race.penalised else torch.zeros(1, 1, 1)
        # (P - A) + lambda (P - P_0) = (1 + lambda) (P - A')
        moved = ((goal + pull * origin) / (1 + pull)).expand_as(weights[0]).contiguous()
        factor = 2 * rates * (1 + pull)

        def run() -> np.ndarray:
            for layer, values in zip(weights, start, strict=True):
                layer.copy_(torch.from_numpy(values))
            for _ in range(race.steps):
                below = weights[0]
                for layer, product in zip(weights[1:-1], partial, strict=False):
                    below = torch.bmm(layer, below, out=product)
                slope = torch.baddbmm(moved, weights[-1], below, beta=-1, out=pulled[-1])
                slope.mul_(factor)
                for number in range(len(weights) - 1, 0, -1):
                    inner = weights[0] if number == 1 else partial[number - 2]
                    into = pulled[number - 2] if number > 1 else partial[-1]
                    lower = torch.bmm(transposed[number], slope, out=into)
                    weights[number].baddbmm_(slope, inner.mT, alpha=-1)
                    slope = lower
                weights[0].sub_(slope)
            product = weights[0]
            for layer in weights[1:]:
                product = layer @ product
            return ((product - goal) ** 2).sum((1, 2)).numpy()

        return run

    bites = [bite_of(bite) for bite in race.bites]
    return lambda: np.concatenate([run() for run in bites])


def by_autograd(race: Race, start: Weights, target: np.ndarray, lanes: int) -> Callable[[], np.ndarray]:
    """The first lanes, one after another."""

    def run() -> np.ndarray:
        losses = []
        for lane in range(lanes):
            weights = [torch.tensor(layer, requires_grad=True) for layer in start]
            descent, goal = torch.optim.SGD(weights, lr=float(race.rates[lane])), torch.from_numpy(target)
            for _ in range(race.steps + 1):
                descent.zero_grad()
                product = weights[0]
                for layer in weights[1:]:
                    product = layer @ product
                loss = ((product - goal) ** 2).sum()
                losses.append(loss.item())
                loss.backward()
                descent.step()
        return np.asarray(losses[race.steps :: race.steps + 1])

    return run


def rows(quick: bool) -> Iterator[Row]:
    """Two and three layers at several sizes; with a penalty; against the loop."""
    torch.set_num_threads(cores())
    dims, lanes, total, rounds = ((8,), 8, 0, 1) if quick else ((16, 32, 64, 128), 256, 8e9, 5)
    told = [(dim, depth, False) for depth, dim in itertools.product((2, 3), dims)]
    middle = dims[len(dims) // 2 - 1] if not quick else dims[0]
    for dim, depth, penalised in [*told, (middle, 2, True)]:
        each = Race(dim, depth, lanes, 1, penalised).multiplications
        contest = Race(dim, depth, lanes, max(32, int(total / each)), penalised)
        session, checkpoints = contest.open()
        start, target = _arrays(session, checkpoints)
        mine, theirs = ours(contest, session, checkpoints), by_hand(contest, start, target)
        apart = _apart(mine(), theirs())
        name = f"torch.bmm by hand, {depth} layers, d = {dim}" + ", penalty" * penalised
        note = f"{contest.steps} steps of {lanes} lanes; losses apart by {apart:.0e}"
        yield race(name, contest.multiplications, "multiplications", mine, theirs, rounds=rounds, note=note)
    contest = Race(middle, 2, lanes, 4 if quick else 200)
    session, checkpoints = contest.open()
    start, target = _arrays(session, checkpoints)
    few = 2 if quick else 4
    mine, loop = ours(contest, session, checkpoints), by_autograd(contest, start, target, few)
    note = f"{contest.steps} steps; {few} lanes of the peer; losses apart by {_apart(mine()[:few], loop()):.0e}"
    work, share = lanes * contest.steps, few * contest.steps
    name = f"autograd, lane after lane, 2 layers, d = {middle}"
    yield race(name, work, "lane-steps", mine, loop, rounds=rounds, peer_work=share, note=note)


def _arrays(session: Session, checkpoints: Checkpoints) -> tuple[Weights, np.ndarray]:
    return tuple(np.array(layer[0, 0]) for layer in checkpoints.states), np.array(session.encoded.finetune.matrix)


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
