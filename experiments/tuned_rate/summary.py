"""The conclusion of `experiments.tuned_rate` in words, from its result alone."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from ..words import wrapped

TURN = 0.05
"""A curve turns where harm is at least this: less comes from the steps in which pre-training learns modes."""


def summarise(dataset: xr.Dataset) -> str:
    """Harm and turning seeds by task and rule, the tuned rate along the budgets, and what follows."""
    lines = [_setting(dataset), "", "Harm, median over seeds (and how many of their curves turn, by 5 % or more)"]
    rules = [str(rule) for rule in dataset["rule"].values]
    widths = [max(len(rule), 13) + 2 for rule in rules]
    lines.append(f"{'task':>16} |" + "".join(f"{rule:>{width}}" for rule, width in zip(rules, widths, strict=True)))
    for on in ("sample", "population"):
        for factor in dataset["factor"].values:
            rows = [_harm(dataset, rule, on, float(factor)) for rule in rules]
            name = f"{'x' + format(factor, 'g'):>5}, {on}"
            lines.append(
                f"{name:>16} |" + "".join(f"{_cell(row):>{width}}" for row, width in zip(rows, widths, strict=True))
            )
    told = [wrapped(line) for line in (*_times(dataset), *_verdicts(dataset))]
    return "\n".join([wrapped(lines[0]), *lines[1:], "", *told])


def turning(dataset: xr.Dataset, rule: str, on: str = "sample") -> dict[float, tuple[int, int]]:
    """For every task how many of its curves turn, and of how many harm is known."""
    rows = {float(factor): _harm(dataset, rule, on, float(factor)) for factor in dataset["factor"].values}
    return {factor: (int((row >= TURN).sum()), int((~np.isnan(row)).sum())) for factor, row in rows.items()}


def _harm(dataset: xr.Dataset, rule: str, on: str, factor: float) -> np.ndarray:
    """Harm of every seed; NaN where the run from the largest budget diverged, so that there is nothing to compare.

    Where a run that diverges is stopped, that goes too for one whose best step is the first: it descended nowhere.
    """
    here = dataset.sel(trained_on=on, factor=factor)
    harm = here["rule_harm"].sel(rule=rule).values
    if rule.startswith("stopped"):
        lost = ~np.isfinite(here["rule_harm"].sel(rule="fixed").values)
        stop = here["rule_time"].sel(rule=rule).values[-1] / dataset.attrs["largest_rate"]
        harm = np.where(lost & (stop < 1.5), np.nan, harm)
    return np.where(np.isfinite(harm), harm, np.nan)


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
        f"Tasks: weaker singular values times a factor; {sample['size']} examples, noise {sample['noise']:g}; "
        f"{steps} steps, rates up to {rate:g}, rate x steps <= {steps * rate:g}"
    )


def _cell(harm: np.ndarray) -> str:
    known = harm[~np.isnan(harm)]
    if len(known) == 0:
        return "diverged"
    middle = np.sort(known)[(len(known) - 1) // 2]
    return f"{100 * middle:.0f} % ({int((known >= TURN).sum())}/{len(known)})"


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
    lost = [factor for factor, (_, known) in turning(dataset, "fixed").items() if known == 0]
    if lost:
        tasks = ", ".join(f"x{factor:g}" for factor in lost)
        told.append(f"At the fixed rate runs diverged at {tasks}: whether tuning removes a U there cannot be told.")
    elif not removed and not kept:
        told.append("At the fixed rate most curves do not turn at any task: there is no U for tuning to remove.")
    for factors, what in (removed, "Tuning removes the U at"), (kept, "It stays at"):
        if factors:
            parts = [f"x{factor:g} ({_change(dataset, factor)})" for factor in factors]
            told.append(f"{what} {', '.join(parts)}.")
    left = [f"x{factor:g}" for factor in kept if _last(dataset, factor) < 0.99]
    if left:
        where = ", ".join(left)
        told.append(
            f"A tuned rate below the largest one allowed is not enough: at {where} it ends below, and the U stays."
        )
    told.append(_unlimited(dataset))
    told += [_population(dataset), _stopping(dataset), _matching(dataset), _theory(dataset)]
    return [line for line in told if line]


def _change(dataset: xr.Dataset, factor: float) -> str:
    (before, _), (after, known) = (turning(dataset, rule)[factor] for rule in ("fixed", "tuned"))
    fall, last = _fall(dataset, factor), _last(dataset, factor)
    falls = f"falls {fall:.2g} times" if fall >= 1.05 else "does not fall"
    turn = f"{before} to {after} of {known} curves turn"
    return f"{turn}; the tuned rate {falls} and ends at {last:.0%} of the largest allowed"


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
    tuned, fixed = (_counted(dataset, rule, "population") for rule in ("tuned", "fixed"))
    turn = f"{fixed} at the fixed rate, {tuned} at the tuned one"
    return f"On the population the largest rate allowed is the tuned one in {share:.0%} of the runs: {turn}."


def _stopping(dataset: xr.Dataset) -> str:
    """How far early stopping is tuning by other means."""
    here = dataset.sel(trained_on="sample")
    known = [_harm(dataset, "stopped", "sample", float(factor)) for factor in dataset["factor"].values]
    lost = np.isnan(known)[:, None]
    if lost.all():
        return "Early stopping: every run diverged."
    ratios = [
        np.abs(np.log(np.where(lost, np.nan, here[name].sel(rule="stopped")) / here[name].sel(rule="tuned").values))
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
    harm = harm.where(np.isfinite(harm))
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
    harms = [dataset[f"{name}rule_harm"].sel(limited).values for name in ("", "predicted_")]
    known = np.isfinite(harms).all(axis=0)
    error = 100 * np.nanmedian(np.abs(there / here - 1))
    if not known.any():
        return f"Closed form (gradient flow): losses differ by {error:.2g} % (median)."
    same = float(np.mean(((harms[0] >= TURN) == (harms[1] >= TURN))[known]))
    return f"Closed form (gradient flow): losses differ by {error:.2g} % (median); the same curves turn in {same:.0%}."


def _fall(dataset: xr.Dataset, factor: float) -> float:
    """Largest tuned rate over that of the last budget, median over seeds."""
    time = dataset["rule_time"].sel(trained_on="sample", factor=factor, rule="tuned").values
    return float(np.nanmedian(np.nanmax(time, axis=0) / time[-1]))


def _last(dataset: xr.Dataset, factor: float) -> float:
    """Tuned rate of the last budget over the largest one allowed, median over seeds."""
    time = dataset["rule_time"].sel(trained_on="sample", factor=factor, rule="tuned").values[-1]
    return float(np.nanmedian(time)) / float(dataset.attrs["finetune_steps"] * dataset.attrs["largest_rate"])


def _counted(dataset: xr.Dataset, rule: str, on: str = "sample") -> str:
    turn, known = (sum(each) for each in zip(*turning(dataset, rule, on).values(), strict=True))
    lost = dataset.sizes["factor"] * dataset.sizes["seed"] - known
    if known == 0:
        return "all curves diverged"
    return f"{turn} of {known} curves turn" + (f" ({lost} diverged)" if lost else "")


def _middle(runs: np.ndarray) -> np.ndarray:
    """Lower median over seeds, NaN where there is none."""
    known = np.sort(np.where(np.isnan(runs), np.inf, runs), axis=-1)
    count = np.maximum((~np.isnan(runs)).sum(axis=-1) - 1, 0) // 2
    middle = np.take_along_axis(known, count[..., None], -1)[..., 0]
    return np.where(np.isnan(runs).all(axis=-1), np.nan, middle)
