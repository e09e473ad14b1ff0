"""Whether a verdict depends on the budgets: few of them, refined where curves turn, against very many.

    python -m benchmarks.turns [PROBLEMS]

Random aligned problems of 1 to 8 modes, whose loss after fine-tuning is known in closed form at any budget: strengths,
starts, targets of fine-tuning (removed, weaker, equal, stronger, of the other sign), its length, and a penalty are
drawn. Each is told from 12 budgets, refined as a chart refines them, and from 2,000. A row per number of modes says in
how many problems harm, excess, place or the verdict "material" differ, and what that took. Exit status 1 where more
than one in twenty is not resolved, or a resolved harm differs by more than the tolerance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.precision import computing_in
from linsim.theory.turns import Criteria, Turn, doubtful, further, locate

FEW, MANY, MODES = 12, 2000, 8
FIRST, LAST, RATE = 20, 40_000, 0.005
_SHARE_UNRESOLVED = 0.05
_SIZE = 2048  # budgets are filled up to it, so that all are one program

Curve = Callable[[np.ndarray], np.ndarray]


class Problem(NamedTuple):
    """A curve over budgets, and the loss of the zero network."""

    modes: int
    curve: Curve
    scale: float


class Told(NamedTuple):
    """What few and many budgets say of one problem."""

    few: Turn
    many: Turn
    scale: float
    added: int

    @property
    def harm_apart(self) -> float:
        """Difference of harm, relative to the true one, or of excess relative to the least material one if smaller."""
        few, many = self.few, self.many
        if few.harm == many.harm:
            return 0.0
        apart = abs(float(few.harm - many.harm)) / max(float(many.harm), Criteria().least_harm)
        near = Criteria().least_excess
        return min(apart, abs(float(few.excess - many.excess)) / max(near, float(many.excess)))

    @property
    def place_off(self) -> bool:
        """Whether the place told lies outside the interval of the true curve, by more than the tolerance."""
        low, high = self.many.low * (1 - Criteria().tolerance), self.many.high * (1 + Criteria().tolerance)
        return not low <= self.few.lowest <= high

    @property
    def verdict_differs(self) -> bool:
        """Whether one says material and the other does not."""
        return bool(np.isnan(self.few.steps) != np.isnan(self.many.steps))


def drawn(rng: np.random.Generator, modes: int) -> Problem:
    """A random problem."""
    strengths = np.exp(rng.uniform(np.log(0.1), np.log(3), modes))
    starts = np.exp(rng.uniform(np.log(1e-5), np.log(0.3), modes)) * strengths
    ratios = rng.choice([0.0, 0.3, 2.0, 3.0, 4.0, -1.0], modes) * np.exp(rng.normal(0, 0.3, modes))
    targets = np.where(rng.random(modes) < 0.3, strengths, ratios * strengths)
    time = np.exp(rng.uniform(np.log(0.01), np.log(3)))
    penalty = rng.choice([0.0, np.exp(rng.uniform(np.log(0.1), np.log(16)))])

    def curve(budgets: np.ndarray) -> np.ndarray:
        times = RATE * np.resize(budgets.astype(float), _SIZE)
        return np.asarray(_losses(starts, strengths, targets, penalty, time, times))[: len(budgets)]

    return Problem(modes, curve, float((strengths**2).sum()))


@jax.jit
def _losses(starts: Any, strengths: Any, targets: Any, penalty: Any, time: Any, times: Any) -> jax.Array:
    """After fine-tuning from checkpoints at flow times, with the product-space penalty."""
    learned = mode_flow(starts, strengths, 1.0, times[:, None])
    tuned = mode_flow(learned, targets + penalty * learned, 1 + penalty, time)
    return jnp.sum((strengths - tuned) ** 2, axis=1)


def refined(problem: Problem, budgets: np.ndarray) -> tuple[Turn, int]:
    """The turn told of a few budgets and those added to them, and how many those are."""
    loss, first = problem.curve(budgets), len(budgets)
    while (counts := doubtful(budgets, loss[:, None], scale=problem.scale)).any():
        added = further(budgets, counts, FEW)
        budgets, loss = np.append(budgets, added), np.append(loss, problem.curve(added))
        order = np.argsort(budgets)
        budgets, loss = budgets[order], loss[order]
    return locate(budgets, loss, scale=problem.scale), len(budgets) - first


def told(problem: Problem) -> Told:
    """Few budgets against many."""
    few, many = (np.unique(np.geomspace(FIRST, LAST, count).round().astype(int)) for count in (FEW, MANY))
    turn, added = refined(problem, few)
    return Told(turn, locate(many, problem.curve(many), scale=problem.scale), problem.scale, added)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    count, rng = int(given[0]) if given else 200, np.random.default_rng(0)
    problems = [drawn(rng, 1 + number % MODES) for number in range(count)]
    with computing_in("float64"):
        results = [(problem.modes, told(problem)) for problem in problems]
    tolerance = Criteria().tolerance
    print("modes  problems  material  harm off by > 2 %  place off  verdict differs  unresolved  budgets added")
    for modes in (*range(1, MODES + 1), None):
        of = [each for number, each in results if modes in (number, None)]
        numbers = (
            sum(bool(np.isfinite(each.many.steps)) for each in of),
            sum(each.harm_apart > tolerance for each in of),
            sum(each.place_off for each in of),
            sum(each.verdict_differs for each in of),
            sum(not each.few.resolved for each in of),
        )
        widths = (10, 19, 11, 17, 12)
        cells = "".join(f"{number:>{width}}" for number, width in zip(numbers, widths, strict=True))
        added = [each.added for each in of]
        print(f"{modes or 'all':>5}{len(of):>10}{cells}   {np.mean(added):.1f}, at most {max(added)}")
    wrong = sum(each.harm_apart > tolerance and bool(each.few.resolved) for _, each in results)
    unresolved = sum(not each.few.resolved for _, each in results)
    return int(wrong > 0 or unresolved > _SHARE_UNRESOLVED * count)


if __name__ == "__main__":
    sys.exit(main())
