"""Are singular values learned one after another, and what sharpens the steps: a small start, or depth?

    python -m experiments.incremental_learning --out DIR

pre-trains networks of several depths from several initial scales, aligned with the task and at random, measures when
each mode is half learned, how long its rise takes and how much of the next weaker mode is there by then, and compares
with the closed form. One layer is the control: with whitened inputs all its modes relax at the same rate.

What is held equal across depths is s_0, the strength of every mode of the product at the start, not the scale of a
layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.commands.building import build_problem
from linsim.commands.config import (
    ChartConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    SyntheticConfig,
    chart_of,
    require_choices,
)
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose, flow_of
from linsim.dynamics.training import Session
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.losses import LOSS_CONVENTION
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.sweeping.along import part_of
from linsim.tasks import LinearTask, Transfer

from ..command import command
from ..rises import Rise, overlaps, rise_of, theory
from .summary import summarise

Start = Literal["aligned", "gaussian"]
STARTS: tuple[Start, ...] = ("aligned", "gaussian")
CLAIMS = ("rise-time", "stronger-first", "sequential-learning", "depth", "step-odds", "sharper-steps")


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


class _Runs(NamedTuple):
    """One depth from one kind of start, all scales together."""

    problem: Problem
    learned: Float[np.ndarray, "scales budgets modes seeds"]
    """u_i^T P v_i / sigma_i."""
    reason: str


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Learned shares over (depth, scale, budget, mode, seed), their closed form, and what is measured on them.

    Raises:
      InvalidInput: a field outside its domain, or one that the experiment sets itself.
    """
    _check(config)
    transfer = build_transfer(chart_of(config, depth=1))
    task = transfer.pretrain
    order = np.argsort(-task.strengths, kind="stable")
    modes = order[task.strengths[order] > 0]
    require(len(modes) > 0 and bool(np.all(task.strengths >= 0)), "task", task.strengths, "strengths >= 0, some > 0")
    total = len(config.depth) * len(STARTS)
    done = 0
    runs: dict[tuple[int, Start], _Runs] = {}
    for depth in config.depth:
        for start in STARTS:
            runs[depth, start] = _simulated(config, depth, start, task, modes, part_of(report, done, total))
            done += 1
    return _label(config, task, modes, runs)


def _check(config: Config) -> None:
    require_axis("depth", config.depth, at_least=1)
    for depth in config.depth:
        require_integer("depth", depth, at_least=1, at_most=64)
    require_axis("scales", config.scales, above=0)
    require_number("scales", config.scales[-1], at_most=1e6)
    require(config.task.data is None, "task.data", str(config.task.data), "nothing: the task is a synthetic one")
    default = NetworkConfig(hidden=config.network.hidden)
    for name in ("init", "tau", "balance"):
        given = getattr(config.network, name)
        said = "the default: starts are aligned and gaussian, their scale is --scales"
        require(given == getattr(default, name), f"network.{name}", given, said)
    require_choices(config)
    require(config.solver in ("auto", "dense"), "solver", config.solver, "auto or dense, which apply to both starts")


def _chart_of(config: Config, depth: int, start: Start, scale: float) -> ChartConfig:
    network = replace(config.network, init=start, tau=-float(np.log(scale)) / depth)
    return chart_of(config, depth=depth, seeds=1 if start == "aligned" else config.seeds, network=network)


def _simulated(
    config: Config, depth: int, start: Start, task: LinearTask, modes: np.ndarray, report: Progress | None
) -> _Runs:
    """Pre-train from every scale at once: the scales are more seeds to the solver, so that one program does it."""
    alone = Transfer(task, task)
    problems = [build_problem(_chart_of(config, depth, start, scale), alone) for scale in config.scales]
    layers = zip(*(problem.initial for problem in problems), strict=True)
    problem = replace(problems[0], initial=tuple(np.concatenate(weights) for weights in layers))
    with jax.enable_x64(True):
        choice = choose(problem, config.solver)
        session = Session.open(problem, choice.solver, np.dtype(config.precision).type)
        states = session.pretrain(report).states
        with np.errstate(over="ignore", invalid="ignore"):  # of runs that diverge, which the conclusion tells
            weights = [np.asarray(layer, np.float64) for layer in session.weights(states)]
            learned = _shares(weights, task, modes)
    shape = len(problem.budgets), len(config.scales), -1, len(modes)
    return _Runs(problem, learned.reshape(shape).transpose(1, 0, 3, 2), choice.reason)


def _shares(weights: Sequence[np.ndarray], task: LinearTask, modes: np.ndarray) -> np.ndarray:
    """u_i^T P v_i / sigma_i of weights with leading axes (budget, seed)."""
    # u_i^T W_L ... W_1 v_i without forming the product, which costs a dimension less.
    rows = np.broadcast_to(task.left[:, modes].T, (*weights[0].shape[:2], len(modes), task.outputs))
    for layer in reversed(weights):
        rows = rows @ layer
    return np.asarray(np.einsum("bsmi,im->bsm", rows, task.right[:, modes]) / task.strengths[modes])


