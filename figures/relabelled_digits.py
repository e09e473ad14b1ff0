"""What has to be unlearned on digits: losses over the budget and harm over flow time, trained on and held out."""

from __future__ import annotations

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.labels import lost_lanes

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import curves, middle
from .panels.looks import OTHERWISE, REFERENCE, Look, explain, looks
from .picture import Picture

_NEEDED = {
    *("objective", "shift", "seed", "pretrain_steps", "learning_rate", "finetune_loss_after", "finetune_zero_loss"),
    *("counted_finetune_harm", "counted_heldout_finetune_harm", "stopped_heldout_finetune_harm", "diverged"),
    *("heldout_pretrain_loss_before", "stopped_steps", "fisher_trace"),
}
_BUDGET, _RATE = "pretrain_steps", "learning_rate"
_HARD = "hard labels"


def _paint(dataset: xr.Dataset) -> Figure:
    """Above relabelled digits: loss over the budget, and harm over flow time; below what is beside it."""
    figure = new_figure(12.8, 7.4)
    (loss, trained, heldout), (new, overfit, trace) = figure.subplots(2, 3)
    styles, steps, short = _styles(dataset), dataset.attrs["finetune_steps"], dataset.attrs["short"]
    named: dict[str, Any] = {"by": "objective", "styles": styles, "joined": True, "log": False}
    other, half = (dataset.sel(shift=shift) for shift in ("relabelled", "new digits"))
    times = (dataset[_RATE] * steps).assign_attrs(long_name="flow time of fine-tuning", units="1")

    at = other.sel({_RATE: short / steps}, method="nearest")
    loss.set_title(f"(a) half of the digits relabelled, T = {short:g}")
    curves(loss, at["finetune_loss_after"].where(~lost_lanes(at)) / at["finetune_zero_loss"], **named)
    loss.set(ylabel="fine-tuning loss after / zero network's", ylim=(0, None))

    for axes, told, words in (
        (trained, other["counted_finetune_harm"], "(b) relabelled: last budget above the best"),
        (heldout, other["counted_heldout_finetune_harm"], "(c) the same on images held out"),
        (new, half["counted_finetune_harm"], "(d) new digits: last budget above the best"),
    ):
        axes.set_title(words)
        curves(axes, told, over=_RATE, places=times, **named)
        axes.set(ylabel="harm to the fine-tuning loss (1)", ylim=(0, None))
        axes.axvline(short, **REFERENCE)
    _before_overfitting(heldout, other["stopped_heldout_finetune_harm"].sel(objective=_HARD), times)

    overfit.set_title("(e) all digits held out, before fine-tuning")
    before = other["heldout_pretrain_loss_before"]
    curves(overfit, before / before.isel({_BUDGET: 0}), **named)
    overfit.set(ylabel="pre-training loss / first budget's", ylim=(0, None))
    begins = other["stopped_steps"].sel(objective=_HARD).median()
    for axes in (loss, overfit):
        axes.axvline(float(begins), label="hard labels begin to overfit", **REFERENCE | {"linestyle": "--"})
    overfit.legend(fontsize=8)

    trace.set_title("(f) sensitivity before fine-tuning, all digits")
    curves(trace, other["fisher_trace"] / other["fisher_trace"].max(_BUDGET), **named)
    trace.set(ylabel="Fisher trace / its largest", ylim=(0, None))
    for axes in (loss, overfit, trace):
        along(axes, dataset[_BUDGET])
    handles = [look.entry(str(name)) for name, look in zip(dataset["objective"].values, styles, strict=True)]
    figure.legend(handles=[*handles, *explain(dataset.sizes["seed"])], loc="outside lower left", ncols=6, fontsize=9)
    return figure


def _before_overfitting(axes: Axes, harm: xr.DataArray, times: xr.DataArray) -> None:
    """How much of the harm of hard labels is there before pre-training overfits."""
    axes.plot(
        times, middle(harm), label="hard labels, by the budget at which\npre-training begins to overfit", **OTHERWISE
    )
    axes.legend(fontsize=8)


def _styles(dataset: xr.Dataset) -> list[Look]:
    """Of squared error, hard and smoothed labels, as in the picture of objectives, which has soft ones as well."""
    return [each for at, each in enumerate(looks(4)) if at != 1][: dataset.sizes["objective"]]


picture = Picture("relabelled_digits", "a result of relabelled_digits", _NEEDED, _paint)
draw, save = picture.draw, picture.save
