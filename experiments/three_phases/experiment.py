"""Does the checkpoint that is best after one fine-tuning stay the best after the next?

    python -m experiments.three_phases --out DIR

pre-trains, fine-tunes from every budget on a task whose weak modes are multiplied, and fine-tunes again: back on the
pre-training task, on one whose strong modes are multiplied, or on a random target. The choice that is judged is the
budget: the one with the least pre-training loss after the first fine-tuning, by its loss after the second over the
least there. In bases that all tasks share the three phases are a closed form, iterated; in random bases they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, RATE, STEPS, Label, label, texts
from linsim.progress.showing import Progress

from ..experiment import Experiment
from .finding import find, table
from .phases import BASES, LOSSES, SECONDS, Course, Tasks
from .reading import read

CLAIMS = ("misaligned-iff", "finite-tuning")
_ZERO = "over that of the zero network"
LABELS = {
    "bases": Label("bases of the tasks"),
    "second": Label("task of the second fine-tuning"),
    "learning_rate": Label("rate of the first fine-tuning", RATE),
    "seed": Label("tasks and initial weights"),
    "pretrain_loss_before": Label(f"pre-training loss before fine-tuning, {_ZERO}", PLAIN),
    "pretrain_loss_after": Label(f"pre-training loss after the first fine-tuning, {_ZERO}", PLAIN),
    "pretrain_loss_later": Label(f"pre-training loss after the second fine-tuning, {_ZERO}", PLAIN),
    "first_loss_after": Label(f"loss of the first fine-tuning task after it, {_ZERO}", PLAIN),
    "first_loss_later": Label(f"loss of the first fine-tuning task after the second, {_ZERO}", PLAIN),
    "chosen_steps": Label("budget with the least pre-training loss after the first fine-tuning", STEPS),
    "best_steps": Label("budget with the least pre-training loss after the second fine-tuning", STEPS),
    "regret": Label("loss of the first choice after the second fine-tuning / least there - 1", PLAIN),
    "regret_excess": Label(f"their difference, {_ZERO}", PLAIN),
    "harm_after": Label("harm of the longest budget after the first fine-tuning", PLAIN),
    "harm_later": Label("harm of the longest budget after the second fine-tuning", PLAIN),
    "recovered": Label("share of the longest budget's forgetting that the second fine-tuning takes back", PLAIN),
} | {f"predicted_{name}": Label(f"{name.replace('_', ' ')}, in closed form", PLAIN) for name in LOSSES}


@dataclass(frozen=True)
class Config:
    """Tasks and phases."""

    dim: int = 6
    """Inputs, outputs and hidden units."""
    depth: int = 2
    """Number of layers."""
    seeds: int = 5
    """Number of tasks in random bases, each with initial weights; in aligned ones there is one."""
    seed: int = 0
    """Of all that is drawn."""
    factor: float = 4.0
    """On weak modes in the first fine-tuning task, and on strong ones in a second."""
    tau: float = 3.0
    """Aligned layers start at e^(-tau) I."""
    initial_scale: float = 0.05
    """Standard deviation of other initial weights, times the square root of their inputs."""
    learning_rate: float = 0.01
    """Of pre-training, in flow time per step."""
    steps: int = 3000
    """Largest budget."""
    first: int = 10
    """Smallest budget."""
    budgets: int = 40
    """Number of budgets, spaced evenly in log(steps)."""
    rates: tuple[float, ...] = (5e-4, 2e-3, 8e-3)
    """Of the first fine-tuning, increasing, in flow time per step."""
    first_steps: int = 100
    """Of the first fine-tuning."""
    second_rate: float = 2e-3
    """Of the second fine-tuning, in flow time per step."""
    second_steps: int = 100
    """Of the second fine-tuning."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of all phases over budgets, and what choices cost; `InvalidInput` for a bad field."""
    _check(config)
    budgets = np.unique(np.geomspace(config.first, config.steps, config.budgets).round().astype(int))
    course = Course(
        *(config.depth, config.tau, config.initial_scale, budgets, config.learning_rate),
        *(config.first_steps, config.second_steps, config.second_rate),
    )
    shape = (len(LOSSES), len(BASES), len(SECONDS), len(config.rates), len(budgets), config.seeds)
    losses, theory = np.full((2, *shape), np.nan)
    total = len(BASES) * config.seeds
    for at, bases in enumerate(BASES):
        for seed in range(config.seeds if bases == "random" else 1):
            tasks = Tasks.drawn(config.dim, config.factor, bases, np.random.default_rng([config.seed, seed]))
            checkpoints = course.pretrained(tasks, course.start(config.dim, bases, config.seed * 10_007 + seed))
            for number, rate in enumerate(config.rates):
                found = course.tuned(tasks, checkpoints, rate)
                told = course.predicted(tasks, rate) if bases == "aligned" else {}
                for which, second in enumerate(SECONDS):
                    losses[:, at, which, number, :, seed] = found[second]
                    if second in told:
                        theory[:, at, which, number, :, seed] = told[second]
            if report is not None:
                report(at * config.seeds + seed + 1, total)
    dims = ("bases", "second", "learning_rate", "pretrain_steps", "seed")
    variables = {name: (dims, each) for name, each in zip(LOSSES, losses, strict=True)}
    variables |= {f"predicted_{name}": (dims, each) for name, each in zip(LOSSES, theory, strict=True)}
    coords = {
        "bases": texts(BASES),
        "second": texts(SECONDS),
        "learning_rate": np.array(config.rates),
        "pretrain_steps": budgets,
        "seed": np.arange(config.seeds),
    }
    return label(read(xr.Dataset(variables, coords)), LABELS)


def _check(config: Config) -> None:
    for name, least, most in (("dim", 2, 10**3), ("depth", 2, 64), ("seeds", 1, 10**4), ("budgets", 3, 10**4)):
        require_integer(name, getattr(config, name), at_least=least, at_most=most)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    require_integer("steps", config.steps, at_least=3, at_most=10**8)
    require_integer("first", config.first, at_least=1, at_most=config.steps - 2)
    for name in ("first_steps", "second_steps"):
        require_integer(name, getattr(config, name), at_least=1, at_most=10**8)
    for name in ("factor", "initial_scale", "learning_rate", "second_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require(config.factor != 1, "factor", config.factor, "a number but 1, by which tasks differ")
    require_number("tau", config.tau, above=0, at_most=100)
    require_axis("rates", config.rates, above=0)
    require(max(config.rates) <= 1e6, "rates", config.rates, "numbers up to 1e6")


experiment = Experiment("three_phases", __doc__, Config, compute, find, table, CLAIMS, flags=Drawing)
run, main = experiment.run, experiment.main
