"""Fine-tuning at fixed rates on several shifts: loss curves, where they turn, and how much more pre-training costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.labels import lost_lanes

from .panels.axes import along, decades
from .panels.canvas import new_figure
from .panels.curves import before, closed_form, curves, middle
from .panels.looks import BEFORE, REFERENCE, Look, explain, known, looks
from .panels.rows import ranges, span
from .picture import Picture

_NEEDED = {
    *("checkpoints", "shift", "pretrain_steps", "learning_rate", "regularization", "seed", "pretrain_loss_before"),
    *("pretrain_loss_after", "diverged", "inflection_steps", "harm", "excess", "counts", "turns_inside", "overshoot"),
    "zero_loss",
}
_COLUMNS = 5
_LOWEST = 1e-3  # of the loss, over that of the zero network; curves below leave the panels
_NO_EXCESS = 1e-6
_KINDS = {"real": Look("#0072B2", "o", size=6), "idealised": Look("#D55E00", "s", size=6)}


def _paint(dataset: xr.Dataset) -> Figure:
    """One panel of curves a shift, then the inflection budget over the rate, and the excess of every shift."""
    data = dataset.isel(regularization=0)
    real = data.isel(checkpoints=0)
    seen = real["counts"] & real["turns_inside"]
    real["inflection_steps"] = real["inflection_steps"].where(seen)
    rows = -(-real.sizes["shift"] // _COLUMNS)
    figure = new_figure(9.6, 1.9 * rows + 4.7)
    parts = figure.add_gridspec(2, 1, height_ratios=(1.9 * rows, 3.1))
    grid: Any = parts[0].subgridspec(rows, _COLUMNS).subplots(sharex=True, sharey=True, squeeze=False)
    shown = real.isel(learning_rate=_three(seen))
    drawn = _draw_losses(grid, shown)
    pair: Any = parts[1].subgridspec(1, 2, width_ratios=(1, 1.15)).subplots()
    left, right = pair
    _draw_turns(left, real.isel(shift=np.flatnonzero(seen.any("learning_rate"))))
    _draw_excess(right, data)
    key = [*(look.entry(name) for name, look in drawn.items()), Line2D([], [], label="before fine-tuning", **BEFORE)]
    key += explain(real.sizes["seed"], closed_form(real, "pretrain_loss_after"), real["inflection_steps"])
    figure.legend(handles=key, title=_explained(data), alignment="left", loc="outside lower left", ncols=4)
    return figure


def _draw_losses(grid: Any, shown: xr.Dataset) -> dict[str, Look]:
    """The loss after fine-tuning on every shift, at a few rates, and the loss before, over that of the zero network."""
    after = shown["pretrain_loss_after"].where(~lost_lanes(shown)) / shown["zero_loss"]
    theory = closed_form(shown, "pretrain_loss_after") / shown["zero_loss"]
    drawn: dict[str, Look] = {}
    for axes, shift in zip(grid.flat, shown["shift"].values, strict=False):
        here = {"shift": shift}
        before(axes, (shown["pretrain_loss_before"] / shown["zero_loss"]).sel(here))
        turns = shown["inflection_steps"].sel(here)
        drawn = curves(axes, after.sel(here), theory.sel(here), by="learning_rate", names="rate {}", turns=turns)
        axes.set(xlabel="", ylabel="")
        axes.set_title(_short(shift), fontsize=9)
        ratio = _overshoot(shown.sel(here))
        said = "r = ∞" if np.isinf(ratio) else f"r = {ratio:.3g}"
        axes.text(0.04, 0.05, said, transform=axes.transAxes, fontsize=9, zorder=7)
    last = shown.sizes["shift"] % _COLUMNS or _COLUMNS
    for axes in grid[-1, last:]:
        axes.remove()
    grid[0, 0].set_title(f"(a) {grid[0, 0].get_title('left')}", fontsize=9)
    known_ones = after.where(np.isfinite(after))
    grid[0, 0].set_ylim(np.fmax(known_ones.min() / 2, _LOWEST), np.fmax(known_ones.max() * 2, 2.0))
    grid[-1, last // 2].set_xlabel("pre-training budget (steps)")
    for axes in grid[:, 0]:
        axes.set_ylabel("loss after fine-tuning\n/ of zero network")
    return drawn


def _draw_turns(axes: Axes, real: xr.Dataset) -> None:
    """Inflection budget over the rate, for the shifts and rates where the turn counts."""
    axes.set_title("(b) where the curve turns, where that counts")
    axes.set(yscale="log", ylabel="inflection budget (steps)")
    along(axes, real["learning_rate"], room=1.6)
    turns = real["inflection_steps"]
    theory = closed_form(real, "inflection_steps").where(turns.notnull().any("seed"))
    for at, look in enumerate(looks(real.sizes["shift"])):
        label = _short(real["shift"].values[at])
        ranges(axes, real["learning_rate"], span(turns[at].values), look._replace(size=6), upright=True, label=label)
        axes.plot(real["learning_rate"], middle(theory[at]), **look.path)
    if known(turns):
        decades(axes.yaxis, turns.min() / 1.5, turns.max() * 6)  # room for the legend
        axes.legend(loc="upper center", fontsize=8, labelspacing=0.3, ncols=2)
    else:
        axes.text(0.5, 0.5, "no curve turns by as much", transform=axes.transAxes, ha="center")


def _draw_excess(axes: Axes, data: xr.Dataset) -> None:
    """How much more pre-training costs on every shift at its worst rate, in the order of the overshoot."""
    axes.set_title("(c) what the largest budget costs, at the worst rate")
    ordered = data.assign_coords(ratio=data["overshoot"].max("mode")).sortby("ratio")
    worst = middle(ordered["excess"]).fillna(-1.0).argmax("learning_rate")
    cost, counted = (ordered[name].isel(learning_rate=worst) for name in ("excess", "counts"))
    rows = np.arange(data.sizes["shift"])
    for place, kind in enumerate(map(str, data["checkpoints"].values)):
        beside = (0.16 if place else -0.16) * (data.sizes["checkpoints"] > 1)
        spans, filled = span(cost[place].clip(min=_NO_EXCESS).values), counted[place].values
        ranges(axes, rows + beside, spans, _KINDS[kind], filled=filled, label=f"{kind} checkpoints")
    axes.axvline(float(data.attrs["least_excess"]), color="0.4", linestyle=":", linewidth=1.0, zorder=0)
    for level in (1, 2):
        edge = int((ordered["ratio"] <= level).sum()) - 0.5
        if 0 <= edge < len(rows) - 1:
            axes.axhline(edge, **REFERENCE)
            where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
            axes.text(0.995, edge + 0.06, f"r > {level}", fontsize=9, **where)
    axes.set(xscale="log", xlim=(_NO_EXCESS / 1.5, 100))
    axes.set_xlabel("last loss - smallest loss, / loss of the zero network")
    axes.set_yticks(rows, [_short(name) for name in ordered["shift"].values])
    axes.set_xticks([_NO_EXCESS, 1e-4, 1e-2, 1.0], ["$\\leq10^{-6}$", "$10^{-4}$", "0.01", "1"])
    axes.legend(loc="lower right", fontsize=8)


def _explained(data: xr.Dataset) -> str:
    """What r is, and what counts."""
    harm, excess = data.attrs["least_harm"], data.attrs["least_excess"]
    return (
        "Curves: pre-training loss. r: strength that fine-tuning to convergence gives a mode / strength best for that "
        "loss,\n"
        f"the largest of all learned modes. A turn counts where every seed ends {harm:.0%} or more above its best and "
        f"{excess:.1%} or more (dotted) of zero;\nin (c) filled where it counts, hollow where not."
    )


def _three(seen: xr.DataArray) -> Any:
    """The rate at which most shifts have a turn that counts, and its neighbours."""
    rates = seen.sizes["learning_rate"]
    first = int(np.clip(int(seen.sum("shift").argmax("learning_rate")) - 1, 0, max(rates - 3, 0)))
    return np.arange(first, min(first + 3, rates))


def _overshoot(chart: xr.Dataset) -> float:
    return float(chart["overshoot"].max())


def _short(name: Any) -> str:
    return str(name).replace(" x ", " × ")


picture = Picture("fixed_rate", "a result of fixed rates", _NEEDED, _paint)
draw, save = picture.draw, picture.save
