"""A sweep of given budgets from start to end: missing chunks, put together, with all that they were made from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from linsim.dynamics.choosing import Choice, SolverName, choose
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.moving.trial import validate
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import DIVERGED
from linsim.errors import require
from linsim.labels import labelled
from linsim.losses import convention_of
from linsim.precision import Precision
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.compiled import keep_programs
from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.provenance import deciding, provenance
from linsim.sweeping.axes import Axes
from linsim.sweeping.checks.recheck import recheck
from linsim.sweeping.checks.rounding import rounding
from linsim.sweeping.checks.stability import stability
from linsim.sweeping.keeping import InMemory, Keeper, OnDisk, alone, kept_plan, require_joinable
from linsim.sweeping.lanes import usable_devices
from linsim.sweeping.plan import Box, Machine, Measured, Plan, cut
from linsim.sweeping.results import Layout, describe, in_own_units, inputs, inputs_of, layouts, objectives_of
from linsim.sweeping.running import current, free_memory
from linsim.sweeping.work import Work, source_of
from linsim.theory.prediction import Unpredictable
from linsim.theory.turns import rounding_floor


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is swept, and how: all that decides the numbers."""

    problem: Problem
    axes: Axes
    measuring: Measuring
    choice: Choice
    precision: Precision
    predicted: bool
    """Also in closed form; for the axes of a chart alone."""

    @classmethod
    def of(
        cls,
        problem: Problem,
        axes: Axes,
        measuring: Measuring,
        solver: SolverName | Solver,
        precision: Precision,
        predicted: bool = False,
    ) -> Sweep:
        """With its solver chosen; `InvalidInput` where none applies."""
        require(precision in ("float32", "float64"), "precision", precision, "float32 or float64")
        representative = axes.representative(problem)
        validate(representative)
        return cls(problem, axes, measuring, choose(representative, solver), precision, predicted)

    def at(self, budgets: np.ndarray) -> Sweep:
        """The same sweep at other budgets."""
        return replace(self, problem=replace(self.problem, budgets=budgets))

    def compute(self, report: Progress, *, joined: bool = False) -> xr.Dataset:
        """The dataset, but for what needs all budgets: the turns; `joined` where budgets are to be added."""
        keep_programs()
        problem, axes, dtype = self.problem, self.axes, np.dtype(self.precision)
        shape = axes.shape(problem)
        uncut = Plan(shape, shape, shape, 1)
        draft = Work(problem, axes, self.choice.solver, dtype, uncut, self.predicted, self.measuring)
        closed = draft.predictor
        shapes = draft.session.shapes(self.measuring)
        predicted = not isinstance(closed, Unpredictable)
        found = layouts(axes, dtype, predicted, self.measuring, shapes, inputs_of(problem))
        if joined:
            require_joinable(found, axes.dims, uncut)
        with _with_keeper(draft, found) as (work, keeper):
            _compute(work, keeper, report)
            given = inputs(problem, axes, self.measuring)
            dataset = given.coords.to_dataset().assign(keeper.dataset().data_vars).assign(given.data_vars)
        in_own_units(dataset, problem)
        known = stability(problem, axes, self.choice.solver, dataset)
        dataset["unstable"] = labelled("unstable", known.unstable, axes.dims)
        dataset.attrs |= {**_attributes(problem, self.choice, self.precision), "stability": known.words}
        dataset.attrs["stepped_by"] = json.dumps(draft.session.stepped_by)
        dataset.attrs["prediction"] = (
            f"none: {closed.reason}" if isinstance(closed, Unpredictable) else closed.curve.solver.summary
        )
        return dataset

    def checked(self, dataset: xr.Dataset, lanes: int) -> xr.Dataset:
        """The dataset with what samples of so many lanes say of it, in its attributes."""
        if not lanes:
            return dataset
        told: dict[str, Any] = {}
        for name, check in (
            (
                "recheck",
                recheck(dataset, self.problem, self.axes, self.measuring, self.choice.solver, self.precision, lanes),
            ),
            ("rounding", rounding(dataset, self.problem, self.axes, self.choice.solver, lanes)),
        ):
            told |= {f"{name}_{key}": value for key, value in check._asdict().items()}
            told[f"{name}_trusted"] = int(check.trusted)
        return dataset.assign_attrs(told)


def _bytes(draft: Work, found: Mapping[str, Layout]) -> Measured:
    """What the measures beside the losses take."""
    formed = draft.session.measuring_bytes(draft.measuring)
    sizes = {"checkpoint": 0, "tuned": 0, "along": 0}
    for measure in draft.measuring.own:
        layout = found[measure.name]
        sizes[measure.at] += math.prod(layout.own.values()) * layout.dtype.itemsize
    return Measured(formed, sizes["tuned"] + sizes["along"], sizes["checkpoint"])


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
        "stepped_by": draft.session.stepped_by,
        "source": source_of(draft.solver),
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
    transfer = problem.transfer
    phases = {"pretrain": describe(problem.pretrain), "finetune": describe(problem.finetune)}
    return {
        "rounding_floor": rounding_floor(problem.transfer.pretrain.zero_loss, np.dtype(precision)),
        "training": json.dumps(phases),
        "finetune_steps": problem.finetune_steps,
        "idealised_checkpoints": str(problem.idealised),
        "pretrain_label_noise": problem.transfer.pretrain.label_noise,
        "finetune_label_noise": problem.transfer.finetune.label_noise,
        "seed": problem.seed,
        "precision": precision,
        "solver": choice.solver.name,
        "solver_reason": choice.reason,
        "loss_convention": convention_of(task.objective for task in (transfer.pretrain, transfer.finetune)),
        **objectives_of(problem),
        "diverged_means": f"a final loss that is not finite, or above {DIVERGED:g} x the zero or the initial network's",
        "source": json.dumps(source_of(choice.solver)),
        **provenance(),
    }
