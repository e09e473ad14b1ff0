"""Numbers into a labelled Dataset: the contract of a sweep, and of a chart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from linsim.dynamics.measuring import Measuring
from linsim.dynamics.runs import Finetuned
from linsim.dynamics.seen import AFTER, BEFORE, FINETUNE_LOSS_AFTER
from linsim.errors import require
from linsim.labels import attrs_of, labelled
from linsim.measure import lengths_of
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.storage.fingerprint import fingerprint
from linsim.sweeping.axes import BUDGETS, SEEDS, Axes
from linsim.theory.prediction import Prediction

_TOLD = 1000  # numbers of an array; of examples, which are more, their type, shape and digest
FINETUNE_STEPS = "finetune_steps"
"""The axis of points along fine-tuning."""


TURNS = {
    "inflection_steps": "steps",
    "inflection_low": "low",
    "inflection_high": "high",
    "lowest_steps": "lowest",
    "harm": "harm",
    "excess": "excess",
    "resolved": "resolved",
}
"""Variables that tell the turns of the pre-training loss -> field of a turn; of the other loss after `finetune_`."""
TOLD_AFTERWARDS = {*TURNS, *(f"finetune_{name}" for name in TURNS), "predicted_inflection_steps", "unstable"}
"""Variables that no chunk has a part of, as they need all budgets or lanes."""


class Layout(NamedTuple):
    """A variable of a result: where its numbers stand and what they are."""

    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, str]
    own: Mapping[str, int] = MappingProxyType({})
    """Lengths of those dimensions that the sweep does not have: of one value, or the points along fine-tuning."""


def layouts(
    axes: Axes,
    dtype: Any,
    predicted: bool,
    measuring: Measuring,
    shapes: Mapping[str, Any],
    given: xr.Dataset,
) -> dict[str, Layout]:
    """All variables that chunks have a part of: name -> layout. Predictions are NaN where there are none.

    Args:
      axes: of the sweep.
      dtype: of losses.
      predicted: whether there is a closed form.
      measuring: what is measured.
      shapes: shape and type of one value of every measure, by name.
      given: the arrays of the problem, with which measures share a result.

    Raises:
      InvalidInput: a measure that is called like another variable or dimension, or whose dimension is called like a
        variable or one of the sweep, or has another length or other coordinates elsewhere.
    """
    lane, real, exact = axes.dims, np.dtype(dtype), np.dtype(np.float64)
    cell = lane[1:]
    checkpoint = (BUDGETS, *(lane[number] for number in axes.trajectory_dims))
    dims: dict[str, tuple[tuple[str, ...], np.dtype[Any]]] = {
        "diverged": (lane, np.dtype(bool)),
    }
    if predicted:
        dims |= {
            "predicted_lowest_steps": (cell, exact),
            "predicted_harm": (cell, exact),
            "predicted_excess": (cell, exact),
            "predicted_pretrain_loss_after": (lane, exact),
        }
    found = {name: Layout(own, dtype, attrs_of(name)) for name, (own, dtype) in dims.items()}
    places = {"checkpoint": checkpoint, "tuned": lane, "along": (*lane, FINETUNE_STEPS)}
    known = {**{str(dim): size for dim, size in given.sizes.items()}, FINETUNE_STEPS: len(measuring.points)}
    told, theirs = {*found, *TOLD_AFTERWARDS, *map(str, given.data_vars)}, {measure.name for measure in measuring.all}
    dims_of_measures = {dim for measure in measuring.all for dim in measure.dims}
    for measure in measuring.all:
        free = measure.name not in {*told, *lane, *known, *dims_of_measures}
        require(free, "measures", measure.name, "names that no other variable or dimension has")
        foreign = sorted({*measure.dims} & {*lane, FINETUNE_STEPS, *told, *theirs})
        allowed = "other dimensions than the sweep's, and no variables"
        require(not foreign, f"measure {measure.name}.dims", ", ".join(foreign), allowed)
    lengths = lengths_of(measuring.all, shapes, known)
    for measure in measuring.all:
        place = places[measure.at]
        own = {dim: lengths[dim] for dim in (*place[len(lane) :], *measure.dims)}
        kind = real if measure in {*BEFORE, *AFTER} else np.dtype(shapes[measure.name].dtype)
        found[measure.name] = Layout((*place, *measure.dims), kind, measure.attrs, own)
    return found


def measured(finetuned: Finetuned, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What is told of the lanes of a chunk.

    Args:
      finetuned: where the lanes end.
      shape: budgets, swept fields, seeds.
    """
    values = {**finetuned.measured, **finetuned.along, "diverged": finetuned.diverged}
    return {name: np.asarray(each).reshape(*shape, *np.shape(each)[1:]) for name, each in values.items()}


