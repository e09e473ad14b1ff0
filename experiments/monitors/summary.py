"""The scores as a table, and the conclusion that they support: computed, so that other data would say otherwise."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import xarray as xr

_UNINFORMED = 0.1
"""Informedness, and correlation, that is as good as none."""
_SNIPPET = "gradient_square"
_INFORMED = ("informedness", "informedness_of_reachable")
_SEPARATIONS = {"separation": "the alarm's own statistic", "separation_of_values": "the value at the last budget"}
_COLUMNS = 118
_ALARM_HEAD = (
    f"{'alarms':37}{'in':>7}{'> 1 e-fold':>12}{'':5}{'':7}{'false':>7}{'informedness':>22}{'of harmful cells':>21}",
    f"{'':37}{'time':>7}{'too early':>12} late missed{'alarm':>7}{'(in time - false)':>22}{'within reach':>21}",
)
_LEAD_HEAD = (
    f"{'times':37}{'lead, e-folds':>21}{'spread where':>15}{'less that of':>24}{'regret of':>21}",
    f"{'':37}{'(quartiles)':>21}{'loss halved':>15}{'loss halved':>24}{'stopping there':>21}",
)
_VALUE_HEAD = (
    f"{'values':37}{'separation of harm by':>42}{'rank correlation with forgetting':>39}",
    f"{'':37}{'alarm statistic':>21}{'last value':>21}{'along':>9}{'changes':>10}{'across, at the end':>20}",
)


def summarise(dataset: xr.Dataset) -> str:
    """Counts, three tables of a line a monitor at the alarm's own threshold, and the conclusion."""
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    rows = [chosen.sel(monitor=name) for name in dataset["monitor"].values]
    told = [textwrap.fill(text, _COLUMNS) for text in (_counts(dataset), *conclusions(dataset))]
    parts = ((_ALARM_HEAD, _alarm_line), (_LEAD_HEAD, _lead_line), (_VALUE_HEAD, _value_line))
    tables = ["\n".join([*head, *map(line, rows)]) for head, line in parts]
    return "\n\n".join([told[0], *tables, *told[1:]])


def conclusions(dataset: xr.Dataset) -> list[str]:
    """What the scores say, in a few sentences."""
    if not _cells(dataset, 1) or not _cells(dataset, 0):
        return ["No conclusion: it takes harmful and harmless cells."]
    chosen = dataset.sel(threshold=dataset.attrs["threshold"])
    alone, aware = (_seeing(dataset, kind) for kind in ("pre-training", "fine-tuning"))
    return [
        _whether(dataset, alone),
        _separation(chosen, alone),
        _sweep(dataset),
        _when(chosen, alone),
        _snippet(chosen),
        _aware(chosen, alone, aware),
        _floor(chosen),
    ]


def _whether(dataset: xr.Dataset, alone: Sequence[str]) -> str:
    """Do alarms on pre-training alone tell harmful cells from harmless ones in time, at any threshold?

    Judged by the interval that begins highest, of all harmful cells and of those that an alarm can reach in time.
    """
    chosen = dataset.sel(monitor=alone)
    own = chosen.sel(threshold=dataset.attrs["threshold"])
    both = xr.concat([chosen[name].sel(statistic="low") for name in _INFORMED], "counted", coords="minimal")
    counted, place, level = np.unravel_index(int(np.nanargmax(both.values)), both.shape)
    most, highest = float(both.max()), chosen.isel(monitor=place, threshold=level)
    verdict = (
        "some alarm on pre-training alone tells harm from no harm in time"
        if most >= _UNINFORMED
        else "alarms on pre-training alone tell harm from no harm in time hardly better than chance"
        if most > 0
        else "no alarm on pre-training alone tells harm from no harm in time"
    )
    best, harmful, reach = _best(own, "informedness"), _cells(dataset, 1), int(dataset["reachable"].sum())
    within = ""
    if reach:
        near = _best(own, "informedness_of_reachable")
        within = (
            f"; on the others {_name(near)} rings in time on {_share(near, 'in_time_of_reachable')}: informedness "
            f"{_interval(near['informedness_of_reachable'])}"
        )
    return (
        f"Whether: {verdict}. The best, {_name(best)}, rings in time on {_share(best, 'in_time')} of the harmful cells "
        f"and falsely on {_share(best, 'false_alarm')} of the harmless: informedness "
        f"{_interval(best['informedness'])}. {harmful - reach} of the {harmful} harmful cells are out of reach, as "
        f"they turn before an alarm on growth can ring{within}. Of the {both.size} intervals, over "
        f"monitors, thresholds and both ways to count, the one that begins highest is "
        f"{_interval(highest[_INFORMED[counted]])}, of {_name(highest)} at a threshold of "
        f"{float(highest['threshold']):g}."
    )


