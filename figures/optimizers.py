"""Loss after fine-tuning over the base loss by optimiser, and from the best to the last one on every shift."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import curves, middle
from .panels.looks import GREY, Look, explain, known, legend, looks
from .picture import Picture

_NEEDED = {
    *("setting", "task_shift", "arm", "optimizer", "optimizer_name", "base_loss", "seed"),
    *("fixed_curve", "fixed_best", "fixed_last", "predicted_curve", "any_order_last"),
}
_CURVES = ("descent", "natural_gradient", "adam", "muon")
_POINTS = 20
_OF_SHIFT: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 1)), "linewidth": 1.4, "zorder": 2}


def _paint(dataset: xr.Dataset) -> Figure:
    """Curves on the first and the last shift, and both arms below."""
    cells = dataset.isel(setting=-1)
    shifts = cells["task_shift"].values[[0, -1]] if cells.sizes["task_shift"] > 1 else cells["task_shift"].values
    figure = new_figure(9.6, 7.4)
    above, below = np.ravel(figure.subfigures(2, 1, height_ratios=(1, 1.15), squeeze=False))
    for axes, shift, letter in zip(np.ravel(above.subplots(1, len(shifts))), shifts, "ab", strict=False):
        _draw_curves(axes, cells.sel(arm="pretrain", task_shift=shift))
        axes.set_title(f"({letter}) pre-training by an optimiser, shift of the {shift}")
    letters = "cd" if len(shifts) > 1 else "bc"
    drawn: dict[str, Look] = {}
    for axes, arm, letter in zip(below.subplots(1, 2, sharey=True), ("pretrain", "finetune"), letters, strict=True):
        drawn |= _draw_parts(axes, cells.sel(arm=arm))
        phase, other = ("pre-training", "fine-tuning") if arm == "pretrain" else ("fine-tuning", "pre-training")
        axes.set_title(f"({letter}) {phase} by each, {other} by descent")
    entries = explain(dataset.sizes["seed"], cells["predicted_curve"])
    entries.append(Line2D([], [], label="what the shift alone decides", **_OF_SHIFT))
    figure.legend(handles=entries, loc="outside lower left", ncols=2)
    kinds = [Line2D([], [], label=f"best on the {name}", **look.points) for name, look in drawn.items()]
    kinds += [
        Line2D([], [], label=f"last on the {name}", **look.points | {"markerfacecolor": look.color})
        for name, look in drawn.items()
    ]
    figure.legend(handles=kinds, loc="outside lower right", ncols=2)
    return figure


def _draw_curves(axes: Axes, cell: xr.Dataset) -> None:
    """Losses over the base loss, which falls to the right."""
    names = [name for name in _CURVES if name in cell["optimizer"].values]
    if not names:
        names = list(cell["optimizer"].values[: len(_CURVES)])
    few = np.unique(np.linspace(0, cell.sizes["base_loss"] - 1, _POINTS).round().astype(int))
    shown = cell.sel(optimizer=names)
    styles = looks(len(names), solid=True, sizes=(6.5, 4.5, 5.5, 4.5))
    runs = shown["fixed_curve"].isel(base_loss=few)
    drawn = curves(
        axes, runs, over="base_loss", by="optimizer", styles=styles, names=list(shown["optimizer_name"].values)
    )
    for look, name in zip(styles, names, strict=True):
        theory = shown["predicted_curve"].sel(optimizer=name)
        if known(theory):
            axes.plot(shown["base_loss"], theory, **look.path | {"linewidth": 1.8})
    axes.axhline(float(cell["any_order_last"]), **_OF_SHIFT)
    axes.set(xlabel="base loss / that of the zero network (1)", ylabel="pre-training loss after\nfine-tuning")
    decades(axes.yaxis)
    axes.set_xscale("log")
    axes.set_xlim(1.15, float(shown["base_loss"].min()) / 1.15)
    legend(axes, drawn, loc="best", fontsize=9)


def _draw_parts(axes: Axes, cells: xr.Dataset) -> dict[str, Look]:
    """From the best to the last loss: on a logarithmic axis the length of a bar is harm."""
    names = [str(name) for name in cells["optimizer"].values]
    rows = np.arange(len(names), dtype=float)[::-1]
    shifts = [str(shift) for shift in cells["task_shift"].values]
    drawn = dict(zip(shifts, looks(len(shifts), sizes=(6.0,)), strict=True))
    axes.set_xscale("log")
    for at, (shift, look) in enumerate(drawn.items()):
        here = cells.sel(task_shift=shift)
        best, last = (middle(here[f"fixed_{name}"]).values for name in ("best", "last"))
        places = rows + 0.2 * ((len(shifts) - 1) / 2 - at)
        axes.hlines(places, best, last, color=look.color, linewidth=2.2, alpha=0.5)
        axes.plot(best, places, **look.points)
        axes.plot(last, places, **look.points | {"markerfacecolor": look.color})
        axes.axvline(float(here["any_order_last"]), **_OF_SHIFT)
    untold = np.isnan(middle(cells["fixed_last"]).transpose("optimizer", "task_shift").values).all(axis=1)
    for place in rows[untold]:
        axes.text(0.5, place, "not told", transform=axes.get_yaxis_transform(), color=GREY, va="center", ha="center")
    axes.set_yticks(rows, list(cells["optimizer_name"].values))
    axes.set(xlabel="pre-training loss after fine-tuning (squared output)", ylim=(-0.6, len(names) - 0.4))
    axes.grid(axis="y", visible=False)
    return drawn


picture = Picture("optimizers", "a result of optimizers", _NEEDED, _paint)
draw, save = picture.draw, picture.save
