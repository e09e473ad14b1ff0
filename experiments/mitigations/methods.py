"""The table of mitigations: each method is one value of the engine's seams, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
import numpy as np

from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage, TailAverage
from linsim.dynamics.moving.parameters import Layers, LowRank
from linsim.dynamics.moving.spectral import Muon
from linsim.losses import Scalar, Weights, end_to_end
from linsim.measure import Measure
from linsim.phase import Term
from linsim.problem import Problem

from .method import OWN, Method

Schedule = Callable[[Any], Any]
"""Step -> factor on the rate."""
ALONE = "rate and steps alone"
"""Descent at some rate, from the standard checkpoint: what all others are held against."""
_LAST = 0.2
"""Share of the steps in which the standard recipe's rate decays."""


@lru_cache
def stable_decay(steps: int) -> Schedule:
    """1, and in the last fifth linearly to 0: one object for equal steps, which is compiled once."""
    last = max(round(_LAST * steps), 1)
    return lambda count: jnp.clip((steps - jnp.asarray(count, float)) / last, 0.0, 1.0)


@lru_cache
def cosine(steps: int) -> Schedule:
    """(1 + cos(pi t / steps)) / 2."""
    return lambda count: 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(jnp.asarray(count, float) / steps, 1.0)))


def pretrained(**changes: Any) -> Callable[[Problem, float | None], Problem]:
    """What changes fields of pre-training."""
    return lambda problem, _: replace(problem, pretrain=replace(problem.pretrain, **changes))


def finetuned(**changes: Any) -> Callable[[Problem, float | None], Problem]:
    """What changes fields of fine-tuning."""
    return lambda problem, _: replace(problem, finetune=replace(problem.finetune, **changes))


def scheduled(schedule: Callable[[int], Schedule]) -> Callable[[Problem, float | None], Problem]:
    """What replaces the schedule of pre-training."""
    return lambda problem, _: pretrained(schedule=schedule(int(problem.budgets[-1])))(problem, None)


def rehearsed(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """L_pre."""
    return pretrain.loss(end_to_end(weights))


def foreseen(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """L_ft."""
    return finetune.loss(end_to_end(weights))


def elastic(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """(1/2) sum_l sum F_l (W_l - W_l^0)^2 with the diagonal of the Fisher matrix at the checkpoint, at unit noise.

    F_l[a, b] = ||(W_L ... W_(l+1))[:, a]||^2 (B S B^T)[b, b] with B = W_(l-1) ... W_1. [Kirkpatrick et al. 2017]
    """
    inputs, outputs = checkpoint[0].shape[1], checkpoint[-1].shape[0]
    below = list(accumulate((jnp.eye(inputs), *checkpoint[:-1]), lambda product, layer: layer @ product))
    above = list(accumulate((jnp.eye(outputs), *checkpoint[:0:-1]), lambda product, layer: product @ layer))
    told = jnp.zeros(())
    for weight, began, before, after in zip(weights, checkpoint, below, above[::-1], strict=True):
        second = jnp.einsum("bi,ij,bj->b", before, pretrain.input_covariance, before)
        told += jnp.einsum("ab,a,b->", (weight - began) ** 2, jnp.sum(after**2, axis=0), second)
    return 0.5 * told


def stopped(problem: Problem, strength: float | None) -> Problem:
    """Pre-training for a share of the steps, its rate decaying in their last fifth."""
    steps = max(round((1.0 if strength is None else strength) * int(problem.budgets[-1])), 1)
    shorter = replace(problem, budgets=np.array([steps]))
    return scheduled(stable_decay)(shorter, None)


def late(problem: Problem, strength: float | None) -> Problem:
    """Ascent in the last tenth of pre-training."""
    start = round(0.9 * int(problem.budgets[-1]))
    return pretrained(gradient_at=SharpnessAware(start=start))(problem, None)


def one_layer(problem: Problem, strength: float | None) -> Problem:
    """Only layer number `strength` moves."""
    return finetuned(moves=Layers((int(strength or 1),)))(problem, None)


@lru_cache
def _mixed(shares: tuple[float, ...]) -> tuple[Measure, Measure]:
    def loss(task: str) -> Callable[[Any], Any]:
        def of(seen: Any) -> Any:
            told = getattr(seen, task)
            pairs = list(zip(seen.checkpoint.weights, seen.weights, strict=True))

            def at(share: float) -> Any:
                return told.loss(end_to_end(tuple((1 - share) * began + share * now for began, now in pairs)))

            return jnp.stack([at(share) for share in shares])

        return of

    both = [Measure(f"mixed_{task}_loss", dims=(OWN,), of=loss(task)) for task in ("pretrain", "finetune")]
    return both[0], both[1]


def interpolated(shares: np.ndarray) -> tuple[Measure, Measure]:
    """Both losses of (1 - a) W_0 + a W after fine-tuning, for shares a: from weights, exactly."""
    return _mixed(tuple(np.asarray(shares).tolist()))


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """Strengths evenly in the logarithm, to two digits."""
    return tuple(float(f"{value:.2g}") for value in np.geomspace(low, high, count))


_PENALTIES, _RADII = spaced(0.03, 30.0, 7), spaced(0.01, 1.0, 6)

_TABLE: Sequence[Method] = (
    Method(ALONE, "finetune"),
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
    Method("stopping early", "pretrain", stopped, strengths=(0.25, 0.5, 0.75)),
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
    Method(
        "product penalty",
        "finetune",
        finetuned(product_penalty=None),
        axis="product_penalty",
        strengths=_PENALTIES,
    ),
    Method(
        "weight penalty",
        "finetune",
        finetuned(weight_penalty=None),
        axis="weight_penalty",
        strengths=_PENALTIES,
    ),
    Method("weight decay", "finetune", finetuned(weight_decay=None), axis="weight_decay", strengths=_PENALTIES),
    Method(
        "EWC",
        "finetune",
        finetuned(terms=(Term("elastic", elastic),)),
        axis="elastic",
        strengths=_PENALTIES,
        seen="pre-training data",
    ),
    Method(
        "replay",
        "finetune",
        finetuned(terms=(Term("replay", rehearsed),)),
        axis="replay",
        strengths=_PENALTIES,
        seen="pre-training data",
    ),
    Method(
        "interpolated weights",
        "finetune",
        strengths=tuple(np.round(np.arange(0.1, 1.0, 0.02), 2).tolist()),
        recipe=0.5,
        losses=interpolated,
    ),
    Method(
        "LoRA",
        "finetune",
        finetuned(moves=LowRank()),
        axis="rank",
        strengths=(1.0, 2.0, 4.0, 8.0),
        rate=4.0,
        bounded=True,
    ),
    Method("one layer", "finetune", one_layer, strengths=(1.0, 2.0), bounded=True),
    Method(
        "SAM",
        "finetune",
        finetuned(gradient_at=SharpnessAware()),
        axis="sharpness_radius",
        strengths=_RADII,
    ),
    Method("Muon", "finetune", finetuned(optimizer=Muon()), rate=0.3),
)

METHODS: dict[str, Method] = {method.name: method for method in _TABLE}
"""By name, in the order in which they are told."""
