"""The scores as a table, and the conclusion that they support: computed, so that other data would say otherwise."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import xarray as xr

_UNINFORMED = 0.1
"""Informedness, and correlation, that is as good as none."""
_SNIPPET = "gradient_square"
_COLUMNS = 118
_ALARM_HEAD = (
    f"{'alarms':37}{'in time':>8}{'> 1 e-fold':>11}{'late':>6}{'missed':>8}{'false':>7}"
    f"{'informedness':>22}{'lead':>19}",
    f"{'':37}{'':>8}{'too early':>11}{'':>14}{'alarm':>7}{'(in time - false)':>22}{'e-folds':>19}",
)
_VALUE_HEAD = (
    f"{'values':37}{'separation':>19}{'rank correlation with forgetting':>45}{'regret of':>17}",
    f"{'':37}{'of harm':>19}{'along':>11}{'changes':>12}{'across, at the end':>22}{'stopping there':>17}",
)


def summarise(dataset: xr.Dataset) -> str:
    """Counts, two tables of a line a monitor at the alarm's own threshold, and the conclusion."""
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    rows = [chosen.sel(monitor=name) for name in dataset["monitor"].values]
    told = [textwrap.fill(text, _COLUMNS) for text in (_counts(dataset), *conclusions(dataset))]
    tables = [*_ALARM_HEAD, *map(_alarm_line, rows), "", *_VALUE_HEAD, *map(_value_line, rows)]
    return "\n\n".join([told[0], "\n".join(tables), *told[1:]])


def conclusions(dataset: xr.Dataset) -> list[str]:
    """What the scores say, in a few sentences."""
    if not _cells(dataset, 1) or not _cells(dataset, 0):
        return ["No conclusion: it takes harmful and harmless cells."]
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    alone, aware = (_seeing(dataset, kind) for kind in ("pre-training", "fine-tuning"))
    return [
        _whether(dataset, alone),
        _sweep(dataset),
        _when(chosen, alone),
        _snippet(chosen),
        _aware(chosen, alone, aware),
        _floor(chosen),
    ]


def _whether(dataset: xr.Dataset, alone: Sequence[str]) -> str:
    """Do monitors of pre-training alone tell harmful cells from harmless ones, at any threshold?"""
    informed = dataset["informedness"].sel(monitor=alone)
    own = informed.sel(threshold=dataset.attrs["threshold"])
    place = int(np.nanargmax(own.sel(statistic="estimate")))
    best = dataset.sel(monitor=alone[place], threshold=dataset.attrs["threshold"])
    most = float(informed.sel(statistic="low").max())
    verdict = (
        "Whether: monitors of pre-training alone do not tell harm from no harm"
        if most < _UNINFORMED
        else "Whether: some monitor of pre-training alone tells harm from no harm"
    )
    fisher = dataset["separation"].sel(monitor="fisher_trace")
    return (
        f"{verdict}. The best, {_name(best)}, rings in time on {_share(best, 'in_time')} of the harmful cells and "
        f"falsely on {_share(best, 'false_alarm')} of the harmless: informedness {_interval(best['informedness'])}. "
        f"At no threshold of any of them does the interval begin above {most:+.2f}. The Fisher trace separates harmful "
        f"from harmless cells with {_interval(fisher, '.2f')} (0.5 is chance)."
    )


def _sweep(dataset: xr.Dataset) -> str:
    """Informedness over the thresholds, so that nothing hangs on the default."""
    informed = _estimate(dataset["informedness"])
    told = []
    for name in ("fisher_trace", _SNIPPET):
        values = ", ".join(f"{value:+.2f}" for value in informed.sel(monitor=name).values)
        told.append(f"{_name(dataset.sel(monitor=name))} {values}")
    levels = ", ".join(f"{level:g}" for level in dataset["threshold"].values)
    return f"Informedness at thresholds of {levels} e-folds: {'; '.join(told)}."


def _when(chosen: xr.Dataset, alone: Sequence[str]) -> str:
    """Given that there is harm, do they tell the time better than alarms that know nothing of curvature?"""
    frequent = [name for name in alone if float(_estimate(chosen.sel(monitor=name)["missed"])) < 0.5]
    trivial = chosen.sel(monitor="loss_halved")
    if not frequent:
        return "When: every monitor of pre-training alone misses at least half of the harmful cells."
    spreads = chosen["lead_spread"].sel(monitor=frequent)
    best = chosen.sel(monitor=frequent[int(np.nanargmin(_estimate(spreads)))])
    sharper = float(best["lead_spread"].sel(statistic="high")) < float(trivial["lead_spread"].sel(statistic="low"))
    verdict = (
        f"When: {best['label'].item()} tells the time better than the base loss does"
        if sharper
        else "When: none tells the time better than the base loss does"
    )
    onset = _share(chosen.sel(monitor="fisher_trace"), "base_loss_at_alarm")
    return (
        f"{verdict}. Leads spread least, by {_interval(best['lead_spread'], '.2f')} e-folds, for {_name(best)}, "
        f"and by {_interval(trivial['lead_spread'], '.2f')} for an alarm when the base loss has halved. The alarm "
        f"of the Fisher trace rings when the base loss is at {onset} of its first value (median)."
    )


