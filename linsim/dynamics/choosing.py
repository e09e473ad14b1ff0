"""Which solver: the cheapest one that is exact for the problem, and the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar, get_args

from linsim.dynamics.flow import FlowSolver
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.flow_matrices import FlowMatrices
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.matrices.layer_flow import FlowLayer
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.modes.flow_modes import FlowModes
from linsim.dynamics.solver import Solver
from linsim.errors import InvalidInput, require_choice, require_kind
from linsim.problem import Problem

SolverName = Literal["auto", "modes", "dense", "gram", "flow"]

FLOWS: tuple[FlowSolver, ...] = (FlowModes(), FlowLayer(), FlowMatrices())
SOLVERS: tuple[Solver, ...] = (Modes(), Dense(), Gram(), *FLOWS)
"""All solvers. Of two that share a name the first that accepts a problem is taken; at equal cost, the first."""


class Choice(NamedTuple):
    """A solver and why it was taken."""

    solver: Solver
    reason: str


def choose(problem: Problem, name: SolverName | Solver = "auto") -> Choice:
    """The named solver, one of your own, or with "auto" the cheapest that is exact for descent with finite steps.

    `flow`, exact for infinitesimal steps only, is therefore taken by name alone.

    Raises:
      InvalidInput: an unknown name, or a solver whose assumptions the problem breaks; says which assumption.

    Example:
      >>> transfer = ls.shifted(ls.LinearTask.create(ls.power_law(3)), ls.Rescale([2, 3], factor=4.0))
      >>> start = ls.stack_seeds([ls.identity((3, 3, 3), tau=2.0)])
      >>> problem = ls.Problem(
      ...     transfer, start, ls.Phase(0.02), ls.Phase(0.01), budgets=np.array([10, 40, 160]), finetune_steps=50
      ... )
      >>> ls.choose(problem).solver.name
      'modes'
    """
    require_kind("problem", problem, Problem)
    if isinstance(name, Solver) and not isinstance(name, type):
        return _own(problem, name)
    require_choice("solver", name, get_args(SolverName))
    if name == "auto":
        return _cheapest(problem)
    named = [solver for solver in SOLVERS if solver.name == name]
    found = _first_exact(named, problem)
    if isinstance(found, str):
        raise InvalidInput("solver", name, f"a problem on which it is exact; here {found}")
    return Choice(found, f"{name}: chosen by name; {found.summary}")


def _own(problem: Problem, solver: Solver) -> Choice:
    if (refusal := solver.refusal(problem)) is not None:
        raise InvalidInput("solver", solver.name, f"a problem on which it is exact; here {refusal}")
    return Choice(solver, f"{solver.name}: given; {solver.summary}")


def flow_of(problem: Problem) -> FlowSolver | str:
    """The closed-form solver of a problem, or in words the assumptions that fail."""
    return _first_exact(FLOWS, problem)


S = TypeVar("S", bound=Solver)


def _first_exact(solvers: Sequence[S], problem: Problem) -> S | str:
    refusals = []
    for solver in solvers:
        if (refusal := solver.refusal(problem)) is None:
            return solver
        refusals.append(refusal)
    return ", and ".join(dict.fromkeys(refusals))


def _cheapest(problem: Problem) -> Choice:
    stepping = [solver for solver in SOLVERS if solver.stepping]
    refusals = {solver.name: solver.refusal(problem) for solver in stepping}
    exact = [solver for solver in stepping if refusals[solver.name] is None]
    if not exact:
        here = "; ".join(f"not {name}: {refusal}" for name, refusal in refusals.items())
        raise InvalidInput("solver", "auto", f"a problem on which some solver is exact; here {here}")
    best = min(exact, key=lambda solver: solver.cost(problem))
    reasons = [f"{best.name}: {best.summary}"]
    for solver in stepping:
        if (refusal := refusals[solver.name]) is not None and best.name != "modes":
            reasons.append(f"not {solver.name}: {refusal}")
        elif solver.name == "dense" and best.name == "gram":
            ratio = solver.cost(problem) / best.cost(problem)
            reasons.append(f"not dense: {ratio:.3g} times the multiplications at hidden width {problem.widths[1]}")
    return Choice(best, "; ".join(reasons))
