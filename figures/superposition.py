"""Overlap over the budget, who bears the excess, harm to the loss on features not seen, and both changed alone."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import band, curves, median, middle
from .panels.looks import GREY, OTHERWISE, REFERENCE, Look, explain, hollow, looks
from .picture import Picture

_NEEDED = {
    *("geometry", "shift", "width", "seed", "draw", "factor", "layer_scale", "pretrain_steps", "learning_rate"),
    *("feature_overlap", "end_overlap", "unseen_harm", "time_unseen_harm", "unseen_across", "unseen_in_width"),
    *("kept_share_over_times", "factor_kept_share_over_times", "overlap_rise", "scaled_counted_harm", "scaled_spilled"),
    "scaled_last_loss",
}
_FIXED, _MATCHED = "fixed time", "matched effort"
_TIME = "flow time of fine-tuning"
_END = "overlap at the last budget (1)"
_SHARES = (-0.5, 1.5)  # that are shown: next to an excess near 0 they say nothing


def _paint(dataset: xr.Dataset) -> Figure:
    """Six panels of the first shift."""
    figure = new_figure(11.6, 7.2)
    (over, borne, unseen), (times, alone, scaled) = figure.subplots(2, 3)
    cells = dataset.isel(shift=0)
    widths = [int(width) for width in dataset["width"].values]
    styles = looks(len(widths), ordered=True)

    shown = "mixed" if "mixed" in dataset["geometry"].values else str(dataset["geometry"].values[0])
    over.set_title(f"(a) overlap, {shown} features")
    curves(over, cells["feature_overlap"].sel(geometry=shown), by="width", styles=styles, joined=True, log=False)
    over.set(ylim=(0, 1), ylabel="overlap before fine-tuning (1)")
    along(over, dataset["pretrain_steps"])

    borne.set_title("(b) loss on all features: who bears its excess")
    _borne(borne, dataset)

    unseen.set_title(f"(c) loss on features not seen, T = {dataset.attrs['time']:g}")
    x, y = (
        middle(each).transpose("width", "geometry").values
        for each in (cells["end_overlap"], cells["unseen_harm"].sel(effort=_FIXED))
    )
    for row, look in enumerate(styles):
        unseen.plot(x[row], y[row], **look.points)
    most = np.nanmax(y, initial=0.01)
    unseen.set(
        xlabel=_END,
        xlim=(-0.03, None),
        ylabel="harm to the loss on\nfeatures not seen (1)",
        ylim=(-0.03 * most, 1.4 * most),
    )
    ranks = [
        (words, cells[name].sel(effort=_FIXED, candidate="overlap").values)
        for name, words in (("unseen_across", "all networks"), ("unseen_in_width", "within a width"))
    ]
    told = [f"{words} {np.nanmedian(each):+.2f}" for words, each in ranks if np.isfinite(each).any()]
    if told:
        text = "\n".join(["rank correlation with overlap", *told])
        unseen.text(0.04, 0.97, text, transform=unseen.transAxes, ha="left", va="top", fontsize=8, color=GREY)

    times.set_title("(d) loss on features not seen, over T")
    harm = cells["time_unseen_harm"]
    for number, look in enumerate(styles):
        _line(times, dataset, harm.isel(width=number).median("geometry"), look, None)
    if "separate" in dataset["geometry"].values:
        modes = middle(harm.sel(geometry="separate").median("width"))
        times.plot(_times(dataset), modes, label="features that are modes", **OTHERWISE)
        times.legend(fontsize=8, loc="upper left")
    times.set(ylabel="harm to the loss on\nfeatures not seen (1)", ylim=(-0.02, None))

    alone.set_title("(e) more overlap at the same loss and spectrum")
    _draws(alone, dataset)

    scaled.set_title("(f) sensitivity alone, c W$_1$ and W$_2$/c")
    _scaled(scaled, dataset)

    entries = [look.entry(f"{width} hidden units") for width, look in zip(widths, styles, strict=True)]
    handles = [*entries, *explain(dataset.sizes["seed"])]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, fontsize=9)
    return figure


def _borne(axes: Axes, dataset: xr.Dataset) -> None:
    """Share of the excess on features not seen over flow times, by how much outputs are strengthened."""
    first, shift = dataset["kept_share_over_times"].isel(shift=0), str(dataset["shift"].values[0])
    own = f"{shift} x {dataset.attrs['strengthened']:g}" if shift == "strengthened" else shift
    others = dataset["factor_kept_share_over_times"]
    drawn = [(own, first)]
    drawn += [(f"strengthened x {factor:g}", others.sel(factor=factor)) for factor in dataset["factor"].values]
    for look, (label, values) in zip(looks(len(drawn)), drawn, strict=True):
        _line(axes, dataset, values, look, label)
    axes.axhline(0.5, **REFERENCE)
    axes.axhline(0, **REFERENCE)
    axes.annotate("half of it", (0.5, 0.53), xycoords=("axes fraction", "data"), fontsize=8, color=GREY)
    axes.set(ylim=_SHARES, ylabel="share of the excess on features\nthat fine-tuning does not see (1)")
    axes.legend(fontsize=8, loc="upper left")


def _line(axes: Axes, dataset: xr.Dataset, values: xr.DataArray, look: Look, label: str | None) -> None:
    """Medians over seeds and their whole range, over flow times."""
    x, table = _times(dataset), values.transpose("learning_rate", "seed").values
    band(axes, x, table, look.color)
    axes.plot(x, median(table), label=label, **look.joined)
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{time:.3g}" for time in x])
    axes.minorticks_off()
    axes.set_xlabel(_TIME)


def _draws(axes: Axes, dataset: xr.Dataset) -> None:
    """Changes of harm, in order, of all draws."""
    rise = dataset["overlap_rise"]
    for look, effort in zip(looks(2), (_FIXED, _MATCHED), strict=True):
        values = np.sort(rise.sel(effort=effort).values[np.isfinite(rise.sel(effort=effort).values)])
        if len(values):
            label = f"{effort}: median {100 * np.median(values):+.2g} %"
            axes.plot((np.arange(len(values)) + 0.5) / len(values), values, label=label, **look.joined)
    axes.axhline(0, **REFERENCE)
    axes.set(xlim=(0, 1), xlabel=f"share of {dataset.sizes['draw']} draws (1)", ylabel="rise of harm with overlap (1)")
    if len(axes.lines) > 1:
        axes.legend(fontsize=8, loc="upper left")


def _scaled(axes: Axes, dataset: xr.Dataset) -> None:
    """Harm at both efforts, and what is spilled, over the scale of the input layer."""
    scale = dataset["layer_scale"]
    spilled = dataset["scaled_spilled"] / dataset["scaled_last_loss"]
    drawn = (
        ("harm, fixed time", dataset["scaled_counted_harm"].sel(effort=_FIXED), "o"),
        ("harm, matched effort", dataset["scaled_counted_harm"].sel(effort=_MATCHED), "s"),
        ("spilled / last loss, fixed time", spilled.sel(effort=_FIXED), "^"),
    )
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.5)
    for look, (label, values, marker) in zip(looks(3), drawn, strict=True):
        table = values.transpose("layer_scale", "seed").values
        band(axes, scale.values, table, look.color)
        line = {"color": look.color, "linewidth": 1.0, "linestyle": look.line, "marker": marker}
        axes.plot(scale, median(table), label=label, **line | hollow(4.5, look.color))
    axes.set_xscale("log")
    axes.set_xticks(scale.values, [f"{value:g}" for value in scale.values])
    axes.minorticks_off()
    axes.set(xlabel="scale of the input layer, c (1)", ylabel="harm, share spilled (1)", ylim=(0, 1000))
    axes.legend(fontsize=8, loc="upper left")


def _times(dataset: xr.Dataset) -> np.ndarray:
    return np.asarray(dataset["learning_rate"].values * dataset.attrs["finetune_steps"])


picture = Picture("superposition", "a result of superposition", _NEEDED, _paint)
draw, save = picture.draw, picture.save
