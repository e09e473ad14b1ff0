"""A price on what is learned: when it turns the loss of models of any size, and which sizes are brittle.

Noise of scale gamma on both layers adds G sum_i s_i, G = gamma^2 (d_in + d_out) (`linsim.theory.prices.noise_price`),
to the loss. On a power law all of it is one function: L_u = G^((2 a - 1)/a) Phi(N G^(1/a), D G).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from linsim.errors import LARGEST, SMALLEST, numbers, require_number
from linsim.theory.scaling.laws import data_limit, loss, of_depth, whole_sizes
from linsim.theory.scaling.power_law import PowerLaw, Values

_GRID = 400  # of log flow time, before the lowest is refined


def loss_under_noise(
    law: PowerLaw, sizes: ArrayLike, times: ArrayLike, price: float
) -> Float[np.ndarray, "times sizes"]:
    """L(N, D) + G sum over i <= N of s_i, a finite sum.

    Args:
      law: of two layers.
      sizes: N, whole numbers >= 1.
      times: D >= 0.
      price: G >= 0.

    Raises:
      InvalidInput: a number outside its domain, another depth.

    Example:
      >>> loss_under_noise(PowerLaw(1.0), [8, 64], [30.0, 1000.0], price=0.05).round(4)
      array([[0.2534, 0.2228],
             [0.2534, 0.2527]])

    Source: re-derived.
    """
    require_number("price", price, at_least=0, at_most=LARGEST)
    base = loss(of_depth(law, 2, 2), sizes, times)
    count, when = whole_sizes(sizes), np.asarray(times, np.float64)
    sigma = law.strengths(int(count.max()))
    learned = sigma * (1 - law.missing(when[:, None] * sigma))
    return np.asarray(base + price * np.cumsum(learned, axis=1)[:, count - 1])


def turning_constant(law: PowerLaw) -> float:
    """D* G = 2 int z^p (1 - u) u' dz / int z^(p - 1) u' dz, p = (2 a - 1)/a, of models that have what noise permits.

    From the flow time D* on what is learned costs more than it gives. It knows nothing of N from about 1.5 n_G on,
    n_G = G^(-1/a) >> 1, and is 3 to 8 % less at n_G: critical is flow time, and data per parameter at the turn fall as
    1/N. At a = 1 it is (ln(1/e) - 1 + e)/(4 (1 - e)):
    with e = e^(-2 tau) it grows as tau/2, less a fourth.

    Args:
      law: of two layers.

    Raises:
      InvalidInput: another depth.

    Example:
      >>> [round(turning_constant(PowerLaw(a)), 3) for a in (0.75, 1.0, 1.5, 2.0)]
      [1.515, 1.479, 1.437, 1.415]

    Source: re-derived.
    """
    limit = data_limit(of_depth(law, 2, 2))
    sensitive = law.integral(limit.exponent, "learning") / law.clock
    return float(limit.exponent * limit.amplitude / sensitive)


def useful_size(law: PowerLaw, price: ArrayLike) -> Values:
    """n_G = G^(-1/a), the modes stronger than G: larger models learn what noise does not permit.

    Args:
      law: of two layers.
      price: G > 0, any shape.

    Raises:
      InvalidInput: a number outside its domain, another depth.

    Example:
      >>> useful_size(PowerLaw(1.5), [0.001, 0.05]).round(1)
      array([100. ,   7.4])

    Source: re-derived.
    """
    cost = np.asarray(numbers("price", price, at_least=SMALLEST, most=LARGEST), np.float64)
    return np.asarray(cost ** (-1 / of_depth(law, 2, 2).exponent))


class Brittleness(NamedTuple):
    """What longer pre-training does to models of several sizes under noise."""

    time: Values
    """D* of the least loss."""
    harm: Values
    """Loss at D without end over the least, less 1."""
    excess: Values
    """The difference; G^2/4 of a single mode."""


def brittleness(law: PowerLaw, sizes: ArrayLike, price: float) -> Brittleness:
    """Where the loss under noise turns, and by how much it is above its least in the end, of models of N modes.

    Up to n_G the turn is that of the weakest mode, D* = N^a ln[(1/e - 1)(2 sigma_N/G - 1)]/4 of
    `linsim.theory.prices.turning_time`, and harm is next to nothing; from there on D* = `turning_constant`/G, and harm
    grows with N.

    Args:
      law: of two layers.
      sizes: N, whole numbers >= 1.
      price: G in (0, 1).

    Raises:
      InvalidInput: a number outside its domain, another depth.

    Example:
      >>> told = brittleness(PowerLaw(1.0), [10, 100, 1000], price=0.01)
      >>> told.time.round(), told.harm.round(4)
      (array([ 24., 137., 148.]), array([0.0004, 0.0149, 0.2502]))

    Source: re-derived.
    """
    require_number("price", price, above=0, below=1)
    count = whole_sizes(sizes)
    grid = np.geomspace(0.05, 2 * law.learned, _GRID) * of_depth(law, 2, 2).rise
    grid = np.unique(np.concatenate([grid, np.geomspace(0.01, 20, _GRID) / price]))
    curves = loss_under_noise(law, count, grid, price)
    last = law.beyond(count) + price * np.cumsum(law.strengths(int(count.max())))[count - 1]
    time, least = np.empty(len(count)), np.empty(len(count))
    for at, (size, curve) in enumerate(zip(count, curves.T, strict=True)):
        best = int(np.argmin(curve))
        ends = np.log(grid[[max(best - 1, 0), min(best + 1, len(grid) - 1)]])

        def lost(log_time: float, size: int = int(size)) -> float:
            return float(loss_under_noise(law, [size], [np.exp(log_time)], price)[0, 0])

        found = minimize_scalar(lost, bounds=tuple(ends), method="bounded", options={"xatol": 1e-9})
        time[at], least[at] = np.exp(found.x), min(float(found.fun), float(curve[best]))
    return Brittleness(time, last / least - 1, last - least)
