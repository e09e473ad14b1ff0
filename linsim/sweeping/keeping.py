"""What a run keeps: the chunks of a sweep, in memory or in a zarr store that outlives the process, and small results.

On disk every chunk of every array is a file of its own that carries a checksum (crc32c) and is put in place by
renaming: it is there as a whole, or not. A chunk of the sweep is finished when all its files are there, sound, and what
a line beside the store says was written for this chunk: none is taken for another.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr
import zarr
from filelock import FileLock, Timeout

from linsim.errors import InvalidInput, RunFailed, require
from linsim.storage import room
from linsim.storage.checksums import WRITING, checksum, create
from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.plain import parsed, read_json, write_json
from linsim.sweeping.plan import Box, Plan
from linsim.sweeping.results import Layout
from linsim.sweeping.running import current

_ROOM = 0.9  # share of what is free that a result may fill


@runtime_checkable
class Keeper(Protocol):
    """Takes chunks as they are finished, each once."""

    def finished(self, box: Box) -> bool:
        """Whether a chunk need not be computed."""
        ...

    def keep(self, box: Box, values: Mapping[str, np.ndarray]) -> None:
        """Take a chunk."""
        ...

    def dataset(self) -> xr.Dataset:
        """All chunks, once they are finished."""
        ...


class _Grid(NamedTuple):
    """The dimensions that the layouts are parts of."""

    dims: tuple[str, ...]
    plan: Plan

    def lengths(self, layout: Layout, of: tuple[int, ...]) -> tuple[int, ...]:
        """Of a part of the grid, of which a layout's own dimensions are as long as of all parts."""
        return tuple(layout.own[dim] if dim in layout.own else of[self.dims.index(dim)] for dim in layout.dims)

    def part(self, layout: Layout, box: Box) -> Box:
        start = tuple(0 if dim in layout.own else box.start[self.dims.index(dim)] for dim in layout.dims)
        return Box(start, self.lengths(layout, box.stop))

    def writes(self, layout: Layout, box: Box) -> bool:
        """One writer a chunk: of several that have the same numbers, the first."""
        others = (first for dim, first in zip(self.dims, box.start, strict=True) if dim not in layout.dims)
        return not any(others)

    def bytes(self, layouts: Mapping[str, Layout]) -> int:
        shape = self.plan.shape
        return sum(math.prod(self.lengths(each, shape)) * each.dtype.itemsize for each in layouts.values())


class InMemory:
    """Arrays of this process."""

    def __init__(self, layouts: Mapping[str, Layout], dims: tuple[str, ...], plan: Plan) -> None:
        self._layouts, self._grid = layouts, _Grid(dims, plan)
        free = int(_ROOM * room.memory_left())
        _require_room(self._grid, layouts, free, "in memory; --out, or out=, keeps them on disk")
        self._arrays = {
            name: np.empty(self._grid.lengths(layout, plan.shape), layout.dtype) for name, layout in layouts.items()
        }

    def finished(self, box: Box) -> bool:
        """Nothing was kept from before."""
        return False

    def keep(self, box: Box, values: Mapping[str, np.ndarray]) -> None:
        """Fill in a chunk."""
        for name, layout in self._layouts.items():
            self._arrays[name][self._grid.part(layout, box).slices] = values[name]

    def dataset(self) -> xr.Dataset:
        """The arrays."""
        return xr.Dataset(
            {name: (layout.dims, self._arrays[name], dict(layout.attrs)) for name, layout in self._layouts.items()}
        )


