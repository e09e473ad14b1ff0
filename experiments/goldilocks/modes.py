"""Models of all sizes from one run: aligned modes do not know of each other, so that a model of width N is the first N.

What is simulated is the strength of every mode of the widest model, by descent; losses of all sizes are partial sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from linsim.errors import require
from linsim.measures.built_in import LEARNED
from linsim.network import aligned
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.shifts import Rescale, shifted
from linsim.sweeping.along import Ready, along, part_of
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask

from .config import FIRST, Config
from .spectra import Spectrum

TUNED = replace(LEARNED, name="tuned", at="tuned")
_BUDGET = "pretrain_steps"


def simulated(config: Config, spectra: list[Spectrum], report: Progress | None) -> list[xr.Dataset]:
    """Strengths of all modes over budgets: of two layers of all tasks, fine-tuned too, and of every depth of the first.

    Returns:
      Two datasets: `learned` and `tuned` over tasks, and `learned` over depths.
    """
    for spectrum in spectra:
        _require_stable(config, spectrum)
    named = {spectrum.name: spectrum for spectrum in spectra}
    middle = spectra[len([each for each in spectra if each.law]) // 2]

    def of_task(task: str) -> Ready:
        problem = _problem(config, named[task], 2, config.finetune_steps)
        rates = np.asarray(config.times) / config.finetune_steps
        return partial(sweep, problem, {"learning_rate": rates}, [LEARNED, TUNED], solver="modes", rechecked=0)

    def of_depth(depth: int) -> Ready:
        return partial(sweep, _problem(config, middle, depth, 0), {}, [LEARNED], solver="modes", rechecked=0)

    tasks = along({"task": list(named)}, of_task, part_of(report, 0, 2))
    depths = along({"depth": config.depths}, of_depth, part_of(report, 1, 2))
    return [tasks.isel(seed=0, drop=True), depths.isel(seed=0, drop=True).assign_attrs(task=middle.name)]


def _require_stable(config: Config, spectrum: Spectrum) -> None:
    """Raise `InvalidInput` for fine-tuning whose steps are too long for its strongest mode to settle.

    Two balanced layers have curvature 4 s at a mode that is learned, s = sigma, and descent settles where rate x
    curvature < 2. [re-derived: second derivative of 2 layers' (s - sigma)^2]
    """
    wanted = np.where(np.arange(1, len(spectrum.strengths) + 1) >= config.shifted_from, config.factor, 1.0)
    strongest = float(np.max(np.maximum(wanted, 1.0) * spectrum.strengths))
    most = config.finetune_steps / (2 * strongest)
    allowed = f"times < {most:g}, at which {config.finetune_steps} steps of fine-tuning settle, of {spectrum.name}"
    require(config.times[-1] < most, "times", config.times[-1], allowed)


def _problem(config: Config, spectrum: Spectrum, depth: int, finetune_steps: int) -> Problem:
    modes = len(spectrum.strengths)
    task = LinearTask.create(spectrum.strengths)
    start = aligned((modes,) * (depth + 1), task, config.start * spectrum.strengths)
    tail = Rescale(range(config.shifted_from, modes + 1), config.factor)
    flow = np.geomspace(max(FIRST, config.learning_rate), config.last, config.budgets)
    budgets = np.unique(np.round(flow / config.learning_rate).astype(int))
    phases = Phase(config.learning_rate), Phase(config.learning_rate)
    return Problem(shifted(task, tail), stack_seeds([start]), *phases, budgets, finetune_steps)


def models_of(config: Config, found: xr.Dataset, spectrum: Spectrum) -> Models:
    """All sizes of a task, of what was simulated."""
    here = found.sel(task=spectrum.name)
    ratio = np.where(np.arange(1, len(spectrum.strengths) + 1) >= config.shifted_from, config.factor, 1.0)
    learned = here["learned"].transpose(_BUDGET, "mode").values
    tuned = here["tuned"].transpose(_BUDGET, "learning_rate", "mode").values
    times = found[_BUDGET].values * config.learning_rate
    return Models(spectrum, times, learned, tuned, ratio * spectrum.strengths)


def of_depth(found: xr.Dataset, spectrum: Spectrum, depth: int, times: np.ndarray) -> Models:
    """All sizes of a depth, without fine-tuning."""
    return Models(spectrum, times, found["learned"].sel(depth=depth).transpose(_BUDGET, "mode").values)


@dataclass(frozen=True, eq=False)
class Models:
    """All sizes of one task, read between budgets."""

    spectrum: Spectrum
    times: Float[np.ndarray, " budgets"]
    """D."""
    learned: Float[np.ndarray, "budgets modes"]
    """s_i."""
    tuned: Float[np.ndarray, "budgets times modes"] | None = None
    """s_i after fine-tuning."""
    goal: Float[np.ndarray, " modes"] | None = None
    """Strengths of the fine-tuning task."""

    @property
    def sizes(self) -> Int[np.ndarray, " sizes"]:
        """All N."""
        return np.arange(1, self.spectrum.rank + 1)

    @cached_property
    def base(self) -> Float[np.ndarray, "budgets sizes"]:
        """L(N, D)."""
        return self._sums(self.learned, self.spectrum.strengths) + self.spectrum.beyond(self.sizes)

    @cached_property
    def sensitive(self) -> Float[np.ndarray, "budgets sizes"]:
        """sum of s_i over i <= N: the Fisher trace over d_in + d_out, and what noise is a price on."""
        return np.cumsum(self.learned, axis=1)[:, : len(self.sizes)]

    @cached_property
    def pretrain(self) -> Float[np.ndarray, "budgets times sizes"]:
        """Pre-training loss after fine-tuning."""
        assert self.tuned is not None
        return self._sums(self.tuned, self.spectrum.strengths) + self.spectrum.beyond(self.sizes)

    @cached_property
    def finetune(self) -> Float[np.ndarray, "budgets times sizes"]:
        """Fine-tuning loss after fine-tuning."""
        assert self.tuned is not None
        assert self.goal is not None
        ratio = self.goal / np.where(self.spectrum.strengths > 0, self.spectrum.strengths, 1.0)
        change = (ratio[: self.spectrum.rank] ** 2 - 1) * self.spectrum.strengths[: self.spectrum.rank] ** 2
        left = self.spectrum.beyond(self.sizes) + np.append(np.cumsum(change[::-1])[::-1][1:], 0.0)
        if self.spectrum.law is not None:  # modes beyond those that are simulated are wanted as much more
            left = left + (ratio[-1] ** 2 - 1) * self.spectrum.beyond(np.array([len(self.goal)]))
        return self._sums(self.tuned, self.goal) + left

    def at_cost(self, losses: np.ndarray, cost: float, inference: float = 0.0) -> Float[np.ndarray, " sizes"]:
        """Losses over budgets and sizes at N (D + q) = C, read between budgets; NaN outside of what was run."""
        return read(self.times, losses, cost / self.sizes - inference)

    def _sums(self, strengths: Any, goal: np.ndarray) -> Any:
        return np.cumsum((np.asarray(strengths) - goal) ** 2, axis=-1)[..., : len(self.sizes)]


def read(times: np.ndarray, losses: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Curves over log D, each at one time of its own, by a cubic spline of their logarithms; NaN outside."""
    log = np.log(times)
    spline = CubicSpline(log, np.log(np.maximum(losses, 1e-300)))
    inside = (wanted >= times[0]) & (wanted <= times[-1])
    at = np.log(np.clip(wanted, times[0], times[-1]))
    cell = np.clip(np.searchsorted(log, at, side="right") - 1, 0, len(log) - 2)
    step, which = at - log[cell], np.arange(losses.shape[1])
    value = sum(spline.c[power, cell, which] * step ** (3 - power) for power in range(4))
    return np.where(inside, np.exp(np.asarray(value)), np.nan)
