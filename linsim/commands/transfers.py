"""From a configuration, or a file of data, to a pair of tasks, with every field checked on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linsim import spectra
from linsim.commands.config import LARGEST_DIM, ShiftConfig, ShiftedConfig, TaskConfig, require_choices
from linsim.commands.shifting import shifted_as
from linsim.errors import InvalidInput, fields_of, require, require_integer, require_number
from linsim.tasks import LinearTask, Transfer, power_covariance, random_basis

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
    """Both tasks from a .npz file with arrays X, Y (pre-training) and X_ft, Y_ft (fine-tuning), samples along rows."""
    names = ("X", "Y", "X_ft", "Y_ft")
    allowed = f"a .npz file with the arrays {', '.join(names)}"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in names if name not in getattr(archive, "files", ())]
            require(not missing, "task.data", f"{path} without {', '.join(missing)}", allowed)
            arrays = {name: archive[name] for name in names}
    except InvalidInput:
        raise
    except Exception as error:  # a damaged zip raises anything from BadZipFile to zlib.error
        raise InvalidInput("task.data", str(path), f"{allowed}, numbers only ({error})") from error
    for name, array in arrays.items():
        huge = array.dtype.kind in "fiu" and bool(np.any(np.abs(array.astype(np.float64)) > LARGEST_ENTRY))
        require(not huge, f"task.data.{name}", f"entries above {LARGEST_ENTRY:g}", f"entries up to {LARGEST_ENTRY:g}")
    with fields_of("task.data", {}):
        first = LinearTask.from_data(arrays["X"], arrays["Y"])
    with fields_of("task.data", {"X": "X_ft", "Y": "Y_ft"}):
        second = LinearTask.from_data(arrays["X_ft"], arrays["Y_ft"])
    same = first.target.shape == second.target.shape
    require(same, "task.data", f"a {second.target.shape} second task in {path}", f"{first.target.shape}, as the first")
    return Transfer(first, second)


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
