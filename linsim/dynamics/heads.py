"""Networks that several tasks train in turn: one for all of them, or shared layers with an output layer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.errors import InvalidInput, require
from linsim.losses import end_to_end, require_chain
from linsim.measure import Measure
from linsim.tasks import LinearTask

Layers = tuple[Float[np.ndarray, "seeds _ _"], ...]

PRODUCT = Measure("_product", dims=("_output", "_input"), of=lambda seen: seen.product)
"""P of the network that is trained."""
SHARED = Measure("_shared", dims=("_hidden", "_input"), of=lambda seen: end_to_end(seen.weights[:-1]))
"""The same of the layers that it shares with others."""


@dataclass(frozen=True, eq=False)
class Network:
    """Weights for some tasks, every layer with a leading seed axis."""

    tasks: tuple[LinearTask, ...]
    shared: Layers
    """(W_1, ..., W_L) of all tasks alike; without the last layer where there are heads."""
    heads: Layers
    """The last layer of each task; empty where it is shared."""
    single: bool
    """Whether weights were given without a seed axis."""

    @classmethod
    def of(cls, tasks: Sequence[LinearTask], weights: Sequence[Any], heads: Sequence[Any] | None) -> Network:
        """Check weights as they are given; `InvalidInput` names `weights` or `heads` where they do not fit."""
        shared, single = _layers("weights", weights)
        last, alone = ((), single) if heads is None else _layers("heads", heads)
        require(single == alone, "heads", "another number of axes", "those of the weights")
        made = cls(tuple(tasks), shared, last, single)
        if heads is not None:
            require(
                len(last) == len(tasks), "heads", f"{len(last)} of them", f"{len(tasks)}, one for every different task"
            )
        for number, task in enumerate(tasks):
            name = "heads" if heads is not None else "weights"
            layers = made.layers(task)
            require(len({len(layer) for layer in layers}) == 1, name, [len(layer) for layer in layers], "as many seeds")
            require_chain(tuple(jnp.asarray(layer[0]) for layer in layers))
            ends, needed = (layers[0].shape[2], layers[-1].shape[1]), (task.inputs, task.outputs)
            require(ends == needed, name, f"{ends[0]} inputs and {ends[1]} outputs", f"{needed} of task {number}")
        return made

    def layers(self, task: LinearTask) -> Layers:
        """All layers of the network of a task."""
        return (*self.shared, self.heads[self.number(task)]) if self.heads else self.shared

    def put(self, task: LinearTask, layers: Sequence[Any]) -> Network:
        """This network after the layers of a task have moved."""
        moved = tuple(np.asarray(layer) for layer in layers)
        if not self.heads:
            return replace(self, shared=moved)
        heads = (*self.heads[: self.number(task)], moved[-1], *self.heads[self.number(task) + 1 :])
        return replace(self, shared=moved[:-1], heads=heads)

    def number(self, task: LinearTask) -> int:
        """Of a task, from 0."""
        return next(number for number, each in enumerate(self.tasks) if each is task)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What losses on all tasks are told from."""
        return (PRODUCT, SHARED) if self.heads else (PRODUCT,)

    def losses(
        self, trained: LinearTask, found: Mapping[str, Float[np.ndarray, "points seeds _ _"]]
    ) -> Float[np.ndarray, "points seeds tasks"]:
        """L on every task while one of them is trained, from the above."""
        products = [found[PRODUCT.name]] * len(self.tasks)
        for number, head in enumerate(self.heads):
            if self.tasks[number] is not trained:
                products[number] = head @ found[SHARED.name]
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that diverge
            return np.stack([task.loss_of(each) for each, task in zip(products, self.tasks, strict=True)], axis=2)

    def given_back(self, layers: Layers) -> tuple[np.ndarray, ...]:
        """Layers with a seed axis only where they came with one."""
        return tuple(layer[0] for layer in layers) if self.single else layers


def _layers(name: str, given: Sequence[Any]) -> tuple[Layers, bool]:
    """Layers with a leading seed axis, and whether they came without."""
    try:
        arrays = [np.asarray(layer) for layer in given]
        require(not any(map(np.iscomplexobj, arrays)), name, "complex numbers", "matrices of real numbers")
        layers = [array.astype(np.float64) for array in arrays]
    except InvalidInput:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInput(name, given, "matrices of numbers") from error
    axes = {layer.ndim for layer in layers}
    require(
        axes in ({2}, {3}),
        name,
        f"arrays of {sorted(axes)} axes",
        "at least one (rows, columns), or (seed, rows, columns)",
    )
    finite = all(layer.size > 0 and bool(np.isfinite(layer).all()) for layer in layers)
    require(finite, name, "NaN, infinite or no entries", "finite numbers")
    single = axes == {2}
    return tuple(layer[None] if single else layer for layer in layers), single
