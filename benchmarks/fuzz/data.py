"""Files of data: arrays of other kinds, shapes and sizes, and files that were damaged."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.kinds import Kind, chosen, damaged, put, refusal_or_fault
from linsim.commands import transfers

_DTYPES = ["float16", "int8", "uint64", "bool", "complex64", "U9", "S9"]
_CELLS = ["", "nan", "1e400", "1e-200", "x", '"', "\n", "1,2", "Z1", "phase"]


def _attempt(rng: np.random.Generator, folder: Path) -> str | None:
    path = folder / chosen(rng, ["data.npz", "data.csv", "DATA.CSV", "data.txt"])
    if path.suffix == ".npz" or rng.random() < 0.1:
        with path.open("wb") as file:
            np.savez(file, **_arrays(rng))
    else:
        path.write_text(_table(rng), encoding="utf-8")
    if rng.random() < 0.6:
        path.write_bytes(damaged(path.read_bytes(), rng))

    def load() -> str | None:
        transfer = transfers.load_transfer(path)
        losses = [transfer.pretrain.zero_loss, transfer.finetune.zero_loss, transfer.learned_loss]
        told = np.isfinite(losses).all() and all(np.trace(task.input_covariance) > 0 for task in _tasks(transfer))
        return None if told else f"taken, with losses {losses}"

    return refusal_or_fault(load)


def _tasks(transfer: Any) -> tuple[Any, Any]:
    return transfer.pretrain, transfer.finetune


def _arrays(rng: np.random.Generator) -> dict[str, Any]:
    """Four arrays as they should be, of which one or two are not."""
    X, target = rng.standard_normal((8, 3)), rng.standard_normal((2, 3))
    arrays: dict[str, Any] = {"X": X, "Y": X @ target.T, "X_ft": X, "Y_ft": X @ target.T}
    for name in rng.choice([*arrays], size=int(rng.integers(3)), replace=False):
        values = arrays[name]
        match rng.integers(9):
            case 0:
                arrays[name] = values * 10.0 ** int(rng.integers(-320, 308))
            case 1:
                arrays[name] = np.where(rng.random(values.shape) < 0.2, chosen(rng, [np.nan, np.inf, -np.inf]), values)
            case 2:
                arrays[name] = values.astype(
                    chosen(rng, ["float16", "int8", "uint64", "bool", "complex64", "U9", "S9"])
                )
            case 3:
                arrays[name] = values.reshape(chosen(rng, [(-1,), (1, -1), (-1, 1), (1, 1, -1)]))
            case 4:
                arrays[name] = values[: int(rng.integers(3)), : int(rng.integers(3))]
            case 5:
                arrays[name] = np.array([None, {}], object)
            case 6:
                arrays[f"{name}_"] = arrays.pop(name)
            case 7:
                arrays[name] = 0 * values
            case _:
                arrays[name] = np.asfortranarray(values).astype(">f8")
    return arrays


def _table(rng: np.random.Generator) -> str:
    """A table as it should be, with some cells that are not."""
    cells = np.round(rng.standard_normal((8, 3)), 2).astype("U8")
    rows = [[*row, chosen(rng, ["pretrain", "finetune"])] for row in cells.tolist()]
    rows = [["x1", "x2", "y1", "phase"], *rows]
    for _ in range(int(rng.integers(3))):
        row = chosen(rng, rows)
        row[int(rng.integers(len(row)))] = chosen(
            rng, ["", "nan", "1e400", "1e-200", "x", '"', "\n", "1,2", "Z1", "phase"]
        )
    return chosen(rng, ["\n", "\r\n", ";"]).join(",".join(row) for row in rows)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file, np.load(file) as archive:
        return dict(archive)


def _plant() -> AbstractContextManager[None]:
    """What reading an archive raises gets out."""
    return put(transfers, "_read_npz", _read)


KIND = Kind("data", _attempt, _plant)
