"""One chunk of a sweep from start to end, by whichever process is handed it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from linsim.dynamics.measuring import USUAL, Measuring
from linsim.dynamics.runs import Checkpoints
from linsim.dynamics.seen import PRETRAIN_LOSS_BEFORE
from linsim.dynamics.solver import Solver
from linsim.dynamics.training import DIVERGED, Session
from linsim.errors import InvalidInput, require
from linsim.precision import computing_in
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.storage.compiled import keep_programs
from linsim.storage.sources import sources
from linsim.sweeping.axes import Axes
from linsim.sweeping.lanes import all_lanes, pretrain_block, run_lanes
from linsim.sweeping.plan import Box, Plan
from linsim.sweeping.results import foretold, measured
from linsim.theory.prediction import Predictor, Unpredictable


@dataclass(frozen=True, eq=False)
class Work:
    """A sweep, ready to be computed chunk by chunk; what chunks share is computed once a process."""

    problem: Problem
    axes: Axes
    solver: Solver
    dtype: Any
    plan: Plan
    predicted: bool
    """Also in closed form; for the axes of a chart alone."""
    measuring: Measuring = USUAL

    def run(self, box: Box, report: Progress | None = None) -> dict[str, np.ndarray]:
        """All variables of a chunk, each on the dimensions of its layout.

        Args:
          box: which chunk.
          report: called with (training steps done, training steps in all) of this chunk, pre-training included where
            it has not been done for the chunk before.
        """
        keep_programs()  # also where another process computes
        block = self.plan.block_of(box)
        ahead = 0 if block in self._checkpoints else self.pretraining_steps
        total = ahead + self.finetuning_steps(box)
        with computing_in("float64"):
            checkpoints = self.checkpoints(block, report and (lambda done, _: report(done, total)))
            told = report and (lambda done, _: report(ahead + done, total))
            lanes = all_lanes(box)
            finetuned = run_lanes(self.session, self.axes, self.plan, block, checkpoints, lanes, told, self.measuring)
        before = {name: self._part(values, block, box) for name, values in checkpoints.measured.items()}
        values = before | measured(finetuned, box.shape)
        self._require_finite(values, box)
        return values | self._foretold(box)

    @cached_property
    def session(self) -> Session:
        """The problem in the coordinates of the solver."""
        with computing_in("float64"):
            return Session.open(self.problem, self.solver, np.dtype(self.dtype).type)

    @cached_property
    def predictor(self) -> Predictor | Unpredictable:
        """The closed form, or why there is none."""
        if not self.predicted:
            return Unpredictable("it was not asked for")
        (_, _, rates), (_, regularizer, strengths) = self.axes.fields()
        return Predictor.open(self.problem, float(rates[-1]), regularizer.name, float(strengths[-1]))  # type: ignore[arg-type]

    def cut(self, plan: Plan) -> Work:
        """The same work with other cuts; what was computed of the problem goes along."""
        other = replace(self, plan=plan)
        other.__dict__.update({name: self.__dict__[name] for name in ("session", "predictor") if name in self.__dict__})
        return other

    def checkpoints(self, block: Box, report: Progress | None) -> Checkpoints:
        """Of a block; those of the last one are kept, as its chunks come one after another."""
        if block not in self._checkpoints:
            self._checkpoints.clear()
            self._checkpoints[block] = pretrain_block(self.session, self.axes, self.plan, block, report, self.measuring)
        return self._checkpoints[block]

    @cached_property
    def _checkpoints(self) -> dict[Box, Checkpoints]:
        return {}

    @property
    def pretraining_steps(self) -> int:
        """Of a block, padding included."""
        trajectories = math.prod(self.plan.block[dim] for dim in self.axes.trajectory_dims)
        return int(self.problem.budgets[-1]) * trajectories

    def finetuning_steps(self, box: Box) -> int:
        """Of a chunk."""
        return math.prod(box.shape) * self.problem.finetune_steps

    def _part(self, values: Any, block: Box, box: Box) -> np.ndarray:
        """Of what a block's trajectories have at every budget, that of a chunk."""
        found, dims = np.asarray(values), self.axes.trajectory_dims
        lengths = tuple(block.shape[dim] for dim in dims)
        within = found[:, : math.prod(lengths)].reshape(len(found), *lengths, *found.shape[2:])
        part = (slice(box.start[dim] - block.start[dim], box.stop[dim] - block.start[dim]) for dim in dims)
        return within[(slice(None), *part)]

    def _require_finite(self, values: dict[str, np.ndarray], box: Box) -> None:
        """Every measure is finite wherever nothing diverged."""
        dims = (0, *self.axes.trajectory_dims)
        most = DIVERGED * self.session.scale
        bounded = values[PRETRAIN_LOSS_BEFORE.name] <= most  # not where it is NaN
        sound = {"checkpoint": (dims, bounded), "tuned": (tuple(range(len(box.shape))), ~values["diverged"])}
        sound["along"] = sound["tuned"]
        for measure in self.measuring.own:
            where, known = sound[measure.at]
            found = values[measure.name]
            wrong = ~np.isfinite(found).reshape(*known.shape, -1).all(axis=-1) & known
            if wrong.any():
                first = np.argwhere(wrong)[0]
                lane = tuple(box.start[dim] + int(at) for dim, at in zip(where, first, strict=True))
                place = self.axes.place(self.problem, where, lane)
                bad = found[tuple(first)]
                told = f"{bad[~np.isfinite(bad)].flat[0]} at {place}"
                raise InvalidInput(f"measure {measure.name}", told, "finite numbers wherever nothing diverged")

    def _foretold(self, box: Box) -> dict[str, np.ndarray]:
        if isinstance(self.predictor, Unpredictable):
            return {}
        rates, strengths = (
            values[part] for (_, _, values), part in zip(self.axes.fields(), box.slices[1:3], strict=True)
        )
        seeds = np.arange(box.start[-1], box.stop[-1])
        return foretold(self.predictor.predict(rates, strengths, seeds))

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs, the rest it computes; and the source by which it must do so."""
        return {"source": source_of(self.solver), **{field.name: getattr(self, field.name) for field in fields(self)}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process; `InvalidInput` where its source is another."""
        source = state.pop("source")
        other = [name for name, told in source_of(state["solver"]).items() if source.get(name) != told]
        require(not other, "workers", f"other source of {', '.join(other)}", "workers with the source of the client")
        self.__dict__.update(state)


def source_of(solver: Solver) -> dict[str, str]:
    """Module -> digest, of all that computes chunks."""
    return sources([__name__, type(solver).__module__])
