"""Does the data distribution change how severe overtraining is?

    python -m experiments.data_distribution --out DIR

pre-trains and fine-tunes two layers on data of one kind after the other: the spectrum of the task, input covariance in
the task's directions and in random ones, imbalance of classes, label noise, sample size, coverage. Every kind is told
by three recipes of fine-tuning side by side: for one time T, until --level of the fine-tuning loss is left, and until
the strongest shifted mode is --reach times beyond the line v sigma T = kappa(c) from which on it is net harm.
Overfitting of the base loss is taken out: harm is also told of pre-training that stops where its base loss is least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from linsim.errors import require, require_axis, require_integer, require_number
from linsim.labels import PLAIN, SQUARED, STRENGTH, Label, label, lost_lanes, texts
from linsim.measure import Measure
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.checks.recheck import LANES
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep
from linsim.tasks import Transfer
from linsim.theory.data.effort import last_loss_bounds

from ..experiment import Experiment
from . import reading
from .finding import find, table
from .reading import RECIPES, Curves, Rules, read
from .rows import ROWS, Common, Row, Tasks

CLAIMS = (
    *("overwriting-index", "variance-is-time", "turn-of-a-mode"),
    *("matched-line", "matched-last-loss", "overfitting-edge", "critical-rate-times-steps"),
)
_MATRIX: Any = {"dims": ("output", "input"), "units": STRENGTH, "of": lambda seen: seen.product}
PRODUCT = Measure("product", at="tuned", long_name="P after fine-tuning", **_MATRIX)
CHECKPOINT = Measure("checkpoint_product", at="checkpoint", long_name="P of the checkpoint", **_MATRIX)

LABELS = reading.LABELS | {
    "seed": Label("initial weights, with a teacher and a sample where these matter"),
    "data": Label("kind of data"),
    "row": Label("axis of the data"),
    "row_title": Label("axis of the data, and what its values are"),
    "value": Label("place on the axis", PLAIN),
    "judged_target": Label("A of the task that samples are of", STRENGTH),
    "base_loss_before": Label("base loss before fine-tuning", SQUARED),
    "base_loss_after": Label("base loss after fine-tuning", SQUARED),
    "matched_loss_before": Label("fine-tuning loss where pre-training has been, before fine-tuning", SQUARED),
    "matched_loss_after": Label("fine-tuning loss where pre-training has been, after fine-tuning", SQUARED),
    "base_zero_loss": Label("base loss of the zero network", SQUARED),
}
_KEPT = ("diverged", "unstable", "initial_weights_1", "initial_weights_2", "pretrain_target", "finetune_target")
_COVARIANCES = ("input_covariance", "finetune_input_covariance")


@dataclass(frozen=True)
class Config:
    """The axes, what stays where it is not varied, and how long."""

    rows: tuple[str, ...] = tuple(ROWS)
    """Axes of the data."""
    dim: int = 8
    """Inputs, outputs and modes, or classes."""
    hidden: int = 16
    """Width of the hidden layer."""
    seeds: int = 5
    """Number of initial weights, each with a teacher and a sample of its own where samples or directions are drawn."""
    seed: int = 0
    """Of all that is drawn."""
    exponent: float = 1.0
    """Strengths are i^(-exponent) where that is not varied."""
    shifted_from: int = 3
    """First mode that fine-tuning multiplies; of classes it is half of them."""
    factor: float = 4.0
    """By which it does: c."""
    zipf: float = 1.0
    """Frequencies of classes are ~ c^(-zipf) where that is not varied."""
    examples: int = 32
    """In a sample where that is not varied."""
    noise: float = 0.5
    """Standard deviation of the noise on each output of an example where that is not varied."""
    initial_scale: float = 0.01
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.05
    """Of pre-training, in flow time per step."""
    steps: int = 4000
    """Largest budget."""
    first: int = 6
    """Smallest budget."""
    budgets: int = 48
    """Number of budgets, spaced evenly in log(steps)."""
    finetune_steps: int = 240
    """Steps of fine-tuning."""
    times: tuple[float, ...] = tuple(round(2 ** (power / 2), 4) for power in range(-11, 3))
    """Flow times of fine-tuning, increasing, between which all is read; rates are these over the steps."""
    time: float = 0.4
    """Flow time of the first recipe."""
    level: float = 0.3
    """Share of the fine-tuning loss that is left by the second."""
    reach: float = 2.0
    """By the third: v sigma T of the strongest shifted mode, in units of kappa(c)."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses on all kinds of data, and what they come to by every recipe; `InvalidInput` for a bad field."""
    common, rows = _check(config)
    budgets = np.unique(np.geomspace(config.first, config.steps, config.budgets).round().astype(int))
    rates = np.asarray(config.times) / config.finetune_steps
    kinds = {f"{row.name} {value:g}": (row, value) for row in rows for value in row.values}
    tasks = {name: _drawn(row, value, common, config) for name, (row, value) in kinds.items()}

    def ready(data: str, samples: Sequence[int]) -> Ready:
        posed, widths = tasks[data][samples[0]], (config.dim, config.hidden, config.dim)
        keys = (jax.random.key(config.seed * 10_007 + sample) for sample in samples)
        problem = Problem(
            transfer=Transfer(posed.trained, posed.finetune),
            initial=stack_seeds([gaussian(widths, config.initial_scale, key) for key in keys]),
            pretrain=Phase(config.learning_rate),
            finetune=Phase(config.learning_rate),
            budgets=budgets,
            finetune_steps=config.finetune_steps,
        )
        row, value = kinds[data]
        again = len(rows) if samples[0] == 0 and value == row.values[-1] else 0  # the last kind of each axis is enough
        swept = partial(
            sweep, problem, {"learning_rate": rates}, [PRODUCT, CHECKPOINT], solver="dense", rechecked=LANES
        )
        return partial(_judged, swept, posed, again)

    def prepare(data: str) -> Ready:
        if not kinds[data][0].drawn:
            return partial(_over_seeds, ready(data, range(config.seeds)), config.seeds)
        each = {"sample": range(config.seeds)}
        return partial(_over_seeds, partial(along, each, lambda sample: ready(data, [sample])), config.seeds)

    alike = {name: (row.drawn, _posed(tasks[name][0])) for name, (row, _) in kinds.items()}
    distinct = list({posed: name for name, posed in reversed(alike.items())}.values())[::-1]
    found = along({"data": distinct}, prepare, report)
    found = found.isel(
        data=[next(at for at, name in enumerate(distinct) if alike[name] == of) for of in alike.values()]
    )
    found = found.assign_attrs(finetune_steps=config.finetune_steps)
    found = found.assign_coords(
        data=texts(list(kinds)),
        row=("data", texts([row.name for row, _ in kinds.values()])),
        row_title=("data", texts([f"{row.title}: {row.unit}" for row, _ in kinds.values()])),
        value=("data", np.asarray([value for _, value in kinds.values()], float)),
    )
    rules = Rules(config.time, config.level, config.reach, config.factor)
    told = read(_curves(found), list(tasks.values()), rules)
    told = told.assign_coords(recipe=texts(list(RECIPES)))
    least, most = map(float, last_loss_bounds(config.level))
    named = {"level": config.level, "time": config.time, "reach": config.reach, "factor": config.factor}
    named |= {"least_last": least, "most_last": most}
    return label(found.merge(told).assign_attrs(named), LABELS)


