"""How does harm depend on anything else that can be swept, beside fine-tuning rate and regularisation?

    python -m experiments.sweep --also momentum=0,0.5,0.9 pretrain_learning_rate=1e-3:2e-2:6 --out DIR

is a chart with further axes: every combination of fine-tuning rate, regularisation and the fields named by --also, from
every budget. Where axes have a common meaning as flow time (rate x steps / (1 - momentum)), cells that flow time makes
the same are held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
import xarray as xr

from linsim.commands.building import LONGEST_AXIS, budgets, build_problem, learning_rates, strengths
from linsim.commands.cli import Sweeping
from linsim.commands.config import ChartConfig, FinetuneConfig, PretrainConfig, require_choices
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput, require, require_integer, require_number
from linsim.progress.showing import Progress
from linsim.sweeping.axes import Axes, Field, declared
from linsim.sweeping.sweep import sweep

from ..command import command
from .effects import add_effects
from .summary import summarise

FORMS = "NAME=V1,V2,... or NAME=LOW:HIGH:COUNT"
LARGEST_SWEEP = 10**10
"""Lanes: several numbers of each are kept on disk, and of each cell in memory."""

_LARGEST_RATE, _LARGEST_STRENGTH = 1e6, 1e12  # as in a chart


# Rates a factor of 2 apart, four budgets to it: the grids of runs that differ in a rate coincide in flow time.
@dataclass(frozen=True)
class Config(ChartConfig):
    """A chart, and its further axes."""

    also: tuple[str, ...] = ("momentum=0,0.5,0.75,0.875", "pretrain_learning_rate=1.25e-3:2e-2:5")
    """Further axes, NAME=V1,V2,... or NAME=LOW:HIGH:COUNT, evenly spaced in the logarithm. NAME is a number of
    fine-tuning (momentum, product_penalty, weight_penalty, weight_decay), or of pre-training (pretrain_learning_rate,
    pretrain_momentum, ...)."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=40_960, first=20, budgets=45))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            rates=11, lowest_rate=2e-5, highest_rate=2.048e-2, strengths=5, highest_strength=8
        )
    )


def run(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The sweep of a configuration, with quantiles of harm along every axis (see `linsim.sweeping.sweep.sweep`).

    Raises:
      InvalidInput: any field outside its domain, or two that contradict each other.
    """
    transfer, axes = build_transfer(config), axes_of(config)
    lanes = len(budgets(config.pretrain)) * math.prod(map(len, axes.values())) * config.seeds
    require(lanes <= LARGEST_SWEEP, "also", f"{lanes} lanes in all", f"at most {LARGEST_SWEEP}")
    with jax.enable_x64(True):
        problem = build_problem(config, transfer)
        dataset = sweep(problem, axes, solver=config.solver, precision=config.precision, report=report)
    dataset = add_effects(dataset, axes)
    return dataset.assign_attrs(config=config.to_json(), regularizer=config.finetune.regularizer)


def axes_of(config: Config) -> dict[str, list[float]]:
    """The axes of a chart, and those of --also; `InvalidInput` for what is no axis or contradicts another field."""
    require_choices(config)
    require_integer("seeds", config.seeds, at_least=1, at_most=LONGEST_AXIS)
    rates, columns = learning_rates(config.finetune).tolist(), strengths(config.finetune).tolist()
    own = {"learning_rate": rates, config.finetune.regularizer: columns}
    axes: dict[str, list[float]] = dict(own)
    for text in config.also:
        require(isinstance(text, str), "also", text, FORMS)
        name, _, given = text.partition("=")
        require(bool(name and given), "also", text, FORMS)
        require(name in declared(), "also", text, f"an axis of {', '.join(declared())}")
        require(name not in own, "also", text, f"axes beside the chart's own, {' and '.join(own)}")
        require(name not in axes, "also", text, "every axis once")
        _require_free(config, name, text)
        axes[name] = _values(name, text, given)
    return axes


def _require_free(config: Config, name: str, text: str) -> None:
    """Nothing else sets what is an axis, or makes it meaningless."""
    swept = Field.named(name)
    label, phase = ("pretrain", config.pretrain) if swept.pretraining else ("finetune", config.finetune)
    plain = swept.name != "momentum" or phase.optimizer == "sgd"
    require(plain, "also", text, f"no momentum beside --{label}.optimizer {phase.optimizer}, which has its own")
    default = getattr(type(phase)(), swept.name, None)
    given = getattr(phase, swept.name, None)
    require(given == default, f"{label}.{swept.name}", given, f"its default {default} where --also makes it an axis")


def _values(name: str, text: str, given: str) -> list[float]:
    """V1,V2,... or LOW:HIGH:COUNT, inside the domain of the field."""
    spaced = ":" in given
    try:
        numbers = [float(part) for part in given.split(":" if spaced else ",")]
    except ValueError:
        raise InvalidInput("also", text, FORMS) from None
    if spaced:
        require(len(numbers) == 3, "also", text, FORMS)
        low, high, count = numbers
        require(0 < low < high < math.inf, "also", text, "0 < LOW < HIGH, both finite")
        whole = 2 <= count <= LONGEST_AXIS and count == int(count)
        require(whole, "also", text, f"a COUNT that is an integer from 2 to {LONGEST_AXIS}")
        numbers = np.geomspace(low, high, int(count)).tolist()
    require(len(numbers) <= LONGEST_AXIS, "also", f"{name} with {len(numbers)} values", f"at most {LONGEST_AXIS}")
    most = _LARGEST_RATE if name.endswith("learning_rate") else _LARGEST_STRENGTH
    try:
        Axes.of({name: numbers})
        require_number("", numbers[-1], at_most=most)
    except InvalidInput as error:
        raise InvalidInput(f"also {name}", error.value, error.allowed) from None
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    return command(Config, run, "sweep", __doc__, summarise, arguments, flags=Sweeping)
