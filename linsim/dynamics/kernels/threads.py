"""Kernels called on arrays: lanes shared out over threads, which the interpreter does not hold back."""

from __future__ import annotations

import ctypes
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol, runtime_checkable

import numpy as np
import psutil

from linsim.dynamics.kernels.host import Compiled, compiled
from linsim.dynamics.kernels.vectors import Registers

_PARTS = 4  # of each thread: lanes end together where one of the cores has other work, too
_LINE = 64  # bytes, from one of whose multiples on memory is handed out


@runtime_checkable
class Kernel(Hashable, Protocol):
    """What can be compiled."""

    @property
    def registers(self) -> Registers:
        """Of the processor that it is for."""
        ...

    def written(self) -> tuple[str, int]:
        """The code, and the bytes that each thread needs beside the arrays."""
        ...


def run(kernel: Kernel, arrays: Sequence[np.ndarray], lanes: int, steps: int) -> None:
    """All steps of all lanes, in arrays as they lie in memory. Every lane is the same whoever computes it.

    Args:
      kernel: which.
      arrays: of its table, contiguous, of its kind of numbers.
      lanes: how many.
      steps: how many.
    """
    if not (lanes and steps):
        return
    code, scratch = _compiled(kernel)
    table = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
    threads = min(_cores(), lanes)
    edges = np.linspace(0, lanes, min(lanes, _PARTS * threads if threads > 1 else 1) + 1).astype(int)

    def part(first: int, last: int) -> None:
        beside = empty((scratch,), np.dtype(np.uint8))
        code.run(table, first, last - first, steps, beside.ctypes.data)

    if threads == 1:
        part(0, lanes)
        return
    with ThreadPoolExecutor(threads, "kernels") as pool:
        list(pool.map(part, edges[:-1].tolist(), edges[1:].tolist()))


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that begins with a line of the cache."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size].view(dtype).reshape(shape)


@cache
def _compiled(kernel: Kernel) -> tuple[Compiled, int]:
    text, scratch = kernel.written()
    return compiled(text, kernel.registers.bits), scratch


def cores() -> int:
    """That this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


_cores = cache(cores)  # asked once, as that takes milliseconds