def _drawn(row: Row, value: float, common: Common, config: Config) -> list[Tasks]:
    """Tasks of each seed: the same where all that is drawn is bases, of which random initial weights know nothing."""
    seeds = range(config.seeds) if row.drawn else [0] * config.seeds
    return [row.make(common, value, np.random.default_rng([config.seed, sample])) for sample in seeds]


def _posed(tasks: Tasks) -> bytes:
    """What is the same for data that two axes share."""
    parts = (tasks.trained, tasks.finetune, tasks.judged)
    return b"".join(part.tobytes() for task in parts for part in (task.target, task.input_covariance))


def _judged(ready: Ready, tasks: Tasks, again: int, report: Progress | None = None) -> xr.Dataset:
    """A sweep with losses on the tasks themselves in place of those of what was trained on.

    It is one of so many that share the lanes that are computed again, or has none.
    """
    how: dict[str, Any] = {"parts": again} if again else {"recheck": 0}
    with running(**how):
        found = ready(report=report)
    kept = found[[name for name in (*_KEPT, *_COVARIANCES) if name in found]]
    losses: dict[str, Any] = {}
    for name, task in (("base", tasks.judged), ("matched", tasks.matched)):
        for when, product in (("before", found["checkpoint_product"]), ("after", found["product"])):
            outer = [dim for dim in product.dims if dim not in ("output", "input")]
            values = task.loss_of(product.transpose(*outer, "output", "input").values)
            losses[f"{name}_loss_{when}"] = (outer, values)
    alike = kept["input_covariance"] if "finetune_input_covariance" not in kept else kept["finetune_input_covariance"]
    told = {"judged_target": (("output", "input"), tasks.judged.target), "base_zero_loss": tasks.judged.zero_loss}
    return kept.assign(losses | told | {"finetune_input_covariance": alike})


