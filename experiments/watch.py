"""How do sensitivity and curvature change over the checkpoints of a training run, and does the alarm ring?

    python -m experiments.watch --folder CHECKPOINTS --loss MODULE:NAME --batches MODULE:NAME --out DIR

measures every checkpoint in a folder (orbax, safetensors, npz, folders of Hugging Face; nothing is unpickled), one in
memory at a time. Modules are imported from the current folder or from where Python finds them. MODULE:NAME of the loss
is a function `loss(params, batch)` or a `linsim.monitoring.predictive.Predictive`, which more measures are defined for;
that of the batches an iterable of microbatches, or a function without arguments that returns one. The loss gets the
parameters as nested dicts of arrays by name, positions in lists as integers, or in the structure of --template.

The number of training steps is read from a name where it is beyond doubt:

    step_1000  checkpoint-500  epoch=3-step=1200  model_0001200  step_500k  iter_1.5M  step_1e3
    ckpt_10_loss2.31  agent_10000_steps  1000

It is the number at a word for steps (step, iter, update), or else the only one behind checkpoint, ckpt, model, weights,
params or no word; epochs, losses, rates and seeds do not count. These leave a doubt, and --step-pattern decides:

    epoch=1-loss=2.31  step_1_000  step_-100  step_2.5  checkpoint_2_5000  llama-7b  resnet50
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from linsim.commands.cli import Resumable
from linsim.commands.config import require_choices
from linsim.commands.named import call_named, named
from linsim.errors import InvalidInput, require, require_integer
from linsim.finding import Finding
from linsim.labels import Label, label
from linsim.measures.estimates import Estimate
from linsim.monitoring.alarm import Alarm
from linsim.monitoring.checkpoints import Checkpoint, Tolerance, parameters
from linsim.monitoring.checkpoints import find as checkpoints_in
from linsim.monitoring.measuring import MEASURES, Monitor, Reading
from linsim.monitoring.record import Record
from linsim.monitoring.stored.likeness import Likeness
from linsim.monitoring.stored.parameters import repeated
from linsim.monitoring.trees import examples_in, leaves_of, require_same_shapes, require_scalar, shapes_of
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.sweeping.keeping import remembered

from .experiment import Experiment

LABELS = {
    "alarm_growth": Label("growth rate x budget of the measure that the alarm listens to", "e-folds"),
    "alarm_lower": Label("lower confidence bound of the growth", "e-folds"),
    "alarm_exceeds": Label("bound above the threshold"),
    "alarm_rings": Label("alarm rings"),
}


@dataclass(frozen=True)
class Config:
    """What to measure, where, and when to worry."""

    folder: Path = Path("checkpoints")
    """Folder of checkpoints, with the number of training steps in their names."""
    step_pattern: str = ""
    """Regular expression with one group, which holds the steps, such as 'epoch=(\\d+)'; what does not match is left
    out."""
    loss: str = ""
    """MODULE:NAME of the loss."""
    batches: str = ""
    """MODULE:NAME of the held-out microbatches."""
    template: str | None = None
    """MODULE:NAME of a Flax module or a tree of parameters, whose structure the loss wants and whose names and shapes
    every checkpoint must have."""
    part: str = ""
    """Path of the parameters in a checkpoint that holds more, such as model.params."""
    params: str = ""
    """Regular expression for whole levels of the names of the parameters that are measured, such as layers.1 or
    lora_[ab]; the others are held; default all."""
    by_layer: bool = False
    """Tell every measure of each layer as well."""
    stacked: str = ""
    """Regular expression, likewise, for arrays whose first axis runs over layers."""
    measures: tuple[str, ...] = ()
    """Measures to take; default all that the loss allows."""
    probes: int = 4
    """Random probes of each microbatch."""
    noise: float = 0.01
    """Size gamma of the weight noise of noise_increase."""
    relative: bool = True
    """Noise in units of the root mean square of each array of parameters."""
    lanczos: int = 500
    """Most products with the Hessian for top_eigenvalue."""
    tolerance: float = 1e-3
    """Residual of top_eigenvalue, relative to it."""
    alarm_on: str | None = None
    """Measure that the alarm listens to; default the first that is taken."""
    alarm: Alarm = field(default_factory=Alarm)
    precision: Literal["float32", "float64"] = "float32"
    """Of the parameters."""
    seed: int = 0
    """Seed of the probes, the same at every checkpoint."""
    skip_broken: bool = False
    """Leave out checkpoints that cannot be read or have no finite loss, and say so, instead of stopping there."""


@dataclass
class _Work:
    """What a checkpoint meets."""

    config: Config
    monitor: Monitor
    batches: Sequence[Any]
    template: Any
    record: Record = field(default_factory=Record)
    likeness: Likeness = field(default_factory=Likeness)
    notes: list[str] = field(default_factory=list)
    """What is told of arrays in the first checkpoint."""
    shapes: dict[str, tuple[int, ...]] | None = None

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
            reading = self._reading(params)
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
            check = partial(require_scalar, self.monitor.loss, params, batch)
            call_named("loss", f"{self.config.loss} on {name}", check)


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The record of all checkpoints and what the alarm makes of it; `InvalidInput` for bad input of any kind."""
    require_choices(config)
    require_integer("seed", config.seed, at_least=0)
    tolerance = Tolerance(config.skip_broken)
    checkpoints = checkpoints_in(config.folder, tolerance, config.step_pattern)
    _require_enough(len(checkpoints), config)
    with jax.default_matmul_precision("highest"):
        work = _prepare(config)
        for done, checkpoint in enumerate(checkpoints):
            work.measure(checkpoint, tolerance)
            if report is not None:
                report(done + 1, len(checkpoints))
    for line in tolerance.told:
        print(line, file=sys.stderr)
    _require_enough(len(work.record.budgets), config)
    return _judged(config, work, checkpoints, tolerance)


