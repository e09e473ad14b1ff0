"""Which parameters move: some layers, some entries, or an addition of low rank; the rest stays bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from linsim.errors import brief_fields, require, require_integer, require_kind
from linsim.losses import Weights, matmul
from linsim.phase import Strength, swept

_Factors = tuple[Float[Array, "rows most"], Float[Array, "most columns"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layers:
    """Some layers move, counted from 1, the input layer; the others stay.

    Example:
      >>> [weight.shape for weight in Layers((2,)).begin((jnp.ones((4, 3)), jnp.ones((2, 4))), None)]
      [(2, 4)]
    """

    layers: tuple[int, ...] = field(metadata={"static": True})

    def require_fits(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Distinct layers of the network, at least one."""
        _require_layers(f"{name}.layers", self.layers, len(shapes))

    def begin(self, weights: Weights, key: Any) -> Weights:
        """The weights of these layers."""
        return tuple(weights[layer - 1] for layer in self.layers)

    def weights(self, parameters: Weights, checkpoint: Weights) -> Weights:
        """The checkpoint with these layers put in."""
        moved = dict(zip(self.layers, parameters, strict=True))
        return tuple(moved.get(layer, weight) for layer, weight in enumerate(checkpoint, start=1))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Masked:
    """Entries move where a mask is 1; where it is 0 they stay, whatever the optimiser does beside following gradients.

    Parameters are 0 where nothing moves, so that norms of them and of their gradient are of what moves.

    Example:
      >>> half = Masked((np.array([[1, 0]]),))
      >>> half.weights(half.begin((jnp.array([[3.0, 4.0]]),), None), (jnp.array([[5.0, 6.0]]),))[0].tolist()
      [[3.0, 6.0]]
    """

    masks: tuple[Any, ...]
    """One of 0 and 1 for every layer, of its shape."""

    __repr__ = brief_fields

    def require_fits(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """A mask of 0 and 1 of every layer's shape, not all of them 0."""
        several = isinstance(self.masks, tuple | list)
        require(several, f"{name}.masks", self.masks, "one for every layer, in a tuple")
        masks = [np.asarray(mask) for mask in self.masks]
        fit = [mask.shape for mask in masks] == [tuple(shape) for shape in shapes]
        require(
            fit, f"{name}.masks", [mask.shape for mask in masks], f"one for every layer, of its shape: {list(shapes)}"
        )
        whole = all(bool(np.isin(mask, (0, 1)).all()) for mask in masks)
        require(whole, f"{name}.masks", "other entries", "0, which stays, and 1, which moves")
        require(any(mask.any() for mask in masks), f"{name}.masks", "0 everywhere", "at least one entry that moves")

    def begin(self, weights: Weights, key: Any) -> Weights:
        """The weights, 0 where they stay."""
        return self.weights(weights, tuple(map(jnp.zeros_like, weights)))

    def weights(self, parameters: Weights, checkpoint: Weights) -> Weights:
        """The checkpoint with what moves put in."""
        parts = zip(self.masks, parameters, checkpoint, strict=True)
        return tuple(jnp.where(jnp.asarray(mask) != 0, moved, stays) for mask, moved, stays in parts)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRank:
    """W_l = W_l^0 + s B_l A_l, with B_l = 0 at the beginning: an addition of rank r (LoRA). [Hu et al. 2022]

    A_l is drawn anew for every seed: its entries from N(0, 1 / columns), or its rows orthonormal. The first rows of a
    draw are those of a draw of less rank. Terms and penalties are of the weights W_l; what an optimiser does to the
    parameters themselves, the decay of `adamw` for one, it does to A_l and B_l.
    """

    rank: Strength = field(
        default=None, metadata=swept("rank of the addition", "1", at_least=1, whole=True, axis="rank")
    )
    """r; None where it is swept, as the axis `rank`."""
    scale: Strength = field(default=1.0, metadata=swept("scale of the addition", "1", above=0, axis="rank_scale"))
    """s; its axis is `rank_scale`."""
    layers: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    """Which layers, counted from 1, are added to; None is all of them."""
    orthonormal: bool = field(default=False, metadata={"static": True})
    """Whether the rows of A_l are."""
    most: int | None = field(default=None, metadata={"static": True})
    """Largest rank that the program has room for; None is the smaller side of every layer."""

    __repr__ = brief_fields

    def require_fits(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """A rank that some of the layers can hold."""
        chosen = self._chosen(len(shapes))
        _require_layers(f"{name}.layers", chosen, len(shapes))
        require_kind(f"{name}.orthonormal", self.orthonormal, bool)
        if self.most is not None:
            require_integer(f"{name}.most", self.most, at_least=1)
        largest = max(self._room(shapes[layer - 1]) for layer in chosen)
        held = "what `most` makes room for" if largest == self.most else "the smaller side of a layer"
        require(self.rank is None or self.rank <= largest, f"{name}.rank", self.rank, f"at most {largest}, {held}")

    def begin(self, weights: Weights, key: Any) -> tuple[_Factors, ...]:
        """(B_l, A_l) of every layer that is added to."""
        return tuple(
            self._factors(weights[layer - 1], jax.random.fold_in(key, layer)) for layer in self._chosen(len(weights))
        )

    def weights(self, parameters: tuple[_Factors, ...], checkpoint: Weights) -> Weights:
        """W_l^0 + s B_l A_l."""
        moved = dict(zip(self._chosen(len(checkpoint)), parameters, strict=True))

        def added(layer: int, weight: Array) -> Array:
            outer, inner = moved[layer]
            return weight + self.scale * matmul(outer, self._within(inner))

        return tuple(added(layer, w) if layer in moved else w for layer, w in enumerate(checkpoint, start=1))

    def _chosen(self, depth: int) -> tuple[int, ...]:
        return tuple(range(1, depth + 1)) if self.layers is None else self.layers

    def _room(self, shape: tuple[int, ...]) -> int:
        return min(shape) if self.most is None else min(*shape, self.most)

    def _factors(self, weight: Array, key: Any) -> _Factors:
        rows, columns = weight.shape
        room = self._room(weight.shape)

        def row(number: Any) -> Array:  # in float32, so that all precisions draw alike
            return jax.random.normal(jax.random.fold_in(key, number), (columns,), "float32")

        drawn = jax.vmap(row)(jnp.arange(room)).astype(weight.dtype)
        inner = _orthonormal(drawn) if self.orthonormal else drawn / np.sqrt(columns).astype(weight.dtype)
        return jnp.zeros((rows, room), weight.dtype), self._within(inner)

    def _within(self, inner: Float[Array, "most columns"]) -> Float[Array, "most columns"]:
        """The rows within the rank, the rest 0."""
        return jnp.where(jnp.arange(inner.shape[0])[:, None] < self.rank, inner, 0)


def _orthonormal(rows: Float[Array, "count columns"]) -> Float[Array, "count columns"]:
    """Gram and Schmidt, each row twice: the first rows do not depend on how many follow, and no LAPACK is called."""

    def add(number: Any, found: Array) -> Array:
        row = rows[number]
        for _ in range(2):
            row = row - matmul(matmul(found, row[:, None]).T, found)[0]
            row = row / jnp.sqrt(jnp.sum(row**2))
        return found.at[number].set(row)

    return lax.fori_loop(0, len(rows), add, jnp.zeros_like(rows))


def _require_layers(name: str, layers: tuple[int, ...], depth: int) -> None:
    numbers = isinstance(layers, tuple) and all(type(layer) is int and 1 <= layer <= depth for layer in layers)
    distinct = numbers and 0 < len(set(layers)) == len(layers)
    require(distinct, name, layers, f"a tuple of distinct layers within 1..{depth}, at least one")
