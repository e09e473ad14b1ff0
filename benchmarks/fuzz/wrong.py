"""Values that are wrong for one argument or another, and whether what comes of them may stand."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from benchmarks.fuzz.calls import PHASE, PROBLEM, TASK, Call
from benchmarks.fuzz.kinds import refusal_or_fault

NAN = float("nan")
VALUES: Mapping[str, Callable[[], Any]] = {
    **{repr(value): lambda value=value: value for value in (None, True, "text", "", b"abc", 1 + 2j)},  # type: ignore[misc]
    **{repr(value): lambda value=value: value for value in (NAN, -1, 0, -0.5, 0.5, 2, 7, 10**30, 1e300, 1e-300)},  # type: ignore[misc]
    **{repr(value): lambda value=value: value for value in (float("inf"), -float("inf"))},  # type: ignore[misc]
    **{repr(kind()): kind for kind in (list, tuple, dict, set)},
    "object": object,
    "class": lambda: int,
    "function": lambda: lambda *_, **__: None,
    "function of nothing": lambda: lambda: None,
    "iterator": lambda: iter([1.0]),
    "mapping": lambda: {"a": 1},
    "path": lambda: Path("nowhere"),
    "date": lambda: datetime.date(2020, 1, 1),
    "ragged list": lambda: [1, [2, 3]],
    "list of NaN": lambda: [NAN],
    "list of negatives": lambda: [-1.0],
    "list of None": lambda: [None],
    "list of text": lambda: ["a"],
    "float32": lambda: np.float32(2),
    "int64": lambda: np.int64(2),
    "array of one NaN": lambda: np.array(NAN),
    "empty array": lambda: np.array([]),
    "matrix without columns": lambda: np.zeros((2, 0)),
    "vector": lambda: np.array([3.0, 2.0, 1.0]),
    "negative vector": lambda: -np.ones(3),
    "masked vector": lambda: np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]),
    "matrix": lambda: np.eye(3),
    "matrix of NaN": lambda: np.full((3, 3), NAN),
    "large matrix": lambda: 1e200 * np.eye(3),
    "small matrix": lambda: 1e-200 * np.eye(3),
    "complex matrix": lambda: np.eye(3) + 1j,
    "flags": lambda: np.ones((3, 3), bool),
    "texts": lambda: np.array(["a", "b"]),
    "objects": lambda: np.array([None, 1], object),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "array of JAX": lambda: jnp.ones(2),
    "key": lambda: jax.random.key(0),
    "dataset": lambda: xr.Dataset({"x": ("y", [1.0])}),
    "task": lambda: TASK,
    "phase": lambda: PHASE,
    "problem": lambda: PROBLEM,
}


def fault(call: Call, **changes: Any) -> str | None:
    """What is wrong with what comes of wrong values, in a line; None where it may stand.

    May stand: a refusal in one line, or a result whose NaNs and infinite numbers are named in the docstring of what was
    called. A warning may not.
    """
    return refusal_or_fault(lambda: _unnamed(call, call(**changes)), Warning)


def _unnamed(call: Call, result: Any) -> str | None:
    """NaN and infinite numbers of a result that nothing names."""
    words = f"{call.told} {_source_of(type(result))}"
    arrays = [np.asarray(leaf) for leaf in _leaves(result)]
    if any(np.isnan(array).any() for array in arrays) and "NaN" not in words:
        return "NaN, which the docstring does not name"
    if any(np.isinf(array).any() for array in arrays) and "nfinite" not in words and "-inf" not in words:
        return "infinite, which the docstring does not name"
    return None


def _source_of(kind: type) -> str:
    """Where the fields of a result of linsim are told."""
    return inspect.getsource(kind) if kind.__module__.startswith("linsim.") else ""


def _leaves(value: Any) -> Iterator[Any]:
    """All floating-point numbers and arrays of a result."""
    if isinstance(value, xr.Dataset):
        value = [variable.values for variable in value.variables.values()]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
        yield value