class OnDisk:
    """A zarr group; one process at a time, which the folder around it sees to."""

    def __init__(self, folder: Path, layouts: Mapping[str, Layout], dims: tuple[str, ...], plan: Plan) -> None:
        """Open what a killed process left behind, or begin; the plan must be that of `kept_plan` where there is one."""
        self._folder, self._layouts, self._grid = folder, layouts, _Grid(dims, plan)
        self._book = folder.with_name(f"{folder.name}.chunks")
        if not folder.exists():
            free = int(_ROOM * room.disk_left(folder.parent)) // 2  # once as chunks, once more as the saved result
            _require_room(self._grid, layouts, free, "for one of two copies on the disk")
            self._book.unlink(missing_ok=True)
            with _writing(folder):
                self._create()
        for leftover in folder.rglob("*.partial"):
            leftover.unlink(missing_ok=True)
        try:
            with zarr.config.set(WRITING):  # an array keeps the settings that it was opened with
                group = zarr.open_group(folder, mode="r+")
                self._arrays: dict[str, Any] = {name: group[name] for name in layouts}
        except Exception as error:  # whatever zarr or JSON say of damage
            raise InvalidInput("resume", str(folder), f"readable chunks ({error}), or --overwrite") from error
        self._written = dict(_entries(self._book))

    def finished(self, box: Box) -> bool:
        """Whether all files of a chunk are there and sound; reading them compares the checksums."""
        written = self._written.get(box.start, {})
        for name, layout in self._layouts.items():
            if self._grid.writes(layout, box):
                file = self._file(name, layout, box)
                if not file.is_file() or checksum(file) != written.get(name):
                    return False
                try:
                    self._arrays[name][self._grid.part(layout, box).slices]
                except Exception:  # whatever the codecs say of damage
                    return False
        return True

    def keep(self, box: Box, values: Mapping[str, np.ndarray]) -> None:
        """Write a chunk; `RunFailed` where the disk is full or fails."""
        with _writing(self._folder):
            mine = {name: layout for name, layout in self._layouts.items() if self._grid.writes(layout, box)}
            for name, layout in mine.items():
                self._arrays[name][self._grid.part(layout, box).slices] = values[name]
            written = {name: checksum(self._file(name, layout, box)) for name, layout in mine.items()}
            with self._book.open("a", encoding="utf-8") as book:
                book.write(f"\n{json.dumps({'start': box.start, 'checksums': written})}\n")  # also after half a line
        self._written[box.start] = written

    def dataset(self) -> xr.Dataset:
        """The arrays, read when they are asked for."""
        dataset = xr.open_zarr(self._folder, consolidated=False, chunks=None).drop_attrs(deep=False)
        return dataset[list(self._layouts)]

    def _file(self, name: str, layout: Layout, box: Box) -> Path:
        numbers = map(
            int.__floordiv__, self._grid.part(layout, box).start, self._grid.lengths(layout, self._grid.plan.chunk)
        )
        return self._folder.joinpath(name, "c", *map(str, numbers))

    def _create(self) -> None:
        """Beside its place first, so that it is there with all its arrays or not at all."""
        beginning = self._folder.with_name(f"{self._folder.name}.begin")
        shutil.rmtree(beginning, ignore_errors=True)
        group = zarr.create_group(beginning, attributes={"plan": json.dumps(self._grid.plan.as_dict())})
        for name, layout in self._layouts.items():
            shape, chunks = (self._grid.lengths(layout, of) for of in (self._grid.plan.shape, self._grid.plan.chunk))
            create(group, name, shape, chunks, layout.dtype, layout.dims, layout.attrs)
        os.replace(beginning, self._folder)


def _entries(book: Path) -> Iterator[tuple[tuple[int, ...], dict[str, str]]]:
    """Start of a chunk -> checksums of its files by variable; lines that a killed process left in pieces are none."""
    for line in book.read_text(encoding="utf-8", errors="replace").splitlines() if book.exists() else ():
        with suppress(ValueError, TypeError, KeyError):
            told = parsed(line)
            yield tuple(map(int, told["start"])), dict(told["checksums"])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a folder of chunks for this process; `InvalidInput` where another has it."""
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=0):
            yield
    except Timeout:
        raise InvalidInput("keep", str(folder), "a folder that no other run is writing to at the moment") from None


def kept_plan(folder: Path, shape: tuple[int, ...]) -> Plan | None:
    """The plan that the chunks in a folder were cut by; None where nothing was begun."""
    if not folder.exists():
        return None
    try:
        plan = parsed(str(zarr.open_group(folder, mode="r").attrs["plan"]))
        lengths = {name: tuple(plan[name]) for name in ("shape", "chunk", "block")}
        found = Plan(**lengths, bite=int(plan["bite"]))
        if found.shape != shape or not found.sound:
            raise ValueError("its plan is damaged")
        return found
    except Exception as error:  # whatever zarr or JSON say of damage
        raise InvalidInput("resume", str(folder), f"chunks with a readable plan ({error}), or --overwrite") from error


def require_joinable(layouts: Mapping[str, Layout], dims: tuple[str, ...], plan: Plan) -> None:
    """`InvalidInput` where a sweep and another one of as many budgets are too large to be joined, in memory."""
    free = int(_ROOM * room.memory_left()) // 4  # two, and the two together
    where = "in memory, where added budgets are joined; --pretrain.tolerance None, or tolerance=None, adds none"
    _require_room(_Grid(dims, plan), layouts, free, where)


def _require_room(grid: _Grid, layouts: Mapping[str, Layout], free: int, where: str) -> None:
    lanes = math.prod(grid.plan.shape)
    needed = grid.bytes(layouts)
    allowed = f"at most {int(lanes * free / max(needed, 1)):.3g}: {needed / 1e9:.3g} GB, of {free / 1e9:.3g} GB {where}"
    require(needed <= free, "lanes", f"{lanes:.4g}", allowed)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFailed(f"out: {folder} could not be written ({error.strerror or error})") from error


def remembered(of: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    """What `compute` returns, or returned before in this run or in the one it resumes.

    Args:
      of: all that the result depends on, see `linsim.storage.fingerprint`.
      compute: returns anything that JSON can hold; numbers come back bit for bit.

    Raises:
      RunFailed: the disk is full or fails.
    """
    keep = current().keep
    if keep is None:
        return compute()
    file = keep / f"{digest(fingerprint(of))}.json"
    try:
        told = read_json(file)
        if told["checksum"] == _checksum(told["value"]):
            return told["value"]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not there yet, or damaged: either way it is computed
    value = json.loads(json.dumps(compute()))
    write_json({"checksum": _checksum(value), "value": value}, file)
    return value


def _checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
