"""Fine-tuning simulated for checks: gradient descent in NumPy, in the singular bases that both tasks share.

There every layer stays diagonal, so that modes are a last axis and checkpoints any axes before it. That full matrices
in rotated bases do the same is a claim of its own, `penalised-update`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from linsim.claims.claim import PlainProblem
from linsim.claims.margins import equals, exceeds

CONVERGED = 2000
"""Steps at `steady_rate` that bring modes to their limits: a fiftieth of the strongest to within e^-36 of it."""

CUT_SHORT = 400
"""Steps of fine-tuning for a given flow time."""


def tasks(problem: PlainProblem) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of both tasks from those of the first and the ratios of the second to it."""
    pretrain = np.asarray(problem["pretrain"])
    return pretrain, pretrain * np.asarray(problem["ratios"])


def balanced_layers(strengths: ArrayLike, stretch: float = 1.0) -> np.ndarray:
    """Two layers, stacked, of which the second is `stretch`^2 times the first in every mode: 1 is balanced."""
    strengths = np.asarray(strengths, np.float64)
    root = np.sqrt(np.abs(strengths))
    return np.stack([root / stretch, np.sign(strengths) * root * stretch])


def descend(layers: np.ndarray, target: ArrayLike, penalty: ArrayLike, rate: ArrayLike, steps: int) -> np.ndarray:
    """Descend ||P - A||^2 + penalty ||P - P_0||^2 from two layers of product P_0; the strengths of the product."""
    anchored = np.asarray(target) + np.asarray(penalty) * layers[0] * layers[1]
    stiffness, step = 1 + np.asarray(penalty), 2 * np.asarray(rate)
    for _ in range(steps):
        pull = step * (anchored - stiffness * layers[0] * layers[1])
        layers = layers + pull * layers[::-1]
    return layers[0] * layers[1]


def descend_deep(
    start: ArrayLike, target: ArrayLike, penalty: float, depth: int, rate: ArrayLike, steps: int
) -> np.ndarray:
    """The same with `depth` equal layers, which stay equal; strengths >= 0."""
    start = np.asarray(start, np.float64)
    layer, anchored, step = start ** (1 / depth), np.asarray(target) + penalty * start, 2 * np.asarray(rate)
    for _ in range(steps):
        others = layer ** (depth - 1)
        layer = layer + step * others * (anchored - (1 + penalty) * others * layer)
    return layer**depth


def steady_rate(start: ArrayLike, target: ArrayLike, penalty: float) -> float:
    """0.9 of the largest rate at which no mode oscillates on its way, 1 / (4 (1 + lambda) max(s_0, s_inf))."""
    start, target = np.abs(start), np.abs(target)
    return 0.9 / (4 * float(np.max(np.maximum((1 + penalty) * start, target + penalty * start))))


def stages(strengths: ArrayLike, unlearned: float = 0.0) -> np.ndarray:
    """Checkpoints of stage n = 0 .. r, shape (r + 1, r): the first n modes at their strengths, the rest `unlearned`."""
    strengths = np.asarray(strengths, np.float64)
    learned = np.tri(len(strengths) + 1, len(strengths), -1, dtype=bool)
    return np.where(learned, strengths, unlearned)


def tuned_losses(
    checkpoints: np.ndarray,
    pretrain: np.ndarray,
    finetune: np.ndarray,
    penalty: float,
    time: float | None = None,
    steps: int = CUT_SHORT,
) -> tuple[np.ndarray, np.ndarray]:
    """Pre-training and fine-tuning losses after tuning all checkpoints for a flow time, or to convergence if None."""
    rate = steady_rate(pretrain, finetune, penalty) if time is None else time / steps
    end = descend(balanced_layers(checkpoints), finetune, penalty, rate, CONVERGED if time is None else steps)
    return np.sum((end - pretrain) ** 2, axis=-1), np.sum((end - finetune) ** 2, axis=-1)


def raises(loss: float, before: float, stated: bool) -> float:
    """Margin of the statement that a loss is larger than before or, where that is not stated, that it is not."""
    # Losses of converged descents agree to the rounding of some thousand steps.
    return exceeds(loss, before) if stated else equals(max(loss - before, 0.0), 0.0, tolerance=1e-9, scale=before)