def foretold(prediction: Prediction) -> dict[str, np.ndarray]:
    """What the closed form says of a chunk."""
    return {
        "predicted_lowest_steps": prediction.lowest,
        "predicted_harm": prediction.harm,
        "predicted_excess": prediction.excess,
        "predicted_pretrain_loss_after": prediction.loss,
    }


def inputs(problem: Problem, axes: Axes, measuring: Measuring) -> xr.Dataset:
    """All that a sweep was computed from, with its coordinates: what an outsider needs to compute it again."""
    measured_at = {dim: xr.Variable(dim, values) for each in measuring.all for dim, values in each.coords.items()}
    if measuring.points:
        measured_at[FINETUNE_STEPS] = labelled(FINETUNE_STEPS, np.asarray(measuring.points))
    swept = {axes.dims[number]: (field, values) for number, field, values in axes.fields()}
    return inputs_of(problem).assign_coords(
        {
            BUDGETS: labelled(BUDGETS, problem.budgets),
            **{name: xr.Variable(name, values, field.attrs(name)) for name, (field, values) in swept.items()},
            **measured_at,
            SEEDS: labelled(SEEDS, np.arange(problem.seeds)),
        }
    )


def inputs_of(problem: Problem) -> xr.Dataset:
    """The arrays of a problem: both targets and covariances, and the initial weights of every seed."""
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    units = ["input", *(f"hidden_{layer}" for layer in range(1, problem.depth)), "output"]
    variables = {
        "pretrain_target": labelled("pretrain_target", pretrain.target),
        "finetune_target": labelled("finetune_target", finetune.target),
        "input_covariance": labelled("input_covariance", pretrain.input_covariance),
        "finetune_input_covariance": labelled("finetune_input_covariance", finetune.input_covariance),
    }
    for layer, weight in enumerate(problem.initial, start=1):
        name = f"initial_weights_{layer}"
        variables[name] = labelled(name, weight, (SEEDS, units[layer], units[layer - 1]))
    return xr.Dataset(variables)


def objectives_of(problem: Problem) -> dict[str, str]:
    """Objectives other than squared error as JSON, by the attribute that tells them."""
    told = {"pretrain": problem.transfer.pretrain.objective, "finetune": problem.transfer.finetune.objective}
    return {f"{name}_objective": json.dumps(_described(each)) for name, each in told.items() if each is not None}


def in_own_units(dataset: xr.Dataset, problem: Problem) -> None:
    """Put the units of other objectives than squared error to the losses that a sweep tells of itself."""
    for measure in (*BEFORE, *AFTER):
        task = problem.transfer.finetune if measure is FINETUNE_LOSS_AFTER else problem.transfer.pretrain
        if task.objective is not None:
            dataset[measure.name].attrs["units"] = task.objective.units


def describe(phase: Phase) -> dict[str, Any]:
    """A phase as JSON: numbers and arrays as they are, functions by name, parts with what they are."""
    return {field.name: _described(getattr(phase, field.name)) for field in fields(phase)}


def _described(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "is": type(value).__qualname__,
            **{each.name: _described(getattr(value, each.name)) for each in fields(value)},
        }
    if isinstance(value, tuple | list) and not _many(value):
        return [_described(each) for each in value]
    if isinstance(value, tuple | list | np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return array.tolist() if array.size <= _TOLD else fingerprint({"": array})[""]
    return _name(value) if callable(value) else value


def _many(values: tuple[Any, ...] | list[Any]) -> bool:
    """Whether these are numbers, or rows of them, too many to be told."""
    first = values[0] if values else ()
    row = len(first) if isinstance(first, tuple | list) else isinstance(first, float)
    return len(values) * row > _TOLD


def _name(function: Any) -> str:
    """The name of an optimiser or schedule, with the settings that were fixed beforehand."""
    if isinstance(function, partial):
        fixed = ", ".join(
            [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        )
        return f"{_name(function.func)}({fixed})"
    return str(getattr(function, "__qualname__", type(function).__name__)).split(".<locals>")[0]
