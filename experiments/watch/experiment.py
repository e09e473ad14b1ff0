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
from contextlib import suppress

import jax
import xarray as xr

from linsim.commands.cli import Resumable
from linsim.commands.config import require_choices
from linsim.commands.named import named
from linsim.errors import InvalidInput, require, require_integer
from linsim.labels import Label, label
from linsim.monitoring.checkpoints import Checkpoint, Tolerance
from linsim.monitoring.checkpoints import find as checkpoints_in
from linsim.monitoring.measuring import Monitor
from linsim.monitoring.trees import examples_in
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.sweeping.running import current

from ..experiment import Experiment
from .config import Config
from .finding import find, table
from .known import batches_of, contents, digest_of, known
from .meeting import Meeting

LABELS = {
    "alarm_growth": Label("growth rate x budget of the measure that the alarm listens to", "e-folds"),
    "alarm_lower": Label("lower confidence bound of the growth", "e-folds"),
    "alarm_exceeds": Label("bound above the threshold"),
    "alarm_rings": Label("alarm rings"),
}


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


def _prepare(config: Config) -> Meeting:
    loss = named("loss", config.loss)
    require(callable(loss), "loss", config.loss, "a function loss(params, batch) or a Predictive")
    own = ("probes", "noise", "relative", "lanczos", "tolerance", "params", "by_layer", "stacked")
    others = None if config.finetune is None else batches_of(config.finetune, "finetune")
    monitor = Monitor(loss, config.measures or None, finetune=others, **{name: getattr(config, name) for name in own})
    taken = monitor.measures or ()
    require(_alarm_on(config, monitor) in taken, "alarm_on", config.alarm_on, f"one of {', '.join(taken)}")
    made = batches_of(config.batches)
    require(len(made) > 0, "batches", "none", "at least one microbatch")
    for batch in made:
        examples_in(batch)
    template = None if config.template is None else named("template", config.template)
    return Meeting(config, monitor, made, template, known=known(current().earlier))


def inputs(config: Config) -> dict[str, str]:
    """Content of every checkpoint, and of the microbatches, which may come from files; errors are told later."""
    found = {"folder": "known by what is in it"}
    with suppress(InvalidInput):
        found |= contents(checkpoints_in(config.folder, Tolerance(skip=True), config.step_pattern))
    with suppress(InvalidInput):
        found["batches"] = digest_of(batches_of(config.batches))
    if config.finetune is not None:
        with suppress(InvalidInput):
            found["finetune"] = digest_of(batches_of(config.finetune, "finetune"))
    return found


def _alarm_on(config: Config, monitor: Monitor) -> str:
    return config.alarm_on or next(iter(monitor.measures or ()))


def _require_enough(count: int, config: Config) -> None:
    require(count >= 2, "checkpoints", count, f"at least 2 for a trend, {config.alarm.needs} for this alarm to ring")


def _judged(config: Config, work: Meeting, checkpoints: Sequence[Checkpoint], tolerance: Tolerance) -> xr.Dataset:
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


experiment = Experiment(
    "watch",
    __doc__,
    Config,
    compute,
    find,
    table,
    doing="measuring",
    flags=Resumable,
    precision=None,
    inputs=inputs,
    grows="folder",
)
run, main = experiment.run, experiment.main
