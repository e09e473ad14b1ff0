"""Two checkpoints, one pre-trained longer: which pairs are better before fine-tuning and worse after it.

Usage: python -m figures.checkpoint_pair [--data results/checkpoint_pair] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import drawing
from .cells import median
from .picture import Picture
from .runs import draw_simulated, draw_theory, explain, heights, looks, mark_turns

_NEEDED = {
    *("pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before", "pretrain_loss_after"),
    *("diverged", "inflection_steps", "later_steps", "base_change", "result_change", "finetune_change", "behaves"),
    *("share", "matched_steps", "zero_loss"),
}
_CHANGES = {
    "base_change": ("base loss", "#0072B2", "s"),
    "result_change": ("result", "#D55E00", "o"),
    "finetune_change": ("fine-tuning loss", "#009E73", "^"),
}
_EDGE = 10.0  # factor at which the colours of the map end
_PAIR: dict[str, Any] = {"marker": "D", "markersize": 7, "markerfacecolor": "white", "markeredgecolor": "black"}


def _paint(dataset: xr.Dataset) -> Figure:
    """The matched pair on its curve, the map of all pairs, the pairs of one factor, and the matched pairs by rate."""
    data = dataset.isel(regularization=0)
    rate = _shown_rate(data)
    cell = data.isel(learning_rate=rate)
    figure = drawing.new_figure(9.6, 8.0)
    figure.suptitle(textwrap.fill(_message(data), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    _draw_curve(grid[0, 0], cell)
    _draw_map(figure, grid[0, 1], cell)
    _draw_changes(grid[1, 0], data)
    _draw_matched(grid[1, 1], data)
    theory = "closed form" if _predicted(data) else None
    handles = explain(data.sizes["seed"], theory=theory, turns=bool(np.isfinite(cell["inflection_steps"]).any()))
    if np.isfinite(cell["matched_steps"]):
        handles.append(Line2D([], [], label="matched pair", linestyle="none", **_PAIR))
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _shown_rate(data: xr.Dataset) -> int:
    """The middle rate, whatever came of it."""
    return int(data.sizes["learning_rate"] // 2)


def _draw_curve(axes: Axes, cell: xr.Dataset) -> None:
    """Base loss and result along the budget at one rate, with the matched pair on both."""
    axes.set_title(f"(a) losses at rate {drawing.short(float(cell['learning_rate']))}")
    axes.set(xscale="log", yscale="log", ylabel="pre-training loss / loss of the zero network")
    budgets, zero = cell["pretrain_steps"].values, float(cell["zero_loss"])
    base = cell["pretrain_loss_before"].values / zero
    after = cell["pretrain_loss_after"].where(~cell["diverged"]).values / zero
    look = looks(2)[1] | {"linestyle": "-"}
    axes.plot(budgets, median(base), color="0.5", linewidth=1.2, linestyle="--", zorder=2)
    draw_simulated(axes, budgets, after, look, joined=not _predicted(cell))
    if _predicted(cell):
        draw_theory(axes, budgets, cell["predicted_pretrain_loss_after"].values / zero, look)
    turn = np.atleast_1d(median(cell["inflection_steps"].values))
    mark_turns(axes, turn, heights(budgets, median(after), turn), look["color"])
    known = after[np.isfinite(after) & (after > 0)]
    low, high = (float(known.min()), float(known.max())) if known.size else (1e-3, 1.0)
    _label_budgets(axes.xaxis, budgets)
    axes.set_xlabel("pre-training budget (steps)")
    axes.set_ylim(max(low / 100, 1e-12), max(high, 1.0) * 3)
    if np.isfinite(cell["matched_steps"]):
        ends = _ends(cell)
        for curve in (median(base), median(after)):
            axes.plot(ends, heights(budgets, curve, ends), linestyle="none", zorder=5, **_PAIR)
        axes.axvspan(*ends, color="0.9", zorder=0)
    entries = [
        Line2D([], [], color="0.5", linewidth=1.2, linestyle="--", label="base loss, before fine-tuning"),
        Line2D([], [], label="result, after it", **look, **drawing.hollow(4.5, look["color"])),
    ]
    axes.legend(handles=entries, loc="lower left", fontsize=8)


def _draw_map(figure: Figure, axes: Axes, cell: xr.Dataset) -> None:
    """Later / earlier result of every pair, and where all seeds behave as OLMo-1B did."""
    axes.set_title(f"(b) result of the later / of the earlier one, rate {drawing.short(_rate(cell))}")
    budgets = cell["pretrain_steps"].values
    floor = float(cell.attrs.get("rounding_floor", 0.0))
    after = np.maximum(cell["pretrain_loss_after"].where(~cell["diverged"]).values, floor)
    base = np.maximum(cell["pretrain_loss_before"].values, floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = after[None, :] / after[:, None]
        rises = (after[None, :] - after[:, None]) / float(cell["zero_loss"]) > cell.attrs["least_rise"]
        worse = ((ratio > 1 + cell.attrs["margin"]) & rises & (base[None, :] < base[:, None])).all(axis=-1)
        colour = np.clip(np.log10(median(ratio)), -np.log10(_EDGE), np.log10(_EDGE))
    later = np.triu(np.ones(colour.shape, bool), 1)  # [earlier, later]
    place = drawing.scale(budgets.astype(np.float64))
    edges = 10**place.edges
    axes.set(xscale="log", yscale="log", xlabel="earlier budget (steps)", ylabel="later budget (steps)")
    norm = TwoSlopeNorm(0.0, -np.log10(_EDGE), np.log10(_EDGE))
    shown = axes.pcolormesh(edges, edges, np.where(later, colour, np.nan).T, cmap="PuOr_r", norm=norm, rasterized=True)
    bar = figure.colorbar(shown, ax=axes, ticks=np.log10([0.1, 0.3, 1, 3, 10]), pad=0.02)
    bar.ax.set_yticklabels(["≤0.1", "0.3", "1", "3", "≥10"])
    if (worse & later).any() and len(budgets) > 2:
        mask = np.where(worse & later, 1.0, 0.0).T
        axes.contourf(budgets, budgets, mask, levels=[0.5, 1.5], colors="none", hatches=["///"])
        axes.contour(budgets, budgets, mask, levels=[0.5], colors="black", linewidths=1.0)
    axes.plot(budgets, cell["later_steps"].values, color="black", linestyle="--", linewidth=1.2)
    for axis in (axes.xaxis, axes.yaxis):
        _label_budgets(axis, budgets)
    if np.isfinite(cell["matched_steps"]):
        ends = _ends(cell)
        axes.plot(ends[:1], ends[1:], linestyle="none", zorder=7, **_PAIR)
    seeds = cell.sizes["seed"]
    who = f"all {seeds} seeds" if seeds > 1 else "the one seed"
    entries = [
        Patch(facecolor="none", edgecolor="black", hatch="///", label="base loss lower and result over\n"
              f"{cell.attrs['margin']:.0%} worse, {who}"),
        Line2D([], [], color="black", linestyle="--", linewidth=1.2, label=f"later = {_factor(cell)} × earlier"),
    ]  # fmt: skip
    axes.legend(handles=entries, loc="lower right", fontsize=8)


def _draw_changes(axes: Axes, data: xr.Dataset) -> None:
    """The result's change of all pairs of one factor, at every rate."""
    margin = float(data.attrs["margin"])
    axes.set_title(f"(c) all pairs of a factor {_factor(data)}, by rate")
    axes.set(xscale="log", xlabel="earlier budget (steps)", ylabel="change of the result (%)")
    budgets, floor = data["pretrain_steps"].values, float(data.attrs.get("rounding_floor", 0.0))
    for at, look in enumerate(looks(data.sizes["learning_rate"], ordered=True)):
        change = 100 * data["result_change"].values[:, at]
        change[~np.isfinite(change)] = np.nan
        share = float(data["share"].values[at])
        label = f"{drawing.short(float(data['learning_rate'].values[at]))}: {share:.0%}"
        draw_simulated(axes, budgets, change, look, joined=not _predicted(data), label=label)
        if _predicted(data):
            curve = np.maximum(data["predicted_pretrain_loss_after"].values[:, at], floor)
            later = data["later_steps"].values
            rows = np.searchsorted(budgets, np.nan_to_num(later, nan=float(budgets[0])))
            draw_theory(
                axes, budgets, np.where(np.isnan(later)[:, None], np.nan, 100 * (curve[rows] / curve - 1)), look
            )
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axhline(100 * margin, color="black", linewidth=0.9, linestyle=":", zorder=0)
    axes.set_yscale("symlog", linthresh=10, linscale=0.8)
    axes.set_ylim(-130, 6000)
    ticks = [-100, -10, -5, 0, 5, 10, 100]
    axes.set_yticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    axes.minorticks_off()
    _label_budgets(axes.xaxis, budgets)
    title = f"rate: share over {margin:.0%} (dotted) and {data.attrs['least_rise']:.1%} of zero, every seed"
    axes.legend(title=title, title_fontsize=8, fontsize=8, ncols=3, loc="upper left", alignment="left")


