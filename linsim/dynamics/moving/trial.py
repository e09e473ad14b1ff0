"""Whether a phase can move the weights of a problem: its parts are tried for two steps, on nothing but shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from optax.contrib import DifferentiallyPrivateAggregateState

from linsim.dynamics import descent
from linsim.dynamics.seen import SeenTask
from linsim.errors import InvalidInput, require
from linsim.phase import Phase
from linsim.problem import Problem

_Shapes = tuple[jax.ShapeDtypeStruct, ...]

_SCHEDULE = "a function of the step that gives one number"
_OPTIMIZER = "a function of the learning rate that gives an optax optimiser, which needs no more than the gradient"
_TERM = "a function of weights, checkpoint and both tasks that gives one real number"
_PARTS = {
    "moves": "parameters that make weights of the shapes of the network",
    "gradient_at": "a gradient of the shapes of what moves",
    "averaging": "an average of the shapes of what moves",
}


def validate(problem: Problem) -> None:
    """Raise `InvalidInput`, naming phase and field, unless the phases of a problem can move its weights."""
    validate_phase("pretrain", problem.pretrain, problem)
    validate_phase("finetune", problem.finetune, problem)


def validate_phase(name: str, phase: Phase, problem: Problem) -> None:
    """Raise `InvalidInput` naming `name`.field unless a phase can move the weights of a problem."""
    shapes = [weight.shape[1:] for weight in problem.initial]
    phase.validate(name)
    if phase.moves is not None:
        phase.moves.require_fits(f"{name}.moves", shapes)
    for dtype in (np.float32, np.float64):
        weights = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes)
        tasks = (SeenTask.of(task, dtype) for task in (problem.transfer.pretrain, problem.transfer.finetune))
        _try(name, phase.as_dtype(dtype), weights, *(tasks if phase.terms else ()))


def _try(name: str, phase: Phase, weights: _Shapes, *tasks: SeenTask) -> None:
    """All functions of a phase, each under the field that it is given as."""
    if (schedule := phase.schedule) is not None:
        told = _attempt(f"{name}.schedule", schedule, _SCHEDULE, schedule, jax.ShapeDtypeStruct((), np.int32))
        require(getattr(told, "shape", None) == (), f"{name}.schedule", _name(schedule), _SCHEDULE)
    for term in phase.terms:
        _attempt(f"{name}.{term.name}", term.of, _TERM, jax.grad(term.of), weights, weights, *tasks)
    part_by_part = replace(phase, moves=None, gradient_at=None, averaging=None)
    if phase.optimizer is not None:
        _take_steps(f"{name}.optimizer", phase.optimizer, _OPTIMIZER, part_by_part, weights)
    for part, allowed in _PARTS.items():
        if (value := getattr(phase, part)) is not None:
            part_by_part = replace(part_by_part, **{part: value})
            _take_steps(f"{name}.{part}", value, allowed, part_by_part, weights)


def _take_steps(field: str, value: Any, allowed: str, phase: Phase, weights: _Shapes) -> None:
    """Two steps along weights that are their own gradient."""

    def run(phase: Phase, weights: Any) -> Any:
        key = jax.random.key(0)
        begun = descent.begin(weights, phase, key)
        private = any(map(_is_private, jax.tree.leaves(begun.optimizer, is_leaf=_is_private)))
        require(not private, field, _name(value), f"{allowed}; this takes the gradients of single examples")
        return descent.follow(lambda at, _: at, begun, phase, 2, key).state

    reached = _attempt(field, value, allowed, run, phase, weights)
    alike = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (reached, weights))
    require(alike[0] == alike[1], field, _name(value), allowed)


def _attempt(field: str, value: Any, allowed: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        hash(value) if callable(value) else None
        return jax.eval_shape(function, *arguments)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a user's code raises
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InvalidInput(field, _name(value), f"{allowed}; this fails with {reason}") from error


def _is_private(state: Any) -> bool:
    """Of what takes the rows of a gradient for those of single examples, and fails at no shape of weights."""
    return isinstance(state, DifferentiallyPrivateAggregateState)


def _name(value: Any) -> Any:
    return getattr(value, "__qualname__", value)
