"""What the axes and variables that results share are called: name -> long name, units, and dimensions where fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from linsim.errors import InvalidInput, numbers, require, require_number

STEPS, SQUARED, STRENGTH, RATE, PLAIN = "steps", "squared output", "output per input", "flow time per step", "1"
"""Units of budgets, losses, singular values and learning rates; and none."""


class Label(NamedTuple):
    """What a variable is."""

    long_name: str
    units: str = ""
    """Empty where a unit means nothing, as for flags and names."""
    dims: tuple[str, ...] | None = None
    """Its dimensions where all results have the same; an axis has its own name."""

    @property
    def attrs(self) -> dict[str, str]:
        """As attributes of a variable."""
        return {"long_name": self.long_name} | ({"units": self.units} if self.units else {})


def _axis(name: str, long_name: str, units: str = "") -> tuple[str, Label]:
    return name, Label(long_name, units, (name,))


AXES: dict[str, Label] = dict(
    [
        _axis("pretrain_steps", "pre-training budget", STEPS),
        _axis("learning_rate", "fine-tuning learning rate", RATE),
        _axis("regularization", "regularisation strength", PLAIN),
        _axis("seed", "seed of the initial weights"),
        _axis("finetune_steps", "steps of fine-tuning", STEPS),
        _axis("steps", "steps of training, all tasks together", STEPS),
        _axis("task", "task, in the order of training"),
        _axis("mode", "mode, strongest first"),
        _axis("stage", "modes learned"),
        _axis("checkpoints", "checkpoints that fine-tuning starts from"),
        _axis("shift", "how the fine-tuning task differs"),
        _axis("regularizer", "regulariser of fine-tuning"),
        _axis("depth", "number of layers"),
        _axis("width", "width of the hidden layers"),
        _axis("tau", "layers start with singular values e^(-tau)", PLAIN),
        _axis("dim", "inputs, and as many outputs"),
        _axis("hidden", "width of the hidden layers"),
        _axis("rotate_degrees", "angle by which singular vectors turn", "degrees"),
        _axis("rescale_factor", "factor on the weaker singular values", PLAIN),
        _axis("balance", "l of W_2'W_2 - W_1 W_1' = l I", "squared weights"),
    ]
)
"""Axes, each with its own name as its one dimension."""

_OUTPUT_INPUT, _INPUT_INPUT = ("output", "input"), ("input", "input_")

LABELS: dict[str, Label] = AXES | {
    "pretrain_target": Label("A of the pre-training task", STRENGTH, _OUTPUT_INPUT),
    "finetune_target": Label("A of the fine-tuning task", STRENGTH, _OUTPUT_INPUT),
    "input_covariance": Label("S of the pre-training task", "squared input", _INPUT_INPUT),
    "finetune_input_covariance": Label("S of the fine-tuning task", "squared input", _INPUT_INPUT),
    "strengths": Label("singular values of the pre-training task", STRENGTH, ("mode",)),
    "zero_loss": Label("pre-training loss of the zero network", SQUARED),
    "finetune_zero_loss": Label("fine-tuning loss of the zero network", SQUARED),
    "loss": Label("loss of a task", SQUARED),
    "trained_task": Label("task that was trained last"),
    "pretrain_loss_before": Label("pre-training loss before fine-tuning", SQUARED),
    "finetune_loss_before": Label("fine-tuning loss before fine-tuning", SQUARED),
    "pretrain_loss_after": Label("pre-training loss after fine-tuning", SQUARED),
    "finetune_loss_after": Label("fine-tuning loss after fine-tuning", SQUARED),
    "forgetting": Label("rise of the pre-training loss", SQUARED),
    "diverged": Label("fine-tuning diverged"),
    "unstable": Label("fine-tuning beyond the edge of stability"),
    "learned": Label("strength of a mode", STRENGTH),
    "learned_share": Label("share of a mode that is learned", PLAIN),
    "half_learned_steps": Label("budget at which a mode is half learned", STEPS),
    "inflection_steps": Label("inflection point", STEPS),
    "inflection_low": Label("earliest budget within the tolerance of the smallest loss", STEPS),
    "inflection_high": Label("latest budget within the tolerance of the smallest loss", STEPS),
    "resolved": Label("turn resolved by the budgets"),
    "lowest_steps": Label("budget of the smallest loss", STEPS),
    "harm": Label("loss at the largest budget / smallest loss - 1", PLAIN),
    "excess": Label("loss at the largest budget - smallest loss, over that of the zero network", PLAIN),
    "stable_rate": Label("largest rate at which descent is stable", RATE),
    "limit_harm": Label("harm after fine-tuning to convergence", PLAIN),
}
"""All shared names. Of `predicted_NAME`, and `finetune_NAME` of a turn, the label follows from that of NAME;
`initial_weights_1..L` are known too."""

_WEIGHTS = "initial_weights_"
_PREFIXES = {"predicted_": "in closed form", "finetune_": "on the fine-tuning task"}


def label_of(name: str) -> Label | None:
    """The label of a shared name; None for a name that is not shared."""
    if name in LABELS:
        return LABELS[name]
    if name.startswith(_WEIGHTS) and name.removeprefix(_WEIGHTS).isdecimal():
        return Label(f"initial W_{name.removeprefix(_WEIGHTS)}")
    for prefix, words in _PREFIXES.items():
        if name.startswith(prefix) and (known := LABELS.get(name.removeprefix(prefix))) is not None:
            return known._replace(long_name=f"{known.long_name}, {words}")
    return None


def lost_lanes(dataset: xr.Dataset) -> xr.DataArray:
    """Lanes whose losses tell nothing: fine-tuning diverged, or is beyond the edge of stability."""
    return dataset["diverged"] | dataset["unstable"] if "unstable" in dataset else dataset["diverged"]


def counted_harm(dataset: xr.Dataset, prefix: str = "") -> xr.DataArray:
    """Harm of curves that turn materially, 0 of others: next to a loss near 0 a ratio says nothing.

    Infinite where the largest budget diverged and NaN where nothing is known, as `harm` is.

    Args:
      dataset: with `harm` and `inflection_steps`, which is NaN where the turn is not material.
      prefix: of both names.
    """
    harm, turned = dataset[f"{prefix}harm"], dataset[f"{prefix}inflection_steps"].notnull()
    return harm.where(turned | ~np.isfinite(harm), 0.0)


def labelled(name: str, values: Any, dims: Sequence[str] | None = None) -> xr.Variable:
    """Values of a shared name as a variable with its long name and units.

    Args:
      name: a shared one.
      values: numbers, or text of any length.
      dims: of the values; default those that all results have.

    Raises:
      InvalidInput: a name that is not shared, or no dimensions where results differ in them.
    """
    found = _known(name)
    own = found.dims if dims is None else tuple(dims)
    require(own is not None, "dims", dims, f"the dimensions of {name}, which results differ in")
    return xr.Variable(own, _array(values), found.attrs)


def label(dataset: xr.Dataset, own: Mapping[str, Label] | None = None) -> xr.Dataset:
    """A dataset whose variables have long names and units: shared ones those of all results, others their own.

    Args:
      dataset: whose variables may lack attributes; those that have a long name keep it.
      own: labels that this dataset alone has, or has otherwise than others.
    """
    told, own = dataset.copy(), own or {}
    for name in map(str, told.variables):
        found = own.get(name) or (None if "long_name" in told[name].attrs else label_of(name))
        if found is not None:
            told[name].attrs.update(found.attrs)
    return told


def attrs_of(name: str) -> dict[str, str]:
    """Long name and units of a shared name, as attributes; `InvalidInput` for a name that is not shared."""
    return _known(name).attrs


def computed(dataset: xr.Dataset) -> str:
    """What a result's losses come from, beside its predictions: steps, or the flow from budget to budget."""
    return "flow" if dataset.attrs.get("solver") == "flow" else "simulation"


