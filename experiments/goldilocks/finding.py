"""Whether there is a Goldilocks zone, and what else of the usual account comes out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict

from ..words import between, counted, joined, percent, tabular
from .optima import GRIDS
from .rows import ROWS, ZONE, cells, in_zone
from .turning import NOISE, order

_MARKS = {"holds": "+", "contradicted": "-", "mixed": "~", "undefined": "?"}


def find(dataset: xr.Dataset) -> Finding:
    """Whether for some weight u of the fine-tuning loss the best model has 5 to 20 times compute-optimal data.

    Seen where for one u and fine-tuning time that is so at every compute and on every task; not seen where no u and
    fine-tuning time have it at every compute on any task. It cannot be told where some have it on some tasks, where the
    best model is at an end of what was told, or where there is no optimum to compare to.
    """
    ratio = dataset["utility_ratio"]
    known = ratio.notnull() & (dataset["utility_edge"] == 0)
    inside = in_zone(ratio)
    numbers: dict[str, float] = {"cases": int(ratio.isel(compute=0).size), "known": float(known.mean())}
    details = tuple(_beside(dataset))
    if float(known.mean()) < 0.5:
        told = "Whether there is a Goldilocks zone cannot be told: the best models are at the ends of sizes or budgets"
        return Finding(told, "cannot tell", numbers, details)
    everywhere = inside.all(("compute", "task"))
    held = inside.all("compute")
    numbers |= {"in the zone": int(held.sum()), "in the zone on every task": int(everywhere.sum())}
    verdict: Verdict = "seen" if bool(everywhere.any()) else "cannot tell" if bool(held.any()) else "not seen"
    cost = " to ".join(f"{value:g}" for value in np.unique(dataset["compute"].values[[0, -1]]))
    zone = f"D/N of {ZONE[0]:g} to {ZONE[1]:g} times compute-optimal is best at all C of {cost}"
    told = f"{zone} in {int(held.sum())} of {held.size} cases (u, T, task); {_noise(dataset)}"
    return Finding(told, verdict, numbers, details)


def _noise(dataset: xr.Dataset) -> str:
    """In flow time, and which sizes are brittle."""
    noisy = dataset.sel(kind=NOISE)
    if not bool(noisy["turn_time"].notnull().any()):
        return "no size turns materially under noise"
    orders = {order(noisy["harm"].sel(task=name).values) for name in noisy["task"].values}
    which = {frozenset({"rises"}): "harms larger models more", frozenset({"falls"}): "harms smaller models more"}
    words = which.get(frozenset(orders), "harms sizes in no order")
    return f"noise turns at D = {between(noisy['turn_time'], 2)} and {words}"


def table(dataset: xr.Dataset) -> list[str]:
    """The usual account row by row: + holds, - does not, ~ goes both ways, ? nothing can be said."""
    heads = ["the usual account", *map(str, dataset["task"].values)]
    marks = [[_MARKS[cell.held] for cell in row] for row in cells(dataset)]
    told = tabular(heads, [[row.says, *some] for row, some in zip(ROWS, marks, strict=True)])
    return [*told, "  + holds, - contradicted, ~ both ways, ? undefined; data per parameter are flow time per mode."]


def _beside(dataset: xr.Dataset) -> Iterator[str]:
    """What each row came to, exponents, matrices, samples and fits."""
    yield "Data per parameter are flow time per mode here: exact gradients use no data, and 20 : 1 has no meaning."
    for row, some in zip(ROWS, cells(dataset), strict=True):
        parts = [f"{name}: {cell.told}" for name, cell in zip(dataset["task"].values, some, strict=True)]
        stands = ", in flow time per mode" * row.of_ratio
        yield f"{row.says}{stands} - {'; '.join(parts)}."
    yield from _grown(dataset)
    deviation = dataset["closed_deviation"]
    if bool(deviation.notnull().any()):
        yield f"Simulated losses are within {percent(float(deviation.max()))} of their closed forms."
    yield from _matrices(dataset)
    yield from _fits(dataset)


def _grown(dataset: xr.Dataset) -> Iterator[str]:
    """Exponents beside the exact ones, and how their ranges over shifted grids shrink with the grids."""
    for at, line in enumerate(map(str, dataset["line"].values)):
        parts = []
        for name in ("size", "time", "loss"):
            cell = dataset.isel(line=at, density=-1).sel(quantity=name)
            mean, low, high = (float(cell[part]) for part in ("grown", "grown_low", "grown_high"))
            if not np.isfinite(mean):
                continue
            exact, stated = float(cell["grown_exact"]), float(cell["grown_continuum"])
            beside = f", sums {exact:.4f}" if np.isfinite(exact) else ""
            beside += f", continuum {stated:.4f}" if np.isfinite(stated) else ""
            parts.append(f"{name} {mean:.4f} ({low:.4f} to {high:.4f}{beside})")
        if parts:
            yield f"Exponents of C, {line}: {'; '.join(parts)}."
    wide = (dataset["grown_high"] - dataset["grown_low"]).sel(quantity="size").median("line")
    sizes = joined([f"{value:g}" for value in dataset["density"].values])
    yield f"At {sizes} sizes per octave the range of the first over {GRIDS} shifted grids is {_wide(wide)} wide."


def _wide(values: xr.DataArray) -> str:
    return joined([f"{value:.2g}" for value in values.values])


def _matrices(dataset: xr.Dataset) -> Iterator[str]:
    """Kinds of modification of matrices, and samples."""
    if "matrix_harm" not in dataset:
        return
    for kind in dataset["matrix_kind"].values:
        cell = dataset.sel(matrix_kind=kind)
        harm = cell["matrix_harm"].median("seed").values
        when = cell["matrix_turn_time"].median("seed").values
        widths = [f"N = {width:g} {percent(one)}" for width, one in zip(cell["width"].values, harm, strict=True)]
        turns = f", turn at D = {between(when, 2)}" if np.isfinite(when).any() else ""
        told = f"Matrices, {kind}: harm {order(harm)} with N ({', '.join(widths)}){turns}"
        if str(kind).startswith("n = ") and np.isfinite(when).any():
            scale = np.sqrt(float(dataset.attrs["matrix_dim"]) * float(dataset.attrs["label_noise"]) ** 2)
            told += f", D sqrt(d v) = {between(when * scale / np.sqrt(float(str(kind)[4:])), 2)}"
        yield f"{told}; {counted(cell.sizes['seed'], 'seed')}."


def _fits(dataset: xr.Dataset) -> Iterator[str]:
    """What fits know of the turn."""
    if "fit_error" not in dataset:
        return
    true, size = float(dataset["fit_true_turn"]), dataset.attrs["fit_size"]
    for law in dataset["law"].values:
        cell = {name: float(dataset[f"fit_{name}"].sel(law=law)) for name in _FITTED}
        turn, early = (f"{cell[name]:.0f}" if np.isfinite(cell[name]) else "none" for name in ("turn", "early_turn"))
        ends = f" ({_resampled(dataset, cell)})" if np.isfinite(cell["turn_low"]) else ""
        yield (
            f"Fit {law}: R^2 held out {cell['test']:.4f}, error {percent(cell['error'])}, D* of N = {size} {turn}{ends}"
            f", true {true:.0f}; {cell['alike']:.0f} starts as good, apart by {cell['spread']:.2g}; to budgets up to "
            f"the turn: R^2 beyond {cell['early_test']:.2g}, D* {early}."
        )


def _resampled(dataset: xr.Dataset, cell: dict[str, float]) -> str:
    """The range over resamples that see a turn, and of how many they are."""
    drawn = f"{cell['turn_seen']:.0f} of {dataset.attrs['fit_draws']} resamples"
    return f"{cell['turn_low']:.0f} to {cell['turn_high']:.0f} in the {drawn} that turn"


_FITTED = ("test", "error", "turn", "turn_low", "turn_high", "turn_seen", "alike", "spread", "early_test", "early_turn")
