"""A family of transfers, stratified and seeded: lane x spectrum x shift in full, everything continuous drawn at random.

Ranges are what a theorist would call usual; none was chosen by its outcome. Times are set by the task itself: learning
rates are shares of the stability limit 2 / top curvature, budgets are multiples of the modes' rise times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim import network, shifts, spectra
from linsim.errors import require, require_integer
from linsim.losses import Weights
from linsim.measures.curvature import top_curvature
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.tasks import LinearTask, random_basis
from linsim.theory.rises import flow_time

DIM = 8
"""Inputs, outputs and hidden units."""
CHECKPOINTS = 40
STRENGTHS = (0.0, 0.5, 2.0)
"""lambda, the product-space penalty of fine-tuning."""
RATE_SHARES = tuple(np.geomspace(2e-3, 0.2, 5).tolist())
"""Fine-tuning rates in units of 2 / top curvature of the sharper task, without penalty."""
FINETUNE_STEPS = 100
STREAMS = 6
"""Runs with minibatches of their own, where there are any: the loss is their mean, and they tell its error."""


@dataclass(frozen=True)
class Lane:
    """What is static in a compiled program."""

    depth: int
    aligned: bool = True
    """Whether tasks and start share their bases; else both are drawn at random, the start Gaussian."""
    batch_size: int | None = None
    """Samples per step of pre-training; None is the population gradient."""


LANES = {
    "aligned-2": Lane(2),
    "aligned-3": Lane(3),
    "random-2": Lane(2, aligned=False),
    "aligned-4": Lane(4),
    "minibatch-2": Lane(2, aligned=False, batch_size=8),
    "aligned-1": Lane(1),
    "random-3": Lane(3, aligned=False),
}
SPECTRA = ("shallow power law", "steep power law", "exponential", "blocks", "low rank")
SHIFTS = ("weaker tail", "stronger tail", "permuted", "rotated", "new modes", "zeroed modes", "mixture")
LABEL_NOISE = (0.0, 0.25, 1.0)
_TAU = {1: (1.0, 5.0), 2: (2.0, 5.0), 3: (1.0, 2.5), 4: (0.7, 1.5)}  # deep ones wait ~ e^(tau (L - 2)) otherwise


@dataclass(frozen=True, eq=False)
class Member:
    """One transfer of the family and what it was drawn from."""

    problem: Problem
    rates: Float[np.ndarray, " rates"]
    lane: str
    spectrum: str
    shift: str
    tau: float
    """Each layer's singular values start at (Gaussian: of order) e^-tau."""


