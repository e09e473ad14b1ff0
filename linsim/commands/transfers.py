"""From a configuration, or a file of data, to a pair of tasks, with every field checked on the way."""

from __future__ import annotations

import csv
from array import array as Packed
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from linsim import spectra
from linsim.commands.config import LARGEST_DIM, ShiftConfig, ShiftedConfig, TaskConfig, require_choices
from linsim.commands.shifting import shifted_as
from linsim.errors import InvalidInput, fields_of, require, require_integer, require_number
from linsim.spectra import power_covariance
from linsim.storage.archives import heads
from linsim.storage.room import memory_left
from linsim.sweeping.running import current
from linsim.tasks import LinearTask, Transfer, random_basis

_ARRAYS = ("X", "Y", "X_ft", "Y_ft")
_BEYOND = "beyond the columns"
_PHASES = {"pretrain": "", "finetune": "_ft"}
_LINES = 10_000  # of a table, after which it is looked whether there is room for more
LARGEST_ENTRY = 1e50
"""Of a data file: products of four entries, as in a loss, must stay finite."""


def build_transfer(config: ShiftedConfig) -> Transfer:
    """Both tasks, synthetic or from data; `InvalidInput` for a field outside its domain."""
    require_choices(config)
    require_integer("seed", config.seed, at_least=0, at_most=2**32 - 1)
    if config.task.data is not None:
        require(config.dim is None, "dim", config.dim, "nothing beside --task.data, which has its own dimensions")
        alone = config.task == TaskConfig(data=config.task.data) and config.shift == ShiftConfig()
        require(alone, "task.data", str(config.task.data), "no other --task or --shift fields beside it")
        return load_transfer(config.task.data)
    task = _build_task(config.task, 16 if config.dim is None else config.dim, config.seed)
    return shifted_as(config.shift, task)


