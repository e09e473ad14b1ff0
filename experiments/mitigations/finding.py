"""Whether choosing by a fixed recipe costs anything at matched fine-tuning loss, and which method is nearest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_crossed

from ..words import NEGLIGIBLE, change, joined, tabular, with_ends

_NONE = "none"
_SAID = {"seen": "", "not seen": ", which costs nothing", "cannot tell": ", and transfers differ too much"}
_MARKS = {"lowest": "<", "highest": ">"}


def find(dataset: xr.Dataset) -> Finding:
    """Whether the method that a fixed recipe picks is further from the bound than the nearest one, at matched loss.

    Both are picked among methods that have no other data at hand than descent, by medians over transfers. Seen where
    the interval of how much further it is lies above what is negligible, at some fine-tuning loss; not seen where it is
    negligible at all of them. Nobody can tell otherwise, or where there are not two seeds and two methods whose
    losses are known.
    """
    plain = dataset.isel(mitigation=np.flatnonzero(dataset["seen"].values == _NONE))
    fixed = _middles(plain["fixed_pretrain_loss"])
    ratios = {float(phi): plain["ratio"].sel(level=phi) for phi in dataset["level"].values}
    seeds, families = dataset.sizes["seed"], dataset.sizes["family"]
    counted = [int(np.isfinite(_middles(each)).sum()) for each in ratios.values()]
    if seeds < 2 or np.isfinite(fixed).sum() < 2 or min(counted) < 2:
        told = "It takes two seeds, and two methods that reach every fine-tuning loss, to hold rulers side by side"
        return Finding(told, "cannot tell", {"transfers": seeds * families, "methods": min(counted)})
    names = [str(name) for name in plain["mitigation"].values]
    picked = int(np.nanargmin(fixed))
    numbers: dict[str, float] = {}
    own, best, worse, none, wins, lines = [], [], [], [], [], []
    for phi, ratio in ratios.items():
        nearest = int(np.nanargmin(_middles(ratio)))
        here, least = (_over(ratio.isel(mitigation=at)) for at in (picked, nearest))
        cost = _over(ratio.isel(mitigation=picked) / ratio.isel(mitigation=nearest) - 1)
        same = _over(dataset["correlation"].sel(level=phi))
        leaders = {
            str(family): names[int(np.nanargmin(each))]
            for family, each in zip(ratio["family"].values, _by_family(ratio), strict=True)
            if np.isfinite(each).any()
        }
        wins.append(list(leaders.values()).count(names[nearest]))
        worse.append(not here.seeds or cost.ends[0] > NEGLIGIBLE)
        none.append(here.seeds > 0 and cost.ends[1] <= NEGLIGIBLE)
        own.append(f"{here.middle:.3g}" if here.seeds else "beyond reach")
        best.append((names[nearest], f"{least.middle:.3g}"))
        lines.append(
            f"At phi = {phi:g}: {names[picked]} {with_ends(here)}, {names[nearest]} {with_ends(least)} times the least "
            f"possible; rank correlation of both rulers {with_ends(same)}."
        )
        numbers |= {f"picked_{phi:g}": here.middle, f"nearest_{phi:g}": least.middle}
        others = [f"{name} ({family})" for family, name in leaders.items() if name != names[nearest]]
        if others:
            lines.append(f"At phi = {phi:g} {names[nearest]} is not the nearest everywhere: {joined(others)}.")
        numbers[f"families_{phi:g}"] = wins[-1]
        numbers |= {f"correlation_{phi:g}": same.middle, f"cost_low_{phi:g}": cost.ends[0]}
    alike = len(set(dict(best))) == 1
    each = joined([value if alike else f"{name} {value}" for name, value in best])
    nearest_told = f"{best[0][0]}, {each}" if alike else each
    counts = joined(wins if len(set(wins)) > 1 else wins[:1])
    among = f" in {counts} of {families} families" if set(wins) != {families} else ""
    verdict: Verdict = "not seen" if all(none) else "seen" if any(worse) else "cannot tell"
    start = f"The fixed recipe picks {names[picked]}{_SAID[verdict]}"
    told = f"{start}: at equal fine-tuning loss {joined(own)} times the least possible; nearest{among}: {nearest_told}"
    return Finding(told, verdict, numbers, (*lines, *_beside(dataset)))


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each method, the nearest first: the fixed recipe, R over all transfers, and both ranks."""
    levels = dataset["level"].values
    heads = ["mitigation", "phase", "has", "L_pre", "L_ft", "rank, fixed"]
    heads += [f"R, phi = {phi:g}" for phi in levels] + ["rank", "R at tau", "rank"]
    rows = []
    for at in nearest_first(dataset):
        cell = dataset.isel(mitigation=at)
        losses = [_middle(cell[f"fixed_{name}_loss"]) for name in ("pretrain", "finetune")]
        name, side, seen = (str(cell[name].item()) for name in ("mitigation", "side", "seen"))
        data = "" if seen == _NONE else seen.removesuffix(" data")
        first, second = (with_ends(_over(cell[name])) for name in ("fixed_rank", "rank"))
        cells = [_cell(cell.sel(level=phi)) for phi in levels]
        third = [_told(cell["hardest_ratio"]), f"{_over(cell['hardest_rank']).middle:.3g}"]
        row = [name, side.removesuffix("train").removesuffix("tune"), data, *losses, first, *cells, second, *third]
        rows.append(row)
    return tabular(heads, rows)


