"""The conclusion on regularisers, from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

HARM = 0.01
"""Harm below this is called none."""
BUDGETS = 3
"""Fewer budgets tell nothing about turns."""
RATES = 8
"""Between fewer rates, fronts are too far above the best ones to tell harm at equal fine-tuning loss."""


def summarise(dataset: xr.Dataset) -> str:
    """What every regulariser does to harm and at what price, and who is best at equal fine-tuning loss."""
    lines = [f"{dataset.attrs['finetune_steps']} steps of fine-tuning; {_converged(dataset)}"]
    for kind, name in enumerate(map(str, dataset["checkpoints"].values)):
        rate = dataset.attrs["converged_rate" if name == "idealised" else "harmful_rate"]
        shown = dataset.isel(checkpoints=kind).sel(learning_rate=rate, method="nearest")
        lines.append(
            f"Harm of {int(dataset['pretrain_steps'][-1])} steps of pre-training, {name} checkpoints, rate {rate:.2g}:"
        )
        lines += [f"  {line}" for line in _by_regularizer(shown, name)]
        if name == "real":
            lines += _created(dataset.isel(checkpoints=kind))
    return "\n".join([*lines, *_matched(dataset)])


def _created(real: xr.Dataset) -> list[str]:
    """Where a penalty makes harm larger than it is without, at the converged rate."""
    rate = real.attrs["converged_rate"]
    harm = np.nan_to_num(real["harm"].sel(learning_rate=rate, method="nearest").median("seed").values, posinf=np.nan)
    if harm.shape[1] < 2 or not np.any(harm.max(axis=1) > harm[:, 0] + HARM):
        return []
    worst = [
        f"{name} {_percent(row[0])} to {_percent(row.max())}"
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
        harm = np.median(np.nan_to_num(shown["harm"][at].values, nan=np.inf, posinf=np.inf), axis=-1)
        if np.isinf(harm).all():
            lines.append(f"{name}: diverged at every strength")
            continue
        first = _harmless_from(harm)
        told = f"{name}: {_percent(harm[0])} at strength {strengths[0]:.2g}, "
        if first is None:
            told += f"{_percent(harm[-1])} at {strengths[-1]:.3g}"
        else:
            cost = np.median(shown["finetune_loss_after"][at, -1, first].values) / away
            told += f"none from {strengths[first]:.2g} on, where {cost:.0%} of the fine-tuning loss is left"
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
    harmful = np.flatnonzero(~(harm < HARM))
    first = int(harmful[-1]) + 1 if len(harmful) else 0
    return first if first < len(harm) else None


def _matched(dataset: xr.Dataset) -> list[str]:
    """Who is best at equal fine-tuning loss, and whether the longest budget is best there."""
    if not np.isfinite(dataset["matched_pretrain_loss"]).any():
        return ["No method reaches any of the fine-tuning losses to compare at."]
    many = dataset.sizes["pretrain_steps"] >= BUDGETS
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
        longest = int(np.sum(curves[:, -1] <= (1 + HARM) * np.nanmin(curves, axis=1)))
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
    turned = int((harm > HARM).sum())
    told = (
        f"At equal fine-tuning loss {turned} of {_by_kind(known, 'curves')} known at every budget end in harm above 1 %"
    )
    if not turned:
        alone = [name for name in known["method"].values if name == "rate alone" and known.sel(method=name).any()]
        also = ", by a smaller rate alone too" if alone else ""
        return [f"{told}: there the longest budget is the best{also}{others}."]
    worst = harm.isel(harm.argmax(...))
    where = f"{str(worst['method'].values).replace('_', ' ')}, {worst['checkpoints'].values} checkpoints"
    lines = [f"{told}, the largest {_percent(float(worst))} ({where}){others}."]
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


def _percent(harm: float) -> str:
    if not np.isfinite(harm):
        return "diverged"
    return "0 %" if harm < 5e-4 else f"{100 * harm:.2g} %" if harm < 1 else f"{100 * harm:.0f} %"
