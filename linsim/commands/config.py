"""Configurations of charts: frozen dataclasses whose every field is a command-line flag."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from linsim.commands.shifting import ShiftConfig as ShiftConfig
from linsim.dynamics.choosing import SolverName
from linsim.errors import require
from linsim.phase import Regularizer
from linsim.precision import Precision
from linsim.theory.turns import LEAST_EXCESS, LEAST_HARM, TOLERANCE

LARGEST_DIM = 4096
LARGEST_WIDTH = 10**6
"""Of the hidden layer between two layers, whose width costs memory for the initial weights only."""

OptimizerName = Literal[
    "sgd",
    "adam",
    "adamw",
    "rmsprop",
    "adagrad",
    "lion",
    "sign_sgd",
    "muon",
    "exact_muon",
    "shampoo",
    "natural_gradient",
]
ScheduleName = Literal["constant", "linear", "cosine", "stable_decay"]


@dataclass(frozen=True)
class TaskConfig:
    """The pre-training task y = A x + noise."""

    data: Path | None = None
    """Take both tasks from a .npz with arrays X (n, d_in), Y (n, d_out), X_ft, Y_ft, or from a .csv with columns x...,
    y... and phase (pretrain or finetune); then --dim, --task.* and --shift.* do not apply."""
    outputs: int | None = None
    """d_out; default --dim."""
    inputs: int | None = None
    """d_in; default --dim."""
    spectrum: Literal["power", "exponential", "blocks", "explicit"] = "power"
    """Singular values: scale * i^-decay, scale * exp(-decay (i - 1)), blocks of --task.sizes modes at the levels
    --task.values, or the --task.values themselves."""
    scale: float = 2.0
    """Largest singular value, in output per input."""
    decay: float = 1.0
    """Exponent of the power law, or rate per mode of the exponential (no unit)."""
    values: tuple[float, ...] = ()
    """Singular values of an explicit spectrum, or levels of the blocks."""
    sizes: tuple[int, ...] = ()
    """Modes in each block."""
    rank: int | None = None
    """Modes kept, the others zero; default all."""
    bases: Literal["identity", "random"] = "identity"
    """Singular vectors: the unit vectors, or drawn at random."""
    covariance: Literal["identity", "aligned", "random"] = "identity"
    """Input covariance S: the identity, or variances j^-covariance_decay along the task's right singular vectors or
    along random directions."""
    covariance_decay: float = 1.0
    """Exponent of the input variances (no unit)."""
    label_noise: float = 0.0
    """Standard deviation of the noise on each output; matters with minibatches only."""


@dataclass(frozen=True)
class NetworkConfig:
    """Widths and initial weights."""

    hidden: int | None = None
    """Width of the hidden layers; default min(d_in, d_out)."""
    init: Literal["identity", "aligned", "balanced", "lambda_balanced", "gaussian"] = "identity"
    """e^-tau I; diagonal in the task's bases; balanced in random bases; two layers with W_2'W_2 - W_1 W_1' =
    balance I; entries from N(0, e^(-2 tau) / fan_in)."""
    tau: float = 5.0
    """Each layer's singular values start at (for gaussian: of order) e^-tau."""
    balance: float = 0.0
    """The balance of lambda_balanced, in squared weights."""


@dataclass(frozen=True)
class PhaseConfig:
    """What both phases share."""

    momentum: float = 0.0
    """Heavy-ball coefficient in [0, 1), no unit; with the optimizer sgd."""
    optimizer: OptimizerName = "sgd"
    """optax optimiser, or one of linsim: exact_muon, shampoo, natural_gradient; those of optax but sgd need the solver
    dense."""
    schedule: ScheduleName = "constant"
    """Learning rate over the phase: constant, linear or cosine to 0, or constant with a linear decay to 0 over the
    last fifth."""
    batch_size: int | None = None
    """Samples per step; default the exact gradient of the population loss."""
    weight_decay: float = 0.0
    """beta of (beta/2) sum ||W||^2, per flow time."""
    decoupled_decay: float = 0.0
    """Share of the weights that a step takes off beside what the gradient says, over the learning rate; with the
    optimizers adamw, lion and muon."""


@dataclass(frozen=True)
class PretrainConfig(PhaseConfig):
    """Pre-training, run once to the largest budget."""

    learning_rate: float = 0.005
    """eta, in flow time per step."""
    steps: int = 40_000
    """Largest budget, in steps."""
    first: int = 20
    """Smallest budget, in steps."""
    budgets: int = 60
    """Number of budgets, spaced evenly in log(steps); fewer where rounding to steps makes two equal."""


@dataclass(frozen=True)
class RefinedConfig(PretrainConfig):
    """Pre-training to budgets that are only the first ones."""

    tolerance: float | None = TOLERANCE
    """Relative error that harm may have: budgets are added where curves turn until the turns are resolved; None takes
    the budgets as they are."""

    @classmethod
    def unrefined(cls, config: PretrainConfig) -> RefinedConfig:
        """The budgets of another configuration as they are."""
        return cls(**vars(config) | {"tolerance": None})


