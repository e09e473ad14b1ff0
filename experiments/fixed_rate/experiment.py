"""At a fixed fine-tuning rate, on which shifts of the task does more pre-training make the fine-tuned model worse?

    python -m experiments.fixed_rate --out DIR

pre-trains one task, fine-tunes it without a penalty on several others, from every budget at every rate, and compares
the loss curves with the closed form and with what theory says of fine-tuning to convergence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr

from linsim import shifts
from linsim.commands.building import charted, strengths
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    ShiftConfig,
    SyntheticConfig,
    TaskConfig,
    TurnConfig,
    chart_of,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_axis, require_number
from linsim.labels import PLAIN, Label, label
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.tasks import Transfer

from ..experiment import Experiment
from .finding import find

CLAIMS = (
    "misaligned-iff",
    "turned-mode-harms-iff",
    "overtraining-inevitable",
    "shallow-u",
    "weakest-mode-decides",
    "critical-rate-times-steps",
    "larger-rate-earlier-stage",
    "larger-rate-earlier-turn",
    "matrix-solution",
    "chaining",
)

LABELS = {
    "overshoot": Label("strength after fine-tuning to convergence over the best for pre-training", PLAIN),
    "counts": Label("harm and excess count in every seed"),
    "turns_inside": Label("every seed turns after the first budget"),
    "finetune_harm": Label("fine-tuning loss at the largest budget / smallest one - 1", PLAIN),
    "finetune_excess": Label("rise of the fine-tuning loss over that of the zero network", PLAIN),
}
"""Of what this experiment alone has."""


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig, TurnConfig):
    """One pre-training task, several fine-tuning tasks."""

    dim: int | None = 8
    """Inputs and outputs of the tasks."""
    seeds: int = 5
    """Number of random initial weights."""
    depth: int = 2
    """Number of layers L."""
    task: TaskConfig = field(default_factory=lambda: TaskConfig(rank=6))
    """The pre-training task; some of its modes must be zero, to be new in fine-tuning."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(init="lambda_balanced", balance=1e-4))
    """Of random bases, with an imbalance of about e^(-2 tau), as independent entries would have it."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=10_000, budgets=32))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(rates=6, lowest_rate=1e-4, highest_rate=1e-2, strengths=1)
    )
    checkpoints: tuple[Literal["real", "idealised"], ...] = ("real", "idealised")
    """Fine-tune from the trained weights, from the rank-n truncation nearest to them, or both."""
    factor: float = 4.0
    """On the singular values of the weakest modes, about three quarters of all, and on those of all modes (no unit)."""
    small_factor: float = 1.5
    """On the weakest modes, for a shift that makes them stronger but not misaligned (no unit)."""
    new: float = 1.0
    """Singular value of the new features, in output per input."""
    angles: tuple[float, ...] = (10.0, 30.0, 60.0, 90.0)
    """By which singular vectors turn in the planes of modes (1, 2), (3, 4), ..., in degrees."""
    side: Literal["left", "right", "both"] = "right"
    """Which singular vectors turn: the outputs', the inputs', or both."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Charts along `checkpoints` and `shift`, with excess and theory; `InvalidInput` for a field outside its domain."""
    kinds = config.checkpoints
    allowed = "real, idealised, or both"
    require(len(kinds) > 0 and len(set(kinds)) == len(kinds), "checkpoints", kinds, allowed)
    require(set(kinds) <= {"real", "idealised"}, "checkpoints", kinds, allowed)
    penalties = strengths(config.finetune)
    without = penalties.tolist() == [0.0]
    require(without, "finetune.regularizations", tuple(penalties.tolist()), "0 alone: there is no penalty here")
    transfers = _transfers(config)

    def prepare(checkpoints: Literal["real", "idealised"], shift: str) -> Ready:
        return charted(chart_of(config, checkpoints=checkpoints), transfers[shift])

    dataset = along({"checkpoints": kinds, "shift": list(transfers)}, prepare, report)
    beyond = xr.Variable(("shift", "mode"), [overshoot(each) for each in transfers.values()])
    turns = dataset["inflection_steps"]
    counted = {"counts": turns.notnull(), "turns_inside": turns > dataset["pretrain_steps"][0]}
    counted = {name: where.all("seed").drop_attrs() for name, where in counted.items()}
    zero = next(iter(transfers.values())).pretrain.zero_loss
    return label(dataset.assign(counted | {"overshoot": beyond, "zero_loss": zero}), LABELS)


