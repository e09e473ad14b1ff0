"""Domains that a forecast is judged on: transfers outside the prior, each a sweep over rates from every budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import xarray as xr

from linsim import network, spectra
from linsim.commands.building import optimizer_of
from linsim.dynamics.choosing import SolverName
from linsim.measures.curvature import top_curvature
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.shifts import Permute, Rescale, Rotate, Shift, shifted
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer, random_basis
from linsim.theory.rises import flow_time

from ..objectives.tasks import FINETUNE_LOSS_BEFORE, RELABELLED, SHIFTS, SOFT, Tasks
from ..relabelled_digits.images import SHIFTS as DIGIT_SHIFTS
from ..relabelled_digits.images import SQUARED, Images

DIM = 8
BUDGETS = 22
"""Spaced by the square root of 2, so that 2, 4 and 8 times a budget are budgets."""
STREAMS = 6
"""Runs with minibatches of their own, where there are any: losses are their means."""
STEPS = 100
"""Of fine-tuning."""
SHARES = (2e-3, 2e-2, 2e-1)
"""Rates of fine-tuning in units of 2 / top curvature of the sharper task."""
_TAU = {2: (2.0, 5.0), 3: (1.0, 2.5)}

Drawn = tuple[Problem, np.ndarray]
"""A problem, and the rates of its fine-tuning."""


def tables(domain: str, number: int, seed: int) -> xr.Dataset:
    """Losses of one transfer of a domain, before and after fine-tuning at three rates, from every budget."""
    rng = np.random.default_rng([seed, list(DOMAINS).index(domain), number])
    problem, rates = DOMAINS[domain](rng, number)
    return sweep(
        problem, {"learning_rate": rates}, [FINETUNE_LOSS_BEFORE], solver=_SOLVERS.get(domain, "auto"), rechecked=0
    )


def _spectra(rng: np.random.Generator, number: int) -> Drawn:
    kind, scale = number % 3, rng.uniform(1, 3)
    if kind == 0:
        strengths = spectra.exponential(DIM, scale, rng.uniform(0.1, 0.6))
    elif kind == 1:
        strengths = spectra.flat_blocks(
            (2, 3, 3), (scale * np.array([1, rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.4)])).tolist()
        )
    else:
        strengths = spectra.power_law(DIM, scale, rng.uniform(0.2, 1.5)) * (np.arange(DIM) < rng.integers(2, 5))
    return _transfer(LinearTask.create(strengths), [_shift(rng)], rng)


def _rotations(rng: np.random.Generator, number: int) -> Drawn:
    turn = Rotate(float(rng.uniform(10, 80)), ("both", "opposite")[number % 2])
    return _transfer(_task(rng, random_bases=True), [_shift(rng), turn], rng, gaussian=True)


def _three_layers(rng: np.random.Generator, number: int) -> Drawn:
    return _transfer(_task(rng), [_shift(rng)], rng, depth=3)


def _minibatches(rng: np.random.Generator, number: int) -> Drawn:
    noisy = _task(rng, random_bases=True, label_noise=float(rng.uniform(0.1, 0.7)))
    problem, rates = _transfer(noisy, [_shift(rng)], rng, gaussian=True)
    initial = tuple(np.repeat(layer, STREAMS, axis=0) for layer in problem.initial)
    phase = replace(problem.pretrain, batch_size=8)
    return replace(problem, pretrain=phase, initial=initial, seed=int(rng.integers(2**31))), rates


def _adam(rng: np.random.Generator, number: int) -> Drawn:
    """Both phases by Adam, whose step has a size: budgets and rates are set by the square roots of the strengths."""
    problem, _ = _transfer(_task(rng, random_bases=number % 2 == 0), [_shift(rng)], rng, gaussian=True)
    largest = float(np.sqrt(np.max(problem.transfer.pretrain.strengths)))
    rate = 10 ** rng.uniform(-2.7, -2) * largest
    adam = optimizer_of("adam", 0.0)
    phase = Phase(rate, optimizer=adam)
    budgets = _doubling(float(10 ** rng.uniform(-1.5, -1)) * largest / rate)
    rates = largest * np.array([0.02, 0.1, 0.5]) / STEPS
    return replace(problem, pretrain=phase, finetune=phase, budgets=budgets), rates


def _cross_entropy(rng: np.random.Generator, number: int) -> Drawn:
    """A bigram model of two layers, of confident soft labels or hard ones."""
    strength = float(np.exp(rng.uniform(np.log(4), np.log(40))))
    tasks = Tasks(
        DIM, rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.2), int(rng.integers(2, 6)), rng.uniform(1.5, 6), 0.1, 0
    )
    tasks = replace(tasks, seed=int(rng.integers(10**5)))
    shift = SHIFTS[number % 2]
    transfer = tasks.transfer(number, strength, SOFT, shift)
    budgets = _doubling(float(np.exp(rng.uniform(np.log(30), np.log(150)))))
    problem = tasks.problem(transfer, number, 0.02, 0.3, budgets, STEPS)
    return problem, np.array([0.1, 1, 10 if shift == RELABELLED else 5]) / STEPS


def _digits(rng: np.random.Generator, number: int) -> Drawn:
    """A linear network on images: relabelled, or other digits."""
    images = Images(per_digit=60, components=16, smoothing=0.1, seed=int(rng.integers(10**5)))
    transfer = images.transfer(images.sample(number), SQUARED, DIGIT_SHIFTS[number % 2])
    start = network.gaussian((16, 16, 10), 0.02, jax.random.key(int(rng.integers(2**31))))
    budgets = _doubling(float(rng.uniform(8, 20)))
    phase = Phase(0.05)
    return Problem(transfer, stack_seeds([start]), phase, phase, budgets, STEPS), np.array([1e-3, 1e-2, 5e-2])


DOMAINS: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "other spectra": _spectra,
    "rotations": _rotations,
    "three layers": _three_layers,
    "minibatches": _minibatches,
    "Adam": _adam,
    "cross-entropy": _cross_entropy,
    "digits": _digits,
}
_SOLVERS: dict[str, SolverName] = dict.fromkeys(
    ("rotations", "minibatches", "Adam", "cross-entropy", "digits"), "dense"
)


def _task(rng: np.random.Generator, random_bases: bool = False, label_noise: float = 0.0) -> LinearTask:
    left, right = (random_basis(DIM, rng) if random_bases else None for _ in "ab")
    strengths = spectra.power_law(DIM, rng.uniform(1, 3), rng.uniform(0.3, 1.5))
    return LinearTask.create(strengths, left=left, right=right, label_noise=label_noise)


def _shift(rng: np.random.Generator) -> Shift:
    """Of some modes by a factor from 0.3 to 8, or of their order."""
    factor, first = float(np.exp(rng.uniform(np.log(0.3), np.log(8)))), int(rng.integers(2, DIM))
    kind = rng.integers(4)
    if kind == 3:
        return Permute((rng.permutation(DIM) + 1).tolist())
    return Rescale((range(first, DIM + 1), range(1, first), range(1, DIM + 1))[kind], factor)


def _transfer(
    task: LinearTask, shifts: list[Shift], rng: np.random.Generator, depth: int = 2, gaussian: bool = False
) -> Drawn:
    transfer: Transfer = shifted(task, *shifts)
    tau, widths = float(rng.uniform(*_TAU[depth])), (DIM,) * (depth + 1)
    if gaussian:
        start = network.gaussian(widths, float(np.exp(-tau)), jax.random.key(int(rng.integers(2**31))))
    else:
        start = network.aligned(widths, task, np.full(DIM, np.exp(-depth * tau)))
    sharpest = [float(top_curvature(one.strengths, depth)) for one in (transfer.pretrain, transfer.finetune)]
    rate = 10 ** rng.uniform(-1.8, -1.3) * 2 / sharpest[0]
    sizes = np.abs(task.strengths[task.strengths != 0])
    rises = np.nan_to_num(flow_time(depth, np.asarray(np.exp(-depth * tau)), sizes / 2, sizes))
    first = max(float(rises.min()) * rng.uniform(0.1, 0.5) / rate, 4.0)
    problem = Problem(transfer, stack_seeds([start]), Phase(rate), Phase(rate), _doubling(first), STEPS)
    return problem, np.asarray(SHARES) * 2 / max(sharpest)


def _doubling(first: float) -> np.ndarray:
    budgets = np.round(max(first, 4.0) * 2 ** (np.arange(BUDGETS) / 2)).astype(np.int64)
    return np.maximum.accumulate(budgets)
