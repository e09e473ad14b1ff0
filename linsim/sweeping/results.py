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
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.sweeping.axes import BUDGETS, SEEDS, Axes
from linsim.theory.inflection import locate, rounding_floor
from linsim.theory.prediction import Prediction

_LOSS = {"units": "squared output"}


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
    inflection = {"long_name": "inflection point", "units": "pre-training steps"}
    harm = {"long_name": "loss at the largest budget / smallest loss - 1", "units": "1"}
    after = {"long_name": "pre-training loss after fine-tuning", **_LOSS}
    found = {
        "pretrain_loss_before": Layout(
            checkpoint, real, {"long_name": "pre-training loss before fine-tuning", **_LOSS}
        ),
        "pretrain_loss_after": Layout(lane, real, after),
        "finetune_loss_after": Layout(lane, real, {"long_name": "fine-tuning loss after fine-tuning", **_LOSS}),
        "forgetting": Layout(lane, real, {"long_name": "rise of the pre-training loss", **_LOSS}),
        "diverged": Layout(lane, np.dtype(bool), {"long_name": "fine-tuning diverged"}),
        "inflection_steps": Layout(cell, exact, inflection),
        "harm": Layout(cell, exact, harm),
        "predicted_inflection_steps": Layout(cell, exact, inflection),
    }
    if predicted:
        found["predicted_harm"] = Layout(cell, exact, harm)
        found["predicted_pretrain_loss_after"] = Layout(lane, exact, after)
    return found


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
    matrix, covariance = ("output", "input"), ("input", "input_")
    units = ["input", *(f"hidden_{layer}" for layer in range(1, problem.depth)), "output"]
    weights = {
        f"initial_weights_{layer}": (
            (SEEDS, units[layer], units[layer - 1]),
            weight,
            {"long_name": f"initial W_{layer}"},
        )
        for layer, weight in enumerate(problem.initial, start=1)
    }
    of_finetuning = {"long_name": "S of the fine-tuning task"}
    budgets = {"long_name": "pre-training budget", "units": "steps"}
    swept = {}
    for number, field, values in axes.fields():
        name = axes.dims[number]
        attrs = field.description
        if name == "regularization":
            attrs = {"long_name": "regularisation strength", "units": "1"}
        swept[name] = (name, values, attrs)
    return xr.Dataset(
        {
            "pretrain_target": (matrix, pretrain.target, {"long_name": "A of the pre-training task"}),
            "finetune_target": (matrix, finetune.target, {"long_name": "A of the fine-tuning task"}),
            "input_covariance": (covariance, pretrain.input_covariance, {"long_name": "S of the pre-training task"}),
            "finetune_input_covariance": (covariance, finetune.input_covariance, of_finetuning),
            **weights,
        },
        coords={
            BUDGETS: (BUDGETS, problem.budgets, budgets),
            **swept,
            SEEDS: (SEEDS, np.arange(problem.seeds), {"long_name": "seed of the initial weights"}),
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
