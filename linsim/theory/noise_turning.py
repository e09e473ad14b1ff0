"""When pre-training adds more sensitivity to noise than it takes from the loss: the inflection in closed form."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.errors import LARGEST, numbers, require, require_number
from linsim.precision import in_float64
from linsim.theory.prices import modes_loss
from linsim.theory.turning import lowest

_SAMPLES = 2048  # of log time, before the lowest is refined: modes may turn in any order
_FEW = 4  # times at which the curve is looked at afterwards


class NoiseInflection(NamedTuple):
    """The lowest point of the loss under noise along pre-training."""

    time: float
    """Flow time of the lowest loss; NaN where it only falls within the times given."""
    bracket: tuple[float, float]
    """Times between which the loss provably turns; NaN where it does not, or too flatly to tell."""
    loss: float
    """sum_i (sigma_i - s_i)^2 + G s_i + q N^2 there."""
    harm: float
    """Loss at the last time / smallest loss - 1."""


@in_float64
def noise_inflection(
    strengths: Float[np.ndarray, " _"],
    starts: Float[np.ndarray, " _"],
    price: float,
    first: float,
    last: float,
    collective: float = 0.0,
) -> NoiseInflection:
    """The inflection point of pre-training under Gaussian noise on the weights, for any spectrum.

    Two aligned, balanced layers on a whitened task: L(t) = sum_i (sigma_i - s_i(t))^2 + G s_i(t) + q N(t)^2, s_i(t)
    logistic, N = sum_i s_i. At q = 0 each mode turns at its own t* (`turning_time`); the sum has its minimum where the
    slopes cancel. [re-derived]

    Args:
      strengths: sigma_i >= 0.
      starts: s_i(0) >= 0.
      price: G = gamma^2 (d_in + d_out), see `noise_price`.
      first: earliest flow time considered, > 0.
      last: latest, >= first.
      collective: q, see `linsim.theory.prices.NoiseCost`.

    Returns:
      The lowest point; its time and bracket are NaN where the loss only falls.

    Raises:
      InvalidInput: strengths and starts of different shapes, or numbers outside their domains.

    Example:
      >>> found = ls.noise_inflection(ls.power_law(3), np.full(3, 1e-3), price=0.3, first=0.1, last=100.0)
      >>> round(found.time, 3)
      2.844
    """
    strengths = numbers("strengths", strengths, 1, at_least=0, most=LARGEST)
    starts = numbers("starts", starts, 1, at_least=0, most=LARGEST)
    require(strengths.shape == starts.shape, "starts", f"{len(starts)} values", f"{len(strengths)}, one a strength")
    require_number("price", price, at_least=0, at_most=LARGEST)
    require_number("first", first, above=0, at_most=LARGEST)
    require_number("last", last, at_least=first, at_most=LARGEST)
    require_number("collective", collective, at_least=0, at_most=LARGEST)
    first, last = float(first), float(last)
    parts = tuple(jnp.asarray(values, jnp.float64) for values in (strengths, starts, price, collective))

    def loss(log_times: np.ndarray, _: np.ndarray) -> np.ndarray:
        count = len(log_times)
        padded = np.pad(log_times, (0, max(_FEW - count, 0)), mode="edge")  # one program for however few
        return np.asarray(_losses(*parts, padded))[:count]

    grid = np.linspace(np.log(first), np.log(last), _SAMPLES)
    values = loss(grid, np.zeros(0))
    place, value, low, high, certified = (
        each[0] for each in lowest(loss, grid, values[None], 1e-14 * np.sum(strengths**2))
    )
    harm = float(values[-1] / value - 1) if value > 0 else 0.0
    turns = harm > np.sqrt(np.finfo(np.float64).eps) and float(np.exp(place)) < last
    bracket = (float(np.exp(low)), float(np.exp(high)))
    return NoiseInflection(
        float(np.exp(place)) if turns else np.nan,
        bracket if turns and certified else (np.nan, np.nan),
        float(value),
        harm,
    )


@jax.jit
def _losses(strengths: Array, starts: Array, price: Array, collective: Array, log_times: Array) -> Array:
    def loss(log_time: Array) -> Array:
        learned = mode_flow(starts, strengths, 1.0, jnp.exp(log_time))
        return modes_loss(learned, strengths, price) + collective * jnp.sum(learned) ** 2

    return jax.vmap(loss)(log_times)
