"""The loss under noise along pre-training in closed form, and the strengths that are best under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.problem import Problem
from linsim.theory.noise_turning import noise_inflection
from linsim.theory.prices import NoiseCost
from linsim.theory.rises import BalancedModes
from linsim.theory.turns import Criteria, material

from .finding import Kind

CRITERIA = Criteria(tolerance=0.1)
"""Budgets are given, not refined: harm that is known to a tenth has a place between them."""
Costs = Mapping[Kind, Sequence[NoiseCost]]
"""What every scale of noise costs two aligned balanced layers; empty where there is no formula."""


class Curves(NamedTuple):
    """What simulation or closed form says of one kind of noise from one start."""

    loss: Float[np.ndarray, "budgets seeds scales"]
    sensitivity: Float[np.ndarray, "budgets seeds scales"]
    inflection: Float[np.ndarray, "seeds scales"]
    """In steps; NaN where the turn is not material."""
    harm: Float[np.ndarray, "seeds scales"]


def costs_of(config: Any, problem: Problem) -> Costs:
    """Of the scales of a configuration: it has `absolute` and `relative` ones."""
    task = problem.transfer.pretrain
    if problem.depth != 2 or not task.whitened or task.strengths.min() < 0:
        return {}
    d_in, hidden, d_out = problem.widths
    return {
        "absolute": [NoiseCost.absolute(scale, d_in, hidden, d_out) for scale in config.absolute],
        "relative": [NoiseCost.relative(scale, hidden) for scale in config.relative],
    }


def modes_of(problem: Problem, costs: Costs) -> BalancedModes | str:
    """The modes whose loss under noise has a closed form, or in words why there is none."""
    modes = BalancedModes.of(problem)
    if isinstance(modes, str):
        return modes
    if not costs:
        return "it is for two layers, whitened inputs and strengths >= 0"
    return modes if modes.starts.min() >= 0 else "it is for a start of strengths >= 0"


def closed_form(modes: BalancedModes, problem: Problem, costs: Sequence[NoiseCost]) -> Curves:
    """Loss, sensitivity, turns and harm of modes that each follow their own logistic curve."""
    rate, sigma = problem.pretrain.learning_rate, modes.strengths
    times = rate * problem.budgets.astype(np.float64)
    learned = modes.at(times[:, None, None])
    sensitivity = np.stack([cost.of(learned.sum(axis=-1)) for cost in costs], axis=-1)
    loss = np.sum((sigma - learned) ** 2, axis=-1)[..., None] + sensitivity
    ends = times[0], times[-1]
    turns = [
        [noise_inflection(sigma, start, cost.price, *ends, cost.collective) for cost in costs] for start in modes.starts
    ]
    steps = np.asarray([[turn.time for turn in row] for row in turns]) / rate
    least = np.asarray([[turn.loss for turn in row] for row in turns]) + [cost.constant for cost in costs]
    harm, excess = loss[-1] / least - 1, (loss[-1] - least) / problem.transfer.pretrain.zero_loss
    return Curves(loss, sensitivity, np.where(material(harm, excess, CRITERIA), steps, np.nan), np.maximum(harm, 0))


def best_under_noise(problem: Problem, costs: Costs) -> dict[str, Any]:
    """Prices, n* and the best strengths of balanced aligned layers that have room for all modes; none elsewhere."""
    sigma = problem.transfer.pretrain.strengths
    if min(problem.widths) < len(sigma):
        return {}
    found: dict[str, Any] = {}
    for kind, each in costs.items():
        best = [cost.best_strengths(sigma) for cost in each]
        least = [
            np.sum((sigma - strengths) ** 2) + cost.of(strengths.sum()) - cost.constant
            for cost, strengths in zip(each, best, strict=True)
        ]
        of_scales = {
            "price": [cost.marginal(sigma.sum()) for cost in each],
            "useful": [cost.best_stage(sigma) for cost in each],
            "best_loss": least,
            "constant": [cost.constant for cost in each],
        }
        found |= {f"{name}_{kind}": (f"{kind}_noise", values) for name, values in of_scales.items()}
        found[f"best_strengths_{kind}"] = ((f"{kind}_noise", "mode"), np.stack(best))
    return found