def _transfers(config: Config) -> dict[str, Transfer]:
    """Every shift by its name."""
    require(config.task.data is None, "task.data", config.task.data, "none: the shifts are those of a synthetic task")
    for name in ("factor", "small_factor", "new"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require(config.small_factor != config.factor, "small_factor", config.small_factor, "other than factor")
    require_axis("angles", config.angles, above=0)
    require_number("angles", config.angles[-1], at_most=180)
    require(config.side in ("left", "right", "both"), "side", config.side, "left, right or both")
    enough = config.dim is None or config.dim >= 3
    require(enough, "dim", config.dim, "an integer >= 3: two modes to learn and one that is zero")
    white = config.task.covariance == "identity"
    require(white, "task.covariance", config.task.covariance, "identity: the theory of the shifts is for white inputs")
    task = build_transfer(chart_of(config, checkpoints="real", shift=ShiftConfig(rescale_factor=1.0))).pretrain
    modes, rank = len(task.strengths), int(np.count_nonzero(task.strengths))
    learned = bool(np.all(task.strengths[:rank] > 0))
    require(learned and 2 <= rank < modes, "task.rank", config.task.rank, f"2..{modes - 1} positive modes, others 0")
    weak, all_modes = range(min(modes // 4 + 1, rank), rank + 1), range(1, rank + 1)
    chosen: dict[str, shifts.Shift] = {
        f"weak modes x {config.factor:g}": shifts.Rescale(weak, config.factor),
        f"weak modes x {config.small_factor:g}": shifts.Rescale(weak, config.small_factor),
        f"all modes x {config.factor:g}": shifts.Rescale(all_modes, config.factor),
        "strengths reversed": shifts.Permute((*reversed(all_modes), *range(rank + 1, modes + 1))),
        "features new": shifts.NewModes((config.new,) * (modes - rank)),
        "features removed": shifts.ZeroModes(range(rank - (rank > 2), rank + 1)),
        **{f"rotated by {angle:g}°": shifts.Rotate(angle, config.side) for angle in config.angles},
    }
    return {name: shifts.shifted(task, shift) for name, shift in chosen.items()}


def overshoot(transfer: Transfer) -> np.ndarray:
    """s_n / u_n^T A_pre v_n of every mode that pre-training learns, with s_n, u_n, v_n of the fine-tuning task.

    Fine-tuning to convergence from stage n ends at sum_(i <= n) s_i u_i v_i^T, if its modes are those first learned.
    Mode n adds s_n^2 - 2 s_n u_n^T A_pre v_n to the pre-training loss there: harm iff the ratio is above 2. On the way
    from 0 to s_n the least is at u_n^T A_pre v_n: from a ratio of 1 on, less fine-tuning of that mode would have been
    better. Where tasks share singular vectors it is sigma_ft / sigma_pre; where one side turns by theta, 1 / cos theta.

    Returns:
      Shape (modes,); infinite where u_n^T A_pre v_n <= 0 < s_n, 0 where s_n = 0, NaN where pre-training has no mode.
    """
    task, goal = transfer.pretrain, transfer.finetune
    along = goal.along_modes(task.target)
    rounding = 1e-9 * float(np.max(task.strengths))
    with np.errstate(divide="ignore"):
        ratio = np.where(along > rounding, np.round(goal.strengths / np.maximum(along, rounding), 9), np.inf)
    return np.where(task.strengths > 0, np.where(goal.strengths > 0, ratio, 0.0), np.nan)


experiment = Experiment("fixed_rate", __doc__, Config, compute, find, claims=CLAIMS)
run, main = experiment.run, experiment.main
