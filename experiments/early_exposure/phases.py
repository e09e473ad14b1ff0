"""Three phases in turn: a base mixed with the target's data, the target, and what is asked downstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Float

from linsim.dynamics.in_turn import train
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import multiplied, stack_seeds
from linsim.tasks import LinearTask
from linsim.theory.mitigations.exposure import mixed_solution, redundant_end

from ..settling import require_settled

Features = Literal["redundant", "independent"]
FEATURES: tuple[Features, ...] = get_args(Features)
KNOWN, BOTH = np.array([1.0, 0.0]), np.array([1.0, 1.0])
"""The feature of the base and of what is asked downstream; and the two of the target."""
LEVEL = 1.0
"""What the weights on both features sum to, by the target."""


class Part(NamedTuple):
    """Of pre-training."""

    share: float
    """Of the target's data, the rest being the base's."""
    steps: int


class Plan(NamedTuple):
    """Pre-training in parts, and how long the target is trained on afterwards."""

    parts: tuple[Part, ...]
    steps: int
    """0 for none."""


class Reached(NamedTuple):
    """Over (seed, asked), but for what comes before anything is asked."""

    base_loss: Float[np.ndarray, " seeds"]
    """After pre-training, over that of the zero network."""
    base_left: Float[np.ndarray, " seeds"]
    """How far that is from where pre-training on these shares ends; 0 where the base is not seen at all."""
    target_loss: Float[np.ndarray, " seeds"]
    """Before anything is asked, over that of the zero network, as losses of the target are."""
    weights: Float[np.ndarray, "seeds inputs"]
    """End to end, then."""
    retained_loss: Float[np.ndarray, "seeds asked"]
    """Of the target after fine-tuning downstream."""
    asked_loss: Float[np.ndarray, "seeds asked"]


@dataclass(frozen=True)
class Place:
    """Networks of one depth on features of one kind."""

    features: Features
    depth: int
    hidden: int
    seeds: int
    seed: int
    initial_scale: float
    base_strength: float
    asked: tuple[float, ...]
    learning_rate: float
    downstream_steps: int

    @property
    def target(self) -> LinearTask:
        """Both features as one, x = z (1, 1); or each for itself."""
        covariance = np.outer(BOTH, BOTH) if self.features == "redundant" else np.eye(2)
        return LinearTask.from_target(LEVEL * BOTH[None] / 2, covariance)

    def mixed(self, share: float) -> LinearTask:
        """The task whose loss is (1 - a) times the base's plus a times the target's, up to a constant."""
        base, target = self.base_strength * KNOWN[None], self.target
        covariance = (1 - share) * np.eye(2) + share * target.input_covariance
        asks = (1 - share) * base + share * target.target @ target.input_covariance
        return LinearTask.from_target(asks @ np.linalg.pinv(covariance), covariance)

    def starts(self) -> tuple[np.ndarray, ...]:
        """Gaussian layers whose products are alike in size at every depth."""
        widths = (2, *(self.hidden,) * (self.depth - 1), 1)
        keys = [jax.random.key(self.seed * 10_007 + number) for number in range(self.seeds)]
        return stack_seeds([gaussian(widths, self.initial_scale ** (1 / self.depth), key) for key in keys])

    def follow(self, plan: Plan) -> Reached:
        """All phases."""
        target, base = self.target, LinearTask.from_target(self.base_strength * KNOWN[None])
        weights = self.starts()
        for part in plan.parts:
            weights = self._trained(weights, self.mixed(part.share), part.steps)
        products = multiplied(weights)
        if plan.steps:
            weights = self._trained(weights, target, plan.steps)
        before = multiplied(weights)
        ends = [self._downstream(weights, asked) for asked in self.asked]
        return Reached(
            base.loss_of(products) / base.zero_loss,
            abs(base.loss_of(products) / base.zero_loss - self.base_end(plan.parts[-1].share, products)),
            target.loss_of(before) / target.zero_loss,
            before[:, 0],
            np.stack([target.loss_of(end) / target.zero_loss for end in ends], axis=1),
            np.stack([(end @ KNOWN)[:, 0] - asked for end, asked in zip(ends, self.asked, strict=True)], axis=1) ** 2,
        )

    def _downstream(self, weights: Sequence[np.ndarray], asked: float) -> np.ndarray:
        """P after fine-tuning on the known feature alone."""
        task = LinearTask.from_target(asked * KNOWN[None], np.outer(KNOWN, KNOWN))
        return multiplied(self._trained(weights, task, self.downstream_steps))

    def _trained(self, weights: Sequence[np.ndarray], task: LinearTask, steps: int) -> tuple[np.ndarray, ...]:
        """Weights after some steps; `InvalidInput` names the rate where any diverge."""
        trained = train(weights, task, Phase(self.learning_rate), steps, points=[0]).weights
        require_settled(trained, self.learning_rate)
        return trained

    def base_end(self, share: float, products: np.ndarray) -> np.ndarray | float:
        """The base's loss at the least of the mixed one, which is one point; where it is not seen, what it is."""
        base = LinearTask.from_target(self.base_strength * KNOWN[None])
        ends = products if share == 1 else self.mixed(share).target
        return np.asarray(base.loss_of(ends) / base.zero_loss)

    def predicted(self, share: float) -> Float[np.ndarray, " asked"]:
        """The retained loss in closed form, all phases to convergence; NaN where the base is not seen at all."""
        target = self.target
        if share == 1 and self.features == "redundant":
            return np.full(len(self.asked), np.nan)
        before = LEVEL * BOTH / 2
        if self.features == "redundant":
            mixed = mixed_solution(self.base_strength * KNOWN, BOTH, LEVEL, share)
            before = redundant_end(mixed, BOTH, LEVEL, self.depth)
        ends = [redundant_end(before, KNOWN, asked, self.depth) for asked in self.asked]
        return np.array([target.loss_of(end[None]) / target.zero_loss for end in ends])