def _snippet(chosen: xr.Dataset) -> str:
    """The squared gradient of the mean loss."""
    own = chosen.sel(monitor=_SNIPPET)
    along, informed = float(_estimate(own["correlation_along"])), float(own["informedness"].sel(statistic="low"))
    moves = "against" if along < -_UNINFORMED else "with" if along > _UNINFORMED else "independently of"
    fisher = chosen.sel(monitor="fisher_trace")
    worth = "is worth heeding" if informed > _UNINFORMED and along > 0 else "says nothing of harm"
    return (
        f"The common snippet moves {moves} forgetting, rank correlation {_interval(own['correlation_along'])} in the "
        f"median cell (Fisher trace {_interval(fisher['correlation_along'])}); its alarm {worth}: "
        f"{_share(own, 'in_time')} in time, {_share(own, 'early')} by more than one e-fold too early, "
        f"{_share(own, 'false_alarm')} false."
    )


def _aware(chosen: xr.Dataset, alone: Sequence[str], aware: Sequence[str]) -> str:
    """What looking at the fine-tuning task adds."""
    groups = [chosen.sel(monitor=list(names)) for names in (aware, alone)]
    seen, blind = (_best(group, "separation") for group in groups)
    separates = float(seen["separation"].sel(statistic="low")) > float(blind["separation"].sel(statistic="high"))
    last, last_alone = (
        _best(group.assign(last=group["correlation_across"].sel(stage="last")), "last") for group in groups
    )
    better = "does better" if separates else "does no better"
    rehearsed, stopped = (_regret(chosen, name) for name in ("rehearsal", "fisher_trace"))
    end = f"{float(chosen['regret_of_going_on_if_harmful']):.3f}"
    return (
        f"Looking at the fine-tuning task {better}: {_name(seen)} separates harmful from harmless cells with "
        f"{_interval(seen['separation'], '.2f')}, the best monitor of pre-training alone, {_name(blind)}, with "
        f"{_interval(blind['separation'], '.2f')}. Across transfers forgetting at the last budget goes with "
        f"{_name(last)} ({_interval(last['last'])}), at best {_interval(last_alone['last'])} with one of those. In "
        f"harmful cells stopping at the alarm of a rehearsal costs {rehearsed} of the zero map's loss against the best "
        f"budget, at that of the Fisher trace {stopped}, going on to the end {end}."
    )


def _floor(chosen: xr.Dataset) -> str:
    return (
        "Fine-tuning rate and strength alone move the inflection of one transfer by "
        f"{_interval(chosen['within'], '.2f')} e-folds (standard deviation), "
        f"{_interval(chosen['within_share'], '.0%')} of its variance once the timing of the base loss is known: no "
        "alarm that rings once per pre-training run can have leads that spread less."
    )


def _counts(dataset: xr.Dataset) -> str:
    kinds = dataset["outcome"].attrs["values"].split(", ")
    told = ", ".join(f"{_cells(dataset, number)} {kind}" for number, kind in enumerate(kinds))
    ratio = (dataset["inflection"] / dataset["predicted_inflection"]).where(dataset["outcome"] == 1).values
    ratio = np.abs(np.log(ratio[np.isfinite(ratio)]))
    closed = ""
    if ratio.size:
        median, most = np.median(ratio), np.quantile(ratio, 0.95)
        closed = (
            f" The closed form has the inflection of {ratio.size} harmful cells within {median:.1%} (median; 95 % "
            f"of them within {most:.1%})."
        )
    return (
        f"{dataset.sizes['transfer']} transfers; cells (rate, strength): {told}; harmful is above "
        f"{dataset.attrs['harmful']:.0%}.{closed}"
    )


def _alarm_line(row: xr.Dataset) -> str:
    shares = {name: float(_estimate(row[name])) for name in ("in_time", "early", "late", "missed", "false_alarm")}
    low, middle, high = (float(_estimate(row[f"lead{end}"])) for end in ("_lower_quartile", "", "_upper_quartile"))
    return (
        f"{_name(row):37}{shares['in_time']:8.0%}{shares['early']:11.0%}{shares['late']:6.0%}"
        f"{shares['missed']:8.0%}{shares['false_alarm']:7.0%}{_interval(row['informedness']):>22}"
        f"{f'{middle:+.1f} ({low:+.1f}, {high:+.1f})':>19}"
    )


def _value_line(row: xr.Dataset) -> str:
    scores = (
        row["correlation_along"],
        row["correlation_of_changes"],
        row["correlation_across"].sel(stage="last"),
    )
    along, changes, last = (float(_estimate(score)) for score in scores)
    return (
        f"{_name(row):37}{_interval(row['separation'], '.2f'):>19}{along:+11.2f}{changes:+12.2f}{last:+22.2f}"
        f"{float(_estimate(row['regret'])):17.3f}"
    )


def _name(row: xr.Dataset) -> str:
    return str(row["label"].item())


def _best(group: xr.Dataset, score: str) -> xr.Dataset:
    return group.isel(monitor=int(np.nanargmax(_estimate(group[score]))))


def _seeing(dataset: xr.Dataset, kind: str) -> list[str]:
    return [str(name) for name in dataset["monitor"].values[dataset["sees"].values == kind]]


def _cells(dataset: xr.Dataset, outcome: int) -> int:
    return int((dataset["outcome"] == outcome).sum())


def _estimate(score: xr.DataArray) -> xr.DataArray:
    return score.sel(statistic="estimate")


def _share(row: xr.Dataset, score: str) -> str:
    return f"{float(_estimate(row[score])):.0%}"


def _regret(chosen: xr.Dataset, name: str) -> str:
    return f"{float(_estimate(chosen['regret_of_harmful'].sel(monitor=name))):.3f}"


def _interval(score: xr.DataArray, form: str = "+.2f") -> str:
    """Estimate [low, high]."""
    estimate, low, high = (format(float(score.sel(statistic=name)), form) for name in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"
