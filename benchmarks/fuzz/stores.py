"""Stores of results: files that were damaged, lost or exchanged, which must never be read as other numbers."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.fuzz.kinds import Kind, chosen, damaged, put, refusal_or_fault
from linsim.storage import store

_SAVED = xr.Dataset(
    {
        "loss": (("pretrain_steps", "seed"), np.arange(12.0).reshape(4, 3)),
        "diverged": (("pretrain_steps", "seed"), np.arange(12).reshape(4, 3) % 5 == 0),
    },
    coords={"pretrain_steps": [1, 2, 4, 8], "seed": [0, 1, 2]},
    attrs={"config": "{}", "experiment": "fuzz"},
)


def _attempt(rng: np.random.Generator, folder: Path) -> str | None:
    whole = _whole(vars(store)["CODECS"])
    shutil.copytree(whole, folder / "result")
    for _ in range(int(rng.integers(1, 3))):
        _damage(folder / "result", rng)

    def load() -> str | None:
        found = store.load(folder / "result")
        same = all(name in found and np.array_equal(found[name], _SAVED[name]) for name in _SAVED.variables)
        return None if same else "read with other numbers than were saved"

    return refusal_or_fault(load)


@cache
def _whole(_: Any) -> Path:
    """A result as it was saved, once for each way of saving."""
    folder = Path(mkdtemp(prefix="linsim-fuzz-"))
    store.save(_SAVED, folder)
    return folder


def _damage(result: Path, rng: np.random.Generator) -> None:
    files = sorted(path for path in result.rglob("*") if path.is_file())
    path = chosen(rng, files)
    match rng.integers(5):
        case 0 | 1:
            path.write_bytes(damaged(path.read_bytes(), rng))
        case 2:
            path.unlink()
        case 3:
            path.write_bytes(chosen(rng, files).read_bytes())
        case _:
            path = chosen(rng, [each for each in files if each.suffix == ".json"] or files)
            path.write_text(json.dumps(chosen(rng, [None, [], {}, 0, "", {"zarr_format": 3, "node_type": "group"}])))


def _plant() -> AbstractContextManager[None]:
    """Chunks are saved without checksums."""
    return put(store, "CODECS", ())


KIND = Kind("stores", _attempt, _plant)
