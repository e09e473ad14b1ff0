"""Harm feature by feature: loss after fine-tuning over stages, and which features are harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from linsim.labels import lost_lanes

from .panels.axes import Floats, decades
from .panels.canvas import new_figure
from .panels.curves import closed_form, curves
from .panels.looks import GREY, REFERENCE, Look, legend, looks
from .picture import Picture

_NEEDED = {
    *("checkpoint", "stage", "learning_rate", "regularization", "seed", "ratio", "effort", "own_time"),
    *("pretrain_loss_after", "diverged", "feature_harm", "boundary_effort", "limit_curve", "critical_ratio"),
    *("relearning", "relative_ratio", "relearning_edge", "simulated_threshold", "turned_harm", "turned_limit"),
}
_SIDES = {"right": "inputs alone", "both": "both sides alike", "opposite": "against each other"}
_HARM, _NONE = Look("#D55E00", "x", size=4.2), Look("#0072B2", size=3.6)


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss over stages, harm over the ratio for both kinds, idealised features in one plane, thresholds, and turns."""
    figure = new_figure(13.2, 7.6)
    (losses, ideal, plane), (real, threshold, turned) = figure.subplots(2, 3)
    _draw_losses(losses, dataset)
    _draw_harm(ideal, "(b)", dataset.sel(checkpoint="idealised").isel(learning_rate=-1))
    _draw_plane(plane, dataset)
    _draw_harm(real, "(d)", dataset.sel(checkpoint="real").isel(learning_rate=-1))
    _draw_threshold(threshold, dataset)
    _draw_turned(turned, dataset)
    return figure


def _time(part: xr.Dataset) -> float:
    """T = eta K."""
    return float(part["learning_rate"].max()) * float(part.attrs["finetune_steps"])


def _draw_losses(axes: Axes, dataset: xr.Dataset) -> None:
    """One task: loss after the longest fine-tuning over the stages, from both kinds of checkpoints."""
    axes.set_title(f"(a) after fine-tuning for T = {_time(dataset):.3g}, task 1 of {dataset.sizes['seed']}")
    chosen = sorted({0, dataset.sizes["regularization"] - 1})
    styles = [looks(dataset.sizes["regularization"])[at]._replace(line="-", size=5.5) for at in chosen]
    one = dataset.isel(learning_rate=-1, seed=0, regularization=chosen)
    one["pretrain_loss_after"] = one["pretrain_loss_after"].where(~lost_lanes(one))
    drawn: dict[str, Look] = {}
    for kind, marked in ("idealised", styles), ("real", [look._replace(marker="x", line="--") for look in styles]):
        part = one.sel(checkpoint=kind)
        runs, theory = part["pretrain_loss_after"], closed_form(part, "pretrain_loss_after")
        drawn |= curves(
            axes, runs, theory, over="stage", by="regularization", styles=marked, names=rf"$\lambda$ = {{}}, {kind}"
        )
    stages = dataset["stage"].values
    axes.set_xticks(stages, [f"{stage}" for stage in stages])
    axes.set(xlabel="features learned, n", ylabel="pre-training loss $L_n$ (squared output)")
    decades(axes.yaxis, below=0.12)
    where: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 8}
    for feature, ratio in zip(stages[1:], one["ratio"].values, strict=True):
        axes.text(feature - 0.5, 0.03, f"{'r = ' if feature == 1 else ''}{ratio:.1f}", **where)
    handles = [look.entry(name) for name, look in drawn.items()]
    axes.legend(handles=handles, fontsize=8.5, loc="best", title="lines: closed form", alignment="left")


def _draw_harm(axes: Axes, letter: str, one: xr.Dataset) -> None:
    """Harm of every feature against its ratio after the longest fine-tuning, and what it tends to."""
    kind = one["checkpoint"].item()
    axes.set_title(f"{letter} harm of each feature, {kind} stages, T = {_time(one):.3g}")
    axes.set_xlabel(r"ratio $r = \sigma_{\mathrm{ft}} / \sigma_{\mathrm{pre}}$")
    axes.set_ylabel(r"harm $(L_n - L_{n-1}) / \sigma_{\mathrm{pre}}^2$")
    styles, last = looks(one.sizes["regularization"]), float(one["curve_ratio"][-1])
    for at, look in enumerate(styles):
        part = one.isel(regularization=at)
        axes.plot(part["curve_ratio"], part["limit_curve"], **look.path | {"linewidth": 1.2})
        if (critical := float(part["critical_ratio"])) < last:
            axes.plot([critical], [0], marker="|", markersize=13, markeredgewidth=2, color=look.color, zorder=3)
        alone = ((part["own_time"] < _time(one)) & (kind == "real")).values
        ratio, harm = part["ratio"].values, part["feature_harm"].values
        axes.plot(ratio[~alone], harm[~alone], **look.points)
        axes.plot(ratio[alone], harm[alone], **look._replace(marker="x").points)
    axes.axhline(0, **REFERENCE)
    if axes.get_ylim()[1] > 5:
        axes.set_yscale("symlog", linthresh=1)
        axes.set_yticks([tick for tick in (-1, 0, 1, 2, 5, 10, 20, 50, 100) if tick <= axes.get_ylim()[1]])
        axes.yaxis.set_major_formatter("{x:g}")
    if kind == "real":
        handles = [
            Line2D([], [], label="fine-tuning learns it by itself", **Look(GREY, "x").points),
            Line2D([], [], label="it does not, within T", **Look(GREY).points),
            Line2D([], [], color=GREY, label="limit where it does"),
        ]
    else:
        penalties = one["regularization"].values
        handles = [look.entry(rf"$\lambda$ = {penalty:g}") for look, penalty in zip(styles, penalties, strict=True)]
        handles.append(Line2D([], [], color=GREY, marker="|", markersize=11, ls="none", label=r"$r = 2 + \lambda$"))
    axes.legend(handles=handles, loc="upper left", fontsize=8.5)


