"""Who decides on 64 bits: public functions that compute in them, and whoever runs an experiment; never an import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, wraps
from typing import Literal, ParamSpec, TypeVar

import jax

from linsim.errors import InvalidInput, used_up

Precision = Literal["float32", "float64"]

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Within, JAX makes numbers of this precision where nothing else is said: float64 is off unless switched on.

    A lane that diverges is data: whoever has JAX stop at every NaN (JAX_DEBUG_NANS) means their own programs.

    Raises:
      InvalidInput: JAX_PLATFORMS asks for what is not here.
    """
    require_platform()
    with ExitStack() as settings:
        settings.enter_context(jax.enable_x64(precision == "float64"))
        if jax.config.values["jax_debug_nans"]:
            settings.enter_context(jax.debug_nans(False))
        if jax.config.values["jax_debug_infs"]:
            settings.enter_context(jax.debug_infs(False))
        yield


@cache
def require_platform() -> None:
    """Raise `InvalidInput` where JAX_PLATFORMS asks for what is not here."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter of those whose plugin is not even installed
        asked, reason = jax.config.values["jax_platforms"], str(error) or "nothing of this name is installed"
        raise InvalidInput("JAX_PLATFORMS", asked, f"a platform that is here, such as cpu ({reason})") from None


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Have a public function compute in float64, whatever JAX is set to where it is called.

    Inside a program that is being compiled nothing changes: there the one who compiles it has decided.
    """

    @wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs), is_leaf=used_up))
        with nullcontext() if traced else computing_in("float64"):
            return function(*args, **kwargs)

    return computed
