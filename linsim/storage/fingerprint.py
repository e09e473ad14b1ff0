"""What a sweep is of, field by field: two sweeps of the same fields have the same results."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import jax
import numpy as np

from linsim.storage.sources import is_ours

_SHOWN = 12  # numbers of an array; of larger ones a digest
_OURS = __name__.partition(".")[0]
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of another process, another one
_DATA = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, np.ndarray, np.generic, jax.Array)


def fingerprint(named: Mapping[str, Any]) -> dict[str, str]:
    """Fields -> values as text, whatever is nested in them spelt out; arrays and functions by what they hold.

    A dataclass is told as its class, and its fields; of a class from outside linsim the methods count as well.
    """
    found: dict[str, str] = {}
    for name, value in named.items():
        inner = _inside(value)
        if _is_dataclass(value):
            found[name] = _class(type(value))
        elif not inner:
            found[name] = _text(value)
        found |= {f"{name}.{key}": text for key, text in fingerprint(inner).items()}
    return found


def digest(fields_of: Mapping[str, str]) -> str:
    """A short name for a fingerprint."""
    return hashlib.sha256(json.dumps(dict(fields_of), sort_keys=True).encode()).hexdigest()[:16]


def differences(kept: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Fields in which two fingerprints differ, with both values."""
    names = dict.fromkeys([*kept, *now])
    return [
        f"{name}: {kept.get(name, 'absent')}, now {now.get(name, 'absent')}"
        for name in names
        if kept.get(name) != now.get(name)
    ]


def _inside(value: Any) -> dict[str, Any]:
    """What is nested in a value, by name."""
    if isinstance(value, Mapping):
        return {str(key): each for key, each in value.items()}
    return {field.name: getattr(value, field.name) for field in fields(value)} if _is_dataclass(value) else {}


def _is_dataclass(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _text(value: Any, inside: tuple[int, ...] = ()) -> str:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        if array.size <= _SHOWN and array.ndim <= 1:
            return str(array.tolist())
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]
        return f"{array.dtype.name} {array.shape} {content}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_text(each, inside) for each in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_text(each, inside) for each in value))}}}"
    if inner := _inside(value):
        kind = _class(type(value)) if _is_dataclass(value) else ""
        return f"{kind}{{{', '.join(f'{name}: {_text(each, inside)}' for name, each in inner.items())}}}"
    return _function(value, inside) if callable(value) else _ADDRESS.sub("", str(value))


def _function(function: Any, inside: tuple[int, ...] = ()) -> str:
    """A function by its name, its code and all that it computes with: equal schedules, made twice, are equal.

    Of those that it is told inside of, as of one that calls itself, the name alone.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    if id(function) in inside:
        return str(name)
    inside = (*inside, id(function))
    if isinstance(function, partial):
        return f"{_function(function.func, inside)}{_text(function.args, inside)}{fingerprint(function.keywords)}"
    if isinstance(function, MethodType):
        return f"{_function(function.__func__, inside)} of {_text(function.__self__, inside)}"
    if (inner := getattr(function, "__wrapped__", None)) is not None and not isinstance(function, FunctionType):
        return _function(inner, inside)
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{name} {_text(sorted(getattr(function, '__dict__', {}).items()), inside)}"
    cells = [_text(_content(cell), inside) for cell in function.__closure__ or ()]
    defaults = _text([*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())])
    around = [f"{each}: {_text(held, inside)}" for each, held in _around(function, code)]
    held = [*cells, *around]
    return f"{name} {hashlib.sha256(_source(code).encode()).hexdigest()[:8]} {defaults} [{', '.join(held)}]"


def _around(function: FunctionType, code: CodeType) -> Iterator[tuple[str, Any]]:
    """What a function that was not installed takes from its module: data, and functions of that module."""
    here = function.__globals__
    top = str(here.get("__name__", "")).partition(".")[0]
    if top == _OURS or not is_ours(top):  # then the source tells, or the version
        return
    for name in sorted(_names(code)):
        value = here.get(name)
        own = isinstance(value, FunctionType) and value.__globals__ is here
        if own or (isinstance(value, _DATA) and not callable(value)):
            yield name, value


def _names(code: CodeType) -> set[str]:
    """All names that code refers to, that of functions inside included."""
    return {*code.co_names}.union(*(_names(each) for each in code.co_consts if isinstance(each, CodeType)))


def _class(kind: type) -> str:
    """A class by its name, and by the code of its methods unless they are ours: then the source tells."""
    ours = kind.__module__.partition(".")[0] == _OURS
    held = {} if ours else {name: member for each in kind.__mro__[::-1] for name, member in vars(each).items()}
    methods = [_function(each) for name, each in held.items() if isinstance(each, FunctionType) and _is_own(name)]
    return " ".join([kind.__qualname__, *([digest({"methods": str(methods)})] if methods else [])])


def _is_own(name: str) -> bool:
    """Whether a method is written by hand, not made by `dataclass`."""
    return name == "__call__" or not name.startswith("__")


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "nothing yet"


def _source(code: CodeType) -> str:
    """Instructions, names and constants, those of functions inside included."""
    constants = [_source(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _constant(value: Any) -> str:
    """As Python writes it; sets, which every process has in another order, in one order."""
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
