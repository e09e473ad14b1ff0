"""Losses that know their outputs: a model, and the likelihood of targets given its outputs.

A prediction is one row of outputs: an example, or a token of a sequence. Losses are means over predictions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linsim.errors import brief, brief_fields, require, require_callable, require_kind
from linsim.losses import Scalar
from linsim.monitoring.trees import Batch, Params, leaves_of


@runtime_checkable
class Likelihood(Protocol):
    """How probable targets are, given outputs of shape (..., outputs): what Fisher information is defined by."""

    @property
    def scale(self) -> float:
        """loss / negative log-likelihood, up to a constant: 1, or 2 for a squared error without the factor 1/2."""
        ...

    def surprise(self, outputs: Array, targets: Array) -> Array:
        """-log p(target | output) up to a constant, one a prediction."""
        ...

    def counted(self, targets: Array) -> Array:
        """Which predictions are part of the loss: 1 or 0 each."""
        ...

    def score(self, key: Array, outputs: Array) -> Array:
        """The gradient of the surprise in the outputs, at a target drawn from the model."""
        ...

    def root(self, key: Array, outputs: Array) -> Array:
        """v with E[v v^T] = the Hessian of the surprise in the outputs of each prediction, v independent over them."""
        ...


@dataclass(frozen=True)
class SquaredError:
    """||f - y||^2, twice the surprise of a Gaussian with unit variance. [no factor 1/2, as everywhere in linsim]"""

    @property
    def scale(self) -> float:
        return 2.0

    def surprise(self, outputs: Array, targets: Array) -> Array:
        wanted = f"shape {outputs.shape}, as the outputs"
        require(targets.shape == outputs.shape, "targets", f"shape {targets.shape}", wanted)
        return 0.5 * jnp.sum((outputs - targets) ** 2, axis=-1)

    def counted(self, targets: Array) -> Array:
        return jnp.ones(targets.shape[:-1], targets.dtype)

    def score(self, key: Array, outputs: Array) -> Array:
        return jax.random.normal(key, outputs.shape, outputs.dtype)  # f - y, without the rounding of y = f + noise

    def root(self, key: Array, outputs: Array) -> Array:
        return jax.random.rademacher(key, outputs.shape, outputs.dtype)


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(f)_y for integer targets y; predictions whose target is negative are left out (padding)."""

    @property
    def scale(self) -> float:
        return 1.0

    def surprise(self, outputs: Array, targets: Array) -> Array:
        whole = jnp.issubdtype(targets.dtype, jnp.integer)
        require(whole, "targets", f"dtype {targets.dtype}", "integers, the classes")
        logs = jax.nn.log_softmax(outputs)
        return -jnp.take_along_axis(logs, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]

    def counted(self, targets: Array) -> Array:
        return jnp.asarray(targets >= 0, jnp.float32)

    def score(self, key: Array, outputs: Array) -> Array:
        drawn = jax.random.categorical(key, outputs)
        return jax.nn.softmax(outputs) - jax.nn.one_hot(drawn, outputs.shape[-1], dtype=outputs.dtype)

    def root(self, key: Array, outputs: Array) -> Array:
        chances = jax.nn.softmax(outputs)
        roots = jnp.sqrt(chances) * jax.random.rademacher(key, outputs.shape, outputs.dtype)
        # The Hessian is diag(p) - p p^T = R R^T with R = (I - p 1^T) diag(sqrt p).
        return roots - chances * jnp.sum(roots, axis=-1, keepdims=True)


SQUARED_ERROR, CROSS_ENTROPY = SquaredError(), CrossEntropy()


