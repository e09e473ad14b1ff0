"""How modes rise along pre-training: when each is half learned, how fast, and what has begun of the next one by then.

Located in curves over budgets, or in closed form for aligned balanced layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linsim.dynamics.choosing import flow_of
from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.frame import Misaligned, find_frame
from linsim.precision import in_float64
from linsim.problem import Problem

_LOW, _HALF, _HIGH = 0.1, 0.5, 0.9
_LEAST = 4  # budgets within a rise, below which its width is not resolved: three of them still miss by 10 %
_NODES = 200
_BALANCED = 1e-12  # difference of the layers of a mode, relative to the larger one


class Rise(NamedTuple):
    """Of every mode; NaN where it does not happen, or budgets do not show it."""

    half: Float[np.ndarray, "*runs modes"]
    """When half of it is learned: in steps on a curve, in flow time in closed form."""
    width: Float[np.ndarray, "*runs modes"]
    """From a tenth of it to nine tenths, likewise."""
    overlap: Float[np.ndarray, "*runs modes"]
    """Share of the next mode when half of it is learned; NaN for the last."""


@np.errstate(over="ignore", invalid="ignore")  # of runs that diverged
def rise_of(budgets: Int[np.ndarray, " budgets"], shares: Float[np.ndarray, "*runs modes budgets"]) -> Rise:
    """The rises of curves, straight between budgets.

    Args:
      budgets: steps, increasing.
      shares: s_i / sigma_i, modes strongest first.
    """
    low, half, high = (_crossing(budgets, shares, level) for level in (_LOW, _HALF, _HIGH))
    inside = np.sum((budgets >= low[..., None]) & (budgets <= high[..., None]), axis=-1)
    before, weaker = half[..., :-1], shares[..., 1:, :].reshape(-1, len(budgets))
    begun = [np.interp(when, budgets, curve) for when, curve in zip(before.ravel(), weaker, strict=True)]
    overlap = np.full(half.shape, np.nan)
    overlap[..., :-1] = np.where(np.isnan(before), np.nan, np.reshape(begun, before.shape))
    return Rise(half, np.where(inside >= _LEAST, high - low, np.nan), overlap)


@dataclass(frozen=True, eq=False)
class BalancedModes:
    """ds_i/dt = 2 L v_i |s_i|^(2 - 2/L) (sigma_i - s_i): aligned balanced layers, every mode on its own.

    Source: Saxe et al. 2014; with input variances, Gidel et al. 2019.
    """

    depth: int
    """L."""
    starts: Float[np.ndarray, "seeds modes"]
    """s_i(0), in output per input."""
    strengths: Float[np.ndarray, " modes"]
    """sigma_i."""
    variances: Float[np.ndarray, " modes"]
    """v_i, of the inputs along each mode."""

    @classmethod
    @in_float64
    def of(cls, problem: Problem) -> BalancedModes | str:
        """Those of a problem, where its pre-training tends to this flow for small steps; else in words why not."""
        if problem.idealised:
            return "idealised checkpoints jump from stage to stage"
        if isinstance(flow := flow_of(problem), str):
            return flow
        if problem.pretrain.weight_decay is not None:
            return "weight decay is not part of the closed form"
        frame = find_frame(problem)
        if isinstance(frame, Misaligned):
            return frame.reason
        if not frame.of_pretraining:
            return "the singular vectors that all share are not those of the pre-training task"
        chains, modes = np.abs(frame.chains), len(frame.pretrain_strengths)
        if chains.shape[-1] > modes:
            return "weights reach outside the modes of the task"
        off = float(np.max(np.ptp(chains, axis=1))) / max(float(chains.max()), 1e-300)
        if off > _BALANCED:
            return f"the layers of a mode differ by {off:.1e} of the largest"
        return cls(problem.depth, np.prod(frame.chains, axis=1), frame.pretrain_strengths, frame.pretrain_variances)

    def at(self, times: Float[np.ndarray, "..."]) -> Float[np.ndarray, "*times seeds modes"]:
        """s_i at flow times >= 0, which broadcast with (seeds, modes)."""
        drives = self.variances * self.strengths
        return np.asarray(deep_mode_flow(self.starts, drives, self.variances, times, self.depth))

    def rise(self) -> Rise:
        """When, how fast and how far apart the modes rise, strengths being > 0, decreasing; shapes (seeds, modes)."""
        low, half, high = (
            flow_time(self.depth, self.starts, level * self.strengths, self.strengths) / self.variances
            for level in (_LOW, _HALF, _HIGH)
        )
        before = np.roll(half, 1, axis=-1)  # when the mode before is half learned
        overlap = np.roll(self.at(np.nan_to_num(before)) / self.strengths, -1, axis=-1)
        overlap[:, -1] = np.nan
        return Rise(half, high - low, np.where(np.isnan(half), np.nan, overlap))

    def of_modes(self, modes: Int[np.ndarray, " kept"]) -> BalancedModes:
        """Some of the modes, in the order given."""
        return BalancedModes(self.depth, self.starts[:, modes], self.strengths[modes], self.variances[modes])


def flow_time(
    depth: int, start: Float[np.ndarray, "..."], end: Float[np.ndarray, "..."], strength: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """t = integral from s_0 to s of ds / [2 L s^(2 - 2/L) (sigma - s)], of `BalancedModes` with unit input variance.

    Gauss-Legendre in log(s / (sigma - s)), along which the integrand is at most exponential: exact to rounding.
    [re-derived]

    Args:
      depth: L.
      start: s_0 > 0.
      end: s < sigma.
      strength: sigma. All but depth broadcast.

    Returns:
      Flow time; NaN where s < s_0.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = (np.log(s / (strength - s))[..., None] for s in (start, end))
        s = np.asarray(strength)[..., None] / (1 + np.exp(-first - (last - first) * (nodes + 1) / 2))
        time = np.sum(weights * s ** (2 / depth - 1), axis=-1) * (last - first)[..., 0] / (4 * depth * strength)
    return np.where(time >= 0, time, np.nan)


def _crossing(budgets: np.ndarray, shares: np.ndarray, level: float) -> np.ndarray:
    """First budget at which curves reach a level, NaN where they start above it or never do."""
    above = shares >= level
    after = np.argmax(above, axis=-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(shares, at[..., None], axis=-1)[..., 0] for at in (before, after))
    found = above.any(axis=-1) & (after > 0)
    part = (level - low) / np.where(found, high - low, 1.0)
    return np.where(found, budgets[before] + part * (budgets[after] - budgets[before]), np.nan)
