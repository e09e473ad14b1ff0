"""Which solver: the cheapest one that is exact for the problem, and the reason in words."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from linsim.dynamics.dense import Dense
from linsim.dynamics.modes import Modes
from linsim.dynamics.solver import Solver
from linsim.errors import InvalidInput
from linsim.problem import Problem

SolverName = Literal["auto", "modes", "dense"]

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (Modes(), Dense())}
"""All solvers, cheapest first; the last one refuses nothing."""


class Choice(NamedTuple):
    """A solver and why it was taken."""

    solver: Solver
    reason: str


def choose(problem: Problem, name: SolverName = "auto") -> Choice:
    """The named solver, or with "auto" the cheapest exact one.

    Raises:
      InvalidInput: an unknown name, or a solver whose assumptions the problem breaks; says which assumption.
    """
    if name == "auto":
        refusals: list[str] = []
        for solver in SOLVERS.values():
            refusal = solver.refusal(problem)
            if refusal is None:
                return Choice(solver, "; ".join([f"{solver.name}: {solver.summary}", *refusals]))
            refusals.append(f"not {solver.name}: {refusal}")
    if name not in SOLVERS:
        raise InvalidInput("solver", name, f"one of {', '.join(get_args(SolverName))}")
    if (refusal := SOLVERS[name].refusal(problem)) is not None:
        raise InvalidInput("solver", name, f"a problem on which it is exact; here {refusal}")
    return Choice(SOLVERS[name], f"{name}: chosen by name; {SOLVERS[name].summary}")
