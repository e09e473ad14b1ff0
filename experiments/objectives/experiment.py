"""Does the training objective change how severe overtraining is?

    python -m experiments.objectives --out DIR

trains two layers on the same contexts, which follow Zipf's law, by squared error to a teacher's logits and by
cross-entropy with soft, hard and smoothed labels of the same teacher. Fine-tuning either strengthens weak modes of the
teacher, which overshoots, or gives half of the contexts other labels, which have to be unlearned. Both losses are told
at the same fixed flow times for all, and, as times of one objective are not those of another, at matched effort: until
the last checkpoint's fine-tuning loss is --level of what it was. Losses of cross-entropy are above the labels' entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, Label, label
from linsim.measures.built_in import FISHER_TRACE
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along, part_of
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.sweep import sweep

from ..curves import material_harm
from ..experiment import Experiment
from .curves import fisher_left, matched, noisy, tuned
from .finding import find, table
from .tasks import FINETUNE_LOSS_BEFORE, OBJECTIVES, SHIFTS, SOFT, STRENGTHENED, Tasks, under_noise

CLAIMS = ("confident-overshoot", "flipped-mode", "fisher-peak", "hard-labels-never-turn", "confident-labels-never-turn")
ZERO = ("pretrain_zero_loss", "finetune_zero_loss")
LOSS = "squared output, or nats"
LABELS = {
    "seed": Label("teacher, with its initial weights"),
    "objective": Label("training objective"),
    "strength": Label("largest singular value of the teacher's logits", "nats"),
    "noise": Label("noise on every weight, gamma", "weight"),
    "pretrain_loss_before": Label("pre-training loss before fine-tuning", LOSS),
    "pretrain_loss_after": Label("pre-training loss after fine-tuning", LOSS),
    "finetune_loss_after": Label("fine-tuning loss after fine-tuning", LOSS),
    "finetune_loss_before": Label("fine-tuning loss before fine-tuning", LOSS),
    "forgetting": Label("rise of the pre-training loss", LOSS),
    "loss_under_noise": Label("mean pre-training loss with noise on the weights", LOSS),
    "fisher_trace": Label("trace of the Fisher matrix", "1 / squared weight"),
    "pretrain_zero_loss": Label("pre-training loss of the zero network", LOSS),
    "finetune_zero_loss": Label("fine-tuning loss of the zero network", LOSS),
    "counted_finetune_harm": Label("harm to the fine-tuning loss, 0 where it is immaterial", PLAIN),
    "matched_time": Label("flow time by which the last checkpoint's fine-tuning loss falls to the level", "flow time"),
    "matched_curve": Label("pre-training loss after fine-tuning at matched effort", LOSS),
    "matched_harm": Label("harm at matched effort", PLAIN),
    "matched_excess": Label("excess at matched effort", PLAIN),
    "matched_finetune_harm": Label("harm to the fine-tuning loss at matched effort", PLAIN),
    "matched_finetune_excess": Label("excess of the fine-tuning loss at matched effort", PLAIN),
    "confident_harm": Label("harm with soft labels at matched effort", PLAIN),
    "confident_noise_harm": Label("harm with soft labels under noise", PLAIN),
    "tuned_finetune_harm": Label("harm to the fine-tuning loss where every budget has its best flow time", PLAIN),
    "noise_harm": Label("harm under noise", PLAIN),
    "fisher_left": Label("trace of the Fisher matrix at the last budget, over its largest", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """Teachers, what is fine-tuned, and how long."""

    dim: int = 8
    """Contexts, and as many outputs and hidden units."""
    seeds: int = 5
    """Number of teachers, each with initial weights of its own."""
    seed: int = 0
    """Of all that is drawn."""
    strength: float = 8.0
    """Largest singular value of the teacher's logits A."""
    exponent: float = 0.5
    """Singular values fall as i^(-exponent)."""
    zipf: float = 1.0
    """Contexts are met with probability ~ c^(-zipf)."""
    strengths: tuple[float, ...] = (32.0,)
    """Further strengths for soft labels, increasing: those of other confidence."""
    smoothing: float = 0.1
    """Share of smoothed labels that is spread evenly, in [0, 1)."""
    strengthened_from: int = 4
    """First mode that fine-tuning strengthens."""
    factor: float = 4.0
    """By which it does."""
    initial_scale: float = 0.01
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.1
    """Of pre-training, in flow time per step."""
    steps: int = 6000
    """Largest budget."""
    first: int = 10
    """Smallest budget."""
    budgets: int = 12
    """Number of budgets, spaced evenly in log(steps)."""
    finetune_steps: int = 150
    """Steps of fine-tuning."""
    times: tuple[float, ...] = tuple(round(2 ** (0.8 * power), 4) for power in range(-5, 6))
    """Flow times of fine-tuning, increasing; rates are these over the steps."""
    short: float = 1.0
    """Which of them is called short."""
    level: float = 0.3
    """Matched effort: the share of the last checkpoint's fine-tuning loss that is left."""
    noise: tuple[float, ...] = (0.2, 0.5)
    """Noise on every weight, increasing."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of all objectives, shifts and teachers, and what they come to; `InvalidInput` for a bad field."""
    tasks = _check(config)
    budgets = np.unique(np.geomspace(config.first, config.steps, config.budgets).round().astype(int))
    rates, measures = np.asarray(config.times) / config.finetune_steps, [FINETUNE_LOSS_BEFORE, FISHER_TRACE]
    measures.append(under_noise(config.noise))

    def prepare(
        sample: int, objective: str = SOFT, shift: str = STRENGTHENED, strength: float = config.strength
    ) -> Ready:
        transfer = tasks.transfer(sample, strength, objective, shift)
        problem = tasks.problem(
            transfer, sample, config.initial_scale, config.learning_rate, budgets, config.finetune_steps
        )
        rechecked = 0 if sample else LANES  # one teacher of each kind is enough
        return partial(sweep, problem, {"learning_rate": rates}, measures, solver="dense", rechecked=rechecked)

    samples = {"sample": range(config.seeds)}
    axes = {"objective": OBJECTIVES, "shift": SHIFTS, **samples}
    found = _by_teacher(along(axes, prepare, part_of(report, 0, 2)))
    more = _by_teacher(along({"strength": config.strengths, **samples}, prepare, part_of(report, 1, 2)))
    found = found.merge(matched(found, config.level))
    found = found.assign(_zero_losses(tasks, config))
    found = found.assign(_matched_excess(found)).drop_vars(["matched_rise", "matched_finetune_rise"])
    told = {"tuned_finetune_harm": tuned(found), "noise_harm": noisy(found), "fisher_left": fisher_left(found)}
    told |= {"counted_finetune_harm": material_harm(found["finetune_harm"], found["finetune_excess"])}
    told["confident_harm"] = _with_base(matched(more, config.level)["matched_harm"], found["matched_harm"], config)
    told["confident_noise_harm"] = _with_base(noisy(more), told["noise_harm"], config)
    return label(found.assign(told).assign_attrs(level=config.level, short=config.short), LABELS)


