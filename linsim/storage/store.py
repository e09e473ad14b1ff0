"""Results on disk: DIR/data.zarr, whole or not there at all, every chunk with its checksum."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning

from linsim.errors import InvalidInput, RunFailed, brief, require
from linsim.storage.checksums import (
    CODECS,
    WRITING,
    broken,
    create,
    missing,
    require_positions,
    seal_of,
    settle_positions,
)
from linsim.storage.places import DATA as DATA
from linsim.storage.places import SEAL, Places, remove
from linsim.storage.plain import read_json
from linsim.storage.room import memory_left


def save(dataset: xr.Dataset, folder: Path) -> Path:
    """Write DIR/data.zarr beside its final name and move it there in one step; an older one is replaced.

    Where DIR/data.zarr is a link, that is done where it leads to, and the link stays. Variables that are read from
    chunks on disk are copied chunk by chunk, whatever their size.

    Raises:
      RunFailed: the disk is full or fails; then nothing is left behind, and an older result stays as it was.
    """
    places = Places.of(folder)
    try:
        remove(places.partial)
        _write(dataset, places.partial)
        _settle(places.partial)
        remove(places.replaced)
        if places.final.exists():
            os.replace(places.final, places.replaced)
        os.replace(places.partial, places.final)
        remove(places.replaced)
    except BaseException as error:  # an interrupt, too, must leave nothing half-written
        _discard(places.partial)
        places.restore()
        if not isinstance(error, OSError):
            raise
        raise RunFailed(f"out: {folder / DATA} could not be written ({error.strerror or error})") from error
    return folder / DATA


def load(folder: Path | str) -> xr.Dataset:
    """Read the result in a folder into memory.

    Raises:
      InvalidInput: there is no readable result, a chunk of it is damaged, missing or elsewhere than it was written, or
        there is no room for it in memory.
    """
    with _readable(folder) as dataset:
        free = memory_left()
        size = f"{folder} with {dataset.nbytes / 1e9:.3g} GB of numbers"
        require(
            dataset.nbytes <= free, "folder", size, f"at most {free / 1e9:.3g} GB, which are free; view() reads parts"
        )
        try:
            require_positions(Path(folder) / DATA)
            return dataset.load()
        except Exception as error:  # whatever the layers below say of a damaged chunk
            raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error})") from error


def view(folder: Path | str) -> xr.Dataset:
    """The result in a folder, whose numbers are read when they are asked for; errors as of `load`."""
    return _readable(folder)


def verify(folder: Path | str) -> None:
    """Read every chunk of a result once, one at a time, and compare attributes with their seal; errors of `load`."""
    _readable(folder).close()
    try:
        path = Path(folder) / DATA
        positions, group = require_positions(path), zarr.open_group(path, mode="r")
        told = dict(group.attrs)
        if differing := broken(told.get(SEAL), told, positions):
            raise ValueError(f"{' and '.join(differing)} changed after it was saved")
        for _, array in group.arrays():
            for part in _parts(array.shape, array.chunks):
                array[part]
    except Exception as error:  # whatever the layers below say of a damaged chunk
        raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error}), or --overwrite") from error


def _readable(folder: Path | str) -> xr.Dataset:
    require(isinstance(folder, str | Path), "folder", brief(folder), "a folder, as a path")
    path = Path(folder) / DATA
    require(path.is_dir(), "folder", str(folder), f"a folder with a {DATA} inside")
    try:
        _require_heads(path)
        for name, array in zarr.open_group(path, mode="r").arrays():
            if lost := missing(array):
                raise ValueError(f"{lost} chunks of {name} are missing")
            if (size := math.prod(array.chunks) * array.dtype.itemsize) > memory_left():
                raise ValueError(f"a chunk of {name} takes {size / 1e9:.3g} GB, more than is free")
        dataset = xr.open_zarr(path, consolidated=False, chunks=None)
        if not dataset.data_vars:
            raise ValueError("it holds no variables")
        dataset.attrs.pop(SEAL, None)  # of this store, not of what is made of its numbers
        return dataset
    except Exception as error:  # whatever the layers below say of a damaged store
        raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error})") from error


def _require_heads(path: Path) -> None:
    """ValueError unless all arrays that the group tells of are there, and say of themselves what it says of them.

    Nor may there be numbers of which nothing says what they are, where the group does not tell of arrays.
    """
    for inner in path.iterdir():
        if inner.is_dir() and not (inner / "zarr.json").is_file():
            raise ValueError(f"{inner.name} does not say what it is")
    group = read_json(path / "zarr.json")
    for name, told in (group.get("consolidated_metadata") or {}).get("metadata", {}).items():
        own = read_json(path / name / "zarr.json")
        if {**own, "attributes": None} != {**told, "attributes": None}:
            raise ValueError(f"the numbers of {name} are not as, or where, they were written")


def _write(dataset: xr.Dataset, path: Path) -> None:
    chunked = {str(name): chunks for name, variable in dataset.data_vars.items() if (chunks := _chunks(variable))}
    small = dataset.drop_vars(list(chunked)).drop_encoding()
    small.attrs.pop(SEAL, None)  # of where it was read from
    with zarr.config.set(WRITING):
        encoding: Any = {name: {"compressors": CODECS} for name in small.variables}
        small.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)
        group = zarr.open_group(path, mode="r+")
        for name, chunks in chunked.items():
            variable = dataset[name].variable
            dims = [str(dim) for dim in variable.dims]
            array = create(group, name, variable.shape, chunks, variable.dtype, dims, variable.attrs)
            for part in _parts(variable.shape, chunks):
                array[part] = variable[part].values
        group.attrs[SEAL] = seal_of({**group.attrs}, settle_positions(path))
    with warnings.catch_warnings():  # zarr's, that version 3 of the format does not have it yet; xarray warns without
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(path, zarr_format=3)


def _settle(folder: Path) -> None:
    """Have the disk, not only the system, hold every file: after a power cut, a whole that has its name is whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _chunks(variable: xr.DataArray) -> tuple[int, ...] | None:
    """Lengths of the chunks on disk that a variable is read from, if there are several."""
    chunks = variable.encoding.get("chunks")
    if chunks is None or len(chunks) != variable.ndim or all(map(int.__le__, variable.shape, chunks)):
        return None
    return tuple(chunks)


def _parts(shape: tuple[int, ...], chunks: tuple[int, ...]) -> itertools.product[tuple[slice, ...]]:
    starts = (range(0, length, chunk) for length, chunk in zip(shape, chunks, strict=True))
    return itertools.product(
        *([slice(first, first + chunk) for first in along] for along, chunk in zip(starts, chunks, strict=True))
    )


def _discard(folder: Path) -> None:
    """Remove a folder to which zarr's other writers, that outlive the error of the first, may still be adding."""
    absent = 0
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        absent = 0 if folder.exists() else absent + 1
        if absent == 3:
            return
        time.sleep(0.05)
