"""Networks of matrices of several widths from Gaussian starts: noise, rounding, fine-tuning, and samples seen again.

Hidden units whose weights are all 0 stay at 0 under descent, so that a network of width N is one of the widest with all
other units at 0: one program trains them all.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import xarray as xr

from linsim.labels import lost_lanes
from linsim.losses import Weights
from linsim.measures.built_in import FISHER_TRACE, rise_under_noise, rise_under_rounding
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.shifts import Rescale, shifted
from linsim.spectra import power_law
from linsim.sweeping.along import Ready, along, part_of
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer

from .config import FIRST, Config

_BUDGET = "matrix_steps"


def trained(config: Config, report: Progress | None) -> xr.Dataset:
    """Losses of every width over budgets: base, under noise and rounding, fine-tuned, and on repeated samples."""
    if not config.matrices.dim:
        return xr.Dataset()
    parts = [_networks(config, part_of(report, 0, 2))]
    if config.matrices.examples:
        parts.append(_repeated(config, part_of(report, 1, 2)))
    return xr.merge(parts, compat="override", join="exact")


def _networks(config: Config, report: Progress | None) -> xr.Dataset:
    own = config.matrices
    scale = float(np.sqrt(config.price / (2 * own.dim)))
    measures = [rise_under_noise([scale]), rise_under_rounding(list(own.bits)), FISHER_TRACE]
    transfer = shifted(_task(config), Rescale(range(min(config.shifted_from, own.dim), own.dim + 1), config.factor))
    runs = [(width, seed) for width in own.widths for seed in range(own.seeds)]
    problem = _problem(config, transfer, runs, own.finetune_steps)
    rates = np.asarray(config.times) / own.finetune_steps
    found = sweep(problem, {"learning_rate": rates}, measures, solver="dense", rechecked=0, report=report)
    tuned = found[["pretrain_loss_after", "finetune_loss_after"]].where(~lost_lanes(found))
    base, noise = found["pretrain_loss_before"], found["rise_under_absolute_noise"].isel(absolute_noise=0, drop=True)
    # Units at 0 are noisy as well, by a constant: it is taken off.
    absent = scale**4 * own.dim**2 * (own.widths[-1] - np.array([width for width, _ in runs]))
    told = {
        "matrix_base_loss": base,
        "matrix_noisy_loss": base + noise - xr.DataArray(absent, dims="seed"),
        "matrix_rounded_loss": base + found["rise_under_rounding"],
        "matrix_fisher_trace": found[FISHER_TRACE.name],
        "matrix_pretrain_after": tuned["pretrain_loss_after"],
        "matrix_finetune_after": tuned["finetune_loss_after"],
    }
    renamed = xr.Dataset(told).rename(learning_rate="finetune_time", pretrain_steps=_BUDGET)
    flow = renamed[_BUDGET].values * own.learning_rate
    named = _by_width(config, renamed.assign_coords(finetune_time=np.asarray(config.times)))
    return named.assign_coords(matrix_flow_time=(_BUDGET, flow))


def _repeated(config: Config, report: Progress | None) -> xr.Dataset:
    """The loss on the task itself where one sample of it is trained on, over widths, sizes of samples and samples."""
    own, task = config.matrices, _task(config)

    def of_sample(examples: int, sample: int) -> Ready:
        drawn = task.posed(examples, own.label_noise, np.random.default_rng([sample, examples]))
        problem = _problem(config, Transfer(drawn, task), [(width, sample) for width in own.widths], 0)
        return partial(sweep, problem, {}, solver="dense", rechecked=0)

    found = along({"examples": own.examples, "sample": range(own.seeds)}, of_sample, report)
    told = found["finetune_loss_after"].rename(seed="width", pretrain_steps=_BUDGET).rename(sample="seed")
    return xr.Dataset({"repeated_loss": told.assign_coords(width=list(own.widths))})


def _by_width(config: Config, found: xr.Dataset) -> xr.Dataset:
    """Runs as widths and seeds."""
    own = config.matrices
    rows = [
        found.isel(seed=slice(at * own.seeds, (at + 1) * own.seeds)).assign_coords(seed=np.arange(own.seeds))
        for at in range(len(own.widths))
    ]
    return xr.concat(rows, dim=xr.Variable("width", list(own.widths)))


def _task(config: Config) -> LinearTask:
    return LinearTask.create(power_law(config.matrices.dim, 1.0, config.matrices.exponent))


def _problem(config: Config, transfer: Transfer, runs: list[tuple[int, int]], finetune_steps: int) -> Problem:
    own = config.matrices
    flow = np.geomspace(max(FIRST, own.learning_rate), own.last, own.budgets)
    budgets = np.unique(np.round(flow / own.learning_rate).astype(int))
    starts = stack_seeds([_start(config, width, seed) for width, seed in runs])
    return Problem(transfer, starts, Phase(own.learning_rate), Phase(own.learning_rate), budgets, finetune_steps)


def _start(config: Config, width: int, seed: int) -> Weights:
    """Gaussian weights of a width, and zeros up to the widest."""
    own = config.matrices
    first, second = gaussian((own.dim, width, own.dim), own.initial_scale, jax.random.key(1000 * width + seed))
    rest = own.widths[-1] - width
    return np.pad(first, ((0, rest), (0, 0))), np.pad(second, ((0, 0), (0, rest)))  # type: ignore[return-value]
