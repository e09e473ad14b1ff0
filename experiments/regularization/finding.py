"""What regularisers do to harm and at what price, and whether harm is left at equal fine-tuning loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.labels import counted_harm

from ..words import (
    FEWEST_BUDGETS,
    NEGLIGIBLE,
    between_budgets,
    counted,
    distrust,
    diverged,
    joined,
    part,
    percent,
    rechecked,
    undecided,
)

RATES = 8
"""Between fewer rates, fronts are too far above the best ones to tell harm at equal fine-tuning loss."""


def find(dataset: xr.Dataset) -> Finding:
    """Harm without a penalty at a fixed rate, and how many curves over the budget turn up at equal fine-tuning loss.

    Not seen where the longest budget ends less than 1 % above the best at every rate and nearly all curves are
    resolved, so that there is nothing to regularise; nobody can tell where every run without a penalty diverged or is
    unstable, or where turns may lie between budgets.
    """
    details, trust = (*_details(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    without = dataset.isel(checkpoints=0, regularizer=0, regularization=0)
    harm, curves = counted_harm(without).median("seed"), without["harm"].notnull()
    resolved = int((without["resolved"] & curves).sum())
    finite = harm.where(np.isfinite(harm))
    worst = float(finite.max()) if finite.notnull().any() else np.nan
    known, turned = _curves(dataset)
    numbers = {"harm at a fixed rate": worst, "curves": int(known.sum()), "turn up": int(turned.sum())}
    start = f"At a fixed rate the longest budget ends {percent(worst)} above the best"
    verdict: Verdict = "seen"
    if np.isnan(worst):
        start, verdict = "Every run without a penalty diverged or is unstable", "cannot tell"
    elif worst < NEGLIGIBLE and (unsure := between_budgets(int(curves.sum()), resolved, "curves without a penalty")):
        start, verdict = unsure, "cannot tell"
    elif worst < NEGLIGIBLE:
        start, verdict = "At no fixed rate does more pre-training hurt", "not seen"
    said, counts = _of_family(dataset)
    told = f"{start}; {_at_equal_loss(dataset, known, turned)}{said}"
    return Finding(told, verdict, numbers | counts, details, trust)


def _of_family(dataset: xr.Dataset) -> tuple[str, dict[str, float]]:
    """Whether the longest budget is the best on drawn tasks too, by the kind of task, and for whom it is not."""
    harm = dataset["family_harm"]
    known, turned = harm.notnull(), harm > NEGLIGIBLE
    numbers: dict[str, float] = {}
    cells = []
    for at, kind in enumerate(("amplified", "removed")):
        counts = int(turned.isel(family=at).sum()), int(known.isel(family=at).sum())
        numbers |= {f"{kind} turn": counts[0], f"{kind} curves": counts[1]}
        cells.append("{} of {}".format(*counts))
    amplified, removed = (numbers[f"{kind} turn"] for kind in ("amplified", "removed"))
    if not amplified and not removed:
        return f"; so it is in all {int(known.sum())} curves of drawn tasks", numbers
    numbers["drawn harm"] = float(harm.where(turned).max())
    worst, which = percent(numbers["drawn harm"]), turned.any(["family", "drawn", "family_target"])
    whom = "" if which.all() else f" by {joined(list(harm['family_method'].values[which.values]))}"
    told = (
        f"of drawn tasks {cells[0]} curves turn up where features are only amplified, {cells[1]} where some are removed"
    )
    return f"; {told}, up to {worst}{whom}", numbers


def _at_equal_loss(dataset: xr.Dataset, known: xr.DataArray, turned: xr.DataArray) -> str:
    """How many curves turn up there, or for whom the longest budget is the best."""
    equal = "at equal fine-tuning loss"
    if not np.isfinite(dataset["matched_harm"]).any():
        return "no method reaches the fine-tuning losses to compare at"
    if not known.any():
        return f"{equal} no curve is known at every budget"
    if turned.any():
        rates = dataset.sizes["learning_rate"]
        coarse = f" ({counted(rates, 'rate')} are too coarse a grid to tell)" if rates < RATES else ""
        return f"{equal} {int(turned.sum())} of {int(known.sum())} curves over the budget turn up{coarse}"
    each = known.any([dim for dim in known.dims if dim != "method"]).values
    best = f"{equal} it is the best for {'every method' if each.all() else counted(int(each.sum()), 'method')}"
    loss = dataset["matched_pretrain_loss"].isel(checkpoints=0, pretrain_steps=-1, target=dataset.sizes["target"] // 2)
    middle = loss.median("seed").values
    if np.isnan(middle).all():
        return best
    return f"{best}, and lowest with the {_names(dataset['method'])[int(np.nanargmin(middle))]}"


def _details(dataset: xr.Dataset) -> Iterator[str]:
    """What every regulariser does to harm and at what price, and who is best at equal fine-tuning loss."""
    yield f"{dataset.attrs['finetune_steps']} steps of fine-tuning; {_converged(dataset)}"
    for kind, name in enumerate(map(str, dataset["checkpoints"].values)):
        rate = dataset.attrs["converged_rate" if name == "idealised" else "harmful_rate"]
        shown = dataset.isel(checkpoints=kind).sel(learning_rate=rate, method="nearest")
        budget = int(dataset["pretrain_steps"][-1])
        yield f"Harm of {budget} steps of pre-training, {name} checkpoints, rate {rate:.2g}:"
        yield from (f"  {line}" for line in _by_regularizer(shown, name))
        if name == "real":
            yield from _created(dataset.isel(checkpoints=kind))
    yield from _matched(dataset)


def _curves(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Which curves over the budget at equal fine-tuning loss are known at every budget, and which of them turn up."""
    known = dataset["matched_pretrain_loss"].notnull().all("pretrain_steps")
    return known, (dataset["matched_harm"] > NEGLIGIBLE) & known


