"""Are singular values learned one after another, and what sharpens the steps: a small start, or depth?

    python -m experiments.incremental_learning --out DIR

pre-trains networks of several depths from several initial scales, aligned with the task and at random, measures when
each mode is half learned, how long its rise takes and how much of the next weaker mode is there by then, and compares
with the closed form. One layer is the control: with whitened inputs all its modes relax at the same rate.

What is held equal across depths is s_0, the strength of every mode of the product at the start, not the scale of a
layer.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.commands.building import build_pretraining
from linsim.commands.config import (
    PretrainConfig,
    PretrainingConfig,
    SyntheticConfig,
    chart_of,
    require_choices,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.finding import Finding
from linsim.labels import PLAIN, STEPS, STRENGTH, Label, label, lost_lanes
from linsim.measures.built_in import LEARNED_SHARE
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask
from linsim.theory.rises import BalancedModes, rise_of

from .experiment import Experiment
from .words import distrust, joined, percent, rechecked, tabular

CLAIMS = ("rise-time", "stronger-first", "sequential-learning", "depth", "step-odds", "sharper-steps")
Start = Literal["aligned", "gaussian"]
SHARPENS = 0.8
"""The next mode's share must fall below this fraction of what it is at the largest scale to be called sharper."""

_STARTS: tuple[Start, ...] = ("aligned", "gaussian")
_KINDS = {"aligned": "aligned start", "random": "random start", "predicted": "closed form, aligned start"}
_TOLD = {
    "learned": Label("share of the mode that is learned", PLAIN),
    "half_learned_steps": Label("budget at which the mode is half learned", STEPS),
    "rise_steps": Label("budget from 10 to 90 % of the mode", STEPS),
    "overlap": Label("share of the next weaker mode when the mode is half learned", PLAIN),
    "diverged": Label("pre-training diverged"),
    "unstable": Label("pre-training beyond the edge of stability"),
}
_LOST = {"diverged": "diverged", "unstable": "are beyond the edge of stability"}
_RISES = [name for name in _TOLD if name not in _LOST]
LABELS = {
    **{
        f"{kind}_{name}": told._replace(long_name=f"{told.long_name}, {start}")
        for kind, start in _KINDS.items()
        for name, told in _TOLD.items()
    },
    "scale": Label("s_0, strength of a mode at the start", STRENGTH),
    "seed": Label("seed of the random start"),
    "strength": Label("sigma", STRENGTH),
}


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Depths, initial scales and the task."""

    dim: int | None = 5
    """Inputs and outputs; few, because the time that the weakest mode needs grows as a power of 1 / s_0 with depth."""
    depth: tuple[int, ...] = (1, 2, 3, 4)
    """Numbers of layers L, increasing."""
    scales: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    """s_0, increasing: strength of every mode of the product at the start, of the random start the order of magnitude.
    Each layer starts at s_0^(1/L); so --network.tau does not apply."""
    seeds: int = 5
    """Number of random starts."""
    pretrain: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(learning_rate=0.005, steps=20_000, first=5, budgets=360)
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Learned shares over (depth, scale, budget, mode, seed), their closed form, and what is measured on them.

    Raises:
      InvalidInput: a field outside its domain, or one that the experiment sets itself.
    """
    _check(config)
    task = build_transfer(chart_of(config, depth=1)).pretrain
    order = np.argsort(-task.strengths, kind="stable")
    modes = order[task.strengths[order] > 0]
    require(len(modes) > 0 and bool(np.all(task.strengths >= 0)), "task", task.strengths, "strengths >= 0, some > 0")

    def prepare(depth: int, start: Start) -> Ready:
        return partial(_risen, config, _problem(config, task, depth, start), modes)

    swept = along({"start": _STARTS, "depth": config.depth}, prepare, report)
    # To a solver scales are seeds: all draws from the first scale, then those from the second.
    apart = swept.coarsen(seed=config.seeds).construct(seed=("scale", "draw")).rename(draw="seed")
    aligned, drawn = apart.sel(start="aligned", drop=True).isel(seed=0), apart.sel(start="gaussian", drop=True)
    weights = [name for name in drawn if str(name).startswith("initial_weights")]
    dataset = xr.Dataset(
        {
            **{f"aligned_{name}": aligned[name] for name in _TOLD},
            **{f"random_{name}": drawn[name] for name in _TOLD},
            **{f"predicted_{name}": aligned[f"predicted_{name}"] for name in _RISES},
            **{name: drawn[name] for name in weights},
            **{name: swept[name] for name in ("pretrain_target", "input_covariance")},
            "strength": ("mode", task.strengths[modes]),
        },
        {"scale": list(config.scales), "mode": 1 + np.arange(len(modes)), "seed": np.arange(config.seeds)},
        swept.attrs,
    )
    return label(dataset.transpose("depth", "scale", "pretrain_steps", "mode", "seed", ...), LABELS)


