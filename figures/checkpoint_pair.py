"""Two checkpoints, one pre-trained longer: which pairs are better before fine-tuning and worse after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from linsim.labels import lost_lanes

from .panels.axes import Floats
from .panels.canvas import new_figure
from .panels.curves import before, closed_form, curves, heights, middle
from .panels.looks import BEFORE, REFERENCE, Look, explain, legend, looks
from .panels.maps import heat, label_scale, scale
from .panels.rows import ranges, span
from .panels.words import grouped, short
from .picture import Picture

_NEEDED = {
    *("pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before", "pretrain_loss_after"),
    *("diverged", "inflection_steps", "later_steps", "base_change", "result_change", "finetune_change", "behaves"),
    *("share", "matched_steps", "zero_loss"),
}
_CHANGES = {
    "base_change": ("base loss", Look("#0072B2", "s", size=7)),
    "result_change": ("result", Look("#D55E00", "o", size=7)),
    "finetune_change": ("fine-tuning loss", Look("#009E73", "^", size=7)),
}
_EDGE = 10.0  # factor at which the colours of the map end
_PAIR: dict[str, Any] = {
    **{"marker": "D", "markersize": 7, "markerfacecolor": "white", "markeredgecolor": "black"},
    **{"linestyle": "none", "zorder": 7},
}
_BASE = BEFORE | {"color": "0.5", "linewidth": 1.2, "linestyle": "--"}
_MARGIN: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": ":", "zorder": 0}


def _paint(dataset: xr.Dataset) -> Figure:
    """The matched pair on its curve, the map of all pairs, the pairs of one factor, and the matched pairs by rate."""
    data = dataset.isel(regularization=0)
    cell = data.isel(learning_rate=data.sizes["learning_rate"] // 2)
    figure = new_figure(9.6, 8.0)
    (losses, pairs), (changes, matched) = figure.subplots(2, 2)
    _draw_losses(losses, cell)
    _draw_pairs(pairs, cell)
    _draw_changes(changes, data)
    _draw_matched(matched, data)
    handles = explain(data.sizes["seed"], closed_form(data, "pretrain_loss_after"), cell["inflection_steps"])
    if np.isfinite(cell["matched_steps"]):
        handles.append(Line2D([], [], label="matched pair", **_PAIR))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _draw_losses(axes: Axes, cell: xr.Dataset) -> None:
    """Base loss and result along the budget at one rate, with the matched pair on both."""
    axes.set_title(f"(a) losses at rate {short(float(cell['learning_rate']))}")
    base, told = (
        part / cell["zero_loss"] for part in (cell["pretrain_loss_before"], closed_form(cell, "pretrain_loss_after"))
    )
    after = cell["pretrain_loss_after"].where(~lost_lanes(cell)) / cell["zero_loss"]
    look = looks(2)[1]._replace(line="-")
    before(axes, base, **_BASE)
    curves(axes, after, told, styles=[look], turns=cell["inflection_steps"])
    if np.isfinite(cell["matched_steps"]):
        ends = _ends(cell)
        for curve in base, after:
            axes.plot(
                ends, heights(curve["pretrain_steps"].values, middle(curve).values, ends), **_PAIR | {"zorder": 5}
            )
        axes.axvspan(*ends, color="0.9", zorder=0)
    shown = after.where(np.isfinite(after) & (after > 0))
    axes.set_ylim(max(float(shown.min().fillna(1e-3)) / 100, 1e-12), 3 * max(float(shown.max().fillna(1.0)), 1.0))
    axes.set_ylabel("pre-training loss / loss of the zero network")
    handles = [Line2D([], [], label="base loss, before fine-tuning", **_BASE), look.entry("result, after it")]
    axes.legend(handles=handles, loc="lower left", fontsize=8)


def _draw_pairs(axes: Axes, cell: xr.Dataset) -> None:
    """Later / earlier result of every pair, and where all seeds behave as OLMo-1B did."""
    axes.set_title(f"(b) result of the later / of the earlier one, rate {short(float(cell['learning_rate']))}")
    floor, budgets = float(cell.attrs.get("rounding_floor", 0.0)), cell["pretrain_steps"].values
    early = cell[["pretrain_loss_before", "pretrain_loss_after"]].where(~lost_lanes(cell)).clip(min=floor)
    late = early.rename(pretrain_steps="later")
    change = late / early - 1
    rises = (late - early)["pretrain_loss_after"] / cell["zero_loss"] > cell.attrs["least_rise"]
    worse = rises & (change["pretrain_loss_after"] > cell.attrs["margin"]) & (change["pretrain_loss_before"] < 0)
    ordered = np.triu(np.ones((len(budgets),) * 2, bool), 1)
    behaves = worse.all("seed").transpose("pretrain_steps", "later").values & ordered
    ratio = middle(1 + change["pretrain_loss_after"]).transpose("pretrain_steps", "later").values
    with np.errstate(divide="ignore"):
        colour = np.where(ordered, np.clip(np.log10(ratio), -np.log10(_EDGE), np.log10(_EDGE)), np.nan)
    place = scale(budgets)
    norm = TwoSlopeNorm(0.0, -np.log10(_EDGE), np.log10(_EDGE))
    shown = heat(axes, colour, place, place, cmap="PuOr_r", norm=norm, rasterized=True)
    bar: Any = axes.figure.colorbar(shown, ax=axes, ticks=np.log10([0.1, 0.3, 1, 3, 10]), pad=0.02)
    bar.ax.set_yticklabels(["≤0.1", "0.3", "1", "3", "≥10"])
    if behaves.any() and len(budgets) > 2:
        where = (place.centres, place.centres, behaves.T.astype(float))
        axes.contourf(*where, levels=[0.5, 1.5], colors="none", hatches=["///"])
        axes.contour(*where, levels=[0.5], colors="black", linewidths=1.0)
    axes.plot(place.centres, np.log10(cell["later_steps"]), color="black", linestyle="--", linewidth=1.2)
    if np.isfinite(cell["matched_steps"]):
        first, last = np.log10(_ends(cell))
        axes.plot(first, last, **_PAIR)
    axes.set(xlabel="earlier budget (steps)", ylabel="later budget (steps)")
    for axis in axes.xaxis, axes.yaxis:
        label_scale(axis, place, budgets)
    who = f"all {cell.sizes['seed']} seeds" if cell.sizes["seed"] > 1 else "the one seed"
    said = f"base loss lower and result over\n{cell.attrs['margin']:.0%} worse, {who}"
    handles = [
        Patch(facecolor="none", edgecolor="black", hatch="///", label=said),
        Line2D([], [], color="black", linestyle="--", linewidth=1.2, label=f"later = {_factor(cell)} × earlier"),
    ]
    axes.legend(handles=handles, loc="lower right", fontsize=8)


def _draw_changes(axes: Axes, data: xr.Dataset) -> None:
    """The result's change of all pairs of one factor, at every rate."""
    margin = float(data.attrs["margin"])
    axes.set_title(f"(c) all pairs of a factor {_factor(data)}, by rate")
    change = 100 * data["result_change"].where(np.isfinite(data["result_change"]))
    names = [
        f"{short(float(rate))}: {float(share):.0%}"
        for rate, share in zip(data["learning_rate"], data["share"], strict=True)
    ]
    theory = 100 * closed_form(data, "result_change")
    drawn = curves(axes, change, theory, by="learning_rate", names=names, log=False)
    axes.axhline(0, **REFERENCE)
    axes.axhline(100 * margin, **_MARGIN)
    axes.set(xlabel="earlier budget (steps)", ylabel="change of the result (%)")
    axes.set_yscale("symlog", linthresh=10, linscale=0.8)
    axes.set_ylim(-130, 6000)
    ticks = [-100, -10, -5, 0, 5, 10, 100]
    axes.set_yticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    axes.yaxis.minorticks_off()
    title = f"rate: share over {margin:.0%} (dotted) and {data.attrs['least_rise']:.1%} of zero, every seed"
    legend(axes, drawn, title=title, ncols=3, loc="upper left", alignment="left")


