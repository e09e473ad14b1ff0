"""From a configuration to a chart, with every field checked on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
import xarray as xr
from jaxtyping import Float, Int

from linsim import network
from linsim.commands.config import (
    LARGEST_DIM,
    LARGEST_WIDTH,
    FinetuneConfig,
    OptimizerName,
    PhaseConfig,
    PretrainConfig,
    RefinedConfig,
    ScheduleName,
    TrainingConfig,
    TurnConfig,
    as_json,
    require_choices,
)
from linsim.commands.named import named_measures
from linsim.dynamics.moving.spectral import Muon, NaturalGradient, Shampoo
from linsim.errors import fields_of, require, require_axis, require_integer, require_number
from linsim.losses import Weights
from linsim.measure import Measure
from linsim.phase import OptimizerFactory, Phase, Regularizer
from linsim.precision import in_float64
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready
from linsim.sweeping.sweep import chart
from linsim.tasks import LinearTask, Transfer

LARGEST_STEPS = 10**9
LARGEST_BATCH = 10**6
LONGEST_AXIS = 10**4

_OPTIMIZERS: dict[str, OptimizerFactory | None] = {
    "sgd": None,
    **{name: getattr(optax, name) for name in ("adam", "rmsprop", "adagrad", "sign_sgd")},
    **{"exact_muon": Muon(), "shampoo": Shampoo(), "natural_gradient": NaturalGradient()},
}
_DECAYING: dict[str, Any] = {"adamw": optax.adamw, "lion": optax.lion, "muon": optax.contrib.muon}
"""With decoupled decay, of which optax gives the first two some by default."""


def build_chart(
    config: TrainingConfig, transfer: Transfer, report: Progress | None = None, *, measures: Iterable[Measure] = ()
) -> xr.Dataset:
    """The chart of a configuration on a pair of tasks, with the configuration in its attributes (see `sweep.chart`).

    Raises:
      InvalidInput: any field outside its domain; names the field, the value and what is allowed.
    """
    return charted(config, transfer, measures=measures)(report=report).assign_attrs(config=as_json(config))


def charted(
    config: TrainingConfig, transfer: Transfer, *, measures: Iterable[Measure] = (), predicted: bool = True
) -> Ready:
    """The chart of a configuration, checked and ready but for `report=`, as `linsim.sweeping.along.along` wants it."""
    counted = config if isinstance(config, TurnConfig) else TurnConfig()
    tolerance = config.pretrain.tolerance if isinstance(config.pretrain, RefinedConfig) else None
    if tolerance is not None:
        require_number("pretrain.tolerance", tolerance, above=0, below=1)
    return partial(
        chart,
        build_problem(config, transfer),
        learning_rates(config.finetune),
        strengths(config.finetune),
        config.finetune.regularizer,
        (*named_measures(config.measure, transfer), *measures),
        solver=config.solver,
        precision=config.precision,
        predicted=predicted,
        tolerance=tolerance,
        least_harm=counted.least_harm,
        least_excess=counted.least_excess,
    )


@in_float64
def build_problem(config: TrainingConfig, transfer: Transfer) -> Problem:
    """Tasks, initial weights of every seed, phases and budgets; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    require_integer("depth", config.depth, at_least=1, at_most=64)
    require_integer("seeds", config.seeds, at_least=1, at_most=LONGEST_AXIS)
    require_integer("seed", config.seed, at_least=0, at_most=2**32 - 1)
    steps, rates = budgets(config.pretrain), learning_rates(config.finetune)
    strengths(config.finetune)  # checked before any work is done
    pretrain = build_phase("pretrain", config.pretrain, config.pretrain.learning_rate, config.pretrain.steps)
    regularizer = config.finetune.regularizer
    finetune = build_phase("finetune", config.finetune, float(rates[0]), config.finetune.steps, regularizer)
    initial = stack_seeds(_initial_weights(config, transfer.pretrain))
    idealised = config.checkpoints == "idealised"
    return Problem(transfer, initial, pretrain, finetune, steps, config.finetune.steps, idealised, config.seed)


def build_pretraining(config: TrainingConfig, task: LinearTask) -> Problem:
    """Pre-training alone; of a configuration, whatever it says of fine-tuning does not matter."""
    return replace(build_problem(config, Transfer(task, task)), finetune_steps=0)


def learning_rates(config: FinetuneConfig) -> Float[np.ndarray, " rates"]:
    """The axis of fine-tuning rates."""
    given = config.learning_rates
    if given is None:
        given = _spaced("finetune.rates", config.rates, "rate", config.lowest_rate, config.highest_rate)
    require_axis("finetune.learning_rates", given, above=0)
    require_number("finetune.learning_rates", given[-1], at_most=1e6)
    return np.asarray(given, np.float64)


def strengths(config: FinetuneConfig) -> Float[np.ndarray, " strengths"]:
    """The axis of regularisation strengths."""
    given = config.regularizations
    if given is None:
        require_integer("finetune.strengths", config.strengths, at_least=1, at_most=LONGEST_AXIS)
        rest = config.strengths - 1
        lowest, highest = config.lowest_strength, config.highest_strength
        given = (0.0, *(_spaced("finetune.strengths", rest, "strength", lowest, highest) if rest else ()))
    require_axis("finetune.regularizations", given, at_least=0)
    require_number("finetune.regularizations", given[-1], at_most=1e12)
    return np.asarray(given, np.float64)


