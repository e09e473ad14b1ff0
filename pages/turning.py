"""What decides where a curve turns, for sliders of the criteria: harm and excess of the smallest value known.

A turn is material where harm and excess over the smallest known value exceed the criteria (`linsim.theory.turns`); its
place and depth are read between budgets. With both a page moves the criteria, and draws what the library would.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from linsim.theory.turns import LEAST_EXCESS, LEAST_HARM, Criteria, material

from .subject import Subject

_PLACE = "inflection_steps"
_LOSSES = {"": "pretrain_loss_after", "finetune_": "finetune_loss_after", "heldout_": "heldout_loss_after"}
_SAID = {"": "pre-training loss", "finetune_": "fine-tuning loss", "predicted_": "closed form"}


@dataclass(frozen=True)
class Turning:
    """Names of the variables that tell of the turns of one curve; empty where there is none."""

    words: str
    """Of what it is the turn."""
    place: str
    """Budget of the turn; where the criteria move it, that of the smallest loss, material or not."""
    harm: str
    excess: str
    low: str
    high: str
    resolved: str
    predicted: bool
    judged: tuple[str, str] | None
    """Harm and excess that decide whether it is material, added to the dataset; None where criteria are not moved."""

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {**vars(self), "judged": list(self.judged) if self.judged else None}


def criteria_of(dataset: xr.Dataset) -> Criteria:
    """Under which the turns of a result were told."""
    harm, excess = (
        float(dataset.attrs.get(name, default))
        for name, default in (("least_harm", LEAST_HARM), ("least_excess", LEAST_EXCESS))
    )
    return Criteria(least_harm=harm, least_excess=excess)


def turnings(dataset: xr.Dataset, subject: Subject) -> tuple[xr.Dataset, list[Turning]]:
    """The turns that a map can show, the loss's first; the dataset has what judges them besides."""
    found: list[Turning] = []
    for name in subject.cells:
        if name.endswith(_PLACE) and name.startswith(subject.prefix):
            stem = name.removeprefix(subject.prefix).removesuffix(_PLACE)
            dataset, turning = _turning(dataset, subject, stem)
            if turning.harm or bool(dataset[name].notnull().any()):  # there is a closed form, where that is what tells
                found.append(turning)
    return dataset, sorted(found, key=lambda each: (each.predicted, each.words != _SAID[""]))


def _turning(dataset: xr.Dataset, subject: Subject, stem: str) -> tuple[xr.Dataset, Turning]:
    def named(name: str) -> str:
        full = f"{subject.prefix}{stem}{name}"
        return full if full in subject.cells else ""

    place, lowest, harm, excess = (named(name) for name in (_PLACE, "lowest_steps", "harm", "excess"))
    judged = None
    if lowest and harm and excess:
        deciding = _deciding(dataset, subject, stem, harm, excess)
        told = material(deciding[0].values, deciding[1].values, criteria_of(dataset))
        known = dataset[place].transpose(*deciding[0].dims).notnull().values
        if np.array_equal(told, known):
            judged = f"judged_{harm}", f"judged_{excess}"
            dataset = dataset.assign(dict(zip(judged, deciding, strict=True)))
    words = _SAID.get(stem, stem.rstrip("_").replace("_", " "))
    at = lowest if judged else place
    low, high, resolved = (named(name) for name in ("inflection_low", "inflection_high", "resolved"))
    return dataset, Turning(words, at, harm, excess, low, high, resolved, stem.startswith("predicted"), judged)


def _deciding(
    dataset: xr.Dataset, subject: Subject, stem: str, harm: str, excess: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Harm and excess over the smallest known loss; those told where the loss is not there."""
    loss = f"{subject.prefix}{_LOSSES.get(stem, '')}"
    told = dataset[harm], dataset[excess].transpose(*dataset[harm].dims)
    if stem not in _LOSSES or loss not in dataset:
        return told
    curve = dataset[loss]
    for flag in subject.flags:
        curve = curve.where(~dataset[flag])
    curve = curve.where(np.isfinite(curve))
    floor = _floor(dataset, stem)
    curve = curve.where(curve.isnull(), np.maximum(curve, floor))
    last, least = curve.isel({subject.budget: -1}), curve.min(subject.budget)
    lowest = last / (1 + told[0])  # the least loss as it was read between budgets
    seen = (last / least - 1).where(last != least, 0.0)
    share = ((last - least) / (last - lowest)).where(last != lowest, 1.0)
    share = share.where(np.isfinite(share), 1.0)
    return seen.transpose(*told[0].dims), (told[1] * share).transpose(*told[0].dims)


def _floor(dataset: xr.Dataset, stem: str) -> float:
    """Loss below which a curve shows rounding, a share of the loss of the zero network; 0 where it is not told."""
    told = [dataset.attrs.get(name) for name in ("rounding_floor", "zero_loss", f"{stem}zero_loss")]
    numbers = [float(each) for each in told if isinstance(each, Real) and each]
    if len(numbers) < len(told):  # not told, or in words, as where parts of a result differ
        return 0.0
    floor, zero, own = numbers
    return floor * own / zero
