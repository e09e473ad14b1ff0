"""Sharpness-aware minimisation, SAM: from which starts it never begins to learn, and what label noise makes of it.

Its step is eta times the gradient at w + rho g / ||g||. Two layers, inputs whitened, eta -> 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from linsim.errors import LARGEST, SMALLEST, numbers, require, require_integer, require_number

Modes = Float[np.ndarray, " modes"]


class TrappingStart(NamedTuple):
    """Weights w_0 = sqrt(s_0) of all modes alike, between which it depends on the spectrum whether any is learned."""

    least: float
    """Below it no mode ever leaves 0."""
    most: float
    """Above it all modes grow."""


def trapping_start(strengths: ArrayLike, radius: float) -> TrappingStart:
    """rho sigma_min / (sqrt 2 ||sigma||) and rho sigma_max / (sqrt 2 ||sigma||), where SAM on all data traps its start.

    Near 0 a mode grows at 2 sigma_i (1 - sigma_i rho / (sqrt 2 ||sigma o w||)). Of one mode both are rho / sqrt 2, of m
    equal ones rho / sqrt(2 m). Aligned balanced layers that begin alike, w_0^2 << sigma_min, rho^2 < 2 sigma_min:
    with a larger radius a trapped mode stays at (rho / sqrt 2 - sqrt sigma)^2.

    Args:
      strengths: sigma_i > 0.
      radius: rho > 0, as a length in weights.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> alone, several = trapping_start([1.0], radius=0.1), trapping_start([4.0, 2.0, 1.0, 0.5], radius=0.1)
      >>> round(alone.least, 5), round(alone.most, 5), round(several.least, 5), round(several.most, 5)
      (0.07071, 0.07071, 0.00767, 0.06136)

    Source: re-derived.
    """
    sigma = numbers("strengths", strengths, 1, at_least=SMALLEST, most=LARGEST, sized=True)
    require_number("radius", radius, above=0, at_most=LARGEST)
    shares = radius * sigma / (np.sqrt(2) * np.linalg.norm(sigma))
    return TrappingStart(float(shares.min()), float(shares.max()))


def sharpness_threshold(
    strengths: ArrayLike,
    radius: float,
    label_noise: float,
    batch_size: int,
    sides: tuple[int, int],
    price: float = 0.0,
) -> Modes:
    """s_i = (sigma_i - G/2 - (rho sy / 2) sqrt(2 sqrt(d_in d_out) / (B N)))_+, N = sum s: SAM under label noise.

    The mean length of a minibatch's gradient is 2 sy sqrt(2 sqrt(d_in d_out) N / B) where residuals are below the
    noise: SAM adds rho times as much to the loss, a threshold for all modes that is higher the less is learned. Of two
    roots N the larger one is stable; where there is none every mode is lost. The layers are balanced as
    `label_noise_price` says, for d_in = d_out as usual. To first order in rho / sqrt N and rho / sy, with more than a
    few inputs and outputs: weak modes are a little lower, strong ones higher.

    Args:
      strengths: sigma_i >= 0.
      radius: rho >= 0.
      label_noise: sy >= 0, standard deviation of the noise on each output.
      batch_size: B, examples a step, drawn afresh.
      sides: d_in and d_out.
      price: G of the label noise itself, from `label_noise_price`.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> sharpness_threshold([3.0, 2.0, 1.0, 0.1], 0.3, 1.0, batch_size=4, sides=(8, 8)).round(3)
      array([2.873, 1.873, 0.873, 0.   ])

    Source: re-derived.
    """
    sigma = numbers("strengths", strengths, 1, at_least=0, most=LARGEST, sized=True)
    require_number("radius", radius, at_least=0, at_most=LARGEST)
    require_number("label_noise", label_noise, at_least=0, at_most=LARGEST)
    require_integer("batch_size", batch_size, at_least=1)
    require(len(sides) == 2, "sides", sides, "a pair d_in, d_out")
    for side in sides:
        require_integer("sides", side, at_least=1)
    require_number("price", price, at_least=0, at_most=LARGEST)
    pull = radius * label_noise / 2 * np.sqrt(2 * np.sqrt(sides[0] * sides[1]) / batch_size)
    left = np.maximum(sigma - price / 2, 0.0)
    return np.maximum(left - pull / _root_of_sum(left, pull), 0.0) if pull > 0 else left


def _root_of_sum(strengths: Modes, pull: float) -> float:
    """The largest x = sqrt N with x^2 = sum (sigma_i - c / x)_+; SMALLEST, at which none is left, where there is none.

    With k modes left x^3 - (sum of the k strongest) x + k c = 0, whose largest root is a cosine.
    """
    falling = np.sort(strengths)[::-1]
    sums, counts = np.cumsum(falling), np.arange(1, len(falling) + 1)
    there = sums > 0
    sums, counts, weakest = sums[there], counts[there], falling[there]
    with np.errstate(over="ignore"):
        cosine = -1.5 * counts * pull / sums * np.sqrt(3 / sums)
    real = cosine >= -1
    roots = 2 * np.sqrt(sums / 3) * np.cos(np.arccos(np.maximum(cosine, -1.0)) / 3)
    last = np.append(weakest[1:], 0.0)
    fits = real & (pull < weakest * roots) & (pull >= last * roots * (1 - 1e-12))
    return float(roots[fits].max()) if fits.any() else SMALLEST
