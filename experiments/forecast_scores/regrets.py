"""What stopping by a forecast costs, against the best budget, the end, and rehearsals: one transfer after the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.simulation import MARGIN
from linsim.forecasting.stopping import Stopping

EVERY = (1, 2, 4)
POLICIES = (
    "to the end",
    "at the 3rd checkpoint",
    "forecast, nothing tuned",
    "forecast, tuned at each checkpoint",
    *(f"rehearsal, {words} checkpoint" for words in ("every", "every 2nd", "every 4th")),
)


class Stopped(NamedTuple):
    """What a policy came to."""

    regret: float
    """Loss after fine-tuning above that of the best budget, over the loss of the zero network."""
    tunings: int
    """Fine-tuning runs, beside the one that is wanted."""
    share: float
    """Budget that was trained, over the largest one."""


def policies(
    budgets: Float[np.ndarray, " budgets"], losses: Float[np.ndarray, "columns budgets"], zero: float
) -> list[Stopped]:
    """All policies on one transfer, checkpoint by checkpoint."""
    after = losses[COLUMNS.index("pretrain_loss_after")]
    last, rule = len(budgets) - 1, Stopping()

    def ended(place: int, kept: int, tunings: int) -> Stopped:
        return Stopped(float(after[kept] - after.min()) / zero, tunings, float(budgets[place] / budgets[-1]))

    found = [ended(last, last, 0), ended(2, 2, 0)]
    for names in (COLUMNS[:2], COLUMNS):
        places = range(rule.needs - 1, last)
        rows = {name: losses[COLUMNS.index(name)] for name in names}
        stops = (
            at for at in places if rule.stops(budgets[: at + 1], {name: row[: at + 1] for name, row in rows.items()})
        )
        place = next(stops, last)
        known = len(names) > 2  # what was tuned tells which checkpoint to go back to
        found.append(ended(place, int(np.argmin(after[: place + 1])) if known else place, place + 1 if known else 0))
    for each in EVERY:
        tried = list(range(each - 1, last + 1, each))
        rehearsed = after[tried]
        rises = np.flatnonzero(rehearsed > (1 + MARGIN) * np.minimum.accumulate(rehearsed))
        until = int(rises[0]) if len(rises) else len(tried) - 1
        place = tried[until] if len(rises) else last
        best = tried[int(np.argmin(rehearsed[: until + 1]))]
        found.append(ended(place, best, until + 1))
    return found
