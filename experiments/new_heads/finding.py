"""Whether new heads harm what was learned without labels, and whether thresholds of a mode say from where on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.theory.over_seeds import over_seeds

from ..words import NEGLIGIBLE, between, diverged, few_seeds, interval, tabular, undecided
from .reading import HARDLY, LEARNED, same_bases


def find(dataset: xr.Dataset) -> Finding:
    """Whether more pre-training hurts at some ratio β/c, with every objective, along the modes and in random bases.

    Of targets that ask for all directions, after long training: seen where everywhere the interval of the median over
    seeds is above what is negligible at some ratio; not seen where nowhere the median is. Nobody can tell where it is
    so in some cases alone, where heads have not been learned, or runs are lost.
    """
    details = (*_beside(dataset), *few_seeds(dataset.sizes["seed"]), *diverged(dataset))
    if (nothing := undecided(dataset, details=details)) is not None:
        return nothing
    long = _long(dataset)
    left = long["finetune_left"].max("pretrain_steps") <= LEARNED
    if float(left.mean()) < 0.5:
        told = "Nothing can be said of fine-tuning to the end: most heads have not learned their target in this time"
        return Finding(told, "cannot tell", {"learned": float(left.mean())}, details)
    first = _first(dataset)
    cases, harmed = len(first), [ratio for ratio in first.values() if np.isfinite(ratio)]
    hardly = {bases: _counts(dataset["right_hardly"].sel(bases=bases)) for bases in dataset["bases"].values}
    numbers: dict[str, float] = {"cases": cases, "harmed": len(harmed)}
    for bases, (right, known) in hardly.items():
        numbers |= {f"{bases}_right": right, f"{bases}_known": known}
    ratios = between(dataset["ratio"].values)
    if not harmed and bool((long["harm"].median("seed") <= NEGLIGIBLE).all()):
        told = f"New heads do no harm to self-supervised features at β/c = {ratios}, however long they are pre-trained"
        return Finding(told, "not seen", numbers, details)
    if len(harmed) < cases:
        told = f"New heads harm self-supervised features in {len(harmed)} of {cases} cases alone, at β/c = {ratios}"
        return Finding(told, "cannot tell", numbers, details)
    numbers |= {"first_low": min(harmed), "first_high": max(harmed)}
    counts = {bases: "/".join(map(str, each)) for bases, each in hardly.items()}
    told = (
        f"New heads harm self-supervised features from β/c = {between(harmed)}; "
        f"past 2/3 hardly learned is better ({counts['modes']}; random bases {counts['random']})"
    )
    return Finding(told, "seen", numbers, details)


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each objective and basis: from where on there is harm, how much, and what thresholds decide."""
    long, short = _long(dataset), dataset.sel(duration="short", asked="all", drop=True)
    at = float(dataset["ratio"].sel(ratio=HARDLY + 0.08, method="nearest"))
    heads = ["β/c:", "harm from", "short", "hardly learned better", "2/3", "none better", "√2"]
    heads += [f"excess % at {at:g}"]
    first, soon = _first(dataset), _first(dataset, short)
    rows = []
    for objective, bases in first:
        cell, told = (each.sel(objective=objective, bases=bases) for each in (long, dataset))
        row = [f"{objective}, {bases}", _ratio(first[objective, bases]), _ratio(soon[objective, bases])]
        for name in ("hardly", "nothing"):
            row += [interval(told[f"threshold_{name}"], 1), "/".join(map(str, _counts(told[f"right_{name}"])))]
        rows.append([*row, interval(np.round(cell["excess"].sel(ratio=at), 4), 100)])
    return tabular(heads, rows)


def _long(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.sel(duration="long", asked="all", drop=True)


def _ratio(first: float) -> str:
    return f"{first:g}" if np.isfinite(first) else "none"


def _first(dataset: xr.Dataset, of: xr.Dataset | None = None) -> dict[tuple[str, str], float]:
    """(objective, bases) -> the smallest ratio whose harm is above what is negligible in its interval; NaN if none.

    Bases that make no difference are left out.
    """
    harm, same = (_long(dataset) if of is None else of)["harm"], same_bases(dataset)
    found = {}
    for objective, bases in itertools.product(harm["objective"].values, harm["bases"].values):
        if bases == "random" and bool(same.sel(objective=objective)):
            continue
        cell = harm.sel(objective=objective, bases=bases)
        above = [over_seeds(cell.sel(ratio=ratio).values).ends[0] > NEGLIGIBLE for ratio in cell["ratio"].values]
        found[str(objective), str(bases)] = float(cell["ratio"][int(np.argmax(above))]) if any(above) else np.nan
    return found


def _counts(right: xr.DataArray) -> tuple[int, int]:
    """How many are rightly decided, of all that are known."""
    return int(right.sum()), int(right.count())


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Modes by themselves, the best strength, targets that ask for the weak half, and what is matched."""
    hardly, nothing = (_counts(dataset[f"mode_right_{name}"]) for name in ("hardly", "nothing"))
    yield (
        f"Of modes by themselves {hardly[0]} of {hardly[1]} are rightly decided by 2/3 (worse than hardly learned), "
        f"{nothing[0]} of {nothing[1]} by √2 (worse than none)."
    )
    off = abs(dataset["best_strength"] - (1 - dataset["ratio"] ** 2)).where(dataset["ratio"] < 1)
    parts = [
        f"{name} {interval(off.sel(objective=name).max(['mode', 'ratio']), 1)}" for name in off["objective"].values
    ]
    middle = float(off.median()) if bool(off.notnull().any()) else np.nan
    yield f"A mode ends at c from s = c - β²/c within {middle:.2g} c (median); at worst {', '.join(parts)}."
    weak = dataset["harm"].sel(duration="long", asked="weak half")
    most = {bases: float(weak.sel(bases=bases).median("seed").max()) for bases in weak["bases"].values}
    told = ", ".join(f"{bases} {100 * each:.3g}" for bases, each in most.items())
    yield f"Where the target asks for the weak half alone, harm in % is at most: {told}."
    left = dataset["finetune_left"].sel(duration="long").max("pretrain_steps")
    yield (
        f"Matched: the flow time of the head, {dataset.attrs['short']:g} or {dataset.attrs['long']:g}; after this "
        f"{int((left <= LEARNED).sum())} of {left.size} targets are learned to {LEARNED:g} from every budget."
    )
