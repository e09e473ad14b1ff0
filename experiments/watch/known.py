"""What a watched run is of, beside its code: content of checkpoints and microbatches; and what is known already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import jax
import xarray as xr

from linsim.commands.named import call_named, named
from linsim.measures.estimates import Estimate
from linsim.monitoring.checkpoints import Checkpoint
from linsim.monitoring.measuring import Reading
from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.identity import content


def contents(checkpoints: Iterable[Checkpoint]) -> dict[str, str]:
    """Part of the field `folder` -> digest, for every checkpoint."""
    return {f"folder.{each.path.name}": content(each.path) for each in checkpoints}


def batches_of(name: str, field: str = "batches") -> list[Any]:
    """All microbatches of MODULE:NAME; `InvalidInput` names the field where it fails."""
    batches = named(field, name)

    def made() -> list[Any]:
        found = batches() if callable(batches) else batches
        return _gone_through(found) if iter(found) is found else list(found)

    return call_named(field, name, made)


def digest_of(batches: Iterable[Any]) -> str:
    """Of all that is in microbatches."""
    return digest(fingerprint({"batches": jax.tree.leaves(list(batches))}))


def known(earlier: xr.Dataset | None) -> dict[str, Reading]:
    """The readings in a result, by the name of the checkpoint."""
    if earlier is None:
        return {}
    rows = (earlier.isel(pretrain_steps=at) for at in range(earlier.sizes["pretrain_steps"]))
    return {name: _reading(row) for name, row in zip(json.loads(earlier.attrs["checkpoints"]), rows, strict=True)}


def _reading(row: xr.Dataset) -> Reading:
    """Of one checkpoint, as `Record.to_dataset` tells it."""
    found = {}
    for name in (str(name) for name in row.data_vars if f"{name}_error" in row):
        measure = name.removesuffix("_by_layer")
        parts = (
            {f"{measure}@{layer}": {"layer": layer} for layer in row["layer"].values} if row[name].dims else {name: {}}
        )
        for part, where in parts.items():
            pair = (row[each].sel(where) for each in (name, f"{name}_error"))
            found[part] = Estimate(*(float(each) for each in pair))
    return found


@lru_cache(maxsize=4)
def _gone_through(once: Iterator[Any]) -> list[Any]:
    """What an iterator gives, which it does once."""
    return list(once)
