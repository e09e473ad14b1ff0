"""Is it the overlap of learned features that makes more pre-training harmful?

    python -m experiments.superposition --out DIR

trains two layers, narrower and wider than there are features, on features that are modes of the task, that are mixed
among them, that matter alike, are correlated, are rare, or have codes without negative entries. Fine-tuning sees a few
of the features alone and wants more of them, or outputs of others. Told are the overlap of codes in the hidden layer,
sensitivity, and harm to the loss on all features and to that on those which fine-tuning does not see, at a fixed flow
time, at matched effort, at all flow times and by how much outputs are strengthened. Then overlap is changed at the same
loss and spectrum, in many draws, and sensitivity at the same overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import xarray as xr

from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, Label, label
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along, part_of

from ..experiment import Experiment
from .finding import find, table
from .interventions import Sweeps, one_by_one
from .moving import Scaled
from .reading import CURVES, curves
from .relations import LABELS, over_times, relations, rises
from .tasks import GEOMETRIES, SHIFTS, Geometry, Shift, Tasks

CLAIMS = (
    *("dimensions-are-shared", "balanced-overlap", "modes-do-not-overlap", "equal-features-share-evenly"),
    *("weak-modes-part-codes", "first-step-spills", "names-of-features", "same-spectrum-any-overlap"),
)
_OWN = {
    "seed": Label("teacher, with its initial weights"),
    "geometry": Label("geometry of the features"),
    "width": Label("hidden units"),
    "turn": Label("turn of the basis in which features are learned", PLAIN),
    "layer_scale": Label("scale of the input layer, c", PLAIN),
    "kept_loss_after": Label("pre-training loss on features that fine-tuning does not see, after it", "squared output"),
    "kept_loss_before": Label("the same before it", "squared output"),
    "finetune_loss_before": Label("fine-tuning loss before fine-tuning", "squared output"),
    "spilled": Label("rise of the loss on features that fine-tuning does not see", "squared output"),
    "unseen_harm": Label("harm to the loss on features that fine-tuning does not see", PLAIN),
    "unseen_excess": Label("excess of the loss on features that fine-tuning does not see", "squared output"),
    "unseen_least": Label("least loss on features that fine-tuning does not see", "squared output"),
    "unseen_last": Label("last loss on features that fine-tuning does not see", "squared output"),
    "time_unseen_harm": Label("harm to the loss on features that fine-tuning does not see", PLAIN),
    "time_kept_share": Label("share of the excess on features that fine-tuning does not see", PLAIN),
    "factor": Label("factor by which outputs of seen features are strengthened", PLAIN),
    "draw": Label("draw of balances and of the basis"),
}


@dataclass(frozen=True)
class Config:
    """Features, networks and fine-tuning."""

    dim: int = 8
    """Features, and as many outputs."""
    seeds: int = 5
    """Number of teachers, each with initial weights of its own."""
    seed: int = 0
    """Of all that is drawn."""
    geometries: tuple[Geometry, ...] = GEOMETRIES
    """separate: features are modes; mixed: modes mix them; equal: all modes are of one strength; correlated, rare:
    mixed, and correlated, or met by Zipf's law; non-negative: mixed, with codes that have no negative entries."""
    widths: tuple[int, ...] = (2, 4, 8, 16)
    """Hidden units, increasing."""
    shifts: tuple[Shift, ...] = SHIFTS
    """What fine-tuning wants of the features it sees: more of their output, or the outputs of others. Overlap and
    sensitivity are changed one by one under the first."""
    changed: int = 3
    """How many features fine-tuning sees."""
    factor: float = 4.0
    """By which outputs are strengthened."""
    factors: tuple[float, ...] = (2.0,)
    """Others beside it, increasing, of which losses are told over flow times."""
    strength: float = 2.0
    """Largest singular value of a teacher."""
    exponent: float = 0.5
    """Singular values fall as i^(-exponent)."""
    correlation: float = 0.5
    """Of any two features where they are correlated."""
    initial_scale: float = 0.02
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.02
    """Of pre-training, in flow time per step."""
    steps: int = 3000
    """Largest budget."""
    first: int = 20
    """Smallest budget."""
    budgets: int = 12
    """Number of budgets, spaced evenly in log(steps)."""
    finetune_steps: int = 100
    """Steps of fine-tuning."""
    times: tuple[float, ...] = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
    """Flow times of fine-tuning, increasing; rates are these over the steps."""
    time: float = 0.2
    """Which of them is the fixed one."""
    level: float = 0.3
    """Matched effort: the share of the last checkpoint's fine-tuning loss that is left."""
    turns: tuple[float, ...] = (0.0, 1.0)
    """By which the basis is turned in which features are learned, as shares of a rotation that mixes all."""
    draws: int = 100
    """Of such a rotation, and of which features have which balance."""
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    """c of layers c W_1 and W_2/c, increasing, 1 among them."""
    imbalance: float = 1.5
    """Largest q^2 - p^2 of the layers of an axis, where the basis is turned."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses, overlap and sensitivity of all networks, and what they come to; `InvalidInput` for a bad field."""
    sweeps = _check(config)
    tasks = sweeps.tasks

    def ready(tasks: Tasks, geometry: Geometry, shift: Shift, sample: int) -> Ready:
        absolute = geometry == "non-negative"
        transfer = tasks.transfer(tasks.teacher(geometry, sample), shift)
        moves = (Scaled(absolute=True),) * 2 if absolute else (None, None)
        return sweeps.of(tasks.problem(transfer, tasks.starts(config.widths, sample, absolute), moves))

    def strengthened(factor: float, geometry: Geometry, sample: int) -> Ready:
        return ready(replace(tasks, factor=factor), geometry, "strengthened", sample)

    each: dict[str, Sequence[Any]] = {
        "geometry": config.geometries,
        "shift": config.shifts,
        "sample": range(config.seeds),
    }
    found = along(each, partial(ready, tasks), part_of(report, 0, 3))
    each = {"factor": config.factors, "geometry": config.geometries, "sample": range(config.seeds)}
    factors = along(each, strengthened, part_of(report, 1, 3))
    found, factors = (
        one.rename(seed="width").rename(sample="seed").assign_coords(width=list(config.widths))
        for one in (found, factors)
    )
    told = one_by_one(
        *(sweeps, config.shifts[0], config.turns, config.draws, config.scales, config.imbalance, part_of(report, 2, 3))
    )
    read = partial(curves, time=config.time, level=config.level)
    told = {name: read(one) for name, one in (told | {"factor": factors}).items()}
    attrs = {"time": config.time, "level": config.level, "features": config.dim, "changed": config.changed}
    found = found.merge(read(found)).assign_attrs(attrs | {"strengthened": config.factor})
    found = found.merge(relations(found)).merge(rises(told["turned"], told["scaled"]))
    found = found.merge(over_times(told["factor"], config.dim, "factor"))
    for name, one in told.items():
        found = found.assign({f"{name}_{variable}": one[variable] for variable in CURVES})
    return label(found, LABELS | _OWN)


