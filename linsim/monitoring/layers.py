"""Which arrays of a model are measured, and which of them make a layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from linsim.errors import InvalidInput, require
from linsim.monitoring.predictive import Predictive
from linsim.monitoring.trees import Batch, Loss, Params, leaves_of

_SHOWN = 12  # names in an error


class Piece(NamedTuple):
    """An array, or a slice of one in which layers are stacked."""

    name: str
    at: int | None
    """Along the first axis; None is all of it."""


Layers = Mapping[str, list[Piece]]
"""The pieces of every layer."""

HELD = ("running_mean", "running_var")
"""What PyTorch calls its statistics of batches: a loss needs them, and they are no parameters."""


def chosen_in(names: Iterable[str], pattern: str, field: str = "params") -> list[str]:
    """The names that a pattern chooses, all where it is empty; never statistics of batches, see `HELD`.

    Args:
      names: layers.0.kernel and the like.
      pattern: regular expression that matches one or several whole levels of a name: `layers.1` chooses
        layers.1.kernel and not layers.10.kernel, `.*bias` all biases, `lora_[ab]` both.
      field: what errors call the pattern.

    Raises:
      InvalidInput: no regular expression, or one that chooses nothing.
    """
    names = [name for name in names if name.rpartition(".")[2] not in HELD]
    if not pattern:
        return names
    try:
        levels = re.compile(rf"(?:^|\.)(?:{pattern})(?:\.|$)")
    except re.error as error:
        raise InvalidInput(field, pattern, f"a regular expression ({error})") from error
    chosen = [name for name in names if levels.search(name)]
    shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    require(len(chosen) > 0, field, pattern, f"a regular expression for whole levels of names, one of {shown}")
    return chosen


def split(tree: Params, names: Iterable[str]) -> tuple[Params, Params]:
    """The tree twice: with None in place of the leaves of other names, and with None in place of those."""
    structure, leaves, wanted = jax.tree.structure(tree), leaves_of(tree), set(names)
    inside = [leaf if name in wanted else None for name, leaf in leaves.items()]
    outside = [None if name in wanted else leaf for name, leaf in leaves.items()]
    return jax.tree.unflatten(structure, inside), jax.tree.unflatten(structure, outside)


def holding(loss: Loss, held: Params) -> Loss:
    """The loss as a function of the leaves that `held` lacks, which are None there."""
    if not jax.tree.leaves(held):
        return loss

    def whole(params: Params) -> Params:
        return jax.tree.map(lambda one, other: other if one is None else one, params, held, is_leaf=_is_hole)

    if isinstance(loss, Predictive):
        outputs = loss.outputs
        return replace(loss, outputs=lambda params, inputs: outputs(whole(params), inputs))

    def restricted(params: Params, batch: Batch) -> Any:
        return loss(whole(params), batch)

    return restricted


def layers_of(tree: Params, stacked: str = "") -> Layers:
    """The layers of a tree: arrays that share all levels of their names but the last; an array of one level is one.

    Args:
      tree: of arrays.
      stacked: pattern, as `chosen_in` takes it, of arrays whose first axis runs over layers: layers[0], layers[1], ...

    Raises:
      InvalidInput: a pattern that chooses nothing, or an array without an axis.
    """
    leaves = leaves_of(tree)
    piled = set(chosen_in(leaves, stacked, "stacked")) if stacked else set()
    layers: dict[str, list[Piece]] = {}
    for name, leaf in leaves.items():
        layer = name.rpartition(".")[0] or name
        require(name not in piled or np.ndim(leaf) > 0, "stacked", name, "arrays whose first axis runs over layers")
        for index in range(len(leaf)) if name in piled else (None,):
            at = layer if index is None else f"{layer}[{index}]"
            layers.setdefault(at, []).append(Piece(name, index))
    return layers


def sums_of(parts: Params, layers: Layers) -> dict[str, Array]:
    """The sum over every layer of a tree of numbers."""
    leaves = leaves_of(parts)

    def total(piece: Piece) -> Array:
        return jnp.sum(leaves[piece.name] if piece.at is None else leaves[piece.name][piece.at])

    return {layer: reduce(jnp.add, map(total, pieces)) for layer, pieces in layers.items()}


def masks_of(tree: Params, layers: Layers) -> Params:
    """1 in every layer and 0 elsewhere: a tree of arrays that broadcast, behind a first axis over the layers."""

    def mask(name: str, leaf: Any) -> np.ndarray:
        piled = any(Piece(name, 0) in pieces for pieces in layers.values())
        ones = np.zeros((len(layers), *(len(leaf) if piled and axis == 0 else 1 for axis in range(np.ndim(leaf)))))
        for number, pieces in enumerate(layers.values()):
            for piece in pieces:
                if piece.name == name:
                    ones[number, ... if piece.at is None else piece.at] = 1
        return ones.astype(leaf.dtype)

    return jax.tree.unflatten(jax.tree.structure(tree), [mask(*each) for each in leaves_of(tree).items()])


def _is_hole(leaf: Any) -> bool:
    return leaf is None
