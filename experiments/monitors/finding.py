"""Whether alarms on pre-training alone tell harm from no harm in time, and what looking at the next task adds."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict

from ..words import percent, tabular
from .account import HARMFUL, HARMLESS

UNINFORMED = 0.1
"""Informedness that is as good as none."""
_KINDS = {"harmful": HARMFUL, "harmless": HARMLESS}
_INFORMED = ("informedness", "informedness_of_reachable")
_TOLD = ("fisher_trace", "gradient_square", "inverse_loss", "rehearsal")
"""Monitors that a terminal tells of; the others are in the result and its figure."""
_UNSCORED = "It takes harmful and harmless cells to tell which monitor is right"


def find(dataset: xr.Dataset) -> Finding:
    """What the best alarm on pre-training alone is worth, at any threshold, and what else the scores say.

    Judged by the 95 % interval of informedness that begins highest, over monitors, thresholds and both ways to count:
    all harmful cells, or those that turn once an alarm on growth can ring. Not seen where it begins below 0.1, though
    the best of all tries is taken; nobody can tell where no cell is harmful, or none harmless.
    """
    cells, trust = _cells(dataset), dataset.attrs["distrust"]
    if not all(cells.values()):
        told = f"{_UNSCORED}: {cells['harmful']} are and {cells['harmless']} are not"
        return Finding(told, "cannot tell", cells, trust=trust)
    chosen, alone = dataset.sel(threshold=dataset.attrs["threshold"]), _seeing(dataset, "pre-training")
    both = dataset[list(_INFORMED)].isel(monitor=alone).to_array("counted")
    best = both.isel(both.sel(statistic="low", drop=True).fillna(-np.inf).argmax(["counted", "monitor", "threshold"]))
    estimate, low, high = (float(best.sel(statistic=name)) for name in ("estimate", "low", "high"))
    verdict: Verdict = "seen" if low >= UNINFORMED else "not seen"
    told = (
        "An alarm on pre-training alone tells harm from no harm in time"
        if verdict == "seen"
        else "Alarms on pre-training alone tell harm from no harm in time hardly better than chance"
        if low > 0
        else "No alarm on pre-training alone tells harm from no harm in time"
    )
    numbers = {**cells, "informedness": estimate, "low": low, "high": high, "threshold": float(best["threshold"])}
    tried = both.sel(statistic="low").size
    sentence = f"{told}: informedness {_interval(best)}, the best of {tried} ({_name(best)})"
    details = (_counts(dataset, cells), timing(chosen), task_aware(chosen))
    return Finding(sentence, verdict, numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """What a few alarms are worth at the alarm's own threshold, and how their readings go with forgetting."""
    if not all(_cells(dataset).values()):
        return []
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    heads = ("alarm", "in time", "false", "informedness", "separation", "correlation along a run")
    rows = [chosen.sel(monitor=name) for name in _TOLD]
    return tabular(
        heads,
        [
            (
                _name(row),
                *(percent(_estimate(row[name])) for name in ("in_time", "false_alarm")),
                _interval(row["informedness"]),
                _interval(row["separation"], ".2f"),
                f"{_estimate(row['correlation_along']):+.2f}",
            )
            for row in rows
        ],
    )


def timing(chosen: xr.Dataset) -> str:
    """Given that there is harm, whether an alarm on pre-training alone tells the time better than the base loss.

    Judged over the harmful cells where both ring, for alarms that miss fewer than half of the harmful cells.
    """
    rows = chosen.isel(monitor=_seeing(chosen, "pre-training"))
    gains = rows["spread_above_halved"].where(rows["missed"].sel(statistic="estimate") < 0.5)
    high = gains.sel(statistic="high")
    if not high.notnull().any():
        return "No alarm on pre-training alone rings often enough to tell the time of the turn."
    best = rows.isel(monitor=int(high.argmin("monitor")))
    teller = _name(best) if float(high.min()) < 0 else "None"
    more = f"leads spread by {_interval(best['spread_above_halved'])} e-folds more ({_name(best)})"
    return f"{teller} times the turn better than base loss halved: {more}."


def task_aware(chosen: xr.Dataset) -> str:
    """Whether last readings that look at the fine-tuning task separate harm from no harm better than the others."""
    score = "separation_of_values"
    aware, alone = (
        _best(chosen.isel(monitor=_seeing(chosen, kind)), score) for kind in ("fine-tuning", "pre-training")
    )
    better = float(aware[score].sel(statistic="low")) > float(alone[score].sel(statistic="high"))
    costs = (_estimate(chosen["regret_of_harmful"].sel(monitor=name)) for name in ("rehearsal", "fisher_trace"))
    stopped, rung = (f"{cost:.2f}" for cost in costs)
    return (
        f"Seeing the fine-tuning task separates {'' if better else 'no '}better: {_name(aware)} "
        f"{_interval(aware[score], '.2f')}, else {_name(alone)} {_interval(alone[score], '.2f')}. Stopping at a "
        f"rehearsal's turn costs {stopped} of the zero map's loss, at the Fisher trace's alarm {rung}, never "
        f"{float(chosen['regret_of_going_on_if_harmful']):.2f}."
    )


def _cells(dataset: xr.Dataset) -> dict[str, int]:
    """How many cells are scored, by outcome."""
    return {name: int((dataset["outcome"] == kind).sum()) for name, kind in _KINDS.items()}


def _counts(dataset: xr.Dataset, cells: dict[str, int]) -> str:
    ratio = (dataset["inflection"] / dataset["predicted_inflection"]).where(dataset["outcome"] == HARMFUL).values
    ratio = np.abs(np.log(ratio[np.isfinite(ratio)]))
    closed = f"; closed forms are {percent(np.median(ratio))} off" if ratio.size else ""
    late = cells["harmful"] - int(dataset["reachable"].sum())
    told = f"{dataset.sizes['transfer']} transfers, {cells['harmful']} harmful and {cells['harmless']} harmless cells"
    return f"{told}; {late} turn before an alarm can ring{closed}."


def _seeing(dataset: xr.Dataset, kind: str) -> np.ndarray:
    return np.flatnonzero(dataset["sees"].values == kind)


def _best(group: xr.Dataset, score: str) -> xr.Dataset:
    return group.isel(monitor=int(np.nanargmax(group[score].sel(statistic="estimate"))))


def _name(row: xr.Dataset | xr.DataArray) -> str:
    """Its label without what explains it."""
    return re.split(r" \(|:", str(row["label"].item()))[0]


def _estimate(score: xr.DataArray) -> float:
    return float(score.sel(statistic="estimate"))


def _interval(score: xr.DataArray, form: str = "+.2f") -> str:
    """Estimate [low, high]."""
    estimate, low, high = (format(float(score.sel(statistic=name)), form) for name in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"
