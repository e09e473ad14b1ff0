"""What fine-tuning at fixed rates found, in a dozen lines computed from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..words import wrapped

_FEWEST = 3
"""Budgets that a turn takes."""
_TOO_LITTLE = "too little"


def summarise(dataset: xr.Dataset) -> str:
    """Where more pre-training hurts and by how much, where not, what theory named, and the fine-tuning loss."""
    data = dataset.isel(regularization=0)
    kind = str(data["checkpoints"].values[0])
    real, seeds = data.sel(checkpoints=kind), data.sizes["seed"]
    shown = [str(name) for name in real["shift"].values if _shown(real.sel(shift=name)).any()]
    drawn = "1 seed" if seeds == 1 else f"{seeds} seeds"
    lines = []
    if data.sizes["pretrain_steps"] < _FEWEST:
        lines.append("Too few budgets to tell whether more pre-training hurts after fine-tuning at a fixed rate.")
    elif not shown and _lost(real).all():
        lines.append("Runs diverged on every shift at every rate: nothing follows.")
    else:
        harm, excess = data.attrs["least_harm"], data.attrs["least_excess"]
        lines += [
            f"More pre-training hurts after fine-tuning at a fixed rate on {len(shown)} of {data.sizes['shift']} "
            f"shifts ({kind} checkpoints, {drawn}): every seed turns within the budgets and ends at least {harm:.0%} "
            f"and {excess:.1%} of the zero network's loss above its best; by rate, {_range(real)}: {_by_rate(real)}.",
            *(f"  {name}: {_worst(real.sel(shift=name))}" for name in shown),
            *_others(real, shown),
            *_theory(data, kind),
            *_rates(real, shown),
            _finetuning(real),
            _closed_form(real),
        ]
    if diverged := int(data["diverged"].sum()):
        lines.append(f"{diverged} of {data['diverged'].size} fine-tuning runs diverged.")
    return "\n".join(map(wrapped, lines))


def _range(real: xr.Dataset) -> str:
    rates = real["learning_rate"].values
    return f"{rates[0]:.2g}" if len(rates) == 1 else f"{rates[0]:.2g} to {rates[-1]:.2g}"


def _by_rate(real: xr.Dataset) -> str:
    """On how many shifts it hurts at every rate, and on how many others runs diverged."""
    shown = _shown(real)
    lost = (_lost(real) & ~shown).sum(axis=0)
    pairs = zip(shown.sum(axis=0), lost, strict=True)
    return ", ".join(f"{count} ({diverged} diverged)" if diverged else str(count) for count, diverged in pairs)


def _lost(charts: xr.Dataset) -> np.ndarray:
    """Whether any run diverged, by shift and rate."""
    diverged = charts["diverged"].any(("pretrain_steps", "seed"))
    return np.asarray(diverged.transpose(..., "shift", "learning_rate").values)


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
        f"at {shown.sum()} of {len(rates)} rates, worst at {rates[at]:.2g}: beyond {steps:.0f} steps {_percent(harm)}, "
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
    lost = chart["diverged"].any(("pretrain_steps", "seed")).values
    if lost.all():
        return "diverged"
    diverged = f", diverged at {lost.sum()} of {lost.size} rates" if lost.any() else ""
    if bool(chart["counts"].any()):
        return "rises from the first budget on" + diverged
    if chart["inflection_steps"].isnull().all():
        return "no turn" + diverged
    return _TOO_LITTLE + diverged


def _most(real: xr.Dataset, names: list[str], what: str) -> str:
    """The largest harm and excess of shifts that turn."""
    if not what.startswith(_TOO_LITTLE):
        return ""
    charts = real.sel(shift=names)
    harm, excess = (charts[name].values[np.isfinite(charts[name].values)] for name in ("harm", "excess"))
    return f": {_percent(float(harm.max()))}, {excess.max():.1g} of zero at most" if harm.size and excess.size else ""


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
        return [*lines, f"  Runs diverged at every rate ({kind} checkpoints): nothing follows on theory."]
    full = ~lost & (right == len(names))
    told = []
    if full.any():
        told.append(f"harm on the former only, as theory has it, at {_listed(rates[full])}")
    if (rest := ~lost & ~full).any():
        counts = " ".join(map(str, right[rest]))
        told.append(f"theory is right on {counts} of {len(names)} shifts at the rates in turn {_listed(rates[rest])}")
    if lost.any():
        told.append(f"runs diverged at {_listed(rates[lost])}")
    return [*lines, f"  From {kind} checkpoints: {'; '.join(told)}."]


def _listed(rates: np.ndarray) -> str:
    return ", ".join(f"{rate:.2g}" for rate in rates)


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
    least_harm, least = real.attrs["least_harm"], real.attrs["least_excess"]
    counts = ((real["finetune_harm"] >= least_harm) & (real["finetune_excess"] >= least)).all("seed")
    names = [str(name) for name in real["shift"].values[counts.any("learning_rate").values]]
    lost = _lost(real)
    if not names and lost.all():
        return "Nothing follows on the fine-tuning loss: runs diverged."
    if not names and lost.any():
        return "The fine-tuning loss does not turn by as much where no run diverged; elsewhere nothing follows."
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


def _percent(harm: float) -> str:
    if not np.isfinite(harm):
        return "diverges"
    return f"{100 * harm:+.{0 if harm >= 0.1 else 1 if harm >= 0.01 else 2}f} %"
