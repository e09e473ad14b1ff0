"""Arrays in archives of others: what they unpack to stands at their heads, and is known before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_HEADS: Mapping[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}  # version 3 is for names of fields beyond Latin-1 alone, and arrays of numbers have no fields


class Head(NamedTuple):
    """What an array says of itself before its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """That its numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def heads(path: Path) -> dict[str, Head]:
    """Name -> head of every array in a .npz file; nothing but heads is unpacked, and nothing is unpickled.

    Raises:
      ValueError: an array that says more, or less, than there is of it, or is of Python's objects.
      Exception: whatever zipfile and NumPy say of a damaged archive.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                if version not in _HEADS:
                    raise ValueError(f"{member.filename} is of version {version} of the format")
                shape, _, dtype = _HEADS[version](file)
                head = Head(shape, dtype)
                if dtype.hasobject:
                    raise ValueError(f"{member.filename} holds objects, which would be unpickled")
                if head.bytes != member.file_size - file.tell():
                    raise ValueError(
                        f"{member.filename} says {head.bytes} bytes, and holds {member.file_size - file.tell()}"
                    )
            found[member.filename.removesuffix(".npy")] = head
    return found