def family(count: int, seed: int, lanes: Sequence[str] = tuple(LANES)) -> list[Member]:
    """The first `count` members, the lanes in turn. A longer family begins with the shorter one.

    Member j of a lane depends on the lane, j and the seed only; over any 35 in a row each spectrum meets each shift.

    Raises:
      InvalidInput: no members, an unknown or repeated lane, or a negative seed.
    """
    require_integer("transfers", count, at_least=1, at_most=100_000)
    require_integer("seed", seed, at_least=0)
    known = len(lanes) > 0 and set(lanes) <= set(LANES) and len(set(lanes)) == len(lanes)
    require(known, "lanes", tuple(lanes), f"some of {', '.join(LANES)}, each once")
    return [member(lanes[index % len(lanes)], index // len(lanes), seed) for index in range(count)]


def member(lane: str, number: int, seed: int) -> Member:
    """Member `number` of a lane."""
    rng = np.random.default_rng([seed, list(LANES).index(lane), number])
    kind = LANES[lane]
    spectrum, shift = SPECTRA[number % len(SPECTRA)], SHIFTS[number % len(SHIFTS)]
    strengths = _strengths(spectrum, rng)
    if shift == "new modes":
        strengths[-2:] = 0.0
    bases = (None, None) if kind.aligned else (random_basis(DIM, rng), random_basis(DIM, rng))
    noise = LABEL_NOISE[number % len(LABEL_NOISE)]
    task = LinearTask.create(strengths, left=bases[0], right=bases[1], label_noise=noise)
    transfer = shifts.shifted(task, *_shifts(shift, task, rng))
    tau = float(rng.uniform(*_TAU[kind.depth]))
    start = _start(kind, task, tau, int(rng.integers(2**31)))
    initial = stack_seeds([start] * (1 if kind.batch_size is None else STREAMS))
    sharpest = [float(top_curvature(one.strengths, kind.depth)) for one in (transfer.pretrain, transfer.finetune)]
    rate = 10 ** rng.uniform(-2.0, -1.3) * 2 / sharpest[0]
    problem = Problem(
        transfer,
        initial,
        replace(Phase(rate), batch_size=kind.batch_size),
        Phase(rate),
        _budgets(strengths, np.exp(-kind.depth * tau), kind.depth, rate, 10 ** rng.uniform(0.2, 0.8)),
        FINETUNE_STEPS,
        seed=int(rng.integers(2**31)),
    )
    return Member(problem, np.asarray(RATE_SHARES) * 2 / max(sharpest), lane, spectrum, shift, tau)


def _budgets(strengths: np.ndarray, start: float, depth: int, rate: float, beyond: float) -> Int[np.ndarray, " steps"]:
    """From a tenth of the first mode's rise time to `beyond` times the last one's, evenly in the logarithm."""
    sizes = np.abs(strengths[strengths != 0])
    times = np.nan_to_num(flow_time(depth, np.asarray(start), sizes / 2, sizes))  # 0 for a mode that is half there
    last = beyond * (times.max() + 1 / sizes.min())
    budgets = np.geomspace(max(0.1 * times.min() / rate, 1.0), last / rate, CHECKPOINTS).round().astype(np.int64)
    for index in range(1, CHECKPOINTS):
        budgets[index] = max(budgets[index], budgets[index - 1] + 1)
    return budgets


def _strengths(spectrum: str, rng: np.random.Generator) -> Float[np.ndarray, " modes"]:
    scale = rng.uniform(1.0, 3.0)
    match spectrum:
        case "shallow power law":
            return spectra.power_law(DIM, scale, rng.uniform(0.2, 0.7))
        case "steep power law":
            return spectra.power_law(DIM, scale, rng.uniform(0.7, 1.3))
        case "exponential":
            return spectra.exponential(DIM, scale, rng.uniform(0.1, 0.4))
        case "blocks":
            levels = scale * np.asarray([1.0, rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.4)])
            return spectra.flat_blocks((2, 3, 3), levels.tolist())
        case _:
            kept = np.arange(DIM) < rng.integers(3, 6)
            return spectra.power_law(DIM, scale, rng.uniform(0.2, 1.0)) * kept


def _shifts(shift: str, task: LinearTask, rng: np.random.Generator) -> list[shifts.Shift]:
    present = int(np.count_nonzero(task.strengths))
    tail = range(int(rng.integers(2, max(present // 2, 2) + 1)), present + 1)
    stronger = float(np.exp(rng.uniform(np.log(1.5), np.log(6.0))))
    turn = shifts.Rotate(float(rng.uniform(10, 80)), ("left", "right", "both")[rng.integers(3)])
    match shift:
        case "weaker tail":
            return [shifts.Rescale(tail, float(rng.uniform(0.1, 0.9)))]
        case "stronger tail":
            return [shifts.Rescale(tail, stronger)]
        case "permuted":
            return [shifts.Permute((rng.permutation(DIM) + 1).tolist())]
        case "rotated":
            return [turn]
        case "new modes":
            free = DIM - present
            return [shifts.NewModes((rng.uniform(0.2, 1.0, free) * task.strengths[0]).tolist())]
        case "zeroed modes":
            count = int(rng.integers(1, present))
            return [shifts.ZeroModes((rng.permutation(present)[:count] + 1).tolist())]
        case _:
            gone = shifts.ZeroModes([int(rng.integers(1, present + 1))])
            return [shifts.Rescale(tail, stronger), gone, shifts.Blend(turn, float(rng.uniform(0.1, 0.5)))]


def _start(lane: Lane, task: LinearTask, tau: float, seed: int) -> Weights:
    widths = (DIM,) * (lane.depth + 1)
    if lane.aligned:
        return network.aligned(widths, task, np.full(DIM, np.exp(-lane.depth * tau)))
    return network.gaussian(widths, float(np.exp(-tau)), jax.random.key(seed))
