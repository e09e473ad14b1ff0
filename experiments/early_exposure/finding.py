"""Whether the target is kept best by a share of its data in pre-training that is neither none nor all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds
from linsim.theory.turns import LEAST_EXCESS

from ..words import NEGLIGIBLE, counted, few_seeds, interval, joined, percent, tabular

MATCHED = 1e-5
"""Loss up to which a target, and what is asked downstream, count as learned: all are compared there."""
BASE_LEFT = 1e-7
"""How far the base's loss may be from its end. What is kept moves by the root of it, 3e-4 here, which is immaterial."""
REDUNDANT, INDEPENDENT = "redundant", "independent"


class Inside(NamedTuple):
    """The best share between none and all, of one depth and one thing asked."""

    share: float
    loss: float
    """Median retained loss there."""
    without: float
    """The same at share 0."""
    alone: float
    """The same at share 1."""
    gains: tuple[OverSeeds, OverSeeds]
    """By how much share 0, and share 1, are above it, over the zero network's loss; of matched seeds."""
    relative: float
    """1 - loss / the smaller of both."""
    falls: bool
    """Whether the median falls from each share below 1 to the next."""

    @property
    def verdict(self) -> Verdict:
        """Seen where both gains are material in their intervals, not seen where one of them is not."""
        least = max(LEAST_EXCESS, NEGLIGIBLE * self.loss)
        if any(not gain.seeds for gain in self.gains):
            return "cannot tell"
        if all(gain.ends[0] > least for gain in self.gains):
            return "seen"
        return "not seen" if any(gain.ends[1] <= least for gain in self.gains) else "cannot tell"


