"""Harm feature by feature: loss after fine-tuning over stages, and which features are harm.

Usage: python -m figures.stages [--data results/stages] [--out figures/gallery] [--name NAME]
"""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import drawing
from .picture import Picture
from .runs import looks

_HARMFUL = 0.01  # in units of sigma_pre^2, as in the experiment's conclusion
_MOST = 0.9  # of the features decided rightly, below which the ratio is not said to decide
_NEEDED = {
    *("checkpoint", "stage", "learning_rate", "regularization", "seed", "ratio", "effort", "own_time"),
    *("pretrain_loss_after", "predicted_pretrain_loss_after", "feature_harm", "limit_harm", "boundary_effort"),
    *("diverged", "limit_harm_learned_anyway", "predicted_feature_harm"),
}


def _paint(dataset: xr.Dataset) -> Figure:
    """Loss over stages, harm over the ratio for both kinds of checkpoints, and all idealised features in one plane."""
    figure = drawing.new_figure(9.6, 7.6)
    figure.suptitle(textwrap.fill(_message(dataset), 88), x=0.012, ha="left")
    grid: Any = figure.subplots(2, 2)
    _draw_stages(grid[0, 0], dataset)
    _draw_harm(grid[0, 1], dataset, "idealised", "b")
    _draw_plane(grid[1, 0], dataset)
    _draw_harm(grid[1, 1], dataset, "real", "d")
    return figure


def _penalties(dataset: xr.Dataset) -> list[dict[str, Any]]:
    return looks(dataset.sizes["regularization"])


def _time(dataset: xr.Dataset, rate: int = -1) -> float:
    """T = eta K."""
    return float(dataset["learning_rate"][rate]) * dataset.attrs["finetune_steps"]


def _draw_stages(axes: Axes, dataset: xr.Dataset) -> None:
    """One task: loss after the longest fine-tuning over the stages, from both kinds of checkpoints."""
    axes.set_title(f"(a) after fine-tuning for T = {_time(dataset):.3g}, task 1 of {dataset.sizes['seed']}")
    axes.set(xlabel="features learned, n", ylabel="pre-training loss $L_n$ (squared output)", yscale="log")
    stages = dataset["stage"].values
    one = dataset.isel(learning_rate=-1, seed=0)
    chosen = sorted({0, dataset.sizes["regularization"] - 1})
    handles: list[Any] = []
    for kind, filled in (("idealised", False), ("real", True)):
        for at in chosen:
            look = _penalties(dataset)[at]
            part = one.sel(checkpoint=kind).isel(regularization=at)
            loss = part["pretrain_loss_after"].where(~part["diverged"]).values
            line = "--" if filled else "-"
            axes.plot(stages, part["predicted_pretrain_loss_after"], color=look["color"], linestyle=line, linewidth=1.2)
            style: dict[str, Any] = {"marker": "x" if filled else look["marker"], "linestyle": "none"}
            style |= {"color": look["color"], "markerfacecolor": "white", "markersize": 5.5}
            axes.plot(stages, loss, zorder=4, **style)
            label = rf"$\lambda$ = {one['regularization'].values[at]:g}, {kind}"
            handles.append(Line2D([], [], label=label, **style | {"linestyle": line}))
    axes.set_xticks(stages)
    low, high = axes.get_ylim()
    drawing.label_logarithmic(axes.yaxis, (low / (high / low) ** 0.12, high))
    for feature, ratio in zip(stages[1:], one["ratio"].values, strict=True):
        where: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 8}
        axes.text(feature - 0.5, 0.03, f"{'r = ' if feature == 1 else ''}{ratio:.1f}", **where)
    axes.legend(handles=handles, fontsize=8.5, loc="best", title="lines: closed form", alignment="left")


def _draw_harm(axes: Axes, dataset: xr.Dataset, kind: str, letter: str) -> None:
    """Harm of every feature against its ratio after the longest fine-tuning, and what it tends to."""
    axes.set_title(f"({letter}) harm of each feature, {kind} stages, T = {_time(dataset):.3g}")
    axes.set_xlabel(r"ratio $r = \sigma_{\mathrm{ft}} / \sigma_{\mathrm{pre}}$")
    axes.set_ylabel(r"harm $(L_n - L_{n-1}) / \sigma_{\mathrm{pre}}^2$")
    ratio = dataset["ratio"].values
    grid = np.linspace(min(float(ratio.min()), 0.0) - 0.1, max(float(ratio.max()), 1.0) + 0.1, 300)
    one = dataset.sel(checkpoint=kind).isel(learning_rate=-1)
    handles: list[Any] = []
    for at, (penalty, look) in enumerate(zip(dataset["regularization"].values, _penalties(dataset), strict=True)):
        harm = one["feature_harm"].isel(regularization=at).values
        own = one["own_time"].isel(regularization=at).values < _time(dataset)
        reached = np.maximum((grid + penalty) / (1 + penalty), 0.0)
        never = (reached - 1) ** 2 - 1
        curve = never if kind == "idealised" else (reached - 1) ** 2 - (np.maximum(grid / (1 + penalty), 0) - 1) ** 2
        critical = 2 + penalty if kind == "idealised" else 1 + penalty / 2
        axes.plot(grid, curve, color=look["color"], linestyle=look["linestyle"], linewidth=1.2, zorder=2)
        if critical < grid[-1] and (penalty > 0 or kind == "idealised"):
            axes.plot([critical], [0], marker="|", markersize=13, markeredgewidth=2, color=look["color"], zorder=3)
        style: dict[str, Any] = {"color": look["color"], "linestyle": "none", "zorder": 4}
        hollow = style | {"marker": look["marker"]} | drawing.hollow(4.5, look["color"])
        apart = own if kind == "real" else np.zeros_like(own)
        axes.plot(ratio[~apart], harm[~apart], **hollow)
        axes.plot(ratio[apart], harm[apart], **style | {"marker": "x", "markersize": 4.5})
        label = rf"$\lambda$ = {penalty:g}"
        handles.append(Line2D([], [], label=label, **hollow | {"linestyle": look["linestyle"]}))
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    if axes.get_ylim()[1] > 5:
        axes.set_yscale("symlog", linthresh=1)
        axes.set_yticks([tick for tick in (-1, 0, 1, 2, 5, 10, 20, 50, 100) if tick <= axes.get_ylim()[1]])
        axes.yaxis.set_major_formatter("{x:g}")
    if kind == "real":
        mark: dict[str, Any] = {"color": "0.35", "linestyle": "none"}
        handles = [
            Line2D([], [], marker="x", label="fine-tuning learns it by itself", **mark),
            Line2D([], [], marker="o", label="it does not, within T", **mark | drawing.hollow(4.5, "0.35")),
            Line2D([], [], color="0.35", label="limit where it does"),
        ]
    else:
        handles.append(Line2D([], [], color="0.35", marker="|", markersize=11, ls="none", label=r"$r = 2 + \lambda$"))
    axes.legend(handles=handles, loc="upper left", fontsize=8.5)