def _draw_plane(axes: Axes, dataset: xr.Dataset) -> None:
    """Every idealised feature, penalty and rate: one boundary between harm and none."""
    axes.set_title("(c) all rates and penalties, idealised stages")
    power = 2 - 2 / dataset.attrs["depth"]
    sigma = r"\sigma_{\mathrm{pre}}" + ("" if power == 1 else f"^{{{power:.2g}}}")
    pull = (dataset["ratio"] + dataset["regularization"]) / (1 + dataset["regularization"])
    x, y, z = _scatter(axes, dataset.sel(checkpoint="idealised"), dataset["effort"], pull)
    edge: dict[str, Any] = {"color": "black", "zorder": 5}
    boundary = r"$F_T(\sigma_{\mathrm{pre}}) = 2\,\sigma_{\mathrm{pre}}$"
    axes.plot(dataset["boundary_effort"], dataset["boundary_pull"], label=boundary, **edge)
    axes.axhline(2, linewidth=0.9, linestyle=":", label=r"$r = 2 + \lambda$, for $T \to \infty$", **edge)
    axes.set(xscale="log", xlabel=rf"effort $(1 + \lambda)\, {sigma}\, T$")
    axes.set_ylabel(r"pull $\rho = (r + \lambda) / (1 + \lambda)$")
    if (known := np.isfinite(z)).any():
        low, high = min(y[known].min(), 1.0) - 0.3, max(y[known].max(), 2.5) + 0.3
        axes.set_ylim(low, high + 0.28 * (high - low))  # room for the legend
        decades(axes.xaxis, x[known].min() / 1.6, x[known].max() * 1.6)
    axes.legend(loc="upper center", ncols=2, fontsize=8.5)


def _scatter(axes: Axes, part: xr.Dataset, x: xr.DataArray, y: xr.DataArray) -> list[Floats]:
    """Features that are harm and those that are not, over all rates and penalties; their places and harm."""
    flat = [values.values.ravel() for values in xr.broadcast(x, y, part["feature_harm"])]
    least = part.attrs["harmful"]
    for label, look, where in (("no harm", _NONE, flat[2] <= least), ("harm", _HARM, flat[2] > least)):
        axes.plot(flat[0][where], flat[1][where], label=label, **look.points)
    return flat


def _draw_threshold(axes: Axes, dataset: xr.Dataset) -> None:
    """Where harm begins on real stages, over how long fine-tuning lasts beside the time to learn a feature itself."""
    axes.set_title(r"(e) real stages, $\lambda$ > 0, effort $\geq$ 1")
    real = dataset.sel(checkpoint="real")
    part = real.where((dataset["regularization"] > 0) & (dataset["effort"] >= 1))
    edges, best = dataset["relearning_edge"].values, dataset["simulated_threshold"].values
    _scatter(axes, part, part["relearning"], part["relative_ratio"])
    axes.stairs(best, edges, baseline=None, color="black", linewidth=2, label="parts them best", zorder=5)
    for level, said in ((2, r"$r = 2 + \lambda$"), (1, r"$r = 1 + \lambda/2$")):
        axes.axhline(level, color="black", linewidth=0.9, linestyle=":", zorder=5)
        axes.text(0.01, level + 0.04, said, transform=axes.get_yaxis_transform(), fontsize=8.5)
    axes.set(xscale="log", xlim=(edges[0], edges[-1]), ylim=(0, 4.2))
    axes.set(xlabel="T / time to learn the feature by itself", ylabel=r"$r / (1 + \lambda/2)$")
    axes.legend(loc="upper center", ncols=3, fontsize=8.5)


def _draw_turned(axes: Axes, dataset: xr.Dataset) -> None:
    """Harm of the second feature over the angle by which singular vectors turn, by the side that does."""
    axes.set_title("(f) singular vectors turned, idealised stages")
    second = min(1, dataset.sizes["feature"] - 1)
    part = dataset[["turned_harm", "turned_limit"]].isel(feature=second)
    names = [_SIDES.get(str(side), str(side)) for side in part["rotate_side"].values]
    styles = looks(len(names))
    runs, theory = part["turned_harm"], part["turned_limit"]
    curves(axes, runs, theory, over="rotate_degrees", by="rotate_side", styles=styles, log=False)
    axes.axhline(0, **REFERENCE)
    axes.set_ylabel(rf"harm of feature {second + 1}, in $\sigma_{{\mathrm{{pre}}}}^2$")
    legend(axes, dict(zip(names, styles, strict=True)), loc="upper left")


picture = Picture("stages", "a result of stages", _NEEDED, _paint)
draw, save = picture.draw, picture.save
