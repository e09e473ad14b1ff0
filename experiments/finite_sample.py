"""Does more pre-training make the fine-tuned model worse on the fine-tuning task itself, where this has few examples?

    python -m experiments.finite_sample --out DIR

fine-tunes from every budget on samples of n noisy examples, and by exact gradients (n = inf), which are the control, on
tasks that multiply the weaker features by --factors: removed, the same, amplified. Two budgets are told side by side:
T_pre, from which on the loss on the pre-training task rises, and T_ft, from which on the held-out fine-tuning loss
does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.commands.building import build_problem, learning_rates
from linsim.commands.config import FinetuneConfig, PretrainConfig, ShiftConfig, ShiftedConfig, require_defaults
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import SolverName
from linsim.dynamics.modes.flow_modes import FlowModes
from linsim.dynamics.seen import SeenTask
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.finding import Finding
from linsim.labels import PLAIN, SQUARED, STEPS, Label, label, lost_lanes
from linsim.measure import Measure
from linsim.measures.built_in import LEARNED
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask, Transfer
from linsim.theory.held_out import mean_heldout
from linsim.theory.turns import LEAST_EXCESS, locate

from .experiment import Experiment
from .words import NEGLIGIBLE, between, counted, distrust, diverged, joined, percent, rechecked, tabular, undecided

LABELS = {
    "seed": Label("sample"),
    "examples": Label("examples n, infinite for exact gradients"),
    "heldout_loss_after": Label("held-out fine-tuning loss", SQUARED),
    "predicted_heldout_loss_after": Label("held-out fine-tuning loss, mean to first order in the noise", SQUARED),
    "heldout_inflection_steps": Label("budget T_ft from which on the held-out loss rises", STEPS),
    "heldout_harm": Label("held-out loss at the largest budget / smallest - 1", PLAIN),
    "heldout_turns": Label("the held-out loss ends above its best, by 1 % and 0.1 % of the zero network's"),
}
_ABSENT = 1e-9  # strength of a removed feature, where a closed form wants one
_POINTS = 200  # of time in the closed form


@dataclass(frozen=True)
class Config(ShiftedConfig):
    """The tasks, and the samples of them."""

    dim: int | None = 8
    """Inputs and outputs of the synthetic tasks."""
    seeds: int = 12
    """Number of samples, and of random initial weights where the start is random."""
    solver: SolverName = "dense"
    """How the weights are moved: tasks that samples pose share no bases with others."""
    factors: tuple[float, ...] = (0.0, 1.0, 4.0)
    """Tasks: factors on the singular values from --shift.rescale-from on, increasing; 0 removes, 1 is the same task."""
    examples: tuple[int, ...] = (12, 48)
    """Sizes n of the samples, increasing; exact gradients stand beside them."""
    noise: float = 1.0
    """Standard deviation of the noise on each output of an example."""
    inputs: Literal["normal", "orthogonal"] = "normal"
    """Inputs of the examples: normal vectors, or such that X'X / n = I exactly."""
    shift: ShiftConfig = field(default_factory=lambda: ShiftConfig(rescale_from=4))
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=10_000, budgets=40))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(learning_rates=(4e-4, 2e-3), regularizations=(0.0,))
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses on both tasks over (factor, examples, sample, budget, rate); `InvalidInput` for a bad field."""
    _check(config)
    tasks = {
        factor: build_transfer(replace(config, shift=replace(config.shift, rescale_factor=factor)))
        for factor in config.factors
    }
    measures = {factor: [LEARNED, _heldout(transfer.finetune)] for factor, transfer in tasks.items()}
    rates = learning_rates(config.finetune)

    def prepare(rescale_factor: float, examples: float, sample: int) -> Ready:
        transfer = tasks[rescale_factor]
        if np.isfinite(examples):
            rng = np.random.default_rng([config.seed, sample])
            drawn = transfer.finetune.posed(int(examples), config.noise, rng, config.inputs)
            transfer = Transfer(transfer.pretrain, drawn)
        problem = build_problem(replace(config, seeds=1, seed=config.seed + sample), transfer)
        how: dict[str, Any] = {"solver": config.solver, "precision": config.precision}
        how["rechecked"] = 0 if sample else LANES * config.seeds  # one sample of each kind is enough: for all of them
        return partial(sweep, problem, {"learning_rate": rates}, measures[rescale_factor], **how)

    axes = {"rescale_factor": config.factors, "examples": (*config.examples, np.inf), "sample": range(config.seeds)}
    found = along(axes, prepare, report).isel(seed=0, drop=True).rename(sample="seed")
    found = found.assign(_turns(found, tasks)).assign(_predicted(found, config, tasks))
    return label(found.assign_attrs(finetune_label_noise=config.noise), LABELS)


def _check(config: Config) -> None:
    """Fields of this experiment alone."""
    require_axis("factors", config.factors)
    require_number("factors", max(map(abs, config.factors)), at_most=1e6)
    require_axis("examples", config.examples, above=0)
    require_number("noise", config.noise, at_least=0, at_most=1e6)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    for size in config.examples:
        require_integer("examples", size, at_least=config.dim or 1, at_most=10**6)
    require(config.inputs in ("normal", "orthogonal"), "inputs", config.inputs, "normal or orthogonal")
    require_defaults(config, ("task.data", "shift.rescale_factor"), "its default {}: tasks come from --factors")
    require_defaults(config, ("finetune.regularizations",), "{}: the sample alone is what is asked about")


def _heldout(task: LinearTask) -> Measure:
    """The loss on a whole task, whichever sample of it is trained on."""
    return Measure("heldout_loss_after", of=lambda seen: SeenTask.of(task, seen.product.dtype).loss(seen.product))


def _turns(found: xr.Dataset, tasks: dict[float, Transfer]) -> dict[str, xr.DataArray]:
    """Where the held-out loss turns up, by how much, and whether that counts."""
    loss = found["heldout_loss_after"].where(~lost_lanes(found)).transpose("pretrain_steps", ...)
    turn = locate(found["pretrain_steps"].values, loss.values, floor=float(found.attrs["rounding_floor"]))
    steps, harm = (loss[0].copy(data=values) for values in (turn.steps, turn.harm))
    zero = xr.DataArray([to.finetune.zero_loss or np.nan for to in tasks.values()], dims="rescale_factor")
    rise = (loss[-1] - loss.min("pretrain_steps")) / zero
    turns = (harm > NEGLIGIBLE) & (rise > LEAST_EXCESS)
    return {"heldout_inflection_steps": steps.where(turns), "heldout_harm": harm, "heldout_turns": turns}


def _predicted(found: xr.Dataset, config: Config, tasks: dict[float, Transfer]) -> dict[str, Any]:
    """`mean_heldout` from the modes of every checkpoint; nothing where layers are not aligned and balanced.

    Of normal inputs it knows the noise, not that X'X / n is not I.
    """
    problem = build_problem(config, next(iter(tasks.values())))
    square = problem.transfer.whitened and problem.widths[0] == problem.widths[-1]
    balanced = config.network.init in ("identity", "aligned") and problem.depth == 2
    if not (square and balanced) or FlowModes().refusal(problem) is not None or min(config.factors) < 0:
        return {}
    flow = found["learning_rate"].values * config.finetune.steps
    times = np.linspace(0.0, flow[-1], _POINTS)
    learned = found["learned"].isel(rescale_factor=0, examples=0, seed=0).transpose("pretrain_steps", "mode").values
    least = np.empty((2, len(tasks), len(learned), len(flow)))
    for at, transfer in enumerate(tasks.values()):
        goal = np.maximum(transfer.finetune.strengths, _ABSENT)
        for budget, start in enumerate(np.maximum(learned, 1e-300)):
            for kind, variance in enumerate((0.0, 1.0)):
                curve = mean_heldout(start, goal, variance, times)
                least[kind, at, budget] = np.interp(flow, times, curve)
    bias, both = (xr.DataArray(part, dims=("rescale_factor", "pretrain_steps", "learning_rate")) for part in least)
    return {"predicted_heldout_loss_after": bias + config.noise**2 / found["examples"] * (both - bias)}


def find(dataset: xr.Dataset) -> Finding:
    """Whether the held-out fine-tuning loss turns up by the sample alone: where exact gradients do not turn.

    Not seen if no sample size does so in most samples; what turns by exact gradients too is the task's doing, and if
    all that turns is so, nobody can tell.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, trust=trust)) is not None:
        return nothing
    harm = dataset["heldout_harm"].where(np.isfinite(dataset["heldout_harm"]))
    share = dataset["heldout_turns"].where(harm.notnull()).mean("seed")
    control, samples = share.sel(examples=np.inf, drop=True), share.isel(examples=slice(-1))
    turned, alone = samples > 0.5, control <= 0.5
    numbers: dict[str, float] = {"turn": int(turned.sum()), "by the sample": int((turned & alone).sum())}
    if not (turned & alone).any():
        if turned.any() or samples.isnull().all() or control.isnull().all():
            told = (
                "Whether a sample turns the fine-tuning loss cannot be told: exact gradients turn, or diverge, as well"
            )
            return Finding(told, "cannot tell", numbers, details, trust)
        told = f"On samples of {between(dataset['examples'][:-1])} the held-out fine-tuning loss never turns up"
        return Finding(told, "not seen", numbers, details, trust)
    middle = harm.median("seed").where(turned & alone)
    worst = middle.isel(middle.argmax(...))
    at = {name: worst[name].item() for name in ("rescale_factor", "examples", "learning_rate")}
    numbers |= {"harm": float(worst), "samples": float(share.sel(at)), **at}
    many = f"{round(float(share.sel(at)) * dataset.sizes['seed'])} of {counted(dataset.sizes['seed'], 'sample')}"
    what = "the same task" if at["rescale_factor"] == 1 else f"weaker features x {at['rescale_factor']:g}"
    told = f"Fine-tuned on {at['examples']:g} noisy examples the longest budget ends {percent(float(worst))} worse than"
    told += f" the best on the fine-tuning task itself ({what}, {many}), where by exact gradients it is the best"
    return Finding(told, "seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """Both thresholds after the longest fine-tuning: median over the samples that turn, harm, and how many turn."""
    last = dataset.isel(learning_rate=-1)
    pre = last["inflection_steps"].where(last["harm"] > NEGLIGIBLE)
    both = {"T_pre": (pre, last["harm"]), "T_ft": (last["heldout_inflection_steps"], last["heldout_harm"])}
    sizes = last["examples"].values
    heads = ("weaker x", *(f"{name}, n = {size:g}" for name in both for size in sizes))
    rows = []
    for factor in last["rescale_factor"].values:
        places = [{"rescale_factor": factor, "examples": size} for size in sizes]
        cells = (_cell(*(each.sel(at) for each in pair)) for pair in both.values() for at in places)
        rows.append((f"{factor:g}", *cells))
    return tabular(heads, rows)


def _cell(steps: xr.DataArray, harm: xr.DataArray) -> str:
    """Place, harm and share of the samples that turn."""
    turn = int(steps.notnull().sum())
    if not turn:
        return "none"
    few = f", {turn}/{steps.size}" if turn < steps.size else ""
    return f"{float(steps.median()):.0f} ({percent(float(harm.where(np.isfinite(harm)).median()))}{few})"


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """How many flow times there are, and what the noise of the smallest sample costs, by three counts."""
    flow = dataset["learning_rate"].values * dataset.attrs["finetune_steps"]
    yield f"The table is at T = {flow[-1]:g}; n = inf is exact gradients, the control."
    control = dataset["heldout_turns"].sel(examples=np.inf).mean("seed").max("learning_rate") > 0.5
    if control.any():
        which = joined([f"x {factor:g}" for factor in dataset["rescale_factor"].values[control.values]])
        yield f"At {which} exact gradients turn as well: that is the task's doing, not the sample's."
    if "predicted_heldout_loss_after" in dataset:
        last = dataset.isel(learning_rate=-1, pretrain_steps=-1)
        at = last.isel(examples=0, rescale_factor=int(np.argmin(abs(last["rescale_factor"].values - 1))))
        exact = float(last["heldout_loss_after"].sel(rescale_factor=at["rescale_factor"], examples=np.inf).median())
        modes, entry = at.sizes["mode"], float(dataset.attrs["finetune_label_noise"]) ** 2 / float(at["examples"])
        cost, first = (
            float(at["heldout_loss_after"].median()) - exact,
            float(at["predicted_heldout_loss_after"]) - exact,
        )
        yield (
            f"The smallest sample costs {cost:.2g} at the last budget, to first order {first:.2g}: not noise^2 / n a "
            f"mode, {modes * entry:.2g}, but up to that an entry, {modes**2 * entry:.2g}."
        )


experiment = Experiment("finite_sample", __doc__, Config, compute, find, table, ("tuned-time",))
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
