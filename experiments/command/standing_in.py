"""Stand-ins for the libraries that compute, while no more is asked than which flags there are.

JAX and xarray take seconds to import, and --help needs no number of theirs. Within `standing_in` whatever is imported
from them is a stand-in: it may be called, subscripted, inherited from, and decorates a class with nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_HEAVY = frozenset(
    {
        "filelock",
        "flax",
        "hypothesis",
        "jax",
        "jaxtyping",
        "matfree",
        "matplotlib",
        "optax",
        "orbax",
        "pandas",
        "psutil",
    }
    | {"rich", "scipy", "sklearn", "tyro", "xarray", "zarr"}
)
_OURS = ("linsim", "linsim_lab", "experiments", "figures", "pages")


class _StandIn(ModuleType):
    """Takes the place of a module and of whatever is in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _StandIn(f"{self.__name__}.{name}")

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        decorated = len(arguments) == 1 and isinstance(arguments[0], type)
        return arguments[0] if decorated else self

    def __getitem__(self, _: Any) -> Any:
        return self

    def __or__(self, _: Any) -> Any:
        return self

    __ror__ = __or__

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[type, ...]:
        return ()


class _Finder:
    """Finds stand-ins, and loads them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in _HEAVY or not isinstance(sys.modules.get(top, _StandIn(top)), _StandIn):  # or it is there already
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type] # all that a loader needs

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def standing_in() -> Iterator[None]:
    """Within, heavy libraries are stood in for; after it whatever was made with stand-ins is forgotten.

    Where JAX is imported already nothing is stood in for, as nothing would be saved.
    """
    if "jax" in sys.modules:
        yield
        return
    before, finder = set(sys.modules), stand_in()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget(set(sys.modules) - before)


def stand_in() -> Any:
    """The same from now on, in a process that ends with what it was asked for."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    return finder


def _forget(names: set[str]) -> None:
    """Have modules imported anew when they are asked for next: stand-ins, and ours, which hold them."""
    for name in names:
        module = sys.modules[name]
        if isinstance(module, _StandIn) or name.partition(".")[0] in _OURS:
            del sys.modules[name]
            package, _, inside = name.rpartition(".")
            if getattr(sys.modules.get(package), inside, None) is module:
                delattr(sys.modules[package], inside)