def matched(dataset: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """Retained losses where base and target were learned before, and what is asked after; NaN elsewhere."""
    sound = (dataset[f"{prefix}target_loss"] <= MATCHED) & (dataset[f"{prefix}base_left"] <= BASE_LEFT)
    if not prefix:
        sound = sound & (dataset["asked_loss"] <= MATCHED)
    return dataset[f"{prefix}retained_loss"].where(sound)


def inside(dataset: xr.Dataset, features: str, depth: int, asked: float) -> Inside | None:
    """What shares come to; None where there is none between 0 and 1, or one of these is not known."""
    losses = matched(dataset).sel(features=features, depth=depth, asked=asked).transpose("share", "seed")
    shares, values = losses["share"].values, losses.values
    known = np.isfinite(values).any(axis=1)
    middle = np.array([np.nanmedian(row) if told else np.inf for row, told in zip(values, known, strict=True)])
    within = (shares > 0) & (shares < 1)
    if not (within.any() and shares[0] == 0 and shares[-1] == 1 and known[[0, -1]].all() and known[within].any()):
        return None
    best = int(np.flatnonzero(within)[np.argmin(middle[within])])
    gains = over_seeds(values[0] - values[best]), over_seeds(values[-1] - values[best])
    ends = float(middle[0]), float(middle[-1])
    relative = 1 - middle[best] / max(min(ends), 1e-300)
    falls = bool(np.all(np.diff(middle[known & (shares < 1)]) < 0))
    return Inside(float(shares[best]), float(middle[best]), *ends, gains, float(relative), falls)


def find(dataset: xr.Dataset) -> Finding:
    """Whether a share between none and all is best for networks of two and more layers on redundant features.

    Seen where it is for some depth and something that is asked, and controls are known and do not see it: one layer,
    and independent features of every depth. Not seen where it is for none of them; nobody can tell otherwise.
    """
    asked, depths = dataset["asked"].values.tolist(), dataset["depth"].values.tolist()
    told = {(L, a): inside(dataset, REDUNDANT, L, a) for L in depths if L > 1 for a in asked}
    deep = {key: each for key, each in told.items() if each is not None and each.verdict != "cannot tell"}
    details = tuple(_beside(dataset))
    if not told:
        sentence = "It takes networks of two or more layers to tell which share is best"
        return Finding(sentence, "cannot tell", {}, details)
    seen = {key: each for key, each in deep.items() if each.verdict == "seen"}
    doubts = {ask: _doubt(dataset, ask) for ask in {ask for _, ask in seen}}
    best = [(each.relative, key) for key, each in seen.items() if not doubts[key[1]]]
    counts = {"cases": len(told), "unknown": len(told) - len(deep)}
    if best:
        _, (depth, ask) = max(best)
        here = seen[depth, ask]
        own = np.isclose(ask, dataset.attrs["base_strength"])
        what = f"the base is asked ({ask:g})" if own else f"{ask:g} is asked"
        how = "more early exposure is better, up to a jump at 1" if here.falls else "some early exposure is best"
        sentence = (
            f"Where features are redundant and {what}, {how}: loss {here.without:.2g} at 0, {here.loss:.2g} at "
            f"{here.share:g}, {here.alone:.2g} at 1 ({depth} layers)"
        )
        numbers = {"depth": depth, "asked": ask, **{name: getattr(here, name) for name in _NUMBERS}}
        return Finding(sentence, "seen", numbers, details)
    if seen:
        ask = min(doubts)
        sentence = f"A share inside is best where {ask:g} is asked, but it cannot be told why: {doubts[ask]}"
        return Finding(sentence, "cannot tell", counts, details)
    if len(deep) == len(told):
        sentence = "No share between none and all keeps the target better than both, at any depth and for all asked"
        return Finding(sentence, "not seen", {"cases": len(told)}, details)
    sentence = (
        f"Which share is best cannot be told in {counts['unknown']} of {len(told)} cases: phases are too short, or "
        "seeds differ"
    )
    return Finding(sentence, "cannot tell", counts, details)


def _doubt(dataset: xr.Dataset, asked: float) -> str:
    """What controls say against redundancy and depth as the cause, where this is asked; empty where nothing."""
    depths = dataset["depth"].values.tolist()
    if 1 not in depths:
        return "one layer, the control, was not run"
    places = [(REDUNDANT, 1), *((INDEPENDENT, depth) for depth in depths)]
    for features, depth in places:
        here = inside(dataset, features, depth, asked)
        verdict = "cannot tell" if here is None else here.verdict
        if verdict != "not seen":
            how = "see it too" if verdict == "seen" else "are not known"
            return f"controls {how} ({features} features, {counted(depth, 'layer')})"
    return ""


_NUMBERS = ("share", "loss", "without", "alone")


def table(dataset: xr.Dataset) -> list[str]:
    """Retained losses of all depths at no share, the best inside, and all, by features and what is asked."""
    rows = []
    for features in (REDUNDANT, INDEPENDENT):
        for depth in dataset["depth"].values.tolist():
            for asked in dataset["asked"].values.tolist():
                here = inside(dataset, features, depth, asked)
                if here is None:
                    rows.append([features, depth, f"{asked:g}", *["unknown"] * 5])
                    continue
                losses = [f"{each:.3g}" for each in (here.without, here.loss, here.alone)]
                rows.append([features, depth, f"{asked:g}", *losses, f"{here.share:g}", here.verdict])
    heads = ("features", "layers", "asked", "loss at 0", "best inside", "at 1", "best share", "inside is best")
    return tabular(heads, rows)


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """Controls, the closed form, timing, splits, and what the shares leave open."""
    losses = matched(dataset)
    within = losses.sel(share=[share for share in losses["share"].values if share < 1])
    if within.sizes["share"] > 1:
        most, apart = within.max("share"), within.max("share") - within.min("share")
        spread = xr.where(apart <= LEAST_EXCESS, 0.0, apart / most).median("seed").max("asked")
        for features in spread["features"].values:
            row = spread.sel(features=features)
            told = joined([f"{percent(float(row.sel(depth=L)))} ({L})" for L in row["depth"].values])
            apart_by = f"retained losses differ (by {LEAST_EXCESS:g} or more) by at most {told} (layers)"
            yield f"Shares below 1, {features} features: {apart_by}."
    off = abs(losses - dataset["predicted_retained_loss"])
    if bool(off.notnull().any()):
        yield f"The closed form is off by {float(off.max()):.2g} of the zero network's loss at most, at shares below 1."
    yield from _open(dataset)
    deepest, most = dataset["depth"].values[-1], dataset["asked"].values[-1]
    place = {"features": REDUNDANT, "depth": deepest, "asked": most}
    timed = matched(dataset, "timed_").sel(place)
    parts = [f"{when} {interval(timed.sel(timing=when), 1)}" for when in timed["timing"].values]
    yield f"A share of {dataset.attrs['timed']:g} ({deepest} layers, {most:g} asked), by when: {', '.join(parts)}."
    for depth in sorted({int(dataset["depth"].values[0]), int(deepest)}):
        split = matched(dataset, "split_").sel(place | {"depth": depth})
        parts = [
            f"{interval(split.sel(early=part), 1)} ({part:g} early)"
            for part in split["early"].values
            if bool(split.sel(early=part).notnull().any())
        ]
        gone = [f"{part:g}" for part in split["early"].values if not bool(split.sel(early=part).notnull().any())]
        short = f"; the target is not learned at {joined(gone)}" if gone else ""
        told = ", ".join(parts) or "none learned"
        yield f"One amount of target data, equal compute, {counted(depth, 'layer')}: {told}{short}."
    yield from few_seeds(dataset.sizes["seed"])


def _open(dataset: xr.Dataset) -> Iterator[str]:
    """Where all or nothing is best after all, and best shares that are the last ones below 1."""
    depths, last = dataset["depth"].values.tolist(), sorted(dataset["share"].values.tolist())[-2:][0]
    edge: list[str] = []
    for asked in dataset["asked"].values.tolist():
        told = {depth: inside(dataset, REDUNDANT, depth, asked) for depth in depths}
        for share, name in ((0, "without"), (1, "alone")):
            ends = [f"{depth}" for depth, each in told.items() if each and getattr(each, name) < each.loss]
            if ends:
                yield f"Where {asked:g} is asked a share of {share} is best in networks of {joined(ends)} layers."
        edge += [f"{asked:g}" for each in told.values() if each and each.verdict == "seen" and each.share == last]
    if edge:
        asks = joined(list(dict.fromkeys(edge)))
        yield f"Where {asks} is asked the best share is the largest below 1 that was tried, {last:g}."
