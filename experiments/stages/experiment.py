"""Which learned feature turns fine-tuning into harm? The budget counted in features learned instead of steps.

    python -m experiments.stages --out DIR

fine-tunes from every stage of pre-training, n features learned, on tasks that multiply each feature by a ratio drawn at
random. The harm of feature n is how much higher the pre-training loss after fine-tuning is with it than without it,
L_n - L_(n-1), in units of sigma_n^2. To convergence it should be positive iff the ratio is beyond 2 + lambda.

Stages are taken twice: idealised, the n features at their target and the others exactly 0, and as they really are on
the plateau, where features not learned yet are small but not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Int

from linsim.commands.building import build_problem, learning_rates, strengths
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    TaskConfig,
    chart_of,
    require_choices,
)
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose
from linsim.dynamics.training import Session
from linsim.errors import require, require_integer, require_number
from linsim.labels import texts
from linsim.progress.showing import Progress
from linsim.sweeping.axes import Axes
from linsim.sweeping.lanes import run_all
from linsim.tasks import Transfer
from linsim.theory.rises import rise_of

from ..command import command
from ..trajectory import Trajectory, pretrained
from .summary import summarise
from .theory import boundary, limits, own_time, predicted, why_not

CLAIMS = (
    "sequential-learning",
    "zero-mode-stays-zero",
    "misaligned-iff",
    "learned-anyway-iff",
    "critical-rate-times-steps",
)
CHECKPOINTS: tuple[Literal["idealised", "real"], ...] = ("idealised", "real")
_SAME = ShiftConfig(rescale_factor=1.0)  # the fine-tuning task is drawn here
_CURVE = 300  # ratios at which the limits are told


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
    task: TaskConfig = field(default_factory=lambda: TaskConfig(spectrum="exponential", decay=0.4))
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(tau=12.0))
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            steps=4000, learning_rates=(2e-5, 1e-4, 5e-4, 3e-3), regularizations=(0.0, 0.5, 1.0, 2.0)
        )
    )


class _Task(NamedTuple):
    """One drawn task, its stages, and what fine-tuning did from them. Features in the order they are learned."""

    arrays: dict[str, np.ndarray]
    transfer: Transfer
    initial: tuple[np.ndarray, ...]
    attributes: dict[str, Any]


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses after fine-tuning over (checkpoint, stage, rate, strength, seed), harm per feature, and both predicted.

    Raises:
      InvalidInput: a field outside its domain, or no plateau to take a stage from.
    """
    _check(config)
    drawn = []
    for number in range(config.seeds):
        drawn.append(_one(config, number))
        if report is not None:
            report(number + 1, config.seeds)
    return _label(config, drawn)


def _check(config: Config) -> None:
    require_choices(config)
    require_integer("depth", config.depth, at_least=2, at_most=64)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    low, high = config.ratios
    require_number("ratios", low, at_least=-1e3, at_most=1e3)
    require_number("ratios", high, at_least=low, at_most=1e3)
    require(config.task.data is None, "task.data", str(config.task.data), "nothing: the task is a synthetic one")
    covariance, regularizer = config.task.covariance, config.finetune.regularizer
    require(
        covariance == "identity", "task.covariance", covariance, "identity: the critical ratio is for whitened inputs"
    )
    said = "product_penalty, which the critical ratio is about"
    require(regularizer == "product_penalty", "finetune.regularizer", regularizer, said)


