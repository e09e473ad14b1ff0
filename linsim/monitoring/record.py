"""A record of a monitor over checkpoints, and a callback that keeps one and stops a training loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from linsim.errors import brief, require, require_choice, require_kind
from linsim.forecasting.stopping import Stopping
from linsim.labels import labelled, texts
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm, Watched
from linsim.monitoring.measuring import Monitor, Reading
from linsim.monitoring.trees import Batch, require_same_shapes, shapes_of, state_of
from linsim.network import require_key


@dataclass
class Record:
    """Readings of one monitor at increasing budgets."""

    budgets: list[int] = field(default_factory=list)
    """Training steps of the checkpoints."""
    readings: list[Reading] = field(default_factory=list)
    """What the monitor said there."""

    def __post_init__(self) -> None:
        lists = isinstance(self.budgets, list) and isinstance(self.readings, list)
        same = lists and len(self.budgets) == len(self.readings)
        require(same, "budgets", brief(self.budgets), "a list of steps, beside a list of as many readings")
        pairs = list(zip(self.budgets, self.readings, strict=True))
        self.budgets, self.readings = [], []
        for budget, reading in pairs:
            self.add(budget, reading)

    def __repr__(self) -> str:
        if not self.readings:
            return "Record(no checkpoints)"
        steps = f"{self.budgets[0]} ... {self.budgets[-1]} steps"
        return f"Record({len(self.budgets)} checkpoints, {steps}: {', '.join(self.readings[0])})"

    def add(self, budget: Any, reading: Reading) -> None:
        """Append a checkpoint; `InvalidInput` where its budget does not increase or its measures are others."""
        budget = self.next_budget(budget)
        sound = isinstance(reading, Mapping) and all(isinstance(each, Estimate) for each in reading.values())
        require(sound and bool(reading), "reading", brief(reading), "a mapping, name of a measure -> its Estimate")
        names = sorted(self.readings[0]) if self.readings else sorted(reading)
        require(sorted(reading) == names, "reading", sorted(reading), f"the measures {names}")
        self.budgets.append(budget)
        self.readings.append(reading)

    def next_budget(self, budget: Any) -> int:
        """A budget as an integer, of whatever library; `InvalidInput` unless it is above those before."""
        array = getattr(getattr(budget, "dtype", None), "kind", "O") in "iu" and budget.shape == ()
        whole = array or (isinstance(budget, int) and not isinstance(budget, bool))
        require(whole and int(budget) >= 1, "budget", brief(budget), "an integer >= 1")
        before, steps = self.budgets[-1] if self.budgets else 0, int(budget)
        require(steps > before, "budget", steps, f"more steps than the {before} of the checkpoint before")
        return steps

    def series(self, measure: str) -> tuple[Float[np.ndarray, " checkpoints"], Float[np.ndarray, " checkpoints"]]:
        """Means and standard errors of one measure over the checkpoints."""
        names = list(self.readings[0]) if self.readings else []
        require_choice("measure", measure, names or ["none: the record is empty"])
        pairs = [(float(reading[measure].mean), float(reading[measure].error)) for reading in self.readings]
        means, errors = np.asarray(pairs, np.float64).T
        return means, errors

    def watch(self, measure: str, alarm: Alarm) -> Watched:
        """What an alarm makes of a measure, NaN where it does not know; `InvalidInput` below two checkpoints."""
        require_kind("alarm", alarm, Alarm)
        count = len(self.budgets)
        require(count >= 2, "checkpoints", count, f"at least 2, and {alarm.needs} for this alarm to ring")
        means, errors = self.series(measure)
        return alarm.watch(np.asarray(self.budgets), means, errors)

    def to_dataset(self) -> xr.Dataset:
        """The record over `pretrain_steps`, each measure beside its standard error, MEASURE_error.

        What layers say, MEASURE@LAYER, is MEASURE_by_layer over `pretrain_steps` and `layer`, beside its error.
        """
        variables, names = {}, list(self.readings[0]) if self.readings else []
        layers = list(dict.fromkeys(name.partition("@")[2] for name in names if "@" in name))
        for measure in (name for name in names if "@" not in name):
            told = measure.replace("_", " ")
            for called, what, dims, parts in (
                (measure, told, ("pretrain_steps",), [measure]),
                (f"{measure}_by_layer", f"{told} of a layer", ("pretrain_steps", "layer"), _of(measure, layers, names)),
            ):
                if parts:
                    values = np.stack([self.series(part) for part in parts], axis=-1)  # (2, checkpoints, parts)
                    means, errors = values if "layer" in dims else values[..., 0]
                    variables[called] = (dims, means, {"long_name": what})
                    variables[f"{called}_error"] = (dims, errors, {"long_name": f"standard error of {what}"})
        steps = labelled("pretrain_steps", np.asarray(self.budgets, np.int64))
        along = {"layer": xr.Variable("layer", texts(layers), {"long_name": "layer"})} if layers else {}
        return xr.Dataset(variables, {"pretrain_steps": steps} | along)


def _of(measure: str, layers: list[str], names: list[str]) -> list[str]:
    """What was read of a measure in every layer; nothing where it was not."""
    return [name for layer in layers if (name := f"{measure}@{layer}") in names]


@dataclass
class Watch:
    """A callback for a training loop: measures a checkpoint, keeps the record, and says when to stop.

    Example:
      if watch(step, model): break
    """

    monitor: Monitor
    batches: Iterable[Batch]
    """Held-out microbatches, the same at every checkpoint; not a generator, which would be empty the second time."""
    key: Array = field(default_factory=lambda: jax.random.key(0))
    """The same at every checkpoint: common random numbers."""
    measure: str = "fisher"
    """What the alarm listens to."""
    alarm: Alarm | Stopping = field(default_factory=Alarm)
    """When to stop: once the measure grows, or once a forecast says so. That is made from the mean loss, and from
    `finetune_loss` where the monitor takes it, whatever `measure` is."""
    record: Record = field(default_factory=Record)
    _shapes: dict[str, tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("monitor", Monitor), ("record", Record)):
            require_kind(name, getattr(self, name), kind)
        rule = isinstance(self.alarm, Alarm | Stopping)
        require(rule, "alarm", brief(self.alarm), "a linsim.Alarm, or a linsim.Stopping")
        require_key(self.key)
        require_choice("measure", self.measure, tuple(self.monitor.measures or ()))
        again = isinstance(self.batches, Iterable) and not isinstance(self.batches, str | bytes | Mapping | Iterator)
        require(again, "batches", brief(self.batches), "a list of microbatches, to be gone through again")

    def __repr__(self) -> str:
        return f"Watch({self.monitor}, measure={self.measure!r}, alarm={self.alarm}, record={self.record})"

    def __call__(self, budget: Any, model: Any) -> bool:
        """Measure a model after `budget` training steps; True once the alarm rings, or the forecast says to stop.

        Raises:
          InvalidInput: as `Monitor.measure`; parameters of other shapes than before; a budget that does not increase.
        """
        budget = self.record.next_budget(budget)
        shapes = shapes_of(state_of(model))
        if self._shapes is None:
            self._shapes = shapes
        require_same_shapes("params", shapes, self._shapes)
        self.record.add(budget, self.monitor.measure(model, self.batches, self.key))
        if len(self.record.budgets) < self.alarm.needs:
            return False
        if isinstance(self.alarm, Stopping):
            columns = {"base_loss": "loss", "finetune_loss_before": "finetune_loss"}
            known = {column: name for column, name in columns.items() if name in self.record.readings[0]}
            losses = {column: self.record.series(name)[0] for column, name in known.items()}
            return self.alarm.stops(self.record.budgets, losses)
        return bool(self.record.watch(self.measure, self.alarm).rings[-1])
