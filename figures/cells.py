"""What a chart says of every cell (rate, strength), where harm crosses a level, and which cells to show."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .drawing import Floats, Scale

LEVELS = (0.1, 1.0, 10.0)
_MORE_LEVELS = (1e-2, 1e-3, 1e-4)
_NO_HARM = 1e-6  # stands for 0 where a logarithm is taken


class Cells(NamedTuple):
    """Medians over the seeds that did not diverge at every budget; all arrays (rate, strength)."""

    inflection: Floats
    """Inflection budget in steps; NaN where there is no turn."""
    harm: Floats
    """Simulated harm; infinite where the largest budget diverges, NaN where nothing is left."""
    predicted: Floats | None
    """Harm in closed form, if there is one; NaN where every run diverged."""
    some_diverged: NDArray[np.bool_]
    """Some lanes diverged, not all."""
    all_diverged: NDArray[np.bool_]
    """Every budget of every seed diverged."""

    @property
    def never_turns(self) -> NDArray[np.bool_]:
        """Cells without an inflection point."""
        return np.isnan(self.inflection) & ~self.all_diverged


def cells_of(dataset: xr.Dataset) -> Cells:
    """Reduce a chart to its cells."""
    diverged = dataset["diverged"].values
    lost = diverged.all(axis=0)
    harm = np.where(lost, np.nan, dataset["harm"].values)
    turn = dataset["inflection_steps"].values
    # A seed that never turns does so later than all others.
    turn = np.where(lost, np.nan, np.where(np.isnan(turn), np.inf, turn))
    all_diverged = np.asarray(lost.all(axis=-1))
    predicted = None
    if "predicted_harm" in dataset:
        # The flow of the closed form knows no divergence: nothing can be compared there.
        predicted = np.where(all_diverged, np.nan, median(dataset["predicted_harm"].values))
    steps = median(turn)
    return Cells(
        np.where(np.isfinite(steps), steps, np.nan),
        median(harm),
        predicted,
        np.asarray(diverged.any(axis=(0, -1))) & ~all_diverged,
        all_diverged,
    )


def median(values: Floats, axis: int = -1) -> Floats:
    """Median over the values that are not NaN, NaN where there are none; infinite beside an infinite middle."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN slices are an answer here
        middle = np.nanmedian(values, axis=axis)
    # The mean of two infinite middle values is infinite, yet NumPy's interpolation can say NaN.
    some_infinite = np.isinf(values).any(axis=axis)
    return np.asarray(np.where(np.isnan(middle) & some_infinite, np.inf, middle), dtype=np.float64)


def spread(runs: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest value over seeds, NaN where there are none."""
    known = np.where(np.isnan(runs).all(axis=-1, keepdims=True), 0.0, runs)
    gone = np.isnan(runs).all(axis=-1)
    low, high = np.nanmin(known, axis=-1), np.nanmax(known, axis=-1)
    return np.where(gone, np.nan, low), np.where(gone, np.nan, high)


def log_harm(harm: Floats) -> Floats:
    """log10 of harm with a floor; NaN where harm is not finite."""
    return np.where(np.isfinite(harm), np.log10(np.clip(np.nan_to_num(harm, posinf=1.0), _NO_HARM, None)), np.nan)


def levels_of(cells: Cells) -> list[float]:
    """Harm levels that the chart crosses, at most three."""
    kinds = [cells.harm] if cells.predicted is None else [cells.harm, cells.predicted]
    finite = [harm[np.isfinite(harm)] for harm in kinds]

    def crossed(level: float) -> bool:
        return any(len(harm) > 0 and harm.min() < level < harm.max() for harm in finite)

    usual = [level for level in LEVELS if crossed(level)]
    return usual or [level for level in _MORE_LEVELS if crossed(level)][:1]


def crossings(harm: Floats, level: float, rates: Scale, strengths: Scale) -> Floats:
    """Points (x, y), shape (points, 2), where harm crosses a level between neighbouring cells.

    Linear in the logarithms; the band of strength 0 is crossed along the rate only.
    """
    height = log_harm(harm) - np.log10(level)
    points = []
    for axis in (0, 1):
        first = int(strengths.has_zero) if axis == 1 else 0
        below, above = (height[:-1], height[1:]) if axis == 0 else (height[:, first:-1], height[:, first + 1 :])
        with np.errstate(invalid="ignore"):
            i, j = np.nonzero((below < 0) != (above < 0))
        share = below[i, j] / (below[i, j] - above[i, j])
        j = j + first
        x, y = rates.centres, strengths.centres
        if axis == 0:
            found = np.stack([x[i] + share * (x[i + 1] - x[i]), y[j]], axis=-1)
        else:
            found = np.stack([x[i], y[j] + share * (y[j + 1] - y[j])], axis=-1)
        points.append(found[np.isfinite(share)])
    return np.concatenate(points)


def thinned(points: Floats, size: tuple[float, float], gap: float) -> Floats:
    """As many of the points as are `gap` apart, in units of the given size."""
    kept: list[Floats] = []
    for point in points:
        if all(np.hypot(*((point - other) / size)) >= gap for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def chosen_cells(cells: Cells, most: int = 3) -> list[tuple[int, int]]:
    """Cells (rate, strength) that tell the story, from least to most harm.

    For each of the wanted harms, evenly spaced in the logarithm, the cell of about this harm that differs most from
    those already chosen, in place and in inflection budget.
    """
    usable = np.isfinite(cells.harm) & ~cells.some_diverged
    if not usable.any():
        usable = ~np.isnan(cells.harm)
    candidates = np.argwhere(usable)
    if len(candidates) == 0:
        return []
    # A reader sees no difference between small harms.
    small = min(0.1, max(float(cells.harm[usable].max()) / 20, _NO_HARM))
    harm = np.log10(np.clip(cells.harm[usable], small, 1e6))
    turn = cells.inflection[usable]
    turn = np.log10(np.nan_to_num(turn, nan=float(np.nanmax(turn, initial=1.0))))
    place = np.column_stack([candidates / np.maximum(np.array(cells.harm.shape) - 1, 1), turn / max(np.ptp(turn), 1.0)])
    hidden = 0.2 * (_on_a_level(cells) | _on_the_rim(cells.harm.shape))[usable]
    chosen: list[int] = []
    for wanted in np.linspace(harm.max(), harm.min(), min(most, len(candidates))):
        off = np.abs(harm - wanted)
        distances = [np.linalg.norm(place - place[other], axis=1) for other in chosen]
        away = np.min([np.ones(len(place)), *distances], axis=0)
        near = (off <= max(0.1 * np.ptp(harm), off[away > 0].min())) & (away > 0)
        # Half the map is far enough.
        chosen.append(int(np.argmax(np.where(near, np.minimum(away, 0.5) - hidden - 0.1 * off, -np.inf))))
    return [(int(i), int(j)) for i, j in candidates[sorted(chosen, key=lambda index: (harm[index], index))]]


def _on_a_level(cells: Cells) -> NDArray[np.bool_]:
    """Cells beside a contour, where a number would hide it."""
    beside = np.zeros(cells.harm.shape, dtype=bool)
    for level in levels_of(cells):
        above = np.nan_to_num(cells.harm, nan=0.0) > level
        for axis in (0, 1):
            for step in (1, -1):
                beside |= above != np.roll(above, step, axis)
    return beside


def _on_the_rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells at the ends of axes that have an inside, where a number would cover the tick labels."""
    rim = np.zeros(shape, dtype=bool)
    if shape[0] > 3:
        rim[[0, -1]] = True
    if shape[1] > 3:
        rim[:, [0, -1]] = True
    return rim
