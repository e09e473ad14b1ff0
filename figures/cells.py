"""What a chart says of every cell (rate, strength), and which cells to show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from linsim.labels import lost_lanes

from .panels.axes import Floats
from .panels.curves import median

LEVELS = (0.1, 1.0, 10.0)
_MORE_LEVELS = (1e-2, 1e-3, 1e-4)
_SEEN, _MOST = 0.1, 1e6  # harms between which a reader sees a difference
_ORDER = ("pretrain_steps", "learning_rate", "regularization", "seed")


class Cells(NamedTuple):
    """Medians over the seeds that are not lost, diverged or unstable, at every budget; all arrays (rate, strength)."""

    inflection: Floats
    """Inflection budget in steps; NaN where there is no turn."""
    harm: Floats
    """Simulated harm; 0 where no turn is material, NaN where nothing is known of the largest budget."""
    predicted: Floats | None
    """The same in closed form, if there is one; NaN where nothing is left to compare it with."""
    some_diverged: NDArray[np.bool_]
    """Some lanes diverged, not all."""
    all_diverged: NDArray[np.bool_]
    """Every budget of every seed diverged."""
    unstable: NDArray[np.bool_]
    """Some lanes that did not diverge are beyond the edge of stability."""
    finetune_turns: NDArray[np.bool_]
    """The fine-tuning loss turns as well, in most seeds."""

    @property
    def never_turns(self) -> NDArray[np.bool_]:
        """Cells whose harm is known and that have no inflection point."""
        return np.isnan(self.inflection) & ~np.isnan(self.harm)

    @property
    def levels(self) -> list[float]:
        """Harm levels that the chart crosses, at most three."""
        kinds = [self.harm] if self.predicted is None else [self.harm, self.predicted]
        ends = [(harm[known].min(), harm[known].max()) for harm in kinds if (known := np.isfinite(harm)).any()]
        usual, more = (
            [level for level in levels if any(low < level < high for low, high in ends)]
            for levels in (LEVELS, _MORE_LEVELS)
        )
        return usual or more[:1]


def cells_of(dataset: xr.Dataset) -> Cells:
    """Reduce a chart to its cells."""
    chart = dataset.transpose(*_ORDER, ...)
    diverged = chart["diverged"]
    lost = lost_lanes(chart).all("pretrain_steps")
    gone = diverged.all(("pretrain_steps", "seed")).values
    # A seed that never turns does so later than all others.
    turns = median(chart["inflection_steps"].fillna(np.inf).where(~lost).values)
    told = median(chart["harm"].where(~lost).values)
    harm = np.where(np.isfinite(turns) | np.isnan(told), told, 0.0)
    predicted = None
    if "predicted_harm" in chart:
        # The flow of the closed form knows no divergence: where all diverge it is not compared.
        known, material = chart["predicted_harm"], chart["predicted_inflection_steps"].notnull()
        predicted = np.where(np.isnan(harm), np.nan, median(known.where(material | known.isnull(), 0.0).values))
    turned = chart.get("finetune_inflection_steps", np.nan * chart["harm"]).notnull()
    return Cells(
        np.where(np.isfinite(turns), turns, np.nan),
        harm,
        predicted,
        diverged.any(("pretrain_steps", "seed")).values & ~gone,
        gone,
        (lost_lanes(chart) & ~diverged).any(("pretrain_steps", "seed")).values,
        (turned.mean("seed") > 0.5).values,
    )


def chosen_cells(cells: Cells, most: int = 3) -> list[tuple[int, int]]:
    """Cells (rate, strength) that tell the story, from least to most harm.

    For each of the wanted harms, evenly spaced in the logarithm, the cell of about this harm that differs most from
    those already chosen, in place and in inflection budget.
    """
    usable = np.isfinite(cells.harm) & ~cells.some_diverged & ~cells.unstable
    usable = usable if usable.any() else ~np.isnan(cells.harm)
    candidates = np.argwhere(usable)
    if len(candidates) == 0:
        return []
    highest = float(cells.harm[usable].max())
    harm = np.log10(np.clip(cells.harm[usable], min(_SEEN, max(highest / 20, 1 / _MOST)), _MOST))
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
    for level in cells.levels:
        above = np.nan_to_num(cells.harm, nan=0.0) > level
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            beside |= above != np.roll(above, step, axis)
    return beside


def _on_the_rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Cells at the ends of axes that have an inside, where a number would cover the tick labels."""
    rim = np.ones(shape, dtype=bool)
    rim[tuple(slice(1, -1) if size > 3 else slice(None) for size in shape)] = False
    return rim
