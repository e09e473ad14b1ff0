"""Both rulers over a league of losses: the fixed recipe, and matched fine-tuning loss over the least possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.labels import texts

from .method import OWN, Method, Rule
from .reading import (
    INSIDE,
    Chosen,
    at_hardest,
    at_matched_loss,
    choose,
    correlations,
    least_pretrain_loss,
    nearest_rate,
    ranks,
)


def ruled(
    levels: Sequence[float],
    recipe_level: float,
    methods: Sequence[Method],
    rates: np.ndarray,
    places: Mapping[str, Sequence[Any]],
    losses: np.ndarray,
    base: np.ndarray,
) -> xr.Dataset:
    """What losses come to.

    Args:
      levels: phi.
      recipe_level: phi to which descent comes by the fixed rate.
      methods: descent alone first.
      rates: of fine-tuning, before what methods multiply them by.
      places: family -> its transfers, each with a problem.
      losses: both, over D^2, over (method, family, seed, strength, rate).
      base: losses before fine-tuning, over (method, family, seed, strength).
    """
    after, on_finetune = losses
    count, kinds, seeds = after.shape[:3]
    transfers = [[place.problem.transfer for place in row] for row in places.values()]
    distance = np.array([[transfer.learned_loss for transfer in row] for row in transfers])
    possible = np.array(
        [
            [
                [least_pretrain_loss(transfer, phi * transfer.learned_loss) / transfer.learned_loss for transfer in row]
                for row in transfers
            ]
            for phi in levels
        ]
    )
    fixed_rate = np.array(
        [nearest_rate(on_finetune[0, family, :, 0], np.full(seeds, recipe_level)) for family in range(kinds)]
    )
    by_rule = {  # one strength for all targets
        (at, family): _ruled(method.rule, base[at, family], after[at, family, :, :, fixed_rate[family]])
        for at, method in enumerate(methods)
        for family in range(kinds)
        if method.rule != "target"
    }
    fixed = np.full((2, count, kinds, seeds), np.nan)
    ratio = np.full((count, len(levels), kinds, seeds), np.nan)
    chosen, ends = np.full(ratio.shape[:3], -1), np.full(ratio.shape[:3], "", object)
    for at, method in enumerate(methods):
        strengths = max(len(method.strengths), 1)
        recipe = method.fixed if method.strengths else 0
        for family in range(kinds):
            recipe = by_rule.get((at, family), recipe)
            fixed[:, at, family] = losses[:, at, family, :, recipe, fixed_rate[family]]
            for number, phi in enumerate(levels):
                found = np.stack(
                    [
                        at_matched_loss(
                            method.rate * rates,
                            after[at, family, seed, :strengths],
                            on_finetune[at, family, seed, :strengths],
                            phi,
                        )
                        / possible[number, family, seed]
                        for seed in range(seeds)
                    ],
                    axis=1,
                )
                only = by_rule.get((at, family))
                told = choose(found, method.bounded) if only is None else Chosen(found[only], only, INSIDE)
                ratio[at, number, family] = told.values
                chosen[at, number, family], ends[at, number, family] = told.strength, told.end
    allowed = losses.copy()  # a rule has chosen for all
    for (at, family), only in by_rule.items():
        allowed[:, at, family, :, np.arange(after.shape[3]) != only] = np.nan
    hardest = [at_hardest(*allowed[:, :, family]) for family in range(kinds)]
    tau, at_tau = np.stack([each.level for each in hardest]), np.stack([each.losses for each in hardest], axis=1)
    scaled = zip(transfers, tau, distance, strict=True)
    bound = [
        [least_pretrain_loss(transfer, level * scale) / scale for transfer, level, scale in zip(*row, strict=True)]
        for row in scaled
    ]
    values = np.full((count, after.shape[3]), np.nan)
    for row, method in zip(values, methods, strict=True):
        row[: len(method.strengths)] = method.strengths
    transfer = ("family", "seed")
    flat = {"fixed": fixed[0].reshape(count, -1)}
    correlation = np.stack(
        [correlations(flat["fixed"], ratio[:, at].reshape(count, -1)) for at in range(len(levels))]
    ).reshape(len(levels), kinds, seeds)
    rank = np.stack([ranks(ratio[:, at].reshape(count, -1)) for at in range(len(levels))], axis=1)
    cells = ("mitigation", *transfer, OWN)
    matched = ("mitigation", "level", "family")
    return xr.Dataset(
        {
            "pretrain_loss_after": ((*cells, "relative_rate"), after),
            "finetune_loss_after": ((*cells, "relative_rate"), on_finetune),
            "base_loss": (cells, base),
            "value": (("mitigation", OWN), values),
            "distance": (transfer, distance),
            "possible": (("level", *transfer), possible),
            "ratio": ((*matched, "seed"), ratio),
            "chosen": (matched, chosen),
            "end": (matched, texts([str(each) for each in ends.ravel()]).reshape(ends.shape)),
            "fixed_rate": (("family",), rates[fixed_rate]),
            "fixed_pretrain_loss": (("mitigation", *transfer), fixed[0]),
            "fixed_finetune_loss": (("mitigation", *transfer), fixed[1]),
            "fixed_rank": (("mitigation", *transfer), ranks(flat["fixed"]).reshape(count, kinds, seeds)),
            "rank": (("mitigation", "level", *transfer), rank.reshape(ratio.shape)),
            "hardest_level": (transfer, tau),
            "hardest_ratio": (("mitigation", *transfer), at_tau / np.maximum(np.array(bound), 1e-12)),
            "hardest_rank": (
                ("mitigation", *transfer),
                ranks(at_tau.reshape(count, -1)).reshape(count, kinds, seeds),
            ),
            "correlation": (("level", *transfer), correlation),
        },
        {
            "mitigation": texts([method.name for method in methods]),
            "level": np.asarray(levels),
            "side": ("mitigation", texts([method.side for method in methods])),
            "seen": ("mitigation", texts([method.seen or "none" for method in methods])),
            "rate": ("mitigation", np.array([method.rate for method in methods])),
        },
    )


def _ruled(rule: Rule, base: Float[np.ndarray, "seeds strengths"], after: Float[np.ndarray, "seeds strengths"]) -> int:
    """Which strength has the least median loss over seeds: before fine-tuning, or after the fixed recipe."""
    losses = base if rule == "base" else after
    known = np.isfinite(losses).all(axis=0)
    return int(np.argmin(np.where(known, np.median(np.where(known, losses, 0.0), axis=0), np.inf)))
