"""Several tasks on one network in turn, and a task with its sign changed."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim.dynamics.choosing import SolverName
from linsim.dynamics.in_turn import train
from linsim.measure import Measure
from linsim.network import gaussian, lambda_balanced
from linsim.phase import Phase
from linsim.spectra import power_law
from linsim.tasks import LinearTask, random_basis

from ..settling import require_settled

Weights = tuple[np.ndarray, ...]


def drawn_tasks(dim: int, count: int, rng: np.random.Generator) -> list[LinearTask]:
    """Of strengths 2/i in bases of their own."""
    return [
        LinearTask.create(power_law(dim), left=random_basis(dim, rng), right=random_basis(dim, rng))
        for _ in range(count)
    ]


def in_turn(
    tasks: list[LinearTask], start: Weights, rate: float, steps: int, points: Int[np.ndarray, " points"]
) -> Float[np.ndarray, "points tasks"]:
    """Losses of all tasks, over that of the zero network, while each is trained for some steps."""
    along = train(start, [(task, Phase(rate), steps) for task in tasks], points=points, solver="dense").along
    return np.asarray(along["loss"].values / np.array([task.zero_loss for task in tasks]))


def exact_in_turn(
    tasks: list[LinearTask], start: Weights, rate: float, steps: int, points: Int[np.ndarray, " points"]
) -> Float[np.ndarray, "points tasks"]:
    """The same by the exact solution of lambda-balanced layers, one task's end as the next one's start."""
    solver: SolverName = "flow"
    along = train(start, [(task, Phase(rate), steps) for task in tasks], points=points, solver=solver).along
    return np.asarray(along["loss"].values / np.array([task.zero_loss for task in tasks]))


def balanced_start(dim: int, scale: float, balance: float, seed: int) -> Weights:
    """Two layers in random bases."""
    return tuple(np.asarray(layer) for layer in lambda_balanced((dim,) * 3, scale, balance, jax.random.key(seed)))


def gaussian_start(dim: int, scale: float, seed: int) -> Weights:
    """Two layers of random entries."""
    return tuple(np.asarray(layer) for layer in gaussian((dim,) * 3, scale, jax.random.key(seed)))


def reversals(
    task: LinearTask, start: Weights, rate: float, budgets: Int[np.ndarray, " budgets"], steps: int, level: float
) -> Float[np.ndarray, " budgets"]:
    """Flow time on -A, after A for every budget, until the loss is a share of the zero network's; NaN if never."""
    layers = _layers()
    found = train(start, task, Phase(rate), int(budgets[-1]), measures=layers, points=budgets, solver="dense").along
    checkpoints = tuple(found[layer.name].values for layer in layers)
    require_settled(checkpoints, rate)
    other = LinearTask.create(-task.strengths, left=task.left, right=task.right)
    points = np.unique(np.geomspace(1, steps, 400).round().astype(int))
    along = train(checkpoints, other, Phase(rate), steps, points=points, solver="dense").along["loss"]
    return np.array([_falls(points * rate, curve / other.zero_loss, level) for curve in along.values[:, :, 0].T])


def _falls(times: np.ndarray, losses: np.ndarray, level: float) -> float:
    """Where losses first are below a level, between times."""
    below = np.flatnonzero(losses <= level)
    if not below.size:
        return np.nan
    at = int(below[0])
    if at == 0:
        return float(times[0])
    part = (losses[at - 1] - level) / (losses[at - 1] - losses[at])
    return float(times[at - 1] + part * (times[at] - times[at - 1]))


@lru_cache
def _layers() -> tuple[Measure, ...]:
    def layer(number: int) -> Measure:
        dims = (f"row_{number}", f"column_{number}")
        return Measure(f"layer_{number}", dims=dims, at="along", of=lambda seen: seen.weights[number - 1])

    return layer(1), layer(2)
