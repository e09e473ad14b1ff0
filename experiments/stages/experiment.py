"""Which learned feature turns fine-tuning into harm? The budget counted in features learned instead of steps.

    python -m experiments.stages --out DIR

fine-tunes from every stage of pre-training, n features learned, on tasks that multiply each feature by a ratio drawn at
random. The harm of feature n is how much higher the pre-training loss after fine-tuning is with it than without it,
L_n - L_(n-1), in units of sigma_n^2. To convergence it should be positive iff the ratio is beyond 2 + lambda.

Stages are taken twice: idealised, the n features at their target and the others exactly 0, and as they really are on
the plateau, where features not learned yet are small but not 0: there the threshold should fall to 1 + lambda / 2 as
fine-tuning lasts long enough to learn a feature by itself. Idealised stages are also fine-tuned on the same task with
its singular vectors turned, on one side, on both alike, and against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Int

from linsim import network
from linsim.commands.building import build_pretraining, build_problem, learning_rates, strengths
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    TaskConfig,
    chart_of,
    require_choices,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, STEPS, STRENGTH, Label, label, lost_lanes
from linsim.measures.built_in import LEARNED, LEARNED_SHARE
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along, part_of
from linsim.sweeping.results import inputs_of
from linsim.sweeping.sweep import chart, sweep
from linsim.tasks import LinearTask, Transfer
from linsim.theory.rises import rise_of
from linsim.theory.stages import critical_effort, critical_ratios, harm_limits, learning_time

from ..experiment import Experiment
from . import relearning, turned
from .finding import find, table

CLAIMS = (
    *("sequential-learning", "zero-mode-stays-zero", "misaligned-iff", "learned-anyway-iff"),
    "critical-rate-times-steps",
)
HARMFUL = 0.01
"""Harm, in units of sigma_pre^2, below which a feature counts as harmless: far below 1, what learning it is worth."""
CHECKPOINTS: tuple[Literal["idealised", "real"], ...] = ("idealised", "real")
LABELS = {
    "seed": Label("drawn task"),
    "regularization": Label("lambda", PLAIN),
    "stage": Label("features learned"),
    "feature": Label("feature, in the order of learning"),
    "learned": Label("strength of a feature at the checkpoint", STRENGTH),
    "begun": Label("strength of a feature at the real stage before", STRENGTH),
    "strength": Label("sigma_pre", STRENGTH),
    "ratio": Label("sigma_ft / sigma_pre", PLAIN),
    "stage_steps": Label("budget of the stage", STEPS),
    "feature_harm": Label("(L_n - L_(n-1)) / sigma_n^2", PLAIN),
    "predicted_feature_harm": Label("(L_n - L_(n-1)) / sigma_n^2, in closed form", PLAIN),
    "limit_harm": Label("harm to convergence, others at 0 or at rest", PLAIN),
    "limit_harm_learned_anyway": Label("harm to convergence, where fine-tuning would have learned the feature", PLAIN),
    "limit_curve": Label("either limit over the ratio", PLAIN),
    "curve_ratio": Label("sigma_ft / sigma_pre", PLAIN),
    "critical_ratio": Label("ratio from which on a feature is harm in that limit", PLAIN),
    "own_time": Label("flow time of fine-tuning that learns the feature from the real stage before"),
    "effort": Label("(1 + lambda) sigma^(2 - 2/L) T", PLAIN),
    "boundary_pull": Label("(ratio + lambda) / (1 + lambda)", PLAIN),
    "boundary_effort": Label("effort beyond which a feature is harm", PLAIN),
    **relearning.LABELS,
    **turned.LABELS,
}
_SAME = ShiftConfig(rescale_factor=1.0)  # the fine-tuning task is drawn here
_LOSSES = ("pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "predicted_pretrain_loss_after")
_CURVE = 300  # points of the limits over the ratio


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """The task, its stages and the fine-tuning tasks."""

    dim: int | None = 6
    """Inputs and outputs: as many features, and one stage more."""
    depth: int = 2
    """Number of layers L, at least 2: with one layer there are no stages."""
    ratios: tuple[float, float] = (-1.0, 5.0)
    """Bounds of sigma_ft / sigma_pre, drawn evenly for every feature (no unit)."""
    seeds: int = 8
    """Number of fine-tuning tasks; each also draws the initial weights and bases again, where these are random."""
    angles: tuple[float, ...] = (10.0, 20.0, 25.0, 28.0, 40.0, 55.0, 65.0, 80.0)
    """Angles by which singular vectors turn in the planes of features (1, 2), (3, 4), ..., in degrees, increasing."""
    task: TaskConfig = field(default_factory=lambda: TaskConfig(spectrum="exponential", decay=0.4))
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(tau=12.0))
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            steps=4000, learning_rates=(2e-5, 1e-4, 2e-4, 5e-4, 1e-3, 3e-3), regularizations=(0.0, 0.5, 1.0, 2.0)
        )
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses after fine-tuning over (checkpoint, stage, rate, strength, seed), harm per feature, and both predicted.

    Harm on tasks that have turned is beside them, over (side, angle, feature).

    Raises:
      InvalidInput: a field outside its domain, or no plateau to take a stage from.
    """
    _check(config)
    drawn = along({"seed": range(config.seeds)}, lambda seed: partial(_drawn, config, seed), part_of(report, 0, 2))
    drawn["pretrain_target"] = drawn["pretrain_target"].broadcast_like(drawn["seed"])  # also where all are the same
    found = drawn.assign(_harm(drawn)).assign(_limits(config, drawn)).assign_attrs(harmful=HARMFUL)
    found = found.assign(relearning.relearning(found)).assign(_turned(config, part_of(report, 1, 2)))
    dims = ("checkpoint", "stage", "feature", "learning_rate", "regularization", "seed")
    ordered = found.transpose(*dims, ..., missing_dims="ignore")
    return label(ordered.assign_attrs(seed=config.seed, depth=config.depth), LABELS)


