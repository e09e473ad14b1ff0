"""Will more pre-training hurt, and from when on? A forecast from a few checkpoints.

    python -m experiments.forecast --table runs.csv --out DIR

reads a table with a row for every budget of every run: the budget, the pre-training loss there, and any of the
fine-tuning task's loss at the same untuned checkpoint, and both losses after fine-tuning. It writes DIR/forecast.json:
for each run the chance that going on to 2, 4 and 8 times the largest budget makes the pre-training loss after
fine-tuning more than 2 % worse, an interval of the budget where it turns, and a verdict, which is often that nobody can
tell. Only the shapes of the curves count: losses may be in any units. Without a table it forecasts an example, linear
networks whose answers are known; --example published holds what is published of a model of 3T tokens, which is too
little.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import xarray as xr

from linsim.commands.cli import Drawing
from linsim.errors import require, require_choice
from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.forecast import forecast
from linsim.forecasting.prior import HORIZONS
from linsim.forecasting.table import NAMES, read_table
from linsim.labels import PLAIN, Label, label, texts
from linsim.progress.showing import Progress

from ..experiment import Experiment
from .finding import beyond, find, table

CLAIMS = ("mode-slope", "loss-ratio", "loss-ratio-blind", "loss-ratio-rotated")
Example = Literal["networks", "published"]
_ANY, _OF = "any, as long as all have one", "unit of the column"
_TURN = "turn of the pre-training loss after fine-tuning"
LABELS = {
    "run": Label("run, with its rate and strength"),
    "budget": Label("pre-training budget", _ANY),
    "horizon": Label("multiple of the largest budget", PLAIN),
    "base_loss": Label("pre-training loss", _OF),
    "finetune_loss_before": Label("fine-tuning loss at untuned checkpoints", _OF),
    "pretrain_loss_after": Label("pre-training loss after fine-tuning", _OF),
    "finetune_loss_after": Label("fine-tuning loss after fine-tuning", _OF),
    "probability": Label("chance that the pre-training loss after fine-tuning is more than 2 % worse", PLAIN),
    "turn_low": Label(f"{_TURN}: low end of its interval", _ANY),
    "turn_median": Label(f"{_TURN}: median", _ANY),
    "turn_high": Label(f"{_TURN}: high end of its interval", _ANY),
    "verdict": Label("verdict"),
    "reason": Label("why, and what would change it"),
}


@dataclass(frozen=True)
class Names:
    """How the columns are called in the table."""

    budget: str = "budget"
    """Steps or tokens of pre-training."""
    base_loss: str = "base_loss"
    """Pre-training loss at the checkpoint."""
    finetune_loss_before: str = "finetune_loss_before"
    """Loss of the fine-tuning task at the untuned checkpoint."""
    pretrain_loss_after: str = "pretrain_loss_after"
    """Pre-training loss after fine-tuning from the checkpoint."""
    finetune_loss_after: str = "finetune_loss_after"
    """Loss of the fine-tuning task after fine-tuning."""
    run: str = "run"
    """Which run a row is of."""
    rate: str = "rate"
    """Fine-tuning rate, of which each has a forecast of its own."""
    strength: str = "strength"
    """Strength of a regulariser, likewise."""


@dataclass(frozen=True)
class Config:
    """The table, or an example."""

    table: Path | None = None
    """CSV file with a head, a row for every budget of every run; default the example."""
    example: Example = "networks"
    """What is forecast without a table: linear networks whose answers are known, or what is published of a model of 3T
    tokens."""
    columns: Names = field(default_factory=Names)


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Curves and forecasts of all runs; `InvalidInput` for a table that is refused."""
    require_choice("example", config.example, get_args(Example))
    names = asdict(config.columns)
    if config.table is None:
        require(config.columns == Names(), "columns", _renamed(config.columns), "names of columns beside --table alone")
    else:
        default = config.example == Config.example
        require(default, "example", config.example, "no example beside --table")
    told = [name for name in names.values() if name]
    require(len(set(told)) == len(names), "columns", ", ".join(names.values()), "a name for each, no two alike")
    path = Path(__file__).with_name(f"{config.example}.csv") if config.table is None else config.table
    used = names if config.table is not None else {name: name for name in NAMES}
    runs, forecasts = read_table(path, used), forecast(path, used)
    dims = ("run", "budget")
    found = {
        name: (dims, [run.losses.get(name, np.full(len(run.budgets), np.nan)) for run in runs])
        for name in COLUMNS
        if any(name in run.losses for run in runs)
    }
    ends = {
        f"turn_{end}": ("run", [np.inf if (at := getattr(each.turn, end)) is None else at for each in forecasts])
        for end in ("low", "median", "high")
    }
    dataset = xr.Dataset(
        {
            **found,
            "probability": (("run", "horizon"), [list(each.probability.values()) for each in forecasts]),
            **ends,
            "verdict": ("run", texts([each.verdict for each in forecasts])),
            "reason": ("run", texts([each.reason for each in forecasts])),
        },
        coords={
            "run": texts([each.run for each in forecasts]),
            "budget": runs[0].budgets,
            "horizon": np.array(HORIZONS),
        },
    )
    for end in ends:
        dataset[end].attrs["beyond"] = beyond(dataset)  # what infinite ones mean, for pages
    told_of = config.example if config.table is None else "table"
    plain = json.dumps([each.as_json() for each in forecasts])
    if report is not None:
        report(len(runs), len(runs))
    return label(dataset, LABELS).assign_attrs(level=forecasts[0].turn.level, forecast=plain, source_of_table=told_of)


def _renamed(columns: Names) -> str:
    """What was asked for."""
    own, usual = asdict(columns), asdict(Names())
    return ", ".join(f"{name} {given}" for name, given in own.items() if given != usual[name])


def beside(dataset: xr.Dataset) -> Mapping[str, str]:
    """forecast.json, one object a run."""
    return {"forecast.json": json.dumps(json.loads(dataset.attrs["forecast"]), indent=2) + "\n"}


experiment = Experiment(
    "forecast", __doc__, Config, compute, find, table, CLAIMS, doing="forecasting", flags=Drawing, beside=beside
)
run, main = experiment.run, experiment.main
