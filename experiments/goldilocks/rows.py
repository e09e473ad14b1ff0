"""The usual account row by row: what it says, what comes out on every task, and whether it holds there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from ..words import between, joined, listed
from .turning import NOISE, order, slope

Held = Literal["holds", "contradicted", "undefined"]
ZONE = (5.0, 20.0)
"""Data per parameter over compute-optimal, between which the usual account has the best models for use."""
_CONSTANT = 0.05
"""Exponent of C below which a ratio is constant: 12 % a decade."""
_FLAT = 0.01


class Cell(NamedTuple):
    """What a row comes to on one task."""

    told: str
    held: Held


class Row(NamedTuple):
    """A statement of the account."""

    says: str
    of: Callable[[xr.Dataset], Cell]
    """Of the dataset of one task."""


def _ratio(task: xr.Dataset) -> Cell:
    finest = task.isel(density=-1).sel(line=task["task"].item(), quantity="ratio")
    mean, low, high = (float(finest[name]) for name in ("grown", "grown_low", "grown_high"))
    if not np.isfinite(mean):
        return Cell("not told by these sizes", "undefined")
    constant = abs(mean) <= _CONSTANT
    return Cell(f"D/N ~ C^{mean:.3f} ({low:.3f} to {high:.3f})", "holds" if constant else "contradicted")


def _use(task: xr.Dataset) -> Cell:
    inside = in_zone(task["utility_ratio"])
    if not bool(task["utility_ratio"].notnull().any()):
        return Cell("not told", "undefined")
    always, once = inside.all("compute"), inside.any("compute")
    if bool(always.any()):
        return Cell(f"at all C for {_where(always)}", "holds")
    return Cell(f"at all C for no u; at some for {int(once.sum())} of {once.size} (u, T)", "contradicted")


def in_zone(ratio: xr.DataArray) -> xr.DataArray:
    """Whether data per parameter are 5 to 20 times compute-optimal; no for what is not told."""
    return (ratio >= ZONE[0]) & (ratio <= ZONE[1])


def _where(chosen: xr.DataArray) -> str:
    parts = []
    for time in chosen["finetune_time"].values:
        some = chosen["utility"].values[chosen.sel(finetune_time=time).values]
        parts += [f"u = {listed(some)} at T = {time:g}"] if len(some) else []
    return joined(parts)


def _inference(task: xr.Dataset) -> Cell:
    last = task["inference_ratio"].isel(inference=-1, compute=-1)
    paid, trained = task["inference"].values[-1], task["compute"].values[-1] / float(task["inference_size"][-1, -1])
    if not np.isfinite(float(last)):
        return Cell("not told", "undefined")
    share = paid / max(trained - paid, 1e-9)
    return Cell(f"x {float(last):.2f} at q = {share:.2g} D", "holds" if float(last) >= ZONE[0] else "contradicted")


def _brittle(task: xr.Dataset) -> Cell:
    noisy = task.sel(kind=NOISE)
    known = noisy["turn_ratio"].notnull()
    if not bool(known.any()):
        return Cell("no size turns under noise", "undefined")
    ratio = noisy["turn_ratio"].where(known, drop=True)
    late = bool((ratio >= ZONE[1]).all())  # the account has the best models for use below
    others = [f"{size:g}" for size in noisy["size"].values[~known.values]]
    never = f"; N = {joined(others)} never" if others else ""
    return Cell(f"noise at x {between(ratio, 2)}{never}", "holds" if late and not never else "contradicted")


def _aligned_in(task: xr.Dataset) -> Cell:
    noisy = task.sel(kind=NOISE)
    told = slope(noisy["turn_time"].values, noisy["size"].values.astype(float))
    if not np.isfinite(told):
        return Cell("fewer than two sizes turn", "undefined")
    return Cell(f"D* ~ N^{told:.2f}, D* = {between(noisy['turn_time'], 3)}", "holds" if told > 0.5 else "contradicted")


def _smaller(task: xr.Dataset) -> Cell:
    orders = {str(kind): order(task["harm"].sel(kind=kind).values) for kind in task["kind"].values}
    told = {way: [kind for kind, has in orders.items() if has == way] for way in ("rises", "falls", "mixed")}
    words = [f"harm {way} with N: {joined(kinds)}" for way, kinds in told.items() if kinds]
    if not words:
        return Cell("nothing is brittle", "undefined")
    held = bool(told["falls"]) and not told["rises"] and not told["mixed"]
    return Cell("; ".join(words), "holds" if held else "contradicted")


def _spikes(task: xr.Dataset) -> Cell:
    trace = task["sensitivity"].transpose("pretrain_steps", "size").values
    over = float(np.max(trace.max(axis=0) / trace[-1])) - 1
    return Cell(f"peak {1 + over:.2f} of its end", "holds" if over > _FLAT else "contradicted")


ROWS = (
    Row("compute-optimal at one ratio", _ratio),
    Row("best for use at 5 to 20 x", _use),
    Row("inference pays for 5 x", _inference),
    Row("brittle above 50 x", _brittle),
    Row("the ratio is what is critical", _aligned_in),
    Row("smaller models are more brittle", _smaller),
    Row("the Fisher trace spikes", _spikes),
)


def cells(dataset: xr.Dataset) -> list[list[Cell]]:
    """Every row on every task."""
    tasks = [dataset.sel(task=name) for name in dataset["task"].values]
    return [[row.of(task) for task in tasks] for row in ROWS]