def _created(real: xr.Dataset) -> list[str]:
    """Where a penalty makes harm larger than it is without, at the converged rate."""
    rate = real.attrs["converged_rate"]
    harms = counted_harm(real).sel(learning_rate=rate, method="nearest").median("seed")
    harm = np.nan_to_num(harms.values, posinf=np.nan)
    if harm.shape[1] < 2 or not np.any(harm.max(axis=1) > harm[:, 0] + NEGLIGIBLE):
        return []
    worst = [
        f"{name} {percent(row[0])} to {percent(row.max())}"
        for name, row in zip(_names(real["regularizer"]), harm, strict=True)
    ]
    return [
        f"  At rate {rate:.2g} regularisers create harm, from the smallest to the worst strength: {', '.join(worst)}."
    ]


def _converged(dataset: xr.Dataset) -> str:
    """Which cells have reached the limits that the theory speaks of."""
    if dataset.attrs["limits"] != "closed form":
        return f"limits in closed form: {dataset.attrs['limits']}."
    near = dataset["converged"]
    counts = near.sum(("learning_rate", "regularization")).values
    told = ", ".join(f"{name} {count}" for name, count in zip(_names(dataset["regularizer"]), counts, strict=True))
    size = near.sizes["learning_rate"] * near.sizes["regularization"]
    listed = list(map(str, dataset["regularizer"].values))
    if "product_penalty" not in listed:
        return f"of {size} cells have converged: {told}."
    within = int((near[listed.index("product_penalty")] & dataset["guaranteed"]).sum())
    return (
        f"of {size} cells have converged: {told} ({within} of the product penalty's within 4 eta (lambda+2) Gamma < 1)."
    )


def _by_regularizer(shown: xr.Dataset, kind: str) -> list[str]:
    """A line for each regulariser: harm, inflection, price."""
    strengths, lines = shown["regularization"].values, []
    away = shown.attrs["untuned_finetune_loss"]
    for at, name in enumerate(_names(shown["regularizer"])):
        harm = np.median(np.nan_to_num(counted_harm(shown)[at].values, nan=np.inf, posinf=np.inf), axis=-1)
        if np.isinf(harm).all():
            lines.append(f"{name}: unstable at every strength")
            continue
        first = _harmless_from(harm)
        told = f"{name}: {percent(harm[0])} at strength {strengths[0]:.2g}, "
        if first is None:
            told += f"{percent(harm[-1])} at {strengths[-1]:.3g}"
        else:
            cost = np.median(shown["finetune_loss_after"][at, -1, first].values) / away
            told += f"none from {strengths[first]:.2g} on, where {part(cost)} of the fine-tuning loss is left"
        turn = np.median(shown["inflection_steps"][at].values, axis=-1)
        known = np.flatnonzero(np.isfinite(turn))
        if kind == "real" and len(known) > 1:
            told += f"; the inflection goes from {turn[known[0]]:.0f} to {turn[known[-1]]:.0f} steps"
        theory, limit = float(shown["threshold"][at]), _harmless_from(shown["limit_harm"][at].values)
        if kind == "idealised" and np.isfinite(theory):
            said = "at none" if limit is None else f"{strengths[limit]:.2g}"
            told += f" (in closed form {said}; no mode is net harm from {theory:.3g} on)"
        lines.append(told)
    return lines


