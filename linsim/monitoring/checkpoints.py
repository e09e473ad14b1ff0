"""Checkpoints that others saved, read as trees of arrays by name: orbax, safetensors and npz, never pickle."""

from __future__ import annotations

import gc
import itertools
import logging
import re
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from linsim.errors import InvalidInput, require, require_integer
from linsim.monitoring.named_trees import Tree, nested, part_of, plain, without_value_level

Form = Literal["orbax", "safetensors", "npz"]

_ALLOWED = "a whole checkpoint in orbax, safetensors or npz"
_TREE = "_METADATA"  # in the folder of every tree that orbax has written to its end
_ORBAX = (_TREE, "_CHECKPOINT_METADATA", "manifest.ocdbt")
_UNFINISHED = ".orbax-checkpoint-tmp"
_MOST_STEPS = 2**53  # exact in float64
_SETTLING = 0.2  # seconds for what is under way when a read fails


class Checkpoint(NamedTuple):
    """Where the parameters after some training steps lie."""

    budget: int
    """Training steps, the last integer in the name."""
    path: Path
    """A file, or the folder of one save of orbax."""
    form: Form
    """Recognised by content, whatever the name."""


@dataclass
class Tolerance:
    """Whether a checkpoint that cannot be used ends the work, or is left out and noted."""

    skip: bool = False
    """Leave it out."""
    skipped: dict[str, str] = field(default_factory=dict)
    """What is wrong with those left out, by name."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Entries that are no checkpoints by their names: hidden, unfinished, or of the untrained model."""

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note a checkpoint as skipped where the work within raises `InvalidInput` and that is allowed."""
        try:
            yield
        except InvalidInput as error:
            if not self.skip:
                raise
            self.skipped[name] = str(error)


def find(folder: Path, tolerance: Tolerance | None = None) -> list[Checkpoint]:
    """The checkpoints in a folder by increasing budget; of files, only the first bytes are read.

    Hidden entries and unfinished saves of orbax are ignored, and so is step 0: a budget is positive.

    Args:
      folder: of orbax folders (by `StandardCheckpointer`, or the steps of a `CheckpointManager`) and files.
      tolerance: of entries of other kinds; None raises.

    Raises:
      InvalidInput: no such folder, no checkpoint in it, two of one budget; an entry of another kind.
    """
    tolerance = Tolerance() if tolerance is None else tolerance
    require(folder.is_dir(), "folder", str(folder), "a folder of checkpoints")
    single = any((folder / name).exists() for name in _ORBAX)
    require(not single, "folder", str(folder), "a folder of checkpoints, and this is one of them")
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or _UNFINISHED in path.name:
            tolerance.ignored[path.name] = "hidden" if path.name.startswith(".") else "an unfinished save of orbax"
            continue
        with tolerance.of(path.name):
            form, budget = _form_of(path), _budget_of(path)
            if budget == 0:
                tolerance.ignored[path.name] = "step 0 is no budget"
                continue
            found.append(Checkpoint(budget, path, form))
    found.sort()
    for one, other in itertools.pairwise(found):
        both = f"{one.path.name} and {other.path.name}"
        require(
            one.budget != other.budget, "folder", both, "one checkpoint for each budget, the last integer in a name"
        )
    left_out = f" ({len(tolerance.skipped)} skipped)" if tolerance.skipped else ""
    require(len(found) > 0, "folder", f"{folder}{left_out}", "a folder with at least one checkpoint")
    return found


def read(checkpoint: Checkpoint, part: str = "") -> Tree:
    """The parameters of a checkpoint: nested dicts of NumPy arrays by name.

    Of a Flax module that is what `nnx.to_pure_dict(nnx.state(module, nnx.Param))` gives: lists and tuples, and dicts
    whose names are all numbers, have integers for names; a last level `value`, if every array has one, is left out.
    Names of flat files are cut at "/", or at "." where none has a "/". The items of a step that a `CheckpointManager`
    saved are one level of names, but for an item `default` alone.

    Args:
      checkpoint: as `find` returns it.
      part: path of the parameters in the tree, such as "model.params", where more was saved than they.

    Raises:
      InvalidInput: the file is broken, has no such part, or the part holds anything but floating-point arrays.
    """
    name = checkpoint.path.name
    try:
        saved = _READERS[checkpoint.form](checkpoint.path.absolute())  # orbax takes no other
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.field}", error.value, error.allowed) from error
    except Exception as error:  # whatever the formats' libraries raise of a file that is not whole
        raise InvalidInput(name, f"not readable ({_reason(error)})", _ALLOWED) from error
    tree = without_value_level(part_of(name, plain(saved), part))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    require(len(leaves) > 0, name, "no arrays", "at least one array of parameters")
    for path, leaf in leaves:
        floating = jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
        where = f"{name}: {jax.tree_util.keystr(path, simple=True, separator='.')}"
        require(floating, where, f"dtype {leaf.dtype}", "floating-point numbers; --params names the parameters' part")
    return tree


def _budget_of(path: Path) -> int:
    numbers = re.findall(r"\d+", path.name.removesuffix(".npz").removesuffix(".safetensors"), re.ASCII)
    require(len(numbers) > 0, path.name, "no number in its name", "the budget as last number, such as step_1000")
    budget = int(numbers[-1][:40])
    require_integer(f"{path.name}: budget", budget, at_least=0, at_most=_MOST_STEPS)
    return budget


def _form_of(path: Path) -> Form:
    """What an entry is by its content; `InvalidInput` says what else it is."""
    try:
        if path.is_dir():
            if (path / _TREE).is_file() or _items(path):
                return "orbax"
            started = any((path / name).exists() for name in (*_ORBAX, "d", "default"))
            raise InvalidInput(path.name, "a half-written save of orbax" if started else "some other folder", _ALLOWED)
        require(path.is_file(), path.name, "neither a file nor a folder", _ALLOWED)
        with path.open("rb") as file:
            first = file.read(9)
        if first.startswith(b"PK\x03\x04"):
            return _form_of_zip(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InvalidInput(path.name, f"not readable ({_reason(error)})", _ALLOWED) from error
    if first[8:] == b"{" or path.name.endswith(".safetensors"):
        return "safetensors"
    if first[:1] == b"\x80" or path.suffix in (".pkl", ".pickle", ".pt", ".pth"):
        raise InvalidInput(path.name, "a pickle, which is never read: that would run its code", _ALLOWED)
    raise InvalidInput(path.name, "some other file" if first else "an empty file", _ALLOWED)


def _form_of_zip(path: Path) -> Form:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(".pkl") for name in names):
        raise InvalidInput(path.name, "a pickle of PyTorch, which is never read: that would run its code", _ALLOWED)
    arrays = len(names) > 0 and all(name.endswith(".npy") for name in names)
    require(arrays, path.name, "a zip archive of something other than arrays", _ALLOWED)
    return "npz"


def _items(path: Path) -> list[Path]:
    """The trees in a step that a `CheckpointManager` saved."""
    return sorted(item for item in path.iterdir() if (item / _TREE).is_file())


def _read_orbax(path: Path) -> Any:
    if (path / _TREE).is_file():
        return _read_orbax_tree(path)
    items = {item.name: _read_orbax_tree(item) for item in _items(path)}
    return items["default"] if list(items) == ["default"] else items


def _read_orbax_tree(path: Path) -> Any:
    """One tree as NumPy arrays, on whatever devices it was saved."""
    import orbax.checkpoint as ocp  # where needed: it takes seconds

    with _quiet():
        try:
            with closing(ocp.PyTreeCheckpointHandler()) as handler:
                as_arrays = jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).tree
                )
                return handler.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_arrays))
        except Exception as error:
            reason = _reason(error)
        time.sleep(_SETTLING)
        gc.collect()  # of the tasks, which complain when they go
    raise OSError(reason)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let one error speak for all: each array that orbax has begun to open beside a broken one prints a traceback."""
    hook, logger = sys.unraisablehook, logging.getLogger("asyncio")
    disabled = logger.disabled
    sys.unraisablehook, logger.disabled = lambda _: None, True
    try:
        yield
    finally:
        sys.unraisablehook, logger.disabled = hook, disabled


def _read_safetensors(path: Path) -> Tree:
    from safetensors.numpy import load_file

    return nested(load_file(path))


def _read_npz(path: Path) -> Tree:
    with np.load(path, allow_pickle=False) as archive:  # arrays of objects are pickles
        arrays = {name: archive[name] for name in archive.files}
    for name, array in arrays.items():
        require(isinstance(array, np.ndarray), name, "no array of NumPy", _ALLOWED)
    return nested(arrays)


_READERS: Mapping[Form, Any] = {"orbax": _read_orbax, "safetensors": _read_safetensors, "npz": _read_npz}


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:200]
