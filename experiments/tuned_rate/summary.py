"""The conclusion of `experiments.tuned_rate` in words, from its result alone."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

TURN = 0.05
"""A curve turns where harm is at least this: less comes from the steps in which pre-training learns modes."""


def summarise(dataset: xr.Dataset) -> str:
    """Harm and turning seeds by task and rule, the tuned rate along the budgets, and what follows."""
    lines = [_setting(dataset), "", "Harm, median over seeds (and how many of their curves turn, by 5 % or more)"]
    rules = [str(rule) for rule in dataset["rule"].values]
    lines.append(f"{'task':>16} |" + "".join(f"{rule:>20}" for rule in rules))
    for on in ("sample", "population"):
        for factor in dataset["factor"].values:
            harm = dataset["rule_harm"].sel(trained_on=on, factor=factor).values
            name = f"{'x' + format(factor, 'g'):>5}, {on}"
            lines.append(f"{name:>16} |" + "".join(f"{_cell(row):>20}" for row in harm))
    return "\n".join([*lines, "", *_times(dataset), *_verdicts(dataset)])


def turning(dataset: xr.Dataset, rule: str, on: str = "sample") -> dict[float, tuple[int, int]]:
    """For every task how many of its curves turn, and of how many harm is known."""
    harm = dataset["rule_harm"].sel(trained_on=on, rule=rule)
    factors = dataset["factor"].values
    rows = (harm.sel(factor=factor).values for factor in factors)
    return {
        float(factor): (int((row >= TURN).sum()), int((~np.isnan(row)).sum()))
        for factor, row in zip(factors, rows, strict=True)
    }


def removed_and_kept(dataset: xr.Dataset) -> tuple[list[float], list[float]]:
    """Tasks on which most curves turn at the fixed rate: those where few do so at the tuned rate, and the others."""
    fixed, tuned = turning(dataset, "fixed"), turning(dataset, "tuned")
    turns = [factor for factor, (count, known) in fixed.items() if 2 * count > known]
    removed = [factor for factor in turns if 2 * tuned[factor][0] < tuned[factor][1]]
    return removed, [factor for factor in turns if factor not in removed]


def _setting(dataset: xr.Dataset) -> str:
    sample = json.loads(dataset.attrs["config"])["sample"]
    steps, rate = int(dataset.attrs["finetune_steps"]), float(dataset.attrs["largest_rate"])
    return (
        f"Tasks: weaker singular values times a factor; {sample['size']} examples, label noise {sample['noise']:g}; "
        f"{steps} steps at rates up to {rate:g}, rate x steps <= {steps * rate:g}"
    )


def _cell(harm: np.ndarray) -> str:
    known = harm[~np.isnan(harm)]
    if len(known) == 0:
        return "diverged"
    middle = np.sort(known)[(len(known) - 1) // 2]
    size = "inf" if np.isinf(middle) else f"{100 * middle:.0f} %"
    return f"{size} ({int((known >= TURN).sum())}/{len(harm)})"


def _times(dataset: xr.Dataset) -> list[str]:
    """Tuned rate x steps at the first, the best and the last budget."""
    told = []
    for rule in ("tuned", "tuned, any rate"):
        parts = []
        for factor in dataset["factor"].values:
            cell = dataset.sel(trained_on="sample", factor=factor, rule=rule)
            time, loss = (_middle(cell[name].values) for name in ("rule_time", "rule_pretrain_loss"))
            if np.isnan(loss).all():
                parts.append(f"x{factor:g}: diverged")
                continue
            values = (time[0], time[int(np.nanargmin(loss))], time[-1])
            parts.append(f"x{factor:g}: " + ", ".join(f"{value:.2g}" for value in values))
        told.append(f"Rate x steps, {rule}, at the first, best and last budget: {'; '.join(parts)}.")
    late = dataset["late_time"]
    if late.notnull().any():
        parts = [f"x{factor:g}: {value:.2g}" for factor, value in zip(late["factor"].values, late.values, strict=True)]
        told.append(f"Tuned rate x steps at last, expected to first order in the noise: {'; '.join(parts)}.")
    return told


def _verdicts(dataset: xr.Dataset) -> list[str]:
    if dataset["rule_harm"].sel(rule=["fixed", "tuned"]).isnull().all():
        return ["Every run at the rates allowed diverged: nothing follows."]
    removed, kept = removed_and_kept(dataset)
    told = []
    if not removed and not kept:
        told.append("At the fixed rate most curves do not turn at any task: there is no U for tuning to remove.")
    for factors, what in (removed, "Tuning removes the U at"), (kept, "It stays at"):
        if factors:
            parts = [f"x{factor:g} ({_change(dataset, factor)})" for factor in factors]
            told.append(f"{what} {', '.join(parts)}.")
    told.append(_unlimited(dataset))
    told += [_population(dataset), _stopping(dataset), _matching(dataset), _theory(dataset)]
    return [line for line in told if line]


def _change(dataset: xr.Dataset, factor: float) -> str:
    (before, _), (after, known) = (turning(dataset, rule)[factor] for rule in ("fixed", "tuned"))
    fall = _fall(dataset, factor)
    return f"{before} to {after} of {known} curves turn; the tuned rate falls {fall:.2g} times"


def _unlimited(dataset: xr.Dataset) -> str:
    """What happens where every rate may be used, and how near the edge of stability it is then."""
    rate = dataset["rule_time"].sel(trained_on="sample", rule="tuned, any rate") / dataset.attrs["finetune_steps"]
    edge = (rate >= dataset["stable_rate"] / 2).where(rate.notnull()).mean(("pretrain_steps", "seed"))
    at = ", ".join(f"x{factor:g} {float(share):.0%}" for factor, share in zip(edge["factor"], edge, strict=True))
    turns = _counted(dataset, "tuned, any rate")
    return f"With any rate {turns}; over half the stable rate is chosen in this share of the runs: {at}."


def _population(dataset: xr.Dataset) -> str:
    """On the population more is better, so the tuned rate cannot fall."""
    here = dataset.sel(trained_on="population")
    time, limit = here["rule_time"].sel(rule="tuned"), dataset.attrs["finetune_steps"] * dataset.attrs["largest_rate"]
    share = float((time >= 0.999 * limit).mean())
    tuned, fixed = (
        sum(count for count, _ in turning(dataset, rule, "population").values()) for rule in ("tuned", "fixed")
    )
    turn = f"{fixed} curves turn at the fixed rate, {tuned} at the tuned one"
    return f"On the population the largest rate allowed is the tuned one in {share:.0%} of the runs: {turn}."


def _stopping(dataset: xr.Dataset) -> str:
    """How far early stopping is tuning by other means."""
    here = dataset.sel(trained_on="sample")
    ratios = [
        np.abs(np.log(here[name].sel(rule="stopped").values / here[name].sel(rule="tuned").values))
        for name in ("rule_time", "rule_pretrain_loss")
    ]
    if any(np.isnan(ratio).all() for ratio in ratios):
        return ""
    time, loss = (
        f"{100 * np.expm1(np.nanmedian(ratio)):.2g} % (at most {100 * np.expm1(np.nanmax(ratio)):.2g} %)"
        for ratio in ratios
    )
    patient = _counted(dataset, "stopped within 1 %")
    return (
        f"Early stopping against tuning: rate x steps differ by {time}, losses by {loss}; "
        f"stopped within 1 % of the best, {patient}."
    )


def _matching(dataset: xr.Dataset) -> str:
    harm = dataset["rule_harm"].sel(trained_on="sample", rule="matched")
    if harm.isnull().all():
        return ""
    return f"At matched fine-tuning loss {_counted(dataset, 'matched')}, harm at most {100 * float(harm.max()):.2g} %."


def _theory(dataset: xr.Dataset) -> str:
    """The closed form beside the simulation, over the rules that stay below the largest rate."""
    if "predicted_rule_harm" not in dataset:
        return f"Closed form: {dataset.attrs['prediction']}."
    limited = {"rule": ["fixed", "tuned", "stopped"]}
    here, there = (dataset[f"{name}rule_pretrain_loss"].sel(limited).values for name in ("", "predicted_"))
    if np.isnan(here / there).all():
        return "Closed form: nothing to compare, as every run diverged."
    turns = [dataset[f"{name}rule_harm"].sel(limited).values >= TURN for name in ("", "predicted_")]
    error = 100 * np.nanmedian(np.abs(there / here - 1))
    same = float(np.mean(turns[0] == turns[1]))
    return f"Closed form (gradient flow): losses differ by {error:.2g} % (median); the same curves turn in {same:.0%}."


def _fall(dataset: xr.Dataset, factor: float) -> float:
    """Largest tuned rate over that of the last budget, median over seeds."""
    time = dataset["rule_time"].sel(trained_on="sample", factor=factor, rule="tuned").values
    return float(np.nanmedian(np.nanmax(time, axis=0) / time[-1]))


def _counted(dataset: xr.Dataset, rule: str) -> str:
    harm = dataset["rule_harm"].sel(trained_on="sample", rule=rule)
    return f"{int((harm >= TURN).sum())} of {harm.size} curves turn"


def _middle(runs: np.ndarray) -> np.ndarray:
    """Lower median over seeds, NaN where there is none."""
    known = np.sort(np.where(np.isnan(runs), np.inf, runs), axis=-1)
    count = np.maximum((~np.isnan(runs)).sum(axis=-1) - 1, 0) // 2
    middle = np.take_along_axis(known, count[..., None], -1)[..., 0]
    return np.where(np.isnan(runs).all(axis=-1), np.nan, middle)
