"""Checkpoints under different steps that hold equal, or nearly equal, weights: a record of them has no trend there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linsim.monitoring.stored.parameters import digest_of
from linsim.monitoring.trees import leaves_of

NEARLY = 1e-6
"""Distance of weights, relative to their length, below which checkpoints count as nearly equal: a few roundings of
float32."""

_BUCKETS = 64  # the distance is estimated to within 2/64 of its square


@dataclass
class Likeness:
    """Remembers of every checkpoint a digest and a sketch, not its weights."""

    equal: dict[bytes, list[str]] = field(default_factory=dict)
    """Names of checkpoints by the digest of their weights."""
    near: list[tuple[str, str, float]] = field(default_factory=list)
    """Pairs of nearly equal checkpoints, and their relative distance."""
    _sketches: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, tree: Any) -> None:
        """Compare a checkpoint with all before it."""
        arrays = leaves_of(tree)
        alike = self.equal.setdefault(digest_of(arrays), [])
        alike.append(name)
        if len(alike) > 1:
            return
        sketch = _sketch(arrays)
        for other, before in self._sketches.items():
            size = float(np.linalg.norm(before))
            distance = (
                float(np.linalg.norm(sketch - before)) / size if size > 0 and sketch.shape == before.shape else np.inf
            )
            if distance <= NEARLY:
                self.near.append((other, name, distance))
        self._sketches[name] = sketch

    @property
    def told(self) -> list[str]:
        """A line for each group of equal checkpoints."""
        groups = [names for names in self.equal.values() if len(names) > 1]
        return [
            f"{', '.join(names[1:])} hold{'s' * (len(names) == 2)} the same weights as {names[0]}" for names in groups
        ]

    @property
    def told_near(self) -> list[str]:
        """A line for each pair of nearly equal ones."""
        return [
            f"{b} holds nearly the weights of {a}: {distance:.1g} apart, relatively" for a, b, distance in self.near
        ]


def _sketch(arrays: Mapping[str, Any]) -> np.ndarray:
    """Sums of the weights under random signs, the same for every checkpoint, in which distances survive."""
    total = np.zeros(_BUCKETS)
    for number, leaf in enumerate(arrays.values()):
        numbers = np.asarray(leaf).astype(np.float64).ravel()
        signs = np.random.default_rng(number).integers(0, 2, numbers.size, np.int8)
        signed = np.where(signs, numbers, -numbers)
        total += np.pad(signed, (0, -signed.size % _BUCKETS)).reshape(-1, _BUCKETS).sum(axis=0)
    return total