def _draw_matched(axes: Axes, data: xr.Dataset) -> None:
    """What changes in the matched pair of every rate that has one."""
    turn = float(data.attrs["turn"])
    axes.set_title(f"(d) pairs matched to OLMo-1B: factor {_factor(data)}, turn nearest {turn:g}", fontsize=9.5)
    have = [at for at in range(data.sizes["learning_rate"]) if np.isfinite(data["matched_steps"].values[at])]
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.axhline(100 * float(data.attrs["margin"]), color="black", linewidth=0.9, linestyle=":", zorder=0)
    axes.set(ylabel="later / earlier - 1 (%)", xlabel="fine-tuning learning rate; earlier → later budget (steps)")
    if not have:
        axes.text(0.5, 0.6, "no rate has such a pair", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    labels, arrow = [], " → " if len(have) <= 3 else "\n→ "
    for row, at in enumerate(have):
        cell = data.isel(learning_rate=at)
        pair = cell.sel(pretrain_steps=float(cell["matched_steps"]))
        for place, (name, (label, color, marker)) in enumerate(_CHANGES.items()):
            values = 100 * pair[name].values
            x = row + 0.2 * (place - 1)
            axes.vlines(x, np.nanmin(values), np.nanmax(values), color=color, linewidth=4, alpha=0.3)
            points: dict[str, Any] = {"linestyle": "none", "marker": marker, "label": label if row == 0 else None}
            axes.plot([x], [np.nanmedian(values)], **points | drawing.hollow(7, color))
        first, last = (drawing.grouped(step) for step in _ends(cell))
        turned = float(median(cell["inflection_steps"].values) / _ends(cell)[0])
        labels.append(f"{drawing.short(_rate(cell))}\n{first}{arrow}{last}\nturn at {turned:.3g}")
    axes.set_xticks(range(len(have)), labels)
    axes.set_xlim(-0.5, len(have) - 0.5)
    axes.margins(y=0.12)
    axes.legend(loc="upper left", fontsize=8)


def _message(data: xr.Dataset) -> str:
    """The finding, in one sentence."""
    margin, shares, lost = float(data.attrs["margin"]), data["share"].values, data["diverged"].values
    if data["later_steps"].isnull().all():
        return f"No two of these budgets are a factor {float(data.attrs['factor']):g} apart"
    if lost.all():
        return "All fine-tuning runs diverged: nothing follows on pairs of checkpoints"
    factor = _factor(data)
    if not shares.any():
        whom = "no pair of runs that did not diverge" if lost.any() else "no pair"
        return f"{factor} times the pre-training makes the fine-tuned model over {margin:.0%} worse in {whom} here"
    best = int(np.argmax(shares))
    rate, share = drawing.short(float(data["learning_rate"].values[best])), float(shares[best])
    keep = data["behaves"].all("seed").values
    better = (data["finetune_change"].values[keep] < 1e-6).all()
    said = (
        f"{factor} times the pre-training lowers the base loss, yet makes the fine-tuned model over {margin:.0%} "
        f"worse on the pre-training task, for {_whom(data.isel(learning_rate=best), share)} at rate {rate}"
    )
    return f"{said}; on the fine-tuning task none of these is worse" if better else said


def _whom(cell: xr.Dataset, share: float) -> str:
    """The pairs that behave so: from where to where if they are all that lie there, else their share."""
    pairs = cell["later_steps"].notnull().values
    budgets, keep = cell["pretrain_steps"].values[pairs], cell["behaves"].values[pairs].all(axis=-1)
    first, last = np.flatnonzero(keep)[[0, -1]]
    if first == last or not keep[first : last + 1].all():
        return f"{share:.0%} of the pairs"
    ends = drawing.grouped(float(budgets[first])), drawing.grouped(float(budgets[last]))
    return f"all pairs from {ends[0]} to {ends[1]} steps"


def _factor(data: xr.Dataset) -> str:
    """Later / earlier budget of the pairs there are."""
    ratio = (data["later_steps"] / data["pretrain_steps"]).values
    if not np.isfinite(ratio).any():
        return f"{float(data.attrs['factor']):g}"
    low, high = f"{np.nanmin(ratio):.2g}", f"{np.nanmax(ratio):.2g}"
    return low if low == high else f"{low} to {high}"


def _ends(cell: xr.Dataset) -> drawing.Floats:
    """Both budgets of the matched pair."""
    first = float(cell["matched_steps"])
    return np.asarray([first, float(cell["later_steps"].sel(pretrain_steps=first))])


def _rate(cell: xr.Dataset) -> float:
    return float(cell["learning_rate"])


def _predicted(data: xr.Dataset) -> bool:
    name = "predicted_pretrain_loss_after"
    return name in data and bool(data[name].notnull().any())


def _label_budgets(axis: Any, budgets: Any) -> None:
    drawing.label_logarithmic(axis, (budgets[0] / 1.12, budgets[-1] * 1.12))


picture = Picture("checkpoint_pair", __doc__, "a result of pairs of checkpoints", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
