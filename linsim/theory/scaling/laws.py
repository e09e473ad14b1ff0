"""L(N, D): what models of N modes have left of a power law after flow time D, exactly and in the continuum.

In the continuum, sums over modes taken as integrals, L(N, D) = N^(1 - 2 a) g(D N^(-b)), b = a (2 - 2/L): one curve for
all sizes. A sum is below it by half of its last term.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, numbers, require, require_integer
from linsim.theory.scaling.power_law import MOST_MODES, PowerLaw, Values


def loss(law: PowerLaw, sizes: ArrayLike, times: ArrayLike) -> Float[np.ndarray, "times sizes"]:
    """L(N, D) = sum over i <= N of sigma_i^2 (1 - u_i)^2 + sum over i > N of sigma_i^2, with zeta(2 a, N + 1).

    Args:
      law: the task and how it is learned.
      sizes: N, whole numbers >= 1.
      times: D >= 0, learning rate x steps.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> loss(PowerLaw(1.0), [4, 64], [6.0, 96.0]).round(4)
      array([[0.26  , 0.246 ],
             [0.2213, 0.017 ]])

    Source: re-derived from Saxe et al. 2014.
    """
    count, when = whole_sizes(sizes), np.asarray(numbers("times", times, 1, at_least=0, most=LARGEST))
    sigma = law.strengths(int(count.max()))
    left = np.cumsum((sigma * law.missing(when[:, None] * sigma ** (2 - 2 / law.depth))) ** 2, axis=1)
    return np.asarray(left[:, count - 1] + law.beyond(count))


def whole_sizes(sizes: ArrayLike) -> np.ndarray:
    """Sizes as integers; `InvalidInput` for what is none."""
    count = np.asarray(numbers("sizes", sizes, 1, at_least=1, most=MOST_MODES))
    whole = count[count != np.round(count)]
    require(whole.size == 0, "sizes", float(whole[0]) if whole.size else None, f"whole numbers from 1 to {MOST_MODES}")
    return count.astype(np.int64)


def continuum(law: PowerLaw, x: ArrayLike) -> Values:
    """g(x) = 1/(2 a - 1) + x^(-p) K(x), K(x) = (1/b) int_x^inf z^(p - 1) (1 - u(z))^2 dz, p = (2 a - 1)/b.

    Args:
      law: of two layers or more: one layer learns all modes at one time.
      x: D N^(-b) > 0, any shape.

    Raises:
      InvalidInput: a number outside its domain, one layer.

    Example:
      >>> continuum(PowerLaw(1.0), [0.5, 1.5, 5.0]).round(4)
      array([2.9607, 1.0889, 1.    ])

    Source: re-derived.
    """
    clock = np.asarray(numbers("x", x, above=0, most=LARGEST), np.float64)
    power = of_depth(law).gain / law.clock
    return np.asarray(1 / law.gain + clock**-power * law.integral(power, "missing", clock) / law.clock)


def corrected(law: PowerLaw, sizes: ArrayLike, times: ArrayLike) -> Values:
    """N^(1 - 2 a) [g(x) - u (2 - u)/(2 N)], x = D N^(-b), u = u(x): the continuum with its first correction.

    What is left is of the order of N^(-2): 4e-6 at N = 256.

    Args:
      law: of two layers or more.
      sizes: N >= 1.
      times: D > 0. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, one layer.

    Example:
      >>> sizes = np.array([4, 16, 64])
      >>> (sizes * np.diag(loss(PowerLaw(1.0), sizes, 1.5 * sizes))).round(4)
      array([1.0402, 1.0744, 1.0851])
      >>> (sizes * corrected(PowerLaw(1.0), sizes, 1.5 * sizes)).round(4)
      array([1.0274, 1.0735, 1.0851])

    Source: re-derived, by Euler and Maclaurin.
    """
    count = np.asarray(numbers("sizes", sizes, at_least=1, most=MOST_MODES), np.float64)
    clock = np.asarray(numbers("times", times, above=0, most=LARGEST), np.float64) * count**-law.clock
    left = law.missing(clock)
    return np.asarray(count**-law.gain * (continuum(law, clock) - (1 - left**2) / (2 * count)))


class DataLimit(NamedTuple):
    """L(infinity, D) = K D^(-p) of models without end."""

    amplitude: float
    """K."""
    exponent: float
    """p = (2 a - 1)/b."""


def data_limit(law: PowerLaw) -> DataLimit:
    """K = (1/b) int_0^inf z^(p - 1) (1 - u(z))^2 dz and p = (2 a - 1)/b.

    Args:
      law: of two layers or more.

    Raises:
      InvalidInput: one layer.

    Example:
      >>> limit = data_limit(PowerLaw(1.0))
      >>> round(limit.amplitude, 4), limit.exponent
      (1.4772, 1.0)

    Source: re-derived.
    """
    power = of_depth(law).gain / law.clock
    return DataLimit(float(law.integral(power, "missing") / law.clock), power)


def of_depth(law: PowerLaw, least: int = 2, most: int | None = None) -> PowerLaw:
    """The law, of a depth that a closed form is for."""
    require_integer("depth", law.depth, at_least=least, at_most=most)
    return law
