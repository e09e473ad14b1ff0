"""Where does overtraining start, and how bad does it get, at depths 1 to 6 and at widths below, at and above the rank?

    python -m experiments.depth_and_width --out DIR

Depths are compared from aligned starts whose product has the same strength e^(-2 tau) in every mode, at equal rates and
at equal shares of each depth's largest stable rate 1 / (L sigma_1^(2 - 2/L)). An aligned network does not use its width
beyond the rank at all; widths are therefore compared from Gaussian starts with random singular vectors, two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from linsim.commands.building import charted, strengths
from linsim.commands.cli import Sweeping
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
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_integer
from linsim.progress.showing import Progress
from linsim.sweeping.along import along, part_of
from linsim.tasks import Transfer
from linsim.theory.inflection import locate

from ..command import command
from . import theory as theory
from .summary import summarise

CLAIMS = (
    *("depth", "deep-misaligned-iff", "deep-critical-time", "minimum-spectrum", "chart-in-closed-form"),
    *("overtraining-inevitable", "one-layer-harm", "width-free-descent"),
)

_LOSS = {"units": "squared output"}
_SWEPT = ("learning_rate", "pretrain_steps")


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Depths and widths, and what they are compared on."""

    depth: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """Numbers of layers of the depth part, increasing."""
    width: tuple[int, ...] = (2, 4, 8, 32, 128)
    """Hidden widths of the width part, increasing."""
    width_dim: int = 8
    """Inputs and outputs of the width part; --dim is that of the depth part."""
    width_steps: int = 20_000
    """Largest budget of the width part, in steps; --pretrain.steps is that of the depth part."""
    width_budgets: int = 30
    """Number of budgets of the width part."""
    seeds: int = 5
    """Number of random initial weights of the width part; the aligned starts of the depth part have nothing random."""
    checkpoints: tuple[Literal["real", "idealised"], ...] = ("real", "idealised")
    """Fine-tune from the trained weights, and from the rank-n truncation nearest to them."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=400_000))
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(rates=11, lowest_rate=1e-4, highest_rate=1e-2, strengths=1)
    )
    """One strength of the product penalty, by default 0."""


class _Member(NamedTuple):
    """One chart."""

    part: str
    value: int
    kind: str
    config: ChartConfig
    transfer: Transfer


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Charts over depth and over width, with their closed forms; variables of the width part begin with `width_`.

    Raises:
      InvalidInput: any field outside its domain.
    """
    _check(config)
    members = [*_members(config, "depth", config.depth), *_members(config, "width", config.width)]
    ready = {
        (member.part, member.kind, member.value): charted(member.config, member.transfer, predicted=False)
        for member in members
    }
    parts = {
        "depth": along(
            {"checkpoints": config.checkpoints, "depth": config.depth},
            lambda checkpoints, depth: ready["depth", checkpoints, depth],
            part_of(report, 0, 2),
        ),
        "width": along(
            {"checkpoints": config.checkpoints, "width": config.width},
            lambda checkpoints, width: ready["width", checkpoints, width],
            part_of(report, 1, 2),
        ),
    }
    dataset = parts["depth"].isel(seed=0, regularization=0, drop=True)
    dataset = _add_depth_theory(dataset, config, members[0].transfer)
    wide = _add_width_theory(parts["width"].isel(regularization=0, drop=True), config, members[-1].transfer)
    shared = {"width", "checkpoints", "learning_rate"}
    names = {name: f"width_{name}" for name in {*wide.variables, *wide.dims} if name not in shared}
    attributes = dataset.attrs | {
        f"width_{name}": wide.attrs[name] for name in ("solver", "solver_reason", "rounding_floor")
    }
    merged = xr.merge([dataset, wide.rename(names)], combine_attrs="drop", join="exact", compat="identical")
    return merged.assign_attrs(attributes | {"config": config.to_json(), "finetune_steps": config.finetune.steps})


def _check(config: Config) -> None:
    """Fields of this experiment alone."""
    for name, given, least in (("depth", config.depth, 1), ("width", config.width, 1)):
        for value in given:
            require_integer(name, value, at_least=least)
        require(len(given) > 0 and list(given) == sorted(set(given)), name, given, "at least one, increasing")
    kinds = config.checkpoints
    require(0 < len(kinds) == len(set(kinds)), "checkpoints", kinds, "at least one, each once")
    fixed: tuple[tuple[str, Any, Any], ...] = (
        ("network.init", config.network.init, NetworkConfig().init),
        ("network.hidden", config.network.hidden, None),
        ("network.balance", config.network.balance, NetworkConfig().balance),
        ("task.bases", config.task.bases, TaskConfig().bases),
        ("task.data", config.task.data, None),
        ("task.covariance", config.task.covariance, TaskConfig().covariance),
        ("task.outputs", config.task.outputs, None),
        ("task.inputs", config.task.inputs, None),
        ("solver", config.solver, PretrainingConfig().solver),
        ("finetune.regularizer", config.finetune.regularizer, FinetuneConfig().regularizer),
    )
    for name, given, default in fixed:
        require(given == default, name, given, f"{default} here: the two parts set what they need")
    swept = strengths(config.finetune)
    require(len(swept) == 1, "finetune.strengths", f"{len(swept)} strengths", "one; depth and width are swept here")


def _members(config: Config, part: str, values: tuple[int, ...]) -> list[_Member]:
    """The charts of one part. At depth L layers start at e^(-2 tau / L), the product at e^(-2 tau)."""
    members = []
    for kind in config.checkpoints:
        for value in values:
            if part == "depth":
                network = replace(config.network, tau=2 * config.network.tau / value)
                chart = chart_of(config, depth=value, seeds=1, checkpoints=kind, network=network)
            else:
                network = replace(config.network, init="gaussian", hidden=value)
                pretrain = replace(config.pretrain, steps=config.width_steps, budgets=config.width_budgets)
                changes = {"network": network, "pretrain": pretrain, "task": replace(config.task, bases="random")}
                chart = chart_of(config, depth=2, dim=config.width_dim, checkpoints=kind, **changes)
            members.append(_Member(part, value, kind, chart, build_transfer(chart)))
    return members


