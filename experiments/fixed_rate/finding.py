"""What fine-tuning at fixed rates says: on which shifts more pre-training hurts, and what theory named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import lost_lanes

from ..words import between_budgets, change, counted, distrust, diverged, listed, percent, rechecked, undecided

_TOO_LITTLE = "too little"


def find(dataset: xr.Dataset) -> Finding:
    """On how many shifts it hurts, and whether those are the shifts that theory names.

    It hurts where at some rate every seed turns within the budgets by an amount that counts. Not seen where that is so
    on none of the shifts and nearly all curves are resolved; nobody can tell where no shift has a rate at which all
    runs are stable, or where turns may lie between budgets.
    """
    data = dataset.isel(regularization=0)
    real, names = data.isel(checkpoints=0), data["shift"].values
    checked, trust = (*diverged(data), *rechecked(data)), distrust(data)
    if (nothing := undecided(real, details=checked, trust=trust)) is not None:
        return nothing
    hurts = _shown(real).any(axis=1)
    if not hurts.any() and _lost(real).all():
        sentence = "Nothing can be said of longer pre-training: runs are unstable on every shift at every rate"
        return Finding(sentence, "cannot tell", {}, checked, trust)
    details = (*_details(data), *checked)
    numbers = {"shifts": len(names), "hurts": int(hurts.sum())}
    known = real["harm"].notnull()
    resolved = int((real["resolved"] & known).sum())
    if not hurts.any() and (sentence := between_budgets(int(known.sum()), resolved, "curves")):
        return Finding(sentence, "cannot tell", numbers | {"resolved": resolved}, details, trust)
    if not hurts.any():
        sentence = "At a fixed fine-tuning rate more pre-training hurts on none of "
        return Finding(f"{sentence}{len(names)} shifts by an amount that counts", "not seen", numbers, details, trust)
    sentence = f"At a fixed fine-tuning rate more pre-training hurts on {hurts.sum()} of {len(names)} shifts"
    most = data["overshoot"].max("mode").values
    if (most[hurts] > 1).all():
        sentence += ", each of which takes a learned mode beyond its best (r > 1)"
    if "idealised" in data["checkpoints"].values:
        harmed = data["counts"].sel(checkpoints="idealised").isel(learning_rate=-1).values
        numbers["as theory names"] = int((harmed == (most > 2)).sum())
        if numbers["as theory names"] == len(names):
            sentence += "; from idealised checkpoints at the largest rate, on exactly those with r > 2"
    return Finding(sentence, "seen", numbers, details, trust)


def _details(data: xr.Dataset) -> Iterator[str]:
    """Where it hurts and by how much, where not and why, what theory named, and the fine-tuning loss."""
    kind = str(data["checkpoints"].values[0])
    real = data.sel(checkpoints=kind)
    shown = [str(name) for name in real["shift"].values if _shown(real.sel(shift=name)).any()]
    yield (
        f"It hurts ({kind} checkpoints, {counted(data.sizes['seed'], 'seed')}) where every seed turns within the "
        f"budgets and ends at least {percent(data.attrs['least_harm'])} and {percent(data.attrs['least_excess'])} of "
        f"the zero network's loss above its best; by rate, {_range(real)}: {_by_rate(real)}."
    )
    yield from (f"  {name}: {_worst(real.sel(shift=name))}" for name in shown)
    yield from _others(real, shown)
    yield from _theory(data, kind)
    yield from _rates(real, shown)
    yield _finetuning(real)
    yield _closed_form(real)


def _range(real: xr.Dataset) -> str:
    rates = real["learning_rate"].values
    return f"{rates[0]:.2g}" if len(rates) == 1 else f"{rates[0]:.2g} to {rates[-1]:.2g}"


def _by_rate(real: xr.Dataset) -> str:
    """On how many shifts it hurts at every rate, and on how many others runs are unstable."""
    shown = _shown(real)
    lost = (_lost(real) & ~shown).sum(axis=0)
    pairs = zip(shown.sum(axis=0), lost, strict=True)
    return ", ".join(f"{count} ({beyond} unstable)" if beyond else str(count) for count, beyond in pairs)


def _lost(charts: xr.Dataset) -> np.ndarray:
    """Whether any run diverged or is unstable, by shift and rate."""
    lost = lost_lanes(charts).any(("pretrain_steps", "seed"))
    return np.asarray(lost.transpose(..., "shift", "learning_rate").values)


def _shown(charts: xr.Dataset) -> np.ndarray:
    return np.asarray((charts["counts"] & charts["turns_inside"]).values)


def _worst(chart: xr.Dataset) -> str:
    """At how many rates, and the harm at the one where most is lost."""
    shown = _shown(chart)
    rates, excess = chart["learning_rate"].values, chart["excess"].median("seed").values
    at = int(np.argmax(np.where(shown, excess, -np.inf)))
    cell = chart.isel(learning_rate=at)
    steps, harm = (float(cell[name].median("seed")) for name in ("inflection_steps", "harm"))
    tuned = cell["finetune_loss_after"].median("seed")
    kept = float(tuned.isel(pretrain_steps=-1) / tuned.sel(pretrain_steps=steps, method="nearest"))
    gained = f"; fine-tuning loss x {kept:.2g}" if np.isfinite(kept) else ""
    return (
        f"at {shown.sum()} of {len(rates)} rates, worst at {rates[at]:.2g}: beyond {steps:.0f} steps {change(harm)}, "
        f"{excess[at]:+.2f} of zero{gained}"
    )


def _others(real: xr.Dataset, shown: list[str]) -> list[str]:
    """The shifts on which nothing counts, by what happens instead."""
    groups: dict[str, list[str]] = {}
    for name in map(str, real["shift"].values):
        if name not in shown:
            groups.setdefault(_instead(real.sel(shift=name)), []).append(name)
    told = [f"{', '.join(names)} ({what}{_most(real, names, what)})" for what, names in groups.items()]
    return ["  not: " + "; ".join(told)] if told else []


def _instead(chart: xr.Dataset) -> str:
    """Why a shift does not count."""
    lost = lost_lanes(chart).any(("pretrain_steps", "seed")).values
    if lost.all():
        return "unstable"
    unstable = f", unstable at {lost.sum()} of {lost.size} rates" if lost.any() else ""
    if bool(chart["counts"].any()):
        return "rises from the first budget on" + unstable
    if chart["inflection_steps"].isnull().all():
        return "no turn" + unstable
    return _TOO_LITTLE + unstable


def _most(real: xr.Dataset, names: list[str], what: str) -> str:
    """The largest harm and excess of shifts that turn."""
    if not what.startswith(_TOO_LITTLE):
        return ""
    charts = real.sel(shift=names)
    harm, excess = (charts[name].values[np.isfinite(charts[name].values)] for name in ("harm", "excess"))
    return f": {change(float(harm.max()))}, {excess.max():.1g} of zero at most" if harm.size and excess.size else ""


def _theory(data: xr.Dataset, first: str) -> list[str]:
    """What fine-tuning to convergence predicts, against idealised checkpoints, or else the first kind, at each rate."""
    most = data["overshoot"].max("mode").values
    kind = "idealised" if "idealised" in data["checkpoints"].values else first
    chart, names, rates = data.sel(checkpoints=kind), data["shift"].values, data["learning_rate"].values
    right = (chart["counts"].values == (most > 2)[:, None]).sum(axis=0)
    lost = _lost(chart).any(axis=0)
    harmful, slight = (", ".join(names[keep]) or "none" for keep in (most > 2, (most > 1) & (most <= 2)))
    lines = [f"Fine-tuning to convergence overshoots a learned mode more than twice on: {harmful}; less on: {slight}."]
    if lost.all():
        return [*lines, f"  Runs are unstable at every rate ({kind} checkpoints): nothing follows on theory."]
    full = ~lost & (right == len(names))
    told = []
    if full.any():
        told.append(f"harm on the former only, as theory has it, at {listed(rates[full])}")
    if (rest := ~lost & ~full).any():
        counts = " ".join(map(str, right[rest]))
        told.append(f"theory is right on {counts} of {len(names)} shifts at the rates in turn {listed(rates[rest])}")
    if lost.any():
        told.append(f"runs are unstable at {listed(rates[lost])}")
    return [*lines, f"  From {kind} checkpoints: {'; '.join(told)}."]


def _rates(real: xr.Dataset, shown: list[str]) -> list[str]:
    """Whether a larger rate turns earlier, of neighbouring rates that both count; stages give equal turns, refined."""
    earlier = pairs = 0
    for name in shown:
        chart = real.sel(shift=name)
        keep, steps = _shown(chart), chart["inflection_steps"].median("seed").values
        both = keep[1:] & keep[:-1]
        pairs += int(both.sum())
        earlier += int((both & (steps[1:] <= 1.01 * steps[:-1])).sum())
    return (
        [f"A larger rate turns earlier, or within 1 % as late, on {earlier} of {pairs} pairs of neighbouring rates."]
        if pairs
        else []
    )


def _finetuning(real: xr.Dataset) -> str:
    """Whether the fine-tuning loss turns as well."""
    counts = real["finetune_inflection_steps"].notnull().all("seed")
    names = [str(name) for name in real["shift"].values[counts.any("learning_rate").values]]
    lost = _lost(real)
    if not names and lost.all():
        return "Nothing follows on the fine-tuning loss: runs are unstable."
    if not names and lost.any():
        return "The fine-tuning loss does not turn by as much where all runs are stable; elsewhere nothing follows."
    if not names:
        return "The fine-tuning loss does not turn by as much on any shift: longer pre-training does not cost it."
    return f"The fine-tuning loss turns by as much on: {', '.join(names)}."


def _closed_form(real: xr.Dataset) -> str:
    """How near the closed form is, where there is one."""
    if "predicted_pretrain_loss_after" not in real or real["predicted_pretrain_loss_after"].isnull().all():
        return "There is no closed form here."
    off = abs(real["pretrain_loss_after"] / real["predicted_pretrain_loss_after"] - 1)
    keep = real["counts"] & real["turns_inside"]
    ratio = abs(real["inflection_steps"] / real["predicted_inflection_steps"] - 1).where(keep)
    turn = f", and {float(ratio.max()):.1%} or less in where the curves turn" if ratio.notnull().any() else ""
    return f"Closed form and simulation differ by {float(off.median()):.2%} in the loss (median){turn}."
