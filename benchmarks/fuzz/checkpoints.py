"""Folders of checkpoints: names as others give them, and files that were damaged."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from benchmarks.fuzz.kinds import Kind, chosen, damaged, put, refusal_or_fault
from linsim.errors import InvalidInput
from linsim.monitoring import checkpoints

_STEMS = [
    "step_{}",
    "checkpoint-{}",
    "epoch=1-step={}",
    "{}",
    "model_{}",
    "step{}k",
    "loss=0.5-{}",
    "-{}",
    "{}e3",
    "model",
    ".",
]


def _attempt(rng: np.random.Generator, folder: Path) -> str | None:
    for number in range(int(rng.integers(1, 4))):
        _saved(folder, number, rng)

    def read() -> str | None:
        for found in checkpoints.find(folder):
            kinds = {np.asarray(leaf).dtype for leaf in _leaves(checkpoints.parameters(found))}
            if not kinds or any(not jnp.issubdtype(kind, jnp.floating) for kind in kinds):
                return f"taken, of {sorted(kind.name for kind in kinds)}"
        return None

    return refusal_or_fault(read)


def _saved(folder: Path, number: int, rng: np.random.Generator) -> None:
    stem = chosen(rng, _STEMS).format(int(10.0 ** rng.uniform(0, 18)) * int(rng.integers(-1, 2)) or number)
    tree = {"layer.weight": rng.standard_normal((2, 2)).astype(chosen(rng, ["float32", "float16", "float64", "int32"]))}
    if rng.random() < 0.2:
        tree |= {
            chosen(rng, ["", "a/b", "layer", "layer.weight.value", "ä", "0"]): np.ones(int(rng.integers(3)), np.float32)
        }
    path = folder / f"{stem}{chosen(rng, ['.safetensors', '.npz', '.bin', ''])}"
    if path.exists():
        return
    if rng.random() < 0.5:
        save_file(tree, path)
    else:
        with path.open("wb") as file:
            np.savez(file, **tree)  # type: ignore[arg-type] # of whatever names
    if rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))


def _leaves(tree: Any) -> list[Any]:
    return [leaf for each in tree.values() for leaf in _leaves(each)] if isinstance(tree, dict) else [tree]


def _plant() -> AbstractContextManager[None]:
    """What a layer below says of a damaged file gets out."""
    whole = checkpoints.read

    def read(checkpoint: Any, *arguments: Any) -> Any:
        try:
            return whole(checkpoint, *arguments)
        except InvalidInput as error:
            raise KeyError("__metadata__") from error

    return put(checkpoints, "read", read)


KIND = Kind("checkpoints", _attempt, _plant)
