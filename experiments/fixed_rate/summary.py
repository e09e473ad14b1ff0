"""What fine-tuning at fixed rates found, in a dozen lines computed from the result alone."""

from __future__ import annotations

import numpy as np
import xarray as xr


def summarise(dataset: xr.Dataset) -> str:
    """Where more pre-training hurts and by how much, where not, what theory named, and the fine-tuning loss."""
    data = dataset.isel(regularization=0)
    kind = str(data["checkpoints"].values[0])
    real, seeds = data.sel(checkpoints=kind), data.sizes["seed"]
    shown = [str(name) for name in real["shift"].values if _shown(real.sel(shift=name)).any()]
    drawn = "1 seed" if seeds == 1 else f"{seeds} seeds"
    harm, excess = data.attrs["least_harm"], data.attrs["least_excess"]
    lines = [
        f"More pre-training hurts after fine-tuning at a fixed rate on {len(shown)} of {data.sizes['shift']} shifts "
        f"({kind} checkpoints, {drawn}): every seed turns",
        f"within the budgets, and ends {harm:.0%} or more above its best and {excess:.1%} or more of the loss of the "
        "zero network.",
        f"By rate, from {_range(real)}: {' '.join(map(str, _shown(real).sum(axis=0)))} of {data.sizes['shift']}.",
        *(f"  {name}: {_worst(real.sel(shift=name))}" for name in shown),
    ]
    others = [str(name) for name in real["shift"].values if name not in shown]
    if others:
        lines.append("  not: " + "; ".join(f"{name} ({_least(real.sel(shift=name))})" for name in others))
    lines += [*_theory(data, kind), *_rates(real, shown), _finetuning(real), _closed_form(real)]
    if diverged := int(data["diverged"].sum()):
        lines.append(f"{diverged} of {data['diverged'].size} fine-tuning runs diverged.")
    return "\n".join(lines)


def _range(real: xr.Dataset) -> str:
    rates = real["learning_rate"].values
    return f"{rates[0]:.2g}" if len(rates) == 1 else f"{rates[0]:.2g} to {rates[-1]:.2g}"


def _shown(charts: xr.Dataset) -> np.ndarray:
    return np.asarray((charts["counts"] & charts["turns_inside"]).values)


def _worst(chart: xr.Dataset) -> str:
    """At which rates, and the harm at the one where most is lost."""
    shown = _shown(chart)
    rates, excess = chart["learning_rate"].values, chart["excess"].median("seed").values
    at = int(np.argmax(np.where(shown, excess, -np.inf)))
    cell = chart.isel(learning_rate=at)
    steps, harm = (float(cell[name].median("seed")) for name in ("inflection_steps", "harm"))
    which = f"{shown.sum()} of {len(rates)} rates"
    tuned = cell["finetune_loss_after"].median("seed")
    kept = float(tuned.isel(pretrain_steps=-1) / tuned.sel(pretrain_steps=steps, method="nearest"))
    gained = f"; fine-tuning loss there is {kept:.2g} of that at the turn" if np.isfinite(kept) else ""
    return f"{which}; at {rates[at]:.2g} beyond {steps:.0f} steps {_percent(harm)}, {excess[at]:+.2f} of zero{gained}"


def _least(chart: xr.Dataset) -> str:
    """Why a shift does not count."""
    excess, harm = chart["excess"].values, chart["harm"].values
    if not np.isfinite(harm).any():
        return "diverged"
    if bool(chart["counts"].any()):
        return "rises from the first budget on"
    if chart["inflection_steps"].isnull().all():
        return "no turn"
    turned = int(chart["inflection_steps"].notnull().all("seed").sum())
    most = np.nanmax(np.where(np.isfinite(excess), excess, np.nan))
    where = f"all seeds turn at {turned} of {len(harm)} rates" if turned else "some seeds turn"
    return f"{where}, {_percent(float(np.nanmax(harm)))}, {most:.1g} of zero at most"


def _theory(data: xr.Dataset, first: str) -> list[str]:
    """What fine-tuning to convergence predicts, against idealised checkpoints, or else the first kind, at each rate."""
    most = data["overshoot"].max("mode").values
    kind = "idealised" if "idealised" in data["checkpoints"].values else first
    right = (data["counts"].sel(checkpoints=kind).values == (most > 2)[:, None]).sum(axis=0)
    names = data["shift"].values
    harmful, slight = (", ".join(names[keep]) or "none" for keep in (most > 2, (most > 1) & (most <= 2)))
    told = " ".join(map(str, right))
    return [
        f"Fine-tuning to convergence overshoots the best of a learned mode more than twice on: {harmful}; less on: "
        f"{slight}.",
        f"  Harm on the former only, as theory has it: {told} of {len(names)} shifts at the rates in turn, "
        f"{kind} checkpoints.",
    ]


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
