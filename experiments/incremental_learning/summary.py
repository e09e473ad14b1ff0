"""What the curves of modes say: whether there are steps, what sharpens them, and whether theory has them right."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..words import wrapped

SHARPENS = 0.8
"""The next mode's share must fall below this fraction of what it is at the largest scale to be called sharper."""

DIVERGED = 1e3
"""A run with a share beyond this has diverged: its loss is then a million times that of the zero network."""


def summarise(dataset: xr.Dataset) -> str:
    """The conclusion, in a few lines."""
    if dataset.sizes["mode"] < 2:
        return "One mode alone has no order: nothing can be said of steps."
    dataset = _without_diverged(dataset)
    if dataset["aligned_diverged"].all() and dataset["random_diverged"].all():
        return "Every run diverged: nothing can be said."
    rest = [_order(dataset), _agreement(dataset), *_random(dataset)]
    verdict = [wrapped(line) for line in _verdict(dataset)]
    return "\n".join([*verdict, "", *_table(dataset), "", *(wrapped(line) for line in rest)])


def _without_diverged(dataset: xr.Dataset) -> xr.Dataset:
    """Which runs diverged, `aligned_diverged` and `random_diverged`, and the measures of the others alone."""
    changed: dict[str, xr.DataArray] = {}
    for kind in ("aligned", "random"):
        shares: xr.DataArray = abs(dataset[f"{kind}_learned"])
        lost = ~(shares <= DIVERGED).all(("pretrain_steps", "mode"))
        changed[f"{kind}_diverged"] = lost
        for name in (f"{kind}_half_learned_steps", f"{kind}_rise_steps", f"{kind}_overlap"):
            changed[name] = dataset[name].where(~lost)
    return dataset.assign(changed)


def overlap(dataset: xr.Dataset, name: str = "aligned") -> xr.DataArray:
    """Share of the next weaker mode when a mode is half learned: middle of all neighbours, and seeds, that have one."""
    shares = dataset[f"{name}_overlap"]
    return shares.median([dim for dim in ("mode", "seed") if dim in shares.dims])


def sharpening(dataset: xr.Dataset) -> dict[int, bool | None]:
    """For each depth, whether a smaller start sharpens the steps; None where the budgets or scales do not tell."""
    shares = overlap(dataset)
    told: dict[int, bool | None] = {}
    for depth in dataset["depth"].values:
        first, last = shares.sel(depth=depth).values[[0, -1]]
        known = dataset.sizes["scale"] > 1 and bool(np.isfinite(first) and np.isfinite(last))
        told[int(depth)] = bool(first < SHARPENS * last) if known else None
    return told


def depths_said(depths: list[int]) -> str:
    """Depths in words: depth 1; depths 2, 3 and 4."""
    words = [str(depth) for depth in depths]
    if len(words) == 1:
        return f"depth {words[0]}"
    return f"depths {', '.join(words[:-1])} and {words[-1]}"


def _verdict(dataset: xr.Dataset) -> list[str]:
    told = sharpening(dataset)
    lines = []
    small, large = dataset["scale"].values[[0, -1]]
    shares = overlap(dataset)
    for outcome, words in (
        (True, "sharper steps: singular values are learned one after another"),
        (False, "no sharper steps: the order of learning does not become one of stages"),
    ):
        depths = [depth for depth, each in told.items() if each is outcome]
        if depths:
            falls = [shares.sel(depth=depth).values[[-1, 0]] for depth in depths]
            fell = ", ".join(f"{first:.3g} to {last:.3g}" for first, last in falls)
            lines.append(
                f"At {depths_said(depths)} a smaller start (s_0 from {large:g} to {small:g}) gives {words}. What is "
                f"learned of the next mode when one is half learned goes from {fell} (middle of all neighbours)."
            )
    ends = dataset["aligned_diverged"].isel(scale=[0, -1]).any("scale")
    for lost, why in (True, "runs diverged"), (False, "one scale, or too few budgets"):
        silent = [depth for depth, each in told.items() if each is None and bool(ends.sel(depth=depth)) is lost]
        if silent:
            lines.append(f"Nothing can be said of sharper steps at {depths_said(silent)}: {why}.")
    return lines


