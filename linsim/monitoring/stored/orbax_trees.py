"""Trees that orbax has saved, of every version of its format, as NumPy arrays on no device."""

from __future__ import annotations

import gc
import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from linsim.storage.archives import require_room

UNFINISHED = ".orbax-checkpoint-tmp"
"""In the names of saves that are not at their end."""

_TREE = "_METADATA"  # in the folder of every tree that was written to its end
_FIRST_TREE = "checkpoint"  # in its place in the first versions
_ALONE = ("default", "state", "pytree")  # names of an only item to which nobody gave one
_SETTLING = 0.2  # seconds for what is under way when a read fails

MARKS = (_TREE, "_CHECKPOINT_METADATA", "manifest.ocdbt")
"""Files that only a save of orbax has."""


def is_whole(folder: Path) -> bool:
    """Whether a folder is a finished tree, or a step of several that a `CheckpointManager` saved."""
    return bool(_is_tree(folder) or _items(folder))


def is_begun(folder: Path) -> bool:
    """Whether orbax has written anything there."""
    return any((folder / name).exists() for name in (*MARKS, "d", "default"))


def read(folder: Path) -> Any:
    """The tree, or trees by the names of the items of a step; an item that nobody named is the whole.

    Raises:
      OSError: it is not readable, or takes more memory than there is.
    """
    folder = folder.absolute()  # orbax takes no other
    if _is_tree(folder):
        return _read_tree(folder)
    items = {item.name: _read_tree(item) for item in _items(folder)}
    return next(iter(items.values())) if len(items) == 1 and set(items) < {*_ALONE} else items


def _is_tree(folder: Path) -> bool:
    return (folder / _TREE).is_file() or (folder / _FIRST_TREE).is_file()


def _items(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if (item / _TREE).is_file())


def _read_tree(folder: Path) -> Any:
    import orbax.checkpoint as ocp  # where needed: it takes seconds

    def as_array(_: Any) -> Any:
        return ocp.RestoreArgs(restore_type=np.ndarray)

    with _quiet():
        try:
            with closing(ocp.PyTreeCheckpointHandler()) as handler:
                if not (folder / _TREE).is_file():
                    return handler.restore(folder)
                told = handler.metadata(folder).tree
                require_room(sum(_bytes_of(leaf) for leaf in jax.tree.leaves(told)))
                arguments = jax.tree.map(as_array, told)
                return handler.restore(folder, args=ocp.args.PyTreeRestore(restore_args=arguments))
        except Exception as error:
            fault = str(error) or type(error).__name__
        time.sleep(_SETTLING)
        gc.collect()  # of the tasks, which complain when they go
    raise OSError(fault)


def _bytes_of(leaf: Any) -> int:
    """What an array takes by the shape and kind that its tree says; other leaves are a number or a word."""
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    return 0 if shape is None or dtype is None else math.prod(shape) * np.dtype(dtype).itemsize


@contextmanager
def _quiet() -> Iterator[None]:
    """Let one error speak for all: each array that orbax has begun to open beside a broken one prints a traceback."""
    hook, logger = sys.unraisablehook, logging.getLogger("asyncio")
    disabled = logger.disabled
    sys.unraisablehook, logger.disabled = lambda _: None, True
    try:
        yield
    finally:
        sys.unraisablehook, logger.disabled = hook, disabled
