"""Numbers to draw, and strategies that run-time type checkers do not disturb: the stuff of claims and tests."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import jax
import numpy as np
from hypothesis import strategies as st

from linsim.errors import SMALLEST

P = ParamSpec("P")
T = TypeVar("T")

Draw = Callable[..., Any]
"""Strategy -> value. Hypothesis' own type for it cannot be checked at run time."""


@contextmanager
def _random_restored() -> Iterator[None]:
    """Leave the global `random` as it was.

    Run-time type checkers, as under our tests, pick the entries they look at with it, and Hypothesis forbids strategies
    to touch it. Nothing that is drawn here depends on it.
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def strategy(function: Callable[Concatenate[Draw, P], T]) -> Callable[P, st.SearchStrategy[T]]:
    """`st.composite` in float64, with the global `random` restored after every draw."""

    @functools.wraps(function)
    def drawn(*args: Any, **kwargs: Any) -> T:
        with _random_restored(), jax.enable_x64(True):
            return function(*args, **kwargs)

    return st.composite(cast(Callable[Concatenate[st.DrawFn, P], T], drawn))


@strategy
def undisturbed(draw: Draw, inner: st.SearchStrategy[Any]) -> Any:
    """Any strategy, drawn so that type checkers inside it do not disturb the global `random`."""
    return draw(inner)


@functools.cache
def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """A number within bounds; no NaN, no infinity, and 0 for what is too near to it for the library."""
    drawn = st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)
    return drawn.map(lambda number: number if abs(number) >= SMALLEST else 0.0) if low <= 0 <= high else drawn


@functools.cache
def decades(low: float, high: float) -> st.SearchStrategy[float]:
    """A number within bounds > 0, evenly over its decades: scales, rates, penalties. Shrinks towards 1."""
    ends = np.log10(low), np.log10(high)
    return numbers(*map(float, ends)).map(lambda power: float(np.clip(10.0**power, low, high)))


def values(entry: st.SearchStrategy[float], count: int) -> st.SearchStrategy[tuple[float, ...]]:
    """As many numbers in any order; at times some of them are equal, or all."""
    two, chosen = st.tuples(entry, entry), st.tuples(*[st.booleans()] * count)
    repeated = st.tuples(two, chosen).map(lambda drawn: tuple(drawn[0][second] for second in drawn[1]))
    return st.one_of(st.tuples(*[entry] * count), repeated)


def sized(
    of: Callable[[int], Mapping[str, st.SearchStrategy[Any]]], counts: Sequence[int] = (1, 2, 3, 8)
) -> st.SearchStrategy[dict[str, Any]]:
    """Entries that depend on a number of modes, which is one of a few: each compiles anew."""
    return st.sampled_from(tuple(counts)).flatmap(lambda count: st.fixed_dictionaries(dict(of(count))))


@functools.cache
def seeds() -> st.SearchStrategy[int]:
    """A seed of a random number generator."""
    return st.integers(0, 2**16 - 1)
