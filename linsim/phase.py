"""A phase of training: everything that says how weights are updated, apart from the task and the number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linsim.errors import brief_fields, require, require_choice, require_integer, require_kind, used_up
from linsim.labels import Sweepable
from linsim.labels import swept as swept

Strength = Any
"""A scalar: a Python number outside, a traced array inside a compiled program."""

Parameters = Any
"""What moves: the weights (W_1, ..., W_L), or the pytree of arrays that a phase makes them of."""

OptimizerFactory = Callable[[Any], optax.GradientTransformation]
"""Learning rate or schedule -> optax optimiser, e.g. `optax.adam` or `partial(optax.adamw, weight_decay=0.1)`.

It must need no more than the gradient. Its other numbers are fixed: they cannot be an axis.
"""

Regularizer = Literal["product_penalty", "weight_penalty", "weight_decay"]
REGULARIZERS: tuple[Regularizer, ...] = get_args(Regularizer)


class Number(NamedTuple):
    """A number of a phase, or of a part of one."""

    field: str
    value: Strength | None
    about: Sweepable


@runtime_checkable
class Averaging(Protocol):
    """Weights to evaluate that are not those that move. Numbers declared by `swept` may be axes, as in every part."""

    def begin(self, parameters: Parameters) -> Any:
        """What is remembered when the phase begins; its shapes stay."""
        ...

    def update(self, memory: Any, parameters: Parameters, step: Any) -> Any:
        """What is remembered after a step, the first of which is number 1."""
        ...

    def read(self, memory: Any, parameters: Parameters) -> Parameters:
        """What is evaluated, is kept as a checkpoint, and is fine-tuned."""
        ...


@runtime_checkable
class GradientAt(Protocol):
    """A gradient that is taken elsewhere than at the weights."""

    def gradient(
        self, slope: Callable[[Parameters], Parameters], parameters: Parameters, step: Any, key: Any
    ) -> Parameters:
        """What the optimiser is given as the gradient.

        Args:
          slope: gradient of the objective at any parameters, on the minibatch of this step where there is one.
          parameters: where descent stands.
          step: number of the step, from 0.
          key: for whatever is drawn in this step.
        """
        ...


@runtime_checkable
class Moves(Protocol):
    """The parameters that move, and the weights that they make."""

    def require_fits(self, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise `InvalidInput` naming `name` unless it fits layers of these shapes, and something moves."""
        ...

    def begin(self, weights: tuple[Any, ...], key: Any) -> Parameters:
        """Parameters that make the weights at which the phase begins."""
        ...

    def weights(self, parameters: Parameters, checkpoint: tuple[Any, ...]) -> tuple[Any, ...]:
        """(W_1, ..., W_L) of parameters, where the phase began at the checkpoint."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Term:
    """strength * of(weights, checkpoint, pretrain, finetune), a term of the objective under a name of its own.

    The strength may be swept as the axis of that name, after `pretrain_` in pre-training. `of` is pure JAX and gives
    one number: weights are (W_1, ..., W_L), the checkpoint those at which the phase began, and the two tasks have
    `target`, `input_covariance` and `loss(product)`.

    Example:
      >>> from linsim.losses import end_to_end
      >>> def rehearsed(weights, checkpoint, pretrain, finetune):
      ...     return pretrain.loss(end_to_end(weights))
      >>> Phase(0.01, terms=(Term("rehearsal", rehearsed),)).put({"rehearsal": 0.5}).terms[0].strength
      0.5
    """

    name: str = field(metadata={"static": True})
    of: Callable[..., Any] = field(metadata={"static": True})
    strength: Strength | None = field(default=None, metadata=swept("strength", "per flow time", at_least=0))
    """None where it is swept."""

    __repr__ = brief_fields


@dataclass(frozen=True)
class Phase:
    """Gradient descent on  L + lambda ||P - P_0||^2 + (mu/2) sum ||W_l - W_l^0||^2 + (beta/2) sum ||W_l||^2 + terms.

    P_0 and W_l^0 belong to the checkpoint that the phase starts from. Numbers are pytree leaves: they may be swept
    and never recompile. A regulariser that is None is absent from the compiled program, and so is any other part.

    Example:
      >>> Phase(0.01, product_penalty=0.1).put({"product_penalty": 0.5}).product_penalty
      0.5
    """

    learning_rate: Strength = field(metadata=swept("learning rate", "flow time per step", above=0))
    """eta; the flow time of the phase is eta * steps."""
    product_penalty: Strength | None = field(
        default=None, metadata=swept("penalty in product space, lambda", "per flow time", at_least=0)
    )
    """lambda, the penalty towards the checkpoint in product space."""
    weight_penalty: Strength | None = field(
        default=None, metadata=swept("penalty in weight space, mu", "per flow time", at_least=0)
    )
    """mu, the penalty towards the checkpoint in weight space."""
    weight_decay: Strength | None = field(
        default=None, metadata=swept("weight decay, beta", "per flow time", at_least=0)
    )
    """beta."""
    momentum: Strength | None = field(default=None, metadata=swept("momentum", "1", at_least=0, below=1))
    """Heavy-ball coefficient in [0, 1), for plain descent."""
    nesterov: bool = field(default=False, metadata={"static": True})
    """Nesterov's form of the momentum."""
    optimizer: OptimizerFactory | None = field(default=None, metadata={"static": True})
    """Any optax optimiser; None is gradient descent with the momentum above."""
    schedule: optax.Schedule | None = field(default=None, metadata={"static": True})
    """Factor on the learning rate as a function of the step; any optax schedule. None is 1."""
    batch_size: int | None = field(default=None, metadata={"static": True})
    """Samples per step; None uses the exact gradient of the population loss."""
    terms: tuple[Term, ...] = ()
    """Further terms of the objective."""
    averaging: Averaging | None = None
    """Which weights are evaluated; None evaluates those that move, or what the optimiser itself says."""
    gradient_at: GradientAt | None = None
    """Where the gradient is taken; None is at the weights."""
    moves: Moves | None = None
    """Which parameters move; None is all weights."""

    __repr__ = brief_fields

    def validate(self, name: str) -> None:
        """Raise `InvalidInput` naming `name`.field for any number outside its domain (not called on traced values).

        Whether a phase can move the weights of a problem says `linsim.dynamics.moving.trial`.
        """
        self._require_parts(name)
        require_kind(f"{name}.nesterov", self.nesterov, bool)
        absent = {each.name for each in fields(self) if each.default is None}
        for axis, number in self.numbers().items():
            if number.value is not None:
                number.about.require(f"{name}.{axis}", number.value)
            require(number.value is not None or axis in absent, f"{name}.{axis}", None, f"a number, or an axis {axis}")
        alone = self.optimizer is None or self.momentum is None
        require(alone, f"{name}.momentum", self.momentum, "None beside an optimizer of its own")
        if self.batch_size is not None:
            require_integer(f"{name}.batch_size", self.batch_size, at_least=1)

    def numbers(self) -> dict[str, Number]:
        """All numbers that may be an axis, by the names of the axes: those of this phase, then those of its parts."""
        return {axis: number for part in (self, *self._parts()) for axis, number in _numbers(part)}

    def build_optimizer(self) -> optax.GradientTransformation:
        """The optax optimiser of this phase; may be called inside a compiled program."""
        rate = self.learning_rate
        if (schedule := self.schedule) is not None:

            def rate(count: Any) -> Any:
                factor = schedule(jnp.asarray(count, int))  # optax counts in 32 bits, and would get as many of a factor
                return self.learning_rate * jnp.asarray(factor, jnp.result_type(self.learning_rate))

        if self.optimizer is not None:
            return self.optimizer(rate)
        return optax.sgd(rate, momentum=self.momentum, nesterov=self.nesterov)

    def put(self, values: Mapping[str, Any]) -> Phase:
        """This phase with values of some fields put in; numbers of its parts go by the names of their axes."""
        require_kind("values", values, Mapping, "a mapping, name of a field -> its value")
        for axis, number in self.numbers().items():
            if axis in values:
                number.about.require_put(axis, values[axis])
        own = {each.name for each in fields(self)}
        changed = replace(self, **{name: value for name, value in values.items() if name in own})
        rest = {name: value for name, value in values.items() if name not in own}
        if not rest:
            return changed
        numbers = self.numbers()
        foreign = sorted(set(rest) - set(numbers))
        require(not foreign, "phase", foreign, f"fields and numbers of the phase: {', '.join(numbers)}")
        parts = {name: _put(part, rest) for name in PARTS if (part := getattr(changed, name)) is not None}
        return replace(changed, terms=tuple(_put(term, rest) for term in changed.terms), **parts)

    def at(self, learning_rate: Strength, regularizer: Regularizer, strength: Strength) -> Phase:
        """This phase with the swept values put in."""
        require_choice("regularizer", regularizer, REGULARIZERS)
        return self.put({"learning_rate": learning_rate, regularizer: strength})

    def as_dtype(self, dtype: Any) -> Phase:
        """This phase with every number an array of the dtype."""
        return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), self)

    def _parts(self) -> list[Any]:
        terms = self.terms if isinstance(self.terms, tuple) else ()
        parts = [*terms, *(getattr(self, name) for name in PARTS)]
        return [part for part in parts if part is not None]

    def _require_parts(self, name: str) -> None:
        whole = isinstance(self.terms, tuple) and all(isinstance(term, Term) for term in self.terms)
        require(whole, f"{name}.terms", self.terms, "a tuple of linsim.Term")
        for term in self.terms:
            word = isinstance(term.name, str) and term.name.isidentifier() and not term.name.startswith("pretrain_")
            free = word and term.name not in {each.name for each in fields(self)}
            require(
                free, f"{name}.terms", term.name, "names of one word, none of a field, that do not begin with pretrain_"
            )
            require(
                callable(term.of), f"{name}.{term.name}", term.of, "a function of weights, checkpoint and both tasks"
            )
        for part, protocol in PARTS.items():
            value = getattr(self, part)
            sound = isinstance(value, protocol) and is_dataclass(value) and not isinstance(value, type)
            sound = sound and all(map(_is_number, jax.tree.leaves(value, is_leaf=used_up)))
            allowed = (
                f"a dataclass of numbers, registered with JAX, with the methods of linsim.phase.{protocol.__name__}"
            )
            require(value is None or sound, f"{name}.{part}", value, allowed)
        axes = [axis for part in (self, *self._parts()) for axis, _ in _numbers(part)]
        twice = sorted({axis for axis in axes if axes.count(axis) > 1})
        require(not twice, name, twice, "every number under a name of its own")


