"""Methods that change fine-tuning: each is one value of the engine's seams, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
import numpy as np

from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import TailAverage
from linsim.dynamics.moving.parameters import Layers, LowRank
from linsim.dynamics.moving.perturbed import LayerRates
from linsim.dynamics.moving.spectral import Muon
from linsim.losses import Scalar, Weights, end_to_end
from linsim.measure import Measure
from linsim.phase import Term
from linsim.problem import Problem

from .changes import finetuned, spaced
from .method import OWN, Method

_PENALTIES, _RADII = spaced(0.03, 30.0, 7), spaced(0.01, 1.0, 6)
_BATCH = 8
"""Of minibatches whose gradients are squared: that of the standard recipe."""


def rehearsed(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """L_pre."""
    return pretrain.loss(end_to_end(weights))


def elastic(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """(1/2) sum_l sum F_l (W_l - W_l^0)^2 with the diagonal of the Fisher matrix at the checkpoint, at unit noise.

    F_l[a, b] = ||(W_L ... W_(l+1))[:, a]||^2 (B S B^T)[b, b] with B = W_(l-1) ... W_1. [Kirkpatrick et al. 2017]
    """
    told = jnp.zeros(())
    for weight, began, before, after in _chained(weights, checkpoint):
        second = jnp.einsum("bi,ij,bj->b", before, pretrain.input_covariance, before)
        told += jnp.einsum("ab,a,b->", (weight - began) ** 2, jnp.sum(after**2, axis=0), second)
    return 0.5 * told


def batched_elastic(weights: Weights, checkpoint: Weights, pretrain: Any, finetune: Any) -> Scalar:
    """The same with squares of the gradients of minibatches of B in place of F, times B, as is often done.

    Of labels y = A x + noise the gradient of an example is C + deviations, C the mean, and that of a minibatch has the
    mean square C^2 + Var/B: with D = A - P, of normal x and noise sy, (sy^2 ||a||^2 + M_aa) N_bb + C_ab^2 is Var, M =
    a^T D S D^T a and N = B S B^T as above, all without the factor 4. [re-derived]
    """
    away = pretrain.target - end_to_end(checkpoint)
    spread = away @ pretrain.input_covariance
    told = jnp.zeros(())
    for weight, began, before, after in _chained(weights, checkpoint):
        second = jnp.einsum("bi,ij,bj->b", before, pretrain.input_covariance, before)
        residual = jnp.einsum("oa,oi,pi,pa->a", after, spread, away, after)
        mean = after.T @ spread @ before.T
        shared = pretrain.label_noise**2 * jnp.sum(after**2, axis=0) + residual
        variance = shared[:, None] * second[None] + mean**2
        told += jnp.sum((variance + _BATCH * mean**2) * (weight - began) ** 2)
    return 0.5 * told


def _chained(weights: Weights, checkpoint: Weights) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Of every layer its weights, those of the checkpoint, and the products of the layers before and after it there."""
    inputs, outputs = checkpoint[0].shape[1], checkpoint[-1].shape[0]
    below = list(accumulate((jnp.eye(inputs), *checkpoint[:-1]), lambda product, layer: layer @ product))
    above = list(accumulate((jnp.eye(outputs), *checkpoint[:0:-1]), lambda product, layer: product @ layer))
    yield from zip(weights, checkpoint, below, above[::-1], strict=True)


def one_layer(problem: Problem, strength: float | None) -> Problem:
    """Only the input layer moves, strength 1, or only the output layer."""
    return finetuned(moves=Layers((1 if strength == 1 else problem.depth,)))(problem, None)


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


METHODS = (
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
        "EWC, batched",
        "finetune",
        finetuned(terms=(Term("batched_elastic", batched_elastic),)),
        axis="batched_elastic",
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
    Method(
        "merged along the way",
        "finetune",
        finetuned(averaging=TailAverage()),
        axis="averaging_start",
        strengths=(0.0, 0.25, 0.5, 0.75),
        in_steps=True,
        bounded=True,
    ),
    Method(
        "layer-wise rates",
        "finetune",
        finetuned(gradient_at=LayerRates()),
        axis="layer_ratio",
        strengths=(0.03, 0.1, 0.3, 3.0, 10.0, 30.0),
    ),
    Method("Muon", "finetune", finetuned(optimizer=Muon()), rate=0.3),
)
"""In the order in which they are told."""
