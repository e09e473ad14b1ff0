"""Arrays in archives of others: what they unpack to stands at their heads, and is known before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linsim.storage.room import memory_left

_HEADS: Mapping[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}  # version 3 is for names of fields beyond Latin-1 alone, and arrays of numbers have no fields


_MAGIC = np.lib.format.magic(1, 0)  # and two bytes of the version at its end


class Head(NamedTuple):
    """What an array says of itself before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """That its numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def unpacked(path: Path) -> int:
    """Bytes that the arrays of a .npz file take, by their heads."""
    return sum(head.bytes for head in heads(path, foreign=True).values())


def require_room(needed: int) -> None:
    """ValueError where arrays take more than half of the memory that is free: they are copied."""
    free = memory_left() // 2
    if needed > free:
        raise ValueError(f"its arrays take {needed / 1e6:.4g} MB, and half of what is free is {free / 1e6:.4g} MB")


def heads(path: Path, foreign: bool = False) -> dict[str, Head]:
    """Name -> head of every array in a .npz file, whatever else is in it; nothing but heads is unpacked.

    Args:
      path: of the file.
      foreign: whether to take kinds of numbers that NumPy writes and cannot name, such as float8, as that many bytes.

    Raises:
      ValueError: an array that says more, or less, than there is of it, or is of Python's objects.
      Exception: whatever zipfile and NumPy say of a damaged archive.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                first = file.read(len(_MAGIC))
                if first[:-2] != _MAGIC[:-2]:
                    continue  # no array
                version = (first[-2], first[-1])
                if version not in _HEADS:
                    raise ValueError(f"{member.filename} is of version {version} of the format")
                try:
                    shape, _, dtype = _HEADS[version](file)
                except ValueError as error:
                    if not foreign or "dtype descriptor" not in str(error):
                        raise
                    shape, dtype = (member.file_size - file.tell(),), np.dtype(np.uint8)
                head = Head(shape, dtype)
                if dtype.hasobject:
                    raise ValueError("Object arrays cannot be loaded when allow_pickle=False")  # in NumPy's words
                if head.bytes != member.file_size - file.tell():
                    raise ValueError(
                        f"{member.filename} says {head.bytes} bytes, and holds {member.file_size - file.tell()}"
                    )
            found[member.filename.removesuffix(".npy")] = head
    return found