@dataclass(frozen=True)
class FinetuneConfig(PhaseConfig):
    """Fine-tuning, from the checkpoint of every budget."""

    steps: int = 500
    """K, in steps."""
    rates: int = 30
    """Number of learning rates, spaced evenly in the logarithm."""
    lowest_rate: float = 1e-5
    """Smallest learning rate, in flow time per step."""
    highest_rate: float = 2.5e-2
    """Largest learning rate, in flow time per step."""
    learning_rates: tuple[float, ...] | None = None
    """The learning rates themselves, increasing; replaces the three fields above."""
    regularizer: Regularizer = "product_penalty"
    """What the strengths are for: lambda ||P - P_0||^2, (mu/2) sum ||W - W_0||^2, or (beta/2) sum ||W||^2."""
    strengths: int = 20
    """Number of strengths: 0 and the others spaced evenly in the logarithm."""
    lowest_strength: float = 0.1
    """Smallest strength above 0, per flow time."""
    highest_strength: float = 16.0
    """Largest strength, per flow time."""
    regularizations: tuple[float, ...] | None = None
    """The strengths themselves, increasing; replaces the three fields above."""


@dataclass(frozen=True)
class PretrainingConfig:
    """Seeds, solver and precision."""

    seeds: int = 1
    """Number of random initial weights."""
    seed: int = 0
    """Seed of everything drawn at random."""
    solver: SolverName = "auto"
    """How the weights are moved; auto takes the cheapest solver that is exact and says why."""
    precision: Precision = "float64"
    """Number format of the training; of a chart in float32 a sample is computed again in float64."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)

    def to_json(self) -> str:
        """All fields, for the attributes of a result."""
        return as_json(self)


@dataclass(frozen=True)
class TrainingConfig(PretrainingConfig):
    """Layers, checkpoints and what is measured."""

    depth: int = 2
    """Number of layers L."""
    checkpoints: Literal["real", "idealised"] = "real"
    """Fine-tune from the trained weights, or from the rank-n truncation nearest to them."""
    measure: tuple[str, ...] = ()
    """Told beside the losses: NAME of a measure that comes with linsim, NAME=V1,V2,... with its scales, MODULE:NAME of
    your own; at another place NAME@checkpoint, NAME@tuned or NAME@along, by a name of its own NAME@tuned=CALLED."""
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class SyntheticConfig:
    """Size of the tasks."""

    dim: int | None = None
    """Inputs and outputs of the synthetic tasks; default 16."""
    task: TaskConfig = field(default_factory=TaskConfig)


@dataclass(frozen=True)
class TurnConfig:
    """What counts as harm."""

    least_harm: float = LEAST_HARM
    """Harm up to which a curve does not turn: loss at the largest budget / smallest loss - 1."""
    least_excess: float = LEAST_EXCESS
    """Excess up to which it does not: loss at the largest budget - smallest loss, over the loss of the zero network."""


@dataclass(frozen=True)
class ShiftedConfig(SyntheticConfig, TrainingConfig):
    """Pre-training and fine-tuning on synthetic tasks that differ by a shift."""

    shift: ShiftConfig = field(default_factory=ShiftConfig)


@dataclass(frozen=True)
class ChartConfig(ShiftedConfig, TurnConfig):
    """A chart over pre-training budget, fine-tuning rate and regularisation strength."""

    pretrain: PretrainConfig = field(default_factory=RefinedConfig)


def as_json(config: Any) -> str:
    """All fields of a configuration, for the attributes of a result."""
    return json.dumps(dataclasses.asdict(config), default=str)


def chart_of(config: Any, **changes: Any) -> ChartConfig:
    """A chart's configuration with the fields that another configuration has too, and changes to them.

    For experiments of several charts, whose own configurations have fields of other kinds, such as a list of depths.
    """
    shared = {
        each.name: getattr(config, each.name) for each in dataclasses.fields(ChartConfig) if hasattr(config, each.name)
    }
    shared["pretrain"] = RefinedConfig.unrefined(getattr(config, "pretrain", PretrainConfig()))
    return ChartConfig(**shared | changes)


def require_defaults(config: Any, names: Iterable[str], allowed: str) -> None:
    """Refuse fields that do nothing here, unless they are left alone.

    Args:
      config: a configuration that can be made without arguments.
      names: of its fields, those of fields inside it after a dot.
      allowed: what an error says; {} stands for the default.
    """
    for name in names:
        given, default = (reduce(getattr, name.split("."), of) for of in (config, type(config)()))
        require(given == default, name, given, allowed.format(default))


def require_choices(config: Any, prefix: str = "") -> None:
    """Check every field that offers named choices, in a configuration and those inside it."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            require_choices(value, f"{prefix}{name}.")
        elif get_origin(hint) is Literal:
            allowed = get_args(hint)
            require(isinstance(value, str) and value in allowed, prefix + name, value, f"one of {', '.join(allowed)}")
