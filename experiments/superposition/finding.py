"""Whether superposition is what harms, by every link of the account, and what harm goes with instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds

from ..words import NEGLIGIBLE, change, distrust, diverged, interval, joined, percent, tabular, undecided
from .reading import CANDIDATES, EFFORTS

Stand = Literal["for", "against", "open"]
MOST = 0.5
"""Share of the excess that features have to bear which are said to bear it."""
LINKS = ("gain", "across", "rise", "kept_share")
_SAID = {
    "gain": "overlap grows from the best budget to the last",
    "across": "networks with more overlap have more harm",
    "rise": "more overlap, all else held, is more harm",
    "kept_share": "the harm is on features that fine-tuning does not see",
}


def find(dataset: xr.Dataset) -> Finding:
    """Whether more pre-training harms by superposition, a chain of four links: each has an interval over teachers.

    Of networks narrower than the features, overlap grows from the best budget to the last, and features that
    fine-tuning does not see bear most of what the loss is above its best; between networks harm goes with overlap; and
    it rises where overlap alone does. Seen where all of them hold at a fixed time, or at matched effort; not seen where
    at both of them one link or more is the other way round; else nobody can tell, nor where nothing is harmed at the
    fixed time.
    """
    details, trust = (*_beside(dataset), *diverged(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    if not bool((dataset["counted_harm"].sel(effort=EFFORTS[0]) > 0).any()):
        told = "There is no harm at the fixed time that superposition, or anything else, could explain"
        return Finding(told, "cannot tell", {}, details, trust)
    stands = {effort: {link: stand(link, _of(dataset, link, effort)) for link in LINKS} for effort in EFFORTS}
    numbers: dict[str, Any] = {}
    for effort, name in zip(EFFORTS, ("fixed", "matched"), strict=True):
        numbers |= {f"{link}_{name}": _of(dataset, link, effort).middle for link in LINKS}
        numbers[f"sensitivity_across_{name}"] = _middle(dataset["across"].sel(candidate="sensitivity", effort=effort))
    numbers = {name: value for name, value in numbers.items() if np.isfinite(value)}
    verdict = _verdict(stands)
    return Finding(_sentence(dataset, stands, verdict), verdict, numbers, details, trust)


def stand(link: str, told: OverSeeds) -> Stand:
    """What the interval of one link says of the account; of a single teacher the value itself."""
    if not told.seeds:
        return "open"
    low, high = (told.middle, told.middle) if np.isnan(told.low) else (told.low, told.high)
    limit = {"rise": NEGLIGIBLE, "kept_share": MOST}.get(link, 0.0)
    return "for" if low > limit else "against" if high < limit else "open"


def _verdict(stands: dict[str, dict[str, Stand]]) -> Verdict:
    efforts = [set(each.values()) for each in stands.values()]
    if {"for"} in efforts:
        return "seen"
    return "not seen" if all("against" in each for each in efforts) else "cannot tell"


def _sentence(dataset: xr.Dataset, stands: dict[str, dict[str, Stand]], verdict: Verdict) -> str:
    gain, share = (_of(dataset, link, EFFORTS[0]).middle for link in ("gain", "kept_share"))
    fixed, matched = (_of(dataset, "across", effort).middle for effort in EFFORTS)
    facts = (
        f"from the best budget to the last overlap changes by {_told(gain, change)}, features that fine-tuning does "
        f"not see bear {_told(share, percent)} of the excess, and harm's rank correlation with overlap is "
        f"{_told(fixed, _signed)} at a fixed time, {_told(matched, _signed)} at matched effort"
    )
    if verdict == "seen":
        return f"Superposition goes with harm along the whole account: {facts}"
    if verdict == "not seen":
        return f"Superposition is not what harms: {facts}"
    ruled = [[link for link in LINKS if each[link] != "for"] for each in stands.values()]
    open_ones = joined([f"whether {_SAID[link]}" for link in min(ruled, key=len)])
    return f"Whether superposition harms cannot be told, as {open_ones} is open: {facts}"


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each width: overlap, what fine-tuning spills, what of the harm is on features it does not see, harm."""
    heads = ["hidden units", "overlap, %", "tr H", "spilled", "of the excess, %", "harm, %", "matched, %"]
    first = dataset.isel(shift=0)
    rows = []
    for width in dataset["width"].values:
        at = first.sel(width=width)
        fixed = at.sel(effort=EFFORTS[0])
        harmed = fixed["counted_harm"] > 0
        share = (fixed["kept_excess"] / fixed["loss_excess"]).where(harmed)
        cells = [
            *(_over_geometries(fixed["end_overlap"], 100), _over_geometries(fixed["end_sensitivity"], 1)),
            *(_over_geometries(fixed["spilled"], 1), _over_geometries(share, 100)),
            *(_over_geometries(at["counted_harm"].sel(effort=effort), 100) for effort in EFFORTS),
        ]
        rows.append([int(width), *cells])
    return tabular(heads, rows)


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """The interventions, and what goes along with the budget."""
    told = dataset["turned_counted_harm"]
    spilled, overlap = dataset["turned_spilled"].sel(effort=EFFORTS[0]), dataset["turned_end_overlap"]
    ends = [
        f"overlap {interval(overlap.isel(turn=at), 1)}, spilled {interval(spilled.isel(turn=at), 1)}, harm "
        f"{interval(told.isel(turn=at).sel(effort=EFFORTS[0]), 100)} %, matched "
        f"{interval(told.isel(turn=at).sel(effort=EFFORTS[1]), 100)} %"
        for at in (0, -1)
    ]
    yield f"Overlap alone, by a turn of what is learned: {ends[0]}; then {ends[1]}."
    told, spilled = dataset["scaled_counted_harm"], dataset["scaled_spilled"].sel(effort=EFFORTS[0])
    parts = []
    for scale in (float(dataset["layer_scale"][0]), 1.0, float(dataset["layer_scale"][-1])):
        trace = interval(dataset["scaled_end_sensitivity"].sel(layer_scale=scale), 1)
        disturbed = interval(spilled.sel(layer_scale=scale), 1)
        harm = [interval(told.sel(layer_scale=scale, effort=effort), 100) for effort in EFFORTS]
        parts.append(f"c = {scale:g}: tr H {trace}, spilled {disturbed}, harm {harm[0]} %, matched {harm[1]} %")
    yield f"Sensitivity alone, by layers c W_1 and W_2/c: {'; '.join(parts)}."
    same, overlap = dataset["renamed_counted_harm"].sel(effort=EFFORTS[0]), dataset["renamed_end_overlap"]
    apart = float(np.ptp(same.values)) / max(float(same.max()), 1e-300)
    yield (
        f"Names alone: where modes shift, and all is turned, overlap goes from {float(overlap[0]):.2g} to "
        f"{float(overlap[-1]):.2g}, and harm stays within {apart:.0e}."
    )
    for effort in EFFORTS:
        links = {link: _values(dataset, link, effort) for link in LINKS}
        yield (
            f"At {effort}, of networks narrower than the features: overlap changes by {interval(links['gain'], 100)} % "
            f"to the last budget, features not seen bear {interval(links['kept_share'], 100)} % of the excess. Of all: "
            f"rank correlation of harm with overlap {interval(links['across'], 1)}; harm rises by "
            f"{interval(links['rise'], 100)} % with overlap alone."
        )
        across = interval(dataset["across"].sel(candidate="sensitivity", effort=effort), 1)
        within = [interval(dataset["within"].sel(candidate=each, effort=effort), 1) for each in CANDIDATES]
        given = [interval(dataset["partial"].sel(candidate=each, effort=effort), 1) for each in CANDIDATES]
        yield (
            f"Rank correlations at {effort}: of harm with sensitivity {across} between networks, at given ranks of the "
            f"other {given[0]} (overlap) and {given[1]} (sensitivity); of forgetting over the budgets {within[0]} and "
            f"{within[1]}."
        )


def _of(dataset: xr.Dataset, link: str, effort: str) -> OverSeeds:
    """One link at one effort, over teachers."""
    return over_seeds(_values(dataset, link, effort))


def _values(dataset: xr.Dataset, link: str, effort: str) -> np.ndarray:
    values = dataset[link].sel(effort=effort)
    return np.asarray(values if link == "kept_share" else values.sel(candidate="overlap"), np.float64)


def _told(value: float, words: Callable[[float], str]) -> str:
    return words(value) if np.isfinite(value) else "unknown"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _middle(values: xr.DataArray) -> float:
    return over_seeds(np.asarray(values, np.float64)).middle


def _over_geometries(values: xr.DataArray, unit: float) -> str:
    """Medians over seeds of the medians over geometries, with their interval."""
    return interval(values.median("geometry"), unit)