def texts(words: Sequence[str]) -> np.ndarray:
    """Text of any length: the type that zarr stores by a specification."""
    return np.asarray(words, np.dtypes.StringDType())


def _known(name: str) -> Label:
    if (found := label_of(name)) is None:
        raise InvalidInput("name", name, f"a shared one: {', '.join(LABELS)}")
    return found


def _array(values: Any) -> Any:
    listed = isinstance(values, list | tuple) and len(values) > 0
    return texts(values) if listed and all(isinstance(value, str) for value in values) else values


LARGEST_NUMBER = 1e30
"""Of a phase: float32 has room for it."""


class Sweepable(NamedTuple):
    """What is told about a number that may be an axis of a sweep."""

    words: str
    units: str
    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf
    whole: bool = False
    """Integers only."""
    axis: str = ""
    """Name of the axis; empty for the name of the field."""

    def require(self, name: str, value: Any) -> None:
        """Raise `InvalidInput` unless it is a number within these bounds."""
        if hasattr(value, "dtype"):
            value = float(numbers(name, value, 0))
        above, at_least = self.above, max(self.at_least, -LARGEST_NUMBER)
        require_number(name, value, above=above, at_least=at_least, below=self.below, at_most=LARGEST_NUMBER)
        require(not self.whole or value == int(value), name, value, "a whole number")

    def require_put(self, name: str, value: Any) -> None:
        """The same where it may be None, to be swept; of arrays, one entry a run, only that they are numbers."""
        if hasattr(value, "dtype"):
            numbers(name, value)
        elif value is not None:
            self.require(name, value)


def swept(words: str, units: str, **about: Any) -> dict[str, Sweepable]:
    """Metadata of a dataclass field that may be an axis of a sweep; `about` are fields of `Sweepable`."""
    return {"swept": Sweepable(words, units, **about)}
