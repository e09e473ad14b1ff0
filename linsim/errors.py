"""What can go wrong, in one line each; and values in a few words, as `repr` shows them."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

DISTRUSTED = 4
"""Exit status where all was done, and its own check says not to trust it."""

SMALLEST, LARGEST = 1e-70, 1e70
"""Sizes of what is multiplied: products of four, as in a loss, neither vanish nor overflow in float64."""

_SHOWN = 6  # numbers of a row
_SHAPES = ("a", "a list of", "a matrix of")


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
    number = float(value) if ok else math.nan
    require(
        ok and above < number < below and at_least <= number <= at_most,
        field,
        value if isinstance(value, Real) else brief(value),
        allowed,
    )


def require_integer(field: str, value: Any, *, at_least: int, at_most: int | None = None) -> None:
    """Raise unless value is an integer within the bounds."""
    upper = "" if at_most is None else f" and <= {at_most}"
    ok = isinstance(value, int) and not isinstance(value, bool)
    ok = ok and value >= at_least and (at_most is None or value <= at_most)
    require(ok, field, value, f"an integer >= {at_least}{upper}")


def require_kind(field: str, value: Any, kind: type[Any], allowed: str = "") -> Any:
    """The value, if it is of a kind; `InvalidInput` says `allowed`, by default the name of the kind."""
    if not isinstance(value, kind):
        words = "True or False" if kind is bool else f"a linsim.{kind.__name__}"
        raise InvalidInput(field, brief(value), allowed or words)
    return value


def require_callable(field: str, value: Any, allowed: str, takes: int | None = None) -> None:
    """Raise unless value can be called, is no class, and takes as many arguments, where a number is given."""
    able = callable(value) and not isinstance(value, type)
    if able and takes is not None:
        try:
            inspect.signature(value).bind(*range(takes))
        except TypeError:
            able = False
        except ValueError:  # of what is not written in Python nobody knows
            pass
    require(able, field, brief(value), allowed)


def require_choice(field: str, value: Any, choices: Sequence[str]) -> None:
    """Raise unless value is one of some words."""
    known = isinstance(value, str) and value in choices
    require(known, field, value if isinstance(value, str) else brief(value), f"one of {', '.join(choices)}")


def listed(field: str, values: Any, allowed: str) -> tuple[Any, ...]:
    """The entries of a list, of whatever has an order and a length; a text has neither here."""
    ordered = isinstance(values, Sequence) or (hasattr(values, "dtype") and np.ndim(values) > 0)
    require(ordered and not isinstance(values, str | bytes), field, brief(values), allowed)
    return tuple(values.tolist() if hasattr(values, "tolist") else values)


def numbers(
    field: str,
    values: Any,
    dims: int | None = None,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    most: float = math.inf,
    sized: bool = False,
    finite: bool = True,
    least: int = 1,
) -> Any:
    """Values as an array of finite real numbers in float64, at least one; those within a compiled program pass.

    Args:
      field: named in an error.
      values: an array, or what makes one.
      dims: how many dimensions it has; None for any.
      above: lower bound of every number.
      at_least: the same, itself allowed.
      finite: False where NaN and infinite ones mean something.
      least: how many there must be.
      most: largest size of a number, whatever its sign.
      sized: whether the largest must be of a size that may be multiplied, see `require_size`.
    """
    bounds = "".join(f" {sign} {bound:g}" for sign, bound in ((">", above), (">=", at_least)) if bound > -math.inf)
    limit = f" and <= {most:g} in size" * (most < math.inf)
    words = f"{'finite ' * finite}number{'s' * (dims != 0)}{bounds}{limit}"
    allowed = words if dims is None else f"{_SHAPES[dims]} {words}"
    array = _array_of(values)
    if array is None:
        return values
    real = array.dtype.kind in "iuf" and not isinstance(values, np.ma.MaskedArray)
    some = ", at least one" * (array.size < least)
    require(real and not some and dims in (None, array.ndim), field, brief(values), allowed + some)
    array = array.astype(np.float64, copy=False)
    within = (array > above) & (array >= at_least) & (np.abs(array) <= most)
    bad = array[~(np.isfinite(array) & within) if finite else np.isfinite(array) & ~within]
    require(bad.size == 0, field, float(bad[0]) if bad.size else None, allowed)
    if sized:
        require_size(field, float(np.max(np.abs(array), initial=0.0)))
    return array


def require_together(**values: Any) -> None:
    """Raise `InvalidInput` unless arrays of these names can be taken entry by entry, one number for all of another."""
    shapes = {name: np.shape(value) for name, value in values.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InvalidInput(" and ".join(values), told, "shapes of which one fits the others") from None


def require_size(field: str, size: float) -> None:
    """Raise unless a size is 0, or its products with others like it stay numbers."""
    told = f"of size {size:.3g}"
    require(size == 0 or SMALLEST <= size <= LARGEST, field, told, f"0, or sizes from {SMALLEST:g} to {LARGEST:g}")


def _array_of(values: Any) -> np.ndarray | None:
    """As an array of whatever is told apart; None within a compiled program."""
    try:
        array = np.asarray(values)
    except Exception as error:  # of ragged lists, keys, whatever else is no array
        traced = type(error).__module__.startswith("jax.") and "Tracer" in type(error).__name__
        return None if traced else np.zeros(0, object)
    narrow = array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float"))
    return array.astype(np.float64) if narrow else array


def require_axis(field: str, values: Sequence[float], *, above: float = -math.inf, at_least: float = -math.inf) -> None:
    """Raise unless values are a non-empty, strictly increasing axis of finite numbers within the bounds."""
    values = listed(field, values, "a list of numbers")
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


def brief(value: Any) -> str:
    """A value in a few words: arrays by type, shape and range, functions by name, long lists by their ends.

    Example:
      >>> brief(np.linspace(0, 1, 12).reshape(3, 4))
      'float64 (3, 4) from 0 to 1'
      >>> brief(np.array([2, 1, 0.5]))
      '[2, 1, 0.5]'
    """
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, type):
        return _brief_array(value)
    if isinstance(value, partial):
        given = [*map(brief, value.args), *(f"{name}={brief(each)}" for name, each in value.keywords.items())]
        return f"{brief(value.func)}({', '.join(given)})"
    if type(value) in (list, tuple):
        return f"[{brief_row(value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    name = getattr(value, "__qualname__", "")
    return str(name).partition(".<locals>")[0] or repr(value)


def brief_row(values: Sequence[Any], between: str = ", ") -> str:
    """Values in a row, of many the ends."""
    told = [brief(each) for each in (values if len(values) <= _SHOWN else [*values[:2], values[-1]])]
    return between.join(told if len(values) <= _SHOWN else [*told[:2], "...", told[-1]])


def brief_fields(value: Any) -> str:
    """`repr` of a dataclass or a named tuple that holds arrays, without what was left at its default."""
    named = getattr(value, "_fields", None)
    names = named or [field.name for field in fields(value) if getattr(value, field.name) is not field.default]
    return f"{type(value).__name__}({', '.join(f'{name}={brief(getattr(value, name))}' for name in names)})"


def used_up(node: Any) -> bool:
    """Whether looking into it takes something out of it: an iterator is a leaf, and no tree."""
    return isinstance(node, Iterator)


def brief_error(error: BaseException) -> str:
    """Kind and first line of an error."""
    name, lines = type(error).__name__, str(error).splitlines()
    return f"{name}: {lines[0]}" if lines else name


def _brief_array(array: Any) -> str:
    told = f"{array.dtype} {tuple(array.shape)}"
    try:
        values = np.asarray(array)
    except (TypeError, RuntimeError):  # within a compiled program, or given away
        return told
    if values.dtype.kind == "b":
        return f"{told}, {np.count_nonzero(values)} true"
    if values.dtype.kind not in "fiu" or values.size == 0:
        return told
    if values.ndim == 0 or (values.ndim == 1 and values.size <= _SHOWN):
        return f"[{brief_row(values.tolist())}]" if values.ndim else f"{values:g}"
    known = values[~np.isnan(values)]
    lost = f", {values.size - known.size} NaN" if known.size < values.size else ""
    return f"{told} from {known.min():g} to {known.max():g}{lost}" if known.size else f"{told}, all NaN"


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