def _flattened(phase: Phase) -> tuple[list[Any], tuple[Any, ...]]:
    """What is within, and what programs are compiled for: names of that, the fixed fields, and the kinds of all parts.

    JAX (0.10.1) takes registered dataclasses with like fields for one structure, and one's program for the other's.
    """
    values = {each.name: getattr(phase, each.name) for each in fields(phase)}
    fixed = tuple((each.name, values.pop(each.name)) for each in fields(phase) if "static" in each.metadata)
    return list(values.values()), (tuple(values), fixed, _kinds(phase))


def _kinds(value: Any) -> Any:
    return is_dataclass(value) and (type(value), *(_kinds(getattr(value, each.name)) for each in fields(value)))


def _unflattened(told: tuple[Any, ...], values: Any) -> Phase:
    return Phase(**dict(zip(told[0], values, strict=True)), **dict(told[1]))


jax.tree_util.register_pytree_node(Phase, _flattened, _unflattened)

PARTS: dict[str, Any] = {"averaging": Averaging, "gradient_at": GradientAt, "moves": Moves}
"""Fields of a phase that hold a value open to others, and what it must be able to do."""

SWEPT: dict[str, Sweepable] = {each.name: each.metadata["swept"] for each in fields(Phase) if "swept" in each.metadata}
"""Fields of `Phase` that may be an axis; parts have further numbers, see `Phase.numbers`."""


def _numbers(part: Any) -> Iterator[tuple[str, Number]]:
    """Name of the axis, and number, for all that a value declares."""
    for each in fields(part) if is_dataclass(part) else ():
        if (about := each.metadata.get("swept")) is not None:
            if isinstance(part, Term):
                about = about._replace(words=f"strength of {part.name}", axis=part.name)
            yield about.axis or each.name, Number(each.name, getattr(part, each.name), about)


def _is_number(leaf: Any) -> bool:
    """One, or an array of them; a flag counts as 0 or 1."""
    if not hasattr(leaf, "dtype"):
        return isinstance(leaf, int | float)
    return any(jnp.issubdtype(leaf.dtype, kind) for kind in (np.floating, np.integer, np.bool_))


def _put(part: Any, values: Mapping[str, Any]) -> Any:
    return replace(part, **{number.field: values[axis] for axis, number in _numbers(part) if axis in values})
