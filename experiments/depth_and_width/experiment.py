"""Where does overtraining start, and how bad does it get, at depths 1 to 6 and at widths below, at and above the rank?

    python -m experiments.depth_and_width --out DIR

Depths are compared from aligned starts whose product has the same strength e^(-2 tau) in every mode, at equal rates and
at equal shares of each depth's largest stable rate 1 / (L sigma_1^(2 - 2/L)). An aligned network does not use its width
beyond the rank at all; widths are therefore compared from Gaussian starts with random singular vectors, two layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.commands.building import charted, strengths
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    chart_of,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_axis, require_integer
from linsim.labels import PLAIN, SQUARED, STEPS, Label, label
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along, part_of
from linsim.tasks import Transfer
from linsim.theory.laziness import harm_of_parabola
from linsim.theory.turns import locate

from ..experiment import Experiment
from . import theory
from .finding import find, table

CLAIMS = (
    *("depth", "deep-misaligned-iff", "deep-critical-time", "minimum-spectrum", "chart-in-closed-form"),
    *("overtraining-inevitable", "one-layer-harm", "width-free-descent"),
)
LABELS = {
    "onset_steps": Label("budget by which the strongest misaligned mode is half learned", STEPS),
    "converged_harm": Label("harm over the stages in reach after converged fine-tuning", PLAIN),
    "one_layer_harm": Label("most harm at one layer, whatever the rate", PLAIN),
    "start_tau": Label("every mode of the product starts at e^(-2 tau)", PLAIN),
    "start_depth": Label("number of layers"),
    "start_harm": Label("harm from that start, in closed form", PLAIN),
    "start_inflection_steps": Label("inflection point from that start, in closed form", STEPS),
}
_MEAN_START = {
    "predicted_pretrain_loss_after": Label("pre-training loss after fine-tuning, from the mean start", SQUARED),
    "predicted_inflection_steps": Label("inflection point from the mean start", STEPS),
    "predicted_harm": Label("harm from the mean start", PLAIN),
}
"""Of the width part, whose layers are not aligned."""
_FIXED = (
    *("network.init", "network.hidden", "network.balance", "solver", "finetune.regularizer"),
    *("task.bases", "task.data", "task.covariance", "task.outputs", "task.inputs"),
)


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Depths and widths, and what they are compared on."""

    depth: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """Numbers of layers of the depth part, increasing."""
    starts: tuple[float, ...] = (1.0, 2.0, 3.5, 5.0)
    """Values of tau, increasing, in closed form beside --network.tau: products start at e^(-2 tau) in every mode."""
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


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Charts over depth and over width, with their closed forms; variables of the width part begin with `width_`.

    Raises:
      InvalidInput: any field outside its domain.
    """
    _check(config)
    axes = {"depth": config.depth, "width": config.width}
    charts = {
        (part, kind, value): _chart(config, part, kind, value)
        for part, values in axes.items()
        for kind in config.checkpoints
        for value in values
    }
    transfers = {place: build_transfer(chart) for place, chart in charts.items()}
    # All are ready before any is computed, so that nothing is lost to a width that is refused.
    ready = {place: charted(chart, transfers[place], predicted=False) for place, chart in charts.items()}

    def part(name: str, number: int) -> xr.Dataset:
        def prepare(checkpoints: Any, **at: int) -> Ready:
            return ready[name, checkpoints, at[name]]

        along_both = along({"checkpoints": config.checkpoints, name: axes[name]}, prepare, part_of(report, number, 2))
        return along_both.isel(regularization=0, drop=True)

    first, one = config.checkpoints[0], (config.depth[0], config.width[0])
    deep, wide = part("depth", 0).isel(seed=0, drop=True), part("width", 1)
    transfer = transfers["depth", first, one[0]]
    deep = _with_depth_theory(deep, config, transfer).assign(_by_start(deep, config, transfer))
    deep = label(deep, LABELS)
    wide = label(_with_width_theory(wide, config, transfers["width", first, one[1]]), LABELS | _MEAN_START)
    shared = {"width", "checkpoints", "learning_rate"}
    wide = wide.rename({name: f"width_{name}" for name in {*wide.variables, *wide.dims} if name not in shared})
    own = {f"width_{name}": value for name, value in wide.attrs.items() if deep.attrs.get(name) != value}
    merged = xr.merge([deep, wide], combine_attrs="drop", join="exact", compat="identical")
    return merged.assign_attrs(deep.attrs | own | {"finetune_steps": config.finetune.steps})


def _check(config: Config) -> None:
    """Fields of this experiment alone."""
    for name, given, least in (("depth", config.depth, 1), ("width", config.width, 1)):
        for value in given:
            require_integer(name, value, at_least=least)
        require(len(given) > 0 and list(given) == sorted(set(given)), name, given, "at least one, increasing")
    require_axis("starts", config.starts)
    kinds = config.checkpoints
    require(0 < len(kinds) == len(set(kinds)), "checkpoints", kinds, "at least one, each once")
    require_defaults(config, _FIXED, "{} here: the two parts set what they need")
    swept = strengths(config.finetune)
    require(len(swept) == 1, "finetune.strengths", f"{len(swept)} strengths", "one; depth and width are swept here")


def _chart(config: Config, part: str, kind: str, value: int) -> ChartConfig:
    """One chart. At depth L layers start at e^(-2 tau / L), the product at e^(-2 tau)."""
    if part == "depth":
        network = replace(config.network, tau=2 * config.network.tau / value)
        return chart_of(config, depth=value, seeds=1, checkpoints=kind, network=network)
    network = replace(config.network, init="gaussian", hidden=value)
    pretrain = replace(config.pretrain, steps=config.width_steps, budgets=config.width_budgets)
    changes = {"network": network, "pretrain": pretrain, "task": replace(config.task, bases="random")}
    return chart_of(config, depth=2, dim=config.width_dim, checkpoints=kind, **changes)


def _with_depth_theory(dataset: xr.Dataset, config: Config, transfer: Transfer) -> xr.Dataset:
    """Closed forms at every depth; those of the loss are NaN where the shift leaves the bases of the task."""
    pretrain, finetune, shared = theory.strengths_of(transfer)
    penalty, depths, modes = float(strengths(config.finetune)[0]), config.depth, len(pretrain)
    start, eta = float(np.exp(-2 * config.network.tau)), config.pretrain.learning_rate
    times = _times(dataset, config)
    loss = np.full((len(depths), *map(len, times)), np.nan)
    harm, most = np.full((2, len(depths)), np.nan)
    for at, depth in enumerate(depths if shared and _plain(config, pretrain) else ()):
        loss[at] = theory.predicted_losses((pretrain, finetune), np.full(modes, start), depth, times, penalty)
        if depth > 1:
            harm[at] = theory.converged_harm(pretrain, finetune, penalty, modes)
        elif penalty == 0:
            missing = transfer.pretrain.target - start * np.eye(*transfer.pretrain.target.shape)
            most[at] = harm_of_parabola(transfer.difference, missing)
    learned = np.stack([theory.learning_steps(pretrain, start, depth, eta) for depth in depths])
    first = theory.first_misaligned(pretrain, finetune, penalty)
    return _with_predicted(dataset, "depth", loss).assign(
        onset_steps=("depth", np.full(len(depths), np.nan) if first is None else learned[:, first]),
        stable_rate=("depth", [1 / (depth * pretrain[0] ** (2 - 2 / depth)) for depth in depths]),
        converged_harm=("depth", harm),
        one_layer_harm=("depth", most),
    )


def _by_start(dataset: xr.Dataset, config: Config, transfer: Transfer) -> dict[str, Any]:
    """Turns and harm in closed form from several starts, at depths of two and more; NaN where there is none."""
    pretrain, finetune, shared = theory.strengths_of(transfer)
    penalty, times = float(strengths(config.finetune)[0]), _times(dataset, config)
    depths = [depth for depth in config.depth if depth > 1]
    loss = np.full((len(config.starts), len(depths), *map(len, times)), np.nan)
    for place in np.ndindex(loss.shape[:2]) if shared and _plain(config, pretrain) else ():
        start = np.full(len(pretrain), np.exp(-2 * config.starts[place[0]]))
        loss[place] = theory.predicted_losses((pretrain, finetune), start, depths[place[1]], times, penalty)
    floor, zero = dataset.attrs["rounding_floor"], dataset.attrs["zero_loss"]
    turns = locate(dataset["pretrain_steps"].values, np.moveaxis(loss, 2, 0), scale=zero, floor=floor)
    cells = ("start_tau", "start_depth", "learning_rate")
    return {
        "start_tau": np.asarray(config.starts),
        "start_depth": np.asarray(depths, np.int64),
        "start_inflection_steps": (cells, turns.steps),
        "start_harm": (cells, turns.harm),
    }


def _with_width_theory(dataset: xr.Dataset, config: Config, transfer: Transfer) -> xr.Dataset:
    """Stages that a width can reach, and curves from the mean start, as if layers were aligned."""
    pretrain, finetune, shared = theory.strengths_of(transfer)
    penalty, widths, times = float(strengths(config.finetune)[0]), config.width, _times(dataset, config)
    first = theory.first_misaligned(pretrain, finetune, penalty)
    loss = np.full((len(widths), *map(len, times)), np.nan)
    harm, onset = np.full((2, len(widths)), np.nan)
    for at, width in enumerate(widths if shared and _plain(config, pretrain) else ()):
        start = theory.gaussian_start(len(pretrain), width, config.width_dim, config.network.tau)
        loss[at] = theory.predicted_losses((pretrain, finetune), start, 2, times, penalty)
        harm[at] = theory.converged_harm(pretrain, finetune, penalty, width)
        if first is not None:
            onset[at] = theory.half_learned(pretrain, start, config.pretrain.learning_rate)[first]
    return _with_predicted(dataset, "width", loss).assign(onset_steps=("width", onset), converged_harm=("width", harm))


def _with_predicted(dataset: xr.Dataset, over: str, loss: np.ndarray) -> xr.Dataset:
    """Curves of a theory, shape (over, budgets, rates), with their inflection points and harm."""
    floor, zero = dataset.attrs["rounding_floor"], dataset.attrs["zero_loss"]
    turns = locate(dataset["pretrain_steps"].values, loss.transpose(1, 0, 2), scale=zero, floor=floor)
    cells = (over, "learning_rate")
    return dataset.assign(
        predicted_pretrain_loss_after=((over, "pretrain_steps", "learning_rate"), loss),
        predicted_inflection_steps=(cells, turns.steps),
        predicted_harm=(cells, turns.harm),
    )


def _times(dataset: xr.Dataset, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Flow times of pre-training to every budget, and of fine-tuning at every rate."""
    steps, rates = (dataset[name].values for name in ("pretrain_steps", "learning_rate"))
    return steps * config.pretrain.learning_rate, rates * config.finetune.steps


def _plain(config: Config, pretrain: np.ndarray) -> bool:
    """Whether both phases are the plain descent that the closed forms describe, on strengths that are not negative."""
    phases = config.pretrain, config.finetune
    same = [(phase.momentum, phase.optimizer, phase.schedule, phase.batch_size, phase.weight_decay) for phase in phases]
    return same == [(0.0, "sgd", "constant", None, 0.0)] * 2 and bool(np.all(pretrain >= 0))


experiment = Experiment("depth_and_width", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