def _table(dataset: xr.Dataset) -> list[str]:
    """Overlap of the two strongest modes, simulated and in closed form, and the power of s_0 that it goes with."""
    scales = dataset["scale"].values
    pair = {name: dataset[f"{name}_overlap"].isel(mode=0) for name in ("aligned", "predicted")}
    head = "".join(f"{f's_0 = {scale:g}':>24}" for scale in scales[::-1])
    power = "   power of s_0, the two smallest" if len(scales) > 1 else ""
    lines = ["Share of mode 2 when mode 1 is half learned, simulated (closed form):", f"{'depth':>7}{head}{power}"]
    for depth in dataset["depth"].values:
        ours, theirs = (pair[name].sel(depth=depth).values for name in ("aligned", "predicted"))
        lost = dataset["aligned_diverged"].sel(depth=depth).values
        cells = zip(ours[::-1], theirs[::-1], lost[::-1], strict=True)
        line = "".join(f"{_both(one, other, gone):>24}" for one, other, gone in cells)
        if len(scales) > 1:
            first, second = (np.log(each[1] / each[0]) / np.log(scales[1] / scales[0]) for each in (ours, theirs))
            line += f"{_both(first, second, bool(lost[:2].any()), digits=2):>25}"
        lines.append(f"{depth:>7}{line}")
    return lines


def _order(dataset: xr.Dataset) -> str:
    """Who is first from the aligned start."""
    lines = []
    for depth in dataset["depth"].values:
        half = dataset["aligned_half_learned_steps"].sel(depth=depth).values
        known = half[np.isfinite(half).all(axis=-1)]
        if len(known):
            lines.append(f"{(known.max(axis=-1) / known.min(axis=-1)).max():.3g} at depth {depth}")
    if not lines and dataset["aligned_diverged"].all():
        return "From the aligned start every run diverged."
    if not lines:
        return "At no scale all modes are half learned within the budgets."
    return f"Half-learned budgets of all modes, the last over the first (at most, over scales): {', '.join(lines)}."


def _agreement(dataset: xr.Dataset) -> str:
    if not dataset["predicted_learned"].notnull().any():
        return f"Closed form: {dataset.attrs['prediction']}."
    said = []
    kinds = {"half_learned_steps": "half-learned budgets", "rise_steps": "rises", "overlap": "shares of the next mode"}
    for name, words in kinds.items():
        ratio = (dataset[f"aligned_{name}"] / dataset[f"predicted_{name}"]).values
        known = ratio[np.isfinite(ratio)]
        if known.size:
            said.append(f"{words} within {np.abs(known - 1).max():.2g} ({known.size})")
    if not said and dataset["aligned_diverged"].all():
        return "Aligned start against closed form: nothing to compare."
    budgets = "; ".join(said) or "no mode is half learned within the budgets"
    return f"Aligned start against closed form, relative: {budgets}."


def _random(dataset: xr.Dataset) -> list[str]:
    """Whether the picture survives a random start."""
    half = dataset["random_half_learned_steps"].transpose("depth", "scale", "seed", "mode").values
    later = np.where(np.isnan(half), np.inf, half)  # not learned within the budgets
    told = []
    shares = overlap(dataset, "random")
    for index, depth in enumerate(dataset["depth"].values):
        decided = np.isfinite(later[index, ..., :-1]) | np.isfinite(later[index, ..., 1:])
        first = (later[index, ..., :-1] < later[index, ..., 1:]) & decided
        gone = dataset["random_diverged"].isel(depth=index).transpose("scale", "seed").values
        lost = f"; {gone.sum()} of {gone.size} runs diverged" if gone.any() else ""
        if gone.all():
            told.append(f"  depth {depth}: every run diverged")
            continue
        missing = np.isnan(half[index][~gone]).mean()
        known = shares.values[index][np.isfinite(shares.values[index])]
        if not known.size:
            told.append(f"  depth {depth}: no mode is half learned within the budgets{lost}")
            continue
        strongest = (row[~out] for row, out in zip(half[index, ..., 0], gone, strict=True))
        ratios = [row.max() / row.min() for row in strongest if row.size and np.isfinite(row).all()]
        budgets = (
            f"seeds differ in the half-learned budget of mode 1 by a factor of up to {max(ratios):.3g}"
            if ratios
            else "at no scale all seeds half learn mode 1 within the budgets"
        )
        late = f"; {missing:.0%} of the modes not half learned within the budgets" if missing else ""
        late += lost
        told.append(
            f"  depth {depth}: stronger first in {first.sum()} of {decided.sum()} neighbours; share of the next mode "
            f"{known[-1]:.2g} at the largest start, {known[0]:.2g} at the smallest; {budgets}{late}"
        )
    return [f"From {dataset.sizes['seed']} random starts (Gaussian):", *told]


def _both(ours: float, theirs: float, diverged: bool, digits: int = 3) -> str:
    closed = "" if np.isnan(theirs) else f" ({theirs:.{digits}g})"
    missing = "diverged" if diverged else "not learned"
    return (missing if np.isnan(ours) else f"{ours:.{digits}g}") + closed
