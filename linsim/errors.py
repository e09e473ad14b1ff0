"""What can go wrong, in one line each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any


class InvalidInput(ValueError):
    """A value outside its domain: names the field, the value, and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: got {_brief(value)}; allowed: {_brief(allowed, 300)}")


class RunFailed(RuntimeError):
    """A run that could not be completed for a reason outside its configuration (exit status 3)."""


def _brief(value: object, longest: int = 100) -> str:
    """One line, however long or many-lined the value is."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split()) or repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def require(condition: bool, field: str, value: object, allowed: str) -> None:
    """Raise `InvalidInput` unless the condition holds."""
    if not condition:
        raise InvalidInput(field, value, allowed)


def require_number(
    field: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> None:
    """Raise unless value is one finite real number within the bounds."""
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
        if math.isfinite(bound)
    ]
    allowed = f"a finite number {' and '.join(bounds)}".rstrip()
    ok = isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    require(ok and bool(above < value < below and at_least <= value <= at_most), field, value, allowed)


def require_integer(field: str, value: Any, *, at_least: int, at_most: int | None = None) -> None:
    """Raise unless value is an integer within the bounds."""
    upper = "" if at_most is None else f" and <= {at_most}"
    ok = isinstance(value, int) and not isinstance(value, bool)
    ok = ok and value >= at_least and (at_most is None or value <= at_most)
    require(ok, field, value, f"an integer >= {at_least}{upper}")


def require_axis(field: str, values: Sequence[float], *, above: float = -math.inf, at_least: float = -math.inf) -> None:
    """Raise unless values are a non-empty, strictly increasing axis of finite numbers within the bounds."""
    require(len(values) > 0, field, tuple(values), "at least one value")
    for value in values:
        require_number(field, value, above=above, at_least=at_least)
    increasing = all(first < second for first, second in itertools.pairwise(values))
    require(increasing, field, tuple(values), "strictly increasing values")


@contextmanager
def fields_of(prefix: str, names: Mapping[str, str]) -> Iterator[None]:
    """Name the field of the configuration in an error that names an argument further down."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{prefix}.{names.get(error.field, error.field)}", error.value, error.allowed) from None


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