def load_transfer(path: Path) -> Transfer:
    """Both tasks from data, samples along rows: those of pre-training, and those of fine-tuning.

    Args:
      path: a .npz file with arrays X, Y (pre-training) and X_ft, Y_ft (fine-tuning); or a .csv file whose first line
        names the columns: x... inputs, y... outputs, and phase, which is pretrain or finetune.

    Raises:
      InvalidInput: no such file, or what is in it is not that.
    """
    arrays = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
    _require_matching(path, {name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        huge = array.dtype.kind in "fiu" and bool(np.any(np.abs(array.astype(np.float64)) > LARGEST_ENTRY))
        require(not huge, f"task.data.{name}", f"entries above {LARGEST_ENTRY:g}", f"entries up to {LARGEST_ENTRY:g}")
    with fields_of("task.data", {}):
        first = LinearTask.from_data(arrays["X"], arrays["Y"])
    with fields_of("task.data", {"X": "X_ft", "Y": "Y_ft"}):
        second = LinearTask.from_data(arrays["X_ft"], arrays["Y_ft"])
    return Transfer(first, second)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    allowed = f"a .npz file with the arrays {', '.join(_ARRAYS)}, or a .csv file"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            told = heads(path)
            missing = [name for name in _ARRAYS if name not in told]
            require(not missing, "task.data", f"{path} without {', '.join(missing)}", allowed)
            _require_matching(path, {name: told[name].shape for name in _ARRAYS})  # before they are there
            _require_room(path, sum(told[name].bytes for name in _ARRAYS), "all arrays")
            return {name: archive[name] for name in _ARRAYS}
    except InvalidInput:
        raise
    except Exception as error:  # a damaged zip raises anything from BadZipFile to zlib.error
        raise InvalidInput("task.data", str(path), f"{allowed}, numbers only ({error})") from error


def _require_matching(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse, by their shapes alone, samples that do not belong together, or whose covariance has no room."""
    if any(len(shape) != 2 for shape in shapes.values()):
        return  # which is told of each by itself
    for X, Y in (("X", "Y"), ("X_ft", "Y_ft")):
        rows, wanted = shapes[Y][0], shapes[X][0]
        require(rows == wanted, f"task.data.{Y}", f"{rows} rows in {path}", f"as many rows as {X}, {wanted}")
    first, second = (tuple(shapes[f"{name}{suffix}"][1] for name in "YX") for suffix in ("", "_ft"))
    require(first == second, "task.data", f"a {second} second task in {path}", f"{first}, as the first")
    _require_room(path, 8 * shapes["X"][1] ** 2, f"the covariance of {shapes['X'][1]} inputs")


def _require_room(path: Path, needed: int, what: str) -> None:
    """Refuse what would take more than --memory, or than half of what is free: it is not the only copy."""
    asked = current().memory
    room, whose = (memory_left() // 2, "half of what is free") if asked is None else (asked, "--memory")
    told = f"{needed / 1e6:.4g} MB for {what} of {path}"
    require(needed <= room, "task.data", told, f"at most {room / 1e6:.4g} MB, {whose}")


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    allowed = "a .csv file with columns x..., y... and phase, which is pretrain or finetune"
    try:
        _require_room(path, path.stat().st_size, "the text")
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _table(csv.DictReader(file, restkey=_BEYOND, restval=""), path, allowed)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("task.data", str(path), f"{allowed} ({error})") from error


def _table(rows: csv.DictReader[str], path: Path, allowed: str) -> dict[str, np.ndarray]:
    """The samples of both phases, read line by line into numbers alone."""
    names = list(rows.fieldnames or ())
    of = {letter: [name for name in names if name.lower().startswith(letter)] for letter in "xy"}
    known = bool(of["x"] and of["y"]) and sorted(names) == sorted({*of["x"], *of["y"], "phase"})
    require(known, "task.data", f"columns {', '.join(names) or 'none'} in {path}", f"{allowed}, each once")
    samples = {name: Packed("d") for name in _ARRAYS}
    for line, row in enumerate(rows, start=2):
        require(_BEYOND not in row, "task.data", f"line {line} of {path}", f"no more than {len(names)} columns")
        suffix = _PHASES.get(row["phase"].strip())
        require(suffix is not None, "task.data", f"phase {row['phase']} in line {line} of {path}", " or ".join(_PHASES))
        for letter, columns in of.items():
            samples[f"{letter.upper()}{suffix}"].extend(_number(row[name], name, line, path) for name in columns)
        if line % _LINES == 0:
            _require_room(path, 8 * sum(map(len, samples.values())), f"{line} lines")
    return {name: np.reshape(values, (-1, len(of[name[0].lower()]))) for name, values in samples.items()}


def _number(text: str, column: str, line: int, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        where = f"{text or 'nothing'} in column {column}, line {line} of {path}"
        raise InvalidInput("task.data", where, "numbers in columns x... and y...") from None


def _build_task(config: TaskConfig, dim: int, seed: int) -> LinearTask:
    require_integer("dim", dim, at_least=1, at_most=LARGEST_DIM)
    outputs = dim if config.outputs is None else config.outputs
    inputs = dim if config.inputs is None else config.inputs
    require_integer("task.outputs", outputs, at_least=1, at_most=LARGEST_DIM)
    require_integer("task.inputs", inputs, at_least=1, at_most=LARGEST_DIM)
    require_number("task.scale", config.scale, above=0, at_most=1e6)
    require_number("task.decay", config.decay, at_least=0, at_most=1e3)
    for value in config.values:
        require_number("task.values", value, at_least=-1e6, at_most=1e6)
    used = config.spectrum in ("blocks", "explicit")
    require(used or not config.values, "task.values", config.values, "none with --task.spectrum power or exponential")
    require(config.spectrum == "blocks" or not config.sizes, "task.sizes", config.sizes, "none but for blocks")
    for size in config.sizes:
        require_integer("task.sizes", size, at_least=1, at_most=LARGEST_DIM)
    modes = min(outputs, inputs)
    with fields_of("task", {}):
        match config.spectrum:
            case "power":
                values = spectra.power_law(modes, config.scale, config.decay)
            case "exponential":
                values = spectra.exponential(modes, config.scale, config.decay)
            case "blocks":
                values = spectra.flat_blocks(config.sizes, config.values)
            case "explicit":
                values = spectra.explicit(config.values)
    require(len(values) <= modes, "task.values", f"{len(values)} singular values", f"at most {modes}")
    rank = len(values) if config.rank is None else config.rank
    require_integer("task.rank", rank, at_least=0, at_most=len(values))
    require_number("task.covariance_decay", config.covariance_decay, at_least=0, at_most=1e2)
    require_number("task.label_noise", config.label_noise, at_least=0, at_most=1e6)
    left, right, directions = np.eye(outputs), np.eye(inputs), np.eye(inputs)
    if "random" in (config.bases, config.covariance):
        rng = np.random.default_rng([seed, 0])
        drawn = [random_basis(size, rng) for size in (outputs, inputs, inputs)]
        directions = drawn[2]
        if config.bases == "random":
            left, right = drawn[:2]
    axes = {"identity": None, "aligned": right, "random": directions}[config.covariance]
    covariance = None if axes is None else power_covariance(axes, config.covariance_decay)
    return LinearTask.create(
        values[:rank],
        outputs=outputs,
        inputs=inputs,
        left=left,
        right=right,
        input_covariance=covariance,
        label_noise=config.label_noise,
    )
