"""Methods that change pre-training: each is one value of the engine's seams, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage, TailAverage
from linsim.dynamics.moving.perturbed import Dropout, WeightNoise
from linsim.dynamics.moving.spectral import Muon
from linsim.losses import Scalar, Weights, end_to_end
from linsim.phase import Term
from linsim.problem import Problem
from linsim.tasks import Transfer

from .changes import cosine, pretrained, scheduled, spaced, stable_decay
from .method import Method

_RADII = spaced(0.01, 1.0, 6)
_STOPS = (0.1, 0.25, 0.5, 0.75, 1.0)


def foreseen(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """L_ft."""
    return finetune.loss(end_to_end(weights))


def stopped(problem: Problem, strength: float | None) -> Problem:
    """Pre-training for a share of the steps, its rate decaying in their last fifth."""
    steps = max(round((1.0 if strength is None else strength) * int(problem.budgets[-1])), 1)
    shorter = replace(problem, budgets=np.array([steps]))
    return scheduled(stable_decay)(shorter, None)


def late(problem: Problem, strength: float | None) -> Problem:
    """Ascent in the last tenth of pre-training."""
    start = round(0.9 * int(problem.budgets[-1]))
    return pretrained(gradient_at=SharpnessAware(start=start))(problem, None)


def noisier(problem: Problem, strength: float | None) -> Problem:
    """Labels with more noise, of standard deviation `strength` beside what they have."""
    task = problem.transfer.pretrain
    more = replace(task, label_noise=float(np.hypot(task.label_noise, strength or 0.0)))
    return replace(problem, transfer=Transfer(more, problem.transfer.finetune))


METHODS = (
    Method("constant rate", "pretrain", pretrained(schedule=None)),
    Method("cosine schedule", "pretrain", scheduled(cosine)),
    Method(
        "weight average (EMA)",
        "pretrain",
        pretrained(schedule=None, averaging=ExponentialAverage()),
        axis="pretrain_averaging_decay",
        strengths=(0.8, 0.9, 0.96, 0.98, 0.99, 0.996, 0.998),
        recipe=0.99,
    ),
    Method(
        "tail average",
        "pretrain",
        pretrained(schedule=None, averaging=TailAverage()),
        axis="pretrain_averaging_start",
        strengths=(0.2, 0.4, 0.6, 0.8, 0.9, 0.95),
        in_steps=True,
    ),
    Method(
        "early weight decay",
        "pretrain",
        pretrained(weight_decay=None),
        axis="pretrain_weight_decay",
        strengths=spaced(0.001, 0.3, 6),
    ),
    Method(
        "early SAM",
        "pretrain",
        pretrained(gradient_at=SharpnessAware()),
        axis="pretrain_sharpness_radius",
        strengths=_RADII,
    ),
    Method(
        "early SAM, last tenth",
        "pretrain",
        late,
        axis="pretrain_sharpness_radius",
        strengths=_RADII,
    ),
    Method(
        "early dropout",
        "pretrain",
        pretrained(gradient_at=Dropout()),
        axis="pretrain_dropout",
        strengths=(0.01, 0.03, 0.1, 0.2, 0.4),
    ),
    Method(
        "early noise on weights",
        "pretrain",
        pretrained(gradient_at=WeightNoise()),
        axis="pretrain_weight_noise",
        strengths=spaced(0.003, 0.3, 5),
    ),
    Method("more label noise", "pretrain", noisier, strengths=(0.3, 1.0, 3.0)),
    Method("stopping early", "pretrain", stopped, strengths=(0.25, 0.5, 0.75)),
    Method("stopping at the best base", "pretrain", stopped, strengths=_STOPS, rule="base", bounded=True),
    Method(
        "stopping after rehearsal",
        "pretrain",
        stopped,
        strengths=_STOPS,
        rule="rehearsal",
        bounded=True,
        seen="fine-tuning data",
    ),
    Method(
        "early Muon",
        "pretrain",
        pretrained(optimizer=Muon()),
        axis="pretrain_learning_rate",
        strengths=spaced(0.001, 0.03, 5),
    ),
    Method(
        "early mixing",
        "pretrain",
        pretrained(terms=(Term("foreseen", foreseen),)),
        axis="pretrain_foreseen",
        strengths=spaced(0.01, 3.0, 7),
        seen="fine-tuning data",
    ),
)
"""In the order in which they are told."""
