"""One network through three phases: pre-trained to all budgets, tuned from each, and tuned again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim.dynamics.in_turn import train
from linsim.measure import Measure
from linsim.network import gaussian, identity
from linsim.phase import Phase
from linsim.problem import multiplied
from linsim.shifts import Rescale
from linsim.spectra import power_law
from linsim.tasks import LinearTask, random_basis
from linsim.theory.stages import tuned

Bases = Literal["aligned", "random"]
Second = Literal["back", "head", "random"]
BASES: tuple[Bases, ...] = get_args(Bases)
SECONDS: tuple[Second, ...] = get_args(Second)

Losses = Float[np.ndarray, "stages budgets"]
LOSSES = ("pretrain_loss_before", "pretrain_loss_after", "pretrain_loss_later", "first_loss_after", "first_loss_later")
"""Of the pre-training task before, after the first and after the second tuning; of the first fine-tuning task after
both; over the loss of the zero network on the same task."""


@dataclass(frozen=True)
class Tasks:
    """What is learned in turn."""

    pretrain: LinearTask
    first: LinearTask
    """Weak modes multiplied."""
    second: dict[Second, LinearTask]

    @classmethod
    def drawn(cls, dim: int, factor: float, bases: Bases, rng: np.random.Generator) -> Tasks:
        """Of one seed; aligned to the axes, or in random bases."""
        drawn = [random_basis(dim, rng) if bases == "random" else np.eye(dim) for _ in "uv"]
        task = LinearTask.create(power_law(dim), left=drawn[0], right=drawn[1])
        strong = max(dim // 4, 1)
        other = [random_basis(dim, rng) for _ in "uv"]
        return cls(
            task,
            Rescale(range(strong + 1, dim + 1), factor)(task),
            {
                "back": task,
                "head": Rescale(range(1, strong + 1), factor)(task),
                "random": LinearTask.create(power_law(dim), left=other[0], right=other[1]),
            },
        )


@dataclass(frozen=True)
class Course:
    """Steps and rates of all phases, of a network of some depth."""

    depth: int
    tau: float
    initial_scale: float
    budgets: Int[np.ndarray, " budgets"]
    learning_rate: float
    first_steps: int
    second_steps: int
    second_rate: float

    def start(self, dim: int, bases: Bases, seed: int) -> tuple[np.ndarray, ...]:
        """e^(-tau) I in aligned bases, so that modes never meet; else small Gaussian layers."""
        widths = (dim,) * (self.depth + 1)
        weights = (
            identity(widths, self.tau)
            if bases == "aligned"
            else gaussian(widths, self.initial_scale, jax.random.key(seed))
        )
        return tuple(np.asarray(layer) for layer in weights)

    def pretrained(self, tasks: Tasks, start: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Layers at every budget, which come first."""
        layers = _layers(self.depth)
        steps = int(self.budgets[-1])
        phase = Phase(self.learning_rate)
        along = train(start, tasks.pretrain, phase, steps, measures=layers, points=self.budgets, solver="dense").along
        return tuple(along[layer.name].values for layer in layers)

    def tuned(self, tasks: Tasks, checkpoints: tuple[np.ndarray, ...], rate: float) -> dict[Second, Losses]:
        """Losses by the task of the second tuning."""

        def told(task: LinearTask, weights: tuple[np.ndarray, ...]) -> np.ndarray:
            return np.asarray(task.loss_of(multiplied(weights)) / task.zero_loss)

        once = _trained(checkpoints, tasks.first, rate, self.first_steps)
        found: dict[Second, Losses] = {}
        for name, task in tasks.second.items():
            twice = _trained(once, task, self.second_rate, self.second_steps)
            on_base = [told(tasks.pretrain, weights) for weights in (checkpoints, once, twice)]
            found[name] = np.stack([*on_base, *(told(tasks.first, weights) for weights in (once, twice))])
        return found

    def predicted(self, tasks: Tasks, rate: float) -> dict[Second, Losses]:
        """The same of aligned tasks by the mode solution, one phase after the other; NaN where there is none."""
        sigma, goal = tasks.pretrain.strengths, tasks.first.strengths
        found: dict[Second, Losses] = {}
        for name, task in tasks.second.items():
            aligned = np.array_equal(task.right, tasks.pretrain.right) and np.array_equal(
                task.left, tasks.pretrain.left
            )
            if not aligned or self.depth != 2:
                found[name] = np.full((len(LOSSES), len(self.budgets)), np.nan)
                continue
            states = [np.full((len(self.budgets), 1), np.exp(-2 * self.tau))]
            ways = (
                (sigma, self.learning_rate * self.budgets[:, None]),
                (goal, np.array([[rate * self.first_steps]])),
                (task.strengths, np.array([[self.second_rate * self.second_steps]])),
            )
            for towards, time in ways:
                states.append(np.asarray(tuned(states[-1], towards[None], 0.0, time)))
            states = states[1:]
            on_base = [np.sum((state - sigma) ** 2, axis=-1) / tasks.pretrain.zero_loss for state in states]
            on_first = [np.sum((state - goal) ** 2, axis=-1) / tasks.first.zero_loss for state in states[1:]]
            found[name] = np.stack([*on_base, *on_first])
        return found


def _trained(weights: tuple[np.ndarray, ...], task: LinearTask, rate: float, steps: int) -> tuple[np.ndarray, ...]:
    """Every budget's weights after some steps; NaN where they have diverged, as those that begin so."""
    lost = ~np.all([np.isfinite(layer).all(axis=(1, 2)) for layer in weights], axis=0)
    sound = tuple(np.where(lost[:, None, None], 0.0, layer) for layer in weights)
    moved = train(sound, task, Phase(rate), steps, points=[0], solver="dense").weights
    return tuple(np.where(lost[:, None, None] | ~np.isfinite(layer), np.nan, layer) for layer in moved)


@lru_cache
def _layers(depth: int) -> tuple[Measure, ...]:
    def layer(number: int) -> Measure:
        return Measure(
            f"layer_{number}",
            dims=(f"row_{number}", f"column_{number}"),
            at="along",
            of=lambda seen: seen.weights[number - 1],
        )

    return tuple(layer(number) for number in range(1, depth + 1))
