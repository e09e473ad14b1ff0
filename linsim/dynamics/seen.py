"""What a measure sees of a place: each part is formed from the solver's own coordinates when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim import losses
from linsim.dynamics.solver import Coordinates, Solver, State, Target
from linsim.errors import InvalidInput, require
from linsim.losses import Scalar, Weights
from linsim.measure import Measure
from linsim.phase import Phase
from linsim.tasks import LinearTask

Measured = Mapping[str, Array]
"""Name of a measure -> its values."""


class SeenTask(NamedTuple):
    """A task as a measure sees it, in the coordinates of the problem."""

    target: Float[Array, "d_out d_in"]
    """A."""
    input_covariance: Float[Array, "d_in d_in"]
    """S."""
    label_noise: Scalar
    """Standard deviation of the noise on each output."""
    left: Float[Array, "d_out modes"]
    """u_i."""
    strengths: Float[Array, " modes"]
    """sigma_i."""
    right: Float[Array, "d_in modes"]
    """v_i."""
    own_loss: Any = None
    """The `linsim.losses.TaskLoss` of its objective, of arrays; None of squared error."""

    @classmethod
    def of(cls, task: LinearTask, dtype: Any) -> SeenTask:
        """A task as arrays."""
        modes = len(task.strengths)
        arrays = (
            *(task.target, task.input_covariance, np.asarray(task.label_noise)),
            *(task.left[:, :modes], task.strengths, task.right[:, :modes]),
        )
        own_loss = jax.tree.map(lambda array: jnp.asarray(array, dtype), task.own_loss)
        told = [*(jnp.asarray(array, dtype) for array in arrays), own_loss]
        return cls(*told)

    def loss(self, product: Float[Array, "d_out d_in"]) -> Scalar:
        """L(P) = tr((P - A) S (P - A)^T), or that of its objective."""
        if self.own_loss is not None:
            own: Scalar = self.own_loss.loss(product)
            return own
        residual = product - self.target
        return losses.quadratic(residual, losses.matmul(residual, self.input_covariance))


class Surroundings(NamedTuple):
    """What is around a state: of one run, or of the runs of all seeds."""

    pretrain: SeenTask | None
    """None where no measure looks at more than losses."""
    finetune: SeenTask | None
    targets: tuple[Target, Target]
    """Both tasks once more, in the solver's coordinates."""
    coordinates: Coordinates
    """Of the seed of the run; of all seeds with a leading axis."""
    phase: Phase
    """That moved the weights here; of one run with its swept values put in."""

    def of_run(self, seed: Any, swept: Mapping[str, Any]) -> Surroundings:
        """Those of one run."""
        coordinates = jax.tree.map(lambda leaf: leaf[seed], self.coordinates)
        return self._replace(coordinates=coordinates, phase=self.phase.put(swept))


class Seen:
    """A network at a checkpoint, at the end of fine-tuning, or on the way."""

    def __init__(
        self, measure: Measure, solver: Solver, state: State, around: Surroundings, began: State | None, steps: Any
    ) -> None:
        self._measure, self._solver, self._state, self._around, self._began = measure, solver, state, around, began
        self.pretrain: Any = around.pretrain
        """The pre-training task: `target`, `input_covariance`, `label_noise`, modes, and `loss` of a product."""
        self.finetune: Any = around.finetune
        """The fine-tuning task."""
        self.phase = around.phase
        """The phase that moved the weights here."""
        self.steps = steps
        """Steps of that phase so far."""

    @cached_property
    def product(self) -> Float[Array, "d_out d_in"]:
        """P = W_L ... W_1."""
        return self._solver.end_to_end(self._state, self._around.coordinates)

    @cached_property
    def learned(self) -> Float[Array, " modes"]:
        """u_i^T P v_i along the modes of the pre-training task, at less cost than P where the solver knows them."""
        return self._solver.strengths_of(self._state, self._around.coordinates, self.pretrain)

    @cached_property
    def weights(self) -> Weights:
        """(W_1, ..., W_L)."""
        told = not self._solver.rotates or self._measure.up_to_rotation
        allowed = f"what does not depend on a rotation of the hidden layer (up_to_rotation=True): {self._solver.name}"
        require(told, f"measure {self._measure.name}", "seen.weights", f"{allowed} knows weights up to one")
        return self._solver.layers(self._state, self._around.coordinates)

    @cached_property
    def pretrain_loss(self) -> Scalar:
        """Loss on the pre-training task, `pretrain.loss(product)` at less cost."""
        return self._solver.loss(self._state, self._around.targets[0])

    @cached_property
    def finetune_loss(self) -> Scalar:
        """Loss on the fine-tuning task, `finetune.loss(product)` at less cost."""
        return self._solver.loss(self._state, self._around.targets[1])

    @cached_property
    def checkpoint(self) -> Seen:
        """Where fine-tuning began; at a checkpoint itself."""
        if self._began is None:
            return self
        return Seen(self._measure, self._solver, self._began, self._around, None, jnp.zeros_like(self.steps))


def observe(
    measures: Sequence[Measure], solver: Solver, state: State, around: Surroundings, began: State | None, steps: Any
) -> Measured:
    """All measures of one lane at one place.

    Raises:
      InvalidInput: a result that is no array of real numbers of the measure's dims; or of what the solver cannot give.
    """
    found = {}
    for measure in measures:
        named, count = f"measure {measure.name}", len(measure.dims)
        try:
            value = measure.of(Seen(measure, solver, state, around, began, steps))
        except InvalidInput:
            raise
        except Exception as error:  # whatever a user's code raises
            reason = f"{type(error).__name__}: {error}"
            raise InvalidInput(named, reason, "a function of what is seen that does not fail") from error
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError) as error:
            raise InvalidInput(named, value, "an array of real numbers") from error
        require(array.dtype.kind in "fiub", named, f"an array of {array.dtype}", "an array of real numbers")
        allowed = f"{count} dimensions, {', '.join(measure.dims)}" if count else "one number, as it has no dims"
        require(array.ndim == count, named, f"an array of shape {array.shape}", allowed)
        for dim, values in measure.coords.items():
            length = array.shape[measure.dims.index(dim)]
            require(length == len(values), named, f"{length} along {dim}", f"{len(values)}, as many as coordinates")
        found[measure.name] = array
    return found


PRETRAIN_LOSS_BEFORE = Measure("pretrain_loss_before", at="checkpoint", of=lambda seen: seen.pretrain_loss)
PRETRAIN_LOSS_AFTER = Measure("pretrain_loss_after", of=lambda seen: seen.pretrain_loss)
FINETUNE_LOSS_AFTER = Measure("finetune_loss_after", of=lambda seen: seen.finetune_loss)
FORGETTING = Measure("forgetting", of=lambda seen: seen.pretrain_loss - seen.checkpoint.pretrain_loss)
BEFORE = (PRETRAIN_LOSS_BEFORE,)
AFTER = (PRETRAIN_LOSS_AFTER, FINETUNE_LOSS_AFTER, FORGETTING)
"""What every sweep measures, in any coordinates."""