def _prepare(config: Config) -> _Work:
    loss = named("loss", config.loss)
    require(callable(loss), "loss", config.loss, "a function loss(params, batch) or a Predictive")
    own = ("probes", "noise", "relative", "lanczos", "tolerance", "params", "by_layer", "stacked")
    monitor = Monitor(loss, config.measures or None, **{name: getattr(config, name) for name in own})
    taken = monitor.measures or ()
    require(_alarm_on(config, monitor) in taken, "alarm_on", config.alarm_on, f"one of {', '.join(taken)}")
    batches = named("batches", config.batches)
    made = call_named("batches", config.batches, lambda: list(batches() if callable(batches) else batches))
    require(len(made) > 0, "batches", "none", "at least one microbatch")
    for batch in made:
        examples_in(batch)
    return _Work(config, monitor, made, None if config.template is None else named("template", config.template))


def _alarm_on(config: Config, monitor: Monitor) -> str:
    return config.alarm_on or next(iter(monitor.measures or ()))


def _require_enough(count: int, config: Config) -> None:
    require(count >= 2, "checkpoints", count, f"at least 2 for a trend, {config.alarm.needs} for this alarm to ring")


def _judged(config: Config, work: _Work, checkpoints: Sequence[Checkpoint], tolerance: Tolerance) -> xr.Dataset:
    """The record with what the alarm makes of the measure that it listens to."""
    listens = _alarm_on(config, work.monitor)
    watched = work.record.watch(listens, config.alarm)
    dataset = work.record.to_dataset().assign(
        {f"alarm_{name}": ("pretrain_steps", values) for name, values in watched._asdict().items()}
    )
    used = {one.budget: one.path.name for one in checkpoints}
    names = [used[budget] for budget in work.record.budgets]
    examples = sum(examples_in(batch) for batch in work.batches)
    return label(dataset, LABELS).assign_attrs(
        loss=config.loss,
        alarm_on=listens,
        checkpoints=json.dumps(names),
        skipped=json.dumps(tolerance.skipped),
        ignored=json.dumps(tolerance.ignored),
        left_out=json.dumps(tolerance.left_out),
        alike=json.dumps(work.likeness.told),
        notes=json.dumps([*work.likeness.told_near, *work.notes]),
        measured=(
            f"{len(names)} checkpoints, {len(tolerance.skipped)} skipped; {examples} examples in {len(work.batches)} "
            f"microbatches, {config.precision}"
        ),
        **provenance(),
    )


def find(dataset: xr.Dataset) -> Finding:
    """Whether the alarm rings, and from which budget on.

    Not seen where it stays silent over as many checkpoints as it needs to ring; of fewer nobody can tell.
    """
    heard, notes = dataset.attrs["alarm_on"], json.loads(dataset.attrs.get("notes", "[]"))
    alike = json.loads(dataset.attrs.get("alike", "[]"))
    trust = f"Not to be trusted: {'; '.join(alike)}." if alike else ""
    details = (f"{dataset.attrs['measured']}.", *(f"{note}." for note in notes))
    needs, count = Alarm(**json.loads(dataset.attrs["config"])["alarm"]).needs, dataset.sizes["pretrain_steps"]
    rings = dataset["pretrain_steps"].values[dataset["alarm_rings"].values]
    if rings.size:
        numbers = {"steps": rings[0], "rings": rings.size}
        return Finding(f"The alarm on {heard} rings at {rings[0]:,} steps", "seen", numbers, details, trust)
    if count < needs:
        told = f"The alarm on {heard} does not ring: it needs {needs} checkpoints and has {count}"
        return Finding(told, "cannot tell", {"checkpoints": count, "needs": needs}, details, trust)
    numbers = {"checkpoints": count, "rings": 0}
    return Finding(f"The alarm on {heard} does not ring in {count} checkpoints", "not seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """Every measure at the first and the last checkpoint."""
    ends = [dataset.isel(pretrain_steps=position) for position in (0, -1)]
    heads = [f"at {int(end['pretrain_steps']):,} steps" for end in ends]
    width = 34 if "layer" in dataset.dims else 18
    lines = [f"{'measure':<{width}}{heads[0]:>26}{heads[1]:>26}{'ratio':>10}"]
    for name in (str(name) for name in dataset.data_vars if f"{name}_error" in dataset):
        rows = {name: ends}
        if "layer" in dataset[name].dims:
            measure = name.removesuffix("_by_layer")
            rows = {f"{measure} of {at}": [end.sel(layer=at) for end in ends] for at in dataset["layer"].values}
        for told, both in rows.items():
            pairs = [(float(end[name]), float(end[f"{name}_error"])) for end in both]
            ratio = pairs[1][0] / pairs[0][0] if pairs[0][0] else np.nan
            cells = [f"{value:.4g} ± {error:.1g}" for value, error in pairs]
            lines.append(f"{told:<{width}}{cells[0]:>26}{cells[1]:>26}{ratio:>10.3g}")
    return lines


experiment = Experiment(
    "watch", __doc__, Config, compute, find, table, doing="measuring", flags=Resumable, precision=None
)
run, main = experiment.run, experiment.main

if __name__ == "__main__":
    sys.exit(main())
