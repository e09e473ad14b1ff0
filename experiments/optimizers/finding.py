"""Whether any optimiser is safe from overtraining, and what is behind it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.theory.turns import LEAST_EXCESS

from ..curves import material_harm
from ..words import NEGLIGIBLE, change, distrust, joined, percent, tabular, undecided
from .methods import spoken


def find(dataset: xr.Dataset) -> Finding:
    """Whether each optimiser does material harm on some shift, at one fine-tuning rate; medians over seeds.

    Not seen where one of them does none on any shift; nobody can tell where descent, the control, does none on any, or
    where there are not two optimisers that are done with pre-training.
    """
    trust = distrust(dataset)
    told = known(dataset)
    harm, excess = told["fixed_harm"], told["fixed_excess"]
    details = tuple(_beside(dataset))
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    methods = [str(name) for name in harm["optimizer"].values]
    if len(methods) < 2 or "descent" not in methods:
        sentence = "It takes descent and another optimiser that come to the end of pre-training to tell them apart"
        return Finding(sentence, "cannot tell", {"optimizers": len(methods)}, details, trust)
    harmful = (harm > NEGLIGIBLE) & (excess > LEAST_EXCESS)
    numbers = {
        f"{name}_{shift}": float(harm.sel(optimizer=name, task_shift=shift))
        for name in methods
        for shift in harm["task_shift"].values
    }
    if not bool(harmful.sel(optimizer="descent").any()):
        sentence = "Plain descent shows no overtraining here that another optimiser could avoid"
        return Finding(sentence, "cannot tell", numbers, details, trust)
    safe = [name for name in methods if not bool(harmful.sel(optimizer=name).any())]
    shifts = [str(shift) for shift in harm["task_shift"].values]
    if safe:
        most = percent(float(harm.sel(optimizer=safe).max()))
        where = f"any of {len(shifts)} shifts" if len(shifts) > 1 else f"the shift of the {shifts[0]}"
        worst = percent(float(harm.sel(optimizer="descent").max()))
        does = f"{joined([spoken(name) for name in safe])} has harm of {most} at most on {where}; descent {worst}"
        return Finding(f"Some optimisers are safe: {does}", "not seen", numbers, details, trust)
    return Finding(f"No optimiser is safe: {_least(told, shifts)}", "seen", numbers, details, trust)


def _least(told: xr.Dataset, shifts: list[str]) -> str:
    """By which optimiser harm is least on each shift, and what the same one does on the worst other."""
    parts, harm = [], told["fixed_harm"]
    for shift in shifts:
        here = harm.sel(task_shift=shift)
        name = str(harm["optimizer"].values[int(np.argmin(here.values))])
        others = harm.sel(optimizer=name, task_shift=[other for other in shifts if other != shift])
        but = ""
        if others.size:
            worst = others["task_shift"][int(np.argmax(others.values))]
            sure = float(told["fixed_resolved"].sel(optimizer=name, task_shift=worst)) >= 0.5
            but = f", but {_rise(float(others.max()), sure)} on the {worst.item()}"
        parts.append(f"least harm on the {shift} is {_rise(float(here.min()))}, by {spoken(name)}{but}")
    return "; ".join(parts)


def _rise(harm: float, sure: bool = True) -> str:
    """Harm, whose digits say nothing where the best loss is next to none; without `sure` budgets may have missed it."""
    most = "" if sure else "over "
    return percent(harm) if harm < 10 else f"a rise to {most}{float(f'{1 + harm:.2g}'):.0f} times the best"


def known(dataset: xr.Dataset, arm: str = "pretrain", setting: int = -1) -> xr.Dataset:
    """Medians over seeds in one setting, the last one, of the optimisers that are done and whose losses are known."""
    cells = dataset.isel(setting=setting, drop=True).sel(arm=arm, drop=True)
    names = [name for name in cells if set(cells[name].dims) <= {"task_shift", "optimizer", "seed", "base_loss"}]
    middle = cells[names].median("seed") if "seed" in cells.dims else cells[names]
    done = (middle["reached"] <= dataset.attrs["end"]) & np.isfinite(middle["fixed_harm"])
    return middle.isel(optimizer=np.flatnonzero(done.all("task_shift").values))


def table(dataset: xr.Dataset) -> list[str]:
    """Best and last loss, excess and harm of every optimiser of pre-training on every shift."""
    told = known(dataset)
    heads = ["optimiser"]
    for shift in told["task_shift"].values:
        heads += [f"{shift}: best", "last", "excess", "harm"]
    rows = []
    for name in told["optimizer"].values:
        row = [spoken(str(name))]
        for shift in told["task_shift"].values:
            cell = told.sel(optimizer=name, task_shift=shift)
            row += [f"{float(cell[f'fixed_{part}']):.3g}" for part in ("best", "last", "excess")]
            row.append(percent(float(cell["fixed_harm"])))
        rows.append(row)
    return tabular(heads, rows)


def _beside(dataset: xr.Dataset) -> list[str]:
    """The last loss, imbalance and its cost, tuned rates, fine-tuning by others, and what is not done."""
    told, lines = known(dataset), []
    if "descent" in told["optimizer"].values:
        ratio = told["fixed_last"] / told["fixed_last"].sel(optimizer="descent") - 1
        low, high = change(float(ratio.min())), change(float(ratio.max()))
        lines.append(f"The last loss belongs to the shift: {low} to {high} beside that of descent.")
        last = dataset["imbalance_before"].isel(setting=-1, pretrain_steps=-1, task_shift=0).sel(arm="pretrain")
        most = last.median("seed").sel(optimizer=told["optimizer"])
        name = str(most["optimizer"].values[int(np.argmax(most.values))])
        cost = ratio.sel(optimizer=name)
        told_costs = [f"{change(float(cost.sel(task_shift=shift)))} ({shift})" for shift in cost["task_shift"].values]
        lines.append(
            f"{spoken(name)} leaves most imbalance, {float(most.max()):.2g}; its last loss is {joined(told_costs)}."
        )
    for arm, words in (("pretrain", "pre-training"), ("finetune", "fine-tuning")):
        there = known(dataset, arm)
        if there.sizes["optimizer"] and np.isfinite(there["tuned_harm"]).any():
            worst = material_harm(there["tuned_harm"], there["tuned_excess"]).max("task_shift")
            name = str(worst["optimizer"].values[int(np.argmax(worst.fillna(-1).values))])
            lines.append(
                f"At a rate for every checkpoint harm is {percent(float(worst.max()))} at most, by {spoken(name)} "
                f"in {words}."
            )
    if dataset.sizes["setting"] > 1:
        first = known(dataset, setting=0)
        names = [name for name in ("adam", "sign", "muon") if name in first["optimizer"].values]
        for shift in first["task_shift"].values if names else ():
            harm = first["fixed_harm"].sel(task_shift=shift)
            said = joined([f"{percent(float(harm.sel(optimizer=name)))} by {spoken(name)}" for name in names])
            lines.append(f"In the setting {dataset['setting'].values[0]} harm on the {shift} is {said}.")
    rough = told["fixed_resolved"] < 0.5
    if bool(rough.any()):
        names = [spoken(str(name)) for name in rough["optimizer"].values[rough.any("task_shift").values]]
        lines.append(f"The budgets do not resolve the least loss, and harm may be larger, by {joined(names)}.")
    missing = sorted(set(map(str, dataset["optimizer"].values)) - set(map(str, told["optimizer"].values)))
    if missing:
        lines.append(f"Not told, as not done or at no common rate: {joined([spoken(name) for name in missing])}.")
    return lines
