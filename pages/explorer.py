"""The page of a result: map, curves of pinned cells, tables, with the finding on top.

    linsim explore RESULT

Everything that the page decides, which cells turn by which criteria, what going on would cost, it reads from what the
result holds; its numbers are those of the result to seven digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from linsim.errors import require
from linsim.finding import Finding
from linsim.labels import label

from .packing import packed
from .page import assembled, write
from .subject import Subject, axis_of, subjects
from .tables import fronts, tables
from .thinning import MOST_NUMBERS, thinned
from .turning import criteria_of, turnings

SCRIPTS = (
    *("data.js", "scales.js", "plot.js", "state.js"),
    *("cells.js", "map.js", "curves.js", "table.js", "numbers.js", "link.js", "explorer.js"),
)
_NEEDS = "a result with a map or curves over budgets, or a table or fronts of named cases"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TOLD = ("solver_reason", "prediction", "device", "precision", "git_revision", "loss_convention")


def explorable(dataset: xr.Dataset) -> bool:
    """Whether there is anything to explore."""
    return bool(subjects(dataset) or tables(dataset)[0] or fronts(dataset)[0])


def page(dataset: xr.Dataset, most: int = MOST_NUMBERS, name: str = "result") -> tuple[str, list[str]]:
    """The text of the page of a result, and what was left out for its size, in words.

    Args:
      dataset: as an experiment returns it.
      most: numbers in the page.
      name: of a result that does not tell its experiment.

    Raises:
      InvalidInput: it carries no finding, or has neither map, curves nor named cases.
    """
    allowed = "a result of an experiment; `linsim again` computes that of an older version anew"
    require("finding" in dataset.attrs, "result", "one without a finding", allowed)
    finding = Finding.of(dataset)
    dataset = label(dataset)
    words = {str(name): variable.dtype.kind not in "fiub" for name, variable in dataset.data_vars.items()}
    order = sorted(words, key=lambda name: (words[name], name))
    dataset = dataset[order]  # a store has them in no order of its own
    shown = subjects(dataset)
    told, left_out = tables(dataset, _mapped(dataset, shown))
    lines, more = fronts(dataset)
    name = str(dataset.attrs.get("experiment") or name)
    over = ", ".join(map(str, dataset.dims)) or "nothing"
    require(bool(shown or told or lines), "result", f"{name} over {over}", _NEEDS)
    views, left_out = [], [*left_out, *more]
    for subject in shown:
        view, said = _view(dataset, subject, most // len(shown))
        views.append(view)
        left_out += [each for each in said if each not in left_out]
    data = {
        "name": name,
        "finding": {**json.loads(finding.to_json()), "numbers": None},
        "told": {key: str(dataset.attrs[key]) for key in _TOLD if dataset.attrs.get(key)},
        "config": str(dataset.attrs.get("config", "")),
        "thinned": left_out,
        "views": views,
        "tables": told,
        "fronts": lines,
    }
    title = f"{name.replace('_', ' ').capitalize()}: {finding.sentence}"
    return assembled(title, "explorer.html", SCRIPTS, data), left_out


def _mapped(dataset: xr.Dataset, shown: Sequence[Subject]) -> set[str]:
    """Axes of numbers that maps have."""
    axes = {axis for subject in shown for axis in (subject.x, subject.y) if axis}
    return {axis for axis in axes if dataset[axis].dtype.kind in "fiu"}


def save(dataset: xr.Dataset, folder: Path, name: str) -> Path | None:
    """Write FOLDER/NAME.html; None where there is nothing to explore."""
    return write(page(dataset, name=name)[0], file_of(folder, name)) if explorable(dataset) else None


def file_of(folder: Path, name: str) -> Path:
    """FOLDER/NAME.html, inside FOLDER whatever a result says its name is; FOLDER/result.html unless NAME is plain."""
    return folder / f"{name if _PLAIN.fullmatch(name) else 'result'}.html"


def _view(dataset: xr.Dataset, subject: Subject, most: int) -> tuple[Mapping[str, Any], list[str]]:
    """What the page needs of one subject."""
    dataset, turns = turnings(dataset, subject)
    judged = [name for turn in turns for name in turn.judged or ()]
    criteria = criteria_of(dataset)
    dataset, left_out = thinned(dataset, subject, most)
    names = dict.fromkeys([*subject.curves, *subject.cells, *subject.flags, *judged])
    view = {
        "words": subject.prefix.rstrip("_").replace("_", " "),
        "prefix": subject.prefix,
        "budget": subject.budget,
        "loss": subject.loss,
        "costs": subject.costs,
        "x": subject.x,
        "y": subject.y,
        "seeds": list(subject.seeds),
        "others": list(subject.others),
        "axes": {dim: axis_of(dataset, dim) for dim in subject.order},
        "curves": list(subject.curves),
        "cells": list(subject.cells),
        "flags": list(subject.flags),
        "turns": [turn.as_json() for turn in turns],
        "criteria": {"least_harm": criteria.least_harm, "least_excess": criteria.least_excess},
        "variables": {name: _variable(dataset, name, subject) for name in names},
    }
    return view, left_out


def _variable(dataset: xr.Dataset, name: str, subject: Subject) -> dict[str, Any]:
    """Values over the axes in the order of the subject, with what they are."""
    variable = dataset[name]
    variable = variable.transpose(*(dim for dim in subject.order if dim in variable.dims))
    words = str(variable.attrs.get("long_name", name.replace("_", " ")))
    dims = [str(dim) for dim in variable.dims]
    values = np.asarray(variable.values)
    return {"dims": dims, "words": words, "units": str(variable.attrs.get("units", "")), **packed(values)}
