"""The tasks: features in several geometries, of which fine-tuning sees a few, and networks of several widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import jax
import numpy as np
from scipy.linalg import expm

from linsim.losses import matmul, quadratic
from linsim.measure import Measure
from linsim.measures.built_in import HESSIAN_TRACE
from linsim.measures.curvature import trace_of_curvature
from linsim.measures.features.overlap import feature_overlap
from linsim.network import gaussian
from linsim.objectives.cross_entropy import zipf
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.spectra import power_law
from linsim.tasks import LinearTask, Transfer, random_basis

from ..objectives.tasks import FINETUNE_LOSS_BEFORE

Geometry = Literal["separate", "mixed", "equal", "correlated", "rare", "non-negative"]
GEOMETRIES: tuple[Geometry, ...] = get_args(Geometry)
Shift = Literal["strengthened", "relabelled"]
SHIFTS: tuple[Shift, ...] = get_args(Shift)

_SIZE = 0.5  # of a generator of rotations: at 1 they have mixed all axes


@dataclass(frozen=True)
class Tasks:
    """What all teachers have in common. Features are the inputs themselves, f_i = e_i."""

    dim: int
    """Features, and as many outputs."""
    changed: int
    """Of which fine-tuning sees the first."""
    strength: float
    """Largest singular value of a teacher."""
    exponent: float
    """Singular values fall as i^(-exponent)."""
    factor: float
    """By which strengthened features grow."""
    correlation: float
    """Of any two features where they are correlated."""
    initial_scale: float
    learning_rate: float
    budgets: tuple[int, ...]
    finetune_steps: int
    seed: int

    def teacher(self, geometry: Geometry, sample: int) -> LinearTask:
        """A = U diag(sigma) V^T, in a random basis U, and the second moments of its features.

        separate: V is a permutation, so that features are modes. mixed, and where nothing else is said: V is random.
        equal: all sigma are one, of the same root mean square. correlated: S has ones, and the correlation. rare: S is
        diagonal by Zipf's law. All S have trace d.
        """
        rng = np.random.default_rng([self.seed, sample])
        left, right, order = random_basis(self.dim, rng), random_basis(self.dim, rng), rng.permutation(self.dim)
        covariance = np.eye(self.dim)
        if geometry == "correlated":
            covariance = (1 - self.correlation) * covariance + self.correlation
        elif geometry == "rare":
            covariance = np.diag(self.dim * zipf(self.dim, 1.0)[order])
        right = np.eye(self.dim)[order] if geometry == "separate" else right
        strengths = np.full(self.dim, self.equal) if geometry == "equal" else self.strengths
        return LinearTask.create(strengths, left=left, right=right, input_covariance=covariance)

    @property
    def strengths(self) -> np.ndarray:
        """sigma."""
        return np.asarray(power_law(self.dim, self.strength, self.exponent))

    @property
    def equal(self) -> float:
        """Their root mean square."""
        return float(np.sqrt(np.mean(self.strengths**2)))

    def transfer(self, task: LinearTask, shift: Shift) -> Transfer:
        """Fine-tuning on data that hold the changed features alone, with outputs that are larger, or are others'."""
        target, seen = task.target.copy(), np.arange(self.dim) < self.changed
        columns = target[:, seen]
        target[:, seen] = self.factor * columns if shift == "strengthened" else np.roll(columns, 1, axis=0)
        return Transfer(task, LinearTask.from_target(target, task.input_covariance * np.outer(seen, seen)))

    def problem(self, transfer: Transfer, starts: Sequence[Any], moves: tuple[Any, Any] = (None, None)) -> Problem:
        """Two layers from these starts, and what moves in either phase."""
        before, after = (Phase(self.learning_rate, moves=each) for each in moves)
        return Problem(transfer, stack_seeds(starts), before, after, np.asarray(self.budgets), self.finetune_steps)

    def starts(self, widths: Sequence[int], sample: int, absolute: bool = False) -> list[Any]:
        """Small Gaussian weights for every width, in as many units as the widest has: units at 0 stay there."""
        most = max(widths)
        first, second = map(np.asarray, gaussian((self.dim, most, self.dim), self.initial_scale, self._key(sample)))
        first = np.abs(first) if absolute else first
        here = [(np.arange(most) < width) * 1.0 for width in widths]
        return [
            (first * unit[:, None], second * unit * np.sqrt(most / width))
            for unit, width in zip(here, widths, strict=True)
        ]

    def turn(self, share: float, sample: int) -> np.ndarray:
        """A rotation of the inputs, the share of one that mixes all of them."""
        generator = np.random.default_rng([self.seed, sample, 1]).standard_normal((self.dim, self.dim))
        return np.asarray(expm(share * _SIZE * (generator - generator.T)))

    def _key(self, sample: int) -> Any:
        return jax.random.key(self.seed * 10_007 + sample)


def _scaled_trace(seen: Any) -> Any:
    (first, second), scale = seen.checkpoint.weights, seen.phase.moves.layer_scale
    return trace_of_curvature((first * scale, second / scale), seen.pretrain.input_covariance)


SCALED_TRACE = Measure(
    "scaled_trace",
    long_name="tr H of the pre-training loss where layers are scaled",
    units="squared output / squared weight",
    of=_scaled_trace,
)


@cache
def measures(dim: int, changed: int) -> tuple[Measure, ...]:
    """Overlap and sensitivity of checkpoints, and the loss on features that fine-tuning does not see."""

    def kept(seen: Any) -> Any:
        rest, task = slice(changed, dim), seen.pretrain
        residual = (seen.product - task.target)[:, rest]
        return quadratic(residual, matmul(residual, task.input_covariance[rest, rest]))

    def zero(seen: Any) -> Any:
        target = seen.pretrain.target
        return quadratic(target, matmul(target, seen.pretrain.input_covariance))

    loss = Measure("kept_loss_after", of=kept)
    return (
        *(feature_overlap(), HESSIAN_TRACE, loss, loss.taken("checkpoint", "kept_loss_before"), FINETUNE_LOSS_BEFORE),
        Measure("pretrain_zero_loss", at="checkpoint", of=zero),
    )
