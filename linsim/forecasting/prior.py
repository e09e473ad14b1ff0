"""The prior over linear networks that the forecaster has learned from: what is drawn, and from which ranges.

A network has modes i with pre-training targets sigma_i, fine-tuning targets sigma'_i, input variances v_i and starts
s_i(0); layers are balanced and share the bases of both tasks, so that every mode moves by itself. Ranges are what a
theorist would call usual. Depths 1 and 2, squared error, spectra that are power laws or log-normal: exponentials,
blocks, rotations, deeper networks, other objectives and optimisers are left out, so that they can test the forecaster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linsim.errors import require_integer

MODES = 16
MOST_BUDGETS = 16
FEWEST_BUDGETS = 3
HORIZONS = (2, 4, 8)
"""Multiples of the largest budget that are asked about."""
SHIFTS = ("none", "tail", "head", "all", "each", "permuted", "zeroed", "opposed", "new", "mixture")
"""tail, head, all: these sigma_i are multiplied by one factor c; each: by one of their own; opposed: some change sign;
new: the last modes are absent in pre-training; mixture: two of them in turn."""
_SHARES = (0.05, 0.2, 0.1, 0.1, 0.2, 0.1, 0.05, 0.05, 0.05, 0.1)  # of networks


class Networks(NamedTuple):
    """Networks and what is done to them, over a leading axis."""

    strengths: Float[np.ndarray, "networks modes"]
    """sigma; 0 for modes that are absent."""
    shifted: Float[np.ndarray, "networks modes"]
    """sigma' of fine-tuning."""
    variances: Float[np.ndarray, "networks modes"]
    """v."""
    starts: Float[np.ndarray, "networks modes"]
    """s(0)."""
    depth: Int[np.ndarray, " networks"]
    finetune_time: Float[np.ndarray, " networks"]
    """T of fine-tuning, rate x steps."""
    penalty: Float[np.ndarray, " networks"]
    """lambda, of the product-space penalty."""
    budgets: Float[np.ndarray, "networks budgets"]
    """Flow times of the table, increasing; NaN beyond the last."""
    floors: Float[np.ndarray, "networks 2"]
    """What no training removes of the losses of pre-training and of fine-tuning."""
    noise: Float[np.ndarray, " networks"]
    """Relative error of every measured loss."""

    @property
    def largest(self) -> Float[np.ndarray, " networks"]:
        """B."""
        return np.nanmax(self.budgets, axis=1)


def draw(count: int, seed: int) -> Networks:
    """Networks of the prior; `InvalidInput` for a count below 1 or a negative seed.

    * sigma_i = i^-a, a from 0.2 to 2.5, or log-normal, 3 to 16 of them; v_i = 1, or log-normal
    * s_i(0) = e^(-2 tau) sigma_i^p jittered, tau from 1 to 5, p of 0 or 1; of one layer 0
    * factors c from 0.3 to 8; T from 0.03 to 10 over the fastest mode; no penalty in 7 of 10, else from 0.05 to 5
    * largest budget from a third of the first rise time to four times the last, 3 to 16 budgets
    * floors in 4 of 10, up to three times the loss of the zero network; errors in 6 of 10, up to 3 %
    """
    require_integer("count", count, at_least=1, at_most=10**8)
    require_integer("seed", seed, at_least=0)
    rng = np.random.default_rng([seed, 20])
    strengths = _spectra(count, rng)
    variances = np.exp(_some(rng, count, 0.5) * rng.uniform(0, 1, (count, 1)) * rng.standard_normal((count, MODES)))
    kinds = rng.choice(len(SHIFTS), count, p=_SHARES)
    strengths, shifted = _shifted(strengths, kinds, rng)
    depth = np.where(rng.random(count) < 0.15, 1, 2)
    tau, power = rng.uniform(1, 5, (count, 1)), rng.integers(0, 2, (count, 1))
    sizes = np.where(strengths > 0, strengths, strengths.max(axis=1, keepdims=True) / 2)
    jitter = np.exp(0.3 * rng.standard_normal((count, MODES)))
    starts = np.minimum(np.exp(-2 * tau) * sizes**power * jitter, 0.5 * sizes)
    starts = np.where(((strengths > 0) | (shifted != 0)) & (depth == 2)[:, None], starts, 0.0)
    fastest = np.max(variances * np.maximum(strengths, np.abs(shifted)), axis=1)
    finetune_time = np.exp(rng.uniform(np.log(0.03), np.log(10), count)) / fastest
    penalty = np.where(rng.random(count) < 0.7, 0.0, np.exp(rng.uniform(np.log(0.05), np.log(5), count)))
    budgets = _budgets(strengths, variances, starts, depth, rng)
    zero = np.stack([np.sum(variances * each**2, axis=1) for each in (strengths, shifted)], axis=1)
    floors = _some(rng, count, 0.4) * 10 ** rng.uniform(-3, 0.5, (count, 2)) * zero
    noise = np.where(rng.random(count) < 0.6, 10 ** rng.uniform(-3.5, -1.5, count), 0.0)
    return Networks(strengths, shifted, variances, starts, depth, finetune_time, penalty, budgets, floors, noise)


