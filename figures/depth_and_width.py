"""Where overtraining starts, and how bad it gets, over the depth and over the width of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.axes import LEAST_HARM, decades, harm_axis, visible
from .panels.canvas import new_figure
from .panels.curves import curves, median, middle
from .panels.looks import GREY, REFERENCE, explain, known, legend
from .panels.words import rise
from .picture import Picture

_NEEDED = {
    *("depth", "width", "checkpoints", "learning_rate", "pretrain_steps", "pretrain_loss_after", "harm"),
    *("inflection_steps", "predicted_pretrain_loss_after", "predicted_harm", "predicted_inflection_steps"),
    *("onset_steps", "stable_rate", "converged_harm", "one_layer_harm", "width_harm", "width_inflection_steps"),
    *("width_predicted_harm", "width_predicted_inflection_steps", "width_converged_harm"),
}
_NEGLIGIBLE = 0.01  # harm that is called none
_BUDGETS = 3  # fewer tell nothing about turns
_CURVE_SHARE = 0.05  # of the largest stable rate, at which curves are shown


def _paint(dataset: xr.Dataset) -> Figure:
    """Depth above, width below."""
    figure = new_figure(9.6, 6.8)
    (harm, turns, losses), (harm_by_width, reach, turns_by_width) = figure.subplots(2, 3)
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


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one sentence."""
    depths = dataset["depth"].values
    finite = [np.isfinite(dataset[name][0]).any() for name in ("harm", "width_harm")]
    if not any(finite):
        return "Every run diverged"
    if min(dataset.sizes["pretrain_steps"], dataset.sizes["width_pretrain_steps"]) < _BUDGETS:
        return "Too few budgets to tell whether more pre-training hurts"
    most = np.nan_to_num(dataset["harm"][0].values, posinf=0.0).max(axis=1)
    reached = np.nan_to_num(median(dataset["width_harm"][0].values), posinf=0.0).max(axis=1)
    if not (most > _NEGLIGIBLE).any() and not (reached > _NEGLIGIBLE).any():
        return "At no depth and no width does more pre-training hurt"
    parts = []
    single, deep = most[depths == 1], most[depths > 1]
    if len(deep):
        span = rise(float(deep.max())).removeprefix("+")
        parts.append(f"With two or more layers overtraining costs up to {span}")
    if len(single):
        parts.append(f"with one layer at most {rise(float(single[0])).removeprefix('+')}")
    none = dataset["width"].values[reached <= _NEGLIGIBLE]
    if len(none) and len(none) < len(reached):
        parts.append(f"and none where the width ({', '.join(map(str, none))}) keeps the harmful modes out of reach")
    message = ", ".join(parts) or "More pre-training hurts"
    spans = [_span(dataset, int(at)) for at in np.flatnonzero(depths > 1)]
    if len(spans) > 1 and spans[-1] < spans[0]:
        message += "; the deeper, the less the rate decides where it starts"
    return message[0].upper() + message[1:]


def _span(dataset: xr.Dataset, at: int) -> float:
    """Latest over earliest inflection of a depth, over the rates with harm above 10 %; NaN where there are none."""
    turns = dataset["inflection_steps"][0, at].values[dataset["harm"][0, at].values > 0.1]
    turns = turns[np.isfinite(turns)]
    return float(turns.max() / turns.min()) if len(turns) else np.nan


picture = Picture("depth_and_width", "a result of depth_and_width", _NEEDED, _paint, _message)
draw, save = picture.draw, picture.save
