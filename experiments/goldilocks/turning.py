"""Where curves of several sizes turn, at which data per parameter that is, and how it goes with size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from linsim.labels import texts
from linsim.theory.turns import locate

from .config import Config
from .modes import Models
from .optima import line

NOISE = "noise"
Order = Literal["rises", "falls", "mixed", "none"]
_BRITTLE = 0.01
_ALIKE = 0.1
"""Of the largest harm: a difference that does not count."""


def named(time: float) -> str:
    """Fine-tuning for a flow time, as a kind of what is done to a checkpoint."""
    return f"T = {time:g}"


def turned(config: Config, models: list[Models]) -> xr.Dataset:
    """Turns of all tasks and sizes under noise and after fine-tuning: flow time, data per parameter, harm."""
    sizes, kinds = np.asarray(config.sizes), [NOISE, *(named(time) for time in config.times)]
    shape = len(kinds), len(models), len(sizes)
    time, ratio, harm = (np.full(shape, np.nan) for _ in range(3))
    for row, each in enumerate(models):
        curves = [each.base + config.price * each.sensitive, *np.moveaxis(each.pretrain, 1, 0)]
        for kind, curve in enumerate(curves):
            steps = np.round(each.times / config.learning_rate).astype(int)
            scale = float(each.spectrum.beyond(np.array([0]))[0])
            turn = locate(steps, curve[:, sizes - 1], scale=scale)
            time[kind, row], harm[kind, row] = turn.steps * config.learning_rate, np.where(turn.harm < 0, 0, turn.harm)
            ratio[kind, row] = time[kind, row] / line(each, sizes)
    dims = ("kind", "task", "size")
    return xr.Dataset(
        {"turn_time": (dims, time), "turn_ratio": (dims, ratio), "harm": (dims, harm)}, {"kind": texts(kinds)}
    )


def turned_matrices(config: Config, found: xr.Dataset) -> xr.Dataset:
    """The same of matrices, with rounding, and of the loss itself on samples."""
    if "matrix_base_loss" not in found:
        return xr.Dataset()
    curves = {NOISE: found["matrix_noisy_loss"]}
    curves |= {named(time): found["matrix_pretrain_after"].sel(finetune_time=time) for time in config.times}
    curves |= {f"{bits} bits": found["matrix_rounded_loss"].sel(bits=bits) for bits in config.matrices.bits}
    if "repeated_loss" in found:
        curves |= {f"n = {size}": found["repeated_loss"].sel(examples=size) for size in config.matrices.examples}
    steps = found["matrix_steps"].values
    scale = float(np.sum(np.arange(1.0, config.matrices.dim + 1) ** (-2 * config.matrices.exponent)))
    parts = []
    for curve in curves.values():
        turn = locate(steps, curve.transpose("matrix_steps", "width", "seed").values, scale=scale)
        parts.append((turn.steps * config.matrices.learning_rate, np.maximum(turn.harm, 0)))
    dims = ("matrix_kind", "width", "seed")
    times, harms = (np.stack(each) for each in zip(*parts, strict=True))
    return xr.Dataset(
        {"matrix_turn_time": (dims, times), "matrix_harm": (dims, harms)}, {"matrix_kind": texts(list(curves))}
    )


def slope(times: Float[np.ndarray, " sizes"], sizes: Float[np.ndarray, " sizes"]) -> float:
    """d ln D*/d ln N over sizes that turn: 0 where flow time decides, 1 where data per parameter do; NaN of one."""
    known = np.isfinite(times)
    return float(np.polyfit(np.log(sizes[known]), np.log(times[known]), 1)[0]) if known.sum() > 1 else np.nan


def order(harm: Float[np.ndarray, " sizes"]) -> Order:
    """How harm goes with size, where some of it is above 1 %."""
    brittle = harm > _BRITTLE
    if not brittle.any():
        return "none"
    counted = np.where(brittle, harm, 0.0)
    steps = np.diff(counted)
    near = _ALIKE * counted.max()
    if (steps >= -near).all():
        return "rises"
    return "falls" if (steps <= near).all() else "mixed"
