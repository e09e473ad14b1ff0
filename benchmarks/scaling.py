"""What a step of one lane costs as problems grow, beside the law that arithmetic alone would give.

    python -m benchmarks.scaling [--json FILE] [--quick]

There is no peer: in each series the smallest problem takes its place, and work is counted in units of the law. A ratio
of 1 says that time grew as the law does; above 1, more slowly, since what a step costs whatever its size becomes less;
below 1, faster, where caches are left. The note tells the exponent fitted to the times of the series, in d, L - 1
or steps for `dense`, in d, L or steps for `modes`; by the law it is 3, 1, 1 and 1, 1, 1.

    dense   matrices: (L - 1) d^3 a lane and step, in d and in L; linear in steps
    modes   scalar chains: L d a lane and step, in d and in L; linear in steps
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.racing import Row, main, race
from linsim import LinearTask, Phase, Problem, Transfer, aligned, gaussian, power_law, random_basis, stack_seeds
from linsim.dynamics.choosing import SolverName, choose
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session

_STATE_BYTES = 2 << 20  # of all lanes of a problem: the same at every size, as in a sweep


@dataclass(frozen=True)
class Size:
    """A problem of one solver."""

    solver: SolverName
    dim: int
    depth: int
    steps: int

    @property
    def lanes(self) -> int:
        """So many that the state of all is the same at every size."""
        entries = self.depth * self.dim * (self.dim if self.solver == "dense" else 1)
        return max(1, _STATE_BYTES // (4 * entries))

    @property
    def law(self) -> float:
        """Multiplications of all lanes, up to a factor."""
        each = (self.depth - 1) * self.dim**3 if self.solver == "dense" else self.depth * self.dim
        return float(each * self.steps * self.lanes)

    def open(self) -> Callable[[], jax.Array]:
        """Fine-tuning of all lanes, ready to run."""
        rng = np.random.default_rng(0)
        sides = [(random_basis(self.dim, rng), random_basis(self.dim, rng)) for _ in range(2)]
        if self.solver == "modes":
            sides = [sides[0]] * 2
        tasks = [LinearTask.create(power_law(self.dim), left=left, right=right) for left, right in sides]
        widths = (self.dim,) * (self.depth + 1)
        if self.solver == "modes":
            start = aligned(widths, tasks[0], np.full(self.dim, 0.1))
        else:
            start = gaussian(widths, 0.5, jax.random.key(0))
        phase = Phase(1e-3)
        problem = Problem(Transfer(*tasks), stack_seeds([start]), phase, phase, np.asarray([1]), self.steps)
        session = Session.open(problem, choose(problem, self.solver).solver, np.float32)
        checkpoints, nowhere = session.pretrain(), jnp.zeros(self.lanes, "int32")
        lanes = Lanes(nowhere, nowhere, {"learning_rate": jnp.full(self.lanes, 1e-3, "float32")})
        return lambda: session.finetune(checkpoints, lanes).finetune_loss


def series(base: Size, field: str, values: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """One field grows; every size races against the smallest."""
    sizes = [replace(base, **{field: value}) for value in values]  # type: ignore[arg-type]
    smallest = sizes[0].open()
    grown, seconds = [], []
    for size in sizes[1:]:
        name = f"{base.solver}, {field} {values[0]} to {getattr(size, field)}, others {_others(base, field)}"
        row = race(name, size.law, "units of the law", size.open(), smallest, rounds=rounds, peer_work=sizes[0].law)
        per_lane = size.law / row.ours / size.lanes * row.peer * sizes[0].lanes / sizes[0].law
        law = size.law / size.lanes / sizes[0].law * sizes[0].lanes
        grown.append(np.log(law) / (3 if base.solver == "dense" and field == "dim" else 1))
        seconds.append(np.log(per_lane))
        exponent = float(np.dot(grown, seconds) / np.dot(grown, grown))
        grew = f"a lane takes {per_lane:.3g} x the time, by the law {law:.3g} x"
        note = f"{size.lanes} lanes; {grew}; exponent {exponent:.2f}"
        yield replace(row, note=note)


def rows(quick: bool) -> Iterator[Row]:
    """Every solver over its sizes."""
    rounds = 1 if quick else 5
    dense, modes = Size("dense", 64, 2, 32), Size("modes", 64, 2, 200)
    depths: tuple[int, ...] = (2, 3, 4, 6)
    factors: tuple[int, ...] = (1, 4, 16)
    contests: list[tuple[Size, tuple[int, ...]]] = [(dense, (16, 32, 64, 128, 256)), (modes, (16, 64, 256))]
    if quick:
        contests, depths, factors = [(Size(name, 4, 2, 2), (4, 8)) for name in ("dense", "modes")], (2, 3), (1, 2)
    with jax.enable_x64(True):  # weights drawn in float32 are not aligned
        for base, dims in contests:
            yield from series(base, "dim", dims, rounds)
            yield from series(base, "depth", depths, rounds)
            yield from series(base, "steps", tuple(base.steps * factor for factor in factors), rounds)


def _others(base: Size, field: str) -> str:
    return ", ".join(f"{name} {getattr(base, name)}" for name in ("dim", "depth", "steps") if name != field)


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
