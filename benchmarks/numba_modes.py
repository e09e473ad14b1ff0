"""Peers of the solver `modes` in Numba: lanes on threads, modes in vectors, several steps in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

PASSES = (1, 4, 8, 16)
"""Steps that a mode makes each time its numbers are in registers; what is best depends on the machine."""


@numba.njit(inline="always", fastmath=True)
def _two(x: Any, y: Any, _: Any, slope: Any, aim: Any) -> Any:
    excess = slope * (x * y - aim)
    return x - excess * y, y - excess * x, _


@numba.njit(inline="always", fastmath=True)
def _two_in_own_unit(x: Any, y: Any, _: Any, slope: Any, aim: Any) -> Any:
    excess = x * y - aim
    return x - excess * y, y - excess * x, _


@numba.njit(inline="always", fastmath=True)
def _three(x: Any, y: Any, z: Any, slope: Any, aim: Any) -> Any:
    inner = x * y
    excess = slope * (inner * z - aim)
    pull = excess * z
    return x - pull * y, y - pull * x, z - excess * inner


@numba.njit(inline="always", fastmath=True)
def _three_in_own_unit(x: Any, y: Any, z: Any, slope: Any, aim: Any) -> Any:
    inner = x * y
    excess = inner * z - aim
    pull = excess * z
    return x - pull * y, y - pull * x, z - excess * inner


_STEPS = {(2, False): _two, (2, True): _two_in_own_unit, (3, False): _three, (3, True): _three_in_own_unit}


def contenders(depth: int, passes: Sequence[int] = PASSES) -> dict[str, Callable[..., np.ndarray]]:
    """Name -> loop over (initial chains, rates, strengths, both tasks' strengths and variances, steps).

    Args:
      depth: 2 or 3.
      passes: of `PASSES`.

    Returns:
      Loops that return the final losses, (task, lane).
    """
    return {
        f"{several} steps a pass{', own unit' if own_unit else ''}": _loop(depth, several, own_unit)
        for own_unit in (False, True)
        for several in passes
    }


def _loop(depth: int, several: int, own_unit: bool) -> Callable[..., np.ndarray]:
    step = _STEPS[depth, own_unit]
    third = depth - 1  # of two layers, the second stands in for a third that nothing reads
    power = np.float32(1 / (2 * depth - 2))

    @numba.njit(parallel=True, fastmath=True)
    def loop(
        initial: Any,
        rates: Any,
        strengths: Any,
        before: Any,
        variances_before: Any,
        after: Any,
        variances: Any,
        steps: Any,
    ) -> Any:
        lanes, _, modes = initial.shape
        losses = np.empty((2, lanes), np.float32)
        for lane in numba.prange(lanes):
            slopes, aims, units = np.empty(modes, np.float32), np.empty(modes, np.float32), np.ones(modes, np.float32)
            first, second, last = initial[lane, 0].copy(), initial[lane, 1].copy(), initial[lane, third].copy()
            for mode in range(modes):
                weight = variances[mode] + strengths[lane]
                product = first[mode] * second[mode]
                if depth == 3:
                    product *= last[mode]
                aims[mode] = (variances[mode] * after[mode] + strengths[lane] * product) / weight
                slopes[mode] = np.float32(2) * rates[lane] * weight
                if own_unit:
                    units[mode] = slopes[mode] ** power
                    aims[mode] *= units[mode] ** np.float32(depth)
                    first[mode] *= units[mode]
                    second[mode] *= units[mode]
                    last[mode] *= units[mode]
            for _ in range(steps // several):
                for mode in range(modes):
                    x, y, z, slope, aim = first[mode], second[mode], last[mode], slopes[mode], aims[mode]
                    for _ in range(several):
                        x, y, z = step(x, y, z, slope, aim)
                    first[mode], second[mode] = x, y
                    if depth == 3:
                        last[mode] = z
            for _ in range(steps % several):
                for mode in range(modes):
                    x, y, z = step(first[mode], second[mode], last[mode], slopes[mode], aims[mode])
                    first[mode], second[mode] = x, y
                    if depth == 3:
                        last[mode] = z
            loss_before = np.float32(0)
            loss_after = np.float32(0)
            for mode in range(modes):
                product = first[mode] * second[mode] / units[mode] ** np.float32(2)
                if depth == 3:
                    product *= last[mode] / units[mode]
                loss_before += variances_before[mode] * (product - before[mode]) ** 2
                loss_after += variances[mode] * (product - after[mode]) ** 2
            losses[0, lane], losses[1, lane] = loss_before, loss_after
        return losses

    return loop
