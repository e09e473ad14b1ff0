"""Sweeps along what is no number of a phase: a depth, a width, a shift, a start, whatever changes shapes or tasks."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from linsim.errors import InvalidInput, brief, listed, require, require_callable, require_kind
from linsim.labels import label_of, texts
from linsim.progress.showing import Progress
from linsim.sweeping.running import current, reporting, running

Ready = Callable[..., xr.Dataset]
"""A sweep or a chart that lacks nothing but `report=`."""

_INPUTS = {"pretrain_target", "finetune_target", "input_covariance", "finetune_input_covariance"}
_PREDICTED, _CHECKS = "predicted_", ("recheck_", "rounding_")
_TOLD = ("lanes", "deviation", "by", "trusted", "apart", "worst")  # by either check


def along(
    axes: Mapping[str, Sequence[Any]],
    prepare: Callable[..., Ready],
    report: Progress | None = None,
    *,
    progress: bool | None = None,
) -> xr.Dataset:
    """One result over axes that programs of different shapes, or different tasks, make up: a sweep for each place.

    Example:
      >>> from functools import partial
      >>> import linsim as ls
      >>> transfer = ls.shifted(ls.LinearTask.create(np.array([2.0, 1.0])), ls.Rescale([2], 4.0))
      >>> phase, budgets = ls.Phase(learning_rate=0.01), np.array([10, 100])
      >>> def prepare(depth):
      ...     weights = ls.stack_seeds([ls.identity((2,) * (depth + 1), 1.0)])
      ...     problem = ls.Problem(transfer, weights, phase, phase, budgets, finetune_steps=50)
      ...     return partial(ls.sweep, problem, {"learning_rate": [1e-3]})
      >>> ls.along({"depth": [1, 3]}, prepare)["harm"].dims
      ('depth', 'learning_rate', 'seed')

    Args:
      axes: name -> labels, all numbers or all text, each once; several axes make up every combination.
      prepare: called with a label of every axis by name, for all places before anything is computed; returns a `sweep`
        or `chart` of the problem there, ready but for `report=`. All have the same axes, so no chart adds budgets.
      report: called with (done, in all), in thousandths of a place.
      progress: whether to show a bar; None shows one in a notebook, unless `report` listens.

    Returns:
      The dataset of one place with the axes before all others. What is the same everywhere, such as a task, comes once.
      A variable whose shape differs from place to place, such as the weights, stands apart as `NAME_of_LABEL`.
      Predictions are NaN where there are none. Attributes that differ are told one value a line, after their labels;
      those of the recheck and of rounding are their worst, and the lanes that are computed again are shared among them.

    Raises:
      InvalidInput: no labels, or a label twice; sweeps of other axes at other places; whatever `prepare` refuses.
    """
    require_kind("axes", axes, Mapping, "a mapping, name of an axis -> its labels")
    require(all(isinstance(name, str) and name.isidentifier() for name in axes), "axes", brief(list(axes)), "names")
    require_callable("prepare", prepare, "a function that takes a label of every axis by name")
    places = {name: _labels(name, given) for name, given in axes.items()}
    labelled = (dict(zip(places, labels, strict=True)) for labels in itertools.product(*places.values()))
    ready = [_prepared(prepare, labels) for labels in labelled]
    with reporting(progress, report) as told, running(refining=False, parts=current().parts * len(ready)):
        parts = [one(report=part_of(told, number, len(ready))) for number, one in enumerate(ready)]
    return _joined(list(places.items()), parts)


def _prepared(prepare: Callable[..., Ready], labels: dict[str, Any]) -> Ready:
    """What is ready at one place."""
    try:
        inspect.signature(prepare).bind(**labels)
    except (TypeError, ValueError) as error:
        raise InvalidInput("prepare", brief(prepare), f"a function that takes {', '.join(labels)}: {error}") from error
    ready = prepare(**labels)
    require_callable("prepare", ready, "a function that returns a sweep or chart, ready but for `report=`")
    return ready


def part_of(report: Progress | None, number: int, count: int) -> Progress | None:
    """What one of several equal parts reports to, in thousandths of a part; None where nobody listens.

    Args:
      report: of the whole.
      number: of the part, from 0.
      count: of parts.
    """
    if report is None:
        return None

    def told(done: int, total: int) -> None:
        report(round(1000 * (number + done / total)), 1000 * count)

    return told


def _labels(name: str, given: Sequence[Any]) -> list[Any]:
    found = [given] if isinstance(given, str) else [*listed(f"axes[{name!r}]", given, "a list of labels")]
    words = all(isinstance(label, str) for label in found)
    numbers = all(isinstance(label, Real) and not isinstance(label, bool) for label in found)
    require(len(found) > 0 and (words or numbers), f"axes[{name!r}]", found, "labels, all numbers or all text")
    require(len(set(found)) == len(found), f"axes[{name!r}]", found, "every label once")
    return found


def _joined(axes: list[tuple[str, list[Any]]], parts: list[xr.Dataset]) -> xr.Dataset:
    """Parts in the order of the product of the axes."""
    if not axes:
        (whole,) = parts
        return whole
    (name, labels), *inner = axes
    size = len(parts) // len(labels)
    rows = [_joined(inner, parts[first : first + size]) for first in range(0, len(parts), size)]
    try:
        return _side_by_side(name, labels, rows)
    except ValueError as error:
        raise InvalidInput(f"axes[{name!r}]", labels, f"sweeps of the same axes at every label ({error})") from error


def _side_by_side(axis: str, labels: list[Any], datasets: list[xr.Dataset]) -> xr.Dataset:
    """Datasets along a new first dimension."""
    told = label_of(axis)
    values = texts(labels) if isinstance(labels[0], str) else np.asarray(labels)
    coordinate = xr.Variable(axis, values, told.attrs if told else {})
    shared = {
        str(dim)
        for dim, values in datasets[0].coords.items()
        if all(dim in dataset.coords and values.identical(dataset.coords[dim]) for dataset in datasets)
    }
    joined: dict[str, xr.DataArray] = {}
    for name in dict.fromkeys(str(name) for dataset in datasets for name in dataset.data_vars):
        here = [dataset.get(name) for dataset in datasets]
        known = [variable for variable in here if variable is not None]
        alike = len({tuple(variable.sizes.items()) for variable in known}) == 1
        everywhere = len(known) == len(datasets)
        if everywhere and name in _INPUTS and all(variable.identical(known[0]) for variable in known):
            joined[name] = known[0]
        elif alike and (everywhere or name.startswith(_PREDICTED)):
            filled = [xr.full_like(known[0], np.nan) if variable is None else variable for variable in here]
            joined[name] = xr.concat(filled, coordinate, join="exact").assign_attrs(known[0].attrs)
        else:
            for label, variable in zip(labels, here, strict=True):
                if variable is not None:
                    own = {dim: f"{dim}_of_{label}" for dim in variable.dims if dim not in shared}
                    joined[f"{name}_of_{label}"] = variable.rename(own)
    return xr.Dataset(joined, attrs=_attributes(axis, labels, datasets))


def _attributes(axis: str, labels: list[Any], datasets: list[xr.Dataset]) -> dict[str, Any]:
    """Attributes that all share as they are, others with the labels they belong to, a value a line."""
    attributes: dict[str, Any] = {}
    for name in dict.fromkeys(str(name) for dataset in datasets for name in dataset.attrs):
        owners: dict[Any, list[str]] = {}
        for label, dataset in zip(labels, datasets, strict=True):
            owners.setdefault(dataset.attrs.get(name, "none"), []).append(str(label))
        lines = (f"{', '.join(whose)}: {value}" for value, whose in owners.items())
        attributes[name] = next(iter(owners)) if len(owners) == 1 else "\n".join(lines)
    for check in _CHECKS:
        attributes |= _checked(check, axis, labels, [dataset.attrs for dataset in datasets])
    return attributes


def _checked(check: str, axis: str, labels: list[Any], told: list[dict[str, Any]]) -> dict[str, Any]:
    """What the samples that were computed again say together: as many lanes as all of them, and what the worst says."""
    samples = [(at, each) for at, each in enumerate(told) if each.get(f"{check}lanes")]
    if not samples:
        return {f"{check}lanes": 0} if any(f"{check}lanes" in each for each in told) else {}
    at, worst = max(samples, key=lambda sample: (not sample[1][f"{check}trusted"], sample[1][f"{check}deviation"]))
    counts = (name for name in (f"{check}lanes", f"{check}apart", f"{check}unstable") if name in worst)
    sums = {name: sum(int(each[name]) for _, each in samples) for name in counts}
    place = {f"{check}worst": f"{axis} = {labels[at]}, {worst[f'{check}worst']}"}
    own = {f"{check}{name}" for name in _TOLD}
    return {name: value for name, value in worst.items() if name in own} | sums | place
