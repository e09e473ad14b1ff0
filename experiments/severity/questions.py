"""What may change the severity: who asks each question, and how the result is read. One more is one entry."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from linsim.labels import texts

from ..curves import material_harm
from ..data_distribution.reading import FIXED, LOSS
from ..objectives.tasks import RELABELLED, STRENGTHENED
from ..optimizers.methods import spoken

RECIPE, EFFORT = "one recipe", "equal effort"
RECIPES = (RECIPE, EFFORT)
_TOLD = ("harm", "excess")


class Severity(NamedTuple):
    """Of one alternative, by both recipes, each over seeds."""

    case: str
    """Under which alternatives are comparable: a shift, or an axis of the data."""
    name: str
    """Of the alternative."""
    harm: tuple[xr.DataArray, xr.DataArray]
    """That is material, else 0."""
    excess: tuple[xr.DataArray, xr.DataArray]


class Question(NamedTuple):
    """What may change the severity."""

    experiment: str
    """Module of `experiments` that asks it, and the field of a folder with its result."""
    said: str
    recipe: str
    """What of fine-tuning is the same for all alternatives."""
    effort: str
    """What is matched in its place."""
    read: Callable[[xr.Dataset], Iterator[Severity]]


def _optimizers(result: xr.Dataset) -> Iterator[Severity]:
    """Of pre-training by every optimiser that is done, in the last setting."""
    cells = result.isel(setting=-1).sel(arm="pretrain")
    done = cells["reached"] <= result.attrs["end"]
    harms, excesses = (_two(cells[f"{rule}_{of}"].where(done) for rule in ("fixed", "tuned")) for of in _TOLD)
    for shift, name in itertools.product(cells["task_shift"].values, cells["optimizer"].values):
        cell = {"task_shift": shift, "optimizer": name}
        harm, excess = (_two(each.sel(cell) for each in of) for of in (harms, excesses))
        yield Severity(f"shift of the {shift}", spoken(str(name)), _material(harm, excess), excess)


def _objectives(result: xr.Dataset) -> Iterator[Severity]:
    """Of both losses that may turn: the pre-training loss by overshoot, the fine-tuning loss by margins."""
    short = result.attrs["short"] / result.attrs["finetune_steps"]
    at_short = result.sel(learning_rate=short, method="nearest")
    for shift, prefix, loss in ((STRENGTHENED, "", "pre-training loss"), (RELABELLED, "finetune_", "fine-tuning loss")):
        for name in result["objective"].values:
            cell = {"shift": shift, "objective": name}
            harm, excess = (
                (at_short[f"{prefix}{of}"].sel(cell), result[f"matched_{prefix}{of}"].sel(cell)) for of in _TOLD
            )
            yield Severity(f"{shift}, {loss}", str(name), _material(harm, excess), excess)


def _data(result: xr.Dataset) -> Iterator[Severity]:
    """Of all values of every axis, overfitting of the base loss taken out."""
    for at, value in enumerate(result["value"].values):
        cell = result.isel(data=at)
        harm, excess = (_two(cell[f"stopped_{of}"].sel(recipe=recipe) for recipe in (FIXED, LOSS)) for of in _TOLD)
        title, _, unit = str(result["row_title"].values[at]).partition(": ")
        yield Severity(title.removeprefix("the "), f"{unit} {value:g}", harm, excess)


def _two(parts: Any) -> tuple[xr.DataArray, xr.DataArray]:
    first, second = parts
    return first, second


def _material(harm: tuple[xr.DataArray, ...], excess: tuple[xr.DataArray, ...]) -> tuple[xr.DataArray, xr.DataArray]:
    return _two(material_harm(*pair) for pair in zip(harm, excess, strict=True))


QUESTIONS = (
    Question(
        *("objectives", "training objective", "one time of fine-tuning"),
        *("fine-tuned until a share of the last checkpoint's loss is left", _objectives),
    ),
    Question(
        *("optimizers", "optimiser", "one rate of fine-tuning"),
        *("every checkpoint fine-tuned to the same loss", _optimizers),
    ),
    Question(
        *("data_distribution", "data distribution", "one time of fine-tuning"),
        *("fine-tuned until a share of the last checkpoint's loss is left", _data),
    ),
)


def read(question: Question, result: xr.Dataset) -> xr.Dataset:
    """Harm and excess over (alternative, recipe, seed), and of what question and case an alternative is."""
    rows = list(question.read(result))
    values = {name: np.array([[each.values for each in getattr(row, name)] for row in rows]) for name in _TOLD}
    return xr.Dataset(
        {name: (("alternative", "recipe", "seed"), told) for name, told in values.items()},
        {
            "recipe": texts(list(RECIPES)),
            "seed": np.arange(next(iter(values.values())).shape[-1]),
            "question": ("alternative", texts([question.said] * len(rows))),
            "case": ("alternative", texts([row.case for row in rows])),
            "name": ("alternative", texts([row.name for row in rows])),
        },
    )
