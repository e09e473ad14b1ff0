"""Does the optimiser decide how much harm more pre-training does?

    python -m experiments.optimizers --out DIR

pre-trains by each optimiser and fine-tunes by plain descent, and the other way round, where the bases of the tasks are
the coordinates and where they are not, on shifts of the weak modes (tail), of the strong ones (head) and of all. Curves
are read over the base loss, not over steps: at one fine-tuning rate for all checkpoints, and at the rate that takes
each checkpoint to the same fine-tuning loss. Told are the best and the last loss, the excess and harm.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import xarray as xr

from linsim.commands.building import charted, learning_rates
from linsim.commands.cli import Resumable
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    PretrainingConfig,
    SyntheticConfig,
    chart_of,
    require_choices,
    require_defaults,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_integer, require_number
from linsim.labels import label, lost_lanes, texts
from linsim.measures.built_in import HESSIAN_TRACE, IMBALANCE
from linsim.progress.showing import Progress
from linsim.shifts import Rescale, shifted
from linsim.sweeping.along import Ready, along, part_of
from linsim.tasks import Transfer

from ..experiment import Experiment
from ..rich_and_lazy.matching import reaching
from .axis import RELATIVE, shares
from .finding import find, table
from .methods import ARMS, METHODS, SETTINGS, Arm, Method, Setting, ShiftName, spoken
from .reading import LABELS, read

CLAIMS = (
    *("muon-flow", "muon-thresholds", "natural-path", "sign-floor", "order-exchanges-harm"),
    *("last-loss-of-the-shift", "best-of-any-order", "least-trace-path", "trace-of-muon"),
)


@dataclass(frozen=True)
class Config(SyntheticConfig, PretrainingConfig):
    """Optimisers, settings and shifts."""

    dim: int | None = 8
    """Inputs and outputs of the tasks."""
    seeds: int = 10
    """Number of random initial weights."""
    optimizers: tuple[Method, ...] = get_args(Method)
    """Optimisers to compare with descent, which is always among them and comes first."""
    settings: tuple[Setting, ...] = ("aligned", "gaussian")
    """aligned: bases of the tasks are the coordinates, layers start at e^-tau I; aligned_gaussian: the same bases,
    Gaussian layers; balanced, gaussian: random bases, balanced and Gaussian layers."""
    shifts: tuple[ShiftName, ...] = ("tail", "head")
    """Modes whose target changes in fine-tuning: the weaker three quarters, the others, or all."""
    factor: float = 4.0
    """On the modes of the tail, or of the head."""
    factor_of_all: float = 1.5
    """On all modes."""
    level: float = 0.25
    """Fine-tuning loss at which optimisers are compared, over that of the converged checkpoint before fine-tuning."""
    end: float = 1e-4
    """Base loss at which pre-training counts as done, over that of the zero network."""
    points: int = 60
    """On the axis of base losses."""
    pretrain: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(learning_rate=0.03, steps=1000, first=20, budgets=30, schedule="linear")
    )
    """The rate is that of descent; other optimisers have fixed multiples of it."""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(tau=3.0))
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            steps=16, rates=13, lowest_rate=1e-3, highest_rate=0.06, regularizations=(0.0,)
        )
    )


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of every optimiser, setting and shift, read over the base loss; `InvalidInput` for a bad field."""
    _check(config)
    methods = _methods(config)
    transfers = {
        (setting, shift): _transfer(config, setting, shift) for setting in config.settings for shift in config.shifts
    }
    rates = _fixed_rates(config, transfers, part_of(report, 0, 2))

    def prepare(setting: Setting, task_shift: ShiftName, arm: Arm, optimizer: Method) -> Ready:
        known = rates[setting, task_shift, "descent" if arm == "pretrain" else optimizer]
        fixed = known if np.isfinite(known) else config.finetune.highest_rate
        chart = _chart(config, setting, arm, optimizer, tuple((fixed * RELATIVE).tolist()))
        ready = charted(chart, transfers[setting, task_shift], measures=[HESSIAN_TRACE, IMBALANCE], predicted=False)
        return partial(_placed, ready, {"learning_rate": RELATIVE})

    places = {"setting": config.settings, "task_shift": config.shifts, "arm": ARMS, "optimizer": methods}
    found = along(places, prepare, part_of(report, 1, 2)).isel(regularization=0, drop=True)
    found = found.rename(learning_rate="relative_rate")
    found = found.assign_coords(optimizer_name=("optimizer", texts([spoken(method) for method in methods])))
    return label(read(found, transfers, rates, config.level, shares(config.end, config.points)), LABELS)


