"""Whatever a problem sets and a solver does not name is refused, by name; what stays at its default is not."""

from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import pytest

from linsim.dynamics.choosing import SOLVERS, choose
from linsim.dynamics.handling import Handles
from linsim.errors import InvalidInput
from linsim.phase import Phase
from linsim.problem import Problem
from linsim.sweeping.checks.recheck import other_solver
from linsim.tasks import LinearTask, Transfer
from tests.problems import aligned_problem

IDS = [f"{solver.name} ({type(solver).__name__})" for solver in SOLVERS]


@dataclass(frozen=True)
class FrictionPhase(Phase):
    """With one more field."""

    friction: float = 0.0


@dataclass(frozen=True, eq=False)
class BiasedTask(LinearTask):
    """With one more field."""

    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class NamedTransfer(Transfer):
    """With one more field, that has no default."""

    purpose: str


@dataclass(frozen=True, eq=False)
class SparseProblem(Problem):
    """With one more field."""

    sparsity: float = 0.0


def as_kind(kind, value, **more):
    """The same value as one of a class with more fields."""
    return kind(**{field.name: getattr(value, field.name) for field in fields(value)}, **more)


PLAIN = aligned_problem(2, pretrain=Phase(0.01))
BOTH = PLAIN.transfer
EXTENDED = {
    "friction of pre-training": lambda value=0.1: replace(PLAIN, pretrain=FrictionPhase(0.01, friction=value)),
    "friction of fine-tuning": lambda value=0.1: replace(PLAIN, finetune=FrictionPhase(0.01, friction=value)),
    "bias of the pre-training task": lambda value=BOTH.pretrain.target[:, 0]: replace(
        PLAIN, transfer=replace(BOTH, pretrain=as_kind(BiasedTask, BOTH.pretrain, bias=value))
    ),
    "bias of the fine-tuning task": lambda value=BOTH.pretrain.target[:, 0]: replace(
        PLAIN, transfer=replace(BOTH, finetune=as_kind(BiasedTask, BOTH.finetune, bias=value))
    ),
    "sparsity of the problem": lambda value=0.5: as_kind(SparseProblem, PLAIN, sparsity=value),
}


def fitting(problem, solver):
    """The problem, of one layer where the solver is for one."""
    if solver.misfit(problem) is None:
        return problem
    return replace(problem, initial=(problem.initial[1] @ problem.initial[0],))


DEFAULTS = {title: None if "bias" in title else 0.0 for title in EXTENDED}


@pytest.mark.parametrize("title", EXTENDED)
@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_a_field_that_no_solver_names_is_refused_by_all(solver, title):
    assert solver.refusal(fitting(PLAIN, solver)) is None
    assert title in solver.refusal(EXTENDED[title]())
    for name in (solver.name, "auto"):
        with pytest.raises(InvalidInput, match=f"solver: got {name}.*{title}"):
            choose(EXTENDED[title](), name)


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_a_field_without_a_default_is_always_set(solver):
    problem = replace(PLAIN, transfer=as_kind(NamedTransfer, BOTH, purpose=""))
    assert "purpose of the transfer" in solver.refusal(problem)


@pytest.mark.parametrize("title", EXTENDED)
@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_a_field_at_its_default_is_refused_by_none(solver, title):
    assert solver.refusal(fitting(EXTENDED[title](DEFAULTS[title]), solver)) is None


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_a_field_is_taken_by_the_solver_that_names_it(solver):
    class Extended(type(solver)):
        handles = replace(
            solver.handles,
            phase=(*solver.handles.phase, "friction"),
            task=(*solver.handles.task, "bias"),
            transfer=(*solver.handles.transfer, "purpose"),
            problem=(*solver.handles.problem, "sparsity"),
        )

    problems = [*(extended() for extended in EXTENDED.values())]
    problems.append(replace(PLAIN, transfer=as_kind(NamedTransfer, BOTH, purpose="none")))
    for problem in problems:
        assert solver.refusal(problem) is not None
        assert Extended().refusal(fitting(problem, solver)) is None


@pytest.mark.parametrize("solver", SOLVERS, ids=IDS)
def test_the_default_that_counts_is_the_vocabularys_and_so_do_its_methods(solver):
    @dataclass(frozen=True)
    class Heavy(Phase):
        batch_size: int | None = 4

    class Doubling(Phase):
        def build_optimizer(self):
            return replace(self, learning_rate=2 * self.learning_rate).build_optimizer()

    assert "build_optimizer of pre-training" in solver.refusal(replace(PLAIN, pretrain=Doubling(0.01)))
    heavy = solver.refusal(fitting(replace(PLAIN, pretrain=Heavy(0.01)), solver))
    assert (heavy is None) == ("batch_size" in solver.handles.phase)


def test_reasons_are_told_in_the_words_of_the_solver():
    handles = Handles(phase=("learning_rate",), because={"momentum": "{where} has a memory"})
    assert handles.refusal(replace(PLAIN, finetune=Phase(0.01, momentum=0.5))) == "fine-tuning has a memory"
    assert handles.refusal(replace(PLAIN, finetune=Phase(0.01, momentum=0.0))) == "fine-tuning has a memory"
    assert handles.refusal(PLAIN) is None


def test_a_recheck_takes_no_solver_that_would_ignore_a_field():
    stepped = partial(other_solver, solver=choose(PLAIN, "dense").solver, steps=1)
    assert stepped(PLAIN).name == "modes"
    for extended in EXTENDED.values():
        assert stepped(extended()) is None
