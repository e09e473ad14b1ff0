"""Records into scores: what a Dataset of records says of each monitor."""

from __future__ import annotations

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


def judge(dataset: xr.Dataset, resamples: int, seed: int) -> xr.Dataset:
    """Scores of stored records, or of a selection of them; `resamples` and `seed` are of the bootstrap."""
    scored = _family(dataset)
    count = dataset.sizes["transfer"]
    kept = {name: dataset[name] for name in ("monitor", "label", "sees", "threshold")}
    result = xr.Dataset(coords={"statistic": texts(["estimate", "low", "high"]), **kept})
    halves = list(dataset["monitor"].values).index("loss_halved")
    for alarms in (alarm_scores(scored), paired_spreads(scored, halves)):
        for name, value in with_intervals(alarms, count, resamples, seed).items():
            result[name] = (("monitor", "threshold", "statistic"), value)
    for name, value in with_intervals(monitor_scores(scored), count, resamples, seed).items():
        result[name] = (("monitor", "statistic"), value)
    for name, value in with_intervals(spread_of_inflections(scored), count, resamples, seed).items():
        result[name] = ("statistic", value)
    result["reachable"] = (dataset["outcome"].dims, scored.reachable.reshape(dataset["outcome"].shape))
    cells = ("monitor", "transfer", "rate", "regularization")
    result["cell_correlation"] = (cells, correlations(scored).reshape(-1, *dataset["outcome"].shape))
    never = np.full((1, *scored.harmful.shape, 1), scored.budgets.shape[1] - 1)
    cost = scored.stopped(never)[0, ..., 0]
    mean = cost[scored.harmful].mean() if scored.harmful.any() else np.nan
    result["regret_of_going_on_if_harmful"] = ((), mean)
    return result


def _family(dataset: xr.Dataset) -> Family:
    """The records as arrays with flattened cells."""
    strengths = dataset.sizes["regularization"]

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
        int(dataset["needs"]),
    )
