"""The axes named by --also: numbers of a phase, which are swept, and any other number of a chart, swept along.

A number of a phase is a value in a compiled program; any other may change shapes or tasks, and is a program of its own
(`linsim.sweeping.along`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from linsim.commands.building import LONGEST_AXIS, learning_rates, strengths
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    ShiftConfig,
    ShiftedConfig,
    TaskConfig,
    require_choices,
)
from linsim.errors import InvalidInput, require, require_number
from linsim.labels import Label, label_of
from linsim.phase import Phase
from linsim.sweeping.axes import Axes, Field, declared

from .parts import Both, with_parts

FORMS = "NAME=V1,V2,... or NAME=LOW:HIGH:COUNT"

_LARGEST_RATE, _LARGEST_STRENGTH = 1e6, 1e12  # as in a chart
_SECTIONS = {"network": NetworkConfig, "task": TaskConfig, "shift": ShiftConfig}


# Rates a factor of 2 apart, four budgets to it: the grids of runs that differ in a rate coincide in flow time.
@dataclass(frozen=True)
class Config(ShiftedConfig):
    """A chart, and its further axes."""

    also: tuple[str, ...] = ("momentum=0,0.5,0.75,0.875", "pretrain_learning_rate=1.25e-3:2e-2:5")
    """Further axes, NAME=V1,V2,... or NAME=LOW:HIGH:COUNT, evenly spaced in the logarithm, or evenly from a LOW that is
    not above 0. NAME is a number of fine-tuning (momentum, product_penalty, weight_penalty, weight_decay, those of its
    parts), of pre-training (pretrain_learning_rate, pretrain_momentum, ...), or any other of the chart: depth, dim, or
    one of --network, --task or --shift (hidden, tau, decay, rotate_degrees, ...)."""
    finetune_parts: tuple[str, ...] = ()
    """Parts of fine-tuning, each MODULE:NAME: terms of the objective, what is averaged, where the gradient is taken, or
    what moves. The numbers they declare may be axes."""
    pretrain_parts: tuple[str, ...] = ()
    """The same of pre-training."""
    pretrain: PretrainConfig = field(default_factory=lambda: PretrainConfig(steps=40_960, first=20, budgets=45))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            rates=11, lowest_rate=2e-5, highest_rate=2.048e-2, strengths=5, highest_strength=8
        )
    )


class Number(NamedTuple):
    """A number of a chart's configuration that is none of a phase."""

    section: str
    """The configuration it stands in; empty for the chart's own."""
    name: str
    whole: bool
    """Whether it is an integer."""

    @property
    def flag(self) -> str:
        """As the command line has it."""
        return f"{self.section}.{self.name}".removeprefix(".")

    def of(self, config: ShiftedConfig) -> Any:
        """Its value."""
        return getattr(getattr(config, self.section) if self.section else config, self.name)

    def put(self, config: Any, value: Any) -> Any:
        """The configuration with another value."""
        if not self.section:
            return replace(config, **{self.name: value})
        return replace(config, **{self.section: replace(getattr(config, self.section), **{self.name: value})})


class Wanted(NamedTuple):
    """What is varied."""

    swept: dict[str, list[float]]
    """Numbers of the phases: the chart's own two axes, and those of --also."""
    along: dict[str, list[Any]]
    """Other numbers of the chart."""


def _numbers() -> dict[str, Number]:
    found = {"depth": Number("", "depth", True), "dim": Number("", "dim", True)}
    for section, kind in _SECTIONS.items():
        for name, hint in get_type_hints(kind).items():
            if hint in (int, int | None, float):
                found[name] = Number(section, name, hint is not float)
    return found


NUMBERS = _numbers()
"""By their names, which are different in all sections."""


