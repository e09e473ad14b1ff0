"""Trees whose arrays are told apart by their names alone, as files keep them, and back into a model's own tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from linsim.errors import require
from linsim.monitoring.trees import Params, leaves_of, parameters_of

Tree = dict[Any, Any]
"""Nested dicts of NumPy arrays by name, positions in lists as integers."""

_VALUE = "value"  # the last level of a Flax variable in a checkpoint of orbax
_DEEPEST = 100  # levels of names; Python itself goes no deeper than about 900


def nested(flat: Mapping[str, Any]) -> Tree:
    """Arrays by their paths into arrays by their names, level by level: cut at "/", or at "." where none has a "/"."""
    separator = "/" if any("/" in name for name in flat) else "."
    tree: Tree = {}
    for name, array in flat.items():
        *groups, last = name.split(separator)
        deep = f"{name[:40]}... of {len(groups) + 1} levels"
        require(len(groups) < _DEEPEST, "names", deep, f"names of at most {_DEEPEST} levels")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
            require(isinstance(inner, dict), "names", name, "no array with the name of a group of arrays")
        require(last not in inner, "names", name, "no array with the name of a group of arrays")
        inner[last] = array
    return tree


def plain(saved: Any) -> Any:
    """Nested dicts of NumPy arrays from dicts, lists and tuples of anything; what holds no array is left out.

    Lists, tuples, and dicts whose names are all numbers become dicts by integers: flat files keep no other trace of a
    list, and sorted as text the tenth layer would come before the second.
    """
    if isinstance(saved, list | tuple):
        saved = dict(enumerate(saved))
    if not isinstance(saved, Mapping):
        return None if saved is None else np.asarray(saved)
    inner = {name: plain(value) for name, value in saved.items()}
    positions = all(re.fullmatch(r"0|[1-9][0-9]*", str(name)) for name in inner)
    return {
        int(name) if positions else str(name): value
        for name, value in inner.items()
        if not (value is None or (isinstance(value, dict) and not value))
    }


def part_of(field: str, tree: Any, path: str) -> Any:
    """The part of a tree at a path such as "model.params"; "" is all of it."""
    for name in re.split(r"[./]", path) if path else ():
        names = {str(key): key for key in tree} if isinstance(tree, dict) else {}
        require(name in names, f"{field}: {path}", f"no {name}", f"one of {', '.join(names) or 'nothing: an array'}")
        tree = tree[names[name]]
    return tree if isinstance(tree, dict) else {} if tree is None else {0: tree}


def without_value_level(tree: Tree) -> Tree:
    """The tree without a last level `value`, where every array has one."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    if not all(len(path) > 1 and path[-1].key == _VALUE for path in paths):
        return tree

    def lifted(inner: Tree) -> Any:
        return inner[_VALUE] if isinstance(inner.get(_VALUE), np.ndarray) else {k: lifted(v) for k, v in inner.items()}

    return lifted(tree)


def put_into(template: Any, tree: Tree, left_out: dict[str, str] | None = None) -> Params:
    """The arrays of a tree in the structure of a model's parameters, name by name.

    `nnx.merge` pairs the sorted names of a plain dict with those of the module without comparing them; here they must
    be the same. Left out is what the template knows as no parameter (statistics, random streams), and an array under a
    second name that holds the numbers of one that the template has, as tied layers do.

    Args:
      template: a Flax module, or a tree of parameters: dicts, lists, tuples, dataclasses, states of Flax.
      tree: nested dicts, as `linsim.monitoring.checkpoints.read` returns them.
      left_out: where to note names that were left out, and what they are.

    Returns:
      A tree like the template, or like `nnx.state(template, nnx.Param)`.

    Raises:
      InvalidInput: names or shapes that differ.
    """
    own, no_parameters = parameters_of(template), _no_parameters(template)
    wanted = {name: leaf.shape for name, leaf in leaves_of(own).items()}
    given = {_unboxed(name, wanted): leaf for name, leaf in leaves_of(tree).items()}
    noted: dict[str, str] = {}
    for name in [*wanted, *given]:
        if name not in wanted and (what := no_parameters.get(name) or _tied(given, name, wanted)):
            noted[name] = what
            continue
        found = f"shape {given[name].shape}" if name in given else "no such array"
        allowed = f"shape {wanted[name]}" if name in wanted else "no such array"
        require(found == allowed, name, found, f"{allowed}, as in the template")
    if left_out is not None:
        left_out |= noted
    return jax.tree.unflatten(jax.tree.structure(own), [jnp.asarray(given[name]) for name in wanted])


def _no_parameters(template: Any) -> dict[str, str]:
    """What else a Flax module holds, by name."""
    if not isinstance(template, nnx.Module):
        return {}
    rest = nnx.state(template, nnx.Not(nnx.Param))
    variables = jax.tree_util.tree_leaves_with_path(rest, is_leaf=lambda node: isinstance(node, nnx.Variable))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): f"of nnx.{type(variable).__name__}"
        for path, variable in variables
    }


def _unboxed(name: str, wanted: Mapping[str, Any]) -> str:
    """Without a level `value` that only some arrays have: parameters of linen in boxes beside others."""
    bare = name.removesuffix(f".{_VALUE}")
    return bare if name not in wanted and bare in wanted else name


def _tied(given: Mapping[str, Any], name: str, wanted: Mapping[str, Any]) -> str:
    """What to tell of an array that holds the numbers of one that is wanted; nothing where all are the same number."""
    array = given[name]
    if array.size < 2 or np.all(array == array.flat[0]):
        return ""
    same = (other for other in wanted if other in given and np.array_equal(given[other], array))
    found = next(same, "")
    return f"the same numbers as {found}" if found else ""
