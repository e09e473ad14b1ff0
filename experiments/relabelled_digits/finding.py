"""Whether margins are harder to unlearn on digits, on which loss that shows, and how much of it is overfitting."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from linsim.finding import Finding
from linsim.theory.over_seeds import over_seeds

from ..words import NEGLIGIBLE, distrust, diverged, in_percent, joined, percent, rechecked, tabular, undecided
from .images import HARD, OBJECTIVES, RELABELLED, SHIFTS, SMOOTHED, SQUARED

KINDS = (("", "trained on"), ("heldout_", "held out"))
"""Of images, as names of variables have them, and as they are called."""


def find(dataset: xr.Dataset) -> Finding:
    """Whether hard labels make more harm to the fine-tuning loss than squared error, relabelled and tuned shortly.

    That is the loss on images that are trained on, which descent decides and overfitting does not. Seen where the
    interval of the median over samples is above that of squared error, and above what is negligible; not seen where
    that harm is negligible, or no larger than with squared error: time enough to unlearn margins would do that, or
    pre-training that ends before there are any. Nobody can tell where intervals overlap, or runs are lost.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset, or_why_not=False)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    harm = {name: over_seeds(_cell(dataset, "counted_finetune_harm", name).values) for name in OBJECTIVES}
    hard, squared = harm[HARD], harm[SQUARED]
    if not (hard.seeds and squared.seeds):
        told = "Whether hard labels are harder to unlearn cannot be told: no run of one objective tells anything"
        return Finding(told, "cannot tell", {}, details, trust)
    time = float(dataset.attrs["short"])
    numbers = {f"{name.split()[0]}_harm": each.middle for name, each in harm.items()}
    numbers |= {"hard_low": hard.ends[0], "squared_high": squared.ends[1], "time": time}
    others = f"squared error {percent(squared.middle)}, smoothed labels {percent(harm[SMOOTHED].middle)}"
    said = f"{percent(hard.middle)} above its best after T = {time:g}"
    if hard.middle <= NEGLIGIBLE or hard.middle <= squared.middle:
        told = (
            f"Hard labels are no harder to unlearn on digits: relabelled, the fine-tuning loss ends {said} ({others})"
        )
        return Finding(told, "not seen", numbers, details, trust)
    if numbers["hard_low"] <= max(numbers["squared_high"], NEGLIGIBLE):
        told = f"Samples differ too much to tell objectives apart: relabelled, the fine-tuning loss ends {said}"
        return Finding(f"{told} with hard labels ({others})", "cannot tell", numbers, details, trust)
    names = ("counted_heldout_finetune_harm", "stopped_heldout_finetune_harm")
    heldout, stopped = (over_seeds(_cell(dataset, name).values).middle for name in names)
    tuned, heldout_tuned = (
        over_seeds(dataset[f"tuned_{kind}finetune_harm"].sel(objective=HARD, shift=RELABELLED).values).middle
        for kind in ("", "heldout_")
    )
    numbers |= {"heldout": heldout, "stopped": stopped, "tuned": tuned, "heldout_tuned": heldout_tuned}
    told = (
        f"Relabelled, digits with hard labels end with a fine-tuning loss {said} ({others}); held out "
        f"{percent(heldout)}, and {percent(stopped)} by the budget at which pre-training begins to overfit; at a tuned "
        f"rate {percent(tuned)}, and {percent(heldout_tuned)} held out"
    )
    return Finding(told, "seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each objective and shift: harm to the fine-tuning loss, on images that are trained on and held out."""
    heads = ["harm in %", f"T = {dataset.attrs['short']:g}", "held out", "matched", "tuned", "held out"]
    rows = []
    for shift in SHIFTS:
        for name in OBJECTIVES:
            cell = dataset.sel(objective=name, shift=shift)
            cells = (
                *(_cell(dataset, f"counted_{kind}finetune_harm", name, shift) for kind in ("", "heldout_")),
                *(cell["matched_finetune_harm"], cell["tuned_finetune_harm"], cell["tuned_heldout_finetune_harm"]),
            )
            rows.append([f"{shift.split()[0]}, {name.split()[0]}", *(in_percent(each) for each in cells)])
    return tabular(heads, rows)


def _cell(
    dataset: xr.Dataset, variable: str, objective: str = HARD, shift: str = RELABELLED, time: float | None = None
) -> xr.DataArray:
    """Over samples, after a flow time of fine-tuning, by default the short one."""
    rate = (dataset.attrs["short"] if time is None else time) / dataset.attrs["finetune_steps"]
    return dataset[variable].sel(objective=objective, shift=shift).sel(learning_rate=rate, method="nearest")


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """What overfits by itself, what is forgotten, and what sensitivity and noise do before fine-tuning."""
    by = {name: dataset.sel(objective=name) for name in OBJECTIVES}
    told = "; ".join(
        f"{name} {in_percent(each['overfit_harm'].sel(shift=RELABELLED))} %, best at {_steps(each)} steps"
        for name, each in by.items()
    )
    yield f"Before fine-tuning, the pre-training loss on images held out ends above its best by: {told}."
    time = dataset.attrs["short"]
    told = "; ".join(
        f"{shift} "
        + ", ".join(
            f"{name} {in_percent(_cell(dataset, f'stopped_{kind}finetune_harm', HARD, shift))}" for kind, name in KINDS
        )
        for shift in SHIFTS
    )
    yield f"By that budget hard labels have harm to the fine-tuning loss, at T = {time:g}, in %: {told}."
    for shift in SHIFTS:
        told = ", ".join(f"{name} {in_percent(_cell(dataset, 'harm', name, shift))}" for name in OBJECTIVES)
        matched = ", ".join(in_percent(each["matched_harm"].sel(shift=shift)) for each in by.values())
        yield f"Harm to the pre-training loss, {shift}, in %: at T = {time:g} {told}; at matched effort {matched}."
    kept = ", ".join(f"{name} {in_percent(_cell(dataset, 'kept_harm', name))}" for name in OBJECTIVES)
    long = dataset.attrs["finetune_steps"] * float(dataset["learning_rate"][-1])
    later = ", ".join(in_percent(_cell(dataset, "kept_harm", name, time=long)) for name in OBJECTIVES)
    yield f"Of digits that keep their names, relabelled, in %: at T = {time:g} {kept}; at T = {long:g} {later}."
    told = "; ".join(
        f"{name} {' and '.join(in_percent(each['fisher_left'].sel(shift=shift)) for shift in SHIFTS)}"
        for name, each in by.items()
    )
    yield f"Of its peak the Fisher trace has left, in %, on {joined(['all digits', 'half of them'])}: {told}."
    for at, scale in enumerate(dataset["noise"].values):
        under = dataset["noise_harm"].isel(noise=at).sel(shift=RELABELLED)
        told = ", ".join(f"{name} {in_percent(under.sel(objective=name))}" for name in OBJECTIVES)
        yield f"Harm under noise of {scale:g} on every weight, without fine-tuning, in %: {told}."
    yield (
        "Wrong names of images held out, last budget against best: "
        + "; ".join(
            f"{shift} {', '.join(f'{name} {_errors(dataset, name, shift)}' for name in OBJECTIVES)}" for shift in SHIFTS
        )
        + f", after T = {time:g}."
    )


def _steps(dataset: xr.Dataset) -> str:
    """Median budget from which on pre-training overfits."""
    return f"{float(dataset['stopped_steps'].sel(shift=RELABELLED).median()):.0f}"


def _errors(dataset: xr.Dataset, objective: str, shift: str) -> str:
    """Medians over samples."""
    share = _cell(dataset, "heldout_finetune_errors", objective, shift)
    last, best = (
        percent(float(each.median())) for each in (share.isel(pretrain_steps=-1), share.min("pretrain_steps"))
    )
    return f"{last} against {best}"
