"""Claims notice a wrong library: a few of the mutations of `python -m benchmarks.mutations`, which tries them all."""

import inspect
import sys
from types import FunctionType

import pytest

import linsim
from benchmarks.mutations import ELSEWHERE, EXEMPT, ROOMS, in_place, mutants, noticed_by
from linsim.claims.registry import CLAIMS

MUTANTS = {str(mutant): mutant for mutant in mutants()}
QUICK = (
    "Front.ratio, 1 % more",
    "NoiseCost.best_stage, 1 % more",
    "any_order.bound, 1 % more",
    "any_order.last, 1 % more",
    "critical_time, shifted time",
    "exact_forgetting, other sign",
    "misaligned, 1 % more",
    "mode_flow, shifted time",
    "muon_times.absent, 1 % more",
    "noise_inflection.bracket, 1 % more",
    "noise_inflection.time, shifted time",
    "quadratic_forgetting.curvature, 1 % more",
    "rise_time, 1 % more",
    "stage_losses, 1 % more",
    "trace_of_curvature, other sign",
    "useful_modes, 1 % more",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_function_is_noticed_by_a_claim(name):
    assert noticed_by(MUTANTS[name]) is not None


def test_a_function_that_is_not_changed_is_not_noticed():
    same = MUTANTS["relative_scales, 1 % more"]._replace(change=lambda right: right)
    assert noticed_by(same) is None


def test_the_right_functions_are_back_afterwards():
    before = {claim.id: vars(sys.modules[check_of(claim).__module__]).copy() for claim in CLAIMS.values()}
    for mutant in MUTANTS.values():
        with in_place(mutant):
            pass
    for claim in CLAIMS.values():
        assert vars(sys.modules[check_of(claim).__module__]) == before[claim.id], claim.id


def test_every_public_name_of_theory_and_measures_is_mutated_or_held_elsewhere():
    rooms = (
        "linsim.theory.",
        "linsim.measures.",
        "linsim.forecasting.loss_ratio",
        "linsim.dynamics.modes.",
        "linsim.dynamics.matrices.",
    )
    public = {name for name in dir(linsim) if getattr(getattr(linsim, name), "__module__", "").startswith(rooms)}
    mutated = {mutant.form.split(".")[0].split("[")[0] for mutant in MUTANTS.values()}
    assert public - mutated == ELSEWHERE.keys() & public
    assert ELSEWHERE.keys() <= public
    assert len(public & mutated) > 8


def test_nothing_is_exempt_that_is_not_there():
    names = {name.split(",")[0].split(".")[0] for name in EXEMPT}
    there = {name for room in ROOMS for name in vars(sys.modules[f"linsim.{room}"])}
    assert names <= there


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_calls_the_library_unless_it_is_a_lemma(claim):
    assert bool(called(check_of(claim))) is not claim.lemma, called(check_of(claim))


def check_of(claim):
    return getattr(claim.check, "func", claim.check)


def called(check):
    """Names of the rooms below that a check refers to, or functions of its theme that it calls."""
    theme = check.__module__.rpartition(".")[0]
    seen, found, left = set(), set(), [(check.__module__, inspect.unwrap(check).__code__)]  # type checkers wrap checks
    while left:
        module, code = left.pop()
        left += [(module, inside) for inside in code.co_consts if hasattr(inside, "co_names")]
        for name in code.co_names:
            value = vars(sys.modules[module]).get(name)
            own = isinstance(value, FunctionType) and value.__module__.rpartition(".")[0] == theme
            if own and (value.__module__, name) not in seen:
                seen.add((value.__module__, name))
                left.append((value.__module__, inspect.unwrap(value).__code__))
            while value is not None:
                if getattr(value, "__module__", "").startswith(
                    ("linsim.dynamics.", "linsim.forecasting.", "linsim.measures.", "linsim.theory.")
                ):
                    found.add(name)
                value = getattr(value, "__wrapped__", None)
    return found