def _check(config: Config) -> None:
    require_axis("depth", config.depth, at_least=1)
    for depth in config.depth:
        require_integer("depth", depth, at_least=1, at_most=64)
    require_axis("scales", config.scales, above=0)
    require_number("scales", config.scales[-1], at_most=1e6)
    require_defaults(config, ["task.data"], "nothing: the task is a synthetic one")
    starts = ("network.init", "network.tau", "network.balance")
    require_defaults(config, starts, "the default: starts are aligned and gaussian, their scale is --scales")
    require_choices(config)
    require(config.solver in ("auto", "dense"), "solver", config.solver, "auto or dense, which apply to both starts")


def _problem(config: Config, task: LinearTask, depth: int, start: Start) -> Problem:
    """Pre-training from every scale at once: to the solver all are seeds."""
    taus = (-float(np.log(scale)) / depth for scale in config.scales)
    networks = (replace(config.network, init=start, tau=tau) for tau in taus)
    problems = [build_pretraining(chart_of(config, depth=depth, network=network), task) for network in networks]
    layers = zip(*(problem.initial for problem in problems), strict=True)
    return replace(problems[0], initial=tuple(map(np.concatenate, layers)))


def _risen(config: Config, problem: Problem, modes: np.ndarray, report: Progress | None = None) -> xr.Dataset:
    """Shares and rises of modes from one kind of start at one depth, beside the closed form where there is one."""
    swept = sweep(problem, {}, [LEARNED_SHARE], solver=config.solver, precision=config.precision, report=report)
    lost = lost_lanes(swept).any("pretrain_steps")
    learned = swept["learned_share"].isel(mode=modes).transpose("seed", "mode", "pretrain_steps").values
    rise = (np.where(lost.values[:, None], np.nan, part) for part in rise_of(problem.budgets, learned))
    found = _named(learned, *rise)
    closed, told = {name: np.nan * values for name, values in found.items()}, "gradient flow of aligned balanced layers"
    balanced, rate = BalancedModes.of(problem), problem.pretrain.learning_rate
    if isinstance(balanced, str):
        told = f"none: {balanced}"
    else:
        balanced = balanced.of_modes(modes)
        shares = balanced.at(rate * problem.budgets[:, None, None]) / balanced.strengths
        half, width, overlap = balanced.rise()
        closed = _named(np.moveaxis(shares, 0, -1), half / rate, width / rate, overlap)
    predicted = {f"predicted_{name}": values for name, values in closed.items()}
    flags = {name: swept[name].any("pretrain_steps") for name in _LOST}
    # Shares are of all modes, those of strength 0 too, which `modes` leaves out.
    return swept.drop_vars("learned_share").assign(found | predicted | flags).assign_attrs(prediction=told)


def _named(*values: np.ndarray) -> dict[str, xr.Variable]:
    axes = ("seed", "mode", "pretrain_steps")
    return {name: xr.Variable(axes[: each.ndim], each) for name, each in zip(_RISES, values, strict=True)}


