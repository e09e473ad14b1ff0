"""Fine-tuning on samples of a task and on its population, from every budget: losses by rate, and by when it stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.dynamics.choosing import SolverName
from linsim.dynamics.seen import PRETRAIN_LOSS_AFTER, SeenTask
from linsim.dynamics.training import DIVERGED
from linsim.measure import Measure
from linsim.precision import Precision
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer

TRAINED_ON = ("population", "sample")
_STOPS = 25  # at which early stopping looks
_AFTER, _STOPPED = ([f"{prefix}{task}_loss_after" for task in ("pretrain", "heldout")] for prefix in ("", "stopped_"))


@dataclass(frozen=True)
class SampleConfig:
    """The examples of the fine-tuning task, drawn anew for every seed and the same for all tasks."""

    size: int = 100
    """n, number of examples; orthogonal inputs need as many as the task has."""
    noise: float = 1.0
    """Standard deviation of the noise on each output of an example."""
    inputs: Literal["orthogonal", "normal"] = "orthogonal"
    """Second moment of the sample's inputs: exactly that of the task, or that of n normal vectors."""

    @property
    def variance(self) -> float:
        """Of the entries of the target that orthogonal inputs pose; 0 for others, which have no such target."""
        return self.noise**2 / self.size if self.inputs == "orthogonal" else 0.0

    def of(self, transfer: Transfer, seed: Sequence[int]) -> Transfer:
        """The transfer to the task that a sample poses."""
        posed = transfer.finetune.posed(self.size, self.noise, np.random.default_rng(seed), self.inputs)
        return Transfer(transfer.pretrain, posed)


@dataclass(frozen=True, eq=False)
class Tuning:
    """What is fine-tuned on what."""

    problem: Problem
    """Of any of the tasks: its start, budgets and pre-training are those of all."""
    tasks: Mapping[float, Transfer]
    """Factor -> the transfer to its population."""
    samples: Mapping[float, Sequence[Transfer]]
    """Factor -> for every seed the transfer to the task that its sample poses."""
    rates: Float[np.ndarray, " rates"]
    largest: float
    """That one of the rates which is stopped early."""
    precision: Precision

    def losses(self, solver: SolverName, report: Progress | None) -> xr.Dataset:
        """Pre-training and held-out loss after fine-tuning at every rate, and at every stop; NaN where diverged.

        With the loss before, the pre-training task and the initial weights.
        """
        steps = self.problem.finetune_steps
        stops = np.unique(np.round(np.geomspace(1, steps, _STOPS)).astype(int)).tolist()
        # Rates go beyond the edge of stability, where no other solver would agree.
        how = {"finetune_points": stops, "solver": solver, "precision": self.precision, "rechecked": 0}
        measures = _heldout([to.finetune for to in self.tasks.values()])

        def at_rates(**changes: Any) -> Ready:
            return partial(sweep, replace(self.problem, **changes), {"learning_rate": self.rates}, measures, **how)

        def prepare(trained_on: str, factor: float) -> Ready:
            if trained_on == "population":
                return at_rates(transfer=self.tasks[factor])
            starts = (tuple(layer[[seed]] for layer in self.problem.initial) for seed in range(self.problem.seeds))
            drawn = zip(self.samples[factor], starts, strict=True)
            return partial(_of_seeds, [at_rates(transfer=sample, initial=start) for sample, start in drawn])

        found = along({"trained_on": TRAINED_ON, "factor": [*self.tasks]}, prepare, report)
        losses = found[[*_AFTER, *_STOPPED]]
        losses = xr.concat([losses.isel(factor=[at], task=at) for at in range(len(self.tasks))], "factor")
        stopped = losses[_STOPPED].sel(learning_rate=self.largest, drop=True).rename(finetune_steps="stop_steps")
        losses = losses[_AFTER].merge(stopped).transpose("trained_on", "factor", "pretrain_steps", "seed", ...)
        for pair in (_AFTER, _STOPPED):
            losses = losses.assign(losses[pair].where((losses[pair].to_array() <= self.ceiling).all("variable")))
        start = ["pretrain_loss_before", *(name for name in found if str(name).startswith("initial_weights"))]
        before = found[start].isel(trained_on=0, factor=0, drop=True)
        return losses.merge(before).astype(np.float64).merge(found[["pretrain_target", "input_covariance"]])

    @property
    def ceiling(self) -> float:
        """Loss above which a run has diverged."""
        return DIVERGED * max(task.zero_loss for to in self.tasks.values() for task in (to.pretrain, to.finetune))


def _of_seeds(sweeps: Sequence[Ready], report: Progress | None) -> xr.Dataset:
    """Sweeps of one seed each, side by side along the axis of seeds."""
    found = along({"drawn": range(len(sweeps))}, lambda drawn: sweeps[drawn], report)
    found = found.isel(seed=0, drop=True).rename(drawn="seed")
    return found.transpose("pretrain_steps", "learning_rate", "seed", ...)  # as in a sweep of them all


def _heldout(tasks: Sequence[LinearTask]) -> tuple[Measure, ...]:
    """Losses on all tasks, whichever is trained on, and the pre-training loss: after fine-tuning and on the way."""

    def losses(seen: Any) -> Any:
        return jnp.stack([SeenTask.of(task, seen.product.dtype).loss(seen.product) for task in tasks])

    after = Measure("heldout_loss_after", dims=("task",), of=losses)
    return after, *(each.taken("along", f"stopped_{each.name}") for each in (after, PRETRAIN_LOSS_AFTER))
