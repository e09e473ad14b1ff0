"""Checkpoints one by one: read, held against those before, measured unless that is known, and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linsim.commands.named import call_named
from linsim.errors import InvalidInput
from linsim.measures.estimates import Estimate
from linsim.monitoring.checkpoints import Checkpoint, Tolerance, parameters
from linsim.monitoring.measuring import MEASURES, Monitor, Reading
from linsim.monitoring.record import Record
from linsim.monitoring.stored.likeness import Likeness
from linsim.monitoring.stored.parameters import repeated
from linsim.monitoring.trees import leaves_of, require_one_number, require_same_shapes, shapes_of
from linsim.sweeping.keeping import remembered

from .config import Config


@dataclass
class Meeting:
    """What every checkpoint meets: a monitor with its microbatches, and what came before."""

    config: Config
    monitor: Monitor
    batches: Sequence[Any]
    template: Any
    record: Record = field(default_factory=Record)
    likeness: Likeness = field(default_factory=Likeness)
    notes: list[str] = field(default_factory=list)
    """What is told of arrays in the first checkpoint."""
    shapes: dict[str, tuple[int, ...]] | None = None
    known: Mapping[str, Reading] = field(default_factory=dict)
    """What was measured before, by the name of the checkpoint."""

    def measure(self, checkpoint: Checkpoint, tolerance: Tolerance) -> None:
        """Read one checkpoint and add it to the record; `InvalidInput` names it."""
        name = checkpoint.path.name
        with tolerance.of(name):
            params = self._params(checkpoint, tolerance)
            shapes = shapes_of(params)
            require_same_shapes(f"{name}: ", shapes, self.shapes or shapes)
        if name in tolerance.skipped:
            return
        if self.shapes is None:
            self._try_loss(name, params)
            self.shapes = shapes
        try:
            reading = self.known.get(name) or self._reading(params)
        except InvalidInput as error:
            if error.field.partition("@")[0] not in ("loss", *MEASURES):  # no fault of the checkpoint
                raise
            with tolerance.of(name):
                raise InvalidInput(f"{name}: {error.field}", error.value, error.allowed) from error
            return
        self.record.add(checkpoint.budget, reading)
        self.likeness.add(name, params)

    def _reading(self, params: Any) -> Reading:
        """What the monitor says, unless it has said so before this run was killed."""

        def measure() -> dict[str, list[float]]:
            reading = self.monitor.measure(params, self.batches, jax.random.key(self.config.seed))
            return {name: [float(each.mean), float(each.error)] for name, each in reading.items()}

        arrays = [np.asarray(leaf) for leaf in jax.tree.leaves((params, self.batches))]
        of = {"monitor": self.monitor, "seed": self.config.seed, "names": list(leaves_of(params)), "arrays": arrays}
        told = remembered(of, measure)
        return {name: Estimate(*pair) for name, pair in told.items()}

    def _params(self, checkpoint: Checkpoint, tolerance: Tolerance) -> Any:
        """The arrays of a checkpoint, those that are measured and those that are held."""
        tree = parameters(checkpoint, self.config.part, self.template, self.config.params, tolerance)
        if self.shapes is None:
            held = ", ".join(tolerance.held[:6]) + ", ..." * (len(tolerance.held) > 6)
            self.notes += [f"Held, not measured: {held}"] * bool(held)
            self.notes += [f"{first} and {second} hold the same numbers" for first, second in repeated(tree)]
        return jax.tree.map(self._precise, tree)

    def _precise(self, leaf: Any) -> Any:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, self.config.precision if floating else leaf.dtype)

    def _try_loss(self, name: str, params: Any) -> None:
        """Tell a loss that fails, or is no scalar, from a checkpoint that does."""
        for batch in self.batches:
            shape = partial(jax.eval_shape, self.monitor.loss, params, batch)
            require_one_number(call_named("loss", f"{self.config.loss} on {name}", shape))
        for batch in self.monitor.finetune or ():
            shape = partial(jax.eval_shape, self.monitor.loss, params, batch)
            call_named("finetune", f"{self.config.finetune}, by {self.config.loss} on {name}", shape)
