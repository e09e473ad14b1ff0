"""Modes under cross-entropy with one sigmoid an output: when they are learned, unlearned, harm, and what noise costs.

Two balanced layers carry a logit s = w_1 w_2 with w_1 = w_2, the loss of a mode is ln(1 + e^(-s)) with hard labels and
its distance from a label sigmoid(a) with soft ones, without any factor. A context that is met with probability p has p
times the flow time. With one-hot contexts and diagonal layers each output is such a mode.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import exp1, expi, expit

from linsim.errors import LARGEST, SMALLEST, numbers, require, require_together

HALVINGS = 120
"""Of a bracket in ln s: after 60 it is as narrow as rounding, from whatever start."""

_LARGEST = 690.0
"""A logit, whose exponential is a number still."""
_LEAST_CONFIDENT, _MOST_CONFIDENT = 1e-6, 600.0

Numbers = Float[np.ndarray, "..."]
_Bound = Numbers | np.floating


def hard_label_mode(start: ArrayLike, time: ArrayLike) -> Numbers:
    """s(t) of ds/dt = 2 s / (1 + e^s), the margin of a mode with a hard label: ln s + Ei(s) grows by 2 t.

    It grows for ever, as ln(2 t ln 2t): there is no target.

    Args:
      start: s_0 > 0.
      time: t >= 0, flow time. Both broadcast.

    Returns:
      s, up to 690.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> hard_label_mode(0.01, [0.0, 5.0, 100.0]).round(3)
      array([0.01 , 0.864, 6.987])

    Source: re-derived.
    """
    first, later = _mode(start, time)
    goal = _learned(first) + 2 * later
    low = np.log(first)
    return _solved(_learned, goal, low, np.minimum(low + later, np.log(_LARGEST)))  # ds/dt < s


def flipped_mode(start: ArrayLike, time: ArrayLike) -> Numbers:
    """s(T) of ds/dt = -2 s / (1 + e^(-s)), a margin that a flipped label asks to unlearn: ln s - E1(s) falls by 2 T.

    The loss that fine-tunes, ln(1 + e^s), stays above ln 2: a balanced mode never changes its sign.

    Args:
      start: s_0 > 0.
      time: T >= 0, flow time. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> flipped_mode([1.0, 4.0, 16.0], 1.0).round(3)
      array([0.282, 0.755, 2.243])

    Source: re-derived.
    """
    first, later = _mode(start, time)
    goal = _unlearned(first) - 2 * later
    high = np.log(first)
    return _solved(_unlearned, goal, high - 2 * later, high)  # ds/dt > -2 s


def overshoot_threshold(logit: ArrayLike) -> Numbers:
    """r*(a): a mode learned to its label sigmoid(a) and fine-tuned to the logit r a is harm iff r > r*.

    It is what solves ln(1 + e^(r a)) - sigmoid(a) r a = ln 2, where the loss is that of a mode that was never learned:
    2 + a^2/6 for small a, as squared error has 2, and ln 2 (1 + e^a)/a for a confident one.

    Args:
      logit: a, with 0 < |a| <= 600.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> overshoot_threshold([0.1, 1.0, 5.0]).round(3)
      array([ 2.002,  2.179, 20.713])

    Source: re-derived.
    """
    size = np.abs(np.asarray(numbers("logit", logit, most=_MOST_CONFIDENT), np.float64))
    least = float(size.min())
    require(least >= _LEAST_CONFIDENT, "logit", f"one of size {least:.3g}", f"numbers of size >= {_LEAST_CONFIDENT:g}")
    highest = np.log(4 + 2 * np.exp(size) / size)
    return _solved(lambda ratio: _above_zero(size, ratio), np.zeros_like(size), np.zeros_like(size), highest)


def fisher_of_mode(logit: ArrayLike) -> Numbers:
    """2 s p (1 - p) with p = sigmoid(s), the trace of the Fisher matrix over both weights of a balanced mode.

    Noise of scale gamma on both costs gamma^2 / 2 times it, to second order. It is largest at `FISHER_PEAK`, and then
    vanishes: with hard labels sensitivity is not progressive.

    Args:
      logit: s >= 0.

    Raises:
      InvalidInput: a number outside its domain.

    Example:
      >>> fisher_of_mode([0.0, FISHER_PEAK, 10.0]).round(4)
      array([0.    , 0.4477, 0.0009])

    Source: re-derived.
    """
    size = np.asarray(numbers("logit", logit, at_least=0), np.float64)
    return np.asarray(2 * size * expit(size) * expit(-size))


FISHER_PEAK = 1.5434046384182085
"""s with s tanh(s/2) = 1."""


def _mode(start: ArrayLike, time: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    numbers("start", start, at_least=SMALLEST, most=_LARGEST)
    numbers("time", time, at_least=0, most=LARGEST)
    require_together(start=start, time=time)
    first, later = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(time, np.float64))
    return first, later


def _solved(rising: Callable[[Numbers], Numbers], goal: _Bound, low: _Bound, high: _Bound) -> Numbers:
    """Where a rising function meets its goal, by halving a bracket of the logarithm."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = rising(np.exp(middle)) < goal
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray(np.exp((low + high) / 2))


def _learned(logit: _Bound) -> np.ndarray:
    return np.asarray(np.log(logit) + expi(logit))


def _unlearned(logit: _Bound) -> np.ndarray:
    return np.asarray(np.log(logit) - exp1(logit))


def _above_zero(logit: _Bound, ratio: _Bound) -> np.ndarray:
    """Loss at r a above that at 0, divided by a^2 r: without the difference of near numbers at small a."""
    reached = logit * ratio
    large = np.logaddexp(0, -reached) - np.log(2) + reached * expit(-logit)
    # ln cosh(x/2) - tanh(a/2) x/2, the same, of which both parts are squares
    half = reached / 2
    small = np.log1p(2 * np.sinh(np.minimum(half, 1.0) / 2) ** 2) - np.tanh(logit / 2) * half
    return np.asarray(np.where(half < 1, small, large))
