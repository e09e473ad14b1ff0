"""Averages of weights: over time, which delays modes, and of a checkpoint with what it was fine-tuned to."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import hyp2f1

from linsim.errors import LARGEST, SMALLEST, numbers, require_together

_SHORT = 20.0
"""b from which on horizons are short."""

Numbers = Float[np.ndarray, "..."]


def averaged_mode(start: ArrayLike, target: ArrayLike, time: ArrayLike, horizon: ArrayLike) -> Numbers:
    """Strength of a mode in the exponential average of weights, dm/dt = (w - m)/tau_e from m(0) = w_0, squared.

    With x = e^(4 sigma t)/(sigma/s_0 - 1), an average over an endless past is M(t) = sqrt(sigma x) F(x)/(1 + 2 sigma
    tau_e), F = 2F1(1/2, b; b + 1; -x), b = 1/2 + 1/(4 sigma tau_e), and m(t) = M(t) + (w_0 - M(0)) e^(-t/tau_e). Two
    balanced layers.

    Args:
      start: s_0 in (0, sigma).
      target: sigma > 0.
      time: t >= 0, learning rate x steps.
      horizon: tau_e > 0 likewise, at most 1e4/sigma; of a factor beta a step, eta/(1 - beta). All broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> averaged_mode(0.01, 1.0, [1.0, 2.0, 8.0], horizon=0.5).round(3)
      array([0.114, 0.697, 1.   ])

    Source: re-derived.
    """
    first = np.asarray(numbers("start", start, at_least=SMALLEST, most=1e30), np.float64)
    sigma = np.asarray(numbers("target", target, at_least=SMALLEST, most=1e30), np.float64)
    later = np.asarray(numbers("time", time, at_least=0, most=LARGEST), np.float64)
    tau = np.asarray(numbers("horizon", horizon, at_least=1e-30, most=1e30), np.float64)
    require_together(start=first, target=sigma, time=later, horizon=tau)
    numbers("target * horizon", sigma * tau, at_least=SMALLEST, most=1e4)
    first = np.asarray(numbers("start / target", first / sigma, at_least=SMALLEST, most=1 - 1e-12)) * sigma
    full = np.minimum(later, 150 / sigma)  # by then w is at its end, and the average goes there by itself
    grown = np.exp(4 * sigma * full) / (sigma / first - 1)
    then, before = (_endless(sigma, tau, np.asarray(size)) for size in (grown, 1 / (sigma / first - 1)))
    mean, end = then + (np.sqrt(first) - before) * np.exp(-full / tau), np.sqrt(sigma)
    return np.asarray((end - (end - mean) * np.exp((full - later) / tau)) ** 2)


def average_delay(target: ArrayLike, horizon: ArrayLike) -> Numbers:
    """ln(1 + 2 sigma tau_e)/(2 sigma), by which averaged weights are behind while a mode grows from little.

    The least delay at any level: at half of the target it is more, in the limit of long horizons 1.23 tau_e.

    Args:
      target: sigma > 0.
      horizon: tau_e >= 0, learning rate x steps. Both broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> average_delay(1.0, [0.5, 2.0]).round(3)
      array([0.347, 0.805])

    Source: re-derived.
    """
    sigma = np.asarray(numbers("target", target, at_least=SMALLEST, most=LARGEST), np.float64)
    tau = np.asarray(numbers("horizon", horizon, at_least=0, most=LARGEST), np.float64)
    require_together(target=sigma, horizon=tau)
    return np.asarray(np.log1p(2 * sigma * tau) / (2 * sigma))


def interpolated(pretrain: ArrayLike, finetune: ArrayLike, share: ArrayLike) -> Numbers:
    """s = ((1 - a) sqrt(sigma) + a sqrt(sigma_ft))^2, modes of weights between a checkpoint and its fine-tuned ones.

    Both losses are on their bound, sqrt L_pre + sqrt L_ft = ||A_ft - A_pre||, at every share iff all modes that moved
    share sigma_ft/sigma: then s is on a straight line. Two aligned balanced layers, both tasks learned in full.

    Args:
      pretrain: sigma >= 0.
      finetune: sigma_ft >= 0 of the same modes, where fine-tuning ended.
      share: a from 0, the checkpoint, to 1. All broadcast.

    Raises:
      InvalidInput: a number outside its domain, shapes that do not broadcast.

    Example:
      >>> interpolated([1.0, 1.0], [4.0, 0.0], 0.5)
      array([2.25, 0.25])

    Source: re-derived.
    """
    before = np.asarray(numbers("pretrain", pretrain, at_least=0, most=LARGEST), np.float64)
    after = np.asarray(numbers("finetune", finetune, at_least=0, most=LARGEST), np.float64)
    part = np.asarray(numbers("share", share, at_least=0, most=1.0), np.float64)
    require_together(pretrain=before, finetune=after, share=part)
    return np.asarray(((1 - part) * np.sqrt(before) + part * np.sqrt(after)) ** 2)


def _endless(sigma: np.ndarray, tau: np.ndarray, grown: np.ndarray) -> np.ndarray:
    """M, the average of weights over an endless past.

    F = (1 + x)^(-1/2) 2F1(1/2, 1; b + 1; x/(1 + x)) at short horizons, whose terms (1/2)_n/(b + 1)_n vanish fast.
    """
    order, part = 0.5 + 1 / (4 * sigma * tau), grown / (1 + grown)
    term = total = np.ones(np.broadcast(order, part).shape)
    for n in range(40):  # 1e-15 is left at b = 20
        term = term * (n + 0.5) / (np.maximum(order, _SHORT) + 1 + n) * part
        total = total + term
    near = np.minimum(order, _SHORT)
    shape = np.where(order > _SHORT, total / np.sqrt(1 + grown), hyp2f1(0.5, near, near + 1, -grown))
    return np.asarray(np.sqrt(sigma * grown) / (1 + 2 * sigma * tau) * shape)