def _one(config: Config, number: int) -> _Task:
    """Pre-train, find the plateaus, and fine-tune from both kinds of checkpoints."""
    chart = chart_of(config, seeds=1, seed=(config.seed + number) % 2**32, shift=_SAME)
    task = build_transfer(chart).pretrain
    kept = np.flatnonzero(task.strengths)
    hidden = min(task.inputs, task.outputs) if config.network.hidden is None else config.network.hidden
    require(len(kept) > 0 and bool(np.all(task.strengths >= 0)), "task", task.strengths, "strengths >= 0, some > 0")
    require(hidden >= len(kept), "network.hidden", hidden, f"at least {len(kept)}, the number of features")
    trajectory = pretrained(chart)
    order, budgets = _stages(trajectory, kept)
    ratio = np.random.default_rng([config.seed, number]).uniform(*config.ratios, len(kept))
    strength = np.zeros_like(task.strengths)
    strength[order] = ratio * task.strengths[order]
    transfer = Transfer(task, replace(task, strengths=strength))
    swept = learning_rates(config.finetune), strengths(config.finetune)
    axes = Axes.of_chart(*swept, config.finetune.regularizer)
    ends = []
    for kind in CHECKPOINTS:
        problem = replace(build_problem(replace(chart, checkpoints=kind), transfer), budgets=budgets)
        with jax.enable_x64(True):
            largest = axes.representative(problem)
            session = Session.open(problem, choose(largest, config.solver).solver, np.dtype(config.precision).type)
            checkpoints = session.pretrain()
            tuned = run_all(session, axes, checkpoints)
            weights = session.weights(checkpoints.states)
        after, finetune, diverged = (np.asarray(part)[..., 0] for part in tuned[:3])
        before = np.asarray(checkpoints.losses)[:, 0]
        ends.append({"before": before, "after": after, "finetune": finetune, "diverged": diverged})
    product, *others = (np.asarray(layer, np.float64)[:, 0] for layer in weights)
    for layer in others:
        product = layer @ product
    modes = np.einsum("of,soi,if->sf", task.left[:, order], product, task.right[:, order])
    arrays = {
        "strength": task.strengths[order],
        "ratio": ratio,
        "budgets": budgets,
        "begun": np.diagonal(modes),  # of feature n at the real stage n - 1
        "predicted": predicted(config, transfer, order, budgets, trajectory.initial, *swept),
        **{name: np.stack([end[name] for end in ends]) for name in ends[0]},
    }
    return _Task(arrays, transfer, tuple(layer[0] for layer in trajectory.initial), trajectory.attributes)


def _stages(trajectory: Trajectory, kept: np.ndarray) -> tuple[np.ndarray, Int[np.ndarray, " stages"]]:
    """The features in the order they are learned, and the budget of every stage.

    Stage n is taken at the harmonic mean of the half-learned budgets of features n and n + 1, where what is missing of
    the one and what has begun of the other fall off alike, as e^(-C tau); stage 0 after one step, the last one at twice
    the half-learned budget of the last feature. See the claim sequential-learning.
    """
    shares = trajectory.learned()[:, 0, kept].T / trajectory.transfer.pretrain.strengths[kept][:, None]
    half = rise_of(trajectory.budgets, shares).half
    learned = int(np.isfinite(half).sum())
    last = int(trajectory.budgets[-1])
    allowed = "budgets within which every feature comes to be half learned"
    require(learned == len(kept), "pretrain", f"{learned} of {len(kept)} features within {last} steps", allowed)
    order = np.argsort(half, kind="stable")
    inverse = np.append(1 / half[order], 0.0)
    means = np.minimum(2 / (inverse[:-1] + inverse[1:]), last)
    budgets = np.append(1, np.round(means).astype(np.int64))
    between = np.all(budgets[1:-1] > half[order][:-1]) and np.all(budgets[1:-1] < half[order][1:])
    apart = bool(np.all(np.diff(budgets) > 0) and between and budgets[-1] > half[order][-1])
    allowed = "features learned so far apart that there is a step between any two"
    require(apart, "task", f"half-learned budgets {np.round(half[order]).tolist()}", allowed)
    return kept[order], budgets


