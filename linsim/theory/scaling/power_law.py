"""Tasks whose strengths fall as a power, models that learn the first N of their modes, and the clock of a mode.

sigma_i = i^(-a), i = 1, 2, ... without end; L aligned balanced layers of width N on whitened inputs, each mode from the
share e = s_0 / sigma_i. Its share u of sigma_i then depends on x = sigma_i^(2 - 2/L) D alone, D the flow time:
du/dx = 2 L u^(2 - 2/L) (1 - u), by Saxe et al. 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit, zeta

from linsim.errors import LARGEST, numbers, require, require_integer, require_number

Values = Float[np.ndarray, "..."]

MOST_MODES = 10**6
_STEP, _DONE = 0.02, 40.0  # of log-odds: the spline errs by 1e-10, and 1 - u is e^-40 at the end
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


@dataclass(frozen=True)
class PowerLaw:
    """sigma_i = i^(-a), learned by L layers from e sigma_i."""

    exponent: float
    """a > 1/2: below, what is not learned is no finite sum."""
    start: float = 1e-3
    """e in (0, 1/2], of every mode."""
    depth: int = 2
    """L from 1 to 100."""

    def __post_init__(self) -> None:
        require_number("exponent", self.exponent, above=0.5, at_most=100)
        require_number("start", self.start, at_least=1e-12, at_most=0.5)
        require_integer("depth", self.depth, at_least=1, at_most=100)

    @property
    def clock(self) -> float:
        """b = a (2 - 2/L): mode i is learned by D ~ i^b."""
        return self.exponent * (2 - 2 / self.depth)

    @property
    def gain(self) -> float:
        """2 a - 1: what N modes leave is N^(1 - 2 a) / (2 a - 1)."""
        return 2 * self.exponent - 1

    @property
    def rise(self) -> float:
        """x at which half of a mode is learned; ln(1/e - 1)/4 of two layers."""
        return float(self._curve[0][np.searchsorted(self._curve[1], 0.0)])

    @property
    def learned(self) -> float:
        """x from which on 1 - u is below e^-40."""
        return float(self._curve[0][-1])

    def strengths(self, modes: int) -> Float[np.ndarray, " modes"]:
        """sigma_1 ... sigma_N."""
        require_integer("modes", modes, at_least=1, at_most=MOST_MODES)
        return np.arange(1, modes + 1, dtype=np.float64) ** -self.exponent

    def missing(self, x: ArrayLike) -> Values:
        """1 - u(x), to 1e-9.

        Args:
          x: sigma^(2 - 2/L) D >= 0, any shape.
        """
        clock = np.asarray(numbers("x", x, at_least=0, most=LARGEST), np.float64)
        odds = np.log(self.start / (1 - self.start))
        if self.depth == 2:
            return np.asarray(expit(-odds - 4 * np.minimum(clock, self.learned * 4)))
        told = np.asarray(self._spline(np.minimum(clock, self.learned)))
        later = 2 * self.depth * np.clip(clock - self.learned, 0, 150)
        return np.asarray(expit(-told - later))

    def beyond(self, sizes: ArrayLike) -> Values:
        """sum over i > N of sigma_i^2: the loss that no model of N modes can lower."""
        return np.asarray(zeta(2 * self.exponent, np.asarray(sizes, np.float64) + 1))

    def integral(self, power: float, of: str, low: ArrayLike = 0.0) -> Values:
        """Integral from low to infinity of x^(power - 1) f(x), f what is missing squared, or its rise.

        Args:
          power: > 0.
          of: "missing" for f = (1 - u)^2, or "learning" for f = du/dx.
          low: >= 0, any shape.
        """
        require(of in ("missing", "learning"), "of", of, "missing or learning")
        start = np.maximum(np.asarray(numbers("low", low, at_least=0, most=LARGEST), np.float64), _HEAD)
        ends = np.log(np.maximum(self.learned, start))
        edges = np.log(start)[..., None] + (ends - np.log(start))[..., None] * np.linspace(0, 1, _PANELS + 1)
        half = np.diff(edges, axis=-1)[..., None] / 2
        z = np.exp(edges[..., :-1, None] + half * (_NODES + 1))
        left = self.missing(z)
        share = (1 - left) ** (2 - 2 / self.depth)
        values = left**2 if of == "missing" else 2 * self.depth * share * left
        body = np.sum(half * _WEIGHTS * z**power * values, axis=(-2, -1))
        head = np.where(np.asarray(low) > 0, 0.0, _HEAD**power / power * (1 - self.start) ** 2 * (of == "missing"))
        return np.asarray(body + head)

    @cached_property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """x over log-odds y of u, by dx/dy = u^(2/L - 1) / 2 L."""
        first = np.log(self.start / (1 - self.start))
        y = first + _STEP * np.arange(int((_DONE - first) / _STEP) + 1)
        inner = y[:-1, None] + _STEP * (_NODES + 1) / 2
        cells = np.sum(_WEIGHTS * expit(inner) ** (2 / self.depth - 1), axis=1) * _STEP / (4 * self.depth)
        return np.concatenate([[0.0], np.cumsum(cells)]), y

    @cached_property
    def _spline(self) -> CubicHermiteSpline:
        x, y = self._curve
        return CubicHermiteSpline(x, y, 2 * self.depth * expit(y) ** (1 - 2 / self.depth))


_PANELS = 96
_HEAD = 1e-9
"""x up to which nothing has happened: (1 - u)^2 is that of the start."""
