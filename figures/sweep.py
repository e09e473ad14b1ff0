"""Harm along every axis of a sweep, over all others."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .panels.axes import LEAST_HARM, along, harm_axis
from .panels.canvas import new_figure
from .panels.looks import Look
from .picture import Picture

_NEEDED = {"axis", "quantile", "harm", "harm_moved", "seed", "pretrain_steps"}
_MOST_PANELS = 6
_PHASES = ("pre-training", "fine-tuning")
_BANDS = ((0, 4, 0.15), (1, 3, 0.30))  # from which quantile to which, and how opaque: the whole range, the middle half
_MEDIAN = 2
_LOOK = Look("#0072B2", size=5)


def _paint(dataset: xr.Dataset) -> Figure:
    """A panel for every axis, or for the six that move harm most."""
    shown = _shown(dataset)
    across = {1: 1, 2: 2, 4: 2}.get(len(shown), 3)
    down = -(-len(shown) // across)
    figure = new_figure(9.6 if across == 3 else 4.3 * across + 0.4, 3.1 * down + 0.9)
    grid: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    harm = np.concatenate([dataset[f"harm_along_{axis}"].values.ravel() for axis in shown])
    lost = not np.isfinite(harm).all()
    top = float(np.max(harm[np.isfinite(harm)], initial=1.0)) * (3.0 if lost else 1.0)  # room above for what diverged
    for letter, axes, axis in zip(string.ascii_lowercase, grid.flat, shown, strict=False):
        _draw(axes, dataset, axis, letter, top)
    for axes in grid[:, 1:].flat:
        axes.set_ylabel("")
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    key: dict[str, Any] = {"title": _hidden(dataset), "ncols": 4 if across > 1 else 1, "fontsize": 8.5}
    figure.legend(handles=_key(dataset, shown), loc="outside lower center", **key)
    return figure


def _shown(dataset: xr.Dataset) -> list[str]:
    names = [str(name) for name in dataset["axis"].values]
    moves = np.nan_to_num(dataset["harm_moved"].values, nan=-1.0)
    kept = np.sort(np.argsort(-moves, kind="stable")[:_MOST_PANELS])
    return [names[at] for at in kept]


def _hidden(dataset: xr.Dataset) -> str | None:
    """How many axes have no panel."""
    hidden = dataset.sizes["axis"] - _MOST_PANELS
    return f"not shown: {hidden} that move{'s' if hidden == 1 else ''} it less" if hidden > 0 else None


def _draw(axes: Axes, dataset: xr.Dataset, axis: str, letter: str, top: float) -> None:
    """Median, middle half and range of harm at every value of an axis."""
    harm, values = dataset[f"harm_along_{axis}"].transpose(axis, "quantile").values, dataset[axis]
    heights = np.where(np.isinf(harm), top, np.maximum(harm, LEAST_HARM))  # NaN, where every run diverged, stays
    for low, high, alpha in _BANDS:
        if len(values) > 1:
            axes.fill_between(values, heights[:, low], heights[:, high], color=_LOOK.color, linewidth=0, alpha=alpha)
        else:
            axes.vlines(values, heights[:, low], heights[:, high], color=_LOOK.color, linewidth=12, alpha=alpha)
    lost = ~np.isfinite(harm[:, _MEDIAN])
    axes.plot(values, np.where(lost, np.nan, heights[:, _MEDIAN]), label="median", **_LOOK.joined)
    axes.plot(values[lost], np.full(np.count_nonzero(lost), top), "kx", zorder=5)
    name, _, _ = str(values.attrs["long_name"]).partition(",")
    phase, _, rest = name.partition(" ")
    of_phase = phase in _PHASES and bool(rest)
    axes.set_title(f"({letter}) {phase}: {rest}" if of_phase else f"({letter}) {name}")
    along(axes, values.assign_attrs(long_name=rest if of_phase else name))
    harm_axis(axes, top, room=1.5)


def _key(dataset: xr.Dataset, shown: list[str]) -> list[Any]:
    """What is drawn."""
    over = "over all other axes" + (f" and {dataset.sizes['seed']} seeds" if dataset.sizes["seed"] > 1 else "")
    entries: list[Any] = [
        _LOOK.entry(f"simulation, median {over}"),
        Patch(color=_LOOK.color, alpha=0.42, label="middle half"),
        Patch(color=_LOOK.color, alpha=0.15, label="whole range"),
    ]
    if not all(np.isfinite(dataset[f"harm_along_{axis}"].isel(quantile=_MEDIAN)).all() for axis in shown):
        entries.append(Line2D([], [], color="black", marker="x", linestyle="none", label="diverged"))
    return entries


picture = Picture("sweep", "a result of sweep", _NEEDED, _paint)
draw, save = picture.draw, picture.save
