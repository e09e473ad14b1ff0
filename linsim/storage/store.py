"""Results on disk: DIR/data.zarr, whole or not there at all, every chunk with its checksum."""

from __future__ import annotations

import itertools
import json
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
from linsim.storage.checksums import CODECS, WRITING, create, missing

DATA = "data.zarr"
UNFINISHED, LOCK = ".unfinished", ".lock"
"""Beside it: what a run that is under way has finished so far (see `linsim.storage.leases`), and who is at it."""

_PARTIAL, _REPLACED = ".data.zarr.partial", ".data.zarr.replaced"


def prepare(folder: Path, overwrite: bool, resume: bool = False) -> bool:
    """Make sure, before any work is done, that a result can be written to a folder.

    Returns:
      Whether the folder is new.

    Raises:
      InvalidInput: the folder holds something and neither `overwrite` nor `resume` is on, or nothing can be written.
    """
    try:
        new = not folder.exists()
        if not new and not folder.is_dir():
            raise InvalidInput("out", str(folder), "a folder, and this is a file")
        if (folder / _REPLACED).exists() and not (folder / DATA).exists():  # killed while replacing: the old one counts
            os.replace(folder / _REPLACED, folder / DATA)
        if folder.is_dir() and not (overwrite or resume):
            begun = "; --resume goes on with the unfinished run in it" * (folder / UNFINISHED).exists()
            inside = {entry.name for entry in folder.iterdir()} - {_PARTIAL, _REPLACED, LOCK}
            require(not inside, "out", str(folder), f"a folder that is new or empty, or --overwrite{begun}")
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / _PARTIAL
        shutil.rmtree(probe, ignore_errors=True)
        probe.mkdir()
        probe.rmdir()
        return new
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name no file system takes
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("out", str(folder), f"a folder that can be written ({reason})") from error


def save(dataset: xr.Dataset, folder: Path) -> Path:
    """Write DIR/data.zarr beside its final name and move it there in one step; an older one is replaced.

    Variables that are read from chunks on disk are copied chunk by chunk, whatever their size.

    Raises:
      RunFailed: the disk is full or fails; then nothing is left behind, and an older result stays as it was.
    """
    partial, final, replaced = folder / _PARTIAL, folder / DATA, folder / _REPLACED
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _write(dataset, partial)
        _settle(partial)
        shutil.rmtree(replaced, ignore_errors=True)
        if final.exists():
            os.replace(final, replaced)
        os.replace(partial, final)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException as error:  # an interrupt, too, must leave nothing half-written
        _discard(partial)
        if replaced.exists() and not final.exists():
            os.replace(replaced, final)
        if not isinstance(error, OSError):
            raise
        raise RunFailed(f"out: {final} could not be written ({error.strerror or error})") from error
    return final


def load(folder: Path | str) -> xr.Dataset:
    """Read the result in a folder into memory.

    Raises:
      InvalidInput: there is no readable result, or a chunk of it is damaged or missing.
    """
    with _readable(folder) as dataset:
        try:
            return dataset.load()
        except Exception as error:  # whatever the layers below say of a damaged chunk
            raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error})") from error


def view(folder: Path | str) -> xr.Dataset:
    """The result in a folder, whose numbers are read when they are asked for; errors as of `load`."""
    return _readable(folder)


def verify(folder: Path | str) -> None:
    """Read every chunk of a result once, one at a time; errors as of `load`."""
    _readable(folder).close()
    try:
        for _, array in zarr.open_group(Path(folder) / DATA, mode="r").arrays():
            for part in _parts(array.shape, array.chunks):
                array[part]
    except Exception as error:  # whatever the layers below say of a damaged chunk
        raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error}), or --overwrite") from error


def write_json(told: Any, file: Path) -> Path:
    """Write plain data as JSON beside its final name and move it there in one step; an older one is replaced.

    Raises:
      RunFailed: the disk is full or fails; then nothing is left behind, and an older file stays as it was.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, file)
    except OSError as error:
        raise RunFailed(f"out: {file} could not be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
    return file


def _readable(folder: Path | str) -> xr.Dataset:
    require(isinstance(folder, str | Path), "folder", brief(folder), "a folder, as a path")
    path = Path(folder) / DATA
    require(path.is_dir(), "folder", str(folder), f"a folder with a {DATA} inside")
    try:
        _require_heads(path)
        for name, array in zarr.open_group(path, mode="r").arrays():
            if lost := missing(array):
                raise ValueError(f"{lost} chunks of {name} are missing")
        dataset = xr.open_zarr(path, consolidated=False, chunks=None)
        if not dataset.data_vars:
            raise ValueError("it holds no variables")
        return dataset
    except Exception as error:  # whatever the layers below say of a damaged store
        raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error})") from error


def _require_heads(path: Path) -> None:
    """ValueError unless all arrays that the group tells of are there, and say of themselves what it says of them."""
    group = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    for name, told in (group.get("consolidated_metadata") or {}).get("metadata", {}).items():
        own = json.loads((path / name / "zarr.json").read_text(encoding="utf-8"))
        if {**own, "attributes": None} != {**told, "attributes": None}:
            raise ValueError(f"{name} is not what the store says that it is")


def _write(dataset: xr.Dataset, path: Path) -> None:
    chunked = {str(name): chunks for name, variable in dataset.data_vars.items() if (chunks := _chunks(variable))}
    small = dataset.drop_vars(list(chunked)).drop_encoding()
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
