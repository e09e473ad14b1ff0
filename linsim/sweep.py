"""Sweeps: axes -> lanes -> chunks -> a labelled Dataset with inflection points."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from linsim.dynamics.choosing import SolverName, choose
from linsim.errors import require, require_axis
from linsim.inflection import Prediction, locate, predict
from linsim.losses import LOSS_CONVENTION
from linsim.phase import REGULARIZERS, Phase, Regularizer
from linsim.problem import Problem
from linsim.provenance import provenance
from linsim.training import DIVERGED, Checkpoints, Finetuned, Lanes, Progress, Session

Precision = Literal["float32", "float64"]

_CHUNK_BYTES = 4 << 20  # state of the lanes that step together: about what the caches of a core pair hold
_RECHECKED = 64  # lanes of a float32 chart that are computed again in float64

LANE_AXES = ("pretrain_steps", "learning_rate", "regularization", "seed")
_CELL_AXES = LANE_AXES[1:]


def chart(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    regularizer: Regularizer = "product_penalty",
    *,
    solver: SolverName = "auto",
    precision: Precision = "float64",
    report: Progress | None = None,
) -> xr.Dataset:
    """Pre-train once, fine-tune from every budget at every (rate, strength, seed), and find the inflection points.

    Args:
      problem: tasks, initial weights, phases and budgets; the fine-tuning phase's rate is replaced by the axis.
      learning_rates: fine-tuning rates, increasing, > 0.
      strengths: strengths of the regulariser, increasing, >= 0.
      regularizer: which regulariser of the fine-tuning phase the strengths are for.
      solver: see `linsim.dynamics.choosing`.
      precision: float32 halves the memory; a sample of its lanes is then computed again in float64, and the largest
        deviation stored as the attribute `float64_max_deviation`.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, learning_rate, regularization, seed); see the README for its variables.

    Raises:
      InvalidInput: values outside their domain, or a solver that does not apply.
    """
    require_axis("learning_rates", [float(rate) for rate in learning_rates], above=0)
    require_axis("strengths", [float(strength) for strength in strengths], at_least=0)
    require(regularizer in REGULARIZERS, "regularizer", regularizer, f"one of {', '.join(REGULARIZERS)}")
    problem.pretrain.validate("pretrain")
    problem.finetune.validate("finetune")
    with jax.enable_x64(True):
        choice = choose(problem, solver)
        session = Session.open(problem, choice.solver, np.dtype(precision).type)
        axes = (len(problem.budgets), len(learning_rates), len(strengths), problem.seeds)
        indices = np.stack(np.unravel_index(np.arange(np.prod(axes)), axes))
        chunk = _chunk_size(session, indices.shape[1])
        before = int(problem.budgets[-1]) * problem.seeds
        total = before + indices.shape[1] * problem.finetune_steps
        checkpoints = session.pretrain(None if report is None else lambda done, _: report(done, total))

        def run(lanes: np.ndarray, session: Session, checkpoints: Checkpoints, watched: bool = False) -> Finetuned:
            starts = range(0, lanes.shape[1], chunk)
            pieces = []
            for first in starts:
                part = lanes[:, first : first + chunk]
                pieces.append(_run_chunk(session, checkpoints, part, chunk, learning_rates, strengths, regularizer))
                if watched and report is not None:
                    report(before + (first + part.shape[1]) * problem.finetune_steps, total)
            return Finetuned(*(np.concatenate(part) for part in zip(*pieces, strict=True)))

        finetuned = run(indices, session, checkpoints, watched=True)
        dataset = _dataset(problem, learning_rates, strengths, checkpoints, finetuned, axes)
        if precision == "float32":
            sample = indices[:, np.random.default_rng(0).choice(indices.shape[1], min(_RECHECKED, indices.shape[1]), False)]
            exact = Session.open(problem, choice.solver, np.float64)
            again = run(sample, exact, exact.pretrain())
            dataset.attrs["float64_max_deviation"] = _deviation(problem, dataset, sample, again)
    _add_prediction(dataset, predict(problem, learning_rates, strengths, regularizer))
    dataset.attrs |= {
        "regularizer": regularizer,
        "training": json.dumps({"pretrain": _describe(problem.pretrain), "finetune": _describe(problem.finetune)}),
        "finetune_steps": problem.finetune_steps,
        "idealised_checkpoints": str(problem.idealised),
        "precision": precision,
        "solver": choice.solver.name,
        "solver_reason": choice.reason,
        "loss_convention": LOSS_CONVENTION,
        "diverged_means": f"a final loss that is not finite or above {DIVERGED:g} x the loss of the zero network",
        **provenance(),
    }
    return dataset


def _chunk_size(session: Session, lanes: int) -> int:
    """Lanes that step together: a multiple of the device count, and of equal size so that padding wastes little."""
    leaves = jax.tree.leaves(session.encoded.initial)
    lane_bytes = sum(leaf.nbytes for leaf in leaves) // session.problem.seeds
    chunks = -(-lanes * lane_bytes // _CHUNK_BYTES)
    devices = len(jax.devices())
    return -(-lanes // (chunks * devices)) * devices


def _run_chunk(
    session: Session,
    checkpoints: Checkpoints,
    indices: np.ndarray,
    chunk: int,
    learning_rates: np.ndarray,
    strengths: np.ndarray,
    regularizer: Regularizer,
) -> Finetuned:
    """Run some lanes, padded to the size of a chunk so that every chunk is the same program."""
    used = indices.shape[1]
    budget, rate, strength, seed = np.pad(indices, ((0, 0), (0, chunk - used)), mode="edge")
    swept = learning_rates[rate].astype(session.dtype), strengths[strength].astype(session.dtype)
    lanes = Lanes(budget.astype(np.int32), seed.astype(np.int32), *swept)
    over_devices = NamedSharding(Mesh(np.asarray(jax.devices()), ("lanes",)), PartitionSpec("lanes"))
    lanes = jax.tree.map(lambda values: jax.device_put(values, over_devices), lanes)
    result = session.finetune(checkpoints, regularizer, lanes)
    return jax.tree.map(lambda values: np.asarray(values)[:used], result)


def _dataset(
    problem: Problem,
    learning_rates: np.ndarray,
    strengths: np.ndarray,
    checkpoints: Checkpoints,
    finetuned: Finetuned,
    axes: tuple[int, ...],
) -> xr.Dataset:
    before = np.asarray(checkpoints.losses)
    after, on_finetune, diverged = (np.asarray(values).reshape(axes) for values in finetuned)
    inflection = locate(problem.budgets, after, diverged)
    pretrain, finetune = problem.transfer.pretrain, problem.transfer.finetune
    matrix, covariance = ("output", "input"), ("input", "input_")
    units = ["input", *(f"hidden_{layer}" for layer in range(1, problem.depth)), "output"]
    weights = {
        f"initial_weights_{layer}": (("seed", units[layer], units[layer - 1]), weight, {"long_name": f"initial W_{layer}"})
        for layer, weight in enumerate(problem.initial, start=1)
    }
    loss = {"units": "squared output"}
    return xr.Dataset(
        {
            "pretrain_loss_before": (LANE_AXES[::3], before, {"long_name": "pre-training loss before fine-tuning", **loss}),
            "pretrain_loss_after": (LANE_AXES, after, {"long_name": "pre-training loss after fine-tuning", **loss}),
            "finetune_loss_after": (LANE_AXES, on_finetune, {"long_name": "fine-tuning loss after fine-tuning", **loss}),
            "forgetting": (LANE_AXES, after - before[:, None, None, :], {"long_name": "rise of the pre-training loss", **loss}),
            "diverged": (LANE_AXES, diverged, {"long_name": "fine-tuning diverged"}),
            "inflection_steps": (_CELL_AXES, inflection.steps, {"long_name": "inflection point", "units": "pre-training steps"}),
            "harm": (_CELL_AXES, inflection.harm, {"long_name": "loss at the largest budget / smallest loss - 1", "units": "1"}),
            "pretrain_target": (matrix, pretrain.target, {"long_name": "A of the pre-training task"}),
            "finetune_target": (matrix, finetune.target, {"long_name": "A of the fine-tuning task"}),
            "input_covariance": (covariance, pretrain.input_covariance, {"long_name": "S of the pre-training task"}),
            "finetune_input_covariance": (covariance, finetune.input_covariance, {"long_name": "S of the fine-tuning task"}),
            **weights,
        },
        coords={
            "pretrain_steps": ("pretrain_steps", problem.budgets, {"long_name": "pre-training budget", "units": "steps"}),
            "learning_rate": ("learning_rate", learning_rates, {"long_name": "fine-tuning learning rate", "units": "flow time per step"}),
            "regularization": ("regularization", strengths, {"long_name": "regularisation strength", "units": "1"}),
            "seed": ("seed", np.arange(problem.seeds), {"long_name": "seed of the initial weights"}),
        },
    )


def _add_prediction(dataset: xr.Dataset, prediction: Any) -> None:
    """Predicted curves, inflection points and harm; NaN and the reason where the closed form does not apply."""
    applies = isinstance(prediction, Prediction)
    cells = [dataset.sizes[axis] for axis in _CELL_AXES]
    steps = prediction.steps if applies else np.full(cells, np.nan)
    dataset["predicted_inflection_steps"] = (_CELL_AXES, steps, dict(dataset["inflection_steps"].attrs))
    dataset.attrs["prediction"] = "closed form of two aligned balanced layers" if applies else f"none: {prediction.reason}"
    if applies:
        dataset["predicted_harm"] = (_CELL_AXES, prediction.harm, dict(dataset["harm"].attrs))
        dataset["predicted_pretrain_loss_after"] = (LANE_AXES, prediction.loss, dict(dataset["pretrain_loss_after"].attrs))


def _deviation(problem: Problem, dataset: xr.Dataset, sample: np.ndarray, again: Finetuned) -> float:
    """Largest deviation of sampled losses, relative to the loss of the zero network; diverged lanes left out."""
    scales = problem.transfer.pretrain.zero_loss, problem.transfer.finetune.zero_loss
    kept = ~(np.asarray(again.diverged) | dataset["diverged"].values[tuple(sample)])
    deviations = [0.0]
    for name, exact, scale in zip(("pretrain_loss_after", "finetune_loss_after"), again[:2], scales, strict=True):
        error = np.abs(dataset[name].values[tuple(sample)] - np.asarray(exact))[kept]
        deviations.append(float(np.max(error, initial=0.0)) / scale)
    return max(deviations)


def _describe(phase: Phase) -> dict[str, Any]:
    """A phase as JSON: numbers as they are, functions by name."""
    values = {field.name: getattr(phase, field.name) for field in fields(phase)}
    return {name: getattr(value, "__qualname__", None) or repr(value) if callable(value) else value for name, value in values.items()}
