"""What overshoots, what has to be unlearned and what noise sees, by training objective, over the budget."""

from __future__ import annotations

from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from linsim.labels import lost_lanes

from .panels.axes import along
from .panels.canvas import new_figure
from .panels.curves import curves
from .panels.looks import REFERENCE, explain, looks
from .picture import Picture

_NEEDED = {
    *("objective", "shift", "seed", "pretrain_steps", "learning_rate", "finetune_loss_after", "finetune_zero_loss"),
    *("matched_curve", "pretrain_zero_loss", "counted_finetune_harm", "fisher_trace", "diverged"),
}
_BUDGET = "pretrain_steps"


def _paint(dataset: xr.Dataset) -> Figure:
    """Fine-tuning loss over the budget, its harm over flow time; pre-training loss and Fisher trace over the budget."""
    figure = new_figure(9.6, 7.4)
    (relabelled, harm), (strengthened, trace) = figure.subplots(2, 2)
    styles, steps = looks(dataset.sizes["objective"]), dataset.attrs["finetune_steps"]
    named: dict[str, Any] = {"by": "objective", "styles": styles, "joined": True, "log": False}
    other, weak = (dataset.sel(shift=shift) for shift in ("relabelled", "strengthened"))
    times = (dataset["learning_rate"] * steps).assign_attrs(long_name="flow time of fine-tuning", units="1")

    short = dataset.attrs["short"]
    at = other.sel(learning_rate=short / steps, method="nearest")
    relabelled.set_title(f"(a) half of the contexts relabelled, T = {short:g}")
    loss = at["finetune_loss_after"].where(~lost_lanes(at)) / at["finetune_zero_loss"]
    curves(relabelled, loss, **named)
    relabelled.set(ylabel="fine-tuning loss after / zero network's", ylim=(0, None))

    harm.set_title("(b) relabelled: how far the last budget is above the best")
    curves(harm, other["counted_finetune_harm"], over="learning_rate", places=times, **named)
    harm.set(ylabel="harm to the fine-tuning loss (1)", ylim=(0, None))
    harm.axvline(short, **REFERENCE)

    strengthened.set_title(f"(c) weak modes strengthened, until {dataset.attrs['level']:g} of the loss is left")
    curves(strengthened, weak["matched_curve"] / weak["pretrain_zero_loss"], **named)
    strengthened.set(ylabel="pre-training loss after / zero network's", ylim=(0, None))

    trace.set_title("(d) sensitivity before fine-tuning")
    share = weak["fisher_trace"] / weak["fisher_trace"].max(_BUDGET)
    curves(trace, share, **named)
    trace.set(ylabel="Fisher trace / its largest", ylim=(0, None))
    for axes in (relabelled, strengthened, trace):
        along(axes, dataset[_BUDGET])
    handles = [look.entry(str(name)) for name, look in zip(dataset["objective"].values, styles, strict=True)]
    figure.legend(handles=[*handles, *explain(dataset.sizes["seed"])], loc="outside lower left", ncols=6, fontsize=9)
    return figure


picture = Picture("objectives", "a result of objectives", _NEEDED, _paint)
draw, save = picture.draw, picture.save
