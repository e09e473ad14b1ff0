"""What losses of a league come to: by a fixed recipe, and at matched fine-tuning loss over what is possible at all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata

from linsim.measures.front import Front
from linsim.tasks import Transfer

from ..regularization.fronts import matched
from ..rich_and_lazy.matching import reaching, read_at

_RANGE = 40.0  # of ln mu
INSIDE, LOWEST, HIGHEST = "", "lowest", "highest"


def least_pretrain_loss(transfer: Transfer, finetune_loss: float) -> float:
    """The least L_pre of any network whose L_ft is at most this: max over mu of min_P (L_pre + mu L_ft) - mu L_ft.

    NaN where that is. With one covariance it is (1 - sqrt(phi))^2 D^2 at L_ft = phi D^2.
    [re-derived: strong duality of a convex problem]
    """
    if np.isnan(finetune_loss):
        return np.nan
    front = Front.of(transfer)

    def lost(log_weight: float) -> float:
        weight = float(np.exp(log_weight))
        return weight * finetune_loss - float(
            weight * np.sum(front.gaps / (front.shares + weight * (1 - front.shares)))
        )

    grid = np.linspace(-_RANGE, _RANGE, 321)
    near = grid[int(np.argmin([lost(each) for each in grid]))]
    found = minimize_scalar(lost, bounds=(near - 0.5, near + 0.5), method="bounded", options={"xatol": 1e-12})
    return max(-float(found.fun), 0.0)


def at_matched_loss(
    rates: Float[np.ndarray, " rates"],
    pretrain_loss: Float[np.ndarray, "strengths rates"],
    finetune_loss: Float[np.ndarray, "strengths rates"],
    target: float,
) -> Float[np.ndarray, " strengths"]:
    """L_pre of every strength at the smallest rate by which L_ft falls to a target; NaN where none does.

    Also where the smallest of the rates is beyond the target already: nothing is told from outside of what was run.
    """
    log, found = np.log(rates), np.full(len(pretrain_loss), np.nan)
    for at, (before, after) in enumerate(zip(pretrain_loss, finetune_loss, strict=True)):
        sound = np.isfinite(before) & np.isfinite(after)
        place = reaching(log[sound], after[sound], target)
        found[at] = float(read_at(log[sound], before[sound], place)) if np.isfinite(place) else np.nan
    return found


class Hardest(NamedTuple):
    """The rule of Watts et al. 2026: all methods at the fine-tuning loss that the worst of them comes down to."""

    level: Float[np.ndarray, " seeds"]
    """tau = max over methods of their min L_ft; of methods that end at all, NaN where none does."""
    losses: Float[np.ndarray, "methods seeds"]
    """min L_pre where L_ft <= tau, over strengths and rates; NaN of methods that never end."""


def at_hardest(
    pretrain_loss: Float[np.ndarray, "methods seeds strengths rates"],
    finetune_loss: Float[np.ndarray, "methods seeds strengths rates"],
) -> Hardest:
    """Of losses, NaN where there are none; strengths and rates are chosen for every transfer by itself."""
    sound = np.isfinite(pretrain_loss) & np.isfinite(finetune_loss)
    least = np.where(sound, finetune_loss, np.inf).min(axis=(2, 3))
    level = np.where(np.isfinite(least), least, -np.inf).max(axis=0)
    level = np.where(np.isfinite(level), level, np.nan)
    before, after = (
        np.moveaxis(np.where(sound, each, np.nan), (3, 2), (0, 1)) for each in (pretrain_loss, finetune_loss)
    )
    return Hardest(level, matched(before, after, np.broadcast_to(level, (1, *least.shape)))[0])


class Chosen(NamedTuple):
    """A strength for a target, the same for all transfers of a family."""

    values: Float[np.ndarray, " seeds"]
    """NaN where the target is not reached."""
    strength: int
    """Which; -1 where none reaches the target in any transfer."""
    end: str
    """`lowest` or `highest` where it is an end of the range, else empty."""


def choose(ratios: Float[np.ndarray, "strengths seeds"], bounded: bool) -> Chosen:
    """The strength with the least median over seeds, of those that reach the target in most of them."""
    count = np.isfinite(ratios).sum(axis=1)
    if not count.max(initial=0):
        return Chosen(np.full(ratios.shape[1], np.nan), -1, INSIDE)
    told = count == count.max()
    middle = np.array([np.nanmedian(row) if known else np.inf for row, known in zip(ratios, told, strict=True)])
    best = int(np.argmin(middle))
    alone = bounded or len(ratios) == 1
    end = INSIDE if alone else {0: LOWEST, len(ratios) - 1: HIGHEST}.get(best, INSIDE)
    return Chosen(ratios[best], best, end)


def ranks(values: Float[np.ndarray, "methods transfers"]) -> Float[np.ndarray, "methods transfers"]:
    """From 1, the least; what is not known comes last, together."""
    return np.asarray(rankdata(np.where(np.isfinite(values), values, np.inf), axis=0))


def correlations(
    first: Float[np.ndarray, "methods transfers"], second: Float[np.ndarray, "methods transfers"]
) -> Float[np.ndarray, " transfers"]:
    """Spearman's, of every transfer; NaN where one ruler tells no two methods apart."""
    left, right = (each - each.mean(axis=0) for each in (ranks(first), ranks(second)))
    scale: Any = np.sqrt(np.sum(left**2, axis=0) * np.sum(right**2, axis=0))
    return np.where(scale > 0, np.sum(left * right, axis=0) / np.where(scale > 0, scale, 1), np.nan)


def nearest_rate(losses: Float[np.ndarray, "seeds rates"], targets: Float[np.ndarray, " seeds"]) -> int:
    """The rate by which descent comes nearest to the targets, in the logarithm."""
    off = np.abs(np.log(np.maximum(losses, 1e-300)) - np.log(targets)[:, None])
    return int(np.argmin(np.median(np.where(np.isfinite(off), off, np.inf), axis=0)))
