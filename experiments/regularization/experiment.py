"""What does a regulariser of fine-tuning do to catastrophic overtraining, and what does it cost in fine-tuning loss?

    python -m experiments.regularization --out DIR

sweeps the strength of each regulariser, lambda ||P - P_0||^2, (mu/2) sum ||W - W_0||^2 and (beta/2) sum ||W||^2, over
pre-training budgets and fine-tuning rates, from real and from idealised checkpoints. Strengths of different
regularisers are not comparable: they are compared with each other, and with a smaller rate alone, at equal fine-tuning
loss; there also on drawn tasks, such as only amplify features and such as remove some of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from linsim.commands.building import charted
from linsim.commands.config import (
    FinetuneConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    chart_of,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_integer, require_number
from linsim.labels import PLAIN, SQUARED, STEPS, Label, counted_harm, label, lost_lanes, texts
from linsim.phase import REGULARIZERS, Regularizer
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along, part_of
from linsim.tasks import Transfer
from linsim.theory.turns import locate

from ..experiment import Experiment
from . import family
from .finding import find
from .fronts import matched, stage_limits, threshold

CLAIMS = (
    *("regularisation-removes", "regularisation-delays", "regularisation-shrinks-harm", "regularisation-costs"),
    *("regularised-limit", "penalised-update", "convex-front", "weight-space-removes", "matched-loss-no-u"),
)
CONVERGED = 0.01
"""Distance to the limits, in units of the distance between the tasks, up to which a cell counts as converged."""

RATE_ALONE = "rate alone"
"""The method that keeps fine-tuning near the checkpoint by a small rate x steps, without a regulariser."""

_ALL_BUT_RATE = ("checkpoints", "regularizer", "pretrain_steps", "regularization", "seed")

LABELS = {
    "limit_pretrain_loss": Label(
        "pre-training loss after fine-tuning to convergence from stage n, closed form", SQUARED
    ),
    "limit_finetune_loss": Label(
        "fine-tuning loss after fine-tuning to convergence from stage n, closed form", SQUARED
    ),
    "limit_harm": Label("harm over idealised stages, closed form", PLAIN),
    "threshold": Label("strength from which no stage is harm"),
    "converged": Label(f"at the largest budget both losses are within {CONVERGED:g} of the tasks' distance of limits"),
    "guaranteed": Label("4 eta (lambda + 2) Gamma < 1, Gamma the largest strength: the product penalty at depth 2"),
    "method": Label("what holds fine-tuning back"),
    "target": Label("root of fine-tuning loss / that of the pre-training task"),
    "matched_finetune_loss": Label("fine-tuning loss asked for", SQUARED),
    "bound_pretrain_loss": Label("pre-training loss that no network is below at this target", SQUARED),
    "matched_pretrain_loss": Label("least pre-training loss at the target", SQUARED),
    "common_finetune_loss": Label("smallest fine-tuning loss that all methods and budgets reach", SQUARED),
    "common_pretrain_loss": Label("least pre-training loss at that fine-tuning loss", SQUARED),
    "matched_inflection_steps": Label("inflection point at the target", STEPS),
    "matched_harm": Label("harm at equal fine-tuning loss", PLAIN),
}
"""Of what this experiment alone has."""


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Regularisers, checkpoints, and the charts that they are compared on."""

    depth: int = 2
    """Number of layers L."""
    regularizers: tuple[Regularizer, ...] = REGULARIZERS
    """Regularisers to compare; --finetune.regularizer does not apply."""
    checkpoints: tuple[Literal["real", "idealised"], ...] = ("real", "idealised")
    """Fine-tune from the trained weights, and from the rank-n truncation nearest to them."""
    targets: int = 19
    """Fine-tuning losses at which methods are compared: (1 - (n + 1)^-1, ..., (n + 1)^-1)^2 of that before tuning."""
    drawn: int = 20
    """Number of drawn tasks of each kind, of four features and two balanced layers."""
    removed: float = 0.0
    """Factor on the features that drawn tasks of the second kind remove; the others are multiplied by 1.5 to 4."""
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(rates=25, lowest_rate=1e-5, highest_rate=1e-2, strengths=20)
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Charts of every regulariser and kind of checkpoint, their limits, and fronts at equal fine-tuning loss.

    Raises:
      InvalidInput: any field outside its domain, or tasks that do not differ.
    """
    _check(config)
    transfer = build_transfer(chart_of(config, checkpoints="real"))
    require(transfer.learned_loss > 0, "shift", "two tasks without a difference", "a fine-tuning task that differs")

    def prepare(checkpoints: Literal["real", "idealised"], regularizer: Regularizer) -> Ready:
        tuning = replace(config.finetune, regularizer=regularizer)
        return charted(chart_of(config, checkpoints=checkpoints, finetune=tuning), transfer)

    dataset = along(
        {"checkpoints": config.checkpoints, "regularizer": config.regularizers}, prepare, part_of(report, 0, 2)
    )
    dataset = dataset.assign_attrs(untuned_finetune_loss=transfer.learned_loss, depth=config.depth)
    _keep_one(dataset)
    _add_limits(dataset, config, transfer)
    _add_matched(dataset, config, transfer)
    dataset = dataset.assign(family.family(config.drawn, config.removed, config.seed, part_of(report, 1, 2)))
    return label(dataset, LABELS | family.LABELS)


def _check(config: Config) -> None:
    """Fields of this experiment alone."""
    require_integer("targets", config.targets, at_least=1, at_most=1000)
    require_integer("drawn", config.drawn, at_least=1, at_most=10**4)
    require_number("removed", config.removed, at_least=0, at_most=4)
    for name, given in (("regularizers", config.regularizers), ("checkpoints", config.checkpoints)):
        require(0 < len(given) == len(set(given)), name, given, "at least one, each once")
    set_elsewhere = ("finetune.regularizer", "finetune.weight_decay")
    require_defaults(config, set_elsewhere, "its default {} here; --regularizers names what is compared")


def _keep_one(dataset: xr.Dataset) -> None:
    """All charts start from the same weights, pre-train in the same way, and have the same tasks."""
    for name in [str(name) for name in dataset.data_vars if str(name).startswith("initial_weights")]:
        dataset[name] = dataset[name][0, 0]
    dataset["pretrain_loss_before"] = dataset["pretrain_loss_before"][:, 0]


def _add_limits(dataset: xr.Dataset, config: Config, transfer: Transfer) -> None:
    """Limits of converged fine-tuning from every stage, in closed form where there is one, else NaN."""
    axis = dataset["regularization"].values
    reason, pretrain = _without_limits(dataset, config, transfer), transfer.pretrain.strengths
    finetune = transfer.pretrain.along_modes(transfer.finetune.target)
    losses = np.full((2, len(config.regularizers), len(axis), len(pretrain) + 1), np.nan)
    strengths, harm = np.full(len(config.regularizers), np.nan), np.full(losses.shape[1:3], np.nan)
    for at, regularizer in enumerate(config.regularizers):
        if reason is None and (config.depth == 2 or regularizer == "product_penalty"):
            losses[:, at] = stage_limits(regularizer, pretrain, finetune, axis)
            strengths[at] = threshold(regularizer, pretrain, finetune)
            # A loss this small beside that of the first stage is rounding.
            harm[at] = locate(
                np.arange(1, losses.shape[-1] + 1), losses[0, at].T, floor=1e-16 * np.max(losses[:, at])
            ).harm
    stages = ("regularizer", "regularization", "stage")
    for name, values in zip(("pretrain", "finetune"), losses, strict=True):
        dataset[f"limit_{name}_loss"] = stages, values
    dataset["limit_harm"] = stages[:2], harm
    dataset["threshold"] = "regularizer", strengths
    dataset["stage"] = "stage", np.arange(losses.shape[-1])
    ends = [dataset[f"{name}_loss_after"][-1, :, -1, :, :, 0].values for name in ("pretrain", "finetune")]
    scale = np.sqrt(dataset.attrs["untuned_finetune_loss"])
    with np.errstate(invalid="ignore"):
        off = [np.abs(np.sqrt(end) - np.sqrt(loss[:, None, :, -1])) for end, loss in zip(ends, losses, strict=True)]
    near = np.maximum(*off) <= CONVERGED * scale
    dataset["converged"] = ("regularizer", "learning_rate", "regularization"), near
    largest = 4 * dataset["learning_rate"].values[:, None] * (axis + 2) * float(np.max(np.abs(pretrain)))
    dataset["guaranteed"] = ("learning_rate", "regularization"), largest < 1
    # Shown are the largest of the rates with most converged cells, or without limits the largest stable one, and the
    # rate that does most harm at the smallest strength.
    count = near.sum(axis=(0, 2)) if reason is None else ~lost_lanes(dataset).any(_ALL_BUT_RATE).values
    harm_at = np.nan_to_num(counted_harm(dataset)[0, 0, :, 0].median("seed").values, nan=-1.0, posinf=-1.0)
    rates = dataset["learning_rate"].values
    dataset.attrs["converged_rate"] = float(rates[len(rates) - 1 - int(np.argmax(count[::-1]))])
    dataset.attrs["harmful_rate"] = float(rates[int(np.argmax(harm_at))])
    dataset.attrs["limits"] = "closed form" if reason is None else f"none: {reason}"


def _without_limits(dataset: xr.Dataset, config: Config, transfer: Transfer) -> str | None:
    """Why limits have no closed form here, or None."""
    if dataset.attrs["solver"] != "modes" or config.network.init not in ("identity", "aligned"):
        return "layers are not diagonal and balanced in the bases of the tasks"
    if config.depth < 2 or not transfer.whitened or bool(np.any(transfer.pretrain.strengths < 0)):
        return "they are for at least two layers, inputs with the identity as covariance, and strengths >= 0"
    narrow = config.network.hidden is not None and config.network.hidden < np.count_nonzero(transfer.pretrain.strengths)
    return "the hidden layer is narrower than the rank" if narrow else None


def _add_matched(dataset: xr.Dataset, config: Config, transfer: Transfer) -> None:
    """The least pre-training loss at given fine-tuning losses, of every method, budget and kind of checkpoint."""
    away, shares = dataset.attrs["untuned_finetune_loss"], np.arange(config.targets, 0, -1) / (config.targets + 1)
    swept = dataset["regularization"].values > 0
    methods: list[tuple[str, int, Any]] = [
        (name, at, swept) for at, name in enumerate(config.regularizers) if swept.any()
    ]
    if not swept.all():
        methods.insert(0, (RATE_ALONE, 0, ~swept))
    order = ("checkpoints", "regularizer", "learning_rate", "regularization", "pretrain_steps", "seed")
    kept = dataset[["pretrain_loss_after", "finetune_loss_after"]].where(~lost_lanes(dataset)).transpose(*order)
    after, on_finetune = (kept[name].values for name in ("pretrain_loss_after", "finetune_loss_after"))
    shape = len(config.checkpoints), dataset.sizes["pretrain_steps"], dataset.sizes["seed"]
    least = np.empty((len(methods), len(shares), *shape))
    rule, common = np.empty((shape[0], shape[2])), np.empty((len(methods), *shape))
    for kind in range(shape[0]):
        runs = [(after[kind, at][:, where], on_finetune[kind, at][:, where]) for _, at, where in methods]
        lowest = [np.where(np.isfinite(second), second, np.inf).min(axis=(0, 1)) for _, second in runs]
        rule[kind] = np.max(lowest, axis=(0, 1))  # over methods and budgets, each being a way to train
        for at, losses in enumerate(runs):
            asked = np.append(np.tile(shares[:, None] ** 2 * away, shape[2]), rule[kind][None], axis=0)
            *least[at, :, kind], common[at, kind] = matched(*losses, asked[:, None])
    # Trailing axes of `locate` are (method, target, checkpoints, seed).
    floor = dataset.attrs["rounding_floor"]
    turns = locate(dataset["pretrain_steps"].values, np.moveaxis(least, 3, 0), floor=floor)
    dataset["method"] = "method", texts([name for name, *_ in methods])
    dataset["target"] = "target", shares
    same = np.array_equal(transfer.pretrain.input_covariance, transfer.finetune.input_covariance)
    bound = (1 - shares) ** 2 * away if same else np.full(len(shares), np.nan)
    budgets, cells = ("checkpoints", "pretrain_steps", "seed"), ("method", "target", "checkpoints", "seed")
    for name, axes, values in (
        ("matched_finetune_loss", ("target",), shares**2 * away),
        ("bound_pretrain_loss", ("target",), bound),
        ("matched_pretrain_loss", ("method", "target", *budgets), least),
        ("common_finetune_loss", ("checkpoints", "seed"), rule),
        ("common_pretrain_loss", ("method", *budgets), common),
        ("matched_inflection_steps", cells, turns.steps),
        ("matched_harm", cells, turns.harm),
    ):
        dataset[name] = axes, values


experiment = Experiment("regularization", __doc__, Config, compute, find, claims=CLAIMS)
run, main = experiment.run, experiment.main
