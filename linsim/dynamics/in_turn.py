"""Training alone: on one task, or on several in turn, by any solver; with measures on the way, and weights back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np
import xarray as xr

from linsim.dynamics.choosing import Choice, SolverName, choose
from linsim.dynamics.heads import PRODUCT, SHARED, Network
from linsim.dynamics.measuring import Measuring
from linsim.dynamics.moving.trial import validate_phase
from linsim.dynamics.seen import Measured
from linsim.dynamics.solver import State, Unrotated
from linsim.dynamics.training import Session
from linsim.errors import InvalidInput, RunFailed, numbers, require, require_choice, require_integer
from linsim.labels import labelled
from linsim.losses import SeedWeights, convention_of
from linsim.measure import Measure, lengths_of, named_once
from linsim.phase import Phase
from linsim.precision import Precision, in_float64
from linsim.problem import Problem
from linsim.progress.showing import Progress, showing
from linsim.tasks import LinearTask, Transfer

POINTS = 24
"""Points within a task at which things are told, where none are given."""

_OWN = ("loss", "steps", "seed", "task", "trained_task")


class Stage(NamedTuple):
    """Training on one task."""

    task: LinearTask
    phase: Phase
    steps: int
    name: str
    """What an error calls the phase."""

    @property
    def words(self) -> str:
        """What an error calls the training."""
        return self.name.removesuffix("phase").rstrip(".") or "training"


class Trained(NamedTuple):
    """What training leaves behind."""

    weights: tuple[np.ndarray, ...]
    """(W_1, ..., W_L), or the layers that tasks share where there are heads; with seeds where they came with seeds."""
    along: xr.Dataset
    """Over (steps, seed): the `loss` on every `task`, and all measures; `trained_task` is the one trained last."""
    heads: tuple[np.ndarray, ...] = ()
    """The output layer of every task."""


@in_float64
def train(
    weights: Sequence[Any],
    task: LinearTask | Sequence[tuple[LinearTask, Phase, int]],
    phase: Phase | None = None,
    steps: int | np.integer[Any] | None = None,
    *,
    heads: Sequence[Any] | None = None,
    measures: Iterable[Measure] = (),
    points: Sequence[int] | np.ndarray | None = None,
    solver: SolverName = "auto",
    precision: Precision = "float64",
    seed: int = 0,
    progress: bool | None = None,
    report: Progress | None = None,
) -> Trained:
    """Train weights on a task for a number of steps, or on several in turn.

    Each task begins where the one before ended: its checkpoint, to which penalties and terms refer. To them, and to
    measures, `finetune` is the task at hand and `pretrain` the one before it; the same one for the first, and where
    there are heads.

    Args:
      weights: (W_1, ..., W_L), each W_l of shape (rows, columns), or (seed, rows, columns) for several networks.
      task: what is trained on with `phase` for `steps`; or a list of (task, phase, steps), and nothing for these two.
      phase: how weights are moved.
      steps: of the phase, at least 1.
      heads: the output layer of every different task, in the order in which they are met; `weights` are then the layers
        that all share. Where a head or the shared layers are to stay, its phase says so: `moves=Layers((1,))`.
      measures: what is told beside losses, wherever else each may be taken.
      points: steps at which that is told, counted from the very beginning, increasing; by default 0 and, within each
        task, some evenly in the logarithm, its last among them.
      solver: see `linsim.dynamics.choosing`; chosen for each task by itself.
      precision: in which weights move.
      seed: of whatever is drawn, minibatches for one.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.
      report: called with (steps done, steps in all) as training goes on.

    Returns:
      Weights, ready for the next task, what was told on the way, and heads.

    Raises:
      InvalidInput: weights that do not fit the tasks, a phase that cannot move them, a solver that does not apply, a
        measure that fails.
      RunFailed: weights diverged, and another task was to follow.

    Example:
      >>> import jax
      >>> from linsim import gaussian, power_law
      >>> task, phase = LinearTask.create(power_law(3)), Phase(0.05)
      >>> trained = train(gaussian((3, 8, 3), 0.3, jax.random.key(0)), task, phase, 300)
      >>> [weight.shape for weight in trained.weights]
      [(8, 3), (3, 8)]
      >>> bool(trained.along["loss"].sel(steps=300, task=0) < 1e-3)
      True
      >>> other = LinearTask.create(-power_law(3))
      >>> again = train(trained.weights, [(other, phase, 100), (task, phase, 20)], points=[0, 100, 120])
      >>> again.along["loss"].dims, again.along["trained_task"].values.tolist()
      (('steps', 'task'), [0, 0, 1])
    """
    stages = _stages(task, phase, steps)
    network = Network.of(list({id(stage.task): stage.task for stage in stages}.values()), weights, heads)
    own, where = _own(measures), _points(points, [stage.steps for stage in stages])
    require_choice("precision", precision, get_args(Precision))
    require_integer("seed", seed, at_least=0, at_most=2**32 - 1)
    choices, parts, done, total = [], [], 0, sum(stage.steps for stage in stages)
    with showing(progress, report, "training") as told:
        for number, stage in enumerate(stages):
            problem = _problem(network, stages, number, seed)
            validate_phase(stage.name, stage.phase, problem)
            choices.append(_choose(stage, problem, solver, bool(network.heads)))
            session = Session.open(problem, choices[-1].solver, np.dtype(precision).type)
            measuring = Measuring((), (), (*own, *network.measures), where[number])
            lengths_of(own, session.shapes(measuring), {})
            state, found = session.finetune_initial(measuring, partial(_told, told, done, total))
            if where[number]:
                parts.append(_labelled(network, stage.task, [done + point for point in where[number]], own, found))
            network = network.put(stage.task, _own_weights(session, state))
            done += stage.steps
    along = _joined(parts, single=network.single).assign_attrs(
        solver=", ".join(choice.solver.name for choice in choices),
        solver_reason="; ".join(dict.fromkeys(choice.reason for choice in choices)),
        precision=precision,
        seed=seed,
        loss_convention=convention_of(stage.task.objective for stage in stages),
    )
    return Trained(network.given_back(network.shared), along, network.given_back(network.heads))


def _stages(task: Any, phase: Phase | None, steps: Any) -> list[Stage]:
    """What is trained on, and with what, as a list."""
    if isinstance(task, LinearTask):
        return [_stage("", task, phase, steps)]
    for name, given in (("phase", phase), ("steps", steps)):
        require(given is None, name, given, "nothing beside a list of (task, phase, steps)")
    require(isinstance(task, Sequence) and len(task) > 0, "task", task, "a task, or a list of (task, phase, steps)")
    for number, each in enumerate(task):
        whole = isinstance(each, tuple | list) and len(each) == 3 and isinstance(each[0], LinearTask)
        require(whole, f"task[{number}]", each, "(task, phase, steps)")
    return [_stage(f"task[{number}].", *each) for number, each in enumerate(task)]


def _stage(where: str, task: LinearTask, phase: Any, steps: Any) -> Stage:
    require(isinstance(phase, Phase), f"{where}phase", phase, "a linsim.Phase")
    steps = int(steps) if isinstance(steps, np.integer) else steps
    require_integer(f"{where}steps", steps, at_least=1)
    return Stage(task, phase, steps, f"{where}phase")


def _told(report: Progress, before: int, total: int, done: int, _: int) -> None:
    """Steps of a task as steps of all of them."""
    report(before + done, total)


def _own(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    own = named_once(measures)
    for measure in own:
        clash = {measure.name, *measure.dims} & {*_OWN, PRODUCT.name, SHARED.name, *PRODUCT.dims, *SHARED.dims}
        require(not clash, f"measure {measure.name}", sorted(clash), "names that nothing else in the result has")
    return own


def _points(points: Any, lengths: Sequence[int]) -> list[tuple[int, ...]]:
    """Points of every task, counted from its beginning; 0 belongs to the first, an end to the task that ends."""
    ends = np.cumsum(lengths)
    if points is None:
        spaced = [np.unique(np.geomspace(1, length, POINTS).round().astype(int)) for length in lengths]
        return [tuple([0] * (number == 0) + each.tolist()) for number, each in enumerate(spaced)]
    numbers("points", points, 1)
    given = np.asarray(points)
    sound = given.dtype.kind in "iu" and bool(np.all(np.diff(given) > 0))
    allowed = f"increasing steps from 0 to {ends[-1]}"
    require(sound and bool(given[0] >= 0 and given[-1] <= ends[-1]), "points", points, allowed)
    within = np.searchsorted(ends, given)
    return [tuple((given[within == each] - (ends[each] - length)).tolist()) for each, length in enumerate(lengths)]


def _problem(network: Network, stages: Sequence[Stage], number: int, seed: int) -> Problem:
    """Training on one of the tasks as the fine-tuning of a problem in which nothing is pre-trained."""
    stage, layers = stages[number], network.layers(stages[number].task)
    if not all(np.isfinite(layer).all() for layer in layers):
        raise RunFailed(
            f"train: weights have diverged where {stage.name} is to begin; a smaller learning rate may help"
        )
    before = stage.task if network.heads or number == 0 else stages[number - 1].task
    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    transfer, none = Transfer(before, stage.task), Phase(1.0)
    return Problem(transfer, layers, none, stage.phase, np.asarray([1]), stage.steps, seed=drawn)


def _choose(stage: Stage, problem: Problem, solver: SolverName, heads: bool) -> Choice:
    try:
        choice = choose(problem, solver)
    except InvalidInput as error:
        # To a solver this is fine-tuning, after what it takes for pre-training.
        told = error.allowed.replace("pre-training", "previous").replace("fine-tuning", stage.words)
        raise InvalidInput(error.field, error.value, told) from None
    allowed = "a solver that knows the hidden layers, which heads share"
    require(not (heads and choice.solver.rotates), "solver", choice.solver.name, allowed)
    return choice


def _own_weights(session: Session, state: State) -> SeedWeights:
    """Weights at the end of a task, in their own coordinates."""
    solver, problem = session.solver, session.problem
    if isinstance(solver, Unrotated):
        return solver.finetuned_initial(problem)
    require(not solver.rotates, "solver", solver.name, "one that knows weights with the rotation of the hidden layer")
    return solver.weights(problem, state)


def _labelled(
    network: Network, task: LinearTask, steps: Sequence[int], own: Sequence[Measure], found: Measured
) -> xr.Dataset:
    """What is told at some steps while a task is trained."""
    values = {name: np.swapaxes(np.asarray(each), 0, 1) for name, each in found.items()}
    before = ("steps", "seed")
    variables = {measure.name: ((*before, *measure.dims), values[measure.name], measure.attrs) for measure in own}
    return xr.Dataset(
        {
            "loss": labelled("loss", network.losses(task, values), (*before, "task")),
            "trained_task": labelled("trained_task", np.full(len(steps), network.number(task)), ("steps",)),
            **variables,
        },
        coords={
            "steps": labelled("steps", np.asarray(steps)),
            "seed": labelled("seed", np.arange(len(network.shared[0]))),
            "task": labelled("task", np.arange(len(network.tasks))),
            **{dim: (dim, given) for measure in own for dim, given in measure.coords.items()},
        },
    )


def _joined(parts: Sequence[xr.Dataset], single: bool) -> xr.Dataset:
    """All of them, one after the other."""
    for part in parts:
        for name, variable in part.items():
            shape, first = variable.shape[1:], parts[0][name].shape[1:]
            require(shape == first, f"measure {name}", shape, f"the shape that it has for the first task, {first}")
    joined = xr.concat(parts, "steps", join="exact", combine_attrs="override")
    return joined.isel(seed=0, drop=True) if single else joined
