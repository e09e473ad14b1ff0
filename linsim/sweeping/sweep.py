"""Sweeps: axes -> chunks -> lanes -> a labelled Dataset with inflection points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.dynamics.choosing import SolverName
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.solver import Solver
from linsim.errors import require_choice, require_integer, require_kind
from linsim.measure import Measure
from linsim.phase import Regularizer
from linsim.precision import Precision, in_float64
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.computing import Sweep
from linsim.sweeping.refining import Parts, refined, rough, with_turns
from linsim.sweeping.running import current, reporting
from linsim.theory.turns import LEAST_EXCESS, LEAST_HARM, TOLERANCE, Criteria


@in_float64
def sweep(
    problem: Problem,
    axes: Mapping[str, Iterable[float]],
    measures: Iterable[Measure] = (),
    *,
    finetune_points: Sequence[int] | None = None,
    solver: SolverName | Solver = "auto",
    precision: Precision = "float64",
    tolerance: float | None = None,
    least_harm: float = LEAST_HARM,
    least_excess: float = LEAST_EXCESS,
    rechecked: int = LANES,
    progress: bool | None = None,
    report: Progress | None = None,
) -> xr.Dataset:
    """Pre-train and fine-tune for every combination of swept values, from every budget, for every seed.

    Args:
      problem: tasks, initial weights, phases and budgets; swept fields of its phases are replaced by the axes.
      axes: field -> increasing values. A number of fine-tuning goes by its own name (`learning_rate`, `momentum`,
        `product_penalty`, `weight_penalty`, `weight_decay`; the name of a term; `averaging_decay`, `averaging_start`,
        `sharpness_radius`, `sharpness_start`, `dropout`, `weight_noise`, `layer_ratio`, `rank`, `rank_scale`), one of
        pre-training by that after `pretrain_`.
      measures: what is told beside the losses: each `linsim.measure.Measure` is a variable of its name, over
        (pretrain_steps, swept axes of pre-training, seed) at checkpoints, over all axes at fine-tuned lanes, and over
        finetune_steps too along fine-tuning; its own dimensions come last.
      finetune_points: steps of fine-tuning at which those along it are taken, see `linsim.dynamics.measuring`.
      solver: by name, see `linsim.dynamics.choosing`, or one of your own.
      precision: float32 halves the memory.
      tolerance: relative error that harm may have: budgets are added where curves turn until the turns are resolved,
        see `linsim.sweeping.refining`; None, as here, tells turns of the problem's budgets alone.
      least_harm: harm up to which a curve does not turn.
      least_excess: the same of harm done, in units of the loss of the zero network.
      rechecked: lanes of a random sample that is computed again, see `linsim.sweeping.checks.recheck`; 0 for none,
        whatever `running` says.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, the axes in their order, seed); see `docs/how-to/results.md`. NaN is where nothing
      turns, and what is not known: losses of lanes that diverged are NaN, infinite or large. Where the result is kept,
      in how much memory it is computed and by whom, says `linsim.sweeping.running.running`.

    Raises:
      InvalidInput: a field that cannot be swept, values outside their domain, a solver that does not apply, a measure
        that fails, is not of its dims, not finite where nothing diverged, or asks for what the solver cannot give.
      RunFailed: the disk is full; finished chunks are kept.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> start = ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)])
      >>> problem = ls.Problem(
      ...     transfer, start, ls.Phase(0.02), ls.Phase(0.01), budgets=np.array([10, 40, 160]), finetune_steps=50
      ... )
      >>> result = ls.sweep(problem, {"learning_rate": [0.001, 0.01], "momentum": [0.0, 0.5]})
      >>> dict(result["harm"].sizes)
      {'learning_rate': 2, 'momentum': 2, 'seed': 1}
      >>> result["harm"].sel(momentum=0.0, seed=0).values.round(2)
      array([0.44, 0.28])
    """
    require_kind("problem", problem, Problem)
    require_choice("precision", precision, get_args(Precision))
    measuring = Measuring.of(measures, problem.finetune_steps, finetune_points)
    criteria = Criteria(TOLERANCE if tolerance is None else tolerance, least_harm, least_excess)
    with reporting(progress, report) as told:
        swept = Sweep.of(problem, Axes.of(axes, problem), measuring, solver, precision)
        dataset = _told(swept, tolerance is not None, criteria, rechecked, told)
    return dataset.assign_attrs(prediction="none: predicted are the axes of a chart")


@in_float64
def chart(
    problem: Problem,
    learning_rates: Float[np.ndarray, " rates"],
    strengths: Float[np.ndarray, " strengths"],
    regularizer: Regularizer = "product_penalty",
    measures: Iterable[Measure] = (),
    *,
    finetune_points: Sequence[int] | None = None,
    solver: SolverName | Solver = "auto",
    precision: Precision = "float64",
    predicted: bool = True,
    tolerance: float | None = TOLERANCE,
    least_harm: float = LEAST_HARM,
    least_excess: float = LEAST_EXCESS,
    rechecked: int = LANES,
    progress: bool | None = None,
    report: Progress | None = None,
) -> xr.Dataset:
    """Pre-train once, fine-tune from every budget at every (rate, strength, seed), and find the inflection points.

    The `sweep` over fine-tuning rate and regularisation, with the closed form beside it.

    Args:
      problem: tasks, initial weights, phases and budgets; the fine-tuning phase's rate is replaced by the axis.
      learning_rates: fine-tuning rates, increasing, > 0.
      strengths: strengths of the regulariser, increasing, >= 0.
      regularizer: which regulariser of the fine-tuning phase the strengths are for.
      measures: as in `sweep`.
      finetune_points: as in `sweep`.
      solver: by name, see `linsim.dynamics.choosing`, or one of your own.
      precision: float32 halves the memory.
      predicted: also in closed form, where there is one; it takes a compilation of its own for every depth and width.
      tolerance: relative error that harm may have: budgets are added where curves turn until the turns are resolved,
        see `linsim.sweeping.refining`; None tells turns of the problem's budgets alone.
      least_harm: harm up to which a curve does not turn.
      least_excess: the same of harm done, in units of the loss of the zero network.
      rechecked: lanes of a random sample that is computed again, see `linsim.sweeping.checks.recheck`; 0 for none,
        whatever `running` says.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, learning_rate, regularization, seed), NaN and infinite as that of `sweep`; see
      `docs/how-to/results.md`.

    Raises:
      InvalidInput: as `sweep`.
      RunFailed: the disk is full; finished chunks are kept.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> start = ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)])
      >>> problem = ls.Problem(
      ...     transfer, start, ls.Phase(0.02), ls.Phase(0.01), budgets=np.array([10, 40, 160]), finetune_steps=50
      ... )
      >>> result = ls.chart(problem, learning_rates=np.array([0.001, 0.01]), strengths=np.array([0.0, 4.0]))
      >>> result["harm"].sel(seed=0).values.round(2)
      array([[ 4.54,  2.25],
             [ 0.28, 17.91]])
    """
    require_kind("predicted", predicted, bool)
    axes = Axes.of_chart(learning_rates, strengths, regularizer)
    require_kind("problem", problem, Problem)
    require_choice("precision", precision, get_args(Precision))
    measuring = Measuring.of(measures, problem.finetune_steps, finetune_points)
    criteria = Criteria(TOLERANCE if tolerance is None else tolerance, least_harm, least_excess)
    with reporting(progress, report) as told:
        swept = Sweep.of(problem, axes, measuring, solver, precision, predicted)
        dataset = _told(swept, tolerance is not None, criteria, rechecked, told)
    return dataset.assign_attrs(regularizer=regularizer)


def _told(sweep: Sweep, refining: bool, criteria: Criteria, rechecked: int, report: Progress) -> xr.Dataset:
    """The sweep at its budgets and those that resolving its turns takes, its turns, and what the samples say."""
    require_integer("rechecked", rechecked, at_least=0)
    criteria.validate()
    parts = Parts(report)
    refining &= current().refining
    dataset = sweep.compute(parts.next(), joined=refining and not rough(sweep.problem))
    if refining:
        sweep, dataset = refined(sweep, dataset, criteria, parts)
    dataset = with_turns(dataset, sweep.problem, criteria)
    asked = current().recheck
    lanes = rechecked if asked is None or rechecked == 0 else asked
    return sweep.checked(dataset, -(-lanes // current().parts))