def _draw_matched(axes: Axes, data: xr.Dataset) -> None:
    """What changes in the matched pair of every rate that has one."""
    axes.set_title(
        f"(d) pairs matched to OLMo-1B: factor {_factor(data)}, turn nearest {data.attrs['turn']:g}", fontsize=9.5
    )
    axes.set(ylabel="later / earlier - 1 (%)", xlabel="fine-tuning learning rate; earlier → later budget (steps)")
    axes.axhline(0, **REFERENCE)
    axes.axhline(100 * float(data.attrs["margin"]), **_MARGIN)
    have = data.isel(learning_rate=np.flatnonzero(np.isfinite(data["matched_steps"])))
    if not have.sizes["learning_rate"]:
        axes.text(0.5, 0.6, "no rate has such a pair", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    cells = [have.isel(learning_rate=at) for at in range(have.sizes["learning_rate"])]
    rows, arrow = np.arange(len(cells)), " → " if len(cells) <= 3 else "\n→ "
    for place, (name, (label, look)) in enumerate(_CHANGES.items()):
        values = [100 * cell[name].sel(pretrain_steps=float(cell["matched_steps"])).values for cell in cells]
        ranges(axes, rows + 0.2 * (place - 1), span(np.asarray(values)), look, upright=True, width=4.0, label=label)
    labels = []
    for cell in cells:
        first, last = _ends(cell)
        turn = float(middle(cell["inflection_steps"])) / first
        labels.append(
            f"{short(float(cell['learning_rate']))}\n{grouped(first)}{arrow}{grouped(last)}\nturn at {turn:.3g}"
        )
    axes.set_xticks(rows, labels)
    axes.set_xlim(-0.5, len(cells) - 0.5)
    axes.margins(y=0.12)
    axes.legend(loc="upper left", fontsize=8)


def _factor(data: xr.Dataset) -> str:
    """Later / earlier budget of the pairs there are."""
    ratio = (data["later_steps"] / data["pretrain_steps"]).values
    if not np.isfinite(ratio).any():
        return f"{float(data.attrs['factor']):g}"
    low, high = f"{np.nanmin(ratio):.2g}", f"{np.nanmax(ratio):.2g}"
    return low if low == high else f"{low} to {high}"


def _ends(cell: xr.Dataset) -> Floats:
    """Both budgets of the matched pair."""
    first = float(cell["matched_steps"])
    return np.asarray([first, float(cell["later_steps"].sel(pretrain_steps=first))])


picture = Picture("checkpoint_pair", "a result of pairs of checkpoints", _NEEDED, _paint)
draw, save = picture.draw, picture.save
