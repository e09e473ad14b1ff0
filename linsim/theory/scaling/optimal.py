"""What is best at one compute C = N D, and what over-training costs and is for: inference at q per unit of size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from linsim.errors import LARGEST, SMALLEST, numbers, require, require_number
from linsim.theory.scaling.laws import continuum, of_depth
from linsim.theory.scaling.power_law import PowerLaw, Values


class Exponents(NamedTuple):
    """Of C, where compute is best spent."""

    size: float
    """N ~ C^(1/(1 + b))."""
    time: float
    """D ~ C^(b/(1 + b))."""
    loss: float
    """L ~ C^(-(2 a - 1)/(1 + b))."""
    ratio: float
    """D/N ~ C^((b - 1)/(1 + b)): data per parameter are constant iff b = 1, at two layers a = 1."""


def exponents(law: PowerLaw) -> Exponents:
    """Exponents of the compute-optimal line, b = a (2 - 2/L).

    Args:
      law: of two layers or more.

    Raises:
      InvalidInput: one layer, of which D grows as a logarithm.

    Example:
      >>> exponents(PowerLaw(1.0))
      Exponents(size=0.5, time=0.5, loss=-0.5, ratio=0.0)

    Source: re-derived; equal proportions are Hoffmann et al. 2022.
    """
    clock = of_depth(law).clock
    return Exponents(1 / (1 + clock), clock / (1 + clock), -law.gain / (1 + clock), (clock - 1) / (1 + clock))


class Optimum(NamedTuple):
    """The compute-optimal line D = x N^b."""

    clock: float
    """x*: a little less than the rise of the weakest mode."""
    scaled_loss: float
    """g(x*) = N^(2 a - 1) L."""


def compute_optimal(law: PowerLaw) -> Optimum:
    """x* of least x^((2 a - 1)/(1 + b)) g(x): the compute-optimal line D = x* N^b of the continuum.

    Args:
      law: of two layers or more.

    Raises:
      InvalidInput: one layer.

    Example:
      >>> [round(compute_optimal(PowerLaw(a)).clock, 3) for a in (0.75, 1.0, 1.5, 2.0)]
      [1.585, 1.538, 1.469, 1.419]

    Source: re-derived.
    """
    of_depth(law)
    x = float(brentq(lambda x: float(inference_share(law, x)), 1e-3 * law.rise, 0.9 * law.learned, xtol=1e-12))
    return Optimum(x, float(continuum(law, x)))


def inference_share(law: PowerLaw, clock: ArrayLike) -> Values:
    """q/D at which D = x N^b is best, where cost is N (D + q): -(2 a - 1) g/(x g') - (1 + b), 0 at x = x*.

    q is inference in units of training, so that it is how much more is spent on inference than on training.
    Beyond the rise it grows as e^(4 L x): no inference makes x large.

    Args:
      law: of two layers or more.
      clock: x > 0, any shape; up to where the last mode is learned to e^-40.

    Returns:
      The share; negative below x*, where no inference is that cheap.

    Raises:
      InvalidInput: a number outside its domain, one layer.

    Example:
      >>> inference_share(PowerLaw(1.0), [1.6, 2.0]).round(2), float(inference_share(PowerLaw(1.0), 3.0).round())
      (array([ 0.37, 12.83]), 25788.0)

    Source: re-derived; cost with inference is Sardana et al. 2024.
    """
    x = np.asarray(numbers("clock", clock, at_least=SMALLEST, most=of_depth(law).learned), np.float64)
    power = law.gain / law.clock
    slope = -power * x**-power * law.integral(power, "missing", x) / law.clock - law.missing(x) ** 2 / law.clock
    return np.asarray(-law.gain * continuum(law, x) / slope - (1 + law.clock))


def clock_of_one_start(exponent: float, start: float, size: ArrayLike) -> Values:
    """b = a (1 - 1/ln(sigma_N/s_0)), to be put in `exponents` where all modes begin at one s_0 and not at one share.

    Then the rise of mode N is N^a ln(sigma_N/s_0)/4: weak modes have less far to go, and D grows slower than N^a. Two
    layers, to first order in 1/ln: exponents of C are within 0.015 from ln = 6 on.

    Args:
      exponent: a > 1/2.
      start: s_0 > 0.
      size: N >= 1 with sigma_N > e s_0, any shape: in the middle of the range that is told.

    Raises:
      InvalidInput: a number outside its domain, modes that are not small in the beginning.

    Example:
      >>> clock = float(clock_of_one_start(1.0, 1e-5, 200))
      >>> round(clock, 3), round(1 / (1 + clock), 3)
      (0.839, 0.544)

    Source: re-derived.
    """
    require_number("exponent", exponent, above=0.5, at_most=100)
    require_number("start", start, at_least=SMALLEST, at_most=1)
    count = np.asarray(numbers("size", size, at_least=1, most=1e6), np.float64)
    way = np.log(count**-exponent / start)
    short = way[way <= 1] if way.ndim else way[None][way[None] <= 1]
    require(short.size == 0, "start", start, "strengths a factor of e or more below those of the weakest mode")
    return np.asarray(exponent * (1 - 1 / way))


class Overtrained(NamedTuple):
    """A model with more data per parameter than compute-optimal, at one training compute."""

    clock: Values
    """x = x* r^((1 + b)/2)."""
    price: Values
    """Its loss over the compute-optimal one, (x/x*)^((2 a - 1)/(1 + b)) g(x)/g(x*)."""


def overtrained(law: PowerLaw, ratio: ArrayLike) -> Overtrained:
    """What data per parameter r times those of the compute-optimal model cost, N D being the same.

    Args:
      law: of two layers or more.
      ratio: r > 0, any shape.

    Raises:
      InvalidInput: a number outside its domain, one layer.

    Example:
      >>> overtrained(PowerLaw(1.0), [1.0, 5.0, 20.0]).price.round(3)
      array([1.   , 2.081, 4.161])

    Source: re-derived.
    """
    times = np.asarray(numbers("ratio", ratio, at_least=1e-6, most=1e12), np.float64)
    best = compute_optimal(law)
    x = best.clock * times ** ((1 + law.clock) / 2)
    price = (x / best.clock) ** (law.gain / (1 + law.clock)) * continuum(law, x) / best.scaled_loss
    return Overtrained(np.asarray(x), np.asarray(price))


class Allocation(NamedTuple):
    """How a cost is best spent."""

    size: float
    """N, no whole number."""
    time: float
    """D."""
    loss: float
    """L in the continuum."""


def allocation(law: PowerLaw, cost: float, inference: float = 0.0) -> Allocation:
    """N and D of least L(N, D) at N (D + q) = C, in the continuum.

    Args:
      law: of two layers or more.
      cost: C > 0.
      inference: q >= 0, in units of flow time.

    Raises:
      InvalidInput: a number outside its domain, one layer.

    Example:
      >>> best, served = allocation(PowerLaw(1.0), 1e4), allocation(PowerLaw(1.0), 1e4, inference=100.0)
      >>> round(best.size, 1), round(best.time, 1), round(served.size, 1), round(served.time, 1)
      (80.6, 124.0, 52.9, 89.0)

    Source: re-derived.
    """
    require_number("cost", cost, at_least=SMALLEST, at_most=LARGEST)
    require_number("inference", inference, at_least=0, at_most=LARGEST)
    best = compute_optimal(law).clock

    def size_at(x: float) -> float:
        """N of x N^(1 + b) (1 + q/D) = C with q/D best at x."""
        share = max(float(inference_share(law, x)), 0.0)
        return float((cost / (x * (1 + share))) ** (1 / (1 + law.clock)))

    def excess(x: float) -> float:
        return float(inference_share(law, x)) * x * size_at(x) ** law.clock - inference

    x = best if inference == 0 else float(brentq(excess, best * (1 - 1e-9), 0.9 * law.learned, xtol=1e-12))
    size = size_at(x)
    return Allocation(size, x * size**law.clock, float(size**-law.gain * continuum(law, x)))