def find(dataset: xr.Dataset) -> Finding:
    """Whether a smaller start sharpens the steps, which is how much of mode 2 is there when mode 1 is half learned.

    Not seen where that share falls at no depth by a fifth, as at one layer, the control; nobody can tell where it is
    known from one scale only.
    """
    said: dict[str, Any] = {"details": (*_agreement(dataset), *_lost(dataset), *rechecked(dataset))}
    said["trust"] = distrust(dataset)
    if dataset.sizes["mode"] < 2:
        return Finding("One mode alone has no order: nothing can be said of steps", "cannot tell", **said)
    depths, scales = dataset["depth"].values, dataset["scale"].values
    small, large = dataset["aligned_overlap"].isel(mode=0, scale=[0, -1]).transpose("scale", "depth").values
    known = np.isfinite(small) & np.isfinite(large) & (len(scales) > 1)
    if not known.any():
        why = f"runs {how}" if (how := _how(dataset)) else "one initial scale, or too few budgets"
        return Finding(f"How sharp the steps are cannot be compared: {why}", "cannot tell", **said)
    fell, kept, numbers = [], [], {"depths": known.sum()}
    for depth, low, high in zip(depths[known], small[known], large[known], strict=True):
        numbers |= {f"smallest start, depth {depth}": low, f"largest start, depth {depth}": high}
        if low < SHARPENS * high:
            fell.append(f"from {_percent(high)} to {_percent(low)} at depth {depth}")
        else:
            kept.append(f"{_percent(low)} at depth {depth}")
    said["numbers"] = numbers | {"sharper": len(fell)}
    if not fell:
        sentence = f"A smaller start does not sharpen the steps: at half of mode 1 the share of mode 2 is {kept[0]}"
        return Finding(sentence, "not seen", **said)
    sentence = (
        f"Modes are learned one after another, the sharper the smaller the start: from s_0 = {scales[-1]:g} to "
        f"{scales[0]:g} the share of mode 2 at half of mode 1 falls {joined([fell[0], *fell[1:][-1:]])}"
    )
    return Finding(sentence + (f", and stays at {kept[0]}" if kept else ""), "seen", **said)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def table(dataset: xr.Dataset) -> list[str]:
    """Overlap of the two strongest modes by depth and scale, the power of s_0 it goes with, and the same at random."""
    scales, several = dataset["scale"].values, dataset.sizes["scale"] > 1
    heads = ["depth", *(f"s_0 = {scale:g}" for scale in scales), *["power of s_0"] * several]
    heads += ["random", "in order", "missing"]
    rows = []
    for depth in dataset["depth"].values:
        here = dataset.sel(depth=depth)
        shares = [here[f"{kind}_overlap"].isel(mode=0).values for kind in ("aligned", "predicted")]
        powers = [np.log(each[:1] / each[1:2]) / np.log(scales[:1] / scales[1:2]) for each in shares]
        half = here["random_half_learned_steps"]
        with np.errstate(invalid="ignore"):  # of two that are not learned
            later = half.fillna(np.inf).diff("mode")
        random = float(here["random_overlap"].isel(mode=0, scale=0).median())
        order = f"{int((later > 0).sum())} of {int(later.notnull().sum())}"
        late = percent(float(half.isnull().mean()))
        rows.append([depth, *map(_both, *shares), *map(_both, *powers), _both(random), order, late])
    return [
        f"Share of mode 2 at half of mode 1, simulated (closed form); at random the same for s_0 = {scales[0]:g},",
        "and for all s_0 the neighbours of which the stronger is first, and the modes that are not half learned:",
        *tabular(heads, rows),
    ]


def _both(ours: float, theirs: float = np.nan) -> str:
    return ("none" if np.isnan(ours) else f"{ours:.3g}") + ("" if np.isnan(theirs) else f" ({theirs:.3g})")


def _agreement(dataset: xr.Dataset) -> list[str]:
    """How far the aligned start is from the closed form."""
    if not dataset["predicted_learned"].notnull().any():
        return [f"Closed form: {line}." for line in dataset.attrs["prediction"].splitlines()[:1]]
    said = []
    kinds = {"half_learned_steps": "half-learned budgets", "rise_steps": "rises", "overlap": "shares of the next mode"}
    for name, words in kinds.items():
        off = (dataset[f"aligned_{name}"] / dataset[f"predicted_{name}"] - 1).values
        if len(known := np.abs(off[np.isfinite(off)])):
            said.append(f"{words} within {known.max():.2g} ({len(known)})")
    nothing = "no mode is half learned within the budgets"
    return [f"Aligned start against closed form, relative: {'; '.join(said) or nothing}."]


def _lost(dataset: xr.Dataset) -> list[str]:
    """How many runs leave no measures."""
    lost, beyond = (np.append(dataset[f"aligned_{name}"], dataset[f"random_{name}"]) for name in _LOST)
    counts = zip(_LOST.values(), (lost.sum(), (beyond & ~lost).sum()), strict=True)
    return [f"{count} of {lost.size} runs {how}." for how, count in counts if count]


def _how(dataset: xr.Dataset) -> str:
    """What became of runs from the aligned start that leave no measures; empty where there are none."""
    return " or ".join(how for name, how in _LOST.items() if dataset[f"aligned_{name}"].any())


experiment = Experiment("incremental_learning", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
