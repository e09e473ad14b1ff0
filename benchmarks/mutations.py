"""Which claims notice a wrong library: every closed form off by 1 %, with the other sign, and at a shifted time.

    python -m benchmarks.mutations [FORM ...]

puts a wrong function in the place of each public closed form, wherever claims use it, and tries those claims on their
domains until one fails. Prints a row for each wrong function with the claim that noticed; exit status 1 if none did.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from functools import cache, wraps
from importlib import import_module
from pkgutil import walk_packages
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from linsim.claims import themes
from linsim.claims.claim import Claim
from linsim.claims.judge import on_domain

FEW, MANY = 3, 40
"""Problems of each claim: most wrong functions fail at once."""

SHIFT = 0.01
"""Flow time by which a time is off."""

ROOMS = (
    "dynamics.matrices.eigenbasis",
    "dynamics.matrices.factor_flow",
    "dynamics.matrices.gram",
    "dynamics.matrices.layer_flow",
    "dynamics.matrices.matrix_flow",
    "dynamics.matrices.width",
    "dynamics.modes.deep_mode_flow",
    "dynamics.modes.mode_flow",
    "forecasting.loss_ratio",
    "measures.curvature",
    "measures.features.overlap",
    "measures.forgetting",
    "measures.front",
    "measures.quantisation",
    "measures.sensitivity",
    "theory.data.effort",
    "theory.data.samples",
    "theory.held_out",
    "theory.laziness",
    "theory.in_turn.heads",
    "theory.in_turn.reversal",
    "theory.mitigations.anchors",
    "theory.mitigations.averages",
    "theory.mitigations.dropout",
    "theory.mitigations.exposure",
    "theory.mitigations.matched",
    "theory.mitigations.sharpness",
    "theory.noise_turning",
    "theory.optimizers.muon",
    "theory.optimizers.order",
    "theory.objectives.logistic",
    "theory.objectives.new_heads",
    "theory.prices",
    "theory.rises",
    "theory.scaling.laws",
    "theory.scaling.noise",
    "theory.scaling.optimal",
    "theory.scaling.power_law",
    "theory.scaling.tails",
    "theory.stages",
)
"""Modules of closed forms; solvers, estimators and searches on curves are elsewhere, with tests of their own."""

EXEMPT = {
    "FlowLayer": "a solver, which the battery holds against the others",
    "Gram": "a solver, which the battery holds against the others",
    "expm1_ratio": "a part of mode_flow",
    "feature_dimensionality": "makes a measure",
    "feature_overlap": "makes a measure",
    "factor_flow_by": "a part of factor_flow",
    "grown": "a part of factor_flow",
    "into_eigenbasis": "a part of factor_flow",
    "out_of_eigenbasis": "a part of factor_flow",
    "two_layer_flow": "a part of matrix_flow",
    "require_covariance": "looks at shapes",
    "require_not_negative": "looks at numbers",
    "require_target": "looks at shapes",
    "require_times": "looks at numbers",
    "rise_of": "reads curves",
    "BalancedModes.of": "reads a problem",
    "BalancedModes.of_modes": "chooses some",
    "LazyLimit.of": "reads a problem",
    "Target.matrix": "a part of the solver FlowLayer, held by tests/dynamics/test_layer_flow.py",
    "NoiseCost.absolute.collective": "is 0",
    "NoiseCost.relative.constant": "is 0",
    "NoiseCost.relative.price": "is 0",
    "factor_flow, other sign": "a rotation of the hidden layer, which it leaves open",
}
"""What else is public there, and what is right when changed; each with the reason."""


ELSEWHERE = {
    "bound_ratio": "a measure that calls Front.ratio: tests/measures/test_built_in.py",
    "built_in": "measures by name: tests/measures/test_built_in.py",
    "feature_dimensionality": "a measure that calls dimensionality: tests/measures/test_overlap.py",
    "feature_overlap": "a measure that calls overlap: tests/measures/test_overlap.py",
    "flow_rounding": "runs matrix_flow twice: tests/dynamics/test_matrix_flow.py",
    "locate": "reads curves: tests/theory/test_turns.py",
    "Criteria": "thresholds: tests/theory/test_turns.py",
    "Turn": "what locate tells: tests/theory/test_turns.py",
    "OverSeeds": "what over_seeds tells: tests/theory/test_over_seeds.py",
    "doubtful": "reads curves: tests/theory/test_turns.py",
    "over_seeds": "resamples: tests/theory/test_over_seeds.py",
    "predict": "turns of curves made of mode_flow or matrix_flow: tests/theory/test_prediction.py",
    "rise_under_noise": "a measure that calls expected_increase: tests/measures/test_built_in.py",
    "rise_under_rounding": "a measure that calls quantise: tests/measures/test_built_in.py",
}
"""Public names of theory and measures in other modules: what they are, and what holds them."""


class Mutant(NamedTuple):
    """A closed form that is wrong."""

    form: str
    """Function or Class.method, with the part of its result that is wrong where that has several."""
    wrong: str
    """How."""
    function: Any
    """The one that is replaced."""
    owner: Any
    """Its class; None for a function of a module."""
    change: Callable[[Callable[..., Any]], Callable[..., Any]]
    """Right function -> wrong one."""

    def __str__(self) -> str:
        return f"{self.form}, {self.wrong}"


def mutants() -> list[Mutant]:
    """All of them, but those that are exempt."""
    found = [mutant for room in ROOMS for mutant in _of_room(import_module(f"linsim.{room}"))]
    return [each for each in found if not {each.form, str(each), each.form.split("[")[0]} & EXEMPT.keys()]


def noticed_by(mutant: Mutant) -> str | None:
    """The claim that fails when the library is wrong in this way; None where none does."""
    with in_place(mutant) as concerned:
        for examples in (FEW, MANY):
            for claim in concerned:
                if not claim.lemma and on_domain(claim, examples).status != "holds":
                    return claim.id
    return None


def _of_room(module: ModuleType) -> Iterator[Mutant]:
    for name, value in vars(module).items():
        if name.startswith("_") or name in EXEMPT or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            for method, function in vars(value).items():
                told = not method.startswith("_") and f"{name}.{method}" not in EXEMPT
                if told and isinstance(function, (property, classmethod, FunctionType)):
                    yield from _of_form(f"{name}.{method}", function, value)
        elif callable(value):
            yield from _of_form(name, value, None)


def _of_form(form: str, function: Any, owner: Any) -> Iterator[Mutant]:
    plain = _plain(function)
    parameters = inspect.signature(plain).parameters
    timed = next((name for name in ("time", "times") if name in parameters), None)
    if timed is not None:
        yield Mutant(form, "shifted time", function, owner, lambda right: _with_argument(right, timed, _later))
    told = str(plain.__annotations__.get("return"))
    if told == "int" or told.startswith(("Int[", "Bool[")):  # a count or a decision: made from numbers 1 % off
        first = next(name for name in parameters if name not in ("self", "cls"))
        yield Mutant(form, "1 % more", function, owner, lambda right: _with_argument(right, first, _more))
        yield Mutant(form, "other sign", function, owner, _changed(None, _other))
        return
    for part in _parts(plain):
        name = form if part is None else f"{form}.{part}" if isinstance(part, str) else f"{form}[{part}]"
        for wrong, change in {"1 % more": _more, "other sign": _negative}.items():
            yield Mutant(name, wrong, function, owner, _changed(part, change))
        if timed is None and ("time" in name or part in ("half", "bracket")):
            yield Mutant(name, "shifted time", function, owner, _changed(part, _later))


def _parts(function: Any) -> list[Any]:
    """Fields of a result that has several, indices of a tuple, or None for all of it."""
    told: Any = typing.get_type_hints(function)["return"]
    if hasattr(told, "_fields"):
        return list(told._fields)
    inside = typing.get_args(told) if typing.get_origin(told) is tuple else ()
    return [None] if len(inside) < 2 or Ellipsis in inside else list(range(len(inside)))


def _changed(part: Any, change: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def of(right: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(right)
        def wrong(*args: Any, **kwargs: Any) -> Any:
            result = right(*args, **kwargs)
            if part is None:
                return _each(result, change)
            if isinstance(part, str):
                return result._replace(**{part: _each(getattr(result, part), change)})
            return tuple(_each(value, change) if at == part else value for at, value in enumerate(result))

        return wrong

    return of


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return tuple(change(inside) for inside in value) if type(value) is tuple else change(value)


def _more(value: Any) -> Any:
    return value * 1.01


def _later(value: Any) -> Any:
    return value + SHIFT


def _negative(value: Any) -> Any:
    return -value


def _other(value: Any) -> Any:
    """The other decision, or another count."""
    return ~np.asarray(value) if np.asarray(value).dtype.kind == "b" else -value - 1


def _with_argument(right: Callable[..., Any], name: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    signature = inspect.signature(right)

    @wraps(right)
    def wrong(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        given.arguments[name] = change(np.asarray(given.arguments[name]))
        return right(*given.args, **given.kwargs)

    return wrong


@contextlib.contextmanager
def in_place(mutant: Mutant) -> Iterator[list[Claim]]:
    """Within, claims use the wrong function; those that do."""
    replaced: list[tuple[Any, str, Any]] = []
    concerned: list[Claim] = []
    for module in _themes():
        used = [name for name, value in vars(module).items() if _is(value, mutant.function)]
        if used or (mutant.owner is not None and mutant.owner.__module__ in _rooms_of(module)):
            concerned += getattr(module, "CLAIMS", ())
        if mutant.owner is None:
            replaced += [(module, name, getattr(module, name)) for name in used]
    if mutant.owner is not None:
        replaced = [(mutant.owner, mutant.form.split(".")[1].split("[")[0], mutant.function)]
    try:
        for where, name, right in replaced:
            setattr(where, name, _wrong(right, mutant.change))
        yield concerned
    finally:
        for where, name, right in replaced:
            setattr(where, name, right)


def _rooms_of(module: ModuleType) -> set[Any]:
    """Modules from which a module takes anything."""
    return {getattr(value, "__module__", None) for value in vars(module).values()}


def _wrong(right: Any, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    if isinstance(right, property):
        return property(change(_plain(right)))
    return classmethod(change(_plain(right))) if isinstance(right, classmethod) else change(right)


def _plain(function: Any) -> Any:
    if isinstance(function, property):
        return function.fget
    return function.__func__ if isinstance(function, classmethod) else function


def _is(value: Any, function: Any) -> bool:
    """Whether a value is a function, or what `jax.jit` and `jax.vmap` make of it."""
    while value is not None and value is not function:
        value = getattr(value, "__wrapped__", None)
    return value is function


@cache
def _themes() -> tuple[ModuleType, ...]:
    return tuple(import_module(found.name) for found in walk_packages(themes.__path__, f"{themes.__name__}."))


def main(names: list[str]) -> int:
    """The table."""
    chosen = [mutant for mutant in mutants() if not names or mutant.form.split(".")[0].split("[")[0] in names]
    unnoticed = 0
    for mutant in chosen:
        claim = noticed_by(mutant)
        unnoticed += claim is None
        print(f"{mutant.form:40} {mutant.wrong:14} {claim or 'NOT NOTICED'}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} wrong functions are noticed by a claim")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
