"""How one method is run on one transfer: to its checkpoints, and from there through all rates of fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import xarray as xr

from linsim.labels import lost_lanes
from linsim.measure import Measure
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.sweeping.sweep import sweep

from .method import OWN, Method
from .methods import ALONE, METHODS

_LOSSES = ("pretrain_loss_after", "finetune_loss_after")
_STILL = Phase(1e-30)
"""One step of it leaves every digit of a weight."""
_sweep = partial(sweep, solver="dense", rechecked=0)


@dataclass(frozen=True, eq=False)
class Place:
    """One transfer: the problem by the standard recipe."""

    problem: Problem

    @cached_property
    def standard(self) -> tuple[np.ndarray, ...]:
        """The checkpoint of the standard recipe, with a leading axis of one strength."""
        return checkpoints(METHODS[ALONE], self.problem)


def losses(
    method: Method, place: Place, rates: np.ndarray, room: int, begun: tuple[np.ndarray, ...] | None
) -> dict[str, np.ndarray]:
    """Both losses of a method over (strength, rate) after fine-tuning, and over strengths before; NaN where lost.

    Args:
      method: of either side.
      place: the transfer.
      rates: of descent.
      room: checkpoints that are fine-tuned together, so that all methods of pre-training share a program.
      begun: checkpoints of a method of pre-training.
    """
    axes = {"learning_rate": method.rate * rates}
    if begun is not None:
        count = len(begun[0])
        lost = ~np.all([np.isfinite(layer).all(axis=(1, 2)) for layer in begun], axis=0)  # pre-training diverged
        begun = tuple(np.where(lost[:, None, None], 0.0, layer) for layer in begun)
        filled = tuple(np.concatenate([layer, np.repeat(layer[-1:], room - count, axis=0)]) for layer in begun)
        found = _told(_sweep(_from(place.problem, filled), axes)).isel(pretrain_steps=0)
        told = _arrays(found.rename(seed=OWN).isel({OWN: slice(count)}))
        return {name: np.where(lost[(..., *[None] * (each.ndim - 1))], np.nan, each) for name, each in told.items()}
    problem = _from(place.problem, place.standard)
    if method.losses is not None:
        both = method.losses(np.asarray(method.strengths))
        found = _told(_sweep(method.applied(problem, None), axes, both), [measure.name for measure in both])
        return _arrays(found.isel(pretrain_steps=0, seed=0))
    if method.axis:
        swept = _sweep(method.applied(problem, None), {method.axis: method.values(problem), **axes})
        return _arrays(_told(swept).rename({method.axis: OWN}).isel(pretrain_steps=0, seed=0))
    strengths: Sequence[float | None] = method.strengths or (None,)
    parts = [_arrays(_told(_sweep(method.applied(problem, each), axes)).isel(pretrain_steps=0)) for each in strengths]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def checkpoints(method: Method, problem: Problem) -> tuple[np.ndarray, ...]:
    """(W_1, ..., W_L) after pre-training by a method, each over strengths."""
    alone, measures = replace(problem, finetune_steps=0), _layers(problem.depth)
    if method.axis and method.side == "pretrain":
        found = _sweep(method.applied(alone, None), {method.axis: method.values(problem)}, measures)
        parts = [found.rename({method.axis: OWN}).isel(pretrain_steps=0, seed=0)]
    else:
        strengths: Sequence[float | None] = method.strengths or (None,)
        parts = [_sweep(method.applied(alone, each), {}, measures).isel(pretrain_steps=0) for each in strengths]
    named = [measure.name for measure in measures]
    return tuple(np.concatenate([part[name].values for part in parts]) for name in named)


@lru_cache
def _layers(depth: int) -> tuple[Measure, ...]:
    """The weights of every layer."""

    def layer(number: int) -> Measure:
        dims = (f"row_{number}", f"column_{number}")
        return Measure(f"layer_{number}", dims=dims, at="checkpoint", of=lambda seen: seen.weights[number - 1])

    return tuple(layer(number) for number in range(1, depth + 1))


def _from(problem: Problem, weights: tuple[np.ndarray, ...]) -> Problem:
    """Fine-tuning from weights, one run a seed."""
    starts = stack_seeds([tuple(layer[at] for layer in weights) for at in range(len(weights[0]))])
    return replace(problem, initial=starts, pretrain=_STILL, budgets=np.array([1]))


def _told(found: xr.Dataset, names: Sequence[str] = _LOSSES) -> xr.Dataset:
    kept = found[list(names)].where(~lost_lanes(found)).rename(dict(zip(names, _LOSSES, strict=True)))
    return kept.assign(pretrain_loss_before=found["pretrain_loss_before"])


def _arrays(found: xr.Dataset) -> dict[str, np.ndarray]:
    """Over (strength, rate), and over strengths; where there is no axis of them, the seeds or one."""
    found = found.rename(seed=OWN) if "seed" in found.dims else found
    found = found if OWN in found.dims else found.expand_dims(OWN)
    told: dict[str, Any] = {name: found[name].transpose(OWN, "learning_rate").values for name in _LOSSES}
    before = np.ravel(found["pretrain_loss_before"].values)
    return told | {"pretrain_loss_before": np.broadcast_to(before, (len(told[_LOSSES[0]]),))}