def _some(rng: np.random.Generator, count: int, share: float) -> Bool[np.ndarray, "networks 1"]:
    return rng.random((count, 1)) < share


def _spectra(count: int, rng: np.random.Generator) -> Float[np.ndarray, "networks modes"]:
    places = np.arange(1, MODES + 1)
    powers = places ** -rng.uniform(0.2, 2.5, (count, 1))
    logs = np.sort(rng.standard_normal((count, MODES)) * rng.uniform(0.3, 1.2, (count, 1)), axis=1)[:, ::-1]
    chosen = np.where(_some(rng, count, 0.6), powers, np.exp(logs))
    chosen = chosen * (places <= rng.integers(3, MODES + 1, (count, 1)))
    return chosen / chosen.max(axis=1, keepdims=True)


def _shifted(
    strengths: np.ndarray, kinds: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "networks modes"], Float[np.ndarray, "networks modes"]]:
    """Targets of both tasks; a mixture is two shifts, one after the other."""
    simple = len(SHIFTS) - 1
    first = np.where(kinds == simple, rng.integers(1, simple, len(kinds)), kinds)
    strengths, shifted = _once(strengths, strengths, first, rng)
    again = np.where(kinds == simple, rng.integers(1, simple - 1, len(kinds)), 0)
    return strengths, _once(strengths, shifted, again, rng)[1]


def _once(
    strengths: np.ndarray, shifted: np.ndarray, kinds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    count, present = len(strengths), np.count_nonzero(strengths, axis=1)[:, None]
    places = np.arange(MODES)
    split = np.floor(1 + rng.random((count, 1)) * (present - 1))  # modes before it are the head
    one = np.exp(rng.uniform(np.log(0.3), np.log(8), (count, 1)))
    own = one * np.exp(rng.uniform(0, 1, (count, 1)) * rng.standard_normal((count, MODES)))
    order = np.argsort(np.where(places < present, rng.random((count, MODES)), 2 + places), axis=1)
    hit = _some(rng, count, 1.0) & (rng.random((count, MODES)) < rng.uniform(0.1, 0.9, (count, 1)))
    fresh = (places >= split) & (places < present)
    level = rng.uniform(0.2, 1, (count, MODES)) * strengths.max(axis=1, keepdims=True)
    results = {
        "none": shifted,
        "tail": np.where(places >= split, one * shifted, shifted),
        "head": np.where(places < split, one * shifted, shifted),
        "all": one * shifted,
        "each": own * shifted,
        "permuted": np.take_along_axis(shifted, order, axis=1),
        "zeroed": np.where(hit, 0.0, shifted),
        "opposed": np.where(hit, -one * shifted, shifted),
        "new": np.where(fresh, level, shifted),
    }
    is_new = (kinds == SHIFTS.index("new"))[:, None]
    before = np.where(is_new & fresh, 0.0, strengths)
    after = np.select([(kinds == at)[:, None] for at in range(len(results))], list(results.values()))
    return before, after


def _budgets(
    strengths: np.ndarray, variances: np.ndarray, starts: np.ndarray, depth: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, "networks budgets"]:
    """Flow times, evenly in the logarithm or evenly, and jittered."""
    count = len(strengths)
    there = strengths > 0
    sizes, begun = np.where(there, strengths, 1.0), np.where(there & (starts > 0), starts, 0.1)
    rise = np.where((depth == 2)[:, None], np.log(np.maximum(sizes / begun, 2)) / (4 * sizes), 0.35) / variances
    first, last = (np.log(each) for each in (np.where(there, rise, np.inf).min(1), np.where(there, rise, 0).max(1)))
    largest = rng.uniform(first - 1, np.maximum(last + 1.4, first + 1))
    number = rng.integers(FEWEST_BUDGETS, MOST_BUDGETS + 1, count)
    span = rng.uniform(1, 5, count)
    share = np.arange(MOST_BUDGETS) / (number[:, None] - 1)
    steps = span[:, None] * (share - 1)
    even = np.log(np.maximum(share + (1 - share) * np.exp(-span[:, None]), 1e-9))
    logs = np.where(rng.random((count, 1)) < 0.3, even, steps)
    inner = (share > 0) & (share < 1)
    gaps = np.diff(logs, axis=1, append=logs[:, -1:] + 1)
    logs = logs + inner * rng.uniform(-0.3, 0.3, share.shape) * gaps * (rng.random((count, 1)) < 0.5)
    return np.where(share <= 1, np.exp(largest[:, None] + logs), np.nan)
