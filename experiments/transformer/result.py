"""The transformer's numbers as a labelled dataset, its turns and alarms located."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.stats import rankdata

from linsim.labels import LABELS as SHARED
from linsim.labels import PLAIN, STEPS, Label, label
from linsim.monitoring.alarm import Alarm
from linsim.theory.turns import Criteria, locate

NOISE_OF_TRAINING = 0.01
"""Harm up to this counts as the noise of minibatches at a constant rate, not as a turn."""

_NATS = "nats per token"
_BEFORE, _AFTER = ("pretrain_steps", "seed"), ("pretrain_steps", "learning_rate", "seed")
_READ, _BY_RATE = ("measure", *_BEFORE), ("measure", *_AFTER[1:])
_RISE = "rise of the pre-training loss under {} noise"
_SCALED = ", residual stream at the first budget's scale"


def _estimated(name: str, long_name: str, noise: str) -> dict[str, Label]:
    axes = (*_BEFORE, noise)
    return {
        name: Label(long_name, _NATS, axes),
        f"{name}_error": Label(f"standard error of the {long_name}", _NATS, axes),
    }


LABELS = {
    "learning_rate": SHARED["learning_rate"]._replace(units="parameter change per step"),
    "seed": Label("seed of initial weights and text"),
    "absolute_noise": Label("standard deviation", PLAIN),
    "relative_noise": Label("standard deviation / r.m.s. of the array", PLAIN),
    "measure": Label("monitor"),
    **{name: SHARED[name]._replace(units=_NATS, dims=_BEFORE) for name in SHARED if name.endswith("_loss_before")},
    **{name: SHARED[name]._replace(units=_NATS, dims=_AFTER) for name in SHARED if name.endswith("_loss_after")},
    "kept_loss_before": Label("pre-training loss at kept contexts, before fine-tuning", _NATS, _BEFORE),
    "kept_loss_after": Label("pre-training loss at kept contexts, after fine-tuning", _NATS, _AFTER),
    "forgetting": SHARED["forgetting"]._replace(units=_NATS),
    "displacement": Label("r.m.s. change of a parameter", PLAIN, _AFTER),
    "diverged": SHARED["diverged"]._replace(dims=_AFTER),
    "stream_scale": Label("r.m.s. of the embedding of the tokens", PLAIN, _BEFORE),
    **_estimated("rise_under_absolute_noise", _RISE.format("absolute"), "absolute_noise"),
    **_estimated("rise_under_relative_noise", _RISE.format("relative"), "relative_noise"),
    **_estimated("rise_at_first_scale", _RISE.format("absolute") + _SCALED, "absolute_noise"),
    "monitor": Label("monitor, on text held out", dims=_READ),
    "monitor_error": Label("standard error of the monitor", dims=_READ),
    "alarm_steps": Label("first budget at which the alarm rings", STEPS, ("measure", "seed")),
    "alarm_lead": Label("ln(inflection point / alarm)", PLAIN, _BY_RATE),
    "rank_correlation": Label("rank correlation of monitor and forgetting over budgets", PLAIN, _BY_RATE),
    "budget_rank_correlation": Label("rank correlation of budget and forgetting", PLAIN, _AFTER[1:]),
}
"""Losses have other units than those of linear networks. Dimensions are those of what is computed."""


def assemble(axes: Mapping[str, Any], found: Mapping[str, Any], alarm: Alarm) -> xr.Dataset:
    """What was measured, labelled, with what follows from it: forgetting, turns, alarms and correlations.

    Args:
      axes: name -> values.
      found: name -> values over the dimensions of its label.
      alarm: judges each monitor of each seed by itself.

    Returns:
      The dataset with `alarm_steps`, NaN where the alarm does not ring; `alarm_lead`, in e-folds of the budget, NaN
      unless it rings and the curve turns; and `rank_correlation`: Spearman's, of monitor and forgetting over budgets.
      All that grows with the budget correlates with all else that does: `budget_rank_correlation` is what a clock has.
    """
    dataset = xr.Dataset({name: (LABELS[name].dims, values) for name, values in found.items()}, coords=axes)
    after, budgets = dataset["pretrain_loss_after"], dataset["pretrain_steps"]
    forgetting = after - dataset["pretrain_loss_before"]
    lost = dataset["diverged"].values
    turns = locate(budgets.values, after.values, lost, criteria=Criteria(least_harm=NOISE_OF_TRAINING))
    dataset = dataset.assign(
        forgetting=forgetting,
        inflection_steps=(_AFTER[1:], turns.steps),
        harm=(_AFTER[1:], turns.harm),
        alarm_steps=_over_budgets(partial(_first_ring, alarm), budgets, dataset["monitor"], dataset["monitor_error"]),
        rank_correlation=_over_budgets(_spearman, dataset["monitor"], forgetting),
        budget_rank_correlation=_over_budgets(_spearman, budgets, forgetting),
    )
    dataset["alarm_lead"] = np.log(dataset["inflection_steps"] / dataset["alarm_steps"])
    ordered = dataset[["rank_correlation", "alarm_lead"]].transpose(*_BY_RATE)
    return label(dataset.assign(ordered), LABELS).assign_attrs(noise_of_training=NOISE_OF_TRAINING)


def _over_budgets(function: Any, *curves: xr.DataArray) -> xr.DataArray:
    """A number for every curve, or for all that go together, over all other dimensions."""
    inputs = [["pretrain_steps"]] * len(curves)
    found: xr.DataArray = xr.apply_ufunc(function, *curves, input_core_dims=inputs, vectorize=True)
    return found


def _first_ring(
    alarm: Alarm, budgets: Int[np.ndarray, " b"], values: Float[np.ndarray, " b"], errors: Float[np.ndarray, " b"]
) -> float:
    """First budget at which the alarm rings; NaN where it does not."""
    first = alarm.watch(budgets, values, errors).first if len(budgets) >= alarm.needs else None
    return np.nan if first is None else float(budgets[first])


def _spearman(first: Float[np.ndarray, " b"], second: Float[np.ndarray, " b"]) -> float:
    """Rank correlation where both are finite; NaN where fewer than three are, or one is constant."""
    usable = np.isfinite(first) & np.isfinite(second)
    ranks = [rankdata(values[usable]) for values in (first, second)]
    if usable.sum() < 3 or min(np.ptp(rank) for rank in ranks) == 0:
        return np.nan
    return float(np.corrcoef(*ranks)[0, 1])
