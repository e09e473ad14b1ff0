"""What the forecast is held against: trivial rules, curves of no theory, and the ratio of both losses.

Each tells a number of a table. How often 8 B came out worse at such numbers, on networks of the prior, makes it a
chance, for all rules alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linsim.forecasting.prior import HORIZONS
from linsim.forecasting.simulation import MARGIN

Columns = Mapping[str, np.ndarray]
Rule = Callable[[np.ndarray, Columns], float]

_BINS = 12
_DECAYS, _RISES = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0), (0.25, 0.5, 1.0, 2.0)
_RIDGE = 1e-9  # of terms in units of their length
_SUBSETS = [subset for subset in product((True, False), repeat=3) if any(subset)]


def constant(budgets: np.ndarray, columns: Columns) -> float:
    """The share of the prior."""
    return 0.0


def turned(budgets: np.ndarray, columns: Columns) -> float:
    """Whether the loss after fine-tuning has risen by more than the margin above its least."""
    after = columns["pretrain_loss_after"]
    return float(after[-1] > (1 + MARGIN) * after.min())


def slope(budgets: np.ndarray, columns: Columns) -> float:
    """d ln L / d ln b of the loss after fine-tuning, at the last two budgets."""
    logs = np.log(columns["pretrain_loss_after"][-2:])
    return float((logs[1] - logs[0]) / np.log(budgets[-1] / budgets[-2]))


def position(budgets: np.ndarray, columns: Columns) -> float:
    """How far the base loss has come, in e-folds."""
    return float(np.log(columns["base_loss"][0] / columns["base_loss"][-1]))


def ratio(budgets: np.ndarray, columns: Columns) -> float:
    """ln(L_ft / L_base) of the last untuned checkpoint, both in one unit."""
    return float(np.log(columns["finetune_loss_before"][-1] / columns["base_loss"][-1]))


def phenomenology(budgets: np.ndarray, columns: Columns) -> float:
    """ln(L(8 B) / L(B)) of E + A b^-alpha + F b^phi, E, A, F >= 0: the best relative fit over a grid of exponents."""
    x, after = budgets / budgets[-1], columns["pretrain_loss_after"]
    powers = np.array([(0.0, -decay, rise) for decay, rise in product(_DECAYS, _RISES)])
    terms = x[:, None] ** powers[:, None] / after[:, None]  # (fits, budgets, terms)
    gram, sums = np.swapaxes(terms, 1, 2) @ terms, terms.sum(axis=1)
    ahead = float(HORIZONS[-1]) ** powers
    best, told = np.inf, 0.0
    for subset in _SUBSETS:
        chosen = np.flatnonzero(subset)
        square, right = gram[:, chosen[:, None], chosen], sums[:, chosen]
        size = np.sqrt(np.einsum("fii->fi", square))
        scaled = square / size[:, :, None] / size[:, None] + _RIDGE * np.eye(len(chosen))
        found = np.linalg.solve(scaled, (right / size)[..., None])[..., 0] / size
        left = len(x) - np.sum(found * right, axis=1)  # squared misfit of a least-squares fit
        left = np.where((found >= 0).all(axis=1), left, np.inf)
        at = int(np.argmin(left))
        if left[at] < best:
            best, told = left[at], float(np.log(found[at] @ ahead[at, chosen] / found[at].sum()))
    return told


def quadratic(budgets: np.ndarray, columns: Columns) -> float:
    """ln(L(8 B) / L(B)) of a parabola through ln L over ln b, at the last eight budgets."""
    x, y = (np.log(each[-8:]) for each in (budgets / budgets[-1], columns["pretrain_loss_after"]))
    bend, tilt, _ = np.polyfit(x, y, 2)
    ahead = np.log(HORIZONS[-1])
    return float(bend * ahead**2 + tilt * ahead)


RULES: dict[str, Rule] = {
    "loss ratio": ratio,
    "E + A/b^a + F b^f": phenomenology,
    "parabola": quadratic,
    "has it turned?": turned,
    "last slope": slope,
    "position": position,
    "constant": constant,
}


class Chances(NamedTuple):
    """How often 8 B was worse, by the number that a rule told."""

    edges: Float[np.ndarray, " edges"]
    shares: Float[np.ndarray, " bins"]

    @classmethod
    def of(cls, told: Float[np.ndarray, " tables"], worse: Bool[np.ndarray, " tables"]) -> Chances:
        """Between quantiles of what was told; each share leans on half a table of either kind."""
        edges = np.unique(np.quantile(told, np.linspace(0, 1, _BINS + 1)[1:-1]))
        place = np.searchsorted(edges, told, side="right")
        count, hits = (np.bincount(place, weights, len(edges) + 1) for weights in (None, worse.astype(float)))
        return cls(edges, (hits + 0.5) / (count + 1))

    def __call__(self, told: Float[np.ndarray, " tables"]) -> Float[np.ndarray, " tables"]:
        return self.shares[np.searchsorted(self.edges, told, side="right")]