def _check(config: Config) -> Sweeps:
    require_integer("dim", config.dim, at_least=2, at_most=10**3)
    for name, most in {
        "seeds": 10**4,
        "draws": 10**5,
        "budgets": 10**4,
        "steps": 10**9,
        "finetune_steps": 10**9,
    }.items():
        require_integer(name, getattr(config, name), at_least=1, at_most=most)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    for field, choices in (("geometries", Geometry), ("shifts", Shift)):
        given, known = getattr(config, field), get_args(choices)
        distinct = isinstance(given, tuple) and 0 < len(given) == len(set(given)) and set(given) <= set(known)
        require(distinct, field, given, f"some of {', '.join(known)}, each once")
    for name in ("widths", "times", "scales", "factors"):
        require_axis(name, getattr(config, name), above=0)
    for width in config.widths:
        require_integer("widths", width, at_least=1, at_most=10**4)
    require_axis("turns", config.turns, at_least=0)
    require(len(config.turns) > 1, "turns", config.turns, "at least two")
    require(1.0 in config.scales and len(config.scales) > 2, "scales", config.scales, "1 between two others")
    require_integer("changed", config.changed, at_least=1, at_most=config.dim - 1)
    for name in ("factor", "strength", "initial_scale", "learning_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require_number("exponent", config.exponent, at_least=0, at_most=100)
    require_number("correlation", config.correlation, at_least=0, below=1)
    require_number("imbalance", config.imbalance, at_least=0, at_most=1e6)
    require_number("level", config.level, above=0, below=1)
    require_integer("first", config.first, at_least=1, at_most=config.steps)
    require(config.time in config.times, "time", config.time, f"one of the times {', '.join(map(str, config.times))}")
    budgets = np.unique(np.geomspace(config.first, config.steps, config.budgets).round().astype(int))
    tasks = Tasks(
        *(config.dim, config.changed, config.strength, config.exponent, config.factor, config.correlation),
        *(config.initial_scale, config.learning_rate, tuple(budgets.tolist()), config.finetune_steps, config.seed),
    )
    return Sweeps(tasks, tuple(time / config.finetune_steps for time in config.times), config.seeds)


experiment = Experiment("superposition", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
