"""What is measured on the way through both phases, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from linsim.dynamics.seen import AFTER, BEFORE
from linsim.errors import require, require_integer
from linsim.measure import PLACES, At, Measure, named_once

POINTS = 8
"""Points along fine-tuning, where measures want some and none are given."""


@dataclass(frozen=True, eq=False)
class Measuring:
    """Measures by the place where they are taken; losses are always among them."""

    checkpoint: tuple[Measure, ...] = BEFORE
    tuned: tuple[Measure, ...] = AFTER
    along: tuple[Measure, ...] = ()
    points: tuple[int, ...] = ()
    """Steps of fine-tuning at which those along it are taken, increasing."""

    @classmethod
    def of(cls, measures: Iterable[Measure], finetune_steps: int, points: Sequence[int] | None = None) -> Measuring:
        """Sort measures by their places.

        Args:
          measures: beside the losses.
          finetune_steps: K.
          points: steps along fine-tuning, from 0 to K; by default 0 and `POINTS` more, evenly in the logarithm up to K.

        Raises:
          InvalidInput: a name that two measures have, points that do not increase or lie beyond K.
        """
        by_place: dict[At, list[Measure]] = {"checkpoint": [*BEFORE], "tuned": [*AFTER], "along": []}
        for measure in named_once((*BEFORE, *AFTER, *named_once(measures)))[len(BEFORE) + len(AFTER) :]:
            by_place[measure.at].append(measure)
        if not by_place["along"]:
            require(points is None, "finetune_points", points, "none where no measure is taken along fine-tuning")
            return cls(tuple(by_place["checkpoint"]), tuple(by_place["tuned"]))
        if points is None:
            spaced = (
                np.geomspace(1, max(finetune_steps, 1), POINTS).round().astype(int)[: POINTS * (finetune_steps > 0)]
            )
            points = np.unique([0, *spaced]).tolist()
        require(np.ndim(points) == 1, "finetune_points", points, "a list of steps")
        points = np.asarray(points).tolist()  # whatever library's integers they are
        for point in points:
            require_integer("finetune_points", point, at_least=0, at_most=finetune_steps)
        increasing = len(points) > 0 and all(np.diff(points) > 0)
        require(increasing, "finetune_points", tuple(points), "strictly increasing steps")
        checkpoint, tuned, along = (tuple(by_place[at]) for at in PLACES)
        return cls(checkpoint, tuned, along, tuple(map(int, points)))

    @property
    def all(self) -> tuple[Measure, ...]:
        """At all places."""
        return (*self.checkpoint, *self.tuned, *self.along)

    @property
    def own(self) -> tuple[Measure, ...]:
        """Those beside the losses of every sweep."""
        return tuple(measure for measure in self.all if measure not in {*BEFORE, *AFTER})

    def identity(self) -> dict[str, Any]:
        """All that decides the values, for fingerprints."""
        return {"points": list(self.points), **{measure.name: measure.identity() for measure in self.own}}


USUAL = Measuring()


def formed_bytes(jaxpr: Any) -> int:
    """Of everything that the operations of a program make, those of its parts included."""
    formed = 0
    for equation in jaxpr.eqns:
        formed += sum(math.prod(made.aval.shape) * made.aval.dtype.itemsize for made in equation.outvars)
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                formed += formed_bytes(inner) if hasattr(inner, "eqns") else 0
    return formed