def nearest_first(dataset: xr.Dataset) -> list[int]:
    """Methods by their rank at matched fine-tuning loss, over all of these losses and transfers."""
    middle = np.median(
        dataset["rank"].transpose("mitigation", ...).values.reshape(dataset.sizes["mitigation"], -1), axis=1
    )
    mean = dataset["rank"].mean(("level", "family", "seed")).values
    return [int(at) for at in np.lexsort([mean, middle])]


def _cell(cell: xr.Dataset) -> str:
    """R with its interval, and the ends of ranges that its strengths are at."""
    told, ends = _over(cell["ratio"]), {str(end) for end in cell["end"].values}
    marks = "".join(mark for word, mark in _MARKS.items() if word in ends)
    return f"{with_ends(told)}{marks}" if told.seeds else "not reached"


def _middle(losses: xr.DataArray) -> str:
    known = losses.values[np.isfinite(losses.values)]
    return f"{np.median(known):.2g}" if known.size else "diverged"


def _told(ratio: xr.DataArray) -> str:
    told = _over(ratio)
    return with_ends(told) if told.seeds else "not reached"


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """What is nearest in every family, what other data are worth, what pre-training does, and where ranges end."""
    names = [str(name) for name in dataset["mitigation"].values]
    alone = str(dataset.attrs["alone"])
    for phi in dataset["level"].values:
        ratio = dataset["ratio"].sel(level=phi)
        if alone not in names or not _over(ratio.sel(mitigation=alone)).seeds:
            continue
        own = ratio.sel(mitigation=alone)
        parts = []
        for words, chosen in (
            ("pre-training", (dataset["side"] == "pretrain") & (dataset["seen"] == _NONE)),
            (
                "fine-tuning",
                (dataset["side"] == "finetune") & (dataset["seen"] == _NONE) & (dataset["mitigation"] != alone),
            ),
            ("methods with other data", dataset["seen"] != _NONE),
        ):
            some = ratio.isel(mitigation=np.flatnonzero(chosen.values))
            if some.sizes["mitigation"] and np.isfinite(middle := _middles(some)).any():
                best = some.isel(mitigation=int(np.nanargmin(middle)))
                told = _over(best / own - 1)
                ends = f" ({change(told.low)} to {change(told.high)})" if told.seeds > 1 else ""
                parts.append(f"of {words} {best['mitigation'].item()} {change(told.middle)}{ends}")
        if parts:
            yield f"R beside rate and steps alone at phi = {phi:g}, the best: {', '.join(parts)}."
    tau, ratio = _over(dataset["hardest_level"]), dataset["hardest_ratio"]
    if tau.seeds and np.isfinite(_middles(ratio)).any():
        nearest = int(np.nanargmin(_middles(ratio)))
        yield (
            f"By the rule of Watts et al. all are at tau = {with_ends(tau)} D^2, to which the worst comes down: "
            f"nearest is {names[nearest]}, {_told(ratio.isel(mitigation=nearest))} times the least possible there."
        )
    for word, mark in _MARKS.items():
        found = dataset["end"].transpose("mitigation", ...).values
        at = [name for name, row in zip(names, found, strict=True) if word in map(str, row.ravel())]
        if at:
            yield f"{mark}: the best strength is the {word} that was tried, by {joined(at)}."
    lost = [name for name in names if not np.isfinite(dataset["ratio"].sel(mitigation=name)).all()]
    if lost:
        yield f"Not reached in every transfer, within the rates that were tried: {joined(lost)}."


def _middles(values: xr.DataArray) -> np.ndarray:
    """Median over transfers of every method; NaN where less than half is known."""
    flat = values.transpose("mitigation", "family", "seed").values.reshape(values.sizes["mitigation"], -1)
    known = np.isfinite(flat).mean(axis=1) > 0.5
    return np.array([np.nanmedian(row) if told else np.nan for row, told in zip(flat, known, strict=True)])


def _by_family(ratio: xr.DataArray) -> list[np.ndarray]:
    """Medians of every method over the transfers of each family, as over all."""
    return [_middles(ratio.isel(family=[at])) for at in range(ratio.sizes["family"])]


def _over(values: xr.DataArray) -> OverSeeds:
    """Over transfers; those of one seed mostly share a pre-training task, so that families and seeds are drawn."""
    ordered = values.transpose("seed", "family", ...).values
    return over_crossed(ordered.reshape(*ordered.shape[:2], -1))
