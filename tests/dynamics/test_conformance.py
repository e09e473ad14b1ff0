"""Every solver over the battery: the same numbers as `dense`, or a refusal that names the assumption."""

import re

import pytest

from linsim.dynamics.choosing import SOLVERS, choose
from linsim.errors import InvalidInput
from tests.dynamics.battery import AGREEMENT, NAMES, approach_to_flow, battery, distance_to_dense

BATTERY = battery()
REFUSED = [(title, name) for title, case in BATTERY.items() for name in case.refusals]
ACCEPTED = [(title, name) for name in NAMES for title, case in BATTERY.items() if name not in case.refusals]


def spelt(pairs):
    return {"argnames": ("title", "name"), "argvalues": pairs, "ids": [f"{name} on {title}" for title, name in pairs]}


def test_the_battery_covers_every_solver():
    assert {solver.name for solver in SOLVERS} == {*NAMES, "dense"}
    for name in NAMES:
        assert sum(name not in case.refusals for case in BATTERY.values()) >= 8, name


@pytest.mark.parametrize(**spelt(REFUSED))
def test_a_solver_that_does_not_handle_it_names_the_assumption_that_fails(title, name):
    case = BATTERY[title]
    with pytest.raises(InvalidInput, match=f"solver: got {name}.*{case.refusals[name]}"):
        choose(case.problem.tuned(0.008, case.regularizer, 0.5), name)


@pytest.mark.sampled(7)
@pytest.mark.parametrize(**spelt(ACCEPTED))
def test_a_solver_agrees_with_dense(title, name):
    case = BATTERY[title]
    if name != "flow":
        assert distance_to_dense(case, name) < AGREEMENT[name]
    else:
        full, half, extrapolated = approach_to_flow(case)
        # Descent is first order in the rate: half of the distance at half of it, up to the next order, which is as
        # small against the first as rate x curvature is against 1: at most 0.1 here. Extrapolation leaves that order.
        assert 0.4 < half / full < 0.6
        assert extrapolated < 0.1 * full


@pytest.mark.parametrize("title", BATTERY)
def test_auto_is_the_cheapest_exact_solver_and_says_why(title):
    case = BATTERY[title]
    problem = case.problem.tuned(0.008, case.regularizer, 0.5)
    choice = choose(problem)
    exact = [solver for solver in SOLVERS if solver.stepping and solver.refusal(problem) is None]
    assert choice.solver.cost(problem) == min(solver.cost(problem) for solver in exact)
    assert choice.solver.name != "flow"
    assert choice.reason.startswith(f"{choice.solver.name}: ")
    if choice.solver.name != "modes":
        assert re.search(f"not modes: .*{case.refusals['modes']}", choice.reason)
    if choice.solver.name == "gram":
        assert re.search(r"not dense: [\d.]+ times the multiplications at hidden width \d+", choice.reason)
