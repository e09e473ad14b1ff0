"""The conclusion of the experiment, computed from its result."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..words import wrapped

_FALL = 1e-9
"""Largest relative fall from budget to budget that passes as rounding."""
_BUDGETS = 3
"""Fewer budgets tell nothing about turns."""
_ROUNDING = 4
"""Rounding of a loss, in units of the precision times the largest loss; with some room."""
_RESOLVED = 10
"""Standard errors below this many roundings tell nothing: losses of the solver carry its precision, samples float64."""
_NAMES = {
    "identity": "e^-tau I",
    "aligned": "the aligned start",
    "balanced": "the balanced start",
    "gaussian": "the Gaussian start",
}


def summarise(dataset: xr.Dataset) -> str:
    """Growth, turns, agreement with the closed form, stages, soft threshold and samples, a line each."""
    if dataset.sizes["pretrain_steps"] < _BUDGETS:
        return "\n".join(["Too few budgets to tell: growth and turns take at least 3.", *_of_samples(dataset)])
    lines = [line for start in dataset["start"].values for line in _of_start(dataset.sel(start=start), str(start))]
    lines += [*_of_stages(dataset), *_of_samples(dataset)]
    without = [told for told in dataset.attrs["prediction"].split("\n") if ": none" in told]
    lines += [f"No closed form from {told.replace(': none', '')}." for told in without]
    return "\n".join(map(wrapped, lines))


def named(start: str) -> str:
    """A start in words."""
    return _NAMES.get(start, start)


def distinct(runs: Float[np.ndarray, "seeds _"]) -> list[int]:
    """The seeds whose runs are equal to no earlier seed's: one of a start that draws nothing."""
    return sorted(np.unique(runs, axis=0, return_index=True)[1].tolist())


def _of_start(part: xr.Dataset, start: str) -> list[str]:
    if not np.isfinite(part["pretrain_loss"].values).all():
        return [f"From {named(start)} pre-training diverged: no conclusion."]
    lines, part = [], part.isel(seed=distinct(part["pretrain_loss"].transpose("seed", ...).values))
    for kind in ("absolute", "relative"):
        told = f"{_growth(part, kind)}; {_turns(part, kind)}{_error(part, kind)}"
        lines.append(f"From {named(start)}, {kind} noise: {told}.")
    return lines


def _growth(part: xr.Dataset, kind: str) -> str:
    rise = part[f"sensitivity_{kind}"].transpose("pretrain_steps", "seed", f"{kind}_noise").values
    before, after = rise[:-1], rise[1:]
    falls = np.divide(before - after, before, out=np.zeros_like(before), where=before > 0).max(initial=0.0)
    never = (
        "sensitivity never falls"
        if falls <= _FALL
        else f"sensitivity FALLS, by up to {100 * falls:.2g} % between budgets"
    )
    first, last = np.median(rise[0], axis=0), np.median(rise[-1], axis=0)
    if not (first > 0).all():
        return f"{never}, and grows from 0 to {_range(last)}"
    return f"{never}, and grows {_range(last / first)} times"


def _turns(part: xr.Dataset, kind: str) -> str:
    steps, harm = part[f"inflection_{kind}"].values, part[f"harm_{kind}"].values
    turned = np.isfinite(steps)
    if not turned.any():
        return "the loss under noise never turns up"
    scales = part[f"{kind}_noise"].values
    ends = []
    for at in np.flatnonzero(turned.any(axis=0))[[0, -1]]:
        place, cost = np.median(steps[turned[:, at], at]), np.median(harm[turned[:, at], at])
        ends.append(f"{place:,.0f} steps at {scales[at]:g} (harm {cost:.2g})")
    places = " to ".join(dict.fromkeys(ends))
    return f"the loss under it turns up in {turned.sum()} of {turned.size} curves, at {places}"


