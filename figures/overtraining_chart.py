"""Beyond which pre-training budget more pre-training makes the fine-tuned model worse, over rates and strengths.

Usage: python -m figures.overtraining_chart [--data results/overtraining_chart] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from linsim.labels import computed

from . import drawing
from .cell_map import SMALL_GRID, draw_map
from .cells import Cells, cells_of, chosen_cells, levels_of
from .loss_curves import draw_curves
from .picture import Picture

_NEEDED = {
    *("pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before", "pretrain_loss_after"),
    *("diverged", "inflection_steps", "harm"),
}


def _paint(dataset: xr.Dataset) -> Figure:
    """The map of inflection budgets and harm, and the loss curves of a few of its cells."""
    cells = cells_of(dataset)
    chosen = chosen_cells(cells)
    figure = drawing.new_figure(9.6, 5.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.12, 1))
    for side, title, explained in (
        ("left", _key(dataset, cells), draw_map(left, dataset, cells, chosen)),
        ("right", _caveat(dataset), draw_curves(right, dataset, cells, chosen)),
    ):
        look: dict[str, Any] = {"loc": f"outside lower {side}", "title": title, "alignment": "left"}
        figure.legend(handles=explained, ncols=3 if len(explained) > 5 else 2, **look)
    return figure


def _key(dataset: xr.Dataset, cells: Cells) -> str | None:
    """How theory and simulation are told apart in the map, where it shows both."""
    compared = cells.predicted is not None and levels_of(cells) and max(cells.harm.shape) > SMALL_GRID
    return f"Harm: lines closed form, markers {computed(dataset)}" if compared else None


def _caveat(dataset: xr.Dataset) -> str | None:
    """Why there is no closed form, or nothing."""
    if "predicted_harm" in dataset:
        return None
    reasons = dataset.attrs.get("prediction", "").removeprefix("none: ") or "it does not apply"
    reason, _, _ = reasons.partition(", and ")  # of every closed form one; the first is enough for a picture
    return textwrap.fill(f"{computed(dataset).capitalize()} only: {reason}.", 62)


picture = Picture("overtraining_chart", __doc__, "an overtraining chart", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
