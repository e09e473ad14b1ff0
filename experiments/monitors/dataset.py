"""The accounts of a family as a Dataset, and what all of it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import PLAIN, STEPS, Label, texts

from .account import HARMFUL, OUTCOMES, Account
from .family import STRENGTHS, Member
from .values import MONITORS

_FOLDS, _OF_ZERO = "e-folds", "zero map's loss"
LABELS = {
    "value": Label("what the monitor reads", "its own"),
    "alarm": Label("checkpoint of the first alarm; the number of checkpoints is never"),
    "peak": Label("largest lower bound of the growth; of a rehearsal its harm"),
    "loss_before": Label("pre-training loss before fine-tuning", _OF_ZERO),
    "loss_after": Label("pre-training loss after fine-tuning", _OF_ZERO),
    "inflection": Label("inflection point", STEPS),
    "predicted_inflection": Label("inflection point, in closed form", STEPS),
    "outcome": Label("kind of cell"),
    "needs": Label("checkpoints before an alarm on growth can ring"),
    "threshold": Label("threshold of the alarm", _FOLDS),
    "regularization": Label("product-space penalty", PLAIN),
    "budget": Label("pre-training budget", STEPS),
    "statistic": Label("with bootstrap interval over transfers, 95 %"),
    "early": Label("harmful cells with an alarm more than one e-fold before the inflection", PLAIN),
    "timely": Label("harmful cells with an alarm within one e-fold before the inflection", PLAIN),
    "late": Label("harmful cells with an alarm after the inflection", PLAIN),
    "missed": Label("harmful cells without an alarm", PLAIN),
    "in_time": Label("harmful cells with an alarm before the inflection", PLAIN),
    "false_alarm": Label("harmless cells with an alarm", PLAIN),
    "informedness": Label("share in time less share of false alarms", PLAIN),
    "in_time_of_reachable": Label("share in time, of harmful cells that turn once an alarm on growth can ring", PLAIN),
    "informedness_of_reachable": Label("the same less share of false alarms", PLAIN),
    "lead": Label("median of ln(inflection budget / alarm budget)", _FOLDS),
    "spread_in_common": Label("standard deviation of leads, where the base loss halved as well", _FOLDS),
    "spread_above_halved": Label("the same less that of the alarm when the base loss has halved", _FOLDS),
    "regret_of_harmful": Label("mean loss of harmful cells if stopped at the alarm, above the least", _OF_ZERO),
    "regret_of_going_on_if_harmful": Label("the same if stopped at the last budget", _OF_ZERO),
    "base_loss_at_alarm": Label("median base loss at the alarm", "that of the first checkpoint"),
    "separation": Label("chance that the peak of a harmful cell exceeds that of a harmless one", PLAIN),
    "separation_of_values": Label("the same of the value at the last budget", PLAIN),
    "correlation_along": Label("rank correlation with forgetting over checkpoints, median cell", PLAIN),
    "correlation_across": Label("rank correlation with forgetting over transfers at last, median cell", PLAIN),
    "cell_correlation": Label("rank correlation with forgetting over checkpoints", PLAIN),
    "within": Label("standard deviation of ln inflection over rates and strengths of a transfer", _FOLDS),
    "reachable": Label("harmful, and turns once an alarm on growth can ring", PLAIN),
}


def recorded(members: Sequence[Member], accounts: Sequence[Account], thresholds: np.ndarray, needs: int) -> xr.Dataset:
    """Everything that was measured.

    Args:
      members: of the family.
      accounts: theirs.
      thresholds: of the alarm on growth.
      needs: checkpoints before it can ring.
    """
    tasks = [member.problem.transfer.pretrain for member in members]
    zero = np.asarray([task.zero_loss for task in tasks])
    rates = len(members[0].rates)

    def told(name: str) -> np.ndarray:
        return np.stack([getattr(one, name) for one in accounts])

    def read(name: str) -> np.ndarray:
        """(monitor, transfer, rate, ...), the same at every rate where there is one value for all."""
        each = [[getattr(one, name)[monitor] for one in accounts] for monitor in MONITORS]
        return np.stack([[np.broadcast_to(x, (rates, *x.shape[1:])) for x in monitor] for monitor in each])

    def of_members(name: str) -> Any:
        values = [getattr(member, name) for member in members]
        return "transfer", texts(values) if isinstance(values[0], str) else values

    cells, by_rate = ("transfer", "rate", "regularization"), ("monitor", "transfer", "rate")
    dataset = xr.Dataset(
        {
            "value": ((*by_rate, "checkpoint"), read("values")),
            "alarm": ((*by_rate, "threshold"), read("alarms")),
            "peak": (by_rate, read("peaks")),
            "loss_before": (("transfer", "checkpoint"), told("loss_before") / zero[:, None]),
            "loss_after": (("transfer", "checkpoint", *cells[1:]), told("loss_after") / zero[:, None, None, None]),
            "inflection": (cells, told("inflection")),
            "predicted_inflection": (cells, told("predicted")),
            "harm": (cells, told("harm")),
            "outcome": (cells, told("outcome"), {"values": ", ".join(OUTCOMES)}),
            "needs": ((), needs),
        },
        coords={
            "monitor": texts(list(MONITORS)),
            "label": ("monitor", texts([monitor.label for monitor in MONITORS.values()])),
            "sees": ("monitor", texts([monitor.sees for monitor in MONITORS.values()])),
            "threshold": thresholds,
            "regularization": list(STRENGTHS),
            "budget": (("transfer", "checkpoint"), np.stack([member.problem.budgets for member in members])),
            "learning_rate": (("transfer", "rate"), np.stack([member.rates for member in members])),
            "zero_loss": ("transfer", zero),
            "depth": ("transfer", [member.problem.depth for member in members]),
            "label_noise": ("transfer", [task.label_noise for task in tasks]),
            **{name: of_members(name) for name in ("lane", "spectrum", "shift", "tau")},
        },
    )
    _set_clock(dataset)
    return dataset


def _set_clock(dataset: xr.Dataset) -> None:
    """The clock rings at the first checkpoint from the family's median inflection budget on: set in hindsight."""
    turned = dataset["inflection"].values[dataset["outcome"].values == HARMFUL]
    if len(turned):
        first = np.sum(dataset["budget"].values < np.median(turned), axis=1)
        dataset["alarm"].loc["clock"] = first[:, None, None]