def _check(config: Config) -> None:
    require_choices(config)
    require_integer("depth", config.depth, at_least=2, at_most=64)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    require_axis("angles", config.angles)
    low, high = config.ratios
    require_number("ratios", low, at_least=-1e3, at_most=1e3)
    require_number("ratios", high, at_least=low, at_most=1e3)
    require_defaults(config, ["task.data"], "nothing: the task is a synthetic one")
    require_defaults(config, ["task.covariance"], "{}: the critical ratio is for whitened inputs")
    require_defaults(config, ["finetune.regularizer"], "{}, which the critical ratio is about")


def _drawn(config: Config, number: int, report: Progress | None = None) -> xr.Dataset:
    """One fine-tuning task, from both kinds of stages."""
    settings = chart_of(config, seeds=1, seed=(config.seed + number) % 2**32, shift=_SAME)
    task = build_transfer(settings).pretrain
    order, budgets = _stages(settings, task)
    sigma, ratio = (
        task.strengths[order],
        np.random.default_rng([config.seed, number]).uniform(*config.ratios, len(order)),
    )
    goal = np.zeros_like(task.strengths)
    goal[order] = ratio * sigma
    problem = build_problem(settings, Transfer(task, replace(task, strengths=goal)))
    kinds: dict[str, Ready] = {
        "idealised": partial(_chart, settings, _idealised(problem, order), "seed"),
        "real": partial(_chart, settings, replace(problem, budgets=budgets), "pretrain_steps"),
    }
    found = along({"checkpoint": CHECKPOINTS}, lambda checkpoint: kinds[checkpoint], report)
    found["learned"] = found["learned"].isel(mode=order).rename(mode="feature")
    found = found.assign_coords(feature=np.arange(1, len(order) + 1))
    found = found.assign(strength=("feature", sigma), ratio=("feature", ratio), stage_steps=("stage", budgets))
    before = found["feature"] - 1
    found["begun"] = found["learned"].sel(checkpoint="real", drop=True).sel(stage=before).drop_vars("stage")
    return found.merge(inputs_of(problem).isel(seed=0))


def _turned(config: Config, report: Progress | None) -> dict[str, xr.DataArray]:
    """Idealised stages on tasks that have turned, after the longest fine-tuning without a penalty."""
    longest = replace(
        config.finetune, learning_rates=(float(learning_rates(config.finetune)[-1]),), regularizations=(0.0,)
    )
    settings = chart_of(config, seeds=1, shift=_SAME, finetune=longest)
    task = build_transfer(settings).pretrain
    order = np.argsort(-task.strengths, kind="stable")[: np.count_nonzero(task.strengths)]

    def stages(transfer: Transfer) -> Ready:
        stage = _idealised(build_problem(settings, transfer), order)
        return partial(_chart, settings, stage, "seed", rechecked=0)  # the closed form stands beside it

    return turned.turned(task, order, config.angles, stages, report)


def _stages(settings: ChartConfig, task: LinearTask) -> tuple[Int[np.ndarray, " features"], Int[np.ndarray, " stages"]]:
    """The features in the order they are learned, and the budget of every stage.

    Stage n is taken at the harmonic mean of the half-learned budgets of features n and n + 1, where what is missing of
    the one and what has begun of the other fall off alike, as e^(-C tau); stage 0 after one step, the last one at twice
    the half-learned budget of the last feature. See the claim sequential-learning.
    """
    kept = np.flatnonzero(task.strengths)
    require(len(kept) > 0 and bool(np.all(task.strengths >= 0)), "task", task.strengths, "strengths >= 0, some > 0")
    problem = build_pretraining(settings, task)
    hidden, last = min(problem.widths), int(problem.budgets[-1])
    require(hidden >= len(kept), "network.hidden", hidden, f"at least {len(kept)}, the number of features")
    curves = sweep(problem, {}, [LEARNED_SHARE], solver=settings.solver, precision=settings.precision)
    shares = curves["learned_share"].isel(seed=0, mode=kept).transpose("mode", "pretrain_steps").values
    half = rise_of(problem.budgets, shares).half
    learned = int(np.isfinite(half).sum())
    allowed = "budgets within which every feature comes to be half learned"
    require(learned == len(kept), "pretrain", f"{learned} of {len(kept)} features within {last} steps", allowed)
    order = np.argsort(half, kind="stable")
    half, kept = half[order], kept[order]
    inverse = np.append(1 / half, 0.0)
    means = np.minimum(2 / (inverse[:-1] + inverse[1:]), last)
    budgets = np.append(1, np.round(means).astype(np.int64))
    between = np.all(budgets[1:-1] > half[:-1]) and np.all(budgets[1:-1] < half[1:])
    apart = bool(np.all(np.diff(budgets) > 0) and between and budgets[-1] > half[-1])
    allowed = "features learned so far apart that there is a step between any two"
    require(apart, "task", f"half-learned budgets {np.round(half).tolist()}", allowed)
    return kept, budgets


