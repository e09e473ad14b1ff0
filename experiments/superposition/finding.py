"""Whether superposition is what harms: what the loss on all features says, and what that on those not seen says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds

from ..words import NEGLIGIBLE, distrust, diverged, interval, percent, tabular, undecided
from .reading import EFFORTS
from .relations import CANDIDATES

Stand = Literal["for", "against", "open"]
MOST = 0.5
"""Share of the excess that features have to bear which are said to bear it."""
ACCOUNTS = {"all": ("kept_share", "across"), "unseen": ("unseen_narrow", "unseen_across")}
"""What superposition has to be to harm the loss on all features, and that on those which fine-tuning does not see."""
LINKS = tuple(link for links in ACCOUNTS.values() for link in links)
_RANKS = (
    *("across", "in_width", "in_geometry", "partial", "within"),
    *("unseen_across", "unseen_in_width", "unseen_in_geometry"),
)
_LIMITS = {"kept_share": MOST, "unseen_narrow": NEGLIGIBLE}


def find(dataset: xr.Dataset) -> Finding:
    """Whether more pre-training harms by superposition, by two losses: each link has an interval over teachers.

    By the loss on all features it does where those that fine-tuning does not see bear most of the excess, in networks
    narrower than the features, and where harm goes with overlap between networks. By the loss on features not seen it
    does where this loss turns in such networks, and its harm goes with overlap. Seen where both losses say so, at a
    fixed time or at matched effort; not seen where neither does, as a link of each is the other way round, at both;
    else nobody can tell without saying which loss is judged, nor where nothing is harmed at the fixed time. Judged is
    the first shift; other shifts, overlap along one pre-training, and overlap changed alone are told beside.
    """
    details, trust = (*_beside(dataset), *diverged(dataset)), distrust(dataset)
    if (nothing := undecided(dataset, details=details, trust=trust)) is not None:
        return nothing
    if not any(bool((dataset[each].sel(effort=EFFORTS[0]) > 0).any()) for each in ("counted_harm", "unseen_harm")):
        told = "There is no harm at the fixed time that superposition, or anything else, could explain"
        return Finding(told, "cannot tell", {}, details, trust)
    stands = {effort: {link: stand(link, _of(dataset, link, effort)) for link in LINKS} for effort in EFFORTS}
    numbers: dict[str, Any] = {}
    for effort, name in zip(EFFORTS, ("fixed", "matched"), strict=True):
        numbers |= {f"{link}_{name}": _of(dataset, link, effort).middle for link in (*LINKS, "gain", "unseen_in_width")}
        numbers[f"sensitivity_across_{name}"] = _middle(_first(dataset, "across", effort, "sensitivity"))
        numbers[f"overlap_rise_{name}"] = _middle(dataset["overlap_rise"].sel(effort=effort))
    numbers = {name: value for name, value in numbers.items() if np.isfinite(value)}
    return Finding(_sentence(dataset, stands[EFFORTS[0]]), _verdict(stands), numbers, details, trust)


def stand(link: str, told: OverSeeds) -> Stand:
    """What the interval of one link says of the account; of a single teacher the value itself."""
    if not told.seeds:
        return "open"
    low, high = told.ends
    limit = _LIMITS.get(link, 0.0)
    return "for" if low > limit else "against" if high < limit else "open"


def _verdict(stands: dict[str, dict[str, Stand]]) -> Verdict:
    losses = [[{each[link] for link in links} for links in ACCOUNTS.values()] for each in stands.values()]
    if any(all(said == {"for"} for said in each) for each in losses):
        return "seen"
    return "not seen" if all("against" in said for each in losses for said in each) else "cannot tell"


def _sentence(dataset: xr.Dataset, stands: dict[str, Stand]) -> str:
    """Both losses at the fixed time."""
    share, across, unseen, unseen_across = (_of(dataset, link, EFFORTS[0]).middle for link in LINKS)
    told, shift = dataset.attrs, str(dataset["shift"].values[0])
    larger = shift == "strengthened"
    by, worse = (f" x {told['strengthened']:g}", "overshoot of those") if larger else ("", "on those")
    on_all = {
        "for": f"others bear {_told(share, percent)} of the excess, harm's rank correlation with overlap is "
        f"{_told(across, _signed)}",
        "against": f"excess is {worse} (others bear {_told(share, percent)})",
        "open": f"others bear {_told(share, percent)} of the excess",
    }[stands["kept_share"]]
    wide = _of(dataset, "unseen_wide", EFFORTS[0])
    spared = (wide.middle if np.isnan(wide.high) else wide.high) <= NEGLIGIBLE
    narrow = bool((dataset["width"] < told["features"]).any())
    where, size = "in narrow networks" if narrow else "in wide networks", _told(unseen, percent)
    turn = {
        "for": f"turns {where}{' alone' * (narrow and spared)}, by {size}, and",
        "against": f"does not turn {where} ({size})",
        "open": f"may turn {where} ({size}), and",
    }[stands["unseen_narrow"]]
    if stands["unseen_narrow"] != "against":
        goes = {"for": "goes with overlap", "against": "goes against overlap", "open": "may go with overlap"}
        turn += f" {goes[stands['unseen_across']]}: rank correlation {_told(unseen_across, _signed)}"
        within = _of(dataset, "unseen_in_width", EFFORTS[0]).middle
        turn += f", {_signed(within)} within a width" if np.isfinite(within) else ""
    return (
        f"At T = {told['time']:g}, {told['changed']} of {told['features']} features {shift}{by}, {on_all}; the loss on "
        f"features not seen {turn}"
    )


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each width: overlap, what fine-tuning spills, and harm of both losses, with the networks that tell."""
    heads = ["hidden units", "overlap, %", "tr H", "spilled", "of the excess, %", "harm, %", "not seen, %"]
    heads += ["reach it", "matched harm, %", "not seen, %"]
    first = dataset.isel(shift=0)
    rows = []
    for width in dataset["width"].values:
        at = first.sel(width=width)
        fixed, matched = (at.sel(effort=effort) for effort in EFFORTS)
        share = (fixed["kept_excess"] / fixed["loss_excess"]).where(fixed["counted_harm"] > 0)
        cells = [
            *(_over_geometries(fixed["end_overlap"], 100), _over_geometries(fixed["end_sensitivity"], 1)),
            *(_over_geometries(fixed["spilled"], 1), _over_geometries(share, 100)),
            *(_over_geometries(fixed[name], 100) for name in ("counted_harm", "unseen_harm")),
            f"{int(at['matched_time'].notnull().sum())} of {at['matched_time'].size}",
            *(_over_geometries(matched[name], 100) for name in ("counted_harm", "unseen_harm")),
        ]
        rows.append([int(width), *cells])
    return tabular(heads, rows)


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Both losses at both efforts, over times and factors, what never tells, and what is changed alone."""
    for shift, effort in ((shift, effort) for shift in range(dataset.sizes["shift"]) for effort in EFFORTS):
        yield from _both(dataset.isel(shift=slice(shift, None)), effort)
    factors = [(f"x {factor:g}", "factor_", {"factor": at}) for at, factor in enumerate(dataset["factor"].values)]
    for place, time in enumerate(dataset["learning_rate"].values * dataset.attrs["finetune_steps"]):
        parts = []
        for name, before, where in (("", "", {"shift": 0}), *factors):
            at = dataset[[each for each in dataset if str(each).endswith("_over_times")]]
            at = at.isel({"learning_rate": place, **where})
            share, turn = (interval(at[f"{before}{each}_over_times"], 100) for each in ("kept_share", "unseen_narrow"))
            ranks = [interval(at[f"{before}unseen_{each}_over_times"], 1) for each in ("across", "in_width")]
            parts.append(
                f"{name or dataset['shift'].values[0]}: features not seen bear {share} % of the excess, the loss on "
                f"them turns by {turn} % in narrow networks, rank correlation with overlap {ranks[0]}, within a width "
                f"{ranks[1]}"
            )
        yield f"T = {time:.3g}, {'; '.join(parts)}."
    yield _reached(dataset)
    yield from _apart(dataset)


def _both(dataset: xr.Dataset, effort: str) -> Iterator[str]:
    """What both losses say of one shift at one effort."""
    where = f"{dataset['shift'].values[0]}, {effort}"
    at = dataset.isel(shift=0).sel(effort=effort)
    ranks = {
        (candidate, name): interval(at[name].sel(candidate=candidate), 1) for candidate in CANDIDATES for name in _RANKS
    }
    narrow = at.where(at["width"] < dataset.attrs["features"], drop=True)
    size = [
        interval(narrow[f"unseen_{name}"].median(["geometry", "width"]), unit)
        for name, unit in (("least", 1), ("last", 1), ("excess", 1))
    ]
    modes = ""
    if "separate" in dataset["geometry"].values:
        separate = narrow["unseen_harm"].sel(geometry="separate").median("width")
        modes = f", {interval(separate, 100)} % where features are modes"
    yield (
        f"Loss on all features ({where}): features not seen bear {interval(at['kept_share'], 100)} % of the excess in "
        f"narrow networks. Harm's rank correlation with overlap is {ranks['overlap', 'across']}, within a width "
        f"{ranks['overlap', 'in_width']}, within a geometry {ranks['overlap', 'in_geometry']}, at given ranks of "
        f"sensitivity {ranks['overlap', 'partial']}; with sensitivity {ranks['sensitivity', 'across']}, at given ranks "
        f"of overlap {ranks['sensitivity', 'partial']}."
    )
    yield (
        f"Loss on features not seen ({where}): in narrow networks least {size[0]}, last {size[1]}, excess {size[2]}, "
        f"harm {interval(at['unseen_narrow'], 100)} %; in others {interval(at['unseen_wide'], 100)} %{modes}. Its rank "
        f"correlation with overlap is {ranks['overlap', 'unseen_across']}, within a width "
        f"{ranks['overlap', 'unseen_in_width']}, within a geometry {ranks['overlap', 'unseen_in_geometry']}; with "
        f"sensitivity {ranks['sensitivity', 'unseen_across']}."
    )
    gain = interval(at["gain"].sel(candidate="overlap"), 100)
    yield (
        f"Over the budgets ({where}): overlap changes by {gain} % from the best to the last; rank correlation of "
        f"forgetting with overlap {ranks['overlap', 'within']}, with sensitivity {ranks['sensitivity', 'within']}, "
        f"with the budget itself {interval(at['within_budget'], 1)}."
    )


def _reached(dataset: xr.Dataset) -> str:
    """How many networks come to the level of matched effort at all."""
    reach = dataset["matched_time"].isel(shift=0).notnull()
    total = dataset.sizes["seed"]
    parts = []
    for width in dataset["width"].values:
        counts = [
            f"{name} {int(reach.sel(geometry=name, width=width).sum())}"
            for name in dataset["geometry"].values
            if not bool(reach.sel(geometry=name, width=width).all())
        ]
        missing = f" ({', '.join(counts)} of {total} each)" if counts else ""
        parts.append(
            f"{int(reach.sel(width=width).sum())} of {total * dataset.sizes['geometry']} of {width} units{missing}"
        )
    return f"Matched effort leaves out networks that never come to it; those that do: {'; '.join(parts)}."


def _apart(dataset: xr.Dataset) -> Iterator[str]:
    """Overlap, sensitivity and names, each by itself."""
    fixed = dataset.sel(effort=EFFORTS[0])
    parts = []
    for at in (0, -1):
        one = dataset.isel(turn=at)
        told = [
            interval(one[f"turned_{name}"].sel(effort=EFFORTS[0]), 1) for name in ("spilled", "least_loss", "last_loss")
        ]
        harm = [interval(one["turned_counted_harm"].sel(effort=effort), 100) for effort in EFFORTS]
        parts.append(
            f"overlap {interval(one['turned_end_overlap'], 1)}, spilled {told[0]}, least loss {told[1]}, last "
            f"{told[2]}, harm {harm[0]} %, matched {harm[1]} %"
        )
    rises = [
        f"{interval(dataset['overlap_rise'].sel(effort=effort), 100)} % at {effort}, up in "
        f"{int((dataset['overlap_rise'].sel(effort=effort) > 0).sum())}"
        for effort in EFFORTS
    ]
    turning = int((fixed["turned_unseen_harm"].isel(turn=-1) > 0).sum())
    yield (
        f"Overlap at the same loss and spectrum, in {dataset.sizes['draw']} draws: {parts[0]}; then {parts[1]}. Harm "
        f"changes by {'; '.join(rises)}. The loss on features not seen turns in {turning}. The balances that seen "
        "features carry change, too."
    )
    parts = []
    for scale in (float(dataset["layer_scale"][0]), 1.0, float(dataset["layer_scale"][-1])):
        one = dataset.sel(layer_scale=scale)
        harm = [interval(one["scaled_counted_harm"].sel(effort=effort), 100) for effort in EFFORTS]
        parts.append(
            f"c = {scale:g}: tr H {interval(one['scaled_end_sensitivity'], 1)}, spilled "
            f"{interval(one['scaled_spilled'].sel(effort=EFFORTS[0]), 1)}, harm {harm[0]} %, matched {harm[1]} %"
        )
    yield f"Sensitivity alone, by layers c W_1 and W_2/c: {'; '.join(parts)}."
    same, overlap = fixed["renamed_counted_harm"], dataset["renamed_end_overlap"]
    apart = float(np.ptp(same.values)) / max(float(same.max()), 1e-300)
    yield (
        f"Names alone: where modes shift, and all is turned, overlap goes from {float(overlap[0]):.2g} to "
        f"{float(overlap[-1]):.2g}, and harm stays within {apart:.0e}."
    )


def _first(dataset: xr.Dataset, name: str, effort: str, candidate: str) -> xr.DataArray:
    """A relation of the first shift, over teachers."""
    values = dataset[name].isel(shift=0).sel(effort=effort)
    return values.sel(candidate=candidate) if "candidate" in values.dims else values


def _of(dataset: xr.Dataset, link: str, effort: str) -> OverSeeds:
    """One link at one effort, over teachers."""
    return over_seeds(np.asarray(_first(dataset, link, effort, "overlap"), np.float64))


def _told(value: float, words: Callable[[float], str]) -> str:
    return words(value) if np.isfinite(value) else "unknown"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _middle(values: xr.DataArray) -> float:
    return over_seeds(np.asarray(values, np.float64)).middle


def _over_geometries(values: xr.DataArray, unit: float) -> str:
    """Medians over seeds of the medians over geometries, with their interval."""
    return interval(values.median("geometry"), unit)
