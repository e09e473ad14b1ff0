"""Public callables, with wrong values for one or two of their arguments."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.calls import Call, calls
from benchmarks.fuzz.kinds import Kind, chosen, put
from benchmarks.fuzz.wrong import VALUES, fault
from linsim import spectra

_SLOW = 0.05  # of the examples


@cache
def _calls(slow: bool) -> list[Call]:
    return [call for call in calls() if call.slow == slow]


def _attempt(rng: np.random.Generator, folder: Path) -> str | None:
    call = chosen(rng, _calls(rng.random() < _SLOW))
    count = min(len(call.sound), int(rng.integers(1, 3)))
    changes, told = {}, []
    for name in rng.choice([*call.sound], size=count, replace=False):
        label, changes[name] = _value(call.sound[name], rng)
        told.append(f"{name}={label}")
    found = fault(call, **changes)
    return found and f"{call.name}({', '.join(told)}): {found}"


def _value(sound: Any, rng: np.random.Generator) -> tuple[str, Any]:
    """A wrong value, or the right one at another scale, with its name."""
    if rng.random() < 0.4 and isinstance(sound, float | int | np.ndarray) and not isinstance(sound, bool):
        power = int(rng.integers(-300, 300)) if rng.random() < 0.5 else int(rng.integers(-6, 7))
        scaled = sound * 10.0**power if not isinstance(sound, np.ndarray) else _scaled(sound, power)
        return f"its own x 1e{power}", scaled
    label = chosen(rng, [*VALUES])
    return label, VALUES[label]()


def _scaled(sound: np.ndarray, power: int) -> Any:
    with np.errstate(over="ignore"):
        return sound * 10.0**power


def _plant() -> AbstractContextManager[None]:
    """Numbers are taken as they come."""
    return put(spectra, "require_number", lambda *_, **__: None)


KIND = Kind("api", _attempt, _plant)
