"""Two tasks of some similarity, the second with a head of its own: how much of the first is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from linsim.dynamics.in_turn import train
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import multiplied, stack_seeds
from linsim.tasks import LinearTask

from ..settling import require_settled


@dataclass(frozen=True)
class Pair:
    """y = a_k x with unit vectors a_k; networks of two layers, a seed each."""

    inputs: int
    hidden: int
    seeds: int
    seed: int
    initial_scale: float
    learning_rate: float
    """As it was given; these tasks have twice as large a one."""
    steps: int

    def task(self, overlap: float) -> LinearTask:
        """The second task; the first is that of overlap 1."""
        target = np.zeros((1, self.inputs))
        target[0, :2] = overlap, np.sqrt(1 - overlap**2)
        return LinearTask.from_target(target)

    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """The shared layer and the first head, once the first task is learned, each over seeds."""
        widths = (self.inputs, self.hidden, 1)
        shared, head = stack_seeds([gaussian(widths, self.initial_scale, self._key(seed)) for seed in self._seeds])
        found = train([shared], [(self.task(1.0), self.phase, self.steps)], heads=[head], points=[0])
        require_settled((*found.weights, *found.heads), self.learning_rate)
        return found.weights[0], found.heads[0]

    def fresh(self, scale: float) -> np.ndarray:
        """A new head of random entries."""
        widths = (self.hidden, 1)
        return np.stack([np.asarray(gaussian(widths, scale, self._key(seed + 1000))[0]) for seed in self._seeds])

    def forgetting(
        self, shared: np.ndarray, old: np.ndarray, new: np.ndarray, overlap: float
    ) -> tuple[Float[np.ndarray, " seeds"], Float[np.ndarray, " seeds"]]:
        """By how much the first task's loss rises while the second is learned, and what is left of that one's loss."""
        first, second = self.task(1.0), self.task(overlap)
        moved = train([shared], [(second, self.phase, self.steps)], heads=[new], points=[0])
        require_settled((*moved.weights, *moved.heads), self.learning_rate)
        layer, head = moved.weights[0], moved.heads[0]
        rise = first.loss_of(multiplied((layer, old))) - first.loss_of(multiplied((shared, old)))
        return rise / first.zero_loss, second.loss_of(multiplied((layer, head))) / second.zero_loss

    @property
    def phase(self) -> Phase:
        """Of both tasks."""
        return Phase(2 * self.learning_rate)

    @property
    def _seeds(self) -> range:
        return range(self.seeds)

    def _key(self, seed: int) -> jax.Array:
        return jax.random.key(self.seed * 10_007 + seed)