def _over_seeds(ready: Ready, seeds: int, report: Progress | None = None) -> xr.Dataset:
    """A sweep over seeds, or one for each sample, with seeds in front of whatever differs between kinds of data."""
    found = ready(report=report)
    if "sample" in found.dims:
        found = found.isel(seed=0, drop=True).rename(sample="seed")
    for name in (*_KEPT, *_COVARIANCES, "judged_target", "base_zero_loss"):
        if name in found and "seed" not in found[name].dims:
            found[name] = found[name].expand_dims(seed=seeds)
    return found.transpose("seed", ...)


def _curves(found: xr.Dataset) -> Curves:
    """Losses over (data, seeds, budgets, times)."""
    order = ("data", "seed", "pretrain_steps", "learning_rate")
    lost = lost_lanes(found)
    left = found["matched_loss_after"].where(~lost) / found["matched_loss_before"]
    return Curves(
        found["pretrain_steps"].values,
        found["learning_rate"].values * found.attrs["finetune_steps"],
        found["base_loss_before"].transpose(*order[:3]).values,
        found["base_loss_after"].where(~lost, np.inf).transpose(*order).values,
        left.transpose(*order).values,
    )


def _check(config: Config) -> tuple[Common, list[Row]]:
    known = isinstance(config.rows, tuple) and 0 < len(config.rows) == len(set(config.rows))
    require(known and set(config.rows) <= set(ROWS), "rows", config.rows, f"some of {', '.join(ROWS)}, each once")
    require_integer("dim", config.dim, at_least=2, at_most=10**3)
    require_integer("hidden", config.hidden, at_least=1, at_most=10**4)
    require_integer("seeds", config.seeds, at_least=1, at_most=10**4)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    for name in ("exponent", "zipf", "noise"):
        require_number(name, getattr(config, name), at_least=0, at_most=100)
    require_integer("shifted_from", config.shifted_from, at_least=1, at_most=config.dim)
    for name in ("factor", "initial_scale", "learning_rate", "reach"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require_integer("examples", config.examples, at_least=1, at_most=10**9)
    require_integer("steps", config.steps, at_least=1, at_most=10**9)
    require_integer("first", config.first, at_least=1, at_most=config.steps)
    require_integer("budgets", config.budgets, at_least=1, at_most=10**4)
    require_integer("finetune_steps", config.finetune_steps, at_least=1, at_most=10**9)
    require_axis("times", config.times, above=0)
    require_number("time", config.time, at_least=config.times[0], at_most=config.times[-1])
    require_number("level", config.level, above=0, below=1)
    common = Common(
        *(config.dim, config.exponent, config.shifted_from, config.factor),
        *(config.zipf, config.examples, config.noise),
    )
    return common, [ROWS[name] for name in config.rows]


experiment = Experiment("data_distribution", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
