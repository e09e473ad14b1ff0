"""Checkpoints that others saved, read as trees of arrays by name: orbax, safetensors and npz, never pickle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from linsim.errors import InvalidInput, require
from linsim.monitoring.layers import chosen_in
from linsim.monitoring.stored.formats import (
    ALLOWED,
    Foreign,
    Form,
    arrays_of,
    form_of,
    is_one_checkpoint,
    reason,
    weights_in,
)
from linsim.monitoring.stored.named_trees import Tree, part_of, plain, put_into, without_value_level
from linsim.monitoring.stored.orbax_trees import UNFINISHED
from linsim.monitoring.stored.parameters import without_state
from linsim.monitoring.stored.steps import require_pattern, step_in
from linsim.monitoring.trees import leaves_of

_BESIDE = {".json", ".jsonl", ".yaml", ".yml", ".toml", ".txt", ".md", ".log", ".csv", ".tsv", ".html", ".py", ".sh"}
_BESIDE |= {".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".ipynb"}
"""Endings of what is no checkpoint, whatever step its name says."""


class Checkpoint(NamedTuple):
    """Where the parameters after some training steps lie."""

    budget: int
    """Training steps, by `linsim.monitoring.stored.steps.step_in`."""
    path: Path
    """A file, the folder of one save of orbax, or one with the files of weights in it."""
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
    """What is no checkpoint, by name: hidden, unfinished, foreign, without a step, or of the untrained model."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Arrays of checkpoints that are no parameters, by name."""
    held: tuple[str, ...] = ()
    """Arrays that the loss gets and that are not measured, in the checkpoint read last."""

    @property
    def told(self) -> list[str]:
        """A line for each entry and each array that is left out."""
        kinds = {"ignored": self.ignored, "skipped": self.skipped, "left out": self.left_out}
        named = [(kind, name, why) for kind, entries in kinds.items() for name, why in entries.items()]
        return [f"{kind} {why if why.startswith(name) else f'{name}: {why}'}" for kind, name, why in named]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note a checkpoint as skipped where the work within raises `InvalidInput` and that is allowed."""
        try:
            yield
        except InvalidInput as error:
            if not self.skip:
                raise
            self.skipped[name] = str(error)


def find(folder: Path, tolerance: Tolerance | None = None, step_pattern: str = "") -> list[Checkpoint]:
    """The checkpoints in a folder by increasing budget; of files, only the first bytes are read.

    Ignored, and noted, are hidden entries, unfinished saves of orbax, names without a number, step 0 (a budget is
    positive), and what is no checkpoint: a file of another kind, unless its name says a step and its ending is not that
    of a text, a table or a picture.

    Args:
      folder: of orbax folders (by `StandardCheckpointer`, or the steps of a `CheckpointManager`), of folders with
        safetensors in them (as of Hugging Face, in shards or not), and of files.
      tolerance: of what cannot be used, and what was ignored; None raises.
      step_pattern: see `linsim.monitoring.stored.steps.step_in`.

    Raises:
      InvalidInput: no such folder, no checkpoint in it, two of one budget, a step in doubt; a broken checkpoint.
    """
    tolerance = Tolerance() if tolerance is None else tolerance
    require_pattern(step_pattern)
    require(folder.is_dir(), "folder", str(folder), "a folder of checkpoints")
    one = is_one_checkpoint(folder)
    require(not one, "folder", str(folder), "a folder of checkpoints, and this is one of them")
    found = []
    for path in sorted(folder.iterdir()):
        with tolerance.of(path.name):
            told = _told(path, step_pattern)
            if isinstance(told, str):
                tolerance.ignored[path.name] = told
            else:
                found.append(told)
    found.sort()
    for first, second in itertools.pairwise(found):
        both = f"{first.path.name} and {second.path.name}, both {first.budget} steps"
        require(first.budget != second.budget, "folder", both, "one checkpoint for each number of steps")
    tolerance.ignored |= _beside(found)
    why = [f"{len(tolerance.skipped)} skipped"] * bool(tolerance.skipped)
    why += [f"ignored {name}: {told}" for name, told in list(tolerance.ignored.items())[:1]]
    noted = f" ({'; '.join(why)})" if why else ""
    require(len(found) > 0, "folder", f"{folder.name}{noted}", "a folder with at least one checkpoint")
    return found


def read(checkpoint: Checkpoint, part: str = "", tolerance: Tolerance | None = None) -> Tree:
    """The parameters of a checkpoint: nested dicts of NumPy arrays by name.

    Of a Flax module that is what `nnx.to_pure_dict(nnx.state(module, nnx.Param))` gives: lists and tuples, and dicts
    whose names are all numbers, have integers for names; a last level `value`, if every array has one, is left out.
    Names of flat files are cut at "/", or at "." where none has a "/". The items of a step that a `CheckpointManager`
    saved are one level of names, but for an only item that nobody named. What is known to be no parameter is left out,
    see `linsim.monitoring.stored.parameters.without_state`.

    Args:
      checkpoint: as `find` returns it.
      part: path of the parameters in the tree, such as "model.params", where more was saved than they.
      tolerance: where to note which arrays were left out.

    Raises:
      InvalidInput: the file is broken, has no such part, or the part holds no arrays.
    """
    name = checkpoint.path.name
    try:
        saved = plain(arrays_of(checkpoint.path, checkpoint.form))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.field}", error.value, error.allowed) from error
    except Exception as error:  # whatever the formats' libraries raise of a file that is not whole
        raise InvalidInput(name, f"not readable ({reason(error)})", ALLOWED) from error
    tree, left_out = without_state(without_value_level(part_of(name, saved, part)))
    if tolerance is not None:
        tolerance.left_out |= left_out
    require(len(jax.tree.leaves(tree)) > 0, name, "no arrays", "at least one array of parameters")
    return tree


def parameters(
    checkpoint: Checkpoint,
    part: str = "",
    template: Any = None,
    pattern: str = "",
    tolerance: Tolerance | None = None,
) -> Any:
    """The arrays of a checkpoint as a loss takes them: nested dicts, or like a template.

    Args:
      checkpoint: as `find` returns it.
      part: see `read`.
      template: see `linsim.monitoring.stored.named_trees.put_into`; None for nested dicts.
      pattern: of the parameters to be measured, which have to be floating-point; see
        `linsim.monitoring.layers.chosen_in`.
      tolerance: where to note which arrays were left out.

    Raises:
      InvalidInput: as `read`; names or shapes other than the template's; a pattern that chooses nothing.
    """
    name, noted = checkpoint.path.name, Tolerance() if tolerance is None else tolerance
    tree: Any = read(checkpoint, part, noted)
    try:
        if template is not None:
            tree = put_into(template, tree, noted.left_out)
        arrays = leaves_of(tree)
        measured = chosen_in(arrays, pattern)
        noted.held = tuple(each for each in arrays if each not in measured)
        for each in measured:
            kind = arrays[each].dtype
            floating = jnp.issubdtype(kind, jnp.floating)
            require(floating, each, f"dtype {kind}", "floating-point numbers; --part or --params says where they are")
    except InvalidInput as error:
        if error.field == "params":  # no fault of the checkpoint
            raise
        raise InvalidInput(f"{name}: {error.field}", error.value, error.allowed) from error
    return tree


def _told(path: Path, step_pattern: str) -> Checkpoint | str:
    """An entry of a folder as a checkpoint, or why it is none; `InvalidInput` where it should have been one."""
    if path.name.startswith(".") or UNFINISHED in path.name:
        return "hidden" if path.name.startswith(".") else "an unfinished save of orbax"
    try:
        form = form_of(path)
    except InvalidInput as error:
        if isinstance(error, Foreign) and (path.suffix.lower() in _BESIDE or not _says_step(path, step_pattern)):
            return str(error.value)
        raise
    budget = step_in(path.name, step_pattern)
    if budget is None:
        return "its name does not match --step-pattern" if step_pattern else "no number of steps in its name"
    return Checkpoint(budget, path, form) if budget > 0 else "step 0 is no budget"


def _says_step(path: Path, step_pattern: str) -> bool:
    try:
        return step_in(path.name, step_pattern) is not None
    except InvalidInput:
        return False


def _beside(checkpoints: list[Checkpoint]) -> dict[str, str]:
    """What lies beside the weights in checkpoints that are folders of files."""
    folders = [each.path for each in checkpoints if each.form != "orbax" and each.path.is_dir()]
    names: set[str] = set()
    for folder in folders:
        used = {file.name for file in weights_in(folder)[1]}
        names |= {path.name for path in folder.iterdir() if path.name not in used}
    where = f"beside the weights, in {len(folders)} checkpoints"
    return {", ".join(sorted(names)): where} if names else {}
