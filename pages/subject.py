"""What a page shows of a result: curves over budgets, the map of their turns, and what else is to be chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from linsim.labels import AXES

SEEDS = ("seed", "draw", "drawn")
_ACROSS = ("learning_rate", "relative_rate")
_UP = ("regularization", "product_penalty", "weight_penalty", "weight_decay")
_MAIN = ("pretrain_loss_after", "base_loss_after", "kept_loss_after", "loss_after", "loss")
_FLAGS = ("diverged", "unstable")
_BUDGET = "pretrain_steps"
_IN_PLACE = "stage"  # of budgets: features learned
_LONGEST = 4096  # of an axis that only one measure has, such as modes: one value of it is chosen from a list


@dataclass(frozen=True)
class Subject:
    """Curves over one axis of budgets, and the axes of their map."""

    budget: str
    prefix: str
    """Of the names of its variables, empty for most."""
    loss: str
    """The curve whose turns the map shows."""
    x: str
    """Axis of the map; empty where there is one curve only, as is y where there is one row."""
    y: str
    seeds: tuple[str, ...]
    others: tuple[str, ...]
    """Axes of which one value is looked at."""
    curves: tuple[str, ...]
    """Variables over budgets, the loss first."""
    cells: tuple[str, ...]
    """Variables of the map."""
    flags: tuple[str, ...]
    """What marks lanes that tell nothing."""

    @property
    def costs(self) -> bool:
        """Whether going on with pre-training has a cost that the curve tells: it is a loss after fine-tuning."""
        return self.loss.endswith("loss_after")

    @property
    def order(self) -> tuple[str, ...]:
        """Axes as pages have them: those chosen, map, seeds, budgets."""
        return (*self.others, *filter(None, (self.x, self.y)), *self.seeds, self.budget)


def subjects(dataset: xr.Dataset) -> list[Subject]:
    """All that a result has curves of; empty where it has none over budgets."""
    known = [str(dim) for dim in dataset.dims if dim in dataset.coords and dataset[dim].dtype.kind in "fiu"]
    found = sorted(filter(is_budget, known), key=len) or [dim for dim in known if dim == _IN_PLACE]
    each = (_subject(dataset, dim, dim.removesuffix(_BUDGET) if is_budget(dim) else "") for dim in found)
    return [subject for subject in each if subject is not None]


def _subject(dataset: xr.Dataset, budget: str, prefix: str) -> Subject | None:
    told = [name for name in _told(dataset) if budget in dataset[name].dims]
    flags = tuple(f"{prefix}{flag}" for flag in _FLAGS if f"{prefix}{flag}" in dataset)
    curves = [name for name in told if name not in flags]
    if not curves or dataset.sizes[budget] < 2:
        return None
    loss = _main(dataset, curves, prefix)
    seeds = tuple(dim for dim in _dims(dataset, loss) if is_seed(dim))
    axes = [dim for dim in _dims(dataset, loss) if dim != budget and not is_seed(dim)]
    x, y = _map_axes(dataset, axes)
    others = [dim for dim in axes if dim not in (x, y)]
    for name in list(curves):
        more = [dim for dim in _dims(dataset, name) if dim not in (*axes, *seeds, budget)]
        if any(dataset.sizes[dim] > _LONGEST or is_seed(dim) for dim in more):
            curves.remove(name)
        else:
            others += [dim for dim in more if dim not in others]
    within = {*axes, *seeds}
    cells = [name for name in _told(dataset) if set(_dims(dataset, name)) & {x, y} - {""}]
    cells = [name for name in cells if set(_dims(dataset, name)) <= within and name not in flags]
    curves.sort(key=lambda name: name != loss)
    return Subject(budget, prefix, loss, x, y, seeds, tuple(others), tuple(curves), tuple(cells), flags)


def is_budget(dim: str) -> bool:
    """Whether an axis is of pre-training budgets."""
    return dim.endswith(_BUDGET)


def is_seed(dim: str) -> bool:
    """Whether an axis is of repetitions, over which medians and ranges are shown."""
    return dim in SEEDS or dim.endswith("_seed")


def _told(dataset: xr.Dataset) -> Iterator[str]:
    """Numbers and flags all of whose axes have values: others are matrices, which no map shows."""
    for name, variable in dataset.data_vars.items():
        if variable.dtype.kind in "fiub" and all(dim in dataset.coords for dim in variable.dims):
            yield str(name)


def _dims(dataset: xr.Dataset, name: str) -> list[str]:
    return [str(dim) for dim in dataset[name].dims]


def _main(dataset: xr.Dataset, curves: Sequence[str], prefix: str) -> str:
    usual = [f"{prefix}{name}" for name in _MAIN if f"{prefix}{name}" in curves]
    own = [name for name in curves if not name.startswith("predicted_")] or list(curves)

    def rank(name: str) -> tuple[bool, int, bool]:
        return not name.endswith("_error"), dataset[name].ndim, dataset[name].dtype.kind == "f"

    return usual[0] if usual else max(own, key=rank)


def _map_axes(dataset: xr.Dataset, axes: Sequence[str]) -> tuple[str, str]:
    """The two axes of a map: rates and strengths where they are there, else the longest."""
    left = sorted((dim for dim in axes if dataset.sizes[dim] > 1), key=lambda dim: -dataset.sizes[dim])
    numeric = [dim for dim in left if dataset[dim].dtype.kind in "fiu"]
    x = next((dim for dim in (*_ACROSS, *numeric, *left) if dim in left), "")
    y = next((dim for dim in (*_UP, *left) if dim in left and dim != x), "")
    return x, y


def axis_of(dataset: xr.Dataset, dim: str) -> dict[str, object]:
    """An axis as a page has it: its values, what it is, and its unit."""
    values = dataset[dim].values
    shared = AXES[dim].attrs if dim in AXES else {}
    attrs = {**shared, **dataset[dim].attrs}
    listed = values.tolist() if values.dtype.kind in "iu" else _listed(values)
    words = str(attrs.get("long_name", dim.replace("_", " ")))
    return {"name": dim, "values": listed, "words": words, "units": str(attrs.get("units", ""))}


def _listed(values: np.ndarray) -> list[object]:
    """Numbers as numbers, infinite ones as words, as is all else."""
    if values.dtype.kind != "f":
        return [str(value) for value in values]
    return [float(value) if np.isfinite(value) else str(float(value)) for value in values]
