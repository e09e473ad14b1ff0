"""Results on disk: DIR/data.zarr, whole or not there at all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import xarray as xr

from linsim.errors import InvalidInput, RunFailed, require

DATA = "data.zarr"
_PARTIAL, _REPLACED = ".data.zarr.partial", ".data.zarr.replaced"


def prepare(folder: Path, overwrite: bool) -> bool:
    """Make sure, before any work is done, that a result can be written to a folder.

    Returns:
      Whether the folder is new.

    Raises:
      InvalidInput: the folder holds something and `overwrite` is off, or nothing can be written there.
    """
    try:
        new = not folder.exists()
        if not new and not folder.is_dir():
            raise InvalidInput("out", str(folder), "a folder, and this is a file")
        if (folder / _REPLACED).exists() and not (folder / DATA).exists():  # killed while replacing: the old one counts
            os.replace(folder / _REPLACED, folder / DATA)
        if folder.is_dir() and not overwrite:
            inside = {entry.name for entry in folder.iterdir()} - {_PARTIAL, _REPLACED}
            require(not inside, "out", str(folder), "a folder that is new or empty, or --overwrite")
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

    Raises:
      RunFailed: the disk is full or fails; then nothing is left behind, and an older result stays as it was.
    """
    partial, final, replaced = folder / _PARTIAL, folder / DATA, folder / _REPLACED
    try:
        shutil.rmtree(partial, ignore_errors=True)
        dataset.to_zarr(partial, mode="w-", zarr_format=3, consolidated=False)
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


def _discard(folder: Path) -> None:
    """Remove a folder to which zarr's other writers, that outlive the error of the first, may still be adding."""
    absent = 0
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        absent = 0 if folder.exists() else absent + 1
        if absent == 3:
            return
        time.sleep(0.05)


def load(folder: Path | str) -> xr.Dataset:
    """Read the result in a folder into memory.

    Raises:
      InvalidInput: there is no readable result.
    """
    path = Path(folder) / DATA
    require(path.is_dir(), "folder", str(folder), f"a folder with a {DATA} inside")
    try:
        with xr.open_zarr(path, consolidated=False) as dataset:
            if not dataset.data_vars:
                raise ValueError("it holds no variables")
            return dataset.load()
    except Exception as error:  # whatever the layers below say of a damaged store
        raise InvalidInput("folder", str(folder), f"a complete {DATA} ({error})") from error
