"""Numbers into a labelled Dataset: the contract of a chart."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.inflection import locate, rounding_floor
from linsim.phase import Phase
from linsim.prediction import Prediction, Unpredictable
from linsim.problem import Problem
from linsim.training import Checkpoints, Finetuned

LANE_AXES = ("pretrain_steps", "learning_rate", "regularization", "seed")
_CELL_AXES = LANE_AXES[1:]


def label(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    checkpoints: Checkpoints,
    finetuned: Finetuned,
) -> xr.Dataset:
    """The contract of a chart: named axes, losses, inflection points and all that they were computed from."""
    shape = len(problem.budgets), len(learning_rates), len(strengths), problem.seeds
    before = np.asarray(checkpoints.losses)
    after, on_finetune, diverged = (np.asarray(values).reshape(shape) for values in finetuned)
    floor = rounding_floor(problem, after.dtype)
    inflection = locate(problem.budgets, after, diverged, floor=floor)
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    matrix, covariance = ("output", "input"), ("input", "input_")
    units = ["input", *(f"hidden_{layer}" for layer in range(1, problem.depth)), "output"]
    weights = {
        f"initial_weights_{layer}": (
            ("seed", units[layer], units[layer - 1]),
            weight,
            {"long_name": f"initial W_{layer}"},
        )
        for layer, weight in enumerate(problem.initial, start=1)
    }
    loss = {"units": "squared output"}
    return xr.Dataset(
        {
            "pretrain_loss_before": (
                LANE_AXES[::3],
                before,
                {"long_name": "pre-training loss before fine-tuning", **loss},
            ),
            "pretrain_loss_after": (LANE_AXES, after, {"long_name": "pre-training loss after fine-tuning", **loss}),
            "finetune_loss_after": (
                LANE_AXES,
                on_finetune,
                {"long_name": "fine-tuning loss after fine-tuning", **loss},
            ),
            "forgetting": (
                LANE_AXES,
                after - before[:, None, None, :],
                {"long_name": "rise of the pre-training loss", **loss},
            ),
            "diverged": (LANE_AXES, diverged, {"long_name": "fine-tuning diverged"}),
            "inflection_steps": (
                _CELL_AXES,
                inflection.steps,
                {"long_name": "inflection point", "units": "pre-training steps"},
            ),
            "harm": (
                _CELL_AXES,
                inflection.harm,
                {"long_name": "loss at the largest budget / smallest loss - 1", "units": "1"},
            ),
            "pretrain_target": (matrix, pretrain.target, {"long_name": "A of the pre-training task"}),
            "finetune_target": (matrix, finetune.target, {"long_name": "A of the fine-tuning task"}),
            "input_covariance": (covariance, pretrain.input_covariance, {"long_name": "S of the pre-training task"}),
            "finetune_input_covariance": (
                covariance,
                finetune.input_covariance,
                {"long_name": "S of the fine-tuning task"},
            ),
            **weights,
        },
        coords={
            "pretrain_steps": (
                "pretrain_steps",
                problem.budgets,
                {"long_name": "pre-training budget", "units": "steps"},
            ),
            "learning_rate": (
                "learning_rate",
                learning_rates,
                {"long_name": "fine-tuning learning rate", "units": "flow time per step"},
            ),
            "regularization": ("regularization", strengths, {"long_name": "regularisation strength", "units": "1"}),
            "seed": ("seed", np.arange(problem.seeds), {"long_name": "seed of the initial weights"}),
        },
        attrs={"rounding_floor": floor},
    )


def add_prediction(dataset: xr.Dataset, prediction: Prediction | Unpredictable) -> None:
    """Predicted curves, inflection points and harm; NaN and the reason where the closed form does not apply."""
    if isinstance(prediction, Unpredictable):
        steps = np.full(dataset["harm"].shape, np.nan)
        dataset["predicted_inflection_steps"] = (_CELL_AXES, steps, dict(dataset["inflection_steps"].attrs))
        dataset.attrs["prediction"] = f"none: {prediction.reason}"
        return
    dataset.attrs["prediction"] = prediction.method
    for name, axes, values in (
        ("inflection_steps", _CELL_AXES, prediction.steps),
        ("harm", _CELL_AXES, prediction.harm),
        ("pretrain_loss_after", LANE_AXES, prediction.loss),
    ):
        dataset[f"predicted_{name}"] = (axes, values, dict(dataset[name].attrs))


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