def _error(part: xr.Dataset, kind: str) -> str:
    known = part[f"predicted_loss_{kind}"].notnull()
    if not bool(known.any()):
        return ""
    off = float(np.abs(part[f"loss_{kind}"] / part[f"predicted_loss_{kind}"] - 1).max())
    said = f"; closed form and simulation differ by up to {off:.2g} of the loss"
    ratio = np.abs((part[f"inflection_{kind}"] / part[f"predicted_inflection_{kind}"]).values - 1)
    same = part[f"inflection_{kind}"].isnull().values == part[f"predicted_inflection_{kind}"].isnull().values
    if np.isfinite(ratio).any():
        said += f", by up to {np.nanmax(ratio):.2g} of the inflection point"
    return said + ("" if same.all() else f", and on whether {np.count_nonzero(~same)} curves turn")


def _of_stages(dataset: xr.Dataset) -> list[str]:
    """How early stopping compares with n* and with the soft threshold."""
    if "useful_absolute" not in dataset:
        return ["No thresholds: they are for two layers and whitened inputs."]
    lines, sigma = [], dataset["strengths"].values
    for kind in ("absolute", "relative"):
        part = dataset.isel(start=0)
        strengths = part[f"stopped_strengths_{kind}"].transpose("seed", f"{kind}_noise", "mode").values
        turned = np.isfinite(strengths).all(axis=(0, 2))
        if not turned.any():
            continue
        counted = np.median((strengths[:, turned] > sigma / 2).sum(axis=-1), axis=0)
        off = np.abs(counted - part[f"useful_{kind}"].values[turned])
        gap, least = loss_gap(part, kind)
        worst = int(np.nanargmax(gap))
        most = np.abs(strengths - part[f"best_strengths_{kind}"].values[None]).max(axis=(0, 2))
        scale = part[f"{kind}_noise"].values
        lines.append(
            f"At the inflection under {kind} noise n* modes are half learned at {np.count_nonzero(off < 0.5)} of "
            f"{turned.sum()} scales, at most {off.max():.0f} more or fewer at the others. Early stopping is no soft "
            f"threshold: it leaves up to {gap[worst]:.1%} more loss (scale {scale[worst]:g}; {least[worst]:.3g} with "
            f"the best strengths, less what no weights change), and a mode up to {np.nanmax(most):.2g} off."
        )
    return lines


def loss_gap(part: xr.Dataset, kind: str) -> tuple[Float[np.ndarray, " scales"], Float[np.ndarray, " scales"]]:
    """Least loss along pre-training over that of the best strengths, minus 1, and the latter; without the constant."""
    best, constant = part[f"best_loss_{kind}"].values, part[f"constant_{kind}"].values
    stopped = np.median(part[f"loss_{kind}"].min("pretrain_steps").transpose("seed", f"{kind}_noise").values, axis=0)
    return (stopped - constant) / best - 1, best


def _of_samples(dataset: xr.Dataset) -> list[str]:
    if "sampled_absolute" not in dataset:
        return []
    off, exactly = [], []
    rounding = _ROUNDING * float(np.finfo(dataset.attrs["precision"]).eps)
    for kind in ("absolute", "relative"):
        exact = dataset[f"loss_{kind}"].isel(seed=0, drop=True).sel(pretrain_steps=dataset["sampled_steps"].values)
        exact = exact.rename(pretrain_steps="sampled_steps")
        sampled, error = dataset[f"sampled_{kind}"], dataset[f"sampled_{kind}_error"]
        largest = dataset["pretrain_loss"].isel(seed=0, drop=True).max("pretrain_steps")
        units, resolved = xr.broadcast((sampled - exact) / error, error > _RESOLVED * rounding * largest)
        off.append(units.values.ravel())
        exactly.append(resolved.values.ravel())
    kept = np.concatenate(exactly) & np.isfinite(np.concatenate(off))
    units, lost = np.concatenate(off)[kept], int(np.count_nonzero(np.isfinite(np.concatenate(off)) & ~kept))
    left = (
        f"{lost} means of samples are left out: rounding in {dataset.attrs['precision']} drowns their standard error."
    )
    if not units.size:
        return [left] if lost else []
    return [
        *([left] if lost else []),
        f"{units.size} means of {dataset.attrs['samples']} samples differ from the exact ones by {np.std(units):.2f} "
        f"standard errors (root mean square), {np.abs(units).max():.1f} at most.",
    ]


def _range(values: Float[np.ndarray, " _"]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:,.3g}" if high < 1.005 * low else f"{low:,.3g} to {high:,.3g}"
