"""Several charts side by side along a named axis, for whatever is no axis of a chart: a depth, a shift, a start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from linsim.commands.building import build_chart
from linsim.commands.config import PretrainingConfig, TrainingConfig
from linsim.progress.showing import Progress
from linsim.tasks import Transfer

from .progress import part_of

_INPUTS = {"pretrain_target", "finetune_target", "input_covariance", "finetune_input_covariance"}


class Chart(NamedTuple):
    """What a chart is made of."""

    config: TrainingConfig
    transfer: Transfer


def charts_along(
    dimension: str, charts: Mapping[Any, Chart], config: PretrainingConfig, report: Progress | None = None
) -> xr.Dataset:
    """Compute charts and label them along a new first dimension.

    Args:
      dimension: its name.
      charts: label -> chart; all labels are text or all are numbers. All charts have the same axes.
      config: of the experiment, for the attributes; all the charts follow from it.
      report: called with (charts done, in thousandths; all of them, likewise).

    Returns:
      The contract of a chart with one dimension more. What is the same in all charts, such as a task, comes once. Where
      the charts' weights differ in shape, each keeps its own: `initial_weights_1_of_LABEL`. Predictions are NaN on
      charts that have none. Attributes that differ are told one value a line, after the labels it belongs to.

    Raises:
      InvalidInput: any field outside its domain.
    """
    datasets = []
    for number, chart in enumerate(charts.values()):
        datasets.append(build_chart(chart.config, chart.transfer, part_of(report, number, len(charts))))
    return side_by_side(dimension, list(charts), datasets).assign_attrs(config=config.to_json())


def side_by_side(dimension: str, labels: Sequence[Any], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Datasets of the same axes along a new first dimension (see `charts_along`)."""
    coordinate = xr.Variable(dimension, texts(labels) if isinstance(labels[0], str) else np.asarray(labels))
    joined: dict[str, xr.DataArray] = {}
    for name in dict.fromkeys(str(name) for dataset in datasets for name in dataset.data_vars):
        here = [dataset.get(name) for dataset in datasets]
        known = [variable for variable in here if variable is not None]
        alike = len({tuple(variable.sizes.items()) for variable in known}) == 1
        everywhere = len(known) == len(datasets)
        if everywhere and name in _INPUTS and all(variable.identical(known[0]) for variable in known):
            joined[name] = known[0]
        elif alike and (everywhere or name.startswith("predicted_")):
            filled = [xr.full_like(known[0], np.nan) if variable is None else variable for variable in here]
            joined[name] = xr.concat(filled, coordinate, join="exact").assign_attrs(known[0].attrs)
        else:
            for label, variable in zip(labels, here, strict=True):
                if variable is not None:
                    joined[f"{name}_of_{label}"] = _of_its_own(variable, label)
    return xr.Dataset(joined, attrs=_attributes(labels, datasets))


def texts(words: Sequence[str]) -> np.ndarray:
    """Text of any length: the type that zarr stores by a specification."""
    return np.asarray(words, np.dtypes.StringDType())


def _of_its_own(variable: xr.DataArray, label: Any) -> xr.DataArray:
    """A variable whose dimensions no other chart shares, save those with values, such as the seeds."""
    return variable.rename({dim: f"{dim}_of_{label}" for dim in variable.dims if dim not in variable.coords})


def _attributes(labels: Sequence[Any], datasets: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Attributes that all share as they are, others with the labels they belong to, a value a line."""
    attributes: dict[str, Any] = {}
    for name in dict.fromkeys(name for dataset in datasets for name in dataset.attrs):
        owners: dict[Any, list[str]] = {}
        for label, dataset in zip(labels, datasets, strict=True):
            owners.setdefault(dataset.attrs.get(name, "none"), []).append(str(label))
        lines = (f"{', '.join(whose)}: {value}" for value, whose in owners.items())
        attributes[str(name)] = next(iter(owners)) if len(owners) == 1 else "\n".join(lines)
    return attributes
