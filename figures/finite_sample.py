"""Loss on both tasks over the budget, fine-tuned on samples and by exact gradients: where either turns up."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from linsim.labels import lost_lanes

from .panels.canvas import new_figure
from .panels.curves import closed_form, curves
from .panels.looks import explain, looks
from .panels.words import short
from .picture import Picture

_NEEDED = {
    *("rescale_factor", "examples", "pretrain_steps", "learning_rate", "seed", "diverged", "pretrain_loss_after"),
    *("inflection_steps", "heldout_loss_after", "heldout_inflection_steps"),
}
_LOSSES = (
    ("heldout_loss_after", "heldout_inflection_steps", "held-out fine-tuning loss"),
    ("pretrain_loss_after", "inflection_steps", "pre-training loss, fine-tuned"),
)
_TASKS = {0.0: "weaker features removed", 1.0: "the same task"}


def _paint(dataset: xr.Dataset) -> Figure:
    """A column for each task: held-out fine-tuning loss above, loss on the pre-training task below."""
    last = dataset.isel(learning_rate=-1)
    factors = last["rescale_factor"].values
    figure = new_figure(3.3 * len(factors), 6.4)
    panels = figure.subplots(2, len(factors), squeeze=False)
    time = float(last["learning_rate"]) * dataset.attrs["finetune_steps"]
    styles = looks(last.sizes["examples"], ordered=True)
    for at, factor in enumerate(factors):
        part = last.isel(rescale_factor=at)
        panels[0, at].set_title(f"{_TASKS.get(factor, f'weaker features x {factor:g}')}, T = {short(time)}")
        for axes, (name, turns, said) in zip(panels[:, at], _LOSSES, strict=True):
            runs, theory = (each.where(~lost_lanes(part)) for each in (part[name], closed_form(part, name)))
            most = part[turns].where(part[turns].notnull().mean("seed") > 0.5)
            curves(axes, runs, theory, by="examples", styles=styles, turns=most, log=False)
            axes.set(ylabel=said if at == 0 else "", ylim=(0, None))
    named = [f"n = {value:g}" for value in last["examples"].values[:-1]] + ["exact gradients"]
    handles = [look.entry(name) for name, look in zip(named, styles, strict=True)]
    handles += explain(last.sizes["seed"], closed_form(last, "heldout_loss_after"), last["heldout_inflection_steps"])
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


picture = Picture("finite_sample", "a result of finite_sample", _NEEDED, _paint)
draw, save = picture.draw, picture.save
