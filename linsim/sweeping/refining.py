"""Turns of a finished sweep, and the budgets that resolving them takes.

Harm read off the budgets that happen to be there depends on them: by a factor of 1.7 on the default chart of 60, of
10,000 where one mode dominates. So the budgets of a chart are only its first ones. Where the curve of a cell may be
lower between two of them than it is known to be, by more than the tolerance allows, a budget is added in their middle,
and the sweep of the added ones joins the first; again, until no curve asks for more, or a limit is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from linsim.dynamics.seen import FINETUNE_LOSS_AFTER, PRETRAIN_LOSS_AFTER
from linsim.labels import labelled, lost_lanes
from linsim.problem import Problem
from linsim.progress.showing import Progress
from linsim.sweeping.axes import BUDGETS
from linsim.sweeping.computing import Sweep
from linsim.sweeping.results import TURNS
from linsim.theory.reading import FEWEST
from linsim.theory.turns import Criteria, Turn, doubtful, further, locate, material, rounding_floor

MOST_ROUNDS = 8
"""Of added budgets; in each as many as there were at first, so that all rounds are one compiled program."""
_CELLS = 2**14  # that are read at once


class _Curves(NamedTuple):
    """Losses of one task after fine-tuning, over budgets, in parts of so many cells."""

    prefix: str
    """Of the variables that tell their turns."""
    cells: tuple[int, ...]
    values: np.ndarray
    unknown: np.ndarray
    scale: float | None
    floor: float

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        values, unknown = (each.reshape(len(each), -1) for each in (self.values, self.unknown))
        for first in range(0, values.shape[1], _CELLS):
            yield values[:, first : first + _CELLS], unknown[:, first : first + _CELLS]


def with_turns(dataset: xr.Dataset, problem: Problem, criteria: Criteria) -> xr.Dataset:
    """The dataset with where the losses of both tasks turn, in every cell.

    Args:
      dataset: a sweep; lanes that diverged or are unstable are not known.
      problem: what it is of.
      criteria: what is material, and the tolerance; they are told in the attributes.
    """
    told: dict[str, xr.Variable] = {}
    cell = [str(dim) for dim in dataset["diverged"].dims[1:]]
    for curves in _curves(dataset, problem):
        turns = [
            locate(problem.budgets, values, unknown, scale=curves.scale, floor=curves.floor, criteria=criteria)
            for values, unknown in curves.parts()
        ]
        whole = Turn(*(np.concatenate(parts).reshape(curves.cells) for parts in zip(*turns, strict=True)))
        for name, field in TURNS.items():
            called = curves.prefix + name
            told[called] = labelled(called, getattr(whole, field), cell)
    attrs: dict[str, Any] = {name: getattr(criteria, name) for name in ("tolerance", "least_harm", "least_excess")}
    zero = {"zero_loss": problem.transfer.pretrain.zero_loss, "finetune_zero_loss": problem.transfer.finetune.zero_loss}
    predicted = np.full(told["harm"].shape, np.nan)
    if "predicted_lowest_steps" in dataset:
        harm, excess, lowest = (dataset[f"predicted_{name}"].values for name in ("harm", "excess", "lowest_steps"))
        predicted = np.where(material(harm, excess, criteria), lowest, np.nan)
    name = "predicted_inflection_steps"
    told[name] = labelled(name, predicted, cell)
    return dataset.assign(told).assign_attrs(attrs | zero)


def refined(sweep: Sweep, dataset: xr.Dataset, criteria: Criteria, parts: Parts) -> tuple[Sweep, xr.Dataset]:
    """The sweep and its dataset at further budgets, so that turns are resolved; the attribute `refining` tells how.

    Args:
      sweep: at its first budgets.
      dataset: of it.
      criteria: what is to be resolved.
      parts: reports the first one, and each round as a further one.
    """
    if reason := rough(sweep.problem):
        return sweep, dataset.assign_attrs(refining=f"none: {reason}", budgets_added=0)
    first, rounds = len(sweep.problem.budgets), 0
    while rounds < MOST_ROUNDS and (counts := _doubts(dataset, sweep.problem, criteria)).any():
        added = further(sweep.problem.budgets, counts, max(first, FEWEST))
        dataset = _merged(dataset, sweep.at(added).compute(parts.next()))
        sweep = sweep.at(np.union1d(sweep.problem.budgets, added))
        rounds += 1
    count = len(sweep.problem.budgets) - first
    words = f"{count} budgets added to {first} in {rounds} rounds{', the most there may be' * (rounds == MOST_ROUNDS)}"
    return sweep, dataset.assign_attrs(refining=words, budgets_added=count)


class Parts:
    """Reports parts whose number nobody knows beforehand: what is done only grows, and so does what is to be done."""

    def __init__(self, report: Progress) -> None:
        self._report, self._before, self._latest = report, 0, 0

    def next(self) -> Progress:
        """What the next part reports to."""
        self._before += self._latest

        def told(done: int, total: int) -> None:
            self._latest = total
            self._report(self._before + done, self._before + total)

        return told


def rough(problem: Problem) -> str:
    """Why further budgets would resolve nothing, so that none are added; empty where they do."""
    if problem.idealised:
        return "idealised checkpoints jump from stage to stage"
    if problem.pretrain.batch_size is not None or problem.finetune.batch_size is not None:
        return "minibatches make curves rough from step to step"
    return ""


def _doubts(dataset: xr.Dataset, problem: Problem, criteria: Criteria) -> np.ndarray:
    """For every interval between budgets, how many curves ask for one more within it."""
    counts = np.zeros(len(problem.budgets) - 1, int)
    for curves in _curves(dataset, problem):
        for values, unknown in curves.parts():
            counts += doubtful(
                problem.budgets, values, unknown, scale=curves.scale, floor=curves.floor, criteria=criteria
            )
    return counts


def _curves(dataset: xr.Dataset, problem: Problem) -> Iterator[_Curves]:
    unknown = np.asarray(lost_lanes(dataset))
    transfer = problem.transfer
    for prefix, loss, task in (
        ("", PRETRAIN_LOSS_AFTER, transfer.pretrain),
        ("finetune_", FINETUNE_LOSS_AFTER, transfer.finetune),
    ):
        values = np.asarray(dataset[loss.name])
        floor = rounding_floor(task.zero_loss, values.dtype)
        yield _Curves(prefix, values.shape[1:], values, unknown, task.zero_loss or None, floor)


def _merged(dataset: xr.Dataset, further: xr.Dataset) -> xr.Dataset:
    """Two sweeps of the same at different budgets, as one."""
    along = [name for name, values in dataset.data_vars.items() if BUDGETS in values.dims]
    both = xr.concat([dataset[along], further[along]], BUDGETS).sortby(BUDGETS)
    order = {name: dataset[name].dims for name in along}
    joined = {name: both[name].transpose(*dims) for name, dims in order.items()}
    return dataset.drop_dims(BUDGETS).assign(joined).assign_attrs(dataset.attrs)
