"""Whether sensitivity grows until the loss under noise turns up, and how closed form, stages and samples compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.finding import Finding

from ..words import FEWEST_BUDGETS, between, distrust, joined, percent, rechecked, tabular

Kind = Literal["absolute", "relative"]
KINDS: tuple[Kind, ...] = ("absolute", "relative")
_FALL = 1e-9
"""Largest relative fall from budget to budget that passes as rounding."""
_RESOLVED = 40
"""Standard errors below so many units of the precision times the largest loss tell nothing: losses carry rounding."""


def find(dataset: xr.Dataset) -> Finding:
    """Whether sensitivity never falls along pre-training, and in how many curves the loss under noise turns up.

    Not seen where it falls between any two budgets, or where no curve turns; nobody can tell where budgets are too few
    for a turn, or where no start has a run that is stable.
    """
    said: dict[str, Any] = {"details": tuple(_details(dataset)), "trust": distrust(dataset)}
    if (budgets := dataset.sizes["pretrain_steps"]) < FEWEST_BUDGETS:
        sentence = f"Too few budgets to tell how sensitivity grows and where the loss under noise turns up: {budgets}"
        return Finding(sentence, "cannot tell", **said)
    if not (parts := _runs(dataset)):
        sentence = "Nothing can be said of sensitivity: pre-training diverged or is beyond the edge of stability"
        return Finding(sentence, "cannot tell", **said)
    falls = max(_largest_fall(part[f"sensitivity_{kind}"]) for part in parts for kind in KINDS)
    turned = np.concatenate([part[f"inflection_{kind}"].values.ravel() for part in parts for kind in KINDS])
    harms = {kind: max(float(part[f"harm_{kind}"].max()) for part in parts) for kind in KINDS}
    count = int(np.isfinite(turned).sum())
    said["numbers"] = {"curves": turned.size, "turned": count, "fall": falls}
    said["numbers"] |= {f"harm of {kind} noise": harm for kind, harm in harms.items()}
    grows = f"falls by up to {percent(falls)} between budgets" if falls > _FALL else "never falls along pre-training"
    sentence = f"Sensitivity to noise on the weights {grows}"
    if not count:
        return Finding(f"{sentence}; within these budgets the loss under noise never turns up", "not seen", **said)
    worst = joined([f"{percent(harm)} ({kind} noise)" for kind, harm in harms.items()])
    sentence += f"; under noise the loss turns up in {count} of {turned.size} curves, by up to {worst}"
    return Finding(sentence, "not seen" if falls > _FALL else "seen", **said)


def _runs(dataset: xr.Dataset) -> list[xr.Dataset]:
    """The starts all of whose runs are stable, each without seeds that are equal to earlier ones: some draw nothing."""
    parts = []
    for start in dataset["start"].values:
        part = dataset.sel(start=start)
        curves = part["pretrain_loss"].transpose("seed", "pretrain_steps").values
        if np.isfinite(curves).all() and not part["unstable"].any():
            parts.append(part.isel(seed=np.sort(np.unique(curves, axis=0, return_index=True)[1])))
    return parts


def _largest_fall(rise: xr.DataArray) -> float:
    """From a budget to the next, relative to what there was before."""
    before, after = (rise.isel(pretrain_steps=part).values for part in (slice(None, -1), slice(1, None)))
    return float(np.divide(before - after, before, out=np.zeros_like(before), where=before > 0).max(initial=0.0))


def table(dataset: xr.Dataset) -> list[str]:
    """For each start and kind of noise how sensitivity grows, which curves turn and when, and how far theory is off."""
    heads = ["start", "noise", "grows by", "curves turn", "least scale: steps (harm)", "largest", "closed form off"]
    rows = []
    for part in _runs(dataset):
        for kind in KINDS:
            rise, turned = part[f"sensitivity_{kind}"], part[f"inflection_{kind}"].notnull()
            with np.errstate(divide="ignore", invalid="ignore"):  # idealised checkpoints begin at 0
                grown = between((rise.isel(pretrain_steps=-1) / rise.isel(pretrain_steps=0)).median("seed"))
            ends = part[f"{kind}_noise"].values[turned.any("seed").values][[0, -1]] if turned.any() else [np.nan] * 2
            places = [_turn(part, kind, scale) for scale in ends]
            count = f"{int(turned.sum())} of {turned.size}"
            rows.append([str(part["start"].values), kind, grown, count, *places, _off(part, kind)])
    return tabular(heads, rows) if rows else []


def _turn(part: xr.Dataset, kind: Kind, scale: float) -> str:
    if np.isnan(scale):
        return "none"
    here = part.sel({f"{kind}_noise": scale})
    turned = here[f"inflection_{kind}"].notnull()
    steps, harm = (float(here[f"{name}_{kind}"].where(turned).median()) for name in ("inflection", "harm"))
    return f"{scale:g}: {steps:,.0f} ({percent(harm)})"


def _off(part: xr.Dataset, kind: Kind) -> str:
    """Largest relative differences of the loss and of the inflection point, and curves that turn in one alone."""
    if not part[f"predicted_loss_{kind}"].notnull().any():
        return "none"
    ours, theirs = part[f"inflection_{kind}"], part[f"predicted_inflection_{kind}"]
    off = abs(part[f"loss_{kind}"] / part[f"predicted_loss_{kind}"] - 1).max(), abs(ours / theirs - 1).max()
    told = [percent(float(each)) for each in off if each.notnull()]
    alone = int((ours.isnull() != theirs.isnull()).sum())
    return ", ".join([*told, *[f"{alone} turn in one alone"] * bool(alone)])


def _details(dataset: xr.Dataset) -> Iterator[str]:
    for line in dataset.attrs["prediction"].splitlines():
        _, none, reasons = line.rpartition("none: ")
        if none:
            yield f"No closed form: {reasons.partition(', and ')[0]}."  # of every closed form it is one
    yield from _stages(dataset)
    yield from _samples(dataset)
    yield from rechecked(dataset)


def _stages(dataset: xr.Dataset) -> list[str]:
    """How early stopping compares with n* and with the soft threshold, from the first start."""
    if "best_loss_absolute" not in dataset:
        return ["No thresholds: they are for two layers, whitened inputs and strengths >= 0."]
    part, counts, gaps = dataset.isel(start=0), [], []
    for kind in KINDS:
        strengths = part[f"stopped_strengths_{kind}"]
        turned = strengths.notnull().all(("seed", "mode"))
        if turned.any():
            learned = (strengths > dataset["strengths"] / 2).sum("mode").median("seed")
            same = (abs(learned - part[f"useful_{kind}"]) < 0.5) & turned
            counts.append(f"{int(same.sum())} of {int(turned.sum())} scales of {kind} noise")
            gaps.append(f"{percent(float(loss_gap(part, kind).max()))} ({kind})")
    if not counts:
        return []
    told = f"At the inflection n* modes are half learned at {joined(counts)}; "
    return [f"{told}early stopping leaves up to {joined(gaps)} more loss than the best strengths."]


def loss_gap(part: xr.Dataset, kind: Kind) -> xr.DataArray:
    """Least loss along pre-training over that of the best strengths, minus 1, without what no weights change."""
    stopped = part[f"loss_{kind}"].min("pretrain_steps").median("seed") - part[f"constant_{kind}"]
    return stopped / part[f"best_loss_{kind}"] - 1


def _samples(dataset: xr.Dataset) -> list[str]:
    """How far the means of samples are from the exact ones, in standard errors."""
    if "sampled_absolute" not in dataset:
        return []
    first, precision, units, lost = dataset.isel(seed=0), dataset.attrs["precision"], [], 0
    rounding = _RESOLVED * float(np.finfo(precision).eps) * first["pretrain_loss"].max("pretrain_steps")
    for kind in KINDS:
        exact = first[f"loss_{kind}"].sel(pretrain_steps=dataset["sampled_steps"]).drop_vars("pretrain_steps")
        error = dataset[f"sampled_{kind}_error"]
        off = (dataset[f"sampled_{kind}"] - exact) / error
        off = off.where(np.isfinite(off))
        units.append(off.where(error > rounding).values.ravel())
        lost += int((off.notnull() & (error <= rounding)).sum())
    left = [f"{lost} means of samples are left out: rounding in {precision} drowns their standard error."] * bool(lost)
    kept = np.concatenate(units)
    kept = kept[np.isfinite(kept)]
    if not kept.size:
        return left
    said = f"{kept.size} means of {dataset.attrs['samples']} samples differ from the exact ones by {np.std(kept):.2f} "
    return [*left, f"{said}standard errors (root mean square), {np.abs(kept).max():.1f} at most."]
