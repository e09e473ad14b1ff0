"""The usual account row by row: what it says, what comes out on every task, and whether it holds there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from ..words import between, joined, listed
from .turning import NOISE, order, slope

Held = Literal["holds", "contradicted", "mixed", "undefined"]
ZONE = (5.0, 20.0)
"""Data per parameter over compute-optimal, between which the usual account has the best models for use."""
BRITTLE = 50.0
"""Data per parameter over compute-optimal, above which it has models that are brittle."""
WHOLE = 8
"""Modes of a model from which on it is no matter that they are whole numbers: corrections are of 1/N."""
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
    of_ratio: bool = False
    """Whether it speaks of data per parameter: flow time per mode, as exact gradients use no data."""


def _ratio(task: xr.Dataset) -> Cell:
    finest = task.isel(density=-1).sel(line=task["task"].item(), quantity="ratio")
    mean, low, high = (float(finest[name]) for name in ("grown", "grown_low", "grown_high"))
    if not np.isfinite(mean):
        return Cell("sizes for less than a decade of C", "undefined")
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
    """At the largest compute and the most inference for which the best model has modes enough."""
    last = task.isel(compute=-1)
    judged = (last["inference"] > 0) & (last["inference_size"] >= WHOLE) & last["inference_ratio"].notnull()
    if not bool(judged.any()):
        return Cell(f"no best model has {WHOLE} modes", "undefined")
    best = last.isel(inference=int(np.flatnonzero(judged.values)[-1]))
    ratio, paid = float(best["inference_ratio"]), float(best["inference"])
    share = paid / max(float(best["compute"]) / float(best["inference_size"]) - paid, 1e-9)
    return Cell(f"x {ratio:.2f} at q = {share:.2g} D", "holds" if ratio >= ZONE[0] else "contradicted")


def _brittle(task: xr.Dataset) -> Cell:
    noisy = task.sel(kind=NOISE)
    known = noisy["turn_ratio"].notnull()
    if not bool(known.any()):
        return Cell("no size turns materially under noise", "undefined")
    ratio = noisy["turn_ratio"].where(known, drop=True)
    others = [f"{size:g}" for size in noisy["size"].values[~known.values]]
    steady = f"; N = {joined(others)} not materially" if others else ""
    # A size that does not turn is no exception before it was trained for that long.
    trained = noisy["flow_time"].values[-1] / noisy["compute_optimal_time"] > BRITTLE
    against = bool((ratio < BRITTLE).any()) or bool((trained & ~known).any())
    held: Held = "contradicted" if against else "undefined" if steady else "holds"
    return Cell(f"noise at x {between(ratio, 2)}{steady}", held)


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
    alone: dict[str, Held] = {"falls": "holds", "rises": "contradicted", "mixed": "mixed"}
    ways = [way for way, kinds in told.items() if kinds]
    return Cell("; ".join(words), alone[ways[0]] if len(ways) == 1 else "mixed")


def _spikes(task: xr.Dataset) -> Cell:
    """Of matrices on this task: that of aligned modes, a sum of what only rises, has its peak at the end."""
    if "matrix_fisher_trace" not in task or task["task"].item() != f"a = {task.attrs['matrix_exponent']:g}":
        return Cell("no matrices; that of aligned modes cannot", "undefined")
    trace = task["matrix_fisher_trace"]
    over = float((trace.max("matrix_steps") / trace.isel(matrix_steps=-1)).max()) - 1
    return Cell(f"of matrices, peak {1 + over:.2f} of its end", "holds" if over > _FLAT else "contradicted")


ROWS = (
    Row("compute-optimal at one ratio", _ratio, of_ratio=True),
    Row("best for use at 5 to 20 x", _use, of_ratio=True),
    Row("inference pays for 5 x", _inference, of_ratio=True),
    Row("brittle above 50 x", _brittle, of_ratio=True),
    Row("the ratio is what is critical", _aligned_in, of_ratio=True),
    Row("smaller models are more brittle", _smaller),
    Row("the Fisher trace spikes", _spikes),
)


def cells(dataset: xr.Dataset) -> list[list[Cell]]:
    """Every row on every task."""
    tasks = [dataset.sel(task=name) for name in dataset["task"].values]
    return [[row.of(task) for task in tasks] for row in ROWS]