def _add_depth_theory(dataset: xr.Dataset, config: Config, transfer: Transfer) -> xr.Dataset:
    """Closed forms at every depth; those of the loss are NaN where the shift leaves the bases of the task."""
    pretrain, finetune, shared = theory.strengths_of(transfer)
    penalty = float(strengths(config.finetune)[0])
    steps, rates = (dataset[name].values for name in ("pretrain_steps", "learning_rate"))
    start, eta = float(np.exp(-2 * config.network.tau)), config.pretrain.learning_rate
    times = steps * eta, rates * config.finetune.steps
    plain = shared and _plain(config) and bool(np.all(pretrain >= 0))
    modes = len(pretrain)
    loss = np.full((len(config.depth), len(steps), len(rates)), np.nan)
    learned, critical = np.full((len(config.depth), modes), np.nan), np.full(len(config.depth), np.nan)
    harm, most = critical.copy(), critical.copy()
    for at, depth in enumerate(config.depth):
        learned[at] = theory.learning_steps(pretrain, start, depth, eta)
        if not plain:
            continue
        loss[at] = theory.predicted_losses((pretrain, finetune), np.full(modes, start), depth, times, penalty)
        critical[at] = theory.critical_rate(pretrain, finetune, penalty, depth, config.finetune.steps)
        if depth > 1:
            harm[at] = theory.converged_harm(pretrain, finetune, penalty, modes)
        elif penalty == 0:
            most[at] = theory.one_layer_harm(transfer, start * np.eye(*transfer.pretrain.target.shape))
    stable = np.array([1 / (depth * pretrain[0] ** (2 - 2 / depth)) for depth in config.depth])
    first = theory.first_misaligned(pretrain, finetune, penalty)
    onset = np.full(len(config.depth), np.nan) if first is None else learned[:, first]
    return _add_predicted(dataset, "depth", loss, "of the", "closed form").assign(
        learning_steps=(("depth", "mode"), learned, _told("budget by which a mode is half learned", units="steps")),
        onset_steps=("depth", onset, _told("the same of the strongest misaligned mode", units="steps")),
        stable_rate=("depth", stable, _told("rate x top curvature = 2 at the minimum of the pre-training task")),
        critical_rate=("depth", critical, _told("rate from which a mode learned in full is net harm")),
        converged_harm=("depth", harm, _told("harm over idealised stages after converged fine-tuning", units="1")),
        one_layer_harm=("depth", most, _told("most harm at one layer, whatever the rate", units="1")),
    )


def _add_width_theory(dataset: xr.Dataset, config: Config, transfer: Transfer) -> xr.Dataset:
    """Stages that a width can reach, and curves from the mean start, as if layers were aligned."""
    pretrain, finetune, shared = theory.strengths_of(transfer)
    penalty, eta = float(strengths(config.finetune)[0]), config.pretrain.learning_rate
    steps, rates = (dataset[name].values for name in ("pretrain_steps", "learning_rate"))
    first = theory.first_misaligned(pretrain, finetune, penalty)
    loss = np.full((len(config.width), len(steps), len(rates)), np.nan)
    harm, onset = np.full(len(config.width), np.nan), np.full(len(config.width), np.nan)
    for at, width in enumerate(config.width):
        if not shared or not _plain(config) or bool(np.any(pretrain < 0)):
            continue
        start = theory.gaussian_start(len(pretrain), width, config.width_dim, config.network.tau)
        times = steps * eta, rates * config.finetune.steps
        loss[at] = theory.predicted_losses((pretrain, finetune), start, 2, times, penalty)
        harm[at] = theory.converged_harm(pretrain, finetune, penalty, width)
        if first is not None:
            onset[at] = theory.half_learned(pretrain, start, eta)[first]
    return _add_predicted(dataset, "width", loss, "from the", "mean start").assign(
        onset_steps=("width", onset, _told("budget by which the strongest misaligned mode is half learned")),
        converged_harm=("width", harm, _told("harm over the stages in reach after converged fine-tuning", units="1")),
    )


def _add_predicted(dataset: xr.Dataset, over: str, loss: np.ndarray, which: str, name: str) -> xr.Dataset:
    """Curves of a theory, shape (over, budgets, rates), with their inflection points and harm."""
    turns = locate(dataset["pretrain_steps"].values, loss.transpose(1, 0, 2), floor=dataset.attrs["rounding_floor"])
    cells = (over, "learning_rate")
    return dataset.assign(
        predicted_pretrain_loss_after=((over, "pretrain_steps", "learning_rate"), loss, _told(name, **_LOSS)),
        predicted_inflection_steps=(cells, turns.steps, _told(f"inflection point {which} {name}", units="steps")),
        predicted_harm=(cells, turns.harm, _told(f"harm {which} {name}", units="1")),
    )


def _plain(config: Config) -> bool:
    """Whether both phases are the plain descent that the closed forms describe."""
    phases = config.pretrain, config.finetune
    same = [(phase.momentum, phase.optimizer, phase.schedule, phase.batch_size, phase.weight_decay) for phase in phases]
    return same == [(0.0, "sgd", "constant", None, 0.0)] * 2


def _told(words: str, **units: str) -> dict[str, str]:
    return {"long_name": words, **units}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "depth_and_width", __doc__, summarise, arguments, claims=CLAIMS, flags=Sweeping)