def axes_of(config: Config) -> Wanted:
    """The axes of a chart, and those of --also; `InvalidInput` for what is no axis or contradicts another field."""
    require_choices(config)
    phases = with_parts(Both(Phase(1.0), Phase(1.0)), config)
    own = {
        "learning_rate": learning_rates(config.finetune).tolist(),
        config.finetune.regularizer: strengths(config.finetune).tolist(),
    }
    wanted = Wanted(dict(own), {})
    for text in config.also:
        require(isinstance(text, str), "also", text, FORMS)
        name, _, given = text.partition("=")
        require(bool(name and given), "also", text, FORMS)
        known = (*declared(phases), *NUMBERS)
        require(name in known, "also", text, f"an axis of {', '.join(known)}")
        require(name not in own, "also", text, f"axes beside the chart's own, {' and '.join(own)}")
        require(name not in wanted.swept and name not in wanted.along, "also", text, "every axis once")
        values = _values(name, text, given)
        if name in NUMBERS:
            wanted.along[name] = _free_number(NUMBERS[name], config, text, values)
        else:
            wanted.swept[name] = _free_field(name, phases, config, text, values)
    return wanted


def placed(config: Config, labels: Mapping[str, Any]) -> Config:
    """The configuration with a number put in for every axis that is swept along."""
    for name, value in labels.items():
        config = NUMBERS[name].put(config, value)
    return config


def labels_of(wanted: Wanted) -> dict[str, Label]:
    """What axes are called that other results do not have: as their flags."""
    return {name: Label(NUMBERS[name].flag, "", (name,)) for name in wanted.along if label_of(name) is None}


def _free_number(number: Number, config: Config, text: str, values: list[float]) -> list[Any]:
    """Values of a number of the chart that nothing else sets."""
    given, default = number.of(config), number.of(Config())
    require(given == default, number.flag, given, f"its default {default} where --also makes it an axis")
    require(len(set(values)) == len(values), "also", text, "every value once")
    if not number.whole:
        return values
    require(all(value == int(value) for value in values), "also", text, f"integers: {number.flag} counts")
    return list(map(int, values))


def _free_field(name: str, phases: Both, config: Config, text: str, values: list[float]) -> list[float]:
    """Values of a number of a phase, inside its domain, that nothing else sets or makes meaningless."""
    swept = Field.named(name, phases)
    label, phase = ("pretrain", config.pretrain) if swept.pretraining else ("finetune", config.finetune)
    plain = swept.name != "momentum" or phase.optimizer == "sgd"
    require(plain, "also", text, f"no momentum beside --{label}.optimizer {phase.optimizer}, which has its own")
    default = getattr(type(phase)(), swept.name, None)
    given = getattr(phase, swept.name, None)
    require(given == default, f"{label}.{swept.name}", given, f"its default {default} where --also makes it an axis")
    most = _LARGEST_RATE if name.endswith("learning_rate") else _LARGEST_STRENGTH
    try:
        Axes.of({name: values}, phases)
        require_number("", values[-1], at_most=most)
    except InvalidInput as error:
        raise InvalidInput(f"also {name}", error.value, error.allowed) from None
    return values


def _values(name: str, text: str, given: str) -> list[float]:
    """V1,V2,... or LOW:HIGH:COUNT; whole numbers where those of a range must be."""
    spaced = ":" in given
    try:
        numbers = [float(part) for part in given.split(":" if spaced else ",")]
    except ValueError:
        raise InvalidInput("also", text, FORMS) from None
    if spaced:
        require(len(numbers) == 3, "also", text, FORMS)
        low, high, count = numbers
        require(-math.inf < low < high < math.inf, "also", text, "LOW < HIGH, both finite")
        whole = 2 <= count <= LONGEST_AXIS and count == int(count)
        require(whole, "also", text, f"a COUNT that is an integer from 2 to {LONGEST_AXIS}")
        numbers = (np.geomspace if low > 0 else np.linspace)(low, high, int(count)).tolist()
        if name in NUMBERS and NUMBERS[name].whole:
            numbers = np.unique(np.round(numbers)).tolist()
    require(len(numbers) <= LONGEST_AXIS, "also", f"{name} with {len(numbers)} values", f"at most {LONGEST_AXIS}")
    for number in numbers:
        require_number(f"also {name}", number)
    return numbers
