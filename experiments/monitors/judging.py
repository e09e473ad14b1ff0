"""Records into scores: what a Dataset of records says of each monitor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from linsim.labels import texts

from .account import HARMFUL, HARMLESS
from .scores import (
    Family,
    alarm_scores,
    correlations,
    monitor_scores,
    paired_spreads,
    spread_of_inflections,
    with_intervals,
)

STAGES = {"half": 0.5, "tenth": 0.1, "last": 0.0}
"""Share of the first checkpoint's base loss at which monitors are compared across transfers."""


_SCORES = {
    "early": ("harmful cells with an alarm more than one e-fold before the inflection", "1"),
    "timely": ("harmful cells with an alarm within one e-fold before the inflection", "1"),
    "late": ("harmful cells with an alarm after the inflection", "1"),
    "missed": ("harmful cells without an alarm", "1"),
    "in_time": ("harmful cells with an alarm before the inflection", "1"),
    "false_alarm": ("harmless cells with an alarm", "1"),
    "informedness": ("share in time less share of false alarms", "1"),
    "in_time_of_reachable": ("the share in time, of harmful cells that turn once an alarm on growth can ring", "1"),
    "informedness_of_reachable": ("the same less share of false alarms", "1"),
    "lead": ("median of ln(inflection budget / alarm budget)", "e-folds"),
    "lead_lower_quartile": ("lower quartile of the lead", "e-folds"),
    "lead_upper_quartile": ("upper quartile of the lead", "e-folds"),
    "lead_spread": ("standard deviation of the lead", "e-folds"),
    "spread_in_common": ("the same, of the harmful cells in which the base loss halved as well", "e-folds"),
    "spread_above_halved": ("the same less that of the alarm when the base loss has halved", "e-folds"),
    "regret": ("mean loss after fine-tuning if stopped at the alarm, above the best budget's", "zero map's loss"),
    "regret_of_harmful": ("the same, of harmful cells", "zero map's loss"),
    "base_loss_at_alarm": ("median base loss at the alarm", "that of the first checkpoint"),
    "detection": ("harmful cells with an alarm at any time less share of false alarms", "1"),
    "separation": ("chance that the peak of a harmful cell exceeds that of a harmless one", "1"),
    "separation_of_values": ("the same of the value at the last budget", "1"),
    "correlation_along": ("rank correlation with forgetting over checkpoints, median cell", "1"),
    "correlation_of_changes": ("rank correlation of changes with those of forgetting, median cell", "1"),
    "correlation_across": ("rank correlation with forgetting over transfers at one stage, median cell", "1"),
    "within": ("standard deviation of ln inflection over rates and strengths of a transfer", "e-folds"),
    "within_share": ("its share of the variance of ln(inflection / budget of half the base loss)", "1"),
    "cell_correlation": ("rank correlation with forgetting over checkpoints", "1"),
    "cell_correlation_of_changes": ("rank correlation of changes with those of forgetting", "1"),
    "reachable": ("harmful, and turns once an alarm on growth can ring", "1"),
    "regret_of_going_on_if_harmful": ("the same, of harmful cells", "zero map's loss"),
    "regret_of_going_on": (
        "mean loss after fine-tuning at the last budget, above the best one's",
        "zero map's loss",
    ),
}


def judge(dataset: xr.Dataset, resamples: int, seed: int, transfers: Sequence[int] | None = None) -> xr.Dataset:
    """Scores of stored records, all or a selection of them.

    Args:
      dataset: the records.
      resamples: of the bootstrap.
      seed: of the bootstrap.
      transfers: positions of those that count; default all.
    """
    chosen = dataset if transfers is None else dataset.isel(transfer=list(transfers))
    scored = _family(chosen)
    count = chosen.sizes["transfer"]
    halved = _budget_at(chosen, STAGES["half"])
    told = {"long_name": "with bootstrap interval over transfers, 95 %"}
    statistic = ("statistic", texts(["estimate", "low", "high"]), told)
    kept = {name: chosen[name] for name in ("monitor", "label", "sees", "threshold")}
    result = xr.Dataset(coords={"statistic": statistic, "stage": ("stage", texts(list(STAGES))), **kept})
    halves = list(chosen["monitor"].values).index("loss_halved")
    for alarms in (alarm_scores(scored), paired_spreads(scored, halves)):
        for name, value in with_intervals(alarms, count, resamples, seed).items():
            result[name] = (("monitor", "threshold", "statistic"), value)
    for name, value in with_intervals(monitor_scores(scored), count, resamples, seed).items():
        result[name] = ((*("monitor", "stage")[: value.ndim - 1], "statistic"), value)
    for name, value in with_intervals(spread_of_inflections(scored, halved), count, resamples, seed).items():
        result[name] = ("statistic", value)
    result["reachable"] = (chosen["outcome"].dims, scored.reachable.reshape(chosen["outcome"].shape))
    along, changes = correlations(scored)
    shape = (-1, *chosen["outcome"].shape)
    cells = ("monitor", "transfer", "rate", "regularization")
    result["cell_correlation"] = (cells, along.reshape(shape))
    result["cell_correlation_of_changes"] = (cells, changes.reshape(shape))
    never = np.full((1, *scored.harmful.shape, 1), scored.budgets.shape[1] - 1)
    cost = scored.stopped(never)[0, ..., 0]
    for name, used in (("", scored.harmful | scored.harmless), ("_if_harmful", scored.harmful)):
        result[f"regret_of_going_on{name}"] = ((), cost[used].mean() if used.any() else np.nan)
    for name, (long_name, units) in _SCORES.items():
        result[name].attrs |= {"long_name": long_name, "units": units}
    return result


def _budget_at(dataset: xr.Dataset, share: float) -> np.ndarray:
    places = _stage(dataset["loss_before"].values, share)
    return dataset["budget"].values[np.arange(len(places)), places].astype(np.float64)


def _stage(loss: np.ndarray, share: float) -> np.ndarray:
    """The first checkpoint whose base loss is down to a share of the first one's; the last where none is."""
    reached = loss <= share * loss[:, :1]
    return np.where(reached.any(axis=1), np.argmax(reached, axis=1), loss.shape[1] - 1)


def _family(dataset: xr.Dataset) -> Family:
    """The records as arrays with flattened cells."""
    transfers, strengths = dataset.sizes["transfer"], dataset.sizes["regularization"]

    def flat(values: np.ndarray) -> np.ndarray:
        return values.reshape(*values.shape[:-2], -1)

    def every(values: np.ndarray) -> np.ndarray:
        """Per rate -> per cell."""
        return np.repeat(values, strengths, axis=2)

    outcome, loss = flat(dataset["outcome"].values), flat(dataset["loss_after"].values)
    before = dataset["loss_before"].values
    return Family(
        dataset["budget"].values.astype(np.float64),
        flat(dataset["inflection"].values),
        outcome == HARMFUL,
        outcome == HARMLESS,
        loss,
        loss - before[..., None],
        before / before[:, :1],
        every(dataset["alarm"].values),
        every(dataset["peak"].values),
        every(dataset["value"].values),
        np.stack([_stage(before, share) for share in STAGES.values()], axis=1).reshape(transfers, -1),
        int(dataset["needs"]),
    )