def _harmless_from(harm: np.ndarray) -> int | None:
    """The first strength from which harm stays negligible, if there is one."""
    harmful = np.flatnonzero(~(harm < NEGLIGIBLE))
    first = int(harmful[-1]) + 1 if len(harmful) else 0
    return first if first < len(harm) else None


def _matched(dataset: xr.Dataset) -> list[str]:
    """Who is best at equal fine-tuning loss, and whether the longest budget is best there."""
    if not np.isfinite(dataset["matched_pretrain_loss"]).any():
        return ["No method reaches any of the fine-tuning losses to compare at."]
    many = dataset.sizes["pretrain_steps"] >= FEWEST_BUDGETS
    lines = _turns(dataset) if many else ["At equal fine-tuning loss: too few budgets to tell."]
    middle = dataset.sizes["target"] // 2
    at = dataset.isel(target=middle, checkpoints=0, pretrain_steps=-1)
    values = np.median(at["matched_pretrain_loss"].values, axis=-1)
    each = [
        f"{name} {value:.3g}" if np.isfinite(value) else f"{name} not reached"
        for name, value in zip(_names(dataset["method"]), values, strict=True)
    ]
    least = f"Least pre-training loss at fine-tuning loss {float(at['matched_finetune_loss']):.3g}, largest budget: "
    bound = float(at["bound_pretrain_loss"])
    lines.append(least + ", ".join(each) + (f"; no network is below {bound:.3g}." if np.isfinite(bound) else "."))
    asked, kind = float(dataset["common_finetune_loss"].isel(checkpoints=0).median()), dataset["checkpoints"].values[0]
    if many and np.isfinite(asked):
        curves = dataset["common_pretrain_loss"].isel(checkpoints=0).median("seed").values
        longest = int(np.sum(curves[:, -1] <= (1 + NEGLIGIBLE) * np.nanmin(curves, axis=1)))
        rule = f"All methods reach fine-tuning loss {asked:.3g} from every budget ({kind} checkpoints)"
        lines.append(f"{rule}; there the longest budget is the best for {longest} of {len(curves)} methods.")
    return lines


def _turns(dataset: xr.Dataset) -> list[str]:
    """How many curves over the budget at equal fine-tuning loss turn up, of those known at every budget."""
    known = dataset["matched_pretrain_loss"].notnull().all("pretrain_steps")
    harm = dataset["matched_harm"].transpose(*known.dims).where(known)
    counted, partly = int(known.sum()), dataset["matched_harm"].notnull() & ~known
    others = f"; {_by_kind(partly, 'more')}, reached from some budgets only, are not counted" if partly.any() else ""
    if not counted:
        return [f"No curve at equal fine-tuning loss is known at every budget{others}: nothing follows on turns."]
    turned = int((harm > NEGLIGIBLE).sum())
    told = (
        f"At equal fine-tuning loss {turned} of {_by_kind(known, 'curves')} known at every budget end in harm above 1 %"
    )
    if not turned:
        alone = [name for name in known["method"].values if name == "rate alone" and known.sel(method=name).any()]
        also = ", by a smaller rate alone too" if alone else ""
        return [f"{told}: there the longest budget is the best{also}{others}."]
    worst = harm.isel(harm.argmax(...))
    where = f"{str(worst['method'].values).replace('_', ' ')}, {worst['checkpoints'].values} checkpoints"
    lines = [f"{told}, the largest {percent(float(worst))} ({where}){others}."]
    rates = dataset.sizes["learning_rate"]
    if rates < RATES:
        lines.append(f"A grid this coarse ({rates} rates) shows harm that is not there: take at least {RATES} rates.")
    return lines


def _by_kind(chosen: xr.DataArray, noun: str) -> str:
    """How many curves, of which kinds of checkpoints."""
    counts = chosen.sum([name for name in chosen.dims if name != "checkpoints"])
    kinds = [f"{int(count)} {name}" for name, count in zip(counts["checkpoints"].values, counts, strict=True) if count]
    return f"{int(chosen.sum())} {noun} ({', '.join(kinds)})"


def _names(axis: xr.DataArray) -> list[str]:
    return [str(name).replace("_", " ") for name in axis.values]
