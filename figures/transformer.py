"""A small transformer along its pre-training: loss after fine-tuning, sensitivity to noise, what the monitors say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .panels.axes import decades
from .panels.canvas import new_figure
from .panels.curves import BUDGETS, curves, middle
from .panels.looks import REFERENCE, Look, explain, known, looks
from .panels.rows import ranges, span
from .picture import Picture

_NEEDED = {
    *("pretrain_steps", "learning_rate", "seed", "pretrain_loss_before", "pretrain_loss_after", "inflection_steps"),
    *("harm", "rise_under_absolute_noise", "rise_under_relative_noise", "rise_at_first_scale", "monitor"),
    *("monitor_error", "alarm_steps", "rank_correlation", "budget_rank_correlation"),
}
_MEASURES = {
    "noise_increase": ("relative noise", Look("#D55E00", "o", "-")),
    "hessian_trace": ("Hessian trace", Look("#0072B2", "s", "-")),
    "fisher": ("Fisher trace", Look("#009E73", "^", "--")),
    "empirical_fisher": ("empirical Fisher", Look("#CC79A7", "v", ":")),
    "gradient_square": ("squared gradient", Look("#E69F00", "D", "-.")),
    "top_eigenvalue": ("top eigenvalue", Look("#000000", "P", "-")),
}
_NOISES = {
    "rise_under_relative_noise": ("relative noise {:g}", Look("#D55E00", "o", "-")),
    "rise_at_first_scale": ("absolute noise {:g}, residual\nstream at its first scale", Look("#56B4E9", "s", "--")),
    "rise_under_absolute_noise": ("absolute noise {:g}", Look("#0072B2", "^", "-")),
}
_RING: dict[str, Any] = {
    **{"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgecolor": "black", "zorder": 6},
}


def _paint(dataset: xr.Dataset) -> Figure:
    """Losses, sensitivities and monitors over the budget, and how monitors go with forgetting."""
    figure = new_figure(9.6, 7.6)
    (losses, noise), (monitors, correlations) = figure.subplots(2, 2)
    _draw_losses(losses, dataset)
    _draw_noise(noise, dataset)
    _draw_monitors(monitors, dataset)
    _draw_correlations(correlations, dataset)
    handles = explain(dataset.sizes["seed"], turns=dataset["inflection_steps"], simulated="training")
    said = "Error bars are the largest standard error of a seed."
    figure.legend(handles=handles, loc="outside lower left", ncols=4, title=said, alignment="left")
    return figure


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    """Base loss, and loss after fine-tuning at every rate; a star where the curve turns."""
    axes.set_title("(a) pre-training loss, before and after fine-tuning")
    after, turns = dataset["pretrain_loss_after"], dataset["inflection_steps"]
    curves(axes, after.where(np.isfinite(after)), by="learning_rate", names="after, at rate {}", turns=turns)
    curves(axes, dataset["pretrain_loss_before"], styles=[Look("black", "", "--")], names="before")
    axes.set_ylabel("excess loss (nats per token)")
    axes.legend(loc="lower left")
    decades(axes.yaxis)


def _draw_noise(axes: Axes, dataset: xr.Dataset) -> None:
    """The rise of the loss under noise, in units of its first value."""
    axes.set_title("(b) rise of the loss under noise on the weights")
    names, rises, errors = [], [], []
    for name, (said, _) in _NOISES.items():
        scale = next(dim for dim in map(str, dataset[name].dims) if dim.endswith("_noise"))
        rise, error = (
            dataset[each].isel({scale: dataset.sizes[scale] // 2}).drop_attrs() for each in (name, f"{name}_error")
        )
        names.append(said.format(float(rise[scale])))
        rises.append((rise / rise[0]).drop_vars(scale))
        errors.append((error / rise[0]).drop_vars(scale))
    styles = [look for _, look in _NOISES.values()]
    _draw_growth(axes, dataset[BUDGETS], xr.concat(rises, "kind"), xr.concat(errors, "kind"), names, styles)
    axes.set_ylabel("rise / rise at the first budget")
    axes.legend(loc="best")


def _draw_monitors(axes: Axes, dataset: xr.Dataset) -> None:
    """Every monitor in units of its first value, and where the alarm on it rings."""
    axes.set_title("(c) monitors on held-out text")
    read = dataset.sel(measure=list(_MEASURES)).rename(measure="kind")
    first = read["monitor"].isel({BUDGETS: 0})
    growth = (read["monitor"] / first).drop_attrs()
    growth, rings = growth.where(growth > 0), read["alarm_steps"]
    names, styles = zip(*_MEASURES.values(), strict=True)
    _draw_growth(axes, read[BUDGETS], growth, read["monitor_error"] / abs(first), names, styles)
    for kind, seed in np.argwhere(np.isfinite(rings.values)):
        steps = float(rings[kind, seed])
        axes.plot([steps], [float(growth.isel(kind=kind, seed=seed).sel({BUDGETS: steps}))], **_RING)
    axes.set_ylabel("value / value at the first budget")
    rung = "circle: the alarm rings" if known(rings) else "no alarm rings"
    axes.legend(title=rung, alignment="left", loc="lower left")


def _draw_growth(
    axes: Axes,
    budgets: xr.DataArray,
    growth: xr.DataArray,
    errors: xr.DataArray,
    names: Sequence[str],
    styles: Sequence[Look],
) -> None:
    """Curves in units of their first value, over (kind, budget, seed), with the largest error of a seed."""
    curves(axes, growth, by="kind", names=names, styles=styles, places=budgets)
    for place, look in enumerate(styles):
        height = middle(growth.isel(kind=place)).values
        bars = np.minimum(errors.isel(kind=place).max("seed").values, 0.9 * height)  # a bar through 0 has no bottom
        axes.errorbar(budgets.values, height, bars, color=look.color, fmt="none", elinewidth=0.9, zorder=2)
    axes.axhline(1, **REFERENCE)
    decades(axes.yaxis)


def _draw_correlations(axes: Axes, dataset: xr.Dataset) -> None:
    """Rank correlation with forgetting over the budgets, by rate; the budget itself as what a clock would have."""
    axes.set_title("(d) monitors and forgetting; rates as in (a)")
    axes.set(xlabel="rank correlation over the budgets", xlim=(-1.05, 1.05), xticks=[-1, -0.5, 0, 0.5, 1])
    read = dataset["rank_correlation"].sel(measure=list(_MEASURES))
    values = np.concatenate([read.values, dataset["budget_rank_correlation"].values[None]])
    rows = np.arange(len(values))
    axes.set_yticks(rows, [*(said for said, _ in _MEASURES.values()), "the budget itself"])
    axes.invert_yaxis()
    axes.axvline(0, **REFERENCE)
    styles = looks(dataset.sizes["learning_rate"], ordered=True)
    for rate, look in enumerate(styles):
        beside = 0.6 * ((rate + 0.5) / len(styles) - 0.5)
        ranges(axes, rows + beside, span(values[:, rate]), look, width=2.0)


picture = Picture("transformer", "a result of the transformer", _NEEDED, _paint)
draw, save = picture.draw, picture.save
