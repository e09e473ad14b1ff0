"""Who decides on 64 bits: public functions that compute in them, and whoever runs an experiment; never an import."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import jax

Precision = Literal["float32", "float64"]

P = ParamSpec("P")
R = TypeVar("R")


def computing_in(precision: Precision) -> AbstractContextManager[None]:
    """Within, JAX makes numbers of this precision where nothing else is said: float64 is off unless switched on."""
    context: AbstractContextManager[None] = jax.enable_x64(precision == "float64")
    return context


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Have a public function compute in float64, whatever JAX is set to where it is called.

    Inside a program that is being compiled nothing changes: there the one who compiles it has decided.
    """

    @wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        with nullcontext() if traced else computing_in("float64"):
            return function(*args, **kwargs)

    return computed
