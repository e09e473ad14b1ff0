"""Networks that differ in overlap alone, in what is called a feature alone, and in sensitivity alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from linsim.measure import Measure
from linsim.network import aligned
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.shifts import Rescale, shifted
from linsim.sweeping.along import Ready, along, part_of
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask

from .moving import Scaled
from .tasks import SCALED_TRACE, Shift, Tasks, measures


@dataclass(frozen=True)
class Sweeps:
    """What all of them share: tasks, rates of fine-tuning and samples."""

    tasks: Tasks
    rates: tuple[float, ...]
    samples: int

    def of(self, problem: Problem, more: tuple[Measure, ...] = (), **axes: Any) -> Ready:
        """A sweep that lacks nothing but its report."""
        seen = (*measures(self.tasks.dim, self.tasks.changed), *more)
        rates = {"learning_rate": np.asarray(self.rates)}
        return partial(sweep, problem, rates | axes, seen, solver="dense", rechecked=0)


def turned(
    sweeps: Sweeps, shift: Shift, turns: tuple[float, ...], imbalance: float, draws: int, report: Progress | None
) -> xr.Dataset:
    """Overlap alone. All features matter alike, A = sigma I, and are learned in a basis R of the inputs.

    W_1 = M diag(p) R^T and W_2 = R diag(q) M^T, with a balance q^2 - p^2 for each axis, turn together: loss and the
    whole spectrum of the Hessian are those of R = I at every budget. Overlap is not, unless all balances are one. Not
    held, either, is how fast fine-tuning learns what it sees: at R = I seen features have balances of their own, else
    a mixture of all. Which balances those are is drawn, so that it takes many draws.
    """
    tasks, size = sweeps.tasks, sweeps.tasks.dim
    task, starts = LinearTask.create(np.full(size, tasks.equal)), []
    for sample in range(draws):
        rng = np.random.default_rng([tasks.seed, sample, 2])
        balance = rng.permutation(np.linspace(-imbalance, imbalance, size))
        middle = np.hypot(balance / 2, tasks.initial_scale**2)
        inner, outer = np.sqrt(middle - balance / 2), np.sqrt(middle + balance / 2)
        bases = [tasks.turn(turn, sample) for turn in turns]
        starts += [(inner[:, None] * basis.T, basis * outer) for basis in bases]
    found = sweeps.of(tasks.problem(tasks.transfer(task, shift), starts))(report=report)
    parts = [found.isel(seed=slice(turn, None, len(turns))) for turn in range(len(turns))]
    parts = [each.rename(seed="draw").assign_coords(draw=np.arange(draws)) for each in parts]
    return xr.concat(parts, "turn").assign_coords(turn=list(turns))


def renamed(sweeps: Sweeps, turns: tuple[float, ...], report: Progress | None) -> xr.Dataset:
    """What is called a feature alone: a shift of modes, with both tasks and the initial weights turned together."""
    tasks = sweeps.tasks

    def prepare(turn: float) -> Ready:
        teacher = tasks.teacher("separate", 0)
        task = replace(teacher, right=tasks.turn(turn, 0) @ teacher.right)
        transfer = shifted(task, Rescale(range(tasks.changed, tasks.dim + 1), tasks.factor))
        start = aligned((tasks.dim,) * 3, task, np.full(tasks.dim, tasks.initial_scale**2))
        return sweeps.of(tasks.problem(transfer, [start]))

    return along({"turn": turns}, prepare, report).isel(seed=0, drop=True)


def scaled(sweeps: Sweeps, shift: Shift, scales: tuple[float, ...], report: Progress | None) -> xr.Dataset:
    """Sensitivity alone: layers c W_1 and W_2/c of every checkpoint, of one product and one overlap."""
    tasks = sweeps.tasks

    def prepare(sample: int) -> Ready:
        transfer = tasks.transfer(tasks.teacher("mixed", sample), shift)
        problem = tasks.problem(transfer, tasks.starts([tasks.dim], sample), (None, Scaled()))
        return sweeps.of(problem, (SCALED_TRACE,), layer_scale=np.asarray(scales))

    found = along({"sample": range(sweeps.samples)}, prepare, report)
    return found.isel(seed=0, drop=True).rename(sample="seed")


def one_by_one(
    sweeps: Sweeps,
    shift: Shift,
    turns: tuple[float, ...],
    draws: int,
    scales: tuple[float, ...],
    imbalance: float,
    report: Progress | None,
) -> dict[str, xr.Dataset]:
    """All three."""
    return {
        "turned": turned(sweeps, shift, turns, imbalance, draws, part_of(report, 0, 3)),
        "renamed": renamed(sweeps, turns, part_of(report, 1, 3)),
        "scaled": scaled(sweeps, shift, scales, part_of(report, 2, 3)),
    }
