"""What does a network forget while it learns tasks in turn: by their similarity, over four of them, on reversal?

    python -m experiments.tasks_in_turn --out DIR

has three parts. Two tasks of one output that overlap by more or less, the second learned with a new head beside a
shared layer (as Lee et al. asked) or, as a control, with a copy of the first. Four tasks in random bases, one after the
other on one network, by descent and by the exact solution iterated (as Braun et al. did). And reversal: a task, then
the same with its sign changed, after more or less training on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, STEPS, Label, label, texts
from linsim.progress.showing import Progress
from linsim.tasks import LinearTask, random_basis
from linsim.theory.in_turn.heads import head_forgetting
from linsim.theory.in_turn.reversal import reversal_time

from ..experiment import Experiment
from .finding import COPIED, find, table
from .sequences import balanced_start, drawn_tasks, exact_in_turn, gaussian_start, in_turn, reversals
from .similarity import Pair

CLAIMS = ("fresh-head-forgetting", "copied-head-forgetting", "reversal-time", "matrix-solution")
GAUSSIAN = "gaussian"
LEFT = 0.5
"""Share of a mode that is left where a reversal counts as done."""
_POINTS = 60
_ZERO = "over that of the zero network"
LABELS = {
    "overlap": Label("overlap of both tasks", PLAIN),
    "head": Label("head of the second task: copied, or fresh by the scale of its entries"),
    "forgetting": Label(f"rise of the first task's loss while the second is learned, {_ZERO}", PLAIN),
    "predicted_forgetting": Label("the same in closed form: from a copied head, and from one of 0", PLAIN),
    "second_loss": Label(f"loss of the second task at the end, {_ZERO}", PLAIN),
    "task": Label("task, in the order of training"),
    "turn_steps": Label("steps of training, all tasks together", STEPS),
    "turn_loss": Label(f"loss of a task, {_ZERO}", PLAIN),
    "exact_turn_loss": Label("the same by the exact solution, iterated", PLAIN),
    "predicted_turn_loss": Label("loss of a task where another one is solved", PLAIN),
    "start": Label("initial weights: balance l, or gaussian"),
    "budget": Label("steps on the task before it is reversed", STEPS),
    "reversal_time": Label("flow time until the reversed task is half learned", "flow time"),
    "predicted_reversal_time": Label("the same in closed form, from a task learned in full", "flow time"),
    "seed": Label("initial weights, and tasks where there are several"),
}


@dataclass(frozen=True)
class Config:
    """All three parts."""

    seeds: int = 5
    """Number of initial weights; in sequences each with tasks of its own."""
    seed: int = 0
    """Of all that is drawn."""
    overlaps: tuple[float, ...] = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
    """Of two tasks, from 0 to 1, increasing."""
    head_scales: tuple[float, ...] = (0.01, 0.1, 0.5)
    """Standard deviation of a fresh head's entries, times the square root of the hidden units, increasing."""
    inputs: int = 10
    """Of both tasks."""
    hidden: int = 10
    """Units of the layer that they share."""
    pair_steps: int = 800
    """On each of both tasks."""
    initial_scale: float = 0.03
    """Standard deviation of all other initial weights, times the square root of their inputs."""
    tasks: int = 4
    """Learned in turn on one network."""
    dim: int = 4
    """Inputs, outputs and hidden units of sequences and reversals."""
    task_steps: int = 1000
    """On each task of a sequence."""
    balance: float = 0.01
    """l of W_2'W_2 - W_1 W_1' = l I, of the layers that learn it."""
    balances: tuple[float, ...] = (0.0, 1e-4, 1e-2)
    """l of W_2'W_2 - W_1 W_1' = l I, of layers that are reversed, increasing."""
    reversed_budgets: tuple[int, ...] = (100, 200, 400, 800, 1600, 3200)
    """Steps on a task before it is reversed, increasing."""
    reversed_steps: int = 4000
    """On the reversed task."""
    learning_rate: float = 0.01
    """Of everything, in flow time per step; that of the two overlapping tasks is twice as large."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of all parts, and what theory says; `InvalidInput` for a bad field."""
    _check(config)
    parts = (_similarity, _sequences, _reversal)
    found: dict[str, Any] = {}
    for done, part in enumerate(parts):
        found |= part(config)
        if report is not None:
            report(done + 1, len(parts))
    coords = {
        "overlap": np.array(config.overlaps),
        "head": texts(_heads(config)),
        "task": np.arange(config.tasks),
        "start": texts([*(f"{balance:g}" for balance in config.balances), GAUSSIAN]),
        "budget": np.array(config.reversed_budgets),
        "turn_steps": _points(config),
        "seed": np.arange(config.seeds),
    }
    return label(xr.Dataset(found, coords, {"task_steps": config.task_steps}), LABELS)


