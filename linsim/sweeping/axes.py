"""What is swept: fields of the two phases, each with its values, beside the budgets and the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from linsim.errors import brief, numbers, require, require_axis, require_choice, require_kind, require_number
from linsim.labels import LARGEST_NUMBER, Label, Sweepable, label_of
from linsim.phase import REGULARIZERS, SWEPT, Phase, Regularizer
from linsim.problem import Problem

BUDGETS, SEEDS = "pretrain_steps", "seed"
"""The first and the last axis of every sweep."""

_PRETRAIN = "pretrain_"


@runtime_checkable
class Phases(Protocol):
    """Whatever has two phases, as a problem has."""

    @property
    def pretrain(self) -> Phase:
        """Of pre-training."""
        ...

    @property
    def finetune(self) -> Phase:
        """Of fine-tuning."""
        ...


class Field(NamedTuple):
    """A swept number: of which phase, under which name there."""

    pretraining: bool
    name: str
    about: Sweepable

    @classmethod
    def named(cls, axis: str, phases: Phases | None = None) -> Field:
        """The number an axis is called after; `InvalidInput` if neither phase of a problem has one of that name.

        Without phases, one that every phase has.
        """
        found = _fields(phases)
        allowed = f"one of {', '.join(found)}; what changes shapes or tasks is an axis of linsim.along"
        require(axis in found, "axes", axis if isinstance(axis, str) else brief(axis), allowed)
        return found[axis]

    def attrs(self, axis: str) -> dict[str, str]:
        """Long name and units of its axis, which has a shared name of its own in a chart."""
        phase = "pre-training" if self.pretraining else "fine-tuning"
        return (label_of(axis) or Label(f"{phase} {self.about.words}", self.about.units)).attrs


def declared(phases: Phases | None = None) -> list[str]:
    """All names that an axis may have, of these phases or of any."""
    return [*_fields(phases)]


def _fields(phases: Phases | None) -> dict[str, Field]:
    """Name of the axis -> number, of fine-tuning first."""
    both = (None, None) if phases is None else (phases.finetune, phases.pretrain)
    found: dict[str, Field] = {}
    for pretraining, phase in zip((False, True), both, strict=True):
        numbers = SWEPT if phase is None else {name: number.about for name, number in phase.numbers().items()}
        found |= {
            f"{_PRETRAIN * pretraining}{name}": Field(pretraining, name, about) for name, about in numbers.items()
        }
    return found


@dataclass(frozen=True, eq=False)
class Axes:
    """Swept fields in the order of their dimensions; the budgets come before them, the seeds after."""

    values: dict[str, Float[np.ndarray, " _"]]
    """Name of the field -> its values, increasing. Plain names are of fine-tuning, `pretrain_...` of pre-training."""
    called: dict[str, str]
    """Name of the field -> name of its dimension."""
    swept: dict[str, Field]
    """Name of the field -> which number that is."""

    @classmethod
    def of(cls, values: Mapping[str, Any], phases: Phases | None = None) -> Axes:
        """Axes called after numbers of these phases, or of any.

        Raises:
          InvalidInput: a number that a phase does not have, or values out of place.
        """
        require_kind("axes", values, Mapping, "a mapping, name of a number -> its values")
        swept = {name: Field.named(name, phases) for name in values}
        for name in set(values) - set(SWEPT):
            require(label_of(name) is None, "axes", name, "a name that nothing else in a result has")
        arrays = {name: _axis(name, given, swept[name].about) for name, given in values.items()}
        return cls(arrays, {name: name for name in arrays}, swept)

    @classmethod
    def of_chart(cls, learning_rates: Any, strengths: Any, regularizer: Regularizer) -> Axes:
        """The axes of a chart: whatever the regulariser is, its strengths are called `regularization`."""
        require_choice("regularizer", regularizer, REGULARIZERS)
        rates, strengths = of_numbers("learning_rates", learning_rates), of_numbers("strengths", strengths)
        require_axis("learning_rates", rates.tolist(), above=0)
        require_axis("strengths", strengths.tolist(), at_least=0)
        called = {"learning_rate": "learning_rate", regularizer: "regularization"}
        swept = {name: Field.named(name) for name in called}
        return cls({"learning_rate": rates, regularizer: strengths}, called, swept)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of all dimensions of a lane."""
        return (BUDGETS, *self.called.values(), SEEDS)

    def shape(self, problem: Problem) -> tuple[int, ...]:
        """Lengths of all dimensions of a lane."""
        return (len(problem.budgets), *(len(values) for values in self.values.values()), problem.seeds)

    def place(self, problem: Problem, dims: Sequence[int], positions: Sequence[int]) -> str:
        """Values at positions on some of the dimensions, in words."""
        along = (problem.budgets, *self.values.values(), np.arange(problem.seeds))
        pairs = zip(dims, positions, strict=True)
        return ", ".join(f"{self.dims[dim]} = {along[dim][position]:.4g}" for dim, position in pairs)

    def fields(self) -> Iterator[tuple[int, Field, Float[np.ndarray, " _"]]]:
        """Number of the dimension, field and values of every swept field."""
        for number, (name, values) in enumerate(self.values.items(), start=1):
            yield number, self.swept[name], values

    @property
    def trajectory_dims(self) -> tuple[int, ...]:
        """Numbers of the dimensions that tell pre-training runs apart: its swept fields, and the seeds."""
        swept = (number for number, field, _ in self.fields() if field.pretraining)
        return (*swept, len(self.values) + 1)

    def representative(self, problem: Problem) -> Problem:
        """The problem with the last value of every axis put in, by which a solver is chosen."""
        put: dict[bool, dict[str, float]] = {True: {}, False: {}}
        for _, field, values in self.fields():
            put[field.pretraining][field.name] = float(values[-1])
        return problem.put(put[True], put[False])


def of_numbers(field: str, given: Any) -> Float[np.ndarray, " _"]:
    """The values of an axis, from whatever gives some; a single number is none."""
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    require(several and getattr(given, "shape", None) != (), field, brief(given), "a list of numbers")
    values: np.ndarray = numbers(field, given if hasattr(given, "dtype") else list(given), 1)
    require(bool(values.max() <= LARGEST_NUMBER), field, values, f"numbers up to {LARGEST_NUMBER:g}")
    return values


def _axis(name: str, given: Any, about: Sweepable) -> Float[np.ndarray, " _"]:
    values = of_numbers(f"axes[{name!r}]", given)
    require_axis(f"axes[{name!r}]", values.tolist(), above=about.above, at_least=about.at_least)
    require_number(f"axes[{name!r}]", float(values[-1]), below=about.below)
    for value in values.tolist():
        about.require(f"axes[{name!r}]", value)
    return values