@dataclass(frozen=True)
class Predictive:
    """The mean loss of a model that says what it predicts: callable as `loss(params, (inputs, targets))`.

    Example:
      >>> loss = Predictive(lambda params, inputs: inputs @ params, SQUARED_ERROR)
      >>> float(loss(jnp.eye(2), (jnp.ones((3, 2)), jnp.zeros((3, 2)))))
      2.0
    """

    outputs: Callable[[Params, Any], Array]
    """(params, inputs) -> outputs of shape (examples, ..., outputs), each example by itself."""
    likelihood: Likelihood

    __repr__ = brief_fields

    def __post_init__(self) -> None:
        require_callable("outputs", self.outputs, "a function of parameters and inputs")
        able = isinstance(self.likelihood, Likelihood) and not isinstance(self.likelihood, type)
        require(
            able, "likelihood", brief(self.likelihood), "linsim.SQUARED_ERROR, linsim.CROSS_ENTROPY, or one like them"
        )

    @classmethod
    def of_module(cls, module: nnx.Module, likelihood: Likelihood) -> Predictive:
        """The loss of a Flax module called on inputs; its parameters are `nnx.state(module, nnx.Param)`.

        Everything else in the module (statistics, random streams) stays as it is at this moment. Other trees with the
        same names in the same order will do for the parameters; nnx pairs them with the module by their order alone, so
        the names are compared here.

        Raises:
          InvalidInput: dropout, batch statistics and the like that are not in evaluation mode.
        """
        require_kind("module", module, nnx.Module, "a module of flax.nnx")
        for path, part in nnx.iter_graph(module):
            where = f"module{''.join(f'.{name}' for name in path)}"
            for switch, value in (("deterministic", False), ("use_running_average", False)):
                draws = isinstance(part, nnx.Module) and getattr(part, switch, None) is value
                require(not draws, where, f"{switch}={value}", "evaluation mode, as after module.eval()")
        graph, own, *rest = nnx.split(module, nnx.Param, ...)
        names = list(leaves_of(own))

        def outputs(params: Params, inputs: Any) -> Array:
            for given, wanted in itertools.zip_longest(leaves_of(params), names, fillvalue="no array"):
                require(given == wanted, "params", given, f"{wanted}, the next name in the module")
            return nnx.merge(graph, params, *rest, copy=True)(inputs)

        return cls(outputs, likelihood)

    def __call__(self, params: Params, batch: Batch) -> Scalar:
        """The mean loss over the predictions of a batch that count."""
        inputs, targets = self.pair(batch)
        each, counted = self.surprises(params, inputs, targets)
        return self.likelihood.scale * jnp.sum(each * counted) / jnp.sum(counted)

    def surprises(self, params: Params, inputs: Any, targets: Array) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """-log p of every prediction of a batch, and whether it counts."""
        outputs = self.predict(params, inputs)
        counted = self.likelihood.counted(targets)
        expected = counted.shape == outputs.shape[:-1]
        require(expected, "targets", f"shape {targets.shape}", f"one target for each of the {outputs.shape} outputs")
        return self.likelihood.surprise(outputs, targets), counted.astype(outputs.dtype)

    def predict(self, params: Params, inputs: Any) -> Float[Array, "..."]:
        """The outputs, in float32 or better."""
        outputs = self.outputs(params, inputs)
        rows = jax.tree.leaves(inputs)[0].shape[0]
        right = outputs.ndim >= 2 and outputs.shape[0] == rows
        require(right, "outputs", f"shape {outputs.shape}", f"shape ({rows}, ..., outputs), a row an example")
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))

    def count(self, batch: Batch) -> int:
        """How many predictions of a batch count; `InvalidInput` where none does."""
        count = int(jnp.sum(self.likelihood.counted(jnp.asarray(self.pair(batch)[1]))))
        require(count > 0, "targets", "none that counts in a microbatch", "at least one")
        return count

    @staticmethod
    def pair(batch: Batch) -> tuple[Any, Array]:
        """(inputs, targets) of a batch."""
        right = isinstance(batch, tuple | list) and len(batch) == 2
        require(right, "batch", type(batch).__name__, "a pair (inputs, targets) in a list of microbatches")
        return batch[0], jnp.asarray(batch[1])
