"""Numbers into a labelled Dataset: the contract of a sweep, and of a chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.dynamics.training import Finetuned
from linsim.labels import attrs_of, labelled
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.sweeping.axes import BUDGETS, SEEDS, Axes
from linsim.theory.inflection import locate, rounding_floor
from linsim.theory.prediction import Prediction


class Layout(NamedTuple):
    """A variable of a result: where its numbers stand and what they are."""

    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, str]


def layouts(axes: Axes, dtype: Any, predicted: bool) -> dict[str, Layout]:
    """All variables that chunks have a part of: name -> layout. Predictions are NaN where there are none."""
    lane, real, exact = axes.dims, np.dtype(dtype), np.dtype(np.float64)
    cell = lane[1:]
    checkpoint = (BUDGETS, *(lane[number] for number in axes.trajectory_dims))
    dims: dict[str, tuple[tuple[str, ...], np.dtype[Any]]] = {
        "pretrain_loss_before": (checkpoint, real),
        "pretrain_loss_after": (lane, real),
        "finetune_loss_after": (lane, real),
        "forgetting": (lane, real),
        "diverged": (lane, np.dtype(bool)),
        "inflection_steps": (cell, exact),
        "harm": (cell, exact),
        "predicted_inflection_steps": (cell, exact),
    }
    if predicted:
        dims |= {"predicted_harm": (cell, exact), "predicted_pretrain_loss_after": (lane, exact)}
    return {name: Layout(own, dtype, attrs_of(name)) for name, (own, dtype) in dims.items()}


def measured(
    problem: Problem, before: Float[np.ndarray, "budgets *cells"], finetuned: Finetuned, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """What is told of the lanes of a chunk, inflection points included, which need all budgets.

    Args:
      problem: whose budgets these are.
      before: pre-training loss of the checkpoint of every lane, broadcastable to `shape`.
      finetuned: where the lanes end.
      shape: budgets, swept fields, seeds.
    """
    after, on_finetune, diverged = (np.asarray(values).reshape(shape) for values in finetuned)
    inflection = locate(problem.budgets, after, diverged, floor=rounding_floor(problem, after.dtype))
    return {
        "pretrain_loss_after": after,
        "finetune_loss_after": on_finetune,
        "forgetting": after - before,
        "diverged": diverged,
        "inflection_steps": inflection.steps,
        "harm": inflection.harm,
    }


def foretold(prediction: Prediction) -> dict[str, np.ndarray]:
    """What the closed form says of a chunk."""
    return {
        "predicted_inflection_steps": prediction.steps,
        "predicted_harm": prediction.harm,
        "predicted_pretrain_loss_after": prediction.loss,
    }


def inputs(problem: Problem, axes: Axes) -> xr.Dataset:
    """All that a sweep was computed from, with its coordinates: what an outsider needs to compute it again."""
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
    swept = {axes.dims[number]: (field, values) for number, field, values in axes.fields()}
    return xr.Dataset(
        variables,
        coords={
            BUDGETS: labelled(BUDGETS, problem.budgets),
            **{name: xr.Variable(name, values, field.attrs(name)) for name, (field, values) in swept.items()},
            SEEDS: labelled(SEEDS, np.arange(problem.seeds)),
        },
    )


def describe(phase: Phase) -> dict[str, Any]:
    """A phase as JSON: numbers as they are, functions by name."""
    values = {field.name: getattr(phase, field.name) for field in fields(phase)}
    return {name: _name(value) if callable(value) else value for name, value in values.items()}


def _name(function: Any) -> str:
    """The name of an optimiser or schedule, with the settings that were fixed beforehand."""
    if isinstance(function, partial):
        fixed = ", ".join(
            [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        )
        return f"{_name(function.func)}({fixed})"
    return str(getattr(function, "__qualname__", type(function).__name__)).split(".<locals>")[0]
