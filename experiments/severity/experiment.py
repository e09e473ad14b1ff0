"""Do the training objective, the optimiser or the data distribution change the severity of overtraining?

    python -m experiments.severity --out DIR

puts the three questions that the study leaves open side by side: harm and excess over the alternatives of each, by one
recipe of fine-tuning for all, and at equal effort. It reads results of `objectives`, `optimizers` and
`data_distribution`; those for which no folder is given are computed first, about a minute each, and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr

from linsim.errors import require
from linsim.finding import Finding
from linsim.labels import PLAIN, Label, label
from linsim.progress.showing import Progress
from linsim.storage import store
from linsim.storage.identity import content
from linsim.storage.provenance import provenance
from linsim.sweeping.along import part_of

from ..experiment import Experiment
from .finding import find, table
from .questions import QUESTIONS, read

LABELS = {
    "alternative": Label("alternative, by number"),
    "question": Label("what may change the severity"),
    "case": Label("under which alternatives are comparable"),
    "name": Label("alternative"),
    "recipe": Label("what of fine-tuning is the same for all alternatives"),
    "seed": Label("seed of the experiment that was read"),
    "harm": Label("loss at the largest budget / smallest loss - 1, 0 where the excess is immaterial", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """Where results are."""

    objectives: Path | None = None
    """Folder of a result of `objectives`; by default one is computed."""
    optimizers: Path | None = None
    """Folder of a result of `optimizers`; by default one is computed."""
    data_distribution: Path | None = None
    """Folder of a result of `data_distribution`; by default one is computed."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Harm and excess over (alternative, recipe, seed); `InvalidInput` for a folder without such a result."""
    given = {question.experiment: getattr(config, question.experiment) for question in QUESTIONS}
    found = {name: _loaded(name, folder) for name, folder in given.items() if folder is not None}
    missing = [name for name in given if name not in found]
    for number, name in enumerate(missing):
        found[name] = _computed(name, part_of(report, number, len(missing)))
    parts = [read(question, found[question.experiment]) for question in QUESTIONS]
    merged = xr.concat(parts, "alternative", join="outer")
    doubted = [question.experiment for question in QUESTIONS if Finding.of(found[question.experiment]).trust]
    told = {"distrusted": ", ".join(doubted)} | _recipes() | provenance()
    return label(merged.assign_attrs(told), LABELS)


def _recipes() -> dict[str, str]:
    return {f"{question.said}: recipes": f"{question.recipe}; {question.effort}" for question in QUESTIONS}


def _loaded(name: str, folder: Path) -> xr.Dataset:
    result = store.load(folder)
    require(result.attrs.get("experiment") == name, name, str(folder), f"a folder with a result of {name}")
    return result


def _computed(name: str, report: Progress | None) -> xr.Dataset:
    experiment: Experiment[Any] = import_module(f"..{name}", __package__).experiment
    return experiment.run(experiment.config(), report)


def inputs(config: Config) -> dict[str, str]:
    """Every folder that is given -> the content of its data, whatever pictures are beside them."""
    given = {question.experiment: getattr(config, question.experiment) for question in QUESTIONS}
    return {name: content(folder / store.DATA) for name, folder in given.items() if folder is not None}


experiment = Experiment("severity", __doc__, Config, compute, find, table, doing="three experiments", inputs=inputs)
run, main = experiment.run, experiment.main
