"""What a solver handles: the fields of phases, tasks and problems that it takes into account, by name.

Whatever a problem sets beside these is refused, never ignored; also what is added to the vocabulary later, here or in a
class of a user's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from inspect import getattr_static
from typing import Any, ClassVar, final

import jax.numpy as jnp
import numpy as np

from linsim.losses import matmul
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.tasks import LinearTask, Transfer

TASK = ("left", "strengths", "right", "input_covariance", "label_noise")
_TRANSFER = ("pretrain", "finetune")
_PROBLEM = ("transfer", "initial", "pretrain", "finetune", "budgets", "finetune_steps", "idealised", "seed")
_UNKNOWN = "{field} of {where} is set, which this solver does not know"
_OF_FIELDS = {"objective": "{where} has an objective of its own, and this solver knows squared error alone"}


@dataclass(frozen=True)
class Handles:
    """What a solver names.

    Example:
      >>> Handles(phase=("learning_rate",), because={"momentum": "{where} has a memory"})  # doctest: +ELLIPSIS
      Handles(phase=('learning_rate',), because={'momentum': '{where} has a memory'}, ...)
    """

    phase: tuple[str, ...]
    """Fields of `Phase`."""
    because: Mapping[str, str] = field(default_factory=dict)
    """Why a field is not among them, in words; `{where}` stands for the phase, task or problem that sets it."""
    task: tuple[str, ...] = TASK
    """Fields of `LinearTask`."""
    transfer: tuple[str, ...] = _TRANSFER
    """Fields of `Transfer`."""
    problem: tuple[str, ...] = _PROBLEM
    """Fields of `Problem`."""

    def refusal(self, problem: Problem) -> str | None:
        """In words, the first thing that a problem sets and that is not named here; None where there is none."""
        transfer = problem.transfer
        parts = (
            ("pre-training", problem.pretrain, Phase, self.phase),
            ("fine-tuning", problem.finetune, Phase, self.phase),
            ("the pre-training task", transfer.pretrain, LinearTask, self.task),
            ("the fine-tuning task", transfer.finetune, LinearTask, self.task),
            ("the transfer", transfer, Transfer, self.transfer),
            ("the problem", problem, Problem, self.problem),
        )
        for where, part, vocabulary, named in parts:
            for name in said(part, vocabulary):
                if name not in named:
                    return self.because.get(name, _OF_FIELDS.get(name, _UNKNOWN)).format(field=name, where=where)
        return None


class Solving:
    """What every solver shares: it refuses what it does not name, then numbers for which it is not exact."""

    handles: ClassVar[Handles]

    @final
    def refusal(self, problem: Problem) -> str | None:
        """What the problem sets that this solver does not name, or which assumption its numbers break, and by how much.

        None where the solver is exact.
        """
        return self.handles.refusal(problem) or self.misfit(problem)

    def strengths_of(self, state: Any, coordinates: Any, task: Any) -> Any:
        """u_i^T P v_i along the modes of the pre-training task, as a measure sees it."""
        product = self.end_to_end(state, coordinates)  # type: ignore[attr-defined]
        return jnp.sum(task.left * matmul(product, task.right), axis=0)

    def misfit(self, problem: Problem) -> str | None:
        """The assumption of this solver that the numbers of a problem break, with its size; None where it is exact."""
        return None


def said(part: Any, vocabulary: Any) -> Iterator[str]:
    """What a value says beyond the defaults of the vocabulary: fields that are set, methods of a class of its own."""
    known = {each.name: each for each in fields(vocabulary)}
    for each in fields(part):
        if not _is_default(getattr(part, each.name), known.get(each.name, each)):
            yield each.name
    for name, method in vars(vocabulary).items():
        if not name.startswith("__") and name not in known and getattr_static(type(part), name) is not method:
            yield name


def _is_default(value: Any, of: dataclasses.Field[Any]) -> bool:
    default: Any = of.default if of.default_factory is MISSING else of.default_factory()
    return value is default or (type(value) is type(default) and bool(np.array_equal(value, default)))