def _label(config: Config, drawn: list[_Task]) -> xr.Dataset:
    axes = ("checkpoint", "stage", "learning_rate", "regularization", "seed")
    by_feature = ("checkpoint", "feature", "learning_rate", "regularization", "seed")
    square, flat, per_input = {"units": "squared output"}, {"units": "1"}, {"units": "output per input"}
    all_of = {name: np.stack([each.arrays[name] for each in drawn], axis=-1) for name in drawn[0].arrays}
    strength, ratio, budgets, begun, closed = (
        all_of[name] for name in ("strength", "ratio", "budgets", "begun", "predicted")
    )
    before, after, finetune, diverged = (all_of[name] for name in ("before", "after", "finetune", "diverged"))
    rates, penalties = learning_rates(config.finetune), strengths(config.finetune)
    unit = strength[None, :, None, None, :] ** 2
    known = np.where(diverged, np.nan, after)
    never, anyway = limits(ratio[:, None, :], penalties[:, None])
    every_ratio = np.linspace(min(ratio.min(), 0.0) - 0.1, max(ratio.max(), 1.0) + 0.1, _CURVE)
    pull, effort = boundary(config.depth)
    time = config.finetune.steps * rates
    scaled = ((1 + penalties) * time[:, None])[..., None] * strength[:, None, None] ** (2 - 2 / config.depth)
    alone = own_time(config.depth, begun[:, None, :], (ratio * strength)[:, None, :], penalties[:, None])
    cells = ("feature", "learning_rate", "regularization", "seed")
    limit = ("feature", "regularization", "seed")
    variables: dict[str, Any] = {
        "pretrain_loss_before": (("checkpoint", "stage", "seed"), before, {"long_name": "at the checkpoint", **square}),
        "pretrain_loss_after": (axes, after, {"long_name": "pre-training loss after fine-tuning", **square}),
        "finetune_loss_after": (axes, finetune, {"long_name": "fine-tuning loss after fine-tuning", **square}),
        "diverged": (axes, diverged, {"long_name": "fine-tuning diverged"}),
        "predicted_pretrain_loss_after": (axes, closed, {"long_name": "the same in closed form", **square}),
        "feature_harm": (
            by_feature,
            np.diff(known, axis=1) / unit,
            {"long_name": "(L_n - L_(n-1)) / sigma_n^2", **flat},
        ),
        "predicted_feature_harm": (by_feature, np.diff(closed, axis=1) / unit, {"long_name": "in closed form", **flat}),
        "limit_harm": (limit, never, {"long_name": "to convergence, others at 0 or at rest", **flat}),
        "limit_harm_learned_anyway": (
            limit,
            anyway,
            {"long_name": "to convergence, where fine-tuning would have learned the feature by itself", **flat},
        ),
        "limit_curve": (
            ("checkpoint", "regularization", "curve_ratio"),
            np.stack(limits(every_ratio, penalties[:, None])),
            {"long_name": "either limit over the ratio", **flat},
        ),
        "critical_ratio": (
            ("checkpoint", "regularization"),
            np.stack([2 + penalties, np.where(penalties > 0, 1 + penalties / 2, np.nan)]),
            {"long_name": "from which on a feature is harm in that limit", **flat},
        ),
        "begun": (("feature", "seed"), begun, {"long_name": "strength at the real stage before", **per_input}),
        "own_time": (
            limit,
            alone,
            {"long_name": "flow time of fine-tuning that learns the feature from the real stage before"},
        ),
        "strength": (("feature", "seed"), strength, {"long_name": "sigma_pre", **per_input}),
        "ratio": (("feature", "seed"), ratio, {"long_name": "sigma_ft / sigma_pre", **flat}),
        "stage_steps": (("stage", "seed"), budgets, {"long_name": "budget of the stage", "units": "steps"}),
        "effort": (cells, scaled, {"long_name": "(1 + lambda) sigma^(2 - 2/L) T", **flat}),
        "boundary_effort": ("boundary_pull", effort, {"long_name": "effort beyond which a feature is harm", **flat}),
        "pretrain_target": (
            ("seed", "output", "input"),
            np.stack([each.transfer.pretrain.target for each in drawn]),
            {"long_name": "A of the pre-training task"},
        ),
        "finetune_target": (
            ("seed", "output", "input"),
            np.stack([each.transfer.finetune.target for each in drawn]),
            {"long_name": "A of the fine-tuning task"},
        ),
    }
    for layer in range(config.depth):
        name = f"initial_weights_{layer + 1}"
        weights = np.stack([each.initial[layer] for each in drawn])
        variables[name] = (
            ("seed", f"{name}_rows", f"{name}_columns"),
            weights,
            {"long_name": f"initial W_{layer + 1}"},
        )
    coords = {
        "checkpoint": texts(CHECKPOINTS),
        "stage": ("stage", np.arange(len(budgets)), {"long_name": "features learned"}),
        "feature": ("feature", np.arange(1, len(budgets)), {"long_name": "feature, in the order of learning"}),
        "learning_rate": ("learning_rate", rates, {"long_name": "fine-tuning rate", "units": "flow time per step"}),
        "regularization": ("regularization", penalties, {"long_name": "lambda", "units": "1"}),
        "seed": ("seed", np.arange(config.seeds), {"long_name": "drawn task"}),
        "curve_ratio": ("curve_ratio", every_ratio, {"long_name": "sigma_ft / sigma_pre", **flat}),
        "boundary_pull": ("boundary_pull", pull, {"long_name": "(ratio + lambda) / (1 + lambda)", "units": "1"}),
    }
    reasons = {kind: why_not(config, kind) for kind in CHECKPOINTS}
    said = "; ".join(f"{kind}: none, {reason}" for kind, reason in reasons.items() if reason)
    attributes = {
        "config": config.to_json(),
        **drawn[0].attributes,
        "seed": config.seed,
        "depth": config.depth,
        "tau": config.network.tau,
        "finetune_steps": config.finetune.steps,
        "prediction": said or "gradient flow of balanced layers in the bases that both tasks share",
    }
    return xr.Dataset(variables, coords, attributes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "stages", __doc__, summarise, arguments, claims=CLAIMS)
