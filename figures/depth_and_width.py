"""Where overtraining starts, and how bad it gets, over the depth and over the width of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.labels import counted_harm

from .panels.axes import LEAST_HARM, decades, harm_axis, visible
from .panels.canvas import new_figure
from .panels.curves import curves, middle
from .panels.looks import GREY, REFERENCE, explain, known, legend
from .picture import Picture

_NEEDED = {
    *("depth", "width", "checkpoints", "learning_rate", "pretrain_steps", "pretrain_loss_after", "harm"),
    *("inflection_steps", "predicted_pretrain_loss_after", "predicted_harm", "predicted_inflection_steps"),
    *("onset_steps", "stable_rate", "converged_harm", "one_layer_harm", "width_harm", "width_inflection_steps"),
    *("start_tau", "start_depth", "start_inflection_steps", "start_harm"),
    *("width_predicted_harm", "width_predicted_inflection_steps", "width_converged_harm"),
}
_PARTS = ("", "predicted_", "width_", "width_predicted_", "start_")
_HARMFUL = 0.1  # harm from which on inflection points are compared
_NEGLIGIBLE = 0.01  # harm that is called none
_BUDGETS = 3  # fewer tell nothing about turns
_CURVE_SHARE = 0.05  # of the largest stable rate, at which curves are shown


def _paint(dataset: xr.Dataset) -> Figure:
    """Depth above, width below, starts to the right."""
    dataset = dataset.assign({f"{part}harm": counted_harm(dataset, part) for part in _PARTS})
    figure = new_figure(12.6, 6.8)
    (harm, turns, losses, span), (harm_by_width, reach, turns_by_width, harm_by_start) = figure.subplots(2, 4)
    _draw_starts(span, harm_by_start, dataset)
    dataset["width"].attrs["long_name"] = "hidden width"
    _draw_depths(harm, turns, losses, dataset)
    _draw_widths(harm_by_width, reach, turns_by_width, dataset)
    either = xr.concat([dataset["predicted_harm"].max(), dataset["width_predicted_harm"].max()], "kind")
    handles = explain(dataset.sizes["width_seed"], either, closed_form="theory")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _draw_depths(harm: Axes, turns: Axes, losses: Axes, dataset: xr.Dataset) -> None:
    """Harm and turns over the rate in units of the largest stable one; curves at about the same rate x curvature."""
    real = dataset.isel(checkpoints=0)
    share = (real["learning_rate"] / real["stable_rate"]).assign_attrs(
        long_name="rate / largest stable rate", units="1"
    )
    harm.set_title(f"(a) {real['checkpoints'].item()} checkpoints, by depth")
    over_rate: dict[str, Any] = {"over": "learning_rate", "by": "depth", "places": share}
    curves(harm, visible(real["harm"]), visible(real["predicted_harm"]), **over_rate)
    _mark_level(harm, real["converged_harm"], "stages, converged", 0.02, "left")
    _mark_level(harm, real["one_layer_harm"], "one layer at most", 0.98, "right")
    harm_axis(harm)

    turns.set_title("(b) where it starts, harm above 1 %")
    onset = known(real["onset_steps"])  # when the strongest misaligned mode is half learned
    unit = real["onset_steps"] if onset else 1.0
    seen, told = (real[f"{kind}inflection_steps"] / unit for kind in ("", "predicted_"))
    counts = real["harm"] > _NEGLIGIBLE
    drawn = curves(turns, seen.where(counts), told.where(counts), **over_rate)
    turns.set_ylabel("inflection / harmful mode learned" if onset else "inflection (steps)")
    turns.axhline(1, **REFERENCE)
    legend(turns, drawn, title="layers", loc="lower left", ncols=2, fontsize=7)

    losses.set_title(f"(c) curves at {100 * _CURVE_SHARE:g} % of that rate")
    at = abs(xr.ufuncs.log(share / _CURVE_SHARE)).argmin("learning_rate", skipna=False)
    shown, closed = (real[f"{kind}pretrain_loss_after"].isel(learning_rate=at) for kind in ("", "predicted_"))
    curves(losses, shown, closed, by="depth")
    losses.set_ylabel("pre-training loss, fine-tuned")
    decades(losses.yaxis)


def _draw_starts(span: Axes, harm: Axes, dataset: xr.Dataset) -> None:
    """By how much the rate moves the inflection, and the most harm over the rates, over where the product starts."""
    starts = xr.ufuncs.exp(-2 * dataset["start_tau"]).assign_attrs(long_name="$s_0$, start of the product", units="1")
    turns = dataset["start_inflection_steps"].where(dataset["start_harm"] > _HARMFUL)
    apart = turns.max("learning_rate") / turns.min("learning_rate")
    most = visible(dataset["start_harm"]).max("learning_rate")
    over_start: dict[str, Any] = {"over": "start_tau", "by": "start_depth", "places": starts, "joined": True}
    span.set_title("(g) latest / earliest inflection")
    legend(span, curves(span, apart, **over_start), title="layers", loc="best", ncols=2, fontsize=7)
    span.set_ylabel("over the rates, harm above 10 %")
    harm.set_title("(h) most harm over the rates")
    curves(harm, most, **over_start)
    harm_axis(harm)


def _draw_widths(harm: Axes, reach: Axes, turns: Axes, dataset: xr.Dataset) -> None:
    """Harm over the rate, the most of it beside that of the stages in reach, and turns at rates around that of most."""
    real = dataset.isel(checkpoints=0)
    harm.set_title(f"(d) {real['checkpoints'].item()} checkpoints, by width")
    theory = visible(real["width_predicted_harm"])
    drawn = curves(harm, visible(real["width_harm"]), theory, over="learning_rate", by="width")
    harm_axis(harm, room=30)
    legend(harm, drawn, title="width", loc="upper center", ncols=3, fontsize=7)

    reach.set_title("(e) most harm over the rates")
    most = visible(dataset["width_harm"].max("learning_rate"))
    curves(reach, most, over="width", by="checkpoints", names="{} checkpoints", joined=False)
    limit = visible(dataset["width_converged_harm"])
    reach.plot(dataset["width"], limit, color=GREY, label="stages in reach,\nfully fine-tuned")
    reach.legend(loc="lower right", fontsize=8)
    harm_axis(reach)

    turns.set_title("(f) where it starts, by width")
    typical = middle(real["width_harm"], "width_seed")
    worst = int(typical.where(np.isfinite(typical), 0.0).max("width").argmax("learning_rate"))
    near = real.isel(learning_rate=sorted({max(worst - 2, 0), worst, min(worst + 1, real.sizes["learning_rate"] - 1)}))
    counts = middle(near["width_harm"], "width_seed") > _NEGLIGIBLE
    seen, told = (near[f"width_{kind}inflection_steps"].where(counts) for kind in ("", "predicted_"))
    legend(turns, curves(turns, seen, told, over="width", by="learning_rate", names="rate {}"), loc="lower left")
    turns.set_ylabel("inflection (steps)")
    decades(turns.yaxis)


def _mark_level(axes: Axes, harm: xr.DataArray, said: str, place: float, side: str) -> None:
    """What harm comes to in a limit, as a horizontal line, if it is any."""
    level = float(harm.where(np.isfinite(harm), 0.0).max())
    if level > LEAST_HARM:
        axes.axhline(level, **REFERENCE)
        where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": side, "va": "bottom"}
        axes.text(place, 1.1 * level, said, color="0.3", fontsize=7, **where)


picture = Picture("depth_and_width", "a result of depth_and_width", _NEEDED, _paint)
draw, save = picture.draw, picture.save
