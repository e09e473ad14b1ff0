"""What in a saved state is a parameter: statistics and random streams are not, and the same array twice is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from linsim.monitoring.stored.named_trees import Tree
from linsim.monitoring.trees import leaves_of

STATISTICS = "statistics of batches"
STREAM = "a random stream"
COUNTER = "a counter of batches"
COLLECTION = "variables that are no parameters"

_STREAM = {"count", "key"}  # of nnx.RngState
_SCALES = {"scale", "bias"}  # beside which mean and var are those of nnx.BatchStat
_COLLECTIONS = {"batch_stats", "cache", "intermediates", "losses", "metrics", "perturbations"}  # of linen


def without_state(tree: Tree) -> tuple[Tree, dict[str, str]]:
    """The tree without what is known to be no parameter, and what that was, by name.

    That are random streams of nnx (`count` and `key`, integers), its batch statistics (`mean` and `var` beside `scale`
    or `bias`, all of one shape), collections of linen beside `params`, and PyTorch's `num_batches_tracked`.
    """
    left_out = dict(_state(tree, ""))
    return _without(tree, set(left_out), ""), left_out


def repeated(tree: Any) -> list[tuple[str, str]]:
    """Pairs of names that hold the same numbers, as tied layers do; arrays of a single value are not compared."""
    seen: dict[bytes, str] = {}
    pairs = []
    for name, leaf in leaves_of(tree).items():
        array = np.ascontiguousarray(leaf)
        if array.size > 1 and not np.all(array == array.flat[0]):
            first = seen.setdefault(digest_of({"": array}), name)
            pairs += [(first, name)] * (first != name)
    return pairs


def digest_of(arrays: Mapping[str, Any]) -> bytes:
    """Of names, kinds, shapes and numbers."""
    told = hashlib.blake2b(digest_size=16)
    for name, leaf in sorted(arrays.items()):
        array = np.ascontiguousarray(leaf)
        told.update(f"{name} {array.dtype.name} {array.shape} ".encode())
        told.update(array.view(np.uint8).data if array.size else b"")
    return told.digest()


def _state(tree: Tree, path: str) -> Iterator[tuple[str, str]]:
    groups = [name for name, value in tree.items() if isinstance(value, dict)]
    arrays = {name: value for name, value in tree.items() if name not in groups}
    integers = {name for name, value in arrays.items() if value.dtype.kind in "iu"}
    if path == "" and "params" in groups and set(tree) <= _COLLECTIONS | {"params"}:
        yield from ((name, COLLECTION) for name in tree if name != "params")
    if set(arrays) == _STREAM == integers and not groups:
        yield from ((f"{path}{name}", STREAM) for name in arrays)
    statistics = {"mean", "var"}
    normalises = statistics < set(arrays) <= statistics | _SCALES and not groups
    if normalises and len({value.shape for value in arrays.values()}) == 1:
        yield from ((f"{path}{name}", STATISTICS) for name in sorted(statistics))
    if "num_batches_tracked" in integers:
        yield f"{path}num_batches_tracked", COUNTER
    for name in groups:
        yield from _state(tree[name], f"{path}{name}.")


def _without(tree: Tree, names: set[str], path: str) -> Tree:
    kept = {name: value for name, value in tree.items() if f"{path}{name}" not in names}
    inner = {n: _without(v, names, f"{path}{n}.") if isinstance(v, dict) else v for n, v in kept.items()}
    return {name: value for name, value in inner.items() if not (isinstance(value, dict) and not value)}