def _fixed_rates(config: Config, transfers: dict[Any, Transfer], report: Progress | None) -> dict[Any, float]:
    """By which rate the last checkpoint of descent comes to the level, for every optimiser of fine-tuning."""
    methods, alone = _methods(config), replace(config, pretrain=replace(config.pretrain, budgets=1))
    grid = learning_rates(config.finetune)

    def prepare(setting: Setting, task_shift: ShiftName, optimizer: Method) -> Ready:
        chart = _chart(alone, setting, "finetune", optimizer, tuple((METHODS[optimizer].tuning * grid).tolist()))
        return partial(
            _placed, charted(chart, transfers[setting, task_shift], predicted=False), {"learning_rate": grid}
        )

    places = {"setting": config.settings, "task_shift": config.shifts, "optimizer": methods}
    found = along(places, prepare, report)
    losses = found["finetune_loss_after"].where(~lost_lanes(found)).isel(pretrain_steps=0, regularization=0)
    losses = losses.median("seed", skipna=False)
    rates = {}
    for place in itertools.product(*places.values()):
        here = losses.sel(dict(zip(places, place, strict=True))).values
        told = np.isfinite(here)
        level = config.level * transfers[place[:2]].learned_loss
        rates[place] = METHODS[place[2]].tuning * float(np.exp(reaching(np.log(grid[told]), here[told], level)))
    return rates


def _placed(ready: Ready, coords: dict[str, Any], report: Progress | None = None) -> xr.Dataset:
    """A chart whose rates go by names that all places share.

    Nothing is computed again: where a rule divides by the size of a gradient, rounding decides which way a weight that
    has arrived steps next.
    """
    return ready(report=report, rechecked=0).assign_coords(coords)


def _check(config: Config) -> None:
    require_choices(config)
    named: dict[str, tuple[Any, Any]] = {
        "optimizers": (config.optimizers, Method),
        "settings": (config.settings, Setting),
        "shifts": (config.shifts, ShiftName),
    }
    for name, (given, choices) in named.items():
        known = get_args(choices)
        distinct = isinstance(given, tuple) and 0 < len(given) == len(set(given)) and set(given) <= set(known)
        require(distinct, name, given, f"some of {', '.join(known)}, each once")
    for name in ("factor", "factor_of_all"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    for name in ("level", "end"):
        require_number(name, getattr(config, name), above=0, below=1)
    require_integer("points", config.points, at_least=2, at_most=10**4)
    unused = ("network.init", "network.balance", "network.hidden", "task.bases", "task.data", "task.covariance")
    require_defaults(config, unused, "its default: --settings says what bases and starts are")
    set_here = [f"{phase}.{name}" for phase in ARMS for name in ("optimizer", "momentum", "decoupled_decay")]
    require_defaults(config, set_here, "its default: --optimizers says what moves the weights")
    strengths = config.finetune.regularizations
    alone = strengths is not None and len(strengths) == 1
    require(alone, "finetune.regularizations", strengths, "one strength")


def _methods(config: Config) -> tuple[Method, ...]:
    """Descent first."""
    return ("descent", *(name for name in config.optimizers if name != "descent"))


def _transfer(config: Config, setting: Setting, shift: ShiftName) -> Transfer:
    bases: Any = SETTINGS[setting]["bases"]
    task = build_transfer(chart_of(config, task=replace(config.task, bases=bases))).pretrain
    modes = len(task.strengths)
    require(modes > 1, "dim", modes, "at least 2, as a tail and a head")
    first = max(modes // 4, 1) + 1
    chosen = {"tail": range(first, modes + 1), "head": range(1, first), "all": range(1, modes + 1)}[shift]
    return shifted(task, Rescale(chosen, config.factor_of_all if shift == "all" else config.factor))


def _chart(config: Config, setting: Setting, arm: Arm, method: Method, rates: tuple[float, ...]) -> ChartConfig:
    kind: Any = SETTINGS[setting]
    trained = METHODS[method]
    pretrain, finetune = config.pretrain, replace(config.finetune, learning_rates=rates)
    if arm == "pretrain":
        pretrain = replace(pretrain, **trained.fields, learning_rate=trained.rate * pretrain.learning_rate)
    else:
        finetune = replace(finetune, **trained.fields)
    return chart_of(
        replace(config, pretrain=pretrain),
        depth=2,
        finetune=finetune,
        task=replace(config.task, bases=kind["bases"]),
        network=replace(config.network, init=kind["init"]),
    )


experiment = Experiment("optimizers", __doc__, Config, compute, find, table, CLAIMS, flags=Resumable)
run, main = experiment.run, experiment.main