def _idealised(problem: Problem, order: Int[np.ndarray, " features"]) -> Problem:
    """The stages as starts: features at their target or exactly 0 are at rest, so that one step leaves them there."""
    task = problem.transfer.pretrain
    strengths = np.zeros((len(order) + 1, len(task.strengths)))
    for stage in range(1, len(order) + 1):
        strengths[stage:, order[stage - 1]] = task.strengths[order[stage - 1]]
    starts = stack_seeds([network.aligned(problem.widths, task, each) for each in strengths])
    return replace(problem, initial=starts, budgets=np.array([1]), pretrain=Phase(problem.pretrain.learning_rate))


def _chart(
    settings: ChartConfig, problem: Problem, along: str, report: Progress | None = None, **how: Any
) -> xr.Dataset:
    """The chart of a problem with its stages, which are its budgets or its seeds, along one axis."""
    swept = learning_rates(settings.finetune), strengths(settings.finetune), settings.finetune.regularizer
    how |= {"solver": settings.solver, "precision": settings.precision, "report": report}
    measured = chart(problem, *swept, [LEARNED], **how)
    (other,) = {"seed", "pretrain_steps"} - {along}
    if along == "seed":  # idealised: exact zeros, which chains of modes keep, and full matrices only up to rounding
        measured.attrs = {name: told for name, told in measured.attrs.items() if not name.startswith("rounding_")}
    losses = [name for name in _LOSSES if name in measured]
    staged = measured[[*losses, "diverged", "unstable", "learned"]].isel({other: 0}, drop=True).rename({along: "stage"})
    return staged.assign_coords(stage=np.arange(staged.sizes["stage"])).transpose("stage", ...)


def _harm(drawn: xr.Dataset) -> dict[str, xr.DataArray]:
    """Of every feature, simulated and in closed form where there is one."""
    losses = {"feature_harm": drawn["pretrain_loss_after"].where(~lost_lanes(drawn))}
    if "predicted_pretrain_loss_after" in drawn:
        losses["predicted_feature_harm"] = drawn["predicted_pretrain_loss_after"]
    return {name: loss.diff("stage").rename(stage="feature") / drawn["strength"] ** 2 for name, loss in losses.items()}


def _limits(config: Config, drawn: xr.Dataset) -> dict[str, xr.DataArray]:
    """What harm tends to, the ratios and the effort from which on it is harm, and the time that takes."""
    ratio, penalty, sigma, kinds = (drawn[name] for name in ("ratio", "regularization", "strength", "checkpoint"))
    low, high = min(float(ratio.min()), 0.0) - 0.1, max(float(ratio.max()), 1.0) + 0.1
    every_ratio, pull = np.linspace(low, high, _CURVE), 2 + np.geomspace(1e-6, 50, 200)
    curve_ratio = xr.DataArray(every_ratio, {"curve_ratio": every_ratio}, "curve_ratio")
    boundary_pull = xr.DataArray(pull, {"boundary_pull": pull}, "boundary_pull")
    never, anyway = xr.apply_ufunc(harm_limits, ratio, penalty, output_core_dims=[(), ()])
    curves = xr.apply_ufunc(harm_limits, curve_ratio, penalty, output_core_dims=[(), ()])
    critical = xr.apply_ufunc(critical_ratios, penalty, output_core_dims=[(), ()])
    own_time = xr.apply_ufunc(partial(learning_time, config.depth), drawn["begun"], ratio * sigma, penalty)
    time = config.finetune.steps * drawn["learning_rate"]
    return {
        "limit_harm": never,
        "limit_harm_learned_anyway": anyway,
        "limit_curve": xr.concat(curves, kinds),
        "critical_ratio": xr.concat(critical, kinds),
        "own_time": own_time,
        "effort": (1 + penalty) * time * sigma ** (2 - 2 / config.depth),
        "boundary_effort": xr.apply_ufunc(partial(critical_effort, config.depth), boundary_pull),
    }


experiment = Experiment("stages", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
