"""How sharply modes are learned one after another: measured on curves over budgets, and in closed form."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow

_LOW, _HIGH = 0.1, 0.9
_LEAST = 4  # budgets within a rise, below which its width is not resolved: three of them still miss by 10 %
_NODES = 200


class Rise(NamedTuple):
    """When and how fast a mode is learned, in pre-training steps; NaN where the budgets do not show it."""

    half: Float[np.ndarray, "..."]
    """First budget with half of the mode."""
    width: Float[np.ndarray, "..."]
    """From a tenth of it to nine tenths."""


def rise_of(budgets: Int[np.ndarray, " budgets"], shares: Float[np.ndarray, "... budgets"]) -> Rise:
    """Half-learned budget and width of the rise of curves, straight between budgets.

    Args:
      budgets: steps, increasing.
      shares: s_i / sigma_i along the last axis.
    """
    low, half, high = (_crossing(budgets, shares, level) for level in (_LOW, 0.5, _HIGH))
    inside = np.sum((budgets >= low[..., None]) & (budgets <= high[..., None]), axis=-1)
    return Rise(half, np.where(inside >= _LEAST, high - low, np.nan))


def overlaps(
    budgets: Int[np.ndarray, " budgets"],
    shares: Float[np.ndarray, "... budgets"],
    half: Float[np.ndarray, "..."],
    axis: int,
) -> Float[np.ndarray, "..."]:
    """Share of the next weaker mode when a mode is half learned; NaN for the weakest mode, and where `half` is.

    Args:
      budgets: steps, increasing.
      shares: with budgets along the last axis.
      half: half-learned budgets, the shape of shares without its last axis.
      axis: of the modes, strongest first, in `half`.
    """
    weaker = np.moveaxis(shares, axis, 0)[1:]
    when = np.moveaxis(half, axis, 0)
    found = np.full(when.shape, np.nan)
    found[:-1] = _at(budgets, weaker, when[:-1])
    return np.moveaxis(found, 0, axis)


def theory(
    depth: int,
    strengths: Float[np.ndarray, " modes"],
    variances: Float[np.ndarray, " modes"] | str,
    scales: Float[np.ndarray, " scales"],
    rate: float,
    budgets: Int[np.ndarray, " budgets"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares, half-learned budgets, widths and overlaps of aligned balanced layers under gradient flow.

    ds/dt = 2 L v s^(2 - 2/L) (sigma - s) with the input variance v along the mode. [Saxe et al. 2014]

    Args:
      depth: L.
      strengths: sigma, decreasing.
      variances: v, or in words why there is no closed form; then all is NaN.
      scales: s_0.
      rate: flow time per step.
      budgets: steps.

    Returns:
      Shares of shape (scales, budgets, modes); the other three (scales, modes), with NaN for what never happens.
    """
    shape = len(scales), len(strengths)
    if isinstance(variances, str):
        return (np.full((len(scales), len(budgets), len(strengths)), np.nan), *(np.full(shape, np.nan),) * 3)
    start = np.broadcast_to(scales[:, None], shape)
    low, half, high = (
        flow_time(depth, start, level * strengths, strengths) / variances for level in (_LOW, 0.5, _HIGH)
    )
    # The times of all curves, and after them those at which a mode is half learned, in one call.
    marks = np.broadcast_to(np.nan_to_num(half)[:, None, :], (*shape, len(strengths)))
    times = np.concatenate([np.broadcast_to(rate * budgets, (*shape, len(budgets))), marks], axis=-1)
    with jax.enable_x64(True):
        pulled = (variances * strengths)[:, None]
        modes = deep_mode_flow(start[..., None], pulled, variances[:, None], times, depth)
    shares = np.asarray(modes) / strengths[:, None]
    at_half = np.full(shape, np.nan)
    for mode in range(len(strengths) - 1):
        at_half[:, mode] = shares[:, mode + 1, len(budgets) + mode]
    curves = shares[..., : len(budgets)].transpose(0, 2, 1)
    return curves, half / rate, (high - low) / rate, np.where(np.isnan(half), np.nan, at_half)


def flow_time(
    depth: int, start: Float[np.ndarray, "..."], end: Float[np.ndarray, "..."], strength: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """t = integral from s_0 to s of ds / [2 L s^(2 - 2/L) (sigma - s)], with unit input variance; NaN where s < s_0.

    Gauss-Legendre in log s, where the integrand is at most exponential: exact to rounding. All but depth broadcast.
    """
    start, end, strength = np.broadcast_arrays(start, end, strength)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    span = np.log(end / start)
    s = start[..., None] * np.exp(span[..., None] * (nodes + 1) / 2)
    integrand = s ** (2 / depth - 1) / (2 * depth * (strength[..., None] - s))
    return np.where(span >= 0, np.sum(integrand * weights, axis=-1) * span / 2, np.nan)


def _crossing(budgets: np.ndarray, shares: np.ndarray, level: float) -> np.ndarray:
    """First budget at which curves reach a level, NaN where they start above it or never do."""
    above = shares >= level
    index = np.argmax(above, axis=-1)
    found = above.any(axis=-1) & (index > 0)
    after = np.where(found, index, 1 if shares.shape[-1] > 1 else 0)[..., None]
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(shares, at, axis=-1)[..., 0] for at in (before, after))
    steps = budgets.astype(np.float64)
    gap = np.where(found, high - low, 1.0)
    place = steps[before[..., 0]] + (level - low) / gap * (steps[after] - steps[before])[..., 0]
    return np.where(found, place, np.nan)


def _at(budgets: np.ndarray, shares: np.ndarray, when: np.ndarray) -> np.ndarray:
    """Curves at given budgets, straight between the recorded ones."""
    known = np.nan_to_num(when, nan=float(budgets[0]))
    after = np.clip(np.searchsorted(budgets, known), 1, max(len(budgets) - 1, 1))
    after = np.minimum(after, len(budgets) - 1)
    before = np.maximum(after - 1, 0)
    span = np.where(after > before, budgets[after] - budgets[before], 1)
    part = (known - budgets[before]) / span
    low, high = (np.take_along_axis(shares, at[..., None], axis=-1)[..., 0] for at in (before, after))
    return np.where(np.isnan(when), np.nan, low + part * (high - low))
