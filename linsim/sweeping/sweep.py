"""Sweeps: axes -> chunks -> lanes -> a labelled Dataset with inflection points."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.dynamics.choosing import Choice, SolverName, choose
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.moving.trial import validate
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import DIVERGED
from linsim.errors import require, require_integer
from linsim.labels import labelled
from linsim.losses import LOSS_CONVENTION
from linsim.measure import Measure
from linsim.phase import Regularizer
from linsim.precision import Precision, in_float64
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.provenance import deciding, provenance
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.recheck import LANES, recheck
from linsim.sweeping.checks.rounding import rounding
from linsim.sweeping.checks.stability import stability
from linsim.sweeping.keeping import InMemory, Keeper, OnDisk, alone, kept_plan
from linsim.sweeping.lanes import usable_devices
from linsim.sweeping.plan import Box, Machine, Measured, Plan, cut
from linsim.sweeping.results import Layout, describe, inputs, inputs_of, layouts
from linsim.sweeping.running import current, free_memory, reporting
from linsim.sweeping.work import Work
from linsim.theory.inflection import rounding_floor
from linsim.theory.prediction import Unpredictable


@in_float64
def sweep(
    problem: Problem,
    axes: Mapping[str, Iterable[float]],
    measures: Iterable[Measure] = (),
    *,
    finetune_points: Sequence[int] | None = None,
    solver: SolverName | Solver = "auto",
    precision: Precision = "float64",
    rechecked: int = LANES,
    progress: bool | None = None,
    report: Progress | None = None,
) -> xr.Dataset:
    """Pre-train and fine-tune for every combination of swept values, from every budget, for every seed.

    Args:
      problem: tasks, initial weights, phases and budgets; swept fields of its phases are replaced by the axes.
      axes: field -> increasing values. A number of fine-tuning goes by its own name (`learning_rate`, `momentum`,
        `product_penalty`, `weight_penalty`, `weight_decay`; the name of a term; `averaging_decay`, `averaging_start`,
        `sharpness_radius`, `sharpness_start`, `rank`, `rank_scale`), one of pre-training by that after `pretrain_`.
      measures: what is told beside the losses: each `linsim.measure.Measure` is a variable of its name, over
        (pretrain_steps, swept axes of pre-training, seed) at checkpoints, over all axes at fine-tuned lanes, and over
        finetune_steps too along fine-tuning; its own dimensions come last.
      finetune_points: steps of fine-tuning at which those along it are taken, see `linsim.dynamics.measuring`.
      solver: by name, see `linsim.dynamics.choosing`, or one of your own.
      precision: float32 halves the memory.
      rechecked: lanes of a random sample that is computed again, see `linsim.sweeping.checks.recheck`; 0 for none.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, the axes in their order, seed); see the README for its variables. Where it is
      kept, in how much memory it is computed and by whom, says `linsim.sweeping.running.running`.

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
    measuring = Measuring.of(measures, problem.finetune_steps, finetune_points)
    with reporting(progress, report) as told:
        dataset = _swept(problem, Axes.of(axes, problem), measuring, solver, precision, False, rechecked, told)
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
      rechecked: lanes of a random sample that is computed again, see `linsim.sweeping.checks.recheck`; 0 for none.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.
      report: called with (training steps done, training steps in all) as the computation goes on.

    Returns:
      A Dataset over (pretrain_steps, learning_rate, regularization, seed); see the README for its variables.

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
      array([[0.44, 0.  ],
             [0.28, 6.82]])
    """
    axes = Axes.of_chart(learning_rates, strengths, regularizer)
    measuring = Measuring.of(measures, problem.finetune_steps, finetune_points)
    with reporting(progress, report) as told:
        dataset = _swept(problem, axes, measuring, solver, precision, predicted, rechecked, told)
    return dataset.assign_attrs(regularizer=regularizer)


def _swept(
    problem: Problem,
    axes: Axes,
    measuring: Measuring,
    solver: SolverName | Solver,
    precision: Precision,
    predicted: bool,
    rechecked: int,
    report: Progress,
) -> xr.Dataset:
    require(precision in ("float32", "float64"), "precision", precision, "float32 or float64")
    require_integer("rechecked", rechecked, at_least=0)
    representative = axes.representative(problem)
    validate(representative)
    choice = choose(representative, solver)
    dtype = np.dtype(precision)
    draft = Work(problem, axes, choice.solver, dtype, _uncut(problem, axes), predicted, measuring)
    closed = draft.predictor
    shapes = draft.session.shapes(measuring)
    found = layouts(axes, dtype, not isinstance(closed, Unpredictable), measuring, shapes, inputs_of(problem))
    with _with_keeper(draft, found) as (work, keeper):
        _compute(work, keeper, report)
        given = inputs(problem, axes, measuring)
        dataset = given.coords.to_dataset().assign(keeper.dataset().data_vars).assign(given.data_vars)
    known = stability(problem, axes, choice.solver, dataset)
    dataset["unstable"] = labelled("unstable", known.unstable, axes.dims)
    dataset.attrs |= {**_attributes(problem, choice, precision), "stability": known.words}
    dataset.attrs["prediction"] = (
        f"none: {closed.reason}" if isinstance(closed, Unpredictable) else closed.solver.summary
    )
    if lanes := rechecked if current().recheck is None else current().recheck:
        checked = recheck(dataset, problem, axes, measuring, choice.solver, precision, lanes)
        dataset.attrs |= {f"recheck_{name}": value for name, value in checked._asdict().items()}
        dataset.attrs["recheck_trusted"] = int(checked.trusted)
        rounded = rounding(dataset, problem, axes, choice.solver, lanes)
        dataset.attrs |= {f"rounding_{name}": value for name, value in rounded._asdict().items()}
        dataset.attrs["rounding_trusted"] = int(rounded.trusted)
    return dataset


def _bytes(draft: Work, found: Mapping[str, Layout]) -> Measured:
    """What the measures beside the losses take."""
    formed = draft.session.measuring_bytes(draft.measuring)
    sizes = {"checkpoint": 0, "tuned": 0, "along": 0}
    for measure in draft.measuring.own:
        layout = found[measure.name]
        sizes[measure.at] += math.prod(layout.own.values()) * layout.dtype.itemsize
    return Measured(formed, sizes["tuned"] + sizes["along"], sizes["checkpoint"])


def _uncut(problem: Problem, axes: Axes) -> Plan:
    shape = axes.shape(problem)
    return Plan(shape, shape, shape, 1)


@contextmanager
def _with_keeper(draft: Work, found: Mapping[str, Layout]) -> Iterator[tuple[Work, Keeper]]:
    """The work with its cuts, and where its chunks go: cut as before where some are kept from before."""
    running, axes = current(), draft.axes
    devices = usable_devices(draft.session)

    def fresh() -> Plan:
        machine = Machine(running.memory or free_memory(devices), len(devices), devices[0].platform != "cpu")
        size = draft.session.state_bytes
        return cut(axes.shape(draft.problem), axes.trajectory_dims, size, machine, _bytes(draft, found))

    if running.keep is None:
        work = draft.cut(fresh())
        yield work, InMemory(found, axes.dims, work.plan)
        return
    named = {
        "problem": draft.problem,
        "axes": axes.values,
        "measures": draft.measuring.identity(),
        "dims": list(axes.dims),
        "solver": f"{draft.solver.name} of {type(draft.solver).__module__}",
        "precision": draft.dtype.name,
        "variables": list(found),
        "memory": running.memory,
        **deciding(),
    }
    folder = running.keep / digest(fingerprint(named))
    with alone(folder):
        work = draft.cut(kept_plan(folder, axes.shape(draft.problem)) or fresh())
        yield work, OnDisk(folder, found, axes.dims, work.plan)


def _compute(work: Work, keeper: Keeper, report: Progress) -> None:
    """Every chunk that is not finished yet."""
    boxes = work.plan.boxes()
    missing = [box for box in boxes if not keeper.finished(box)]
    pretraining = len({work.plan.block_of(box) for box in missing}) * work.pretraining_steps
    total = pretraining + sum(map(work.finetuning_steps, boxes))
    done = total - pretraining - sum(map(work.finetuning_steps, missing))
    watcher, lanes, finished = current().watcher, 0, len(boxes) - len(missing)
    blocks: set[Box] = set()

    def told(steps: int, _: int) -> None:
        report(min(done + steps, total), total)

    if watcher is not None:
        watcher(finished, len(boxes), 0)
    told(0, total)
    for box, values in current().hands.compute(work, missing, told):
        keeper.keep(box, values)
        block = work.plan.block_of(box)
        done += work.finetuning_steps(box) + (0 if block in blocks else work.pretraining_steps)
        blocks.add(block)
        finished, lanes = finished + 1, lanes + math.prod(box.shape)
        told(0, total)
        if watcher is not None:
            watcher(finished, len(boxes), lanes)


def _attributes(problem: Problem, choice: Choice, precision: Precision) -> dict[str, Any]:
    phases = {"pretrain": describe(problem.pretrain), "finetune": describe(problem.finetune)}
    return {
        "rounding_floor": rounding_floor(problem, np.dtype(precision)),
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
