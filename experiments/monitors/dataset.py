"""The accounts of a family as a labelled Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import texts

from .account import HARMFUL, OUTCOMES, Account
from .family import STRENGTHS, Member
from .values import MONITORS


def label(members: Sequence[Member], accounts: Sequence[Account], thresholds: np.ndarray, needs: int) -> xr.Dataset:
    """Everything that was measured, with names and units.

    Args:
      members: of the family.
      accounts: theirs.
      thresholds: of the alarm on growth.
      needs: checkpoints before it can ring.
    """
    zero = np.asarray([member.problem.transfer.pretrain.zero_loss for member in members])
    stacked: dict[str, Any] = {
        name: np.stack([getattr(one, name) for one in accounts])
        for name in ("loss_before", "loss_after", "inflection", "predicted", "harm", "outcome")
    }
    checkpoints, rates = accounts[0].loss_after.shape[:2]

    def read(field_name: str) -> np.ndarray:
        """(monitor, transfer, rate, ...), the same at every rate where there is one value for all."""
        each = [[getattr(one, field_name)[name] for one in accounts] for name in MONITORS]
        return np.stack([[np.broadcast_to(x, (rates, *x.shape[1:])) for x in monitor] for monitor in each])

    cells = ("transfer", "rate", "regularization")
    curves = ("transfer", "checkpoint", "rate", "regularization")
    followed = ("monitor", "transfer", "rate", "checkpoint")
    steps, loss = {"units": "pre-training steps"}, {"units": "zero map's loss"}
    dataset = xr.Dataset(
        {
            "value": (followed, read("values"), {"long_name": "what the monitor reads", "units": "its own"}),
            "growth_bound": (followed, read("bounds"), {"long_name": "lower bound of the growth", "units": "e-folds"}),
            "alarm": (
                ("monitor", "transfer", "rate", "threshold"),
                read("alarms"),
                {"long_name": f"checkpoint of the first alarm; {checkpoints} is never"},
            ),
            "peak": (
                ("monitor", "transfer", "rate"),
                read("peaks"),
                {"long_name": "largest growth bound; of a rehearsal its harm"},
            ),
            "loss_before": (
                ("transfer", "checkpoint"),
                stacked["loss_before"] / zero[:, None],
                {"long_name": "pre-training loss before fine-tuning", **loss},
            ),
            "loss_after": (
                curves,
                stacked["loss_after"] / zero[:, None, None, None],
                {"long_name": "pre-training loss after fine-tuning", **loss},
            ),
            "inflection": (cells, stacked["inflection"], {"long_name": "inflection point", **steps}),
            "predicted_inflection": (cells, stacked["predicted"], {"long_name": "inflection, closed form", **steps}),
            "harm": (cells, stacked["harm"], {"long_name": "loss at the last budget / least loss - 1", "units": "1"}),
            "outcome": (cells, stacked["outcome"], {"long_name": "kind of cell", "values": ", ".join(OUTCOMES)}),
            "needs": ((), needs, {"long_name": "checkpoints before an alarm on growth can ring"}),
        },
        coords={
            "monitor": ("monitor", texts(list(MONITORS))),
            "label": ("monitor", texts([monitor.label for monitor in MONITORS.values()])),
            "sees": ("monitor", texts([monitor.sees for monitor in MONITORS.values()])),
            "threshold": ("threshold", thresholds, {"long_name": "threshold of the alarm", "units": "e-folds"}),
            "regularization": ("regularization", list(STRENGTHS), {"long_name": "product-space penalty", "units": "1"}),
            "budget": (
                ("transfer", "checkpoint"),
                np.stack([member.problem.budgets for member in members]),
                {"long_name": "pre-training budget", **steps},
            ),
            "learning_rate": (
                ("transfer", "rate"),
                np.stack([member.rates for member in members]),
                {"long_name": "fine-tuning learning rate", "units": "flow time per step"},
            ),
            "zero_loss": ("transfer", zero, {"long_name": "loss of the zero map", "units": "squared output"}),
            "lane": ("transfer", texts([member.lane for member in members])),
            "depth": ("transfer", [member.problem.depth for member in members]),
            "spectrum": ("transfer", texts([member.spectrum for member in members])),
            "shift": ("transfer", texts([member.shift for member in members])),
            "label_noise": ("transfer", [member.problem.transfer.pretrain.label_noise for member in members]),
            "tau": ("transfer", [member.tau for member in members]),
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
