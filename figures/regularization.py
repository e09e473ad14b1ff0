"""What regularisers of fine-tuning do to overtraining, what they cost, and which is best at equal fine-tuning loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from linsim.labels import counted_harm

from .panels.axes import decades, harm_axis, visible
from .panels.canvas import new_figure
from .panels.curves import closed_form, curves, middle
from .panels.fronts import front
from .panels.looks import GREY, OTHERWISE, REFERENCE, Look, explain, known, looks
from .panels.words import grouped, short
from .picture import Picture

_NEEDED = {
    *("checkpoints", "regularizer", "method", "target", "pretrain_steps", "learning_rate", "regularization", "seed"),
    *("harm", "finetune_loss_after", "pretrain_loss_after", "inflection_steps", "limit_harm", "limit_finetune_loss"),
    *("threshold", "matched_pretrain_loss", "matched_harm", "matched_finetune_loss", "bound_pretrain_loss"),
}


def _paint(dataset: xr.Dataset) -> Figure:
    """Harm over strength, the price, and fronts."""
    parts = [part for part in ("", "predicted_") if f"{part}harm" in dataset]
    dataset = dataset.assign({f"{part}harm": counted_harm(dataset, part) for part in parts})
    figure = new_figure(9.6, 6.6)
    (harm, real_harm, price), (early_front, late_front, matched) = figure.subplots(2, 3)
    converged, harmful = dataset.attrs["converged_rate"], dataset.attrs["harmful_rate"]
    kinds = [str(kind) for kind in dataset["checkpoints"].values]
    ideal = kinds.index("idealised") if "idealised" in kinds else 0
    _draw_harm(harm, "(a)", _at_rate(dataset.isel(checkpoints=ideal), converged))
    _draw_harm(real_harm, "(b)", _at_rate(dataset.isel(checkpoints=0), harmful))
    if kinds[0] == "real":
        _draw_created(real_harm, _at_rate(dataset.isel(checkpoints=0, regularizer=0), converged))
    _draw_price(price, _at_rate(dataset.isel(checkpoints=0), converged))
    for axes, letter, at in (early_front, "(d)", _early(dataset)), (late_front, "(e)", -1):
        part = dataset.isel(checkpoints=0, pretrain_steps=at)
        axes.set_title(f"{letter} fronts after {grouped(int(part['pretrain_steps']))} steps")
        top = np.nanmax(
            dataset["matched_pretrain_loss"][:, :, 0].values, initial=dataset.attrs["untuned_finetune_loss"]
        )
        bound, reached = dataset["bound_pretrain_loss"], dataset["matched_finetune_loss"]
        front(axes, part["matched_pretrain_loss"], reached, bound, top, styles=_methods(dataset))
    _draw_matched(matched, dataset.isel(checkpoints=0))
    names = ["rate alone", *map(_words, dataset["regularizer"].values)]
    handles = [look.entry(name) for name, look in zip(names, _methods(dataset), strict=True)]
    handles += explain(dataset.sizes["seed"], dataset["limit_harm"])
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), fontsize=8, handlelength=2.6)
    return figure


def _methods(dataset: xr.Dataset) -> list[Look]:
    """Of a smaller rate alone and of each regulariser, the same in every panel."""
    return looks(1 + dataset.sizes["regularizer"])


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _at_rate(dataset: xr.Dataset, rate: float) -> xr.Dataset:
    return dataset.sel(learning_rate=rate, method="nearest")


def _draw_harm(axes: Axes, letter: str, shown: xr.Dataset) -> None:
    """Harm over strength, with limits where fine-tuning converges and predictions where it does not."""
    kind = shown["checkpoints"].item()
    axes.set_title(f"{letter} {kind} checkpoints, rate {short(float(shown['learning_rate']))}")
    styles = _methods(shown)[1:]
    theory = closed_form(shown, "harm")
    if kind == "idealised":
        theory = shown["limit_harm"]
        for look, threshold in zip(styles, shown["threshold"].values, strict=True):
            if np.isfinite(threshold) and threshold > 0:
                axes.axvline(threshold, color=look.color, linestyle=look.line, linewidth=0.7)
    curves(axes, visible(shown["harm"]), visible(theory), over="regularization", by="regularizer", styles=styles)
    harm_axis(axes)


def _draw_created(axes: Axes, shown: xr.Dataset) -> None:
    """The product penalty, or what comes first, at the rate that converges."""
    harm = visible(middle(shown["harm"]))
    if known(harm):
        axes.plot(shown["regularization"], harm, **OTHERWISE)
        said = f"dotted:\n{_words(shown['regularizer'].item())},\nrate {short(float(shown['learning_rate']))}"
        axes.text(0.04, 0.14, said, transform=axes.transAxes, color="0.3", fontsize=8)
        harm_axis(axes)


def _draw_price(axes: Axes, shown: xr.Dataset) -> None:
    """Fine-tuning loss over strength at the longest budget."""
    away, last = shown.attrs["untuned_finetune_loss"], shown.isel(pretrain_steps=-1, stage=-1)
    losses, limits = last["finetune_loss_after"] / away, last["limit_finetune_loss"] / away
    axes.set_title(f"(c) the price, rate {short(float(shown['learning_rate']))}")
    curves(axes, losses, limits, over="regularization", by="regularizer", styles=_methods(shown)[1:])
    axes.set(ylabel="fine-tuning loss / before tuning", ylim=(1e-3, 6))
    axes.axhline(1, **REFERENCE)


def _draw_matched(axes: Axes, dataset: xr.Dataset) -> None:
    """Least pre-training loss over the budget at one fine-tuning loss, beside the curve at a fixed rate."""
    part = dataset.isel(target=dataset.sizes["target"] // 2)
    axes.set_title(f"(f) at fine-tuning loss {short(float(part['matched_finetune_loss']))}")
    curves(axes, part["matched_pretrain_loss"], by="method", styles=_methods(dataset))
    if known(part["bound_pretrain_loss"]):
        axes.axhline(float(part["bound_pretrain_loss"]), color=GREY, linewidth=1)
    fixed = _at_rate(dataset.isel(regularizer=0, regularization=0), dataset.attrs["harmful_rate"])
    curve = middle(fixed["pretrain_loss_after"])
    if known(curve):
        axes.plot(fixed["pretrain_steps"], curve, **OTHERWISE)
        rate, strength = short(float(fixed["learning_rate"])), f"{float(fixed['regularization']):g}"
        said = f"dotted: at a\nfixed rate, not\nat this loss\n(rate {rate},\nstrength {strength})"
        axes.text(0.97, 0.03, said, transform=axes.transAxes, ha="right", color="0.3", fontsize=8)
    axes.set_ylabel("pre-training loss")
    decades(axes.yaxis)


def _early(dataset: xr.Dataset) -> int:
    """The budget next to the inflection point at the rate that does most harm, or the middle one."""
    part = _at_rate(dataset.isel(checkpoints=0, regularizer=0, regularization=0), dataset.attrs["harmful_rate"])
    steps, budgets = float(part["inflection_steps"].median()), dataset["pretrain_steps"].values
    return int(np.argmin(np.abs(np.log(budgets / steps)))) if np.isfinite(steps) else len(budgets) // 2


picture = Picture("regularization", "a result of regularization", _NEEDED, _paint)
draw, save = picture.draw, picture.save