def _zero_losses(tasks: Tasks, config: Config) -> dict[str, xr.DataArray]:
    """What losses are large or small against."""
    sizes = (len(OBJECTIVES), len(SHIFTS), config.seeds)
    losses = np.empty((2, *sizes))
    for place in np.ndindex(sizes):
        objective, shift, sample = place
        transfer = tasks.transfer(sample, config.strength, OBJECTIVES[objective], SHIFTS[shift])
        losses[:, *place] = transfer.pretrain.zero_loss, transfer.finetune.zero_loss
    dims = ("objective", "shift", "seed")
    return {name: xr.DataArray(each, dims=dims) for name, each in zip(ZERO, losses, strict=True)}


def _matched_excess(found: xr.Dataset) -> dict[str, xr.DataArray]:
    """How far the last loss is above the least at matched effort, over the zero network's."""
    finetune = found["matched_finetune_rise"] * found["finetune_loss_before"].isel(pretrain_steps=-1, drop=True)
    return {
        "matched_excess": found["matched_rise"] / found["pretrain_zero_loss"],
        "matched_finetune_excess": finetune / found["finetune_zero_loss"],
    }


def _by_teacher(found: xr.Dataset) -> xr.Dataset:
    return (
        found.isel(seed=0, drop=True)
        .rename(sample="seed")
        .assign_attrs(finetune_steps=int(found.attrs["finetune_steps"]))
    )


def _with_base(others: xr.DataArray, own: xr.DataArray, config: Config) -> xr.DataArray:
    """Of soft labels, with that of the strength at which all objectives are compared."""
    base = own.sel(objective=SOFT, shift=STRENGTHENED, drop=True).expand_dims(strength=[config.strength])
    return xr.concat([base, others], "strength").sortby("strength")


def _check(config: Config) -> Tasks:
    require_integer("dim", config.dim, at_least=2, at_most=10**3)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    for name in ("strength", "factor", "initial_scale", "learning_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    for name in ("exponent", "zipf"):
        require_number(name, getattr(config, name), at_least=0, at_most=100)
    require_axis("strengths", config.strengths, above=0)
    require(config.strength not in config.strengths, "strengths", config.strengths, "others than --strength")
    require_number("smoothing", config.smoothing, at_least=0, below=1)
    require_integer("strengthened_from", config.strengthened_from, at_least=1, at_most=config.dim)
    require_integer("steps", config.steps, at_least=1, at_most=10**9)
    require_integer("first", config.first, at_least=1, at_most=config.steps)
    require_integer("budgets", config.budgets, at_least=1, at_most=10**4)
    require_integer("finetune_steps", config.finetune_steps, at_least=1, at_most=10**9)
    require_axis("times", config.times, above=0)
    require(
        config.short in config.times, "short", config.short, f"one of the times {', '.join(map(str, config.times))}"
    )
    require_number("level", config.level, above=0, below=1)
    require_axis("noise", config.noise, above=0)
    return Tasks(
        *(config.dim, config.exponent, config.zipf, config.strengthened_from),
        *(config.factor, config.smoothing, config.seed),
    )


experiment = Experiment("objectives", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