def _similarity(config: Config) -> dict[str, Any]:
    sizes = (config.inputs, config.hidden, config.seeds, config.seed, config.initial_scale)
    pair = Pair(*sizes, config.learning_rate, config.pair_steps)
    shared, old = pair.learned()
    heads = [old, *(pair.fresh(scale) for scale in config.head_scales)]
    told = np.array([[pair.forgetting(shared, old, head, overlap) for overlap in config.overlaps] for head in heads])
    theory = np.stack(
        [head_forgetting(1.0, 1.0, config.overlaps, "copied"), head_forgetting(1.0, 1.0, config.overlaps, "fresh")]
    )[[0] + [1] * len(config.head_scales)]
    dims = ("head", "overlap", "seed")
    return {
        "forgetting": (dims, told[:, :, 0]),
        "second_loss": (dims, told[:, :, 1]),
        "predicted_forgetting": (dims[:2], theory),
    }


def _sequences(config: Config) -> dict[str, Any]:
    points = _points(config)
    told = np.empty((3, len(points), config.tasks, config.seeds))
    for seed in range(config.seeds):
        tasks = drawn_tasks(config.dim, config.tasks, np.random.default_rng([config.seed, seed]))
        start = balanced_start(config.dim, config.initial_scale, config.balance, config.seed * 10_007 + seed)
        told[0, :, :, seed] = in_turn(tasks, start, config.learning_rate, config.task_steps, points)
        told[1, :, :, seed] = exact_in_turn(tasks, start, config.learning_rate, config.task_steps, points)
        current = np.minimum((points - 1) // config.task_steps, config.tasks - 1)
        solved = [[task.loss_of(tasks[at].target) / task.zero_loss for task in tasks] for at in current]
        told[2, :, :, seed] = solved
    dims = ("turn_steps", "task", "seed")
    names = ("turn_loss", "exact_turn_loss", "predicted_turn_loss")
    return {name: (dims, each) for name, each in zip(names, told, strict=True)}


def _reversal(config: Config) -> dict[str, Any]:
    budgets, dim = np.array(config.reversed_budgets), config.dim
    told = np.empty((len(config.balances) + 1, len(budgets), config.seeds))
    for seed in range(config.seeds):
        rng, key = np.random.default_rng([config.seed, seed]), config.seed * 10_007 + seed
        task = LinearTask.create(np.ones(dim), left=random_basis(dim, rng), right=random_basis(dim, rng))
        starts = [balanced_start(dim, config.initial_scale, balance, key) for balance in config.balances]
        for at, start in enumerate([*starts, gaussian_start(dim, config.initial_scale, key)]):
            args = (config.learning_rate, budgets, config.reversed_steps, LEFT**2)
            told[at, :, seed] = reversals(task, start, *args)
    predicted = np.append(reversal_time(1.0, config.balances, LEFT), np.nan)
    return {
        "reversal_time": (("start", "budget", "seed"), told),
        "predicted_reversal_time": (("start",), np.where(np.isfinite(predicted), predicted, np.nan)),
    }


def _heads(config: Config) -> list[str]:
    return [COPIED, *(f"fresh {scale:g}" for scale in config.head_scales)]


def _points(config: Config) -> np.ndarray:
    within = np.unique(np.geomspace(1, config.task_steps, _POINTS).round().astype(int))
    return np.concatenate([within + at * config.task_steps for at in range(config.tasks)])


def _check(config: Config) -> None:
    bounds = {"seeds": (1, 10**4), "inputs": (2, 10**4), "hidden": (1, 10**4), "tasks": (1, 100), "dim": (2, 100)}
    for name, (least, most) in bounds.items():
        require_integer(name, getattr(config, name), at_least=least, at_most=most)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    for name in ("pair_steps", "task_steps", "reversed_steps"):
        require_integer(name, getattr(config, name), at_least=2, at_most=10**8)
    for name in ("initial_scale", "learning_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e3)
    require_axis("overlaps", config.overlaps, at_least=0)
    require(max(config.overlaps) <= 1, "overlaps", config.overlaps, "overlaps from 0 to 1")
    whole = config.overlaps[0] == 0 and config.overlaps[-1] == 1 and len(config.overlaps) > 2
    require(whole, "overlaps", config.overlaps, "overlaps from 0 to 1 with both and one between")
    require_axis("head_scales", config.head_scales, above=0)
    require_number("balance", config.balance, at_least=0, at_most=1e3)
    require_axis("balances", config.balances, at_least=0)
    require_axis("reversed_budgets", config.reversed_budgets, at_least=1)
    for budget in config.reversed_budgets:
        require_integer("reversed_budgets", budget, at_least=1, at_most=10**8)


experiment = Experiment("tasks_in_turn", __doc__, Config, compute, find, table, CLAIMS, flags=Drawing)
run, main = experiment.run, experiment.main
