"""A transfer problem in full: tasks, initial weights for every seed, both phases and the budgets between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Float, Int

from linsim.errors import LARGEST, brief, brief_row, listed, numbers, require, require_integer, require_kind
from linsim.phase import Phase, Regularizer, Strength
from linsim.tasks import Transfer

MOST_STEPS = 10**9
"""Of a phase: more are never done."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Pre-train once to the largest budget, fine-tune from the checkpoint at every budget."""

    transfer: Transfer
    initial: tuple[Float[np.ndarray, "seeds _ _"], ...]
    """Initial (W_1, ..., W_L), each with a leading seed axis."""
    pretrain: Phase
    finetune: Phase
    budgets: Int[np.ndarray, " budgets"]
    """Pre-training steps at which to fine-tune, strictly increasing, from 1."""
    finetune_steps: int
    """K, the same for every lane; 0 for pre-training alone."""
    idealised: bool = False
    """Fine-tune from the idealised rank-n checkpoints instead of the real ones: n modes at their target, the rest 0."""
    seed: int = 0
    """Seed of the minibatches, where there are any."""

    def __post_init__(self) -> None:
        require_kind("transfer", self.transfer, Transfer)
        for name in ("pretrain", "finetune"):
            require_kind(name, getattr(self, name), Phase)
        object.__setattr__(self, "initial", _seeds_of("initial", self.initial))
        inputs, outputs = self.transfer.pretrain.inputs, self.transfer.pretrain.outputs
        ends = (self.initial[0].shape[-1], self.initial[-1].shape[-2])
        require(ends == (inputs, outputs), "initial", f"weights from {ends[0]} to {ends[1]}", f"{inputs} to {outputs}")
        chained = all(a.shape[-2] == b.shape[-1] for a, b in zip(self.initial[:-1], self.initial[1:], strict=True))
        shapes = [weight.shape for weight in self.initial]
        require(chained, "initial", shapes, "shapes that chain")
        same = len({weight.shape[0] for weight in self.initial}) == 1 and self.initial[0].shape[0] > 0
        require(same, "initial", shapes, "one leading seed axis of the same length")
        numbers("budgets", self.budgets, 1)
        steps, allowed = np.asarray(self.budgets), f"strictly increasing integers from 1 to {MOST_STEPS}"
        increasing = steps.dtype.kind in "iu" and steps[0] >= 1 and bool(np.all(np.diff(steps) > 0))
        require(increasing and bool(steps[-1] <= MOST_STEPS), "budgets", steps, allowed)
        object.__setattr__(self, "budgets", steps.astype(np.int64))
        require_integer("finetune_steps", self.finetune_steps, at_least=0, at_most=MOST_STEPS)
        require_kind("idealised", self.idealised, bool)
        require_integer("seed", self.seed, at_least=0, at_most=2**32 - 1)

    def __repr__(self) -> str:
        first, last = self.budgets[[0, -1]]
        return "\n".join(
            [
                "Problem(",
                f"  widths {brief_row(self.widths, ' -> ')}, {self.seeds} seed{'s' * (self.seeds > 1)}",
                f"  pretrain: {self.transfer.pretrain}",
                f"    by {self.pretrain}, {len(self.budgets)} budgets of {first} ... {last} steps",
                f"  finetune: {self.transfer.finetune}",
                f"    by {self.finetune}, {self.finetune_steps} steps",
                *["    from idealised checkpoints"] * self.idealised,
                ")",
            ]
        )

    def put(self, pretrain: Mapping[str, Strength], finetune: Mapping[str, Strength]) -> Problem:
        """This problem with values of fields of its phases put in."""
        return replace(self, pretrain=self.pretrain.put(pretrain), finetune=self.finetune.put(finetune))

    def tuned(self, learning_rate: Strength, regularizer: Regularizer, strength: Strength) -> Problem:
        """This problem with the swept values of its fine-tuning put in."""
        return replace(self, finetune=self.finetune.at(learning_rate, regularizer, strength))

    @property
    def depth(self) -> int:
        """L."""
        return len(self.initial)

    @property
    def seeds(self) -> int:
        """Number of initial weights."""
        return int(self.initial[0].shape[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """(d_in, h_1, ..., d_out)."""
        return (self.initial[0].shape[-1], *(weight.shape[-2] for weight in self.initial))


def multiplied(layers: Iterable[Float[np.ndarray, "*runs _ _"]]) -> Float[np.ndarray, "*runs d_out d_in"]:
    """P = W_L ... W_1 of layers with any leading axes, in NumPy."""
    return reduce(lambda product, layer: layer @ product, layers)


def stack_seeds(weights: Sequence[Sequence[object]]) -> tuple[Float[np.ndarray, "seeds _ _"], ...]:
    """Stack the weights of several networks along a leading seed axis, in float64.

    Example:
      >>> first, second = ls.stack_seeds([ls.identity((3, 4, 2), tau=5.0)] * 5)
      >>> first.shape, second.shape
      ((5, 4, 3), (5, 2, 4))
    """
    allowed = "a list of networks, each a tuple of matrices (W_1, ..., W_L)"
    networks = listed("weights", weights, allowed)
    require(len(networks) > 0, "weights", networks, f"{allowed}, at least one")
    layers = [
        [numbers("weights", layer, 2, most=LARGEST) for layer in listed("weights", each, allowed)] for each in networks
    ]
    shapes = [[layer.shape for layer in each] for each in layers]
    require(len(shapes[0]) > 0, "weights", shapes, f"{allowed}, of at least one layer")
    require(all(each == shapes[0] for each in shapes), "weights", shapes, "networks of the same shapes")
    return tuple(np.stack(each) for each in zip(*layers, strict=True))


def _seeds_of(field: str, weights: object) -> tuple[Float[np.ndarray, "seeds _ _"], ...]:
    """Weights of several seeds; a seed axis is put before the matrices of a single network."""
    allowed = "a tuple (W_1, ..., W_L), of shape (seed, rows, columns) each"
    several = isinstance(weights, list | tuple) and len(weights) > 0
    require(several, field, brief(weights), allowed)
    layers = [numbers(field, layer, most=LARGEST) for layer in weights]  # type: ignore[attr-defined]
    dims = {layer.ndim for layer in layers}
    require(dims in ({2}, {3}), field, [layer.shape for layer in layers], allowed)
    return tuple(layer[None] if dims == {2} else layer for layer in layers)
