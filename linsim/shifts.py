"""Shifts: how a fine-tuning task differs from the pre-training task. Modes are counted from 1, as sigma_1 is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float

from linsim.errors import (
    InvalidInput,
    brief,
    brief_error,
    brief_fields,
    listed,
    numbers,
    require,
    require_choice,
    require_kind,
    require_number,
)
from linsim.tasks import LinearTask, Transfer

Side = Literal["left", "right", "both", "opposite"]
SIDES: tuple[Side, ...] = get_args(Side)

_TURNS = 36_000.0  # degrees, beyond which a float64 knows its own angle less and less well


@runtime_checkable
class Shift(Protocol):
    """Anything that turns one task into another of the same shape."""

    def __call__(self, task: LinearTask, /) -> LinearTask: ...


def shifted(task: LinearTask, *shifts: Shift) -> Transfer:
    """The transfer from a task to itself after the given shifts, applied in order: any mixture of them.

    Example:
      >>> ls.shifted(ls.LinearTask.create(ls.power_law(4)), ls.Rescale([3, 4], factor=4.0))
      Transfer(
        pretrain: LinearTask(4 -> 4, strengths 2 ... 0.5, whitened)
        finetune: LinearTask(4 -> 4, strengths 2 ... 2, whitened)
      )
    """
    result = require_kind("task", task, LinearTask)
    for shift in shifts:
        result = _moved("shift", shift, result)
    return Transfer(task, result)


def _moved(field: str, shift: Shift, task: LinearTask) -> LinearTask:
    """The task that a shift makes of another one; `InvalidInput` names the field that holds the shift."""
    allowed = "a function of a linsim.LinearTask that gives another one"
    if isinstance(shift, type) or not callable(shift):
        raise InvalidInput(field, brief(shift), allowed)
    try:
        moved = shift(task)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a user's code raises
        raise InvalidInput(field, brief(shift), f"{allowed}; this fails with {brief_error(error)}") from error
    return require_kind(field, moved, LinearTask, f"{allowed}, not {brief(moved)}")


@dataclass(frozen=True)
class Rescale:
    """sigma_i <- factor * sigma_i on the chosen modes."""

    modes: Sequence[int]
    factor: float

    __repr__ = brief_fields

    def __call__(self, task: LinearTask) -> LinearTask:
        _require_task(task)
        require_number("factor", self.factor)
        strengths = task.strengths.copy()
        strengths[_indices("modes", self.modes, len(strengths))] *= self.factor
        return replace(task, strengths=strengths)


@dataclass(frozen=True)
class Permute:
    """Mode i takes the strength of mode order[i]; the singular vectors stay."""

    order: Sequence[int]

    __repr__ = brief_fields

    def __call__(self, task: LinearTask) -> LinearTask:
        modes = len(_require_task(task).strengths)
        indices = _indices("order", self.order, modes)
        require(len(indices) == modes, "order", tuple(self.order), f"a permutation of 1..{modes}")
        return replace(task, strengths=task.strengths[indices])


@dataclass(frozen=True)
class Rotate:
    """Turn singular vectors by an angle within the planes of modes (1, 2), (3, 4), ...; strengths stay.

    side says which vectors turn: "right" the inputs' (V), "left" the outputs' (U), "both" the two by the same angle,
    "opposite" the two against each other, outputs by the angle and inputs by its negative.
    """

    degrees: float
    side: Side = "right"

    def __call__(self, task: LinearTask) -> LinearTask:
        _require_task(task)
        require_number("degrees", self.degrees, at_least=-_TURNS, at_most=_TURNS)
        require_choice("side", self.side, SIDES)
        left = task.left if self.side == "right" else _turned(task.left, self.degrees)
        inputs = -self.degrees if self.side == "opposite" else self.degrees
        right = task.right if self.side == "left" else _turned(task.right, inputs)
        return replace(task, left=left, right=right)


@dataclass(frozen=True)
class NewModes:
    """Give the first modes whose strength is zero the given strengths: features absent from pre-training."""

    strengths: Sequence[float]

    __repr__ = brief_fields

    def __call__(self, task: LinearTask) -> LinearTask:
        free = np.flatnonzero(_require_task(task).strengths == 0)
        given = numbers("strengths", self.strengths, 1, least=0)
        require(len(given) <= len(free), "strengths", given, f"at most {len(free)} values, the number of zero modes")
        strengths = task.strengths.copy()
        strengths[free[: len(given)]] = given
        return replace(task, strengths=strengths)


@dataclass(frozen=True)
class ZeroModes:
    """sigma_i <- 0 on the chosen modes: features the fine-tuning task wants gone."""

    modes: Sequence[int]

    __repr__ = brief_fields

    def __call__(self, task: LinearTask) -> LinearTask:
        return Rescale(self.modes, 0.0)(task)


@dataclass(frozen=True)
class Blend:
    """Go only a fraction of the way of another shift: A <- (1 - fraction) A + fraction * shift(A)."""

    shift: Shift
    fraction: float

    def __call__(self, task: LinearTask) -> LinearTask:
        require_number("fraction", self.fraction)
        other = _moved("shift", self.shift, _require_task(task))
        keep, take = 1 - self.fraction, self.fraction
        if np.array_equal(task.left, other.left) and np.array_equal(task.right, other.right):
            return replace(other, strengths=keep * task.strengths + take * other.strengths)
        mixed = keep * task.target + take * other.target
        return LinearTask.from_target(mixed, other.input_covariance, other.label_noise, other.objective)


def _require_task(task: LinearTask) -> LinearTask:
    return require_kind("task", task, LinearTask)


def _indices(field: str, modes: Sequence[int], available: int) -> np.ndarray:
    allowed = f"distinct modes within 1..{available}"
    modes = listed(field, modes, f"a list of {allowed}")
    whole = all(type(mode) is int and 1 <= mode <= available for mode in modes)
    require(whole and len(set(modes)) == len(modes), field, modes, allowed)
    return np.asarray(modes, dtype=np.int64) - 1


def _turned(basis: Float[np.ndarray, "d d"], degrees: float) -> Float[np.ndarray, "d d"]:
    turned = basis.copy()
    paired = len(basis) // 2 * 2
    first, second = basis[:, 0:paired:2], basis[:, 1:paired:2]
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned[:, 0:paired:2] = cosine * first + sine * second
    turned[:, 1:paired:2] = cosine * second - sine * first
    return turned