def budgets(config: PretrainConfig) -> Int[np.ndarray, " budgets"]:
    """The axis of pre-training budgets."""
    require_integer("pretrain.steps", config.steps, at_least=1, at_most=LARGEST_STEPS)
    require_integer("pretrain.first", config.first, at_least=1, at_most=config.steps)
    require_integer("pretrain.budgets", config.budgets, at_least=1, at_most=LONGEST_AXIS)
    if config.budgets == 1:
        return np.asarray([config.steps])
    return np.unique(np.round(np.geomspace(config.first, config.steps, config.budgets)).astype(np.int64))


def build_phase(
    name: str, config: PhaseConfig, learning_rate: float, steps: int, swept: Regularizer | None = None
) -> Phase:
    """A phase of training; the strength of the swept regulariser is left to the sweep."""
    require_integer(f"{name}.steps", steps, at_least=1, at_most=LARGEST_STEPS)
    require_number(f"{name}.learning_rate", learning_rate, above=0, at_most=1e6)
    decay = config.weight_decay
    require(swept != "weight_decay" or decay == 0, f"{name}.weight_decay", decay, "0 where it is what is swept")
    if config.batch_size is not None:
        require_integer(f"{name}.batch_size", config.batch_size, at_least=1, at_most=LARGEST_BATCH)
    require_number(f"{name}.weight_decay", decay, at_least=0, at_most=1e12)
    decoupled, decaying = config.decoupled_decay, config.optimizer in _DECAYING
    require_number(f"{name}.decoupled_decay", decoupled, at_least=0, at_most=1e6)
    allowed = f"0 with {config.optimizer}; the optimizers {', '.join(_DECAYING)} have it"
    require(decaying or decoupled == 0, f"{name}.decoupled_decay", decoupled, allowed)
    phase = Phase(
        learning_rate=learning_rate,
        weight_decay=None if decay == 0 else decay,
        momentum=None if config.momentum == 0 else config.momentum,
        optimizer=optimizer_of(config.optimizer, config.decoupled_decay),
        schedule=_schedule(config.schedule, steps),
        batch_size=config.batch_size,
    )
    phase.validate(name)
    return phase


def _initial_weights(config: TrainingConfig, task: LinearTask) -> list[Weights]:
    settings = config.network
    hidden = min(task.inputs, task.outputs) if settings.hidden is None else settings.hidden
    widest = LARGEST_WIDTH if config.depth == 2 else LARGEST_DIM
    require_integer("network.hidden", hidden, at_least=1, at_most=widest)
    require_number("network.tau", settings.tau, at_least=-5, at_most=300)
    require_number("network.balance", settings.balance, at_least=-1e6, at_most=1e6)
    balanced = settings.init == "lambda_balanced"
    require(config.depth == 2 or not balanced, "depth", config.depth, "2, with --network.init lambda_balanced")
    balanceable = balanced or settings.balance == 0
    require(balanceable, "network.balance", settings.balance, "0 with any --network.init but lambda_balanced")
    widths = (task.inputs, *([hidden] * (config.depth - 1)), task.outputs)
    scale = float(np.exp(-settings.tau))
    drawn = []
    with fields_of("network", {"widths": "hidden"}):
        for key in jax.random.split(jax.random.key(config.seed), config.seeds):
            match settings.init:
                case "identity":
                    weights = network.identity(widths, settings.tau)
                case "aligned":
                    modes = np.arange(len(task.strengths)) < min(widths)
                    weights = network.aligned(widths, task, scale**config.depth * modes)
                case "balanced":
                    weights = network.balanced(widths, scale, key)
                case "lambda_balanced":
                    weights = network.lambda_balanced(widths, scale, settings.balance, key)
                case "gaussian":
                    weights = network.gaussian(widths, scale, key)
            drawn.append(weights)
    return drawn


@cache
def optimizer_of(name: OptimizerName, decay: float) -> OptimizerFactory | None:
    """One function object per optimiser, so that equal ones compile once."""
    return partial(_DECAYING[name], weight_decay=decay) if name in _DECAYING else _OPTIMIZERS[name]


@cache
def _schedule(name: ScheduleName, steps: int) -> optax.Schedule | None:
    """One function object per schedule, so that equal schedules compile once."""
    match name:
        case "constant":
            return None
        case "linear":
            return optax.linear_schedule(1.0, 0.0, steps)
        case "cosine":
            return optax.cosine_decay_schedule(1.0, steps)
        case "stable_decay":
            stable = steps - steps // 5
            return optax.linear_schedule(1.0, 0.0, max(steps - stable, 1), transition_begin=stable)


def _spaced(field_name: str, count: Any, what: str, lowest: Any, highest: Any) -> tuple[float, ...]:
    require_integer(field_name, count, at_least=1, at_most=LONGEST_AXIS)
    require_number(f"finetune.lowest_{what}", lowest, above=0)
    require_number(f"finetune.highest_{what}", highest, above=0)
    if count == 1:
        return (float(highest),)
    require(lowest < highest, f"finetune.highest_{what}", highest, f"> finetune.lowest_{what} = {lowest:g}")
    return tuple(np.geomspace(lowest, highest, count).tolist())
