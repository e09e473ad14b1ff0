"""What a forecast looks at: the shape of each column of losses, relative to its own last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

COLUMNS = ("base_loss", "finetune_loss_before", "pretrain_loss_after", "finetune_loss_after")
"""Losses of a table, all but the first may be missing: of both tasks before fine-tuning, and after it."""
OPTIONAL = COLUMNS[1:]

_BACK = np.array([0.2, 0.45, 0.8, 1.25, 1.8, 2.5, 3.4, 4.5])  # e-folds of the budget before the last
_RECENT = 3  # budgets whose slope is told
_SIZE = len(_BACK) + 5
_WIDEST = 6.0  # of a logarithm that is told


def shape_of(budgets: Float[np.ndarray, " budgets"], losses: Float[np.ndarray, " budgets"]) -> np.ndarray:
    """One column as numbers that do not change with its scale or with the unit of budgets.

    ln(L(B e^-x) / L(B)) at fixed x, held constant before the first budget; the recent slope d ln L / d ln b and its
    change; how far back the least value lies, and how much the last is above it; the scatter about neighbours.

    Args:
      budgets: increasing, > 0.
      losses: > 0.
    """
    x, y = np.log(budgets / budgets[-1]), np.log(losses / losses[-1])
    back = np.interp(-_BACK, x, y)
    gaps = np.diff(y) / np.diff(x)
    recent = float(np.polyfit(x[-_RECENT:], y[-_RECENT:], 1)[0])
    least = int(np.argmin(y))
    weight = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    scatter = np.median(np.abs(y[1:-1] - (1 - weight) * y[:-2] - weight * y[2:]))
    told = [recent, gaps[-1] - gaps[-2], -x[least], -y[least], np.log(scatter + 1e-4)]
    return np.clip(np.concatenate([back, told]), -_WIDEST, _WIDEST) if np.isfinite(told).all() else np.zeros(_SIZE)


def features(
    shapes: Mapping[str, np.ndarray], budgets: Float[np.ndarray, " budgets"]
) -> Float[np.ndarray, " features"]:
    """All that is known of a run: how its budgets lie, which columns there are, and the shape of each.

    How both tasks go together is told as the ratio of their recent slopes, which is 2 c - 1 where modes are learned
    whole and the losses are alike (`linsim.theory.loss_ratio`).
    """
    span = np.log(budgets[-1] / budgets[0])
    told = [np.log(len(budgets)), span, np.log(budgets[-1] / budgets[-2]), *(name in shapes for name in OPTIONAL)]
    told += [float(each > span) for each in _BACK]
    base = shapes["base_loss"]
    for name in OPTIONAL:
        other = shapes.get(name, np.zeros(_SIZE))
        told += [np.arctan2(other[place], -base[place]) if name in shapes else 0.0 for place in (len(_BACK), 2)]
    return np.concatenate([told, *(shapes.get(name, np.zeros(_SIZE)) for name in COLUMNS)])


def features_of(
    budgets: Float[np.ndarray, " budgets"], columns: Mapping[str, np.ndarray], only: Sequence[str] = COLUMNS
) -> Float[np.ndarray, " features"]:
    """The features of one run from its columns of losses, of those named in `only`."""
    return features({name: shape_of(budgets, columns[name]) for name in columns if name in only}, budgets)
