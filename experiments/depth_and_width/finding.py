"""What depth and width do to overtraining: where it starts, how bad it gets, and what theory says of both."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import counted_harm

from ..words import (
    NEGLIGIBLE,
    between_budgets,
    counted,
    deviation,
    distrust,
    joined,
    listed,
    percent,
    rechecked,
    tabular,
    undecided,
)

HARMFUL = 0.1
"""Harm from which on inflection points are compared: of less the minimum is flat."""


def find(dataset: xr.Dataset) -> Finding:
    """How much longer pre-training costs at one layer, at more, and at which widths nothing.

    Not seen where it costs 1 % or less at every depth and every width and nearly all curves are resolved; nobody can
    tell where one of the two parts has no stable run from its largest budget, or too few budgets for a turn, or where
    turns may lie between them.
    """
    deep, wide = _part(dataset, "depth"), _part(dataset, "width")
    trust, checked = distrust(deep) or distrust(wide), tuple(rechecked(deep))
    nothing = [undecided(part, details=checked, trust=trust) for part in (deep, wide)]
    if (told := nothing[0] or nothing[1]) is not None:
        return told
    most, reached = _most(deep), _most(wide)
    layers, widths = most["depth"].values, reached["width"].values
    numbers = {f"harm at depth {depth}": float(harm) for depth, harm in zip(layers, most, strict=True)}
    numbers |= {f"harm at width {width}": float(harm) for width, harm in zip(widths, reached, strict=True)}
    details = (*_equal_shares(deep), *_wider(wide), *_closed_forms(deep, wide), *checked)
    if not (most > NEGLIGIBLE).any() and not (reached > NEGLIGIBLE).any():
        known, resolved = map(sum, zip(_resolved(deep), _resolved(wide), strict=True))
        if sentence := between_budgets(known, resolved, "curves"):
            return Finding(sentence, "cannot tell", numbers | {"resolved": resolved}, details, trust)
        return Finding("At no depth and no width does more pre-training hurt", "not seen", numbers, details, trust)
    parts = []
    single, several = (most[chosen].dropna("depth") for chosen in (layers == 1, layers > 1))
    if several.size:
        parts.append(f"with two or more layers overtraining costs up to {percent(float(several.max()))}")
    if single.size:
        parts.append(f"with one layer at most {percent(float(single.max()))}")
    none = widths[reached <= NEGLIGIBLE]
    if 0 < len(none) < len(reached):
        parts.append(f"and none where the width ({', '.join(map(str, none))}) keeps the harmful modes out of reach")
    sentence = ", ".join(parts) or "more pre-training hurts at some widths"
    said, counts = _by_start(dataset)
    numbers, sentence = numbers | counts, sentence + said
    return Finding(f"{sentence[0].upper()}{sentence[1:]}", "seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """The most harm over the rates, the inflection there, and what theory says of both, by depth and by width.

    Medians over seeds; converged is the harm over stages that are fully fine-tuned, learned the budget by which the
    strongest misaligned mode is half learned.
    """
    heads = [head for over in ("layers", "width") for head in (over, "most harm", "turning", "converged", "learned")]
    sides = [list(_rows(_part(dataset, over), over)) for over in ("depth", "width")]
    rows = [[*left, *right] for left, right in zip_longest(*sides, fillvalue=[""] * 5)]
    return tabular(heads, rows)


def _part(dataset: xr.Dataset, over: str) -> xr.Dataset:
    """The depth part, or the width part under the names of the depth part, of the first kind of checkpoints.

    Its harm is that which counts.
    """
    first = dataset.isel(checkpoints=0)
    if over == "depth":
        return first.assign(harm=counted_harm(first))
    own = [name for name in map(str, first.variables) if name.startswith("width_")]
    names = {name: name.removeprefix("width_") for name in own}
    told = {str(name).removeprefix("width_"): value for name, value in dataset.attrs.items()}
    wide = first[own].rename(names)
    return wide.assign(harm=counted_harm(wide)).assign_attrs(told)


def _middle(values: xr.DataArray) -> xr.DataArray:
    """The median over seeds, where there are several."""
    return values.median("seed") if "seed" in values.dims else values


def _most(part: xr.Dataset) -> xr.DataArray:
    """The largest harm over the rates that is finite, NaN where there is none; median over seeds."""
    harm = _middle(part["harm"])
    return harm.where(np.isfinite(harm)).max("learning_rate")


def _resolved(part: xr.Dataset) -> tuple[int, int]:
    """Curves whose harm is known, and those of them whose turns the budgets resolve."""
    known = part["harm"].notnull()
    return int(known.sum()), int((part["resolved"] & known).sum())


def _rows(part: xr.Dataset, over: str) -> Iterator[list[str]]:
    limits = part["converged_harm"].fillna(part.get("one_layer_harm", np.nan))
    harm, turns = (_middle(part[name]) for name in ("harm", "inflection_steps"))
    for at, value in enumerate(part[over].values):
        known = np.where(np.isfinite(harm[at]), harm[at], -1.0)
        most, turn = float(known.max()), float(turns[at, known.argmax()])
        told = "unstable" if most < 0 else "none" if most < NEGLIGIBLE else percent(most)
        limit, onset = float(limits[at]), _steps(float(part["onset_steps"][at]))
        cells = told, _steps(turn) if most >= NEGLIGIBLE else "-", "-" if np.isnan(limit) else percent(limit), onset
        yield [str(value), *cells]


def _by_start(dataset: xr.Dataset) -> tuple[str, dict[str, float]]:
    """From which starts the rate decides less in deeper networks where overtraining starts.

    It does where the ratio of the latest to the earliest inflection over the rates has at most half the logarithm at
    the deepest that it has at the shallowest; any start at which it has more is against it, and is named.
    """
    turns = xr.ufuncs.log(dataset["start_inflection_steps"].where(dataset["start_harm"] > HARMFUL))
    span = (turns.max("learning_rate") - turns.min("learning_rate")).transpose("start_tau", "start_depth").values
    if span.shape[1] < 2:
        return "", {}
    less, known = span[:, -1] <= span[:, 0] / 2, (span[:, 0] > 0) & np.isfinite(span[:, -1])
    numbers: dict[str, float] = {"starts": int(known.sum()), "starts with less": int((less & known).sum())}
    if not (less & known).any():
        return "", numbers
    starts, other = np.exp(-2 * dataset["start_tau"].values), known & ~less
    kept = f" from s_0 = {listed(starts[less & known])}, not from {listed(starts[other])}" if other.any() else ""
    return f"; the deeper, the less the rate decides where it starts{kept}", numbers


def _turning(part: xr.Dataset) -> xr.DataArray:
    """Inflection points where harm counts, medians over seeds."""
    return _middle(part["inflection_steps"]).where(_middle(part["harm"]) > HARMFUL)


def _equal_shares(deep: xr.Dataset) -> Iterator[str]:
    """Harm at the same rate x top curvature, interpolated in the logarithm of the rate."""
    some = deep.sel(depth=deep["depth"] > 1)
    shares = (some["learning_rate"] / some["stable_rate"]).transpose("depth", "learning_rate").values
    if len(shares) < 2 or not (low := shares[:, 0].max()) < (high := shares[:, -1].min()):
        return
    at, harm = float(np.sqrt(low * high)), some["harm"].values
    each = [percent(float(np.interp(np.log(at), np.log(x), y))) for x, y in zip(shares, harm, strict=True)]
    layers = joined(list(some["depth"].values))
    yield f"At {at:.2g} of the largest stable rate harm is {joined(each)} at {layers} layers."


def _wider(wide: xr.Dataset) -> Iterator[str]:
    """Whether wider networks turn earlier, at the rate at which the widest loses most."""
    harm, turns = (_middle(wide[name]) for name in ("harm", "inflection_steps"))
    known = np.where(np.isfinite(harm[-1]), harm[-1], -1.0)
    there = turns[:, known.argmax()].dropna("width")
    if there.size > 1:
        how = "earlier" if there[-1] < there[0] else "no earlier"
        narrow, widest = (f"{int(one['width'])} at {float(one):.0f} steps" for one in (there[0], there[-1]))
        yield f"Wider turns {how}: width {narrow}, {widest} ({counted(wide.sizes['seed'], 'seed')})."


def _closed_forms(deep: xr.Dataset, wide: xr.Dataset) -> Iterator[str]:
    """How far predicted inflection points are off."""
    for part, what in ((deep, "the closed form"), (wide, "the mean start, as if layers were aligned,")):
        off = np.expm1(np.abs(np.log((part["predicted_inflection_steps"] / _turning(part)).values)))
        if np.isfinite(off).any():
            middle, most = deviation(float(np.nanmedian(off))), deviation(float(np.nanmax(off)))
            yield f"Inflections from {what} are off by {middle} in the median, at most {most}."


def _steps(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "-"
