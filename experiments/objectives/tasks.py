"""The tasks: one teacher of logits for every objective, and two ways in which fine-tuning asks for something else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from linsim.losses import Objective, Weights, end_to_end
from linsim.measure import Measure
from linsim.network import gaussian
from linsim.objectives.cross_entropy import CrossEntropy, zipf
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.spectra import power_law
from linsim.tasks import LinearTask, Transfer, random_basis

SQUARED, SOFT, HARD, SMOOTHED = "squared error", "soft labels", "hard labels", "smoothed labels"
OBJECTIVES = (SQUARED, SOFT, HARD, SMOOTHED)
STRENGTHENED, RELABELLED = "strengthened", "relabelled"
SHIFTS = (STRENGTHENED, RELABELLED)

FINETUNE_LOSS_BEFORE = Measure("finetune_loss_before", at="checkpoint", of=lambda seen: seen.finetune_loss)
DRAWS = 64
"""Of noise, each with both signs; the same at every checkpoint."""


@dataclass(frozen=True)
class Tasks:
    """What teachers have in common."""

    dim: int
    exponent: float
    """Singular values of the teacher fall as i^(-exponent)."""
    zipf: float
    """Contexts are met with probability ~ c^(-zipf)."""
    strengthened_from: int
    """First mode that is strengthened."""
    factor: float
    smoothing: float
    seed: int

    def objective(self, name: str) -> Objective | None:
        """By its name; None of squared error."""
        if name == SQUARED:
            return None
        smoothing = self.smoothing if name == SMOOTHED else 0.0
        return CrossEntropy("soft" if name == SOFT else "hard", smoothing)

    def transfer(self, sample: int, strength: float, objective: str, shift: str) -> Transfer:
        """Both tasks of one teacher, in random bases.

        Squared error is to the teacher's logits, with the same contexts: S = diag(p).
        """
        rng = np.random.default_rng([self.seed, sample])
        left, right = (random_basis(self.dim, rng) for _ in "ab")
        task = LinearTask.create(
            power_law(self.dim, strength, self.exponent),
            left=left,
            right=right,
            input_covariance=np.diag(zipf(self.dim, self.zipf)),
            objective=self.objective(objective),
        )
        if shift == STRENGTHENED:
            later = np.arange(1, self.dim + 1) >= self.strengthened_from
            return Transfer(task, replace(task, strengths=task.strengths * np.where(later, self.factor, 1.0)))
        logits = task.target.copy()
        logits[:, 1::2] = np.roll(logits[:, 1::2], 1, axis=0)
        return Transfer(task, LinearTask.from_target(logits, task.input_covariance, objective=task.objective))

    def problem(
        self, transfer: Transfer, sample: int, scale: float, rate: float, budgets: np.ndarray, steps: int
    ) -> Problem:
        """Two layers from small Gaussian weights, as wide as the task."""
        start = gaussian((self.dim,) * 3, scale, jax.random.key(self.seed * 10_007 + sample))
        return Problem(transfer, stack_seeds([start]), Phase(rate), Phase(rate), budgets, steps)


def under_noise(scales: tuple[float, ...]) -> Measure:
    """Mean pre-training loss with noise on every weight, over draws: of cross-entropy nothing is exact."""

    def of(seen: object) -> jax.Array:
        told, weights = seen.pretrain, seen.weights  # type: ignore[attr-defined]
        keys = jax.random.split(jax.random.key(0), len(weights))
        drawn = tuple(
            jax.random.normal(key, (DRAWS, *weight.shape), weight.dtype)
            for key, weight in zip(keys, weights, strict=True)
        )

        def loss(noise: Weights, scale: jax.Array) -> jax.Array:
            return told.loss(end_to_end(tuple(w + scale * z for w, z in zip(weights, noise, strict=True))))

        def mean(scale: jax.Array) -> jax.Array:
            both = jnp.stack(
                [jax.vmap(lambda noise, sign=sign: loss(noise, sign * scale))(drawn) for sign in (1.0, -1.0)]
            )
            return jnp.mean(both)

        return jnp.stack([mean(jnp.asarray(scale, weights[0].dtype)) for scale in scales])

    return Measure(
        "loss_under_noise",
        dims=("noise",),
        long_name="mean pre-training loss with noise on the weights",
        units="of the loss",
        at="checkpoint",
        coords={"noise": np.asarray(scales)},
        of=of,
    )
