"""Tasks in turn: forgetting over the similarity of two tasks, losses of several in a row, and reversal."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import GREY, Look, explain, legend, looks
from .picture import Picture

_NEEDED = {
    *("overlap", "head", "seed", "forgetting", "predicted_forgetting", "turn_steps", "task", "turn_loss", "budget"),
    *("exact_turn_loss", "predicted_turn_loss", "start", "reversal_time", "predicted_reversal_time"),
}
_COPIED = "copied"


def _paint(dataset: xr.Dataset) -> Figure:
    """Similarity, sequence, reversal."""
    figure = new_figure(12.0, 4.9)
    similarity, sequence, reversal = figure.subplots(1, 3)
    _similarity(similarity, dataset)
    _sequence(sequence, dataset)
    _reversal(reversal, dataset)
    entries = explain(dataset.sizes["seed"], dataset["predicted_forgetting"])
    figure.legend(handles=entries, loc="outside lower left", ncols=4, fontsize=9)
    return figure


def _similarity(axes: Axes, dataset: xr.Dataset) -> None:
    """Over the overlap, a curve for each head; the closed form from a copied head, and from one of 0."""
    heads = [str(head) for head in dataset["head"].values]
    styles = looks(len(heads))
    losses = dataset["forgetting"]
    curves(axes, losses, over="overlap", by="head", styles=styles, joined=True, log=False)
    overlaps, theory = dataset["overlap"].values, dataset["predicted_forgetting"]
    for at, head in ((0, _COPIED), (len(heads) - 1, "0")):
        inside = overlaps > (0 if head == "0" else -1)
        axes.plot(overlaps[inside], theory.isel(head=at).values[inside], color=GREY, linewidth=2.0, zorder=1)
        if inside.any():
            place: dict[str, Any] = {"xytext": (4, 2), "textcoords": "offset points", "fontsize": 8, "color": GREY}
            where = overlaps[inside][0], float(theory.isel(head=at).values[inside][0])
            axes.annotate(f"head from {head}" if head == "0" else "copied", where, **place)
    legend(axes, dict(zip(heads, styles, strict=True)), title="head of the second task")
    axes.set(title="(a) two tasks, by similarity", xscale="linear", xlim=(-0.04, 1.04), ylim=(-0.05, None))
    axes.set(ylabel="first task's loss after / zero network's", xlabel="overlap of both tasks")


def _sequence(axes: Axes, dataset: xr.Dataset) -> None:
    """One seed's losses over all steps, with the exact solution; dotted levels where another task is solved."""
    styles = looks(dataset.sizes["task"], ordered=True)
    steps, one = dataset["turn_steps"].values, dataset.isel(seed=0)
    for at, look in enumerate(styles):
        axes.plot(steps, one["turn_loss"].isel(task=at), markevery=6, **look.points)
        axes.plot(steps, one["exact_turn_loss"].isel(task=at), **look.path)
        axes.plot(steps, one["predicted_turn_loss"].isel(task=at), color=look.color, linestyle=":", linewidth=0.9)
    length = int(dataset.attrs["task_steps"])
    for end in length * np.arange(1, dataset.sizes["task"]):
        axes.axvline(float(end), color=GREY, linewidth=0.7, linestyle="--")
    legend(axes, {str(at + 1): look for at, look in enumerate(styles)}, title="task", ncols=2)
    axes.set(title="(b) tasks in turn, one seed", ylim=(-0.05, None), xlabel="steps, all tasks together")
    axes.set_ylabel("loss of each task / zero network's")


def _reversal(axes: Axes, dataset: xr.Dataset) -> None:
    """Time over the budget before, a curve for each start, with the closed form of a task learned in full."""
    starts = [str(start) for start in dataset["start"].values]
    styles = looks(len(starts))
    named: dict[str, Look] = {}
    for at, (start, look) in enumerate(zip(starts, styles, strict=True)):
        name = f"l = {start}" if start[0].isdigit() else start
        named[name] = look
        curves(axes, dataset["reversal_time"].isel(start=at), over="budget", styles=[look], joined=True)
        level = float(dataset["predicted_reversal_time"].isel(start=at))
        if np.isfinite(level):
            axes.axhline(level, color=look.color, linewidth=1.4, linestyle=look.line, zorder=1)
    along(axes, dataset["budget"])
    legend(axes, named, title="balance of the start")
    axes.set(title="(c) reversal: A, then -A", xlabel="steps on A before", ylim=(1, None))
    axes.set_ylabel("flow time until half is reversed")


picture = Picture("tasks_in_turn", "a result of tasks_in_turn", _NEEDED, _paint)
draw, save = picture.draw, picture.save