def _draw_plane(axes: Axes, dataset: xr.Dataset) -> None:
    """Every idealised feature, penalty and rate: one boundary between harm and none."""
    axes.set_title("(c) all rates and penalties, idealised stages")
    power = 2 - 2 / dataset.attrs["depth"]
    sigma = r"\sigma_{\mathrm{pre}}" + ("" if power == 1 else f"^{{{power:.2g}}}")
    axes.set(xscale="log", xlabel=rf"effort $(1 + \lambda)\, {sigma}\, T$")
    axes.set_ylabel(r"pull $\rho = (r + \lambda) / (1 + \lambda)$")
    harm = dataset["feature_harm"].sel(checkpoint="idealised")
    pull = (dataset["ratio"] + dataset["regularization"]) / (1 + dataset["regularization"])
    x, y, z = (part.values.ravel() for part in xr.broadcast(dataset["effort"], pull, harm))
    known = np.isfinite(z)
    bad = known & (z > _HARMFUL)
    good = known & ~bad
    axes.plot(x[good], y[good], "o", color="#0072B2", label="no harm", **drawing.hollow(3.6, "#0072B2"))
    axes.plot(x[bad], y[bad], "x", color="#D55E00", markersize=4.2, label="harm")
    edge, height = dataset["boundary_effort"].values, dataset["boundary_pull"].values
    axes.plot(edge, height, color="black", label=r"$F_T(\sigma_{\mathrm{pre}}) = 2\,\sigma_{\mathrm{pre}}$", zorder=5)
    axes.axhline(
        2, color="black", linewidth=0.9, linestyle=":", zorder=5, label=r"$r = 2 + \lambda$, for $T \to \infty$"
    )
    if known.any():
        low, high = min(y[known].min(), 1.0) - 0.3, max(y[known].max(), 2.5) + 0.3
        axes.set_ylim(low, high + 0.28 * (high - low))  # room for the legend
        drawing.label_logarithmic(axes.xaxis, (x[known].min() / 1.6, x[known].max() * 1.6))
    axes.legend(loc="upper center", ncols=2, fontsize=8.5)


def _message(dataset: xr.Dataset) -> str:
    """The finding, in one sentence."""
    harm = dataset["feature_harm"].isel(learning_rate=-1)
    ideal, real = (harm.sel(checkpoint=kind) for kind in ("idealised", "real"))
    if not ideal.notnull().any():
        return "Fine-tuning diverged from every stage: no harm can be told"
    if not (ideal > _HARMFUL).any():
        return "No learned feature does harm after the longest fine-tuning from idealised stages"
    right, count = _decided(ideal, dataset["limit_harm"])
    if right < _MOST * count:
        time = f"T = {_time(dataset):.3g}"
        return (
            rf"Fine-tuning for {time} is too short for the critical ratio 2 + $\lambda$: it decides {right} of {count} "
            "features rightly"
        )
    told = r"Having learned a feature is harm where fine-tuning wants it more than 2 + $\lambda$ times as strong "
    told += f"({right} of {count} rightly decided)"
    anyway = real.where(dataset["own_time"] < _time(dataset))
    if not anyway.notnull().any():
        return told
    right, count = _decided(anyway, dataset["limit_harm_learned_anyway"])
    limit = "1 + $\\lambda$/2".replace(" ", "\N{NO-BREAK SPACE}")
    return f"{told}; once fine-tuning learns it by itself, more than {limit} times ({right} of {count})"


def _decided(harm: xr.DataArray, stated: xr.DataArray) -> tuple[int, int]:
    """Of how many verdicts a rule has how many right."""
    ours, theirs = xr.broadcast(harm, stated)
    known = ours.notnull()
    return int((((ours > _HARMFUL) == (theirs > _HARMFUL)) & known).sum()), int(known.sum())


picture = Picture("stages", __doc__, "a result of stages", _NEEDED, _paint)
draw, save, main = picture.draw, picture.save, picture.main

if __name__ == "__main__":
    sys.exit(main())
