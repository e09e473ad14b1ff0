"""Whether hard labels make the fine-tuning loss itself turn, and what the objective does to everything else."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from linsim.finding import Finding
from linsim.theory.objectives.logistic import overshoot_threshold
from linsim.theory.over_seeds import over_seeds

from ..words import NEGLIGIBLE, distrust, diverged, in_percent, percent, rechecked, tabular, undecided
from .tasks import HARD, OBJECTIVES, RELABELLED, SMOOTHED, SOFT, SQUARED, STRENGTHENED


def find(dataset: xr.Dataset) -> Finding:
    """Whether hard labels make more harm to the fine-tuning loss than squared error, relabelled and tuned shortly.

    Seen where the interval of the median over teachers is above that of squared error, and above what is negligible;
    not seen where that harm is negligible, or no larger than with squared error: margins that are unlearned in the
    time there is, or pre-training that ends before there are margins, would do that. Nobody can tell where intervals
    overlap, or runs are lost.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset, or_why_not=False)), distrust(dataset)
    if (nothing := undecided(dataset, trust=trust)) is not None:
        return nothing
    short = _relabelled(dataset)
    harm = {name: over_seeds(short.sel(objective=name).values) for name in OBJECTIVES}
    hard, squared = harm[HARD], harm[SQUARED]
    if not (hard.seeds and squared.seeds):
        told = "Whether hard labels are harder to unlearn cannot be told: no run of one objective tells anything"
        return Finding(told, "cannot tell", {}, details, trust)
    time = float(dataset.attrs["short"])
    numbers = {f"{_word(name)}_harm": each.middle for name, each in harm.items()}
    numbers |= {"hard_low": hard.ends[0], "squared_high": squared.ends[1], "time": time}
    others = f"squared error {percent(squared.middle)}, smoothed labels {percent(harm[SMOOTHED].middle)}"
    if hard.middle <= NEGLIGIBLE or hard.middle <= squared.middle:
        told = f"Hard labels are no harder to unlearn: relabelled and tuned for T = {time:g}, the fine-tuning loss"
        return Finding(
            f"{told} ends {percent(hard.middle)} above its best ({others})", "not seen", numbers, details, trust
        )
    said = f"the fine-tuning loss itself ends {percent(hard.middle)} above its best after T = {time:g} with hard labels"
    if hard.ends[0] <= max(squared.ends[1], NEGLIGIBLE):
        told = f"Teachers differ too much to tell objectives apart: relabelled, {said} ({others})"
        return Finding(told, "cannot tell", numbers, details, trust)
    where = dataset.sel(objective=HARD, shift=RELABELLED)
    rest = []
    for name, words in (("matched_finetune_harm", "matched effort"), ("tuned_finetune_harm", "a tuned rate")):
        numbers[f"hard_{name}"] = (each := over_seeds(where[name].values)).middle
        rest += [f"{percent(each.middle)} at {words}"] * (each.seeds > 0)
    told = "; ".join([", ".join(rest), others]) if rest else others
    return Finding(f"Relabelled, {said} ({told})", "seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each objective: what overshoots, what is unlearned, and what noise does."""
    short, long = dataset.attrs["short"], float(dataset["learning_rate"][-1]) * dataset.attrs["finetune_steps"]
    heads = ["harm in %", "strengthened, matched", f"relabelled, T = {short:g}", f"T = {long:g}", "tuned", "matched"]
    rows = []
    for name in OBJECTIVES:
        first, second = (dataset.sel(objective=name, shift=shift) for shift in (STRENGTHENED, RELABELLED))
        cells = (
            *(first["matched_harm"], *(_relabelled(dataset, time).sel(objective=name) for time in (short, long))),
            *(second["tuned_finetune_harm"], second["matched_finetune_harm"]),
        )
        rows.append([name, *(in_percent(cell) for cell in cells)])
    return tabular(heads, rows)


def _relabelled(dataset: xr.Dataset, time: float | None = None) -> xr.DataArray:
    """Harm to the fine-tuning loss after a flow time, by default the short one."""
    told = dataset.attrs["short"] if time is None else time
    rate = told / dataset.attrs["finetune_steps"]
    return dataset["counted_finetune_harm"].sel(shift=RELABELLED).sel(learning_rate=rate, method="nearest")


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Overshoot over confidence, noise, and what was kept."""
    harm = {
        name: over_seeds(dataset["matched_harm"].sel(objective=name, shift=STRENGTHENED).values) for name in OBJECTIVES
    }
    told = ", ".join(f"{name} {percent(each.middle)}" for name, each in harm.items() if each.seeds)
    if told:
        yield f"Strengthened, until {dataset.attrs['level']:g} of the fine-tuning loss is left, harm is: {told}."
    confident = dataset["confident_harm"]
    parts = [
        f"{in_percent(confident.sel(strength=each))} at strength {each:g}" for each in confident["strength"].values
    ]
    limits = overshoot_threshold([0.5, 2.0, 5.0])
    yield (
        f"The same with soft labels, in %: {', '.join(parts)}. A logistic mode tolerates {limits[0]:.3g}, "
        f"{limits[1]:.3g} and {limits[2]:.3g} times its logit of 0.5, 2 and 5, squared error twice any."
    )
    for at, scale in enumerate(dataset["noise"].values):
        under = dataset["noise_harm"].isel(noise=at).sel(shift=STRENGTHENED)
        told = ", ".join(f"{name} {in_percent(under.sel(objective=name))}" for name in (SQUARED, SOFT, HARD, SMOOTHED))
        yield f"Harm under noise of {scale:g} on every weight, without fine-tuning, in %: {told}."


def _word(name: str) -> str:
    return name.split()[0]