def _separation(chosen: xr.Dataset, alone: Sequence[str]) -> str:
    """Do their readings, late or not, look worse where there is harm?"""
    own = chosen.sel(monitor=alone)
    told = []
    for name, statistic in _SEPARATIONS.items():
        best = _best(own, name)
        low, high = (own[name].sel(statistic=end).values for end in ("low", "high"))
        sides = {"above": low > 0.5, "below": high < 0.5}
        beyond = [
            f"{side} chance: {' and '.join(str(label) for label in own['label'].values[apart])}"
            for side, apart in sides.items()
            if apart.any()
        ]
        told.append(
            f"by {statistic} {_name(best)} separates best, {_interval(best[name], '.2f')} "
            f"({'; '.join(beyond) or 'none differs from chance'})"
        )
    return f"Readings of pre-training alone, harmful against harmless cells (0.5 is chance): {', and '.join(told)}."


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
    """Given that there is harm, do they tell the time better than the base loss? Judged where both ring."""
    frequent = [name for name in alone if float(_estimate(chosen.sel(monitor=name)["missed"])) < 0.5]
    if not frequent:
        return "When: every monitor of pre-training alone misses at least half of the harmful cells."
    gains = chosen["spread_above_halved"].sel(monitor=frequent, statistic="high")
    if not np.isfinite(gains).any():
        return "When: no monitor of pre-training alone rings in harmful cells in which the base loss has halved."
    best = chosen.sel(monitor=frequent[int(np.nanargmin(gains))])
    sharper = float(gains.min()) < 0
    verdict = (
        f"When: {best['label'].item()} tells the time better than the base loss does"
        if sharper
        else "When: none tells the time better than the base loss does"
    )
    own, more = (float(_estimate(best[name])) for name in ("spread_in_common", "spread_above_halved"))
    onset = _share(chosen.sel(monitor="fisher_trace"), "base_loss_at_alarm")
    return (
        f"{verdict}. In the harmful cells where both ring, leads of the best, {_name(best)}, spread by {own:.2f} "
        f"e-folds and those of an alarm when the base loss has halved by {own - more:.2f}: difference "
        f"{_interval(best['spread_above_halved'])}. The alarm of the Fisher trace rings when the base loss is at "
        f"{onset} of its first value (median)."
    )


def _snippet(chosen: xr.Dataset) -> str:
    """The squared gradient of the mean loss."""
    own = chosen.sel(monitor=_SNIPPET)
    along = float(_estimate(own["correlation_along"]))
    informed = max(float(own[name].sel(statistic="low")) for name in _INFORMED)
    moves = "against" if along < -_UNINFORMED else "with" if along > _UNINFORMED else "independently of"
    fisher = chosen.sel(monitor="fisher_trace")
    worth = "is worth heeding" if informed > _UNINFORMED and along > 0 else "is not worth heeding"
    return (
        f"The common snippet moves {moves} forgetting, rank correlation {_interval(own['correlation_along'])} in the "
        f"median cell (Fisher trace {_interval(fisher['correlation_along'])}); its alarm {worth}: "
        f"{_share(own, 'in_time')} in time, {_share(own, 'early')} by more than one e-fold too early, "
        f"{_share(own, 'false_alarm')} false."
    )


def _aware(chosen: xr.Dataset, alone: Sequence[str], aware: Sequence[str]) -> str:
    """What looking at the fine-tuning task adds."""
    groups = [chosen.sel(monitor=list(names)) for names in (aware, alone)]
    same = "separation_of_values"
    seen, blind = (_best(group, same) for group in groups)
    separates = float(seen[same].sel(statistic="low")) > float(blind[same].sel(statistic="high"))
    last, last_alone = (
        _best(group.assign(last=group["correlation_across"].sel(stage="last")), "last") for group in groups
    )
    better = "does better" if separates else "does no better"
    rehearsed, stopped = (_regret(chosen, name) for name in ("rehearsal", "fisher_trace"))
    end = f"{float(chosen['regret_of_going_on_if_harmful']):.3f}"
    return (
        f"Looking at the fine-tuning task {better}: by the value at the last budget {_name(seen)} separates harmful "
        f"from harmless cells with {_interval(seen[same], '.2f')}, the best of pre-training alone, {_name(blind)}, "
        f"with {_interval(blind[same], '.2f')}. Across transfers forgetting at the last budget goes with "
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
    time, early, late, missed, false = (
        float(_estimate(row[name])) for name in ("in_time", "early", "late", "missed", "false_alarm")
    )
    return (
        f"{_name(row):37}{time:7.0%}{early:12.0%}{late:5.0%}{missed:7.0%}{false:7.0%}"
        f"{_interval(row['informedness']):>22}{_interval(row['informedness_of_reachable']):>21}"
    )


def _lead_line(row: xr.Dataset) -> str:
    low, middle, high = (float(_estimate(row[f"lead{end}"])) for end in ("_lower_quartile", "", "_upper_quartile"))
    spread, regret = (float(_estimate(row[name])) for name in ("spread_in_common", "regret"))
    return (
        f"{_name(row):37}{f'{middle:+.1f} ({low:+.1f}, {high:+.1f})':>21}{spread:15.2f}"
        f"{_interval(row['spread_above_halved']):>24}{regret:21.3f}"
    )


def _value_line(row: xr.Dataset) -> str:
    scores = row["correlation_along"], row["correlation_of_changes"], row["correlation_across"].sel(stage="last")
    along, changes, last = (float(_estimate(score)) for score in scores)
    separations = "".join(f"{_interval(row[name], '.2f'):>21}" for name in _SEPARATIONS)
    return f"{_name(row):37}{separations}{along:+9.2f}{changes:+10.2f}{last:+20.2f}"


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
