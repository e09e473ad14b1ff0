"""A phase of training: everything that says how weights are updated, apart from the task and the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
import optax

from linsim.errors import brief_fields, require, require_integer, require_number

Strength = Any
"""A scalar: a Python number outside, a traced array inside a compiled program."""

OptimizerFactory = Callable[[Any], optax.GradientTransformation]
"""Learning rate or schedule -> optax optimiser, e.g. `optax.adam` or `partial(optax.adamw, weight_decay=0.1)`."""

Regularizer = Literal["product_penalty", "weight_penalty", "weight_decay"]
REGULARIZERS: tuple[Regularizer, ...] = get_args(Regularizer)


class Sweepable(NamedTuple):
    """What an axis of a sweep is told about a number of a phase."""

    words: str
    units: str
    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf


SWEPT: dict[str, Sweepable] = {
    "learning_rate": Sweepable("learning rate", "flow time per step", above=0),
    "product_penalty": Sweepable("penalty in product space, lambda", "per flow time", at_least=0),
    "weight_penalty": Sweepable("penalty in weight space, mu", "per flow time", at_least=0),
    "weight_decay": Sweepable("weight decay, beta", "per flow time", at_least=0),
    "momentum": Sweepable("momentum", "1", at_least=0, below=1),
}
"""Fields of `Phase` that may be an axis: the numbers, which are pytree leaves and never recompile."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Phase:
    """Gradient descent on  L + lambda ||P - P_0||^2 + (mu/2) sum ||W_l - W_l^0||^2 + (beta/2) sum ||W_l||^2.

    P_0 and W_l^0 belong to the checkpoint that the phase starts from. Numbers are pytree leaves: they may be swept
    and never recompile. A regulariser that is None is absent from the compiled program.
    """

    learning_rate: Strength
    """eta; the flow time of the phase is eta * steps."""
    product_penalty: Strength | None = None
    """lambda, the penalty towards the checkpoint in product space."""
    weight_penalty: Strength | None = None
    """mu, the penalty towards the checkpoint in weight space."""
    weight_decay: Strength | None = None
    """beta."""
    momentum: Strength | None = None
    """Heavy-ball coefficient in [0, 1), for plain descent."""
    nesterov: bool = field(default=False, metadata={"static": True})
    """Nesterov's form of the momentum."""
    optimizer: OptimizerFactory | None = field(default=None, metadata={"static": True})
    """Any optax optimiser; None is gradient descent with the momentum above."""
    schedule: optax.Schedule | None = field(default=None, metadata={"static": True})
    """Factor on the learning rate as a function of the step; any optax schedule. None is 1."""
    batch_size: int | None = field(default=None, metadata={"static": True})
    """Samples per step; None uses the exact gradient of the population loss."""

    __repr__ = brief_fields

    def validate(self, name: str) -> None:
        """Raise `InvalidInput` naming `name`.field for any number outside its domain (not called on traced values)."""
        require_number(f"{name}.learning_rate", self.learning_rate, above=0)
        for regularizer in REGULARIZERS:
            if (strength := getattr(self, regularizer)) is not None:
                require_number(f"{name}.{regularizer}", strength, at_least=0)
        if self.momentum is not None:
            require_number(f"{name}.momentum", self.momentum, at_least=0, below=1)
        plain = self.optimizer is None
        require(
            plain or self.momentum is None, f"{name}.momentum", self.momentum, "None beside an optimizer of its own"
        )
        if self.batch_size is not None:
            require_integer(f"{name}.batch_size", self.batch_size, at_least=1)

    def build_optimizer(self) -> optax.GradientTransformation:
        """The optax optimiser of this phase; may be called inside a compiled program."""
        rate = self.learning_rate
        if (schedule := self.schedule) is not None:

            def rate(count: Any) -> Any:
                return self.learning_rate * schedule(count)

        if self.optimizer is not None:
            return self.optimizer(rate)
        return optax.sgd(rate, momentum=self.momentum, nesterov=self.nesterov)

    def put(self, values: Mapping[str, Any]) -> Phase:
        """This phase with values of some fields put in."""
        return replace(self, **values)

    def at(self, learning_rate: Strength, regularizer: Regularizer, strength: Strength) -> Phase:
        """This phase with the swept values put in."""
        return self.put({"learning_rate": learning_rate, regularizer: strength})

    def as_dtype(self, dtype: Any) -> Phase:
        """This phase with every number an array of the dtype."""
        return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), self)
