"""What claims on scaling are held against: modes integrated one by one, and their losses summed, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from linsim.claims.claim import PlainProblem
from linsim.theory.scaling.power_law import PowerLaw

_FAR = 3000
"""Terms, after which half a step less is what an integral takes: 1e-8 of a sum is left."""


def law_of(problem: PlainProblem) -> PowerLaw:
    """The law of a problem."""
    return PowerLaw(problem["exponent"], problem["start"], problem.get("depth", 2))


def missing(start: float, depth: int, clocks: Any) -> np.ndarray:
    """1 - u at clocks x, of du/dx = 2 L u^(2 - 2/L) (1 - u), integrated in the log-odds of u."""
    flat, back = np.unique(np.ravel(clocks), return_inverse=True)

    def speed(_: float, odds: np.ndarray) -> np.ndarray:
        return 2 * depth * (1 + np.exp(-odds)) ** (2 / depth - 1)

    odds = [np.log(start / (1 - start))]
    told = solve_ivp(speed, (0.0, float(flat[-1]) + 1e-9), odds, t_eval=flat, method="DOP853", rtol=1e-10, atol=1e-12)
    return np.asarray((1 / (1 + np.exp(np.minimum(told.y[0], 700.0))))[back].reshape(np.shape(clocks)))


def summed(problem: PlainProblem, size: int, time: float, price: float = 0.0) -> float:
    """L(N, D) and a price on what is learned: every mode integrated, and the tail."""
    a, depth = problem["exponent"], problem.get("depth", 2)
    modes = np.arange(1, size + 1, dtype=float)
    sigma = modes**-a
    left = missing(problem["start"], depth, sigma ** (2 - 2 / depth) * time)
    return float(np.sum((sigma * left) ** 2 + price * sigma * (1 - left))) + tail(a, size)


def tail(exponent: float, size: int) -> float:
    """sum over i > N of i^(-2 a)."""
    far = size + _FAR
    rest = np.arange(size + 1, far, dtype=float) ** (-2 * exponent)
    return float(np.sum(rest)) + (far - 0.5) ** (1 - 2 * exponent) / (2 * exponent - 1)


def logistic(start: float, sigma: np.ndarray, times: np.ndarray) -> np.ndarray:
    """1 - u of two layers, over times and modes."""
    return np.asarray(1 / (1 + start / (1 - start) * np.exp(np.minimum(4 * np.multiply.outer(times, sigma), 700.0))))
