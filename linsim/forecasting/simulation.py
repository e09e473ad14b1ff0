"""What a network of the prior would have in its table, and what becomes of it: exact, mode by mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.prior import HORIZONS, Networks
from linsim.precision import in_float64
from linsim.theory.turns import LEAST_EXCESS

MARGIN = 0.02
"""Relative rise of the loss after fine-tuning that is called worse."""

_AHEAD = 32  # budgets on which the turn is looked for, from the first of the table to the last horizon
_ROUNDING = 1e-9  # of the zero network's losses, added to every loss: none is 0
_PIECE = 4000  # networks at once


class Simulated(NamedTuple):
    """Tables and what comes of them, over networks."""

    losses: Float[np.ndarray, "columns networks budgets"]
    """As they are measured, with floors and errors; NaN beyond the last budget."""
    worse: Bool[np.ndarray, "networks horizons"]
    """Whether the loss after fine-tuning from 2, 4, 8 B is materially above that from B."""
    turn: Float[np.ndarray, " networks"]
    """ln(turn / B), infinite where none is material within 8 B."""


@in_float64
def simulate(networks: Networks, seed: int, report: Callable[[int, int], None] | None = None) -> Simulated:
    """Losses of both tasks before and after fine-tuning, at the budgets of the table and on to 8 B.

    ds/dt = 2 L v s^(2 - 2/L) (sigma - s), every mode in closed form (`linsim.mode_flow`); L = sum v (s - sigma)^2.

    Args:
      networks: of the prior.
      seed: of the errors of measurement.
      report: called with (networks done, networks in all).
    """
    parts = []
    for first in range(0, len(networks.depth), _PIECE):
        part = Networks(*(each[first : first + _PIECE] for each in networks))
        parts.append(_simulated(part, np.random.default_rng([seed, first, 21])))
        if report is not None:
            report(min(first + _PIECE, len(networks.depth)), len(networks.depth))
    losses, worse, turn = zip(*parts, strict=True)
    return Simulated(np.concatenate(losses, axis=1), np.concatenate(worse), np.concatenate(turn))


def _simulated(networks: Networks, rng: np.random.Generator) -> Simulated:
    largest, first = networks.largest, np.nanmin(networks.budgets, axis=1)
    filled = np.where(np.isnan(networks.budgets), largest[:, None], networks.budgets)
    share = np.linspace(0, 1, _AHEAD)
    ahead = first[:, None] * (HORIZONS[-1] * largest / first)[:, None] ** share
    beyond = largest[:, None] * np.asarray([1, *HORIZONS])
    times = np.concatenate([filled, beyond, ahead], axis=1)
    exact = np.asarray(losses_of(networks, times))
    count, known = filled.shape[1], ~np.isnan(networks.budgets)
    errors = networks.noise[:, None] * rng.standard_normal((len(COLUMNS), *known.shape))
    measured = np.where(known, exact[..., :count] * np.exp(errors), np.nan)
    after, zero = exact[COLUMNS.index("pretrain_loss_after")], np.sum(networks.variances * networks.strengths**2, 1)
    worse, turn = outcome(after[:, count : count + 4], ahead / largest[:, None], after[:, count + 4 :], zero)
    return Simulated(measured, worse, turn)


def outcome(
    ahead: Float[np.ndarray, "runs 4"],
    budgets: Float[np.ndarray, "runs budgets"],
    curve: Float[np.ndarray, "runs budgets"],
    zero: Float[np.ndarray, " runs"],
) -> tuple[Bool[np.ndarray, "runs 3"], Float[np.ndarray, " runs"]]:
    """Whether it is worse at 2, 4, 8 B by more than the margin, and ln(turn / B), infinite where none is material.

    Args:
      ahead: loss after fine-tuning from B, 2 B, 4 B, 8 B.
      budgets: over B, up to 8.
      curve: loss after fine-tuning from these.
      zero: loss of the zero network; a rise below 0.1 % of it does not count.
    """
    rise = ahead[:, 1:] - ahead[:, :1]
    worse = (rise > MARGIN * ahead[:, :1]) & (rise > LEAST_EXCESS * zero[:, None])
    least, at = curve.min(axis=1), curve.argmin(axis=1)
    excess = curve[:, -1] - least
    material = (excess > MARGIN * least) & (excess > LEAST_EXCESS * zero)
    place = np.log(np.take_along_axis(budgets, at[:, None], axis=1)[:, 0])
    return worse, np.where(material, place, np.inf)


@jax.jit
def losses_of(
    networks: Networks, times: Float[Array | np.ndarray, "networks times"]
) -> Float[Array, "columns networks times"]:
    """Losses of all columns at flow times of pre-training, with their floors and without error."""
    before, after = states_of(networks, times)
    found = []
    for state in (before, after):
        for target, floor in ((networks.strengths, networks.floors[:, 0]), (networks.shifted, networks.floors[:, 1])):
            square = networks.variances[:, None] * (state - target[:, None]) ** 2
            scale = jnp.sum(networks.variances * (networks.strengths**2 + target**2), axis=-1)
            found.append(jnp.sum(square, axis=-1) + floor[:, None] + _ROUNDING * scale[:, None])
    return jnp.stack(found)


def states_of(networks: Networks, times: Float[Array | np.ndarray, "networks times"]) -> tuple[Array, Array]:
    """s of all modes before and after fine-tuning, over (network, time, mode)."""
    start, variance, strengths, shifted = (
        jnp.asarray(each)[:, None]
        for each in (networks.starts, networks.variances, networks.strengths, networks.shifted)
    )
    one = (jnp.asarray(networks.depth) == 1)[:, None, None]
    penalty, length = (jnp.asarray(each)[:, None, None] for each in (networks.penalty, networks.finetune_time))

    def flow(begun: Array, drive: Array, stiffness: Array, time: Array) -> Array:
        single = deep_mode_flow(begun, drive, stiffness, time, 1)
        return jnp.where(one, single, mode_flow(begun, drive, stiffness, time))

    before = flow(start, variance * strengths, variance, jnp.asarray(times)[..., None])
    after = flow(before, variance * shifted + penalty * before, variance + penalty, length)
    return before, after
