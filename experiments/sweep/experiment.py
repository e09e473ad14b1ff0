"""How does harm depend on anything else that can be varied, beside fine-tuning rate and regularisation?

    python -m experiments.sweep --also momentum=0,0.5,0.9 pretrain_learning_rate=1e-3:2e-2:6 --out DIR
    python -m experiments.sweep --also depth=2,3,4 rotate_degrees=0:90:7 --out DIR

is a chart with further axes: every combination of fine-tuning rate, regularisation and the fields named by --also, from
every budget. Where axes have a common meaning as flow time (rate x steps / (1 - momentum)), cells that flow time makes
the same are held against each other.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import xarray as xr

from linsim.commands.building import LONGEST_AXIS, budgets, build_problem
from linsim.commands.named import named_measures
from linsim.commands.transfers import build_transfer
from linsim.errors import require, require_integer
from linsim.labels import label
from linsim.progress.showing import Progress
from linsim.sweeping.along import Ready, along
from linsim.sweeping.sweep import sweep

from ..experiment import Experiment
from .axes import Config, axes_of, labels_of, placed
from .effects import add_effects
from .finding import find
from .parts import with_parts

LARGEST_SWEEP = 10**10
"""Lanes: several numbers of each are kept on disk, and of each cell in memory."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """The sweep of a configuration, with quantiles of harm along every axis (see `linsim.sweeping.sweep.sweep`).

    Raises:
      InvalidInput: any field outside its domain, or two that contradict each other.
    """
    require_integer("seeds", config.seeds, at_least=1, at_most=LONGEST_AXIS)
    wanted = axes_of(config)
    axes = wanted.swept | wanted.along
    lanes = len(budgets(config.pretrain)) * math.prod(map(len, axes.values())) * config.seeds
    require(lanes <= LARGEST_SWEEP, "also", f"{lanes} lanes in all", f"at most {LARGEST_SWEEP}")

    def prepare(**labels: Any) -> Ready:
        here = placed(config, labels)
        transfer = build_transfer(here)
        problem, measures = build_problem(here, transfer), named_measures(config.measure, transfer)
        problem = replace(problem, **with_parts(problem, here)._asdict())
        return partial(sweep, problem, wanted.swept, measures, solver=config.solver, precision=config.precision)

    dataset = label(along(wanted.along, prepare, report), labels_of(wanted))
    return add_effects(dataset, axes).assign_attrs(regularizer=config.finetune.regularizer)


experiment = Experiment("sweep", __doc__, Config, compute, find)
run, main = experiment.run, experiment.main