def _variances(task: LinearTask, modes: np.ndarray, problem: Problem) -> Float[np.ndarray, " modes"] | str:
    """Input variance along each mode where the closed form of `theory` describes the run, else why not."""
    with jax.enable_x64(True):
        flow = flow_of(problem)
    if isinstance(flow, str):
        return flow
    if problem.pretrain.weight_decay is not None:
        return "weight decay is not part of the closed form used here"
    along = task.right[:, modes]
    return np.asarray(np.sum(along * (task.input_covariance @ along), axis=0))


def _label(config: Config, task: LinearTask, modes: np.ndarray, runs: dict[tuple[int, Start], _Runs]) -> xr.Dataset:
    axes = ("depth", "scale", "pretrain_steps", "mode")
    first = runs[config.depth[0], "aligned"].problem
    budgets, rate = first.budgets, config.pretrain.learning_rate
    strengths, scales = task.strengths[modes], np.asarray(config.scales)
    aligned, drawn = ([runs[depth, start] for depth in config.depth] for start in STARTS)
    described = [_variances(task, modes, each.problem) for each in aligned]
    curves: dict[str, Any] = {
        "aligned": np.stack([each.learned[..., 0] for each in aligned]),
        "random": np.stack([each.learned for each in drawn]),
    }
    measured: dict[str, tuple[Rise, np.ndarray]] = {}
    for name, shares in curves.items():
        moved = np.moveaxis(shares, 2, -1)  # budgets last
        with np.errstate(over="ignore", invalid="ignore"):
            rise = rise_of(budgets, moved)
            measured[name] = rise, overlaps(budgets, moved, rise.half, axis=2)
    stated = [
        theory(depth, strengths, variances, scales, rate, budgets)
        for depth, variances in zip(config.depth, described, strict=True)
    ]
    curves["predicted"] = np.stack([each[0] for each in stated])
    half, width, share = (np.stack([each[part] for each in stated]) for part in (1, 2, 3))
    measured["predicted"] = Rise(half, width), share
    variables: dict[str, Any] = {}
    told = {"aligned": "aligned start", "random": "random start", "predicted": "closed form, aligned start"}
    for name, words in told.items():
        seed = ("seed",) if name == "random" else ()
        rise, share = measured[name]
        place = ("depth", "scale", "mode", *seed)
        long = {"long_name": f"share of the mode that is learned, {words}", "units": "1"}
        variables[f"{name}_learned"] = ((*axes, *seed), curves[name], long)
        long = {"long_name": f"budget at which the mode is half learned, {words}", "units": "pre-training steps"}
        variables[f"{name}_half_learned_steps"] = (place, rise.half, long)
        long = {"long_name": f"budget from 10 to 90 % of the mode, {words}", "units": "pre-training steps"}
        variables[f"{name}_rise_steps"] = (place, rise.width, long)
        long = {"long_name": f"share of the next weaker mode when the mode is half learned, {words}", "units": "1"}
        variables[f"{name}_overlap"] = (place, share, long)
    for depth, each in zip(config.depth, drawn, strict=True):
        for layer, weights in enumerate(each.problem.initial, start=1):
            name = f"initial_weights_{layer}_of_depth_{depth}"
            split = weights.reshape(len(scales), config.seeds, *weights.shape[1:])
            variables[name] = (("scale", "seed", f"{name}_rows", f"{name}_columns"), split, {"long_name": "W, random"})
    matrices = {"pretrain_target": ("output", "input"), "input_covariance": ("input", "input_")}
    variables["pretrain_target"] = (matrices["pretrain_target"], task.target, {"long_name": "A"})
    variables["input_covariance"] = (matrices["input_covariance"], task.input_covariance, {"long_name": "S"})
    variables["strength"] = ("mode", strengths, {"long_name": "sigma", "units": "output per input"})
    lacking = [
        f"depth {depth}: {each}" for depth, each in zip(config.depth, described, strict=True) if isinstance(each, str)
    ]
    attributes = {
        "config": config.to_json(),
        "solver_reason": "\n".join(dict.fromkeys(each.reason for each in runs.values())),
        "precision": config.precision,
        "seed": config.seed,
        "learning_rate": rate,
        "prediction": f"none: {'; '.join(lacking)}" if lacking else "gradient flow of aligned balanced layers",
        "loss_convention": LOSS_CONVENTION,
        **provenance(),
    }
    coords = {
        "depth": ("depth", np.asarray(config.depth), {"long_name": "number of layers"}),
        "scale": ("scale", scales, {"long_name": "s_0, strength of a mode at the start", "units": "output per input"}),
        "pretrain_steps": ("pretrain_steps", budgets, {"long_name": "pre-training budget", "units": "steps"}),
        "mode": ("mode", np.arange(1, len(modes) + 1), {"long_name": "mode, strongest first"}),
        "seed": ("seed", np.arange(config.seeds), {"long_name": "seed of the random start"}),
    }
    return xr.Dataset(variables, coords, attributes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "incremental_learning", __doc__, summarise, arguments, claims=CLAIMS)
