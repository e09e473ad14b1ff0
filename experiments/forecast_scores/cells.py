"""Curves cut where nobody knows yet what comes: a table up to some budget, and what became of it by 8 times that."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.prior import draw
from linsim.forecasting.simulation import outcome, simulate

from .tables import Curves

AHEAD = (0, 2, 4, 6)
"""Places of B, 2 B, 4 B and 8 B among budgets that lie the square root of 2 apart."""
CUTS = (5, 9, 13)
"""Places of the last budget of a table."""


class Cells(NamedTuple):
    """Tables with their outcomes."""

    budgets: list[Float[np.ndarray, " budgets"]]
    columns: list[dict[str, Float[np.ndarray, " budgets"]]]
    group: Int[np.ndarray, " cells"]
    """What the bootstrap draws: transfers, or pre-trainings."""
    run: Int[np.ndarray, " cells"]
    worse: Bool[np.ndarray, "cells horizons"]
    turn: Float[np.ndarray, " cells"]
    """ln(turn / B), infinite where none comes within 8 B."""

    @property
    def fresh(self) -> Bool[np.ndarray, " cells"]:
        """Whether it has not turned by B."""
        return self.turn > 0

    def of(self, chosen: Bool[np.ndarray, " cells"]) -> Cells:
        """Some of them."""
        places = np.flatnonzero(chosen)
        budgets, columns = [self.budgets[at] for at in places], [self.columns[at] for at in places]
        return Cells(budgets, columns, *(each[places] for each in (self.group, self.run, self.worse, self.turn)))


def cells_of(curves: Curves) -> Cells:
    """All cuts of all runs whose losses are known at all budgets."""
    found = []
    for number in np.flatnonzero(np.isfinite(curves.losses).all(axis=(0, 2))):
        budgets, losses = curves.budgets[number], curves.losses[:, number]
        after = losses[COLUMNS.index("pretrain_loss_after")]
        for cut in (cut for cut in CUTS if cut + AHEAD[-1] < len(budgets)):
            known, seen = slice(0, cut + 1), slice(0, cut + AHEAD[-1] + 1)
            ahead = after[[cut + step for step in AHEAD]]
            worse, turn = outcome(
                ahead[None], (budgets[seen] / budgets[cut])[None], after[seen][None], curves.zero[number : number + 1]
            )
            columns = {name: losses[at, known] for at, name in enumerate(COLUMNS)}
            found.append((budgets[known], columns, curves.group[number], number, worse[0], turn[0]))
    steps, tables, *rest = zip(*found, strict=True)
    return Cells(list(steps), list(tables), *(np.array(each) for each in rest))


def of_prior(count: int, seed: int) -> Cells:
    """Tables of fresh networks of the prior, each a group of its own."""
    networks = draw(count, seed)
    told = simulate(networks, seed)
    there = [np.isfinite(row) for row in networks.budgets]
    columns = [
        {name: told.losses[at, number, some] for at, name in enumerate(COLUMNS)} for number, some in enumerate(there)
    ]
    budgets = [row[some] for row, some in zip(networks.budgets, there, strict=True)]
    return Cells(budgets, columns, np.arange(count), np.arange(count), told.worse, told.turn)
