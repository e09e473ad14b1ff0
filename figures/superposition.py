"""Overlap of features over the budget, where harm is, what it goes with between networks, and both changed alone."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import curves, middle
from .panels.looks import GREY, REFERENCE, Look, explain, hollow, looks
from .picture import Picture

_NEEDED = {
    *("geometry", "shift", "width", "seed", "turn", "layer_scale", "pretrain_steps", "feature_overlap", "counted_harm"),
    *("kept_excess", "loss_excess", "end_overlap", "across", "kept_share", "turned_counted_harm", "turned_spilled"),
    *("turned_end_overlap", "turned_last_loss", "scaled_counted_harm", "scaled_spilled", "scaled_last_loss"),
}
_FIXED, _MATCHED = "fixed time", "matched effort"
_LOWEST = -0.6  # share that is shown, those below it there


def _paint(dataset: xr.Dataset) -> Figure:
    """Six panels of the first shift."""
    figure = new_figure(11.6, 7.2)
    (over, borne, fixed), (alone, scaled, matched) = figure.subplots(2, 3)
    cells = dataset.isel(shift=0)
    widths = [int(width) for width in dataset["width"].values]
    styles = looks(len(widths), ordered=True)

    shown = "mixed" if "mixed" in dataset["geometry"].values else str(dataset["geometry"].values[0])
    over.set_title(f"(a) overlap, {shown} features")
    curves(over, cells["feature_overlap"].sel(geometry=shown), by="width", styles=styles, joined=True, log=False)
    over.set(ylim=(0, 1), ylabel="overlap before fine-tuning (1)")
    along(over, dataset["pretrain_steps"])

    harmed = cells["counted_harm"].sel(effort=_FIXED) > 0
    share = (cells["kept_excess"] / cells["loss_excess"]).sel(effort=_FIXED).where(harmed)
    borne.set_title("(b) who bears the harm")
    _scatter(borne, cells["end_overlap"], share.clip(_LOWEST, 1), styles)
    borne.axhline(0.5, **REFERENCE)
    borne.axhline(0, **REFERENCE)
    borne.annotate(
        "half of it: superposition", (0.02, 0.52), xycoords=("axes fraction", "data"), fontsize=8, color=GREY
    )
    borne.set(ylim=(_LOWEST - 0.05, 0.8), ylabel="share of the excess on features\nthat fine-tuning does not see (1)")

    for axes, letter, effort in ((fixed, "c", _FIXED), (matched, "f", _MATCHED)):
        axes.set_title(f"({letter}) harm at {'a fixed time' if effort == _FIXED else effort}")
        _scatter(axes, cells["end_overlap"], cells["counted_harm"].sel(effort=effort), styles)
        axes.set(ylabel="harm (1)", ylim=(0, None))
        told = [float(np.nanmedian(each)) for each in _ranks(dataset, effort) if np.isfinite(each).any()]
        if len(told) == 2:
            words = f"rank correlation\nwith overlap {told[0]:+.2f}\nwith sensitivity {told[1]:+.2f}"
            axes.text(0.14, 0.97, words, transform=axes.transAxes, ha="left", va="top", fontsize=8, color=GREY)

    alone.set_title("(d) overlap alone")
    _apart(alone, dataset, "turned", middle(dataset["turned_end_overlap"]), "turn")
    alone.set_xlabel("overlap at the last budget (1)")
    scaled.set_title("(e) sensitivity alone, c W$_1$ and W$_2$/c")
    scale = dataset["layer_scale"]
    _apart(scaled, dataset, "scaled", scale, "layer_scale", named=False)
    scaled.set_xscale("log")
    scaled.set_xticks(scale.values, [f"{value:g}" for value in scale.values])
    scaled.minorticks_off()
    scaled.set_xlabel("scale of the input layer, c (1)")

    entries = [look.entry(f"{width} hidden units") for width, look in zip(widths, styles, strict=True)]
    handles = [*entries, *explain(dataset.sizes["seed"])]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, fontsize=9)
    return figure


def _ranks(dataset: xr.Dataset, effort: str) -> list[np.ndarray]:
    told = dataset["across"].sel(effort=effort)
    return [told.sel(candidate=each).values for each in ("overlap", "sensitivity")]


def _scatter(axes: Axes, across: xr.DataArray, up: xr.DataArray, styles: list[Look]) -> None:
    """A marker for every geometry, at medians over seeds."""
    x, y = (middle(each).transpose("width", "geometry").values for each in (across, up))
    for row, look in enumerate(styles):
        axes.plot(x[row], y[row], **look.points)
    axes.set(xlabel="overlap at the last budget (1)", xlim=(-0.03, None))


def _apart(axes: Axes, dataset: xr.Dataset, name: str, places: xr.DataArray, over: str, named: bool = True) -> None:
    """Harm at both efforts, and what is spilled, over what alone is changed."""
    x = np.asarray(places.values, float)
    spilled = dataset[f"{name}_spilled"] / dataset[f"{name}_last_loss"]
    drawn = (
        ("harm, fixed time", dataset[f"{name}_counted_harm"].sel(effort=_FIXED), "o"),
        ("harm, matched effort", dataset[f"{name}_counted_harm"].sel(effort=_MATCHED), "s"),
        ("spilled / last loss, fixed time", spilled.sel(effort=_FIXED), "^"),
    )
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.5)
    for look, (label, values, marker) in zip(looks(3), drawn, strict=True):
        table = values.transpose(over, ...).values.reshape(len(x), -1)
        known = np.isfinite(table).any(axis=1)
        if known.any():
            low, high = np.nanmin(table[known], axis=1), np.nanmax(table[known], axis=1)
            axes.fill_between(x[known], low, high, color=look.color, alpha=0.15, linewidth=0)
            middles = np.nanmedian(table[known], axis=1)
            line = {"color": look.color, "linewidth": 1.0, "linestyle": look.line, "marker": marker}
            axes.plot(x[known], middles, label=label, **line | hollow(4.5, look.color))
    axes.set(ylabel="harm, share spilled (1)", ylim=(0, 30))
    if axes.lines and named:
        axes.legend(fontsize=8, loc="upper right")


picture = Picture("superposition", "a result of superposition", _NEEDED, _paint)
draw, save = picture.draw, picture.save
