"""A transfer problem in full: tasks, initial weights for every seed, both phases and the budgets between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Float, Int

from linsim.errors import brief_row, require, require_integer
from linsim.phase import Phase, Regularizer, Strength
from linsim.tasks import Transfer


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
        require(len(self.initial) > 0, "initial", self.initial, "weights of at least one layer")
        inputs, outputs = self.transfer.pretrain.inputs, self.transfer.pretrain.outputs
        ends = (self.initial[0].shape[-1], self.initial[-1].shape[-2])
        require(ends == (inputs, outputs), "initial", f"weights from {ends[0]} to {ends[1]}", f"{inputs} to {outputs}")
        chained = all(a.shape[-2] == b.shape[-1] for a, b in zip(self.initial[:-1], self.initial[1:], strict=True))
        shapes = [weight.shape for weight in self.initial]
        require(chained, "initial", shapes, "shapes that chain")
        same = len({weight.shape[0] for weight in self.initial}) == 1 and self.initial[0].shape[0] > 0
        require(same, "initial", shapes, "one leading seed axis of the same length")
        require(not any(map(np.iscomplexobj, self.initial)), "initial", "complex weights", "real numbers")
        finite = all(bool(np.isfinite(weight).all()) for weight in self.initial)
        require(finite, "initial", "NaN or infinite weights", "finite numbers")
        steps = np.asarray(self.budgets)
        require(steps.ndim == 1 and steps.dtype.kind in "iu", "budgets", self.budgets, "an array of integers")
        object.__setattr__(self, "budgets", steps)
        increasing = steps.size > 0 and steps[0] >= 1 and bool(np.all(np.diff(steps) > 0))
        require(increasing, "budgets", steps, "strictly increasing integers >= 1")
        require_integer("finetune_steps", self.finetune_steps, at_least=0)

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
    stacked = [np.stack([np.asarray(layer) for layer in layers]) for layers in zip(*weights, strict=True)]
    require(not any(map(np.iscomplexobj, stacked)), "weights", "complex numbers", "real numbers")
    return tuple(layers.astype(np.float64) for layers in stacked)
