"""What somebody else's code is called on a command line, MODULE:NAME, and its failures in one line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

import linsim
from linsim.errors import InvalidInput, RunFailed, require
from linsim.measure import Measure, placed
from linsim.measures.built_in import built_in
from linsim.tasks import Transfer

T = TypeVar("T")


def named(field: str, name: str) -> Any:
    """What MODULE:NAME names; MODULE is imported, from the current folder first.

    Raises:
      InvalidInput: no such module, it fails when imported, or has no such name.
    """
    module, colon, attribute = name.partition(":")
    right = bool(colon and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")))
    require(right, field, name or "nothing", "MODULE:NAME, such as my_training:loss")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, module.partition(".")[0]):
            raise InvalidInput(field, name, f"a module that can be imported: it lacks {error.name}") from error
        raise InvalidInput(field, name, f"a module that is found: {module} is not, from {here}") from error
    except (Exception, SystemExit) as error:
        raise InvalidInput(field, name, f"a module that can be imported: {_told(error)}") from error
    require(hasattr(imported, attribute), field, name, f"a name in {getattr(imported, '__file__', module)}")
    return getattr(imported, attribute)


def named_measures(texts: Sequence[str], transfer: Transfer) -> list[Measure]:
    """Measures by name: built in, or MODULE:NAME of somebody's own; see `linsim.measures.built_in.built_in`."""
    return [_own_measure(text) if ":" in text else built_in(text, transfer) for text in texts]


def _own_measure(text: str) -> Measure:
    """MODULE:NAME, MODULE:NAME@PLACE or MODULE:NAME@PLACE=CALLED."""
    name, _, place = text.partition("@")
    found = named("measure", name)
    require(isinstance(found, Measure), "measure", text, "a value of linsim.Measure, in MODULE:NAME")
    return placed(found, place, text, "MODULE:NAME, MODULE:NAME@PLACE or MODULE:NAME@PLACE=CALLED")


def call_named(field: str, name: str, call: Callable[[], T]) -> T:
    """The result of somebody else's code; `InvalidInput` with file and line where it fails, or ends the process.

    What is no fault of theirs is passed on: `RunFailed`, and what JAX or the machine has no room for.
    """
    try:
        return call()
    except (InvalidInput, RunFailed, MemoryError, jax.errors.JaxRuntimeError):
        raise
    except (Exception, SystemExit) as error:
        raise InvalidInput(field, name, f"code that does not fail: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """KeyError: 'w' (my_training.py, line 12)."""
    frames = traceback.extract_tb(error.__traceback__)
    library = Path(linsim.__file__).parent
    beside = (library.parent / name for name in ("experiments", "linsim_lab"))
    ours = (library, *beside, Path(jax.__file__).parent.parent)
    installed = (*map(str, ours), sys.base_prefix, "<")
    theirs = [frame for frame in frames if not frame.filename.startswith(installed)]
    where = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    reason = (str(error) or "no reason given").splitlines()[0][:160]
    return f"{type(error).__name__}: {reason}{where}"
