"""Sweeps: axes -> lanes -> chunks -> a labelled Dataset with inflection points."""

from __future__ import annotations

import json
from typing import Literal

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.dynamics.choosing import SolverName, choose
from linsim.errors import require, require_axis
from linsim.lanes import Axes, LaneIndices, all_lanes, run_lanes
from linsim.losses import LOSS_CONVENTION
from linsim.phase import REGULARIZERS, Regularizer
from linsim.prediction import predict
from linsim.problem import Problem
from linsim.provenance import provenance
from linsim.results import add_prediction, describe, label
from linsim.training import DIVERGED, Finetuned, Progress, Session

Precision = Literal["float32", "float64"]

_RECHECKED = 64  # lanes of a float32 chart that are computed again in float64


def chart(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    regularizer: Regularizer = "product_penalty",
    *,
    solver: SolverName = "auto",
    precision: Precision = "float64",
    predicted: bool = True,
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
      predicted: also in closed form, where there is one; it takes a compilation of its own for every depth and width.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, learning_rate, regularization, seed); see the README for its variables.

    Raises:
      InvalidInput: values outside their domain, or a solver that does not apply.
    """
    learning_rates, strengths = np.asarray(learning_rates, np.float64), np.asarray(strengths, np.float64)
    require_axis("learning_rates", [float(rate) for rate in learning_rates], above=0)
    require_axis("strengths", [float(strength) for strength in strengths], at_least=0)
    require(regularizer in REGULARIZERS, "regularizer", regularizer, f"one of {', '.join(REGULARIZERS)}")
    problem.pretrain.validate("pretrain")
    problem.finetune.validate("finetune")
    axes = Axes(learning_rates, strengths, regularizer)
    with jax.enable_x64(True):
        choice = choose(problem.tuned(float(learning_rates[-1]), regularizer, float(strengths[-1])), solver)
        session = Session.open(problem, choice.solver, np.dtype(precision).type)
        lanes = all_lanes(session, axes)
        pretraining = int(problem.budgets[-1]) * problem.seeds
        total = pretraining + lanes.shape[1] * problem.finetune_steps
        checkpoints = session.pretrain(report and (lambda done, _: report(done, total)))
        finetuned = run_lanes(
            session, checkpoints, axes, lanes, report and (lambda done, _: report(pretraining + done, total))
        )
        dataset = label(problem, learning_rates, strengths, checkpoints, finetuned)
        if precision == "float32":
            dataset.attrs["float64_max_deviation"] = _recheck(session, axes, lanes, finetuned)
    if predicted:
        add_prediction(dataset, predict(problem, learning_rates, strengths, regularizer))
    phases = {"pretrain": describe(problem.pretrain), "finetune": describe(problem.finetune)}
    dataset.attrs |= {
        "regularizer": regularizer,
        "training": json.dumps(phases),
        "finetune_steps": problem.finetune_steps,
        "idealised_checkpoints": str(problem.idealised),
        "pretrain_label_noise": problem.transfer.pretrain.label_noise,
        "finetune_label_noise": problem.transfer.finetune.label_noise,
        "seed": problem.seed,
        "precision": precision,
        "solver": choice.solver.name,
        "solver_reason": choice.reason,
        "loss_convention": LOSS_CONVENTION,
        "diverged_means": f"a final loss that is not finite, or above {DIVERGED:g} x the zero or the initial network's",
        **provenance(),
    }
    return dataset


def _recheck(session: Session, axes: Axes, lanes: LaneIndices, finetuned: Finetuned) -> float:
    """Compute a random sample of lanes again in float64.

    Returns:
      The largest deviation of a loss, relative to `Session.scale`, of lanes that did not diverge.
    """
    problem, count = session.problem, lanes.shape[1]
    sample = np.random.default_rng(0).choice(count, min(_RECHECKED, count), replace=False)
    exact = Session.open(problem, session.solver, np.float64)
    again = run_lanes(exact, exact.pretrain(), axes, lanes[:, sample])
    kept = ~(again.diverged | finetuned.diverged[sample])
    errors = (np.abs(ours[sample] - theirs)[kept] for ours, theirs in zip(finetuned[:2], again[:2], strict=True))
    return max(float(np.max(error, initial=0.0)) for error in errors) / exact.scale
