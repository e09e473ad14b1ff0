"""Scaling laws as users fit them to a table of losses, by variable projection from many starts.

What is linear in a law, its amplitudes, is solved for at every step with no amplitude below 0; only the exponents and
what stands within logarithms are searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares, nnls

from linsim.errors import (
    LARGEST,
    SMALLEST,
    brief_fields,
    numbers,
    require,
    require_choice,
    require_integer,
    require_kind,
)

Points = Float[np.ndarray, " points"]
Form = Literal["chinchilla", "capacity", "capacity-exponential"]
FORMS: tuple[Form, ...] = ("chinchilla", "capacity", "capacity-exponential")
NEAR = 1.1
"""Times the least error, up to which a fit counts as good as the best."""
_CAPACITY = ("alpha", "beta", "gamma", "delta", "ln c", "ln d", "ln e")
_FLAT = 1e-12


class Table(NamedTuple):
    """Measured losses, a row for each model."""

    sizes: Points
    """N > 0."""
    times: Points
    """D > 0, tokens, steps or flow time."""
    losses: Points
    """L > 0."""

    def kept(self, rows: Any) -> Table:
        """Some of the rows."""
        return Table(*(column[rows] for column in self))


class Fit(NamedTuple):
    """A law with numbers."""

    form: Form
    amplitudes: Float[np.ndarray, " amplitudes"]
    """E, A, B of "chinchilla"; L_0 (or ln L_0) and a of the others."""
    inner: Float[np.ndarray, " inner"]
    """alpha, beta of "chinchilla"; alpha, beta, gamma, delta, ln c, ln d, ln e of the others."""
    error: float
    """Root mean square of the relative error, of ln L for "capacity-exponential"."""

    def __repr__(self) -> str:
        return brief_fields(self)

    def predict(self, sizes: Any, times: Any) -> Float[np.ndarray, "..."]:
        """L at sizes and times, which broadcast."""
        count, when = np.broadcast_arrays(np.log(np.asarray(sizes, float)), np.log(np.asarray(times, float)))
        columns = _columns(self.form, self.inner, count.ravel(), when.ravel())
        told = (columns @ self.amplitudes).reshape(count.shape)
        return np.asarray(np.exp(told) if self.form == "capacity-exponential" else told)


def fit(table: Table, form: Form, starts: int = 16, seed: int = 0) -> list[Fit]:
    """A law of losses over size and data, fitted from several starts; the best first.

    "chinchilla" is L = E + A N^(-alpha) + B D^(-beta). With the capacity C = a N^alpha log2(1 + D^beta/(c (D N)^gamma +
    d D^delta + e)), whose further factor b divides out, "capacity" is L = L_0 - C and "capacity-exponential" is
    L = L_0 e^(-C).

    Args:
      table: of at least 12 rows.
      form: one of the three.
      starts: of the search, drawn evenly over its box.
      seed: of these.

    Returns:
      What each start led to, by error. Several of nearly equal error with other numbers say what is not identified.

    Raises:
      InvalidInput: a table too small or not of numbers > 0, an unknown form, a number outside its domain.

    Example:
      >>> sizes, times = (each.ravel() for each in np.meshgrid(2.0 ** np.arange(4), 3.0 ** np.arange(4)))
      >>> best, *_ = fit(Table(sizes, times, 0.1 + sizes**-0.5 + 2 / times), "chinchilla", starts=4)
      >>> best.amplitudes.round(3), best.inner.round(3)
      (array([0.1, 1. , 2. ]), array([0.5, 1. ]))

    Source: Hoffmann et al. 2022; Ouyang et al. 2026. Variable projection by Golub and Pereyra 1973.
    """
    require_kind("table", table, Table, "a linsim.theory.scaling.fits.Table")
    columns = [
        numbers(f"table.{name}", each, 1, at_least=SMALLEST, most=LARGEST) for name, each in table._asdict().items()
    ]
    alike = len({len(column) for column in columns}) == 1 and len(columns[0]) >= 12
    require(alike, "table", [len(column) for column in columns], "columns of one length, 12 rows or more")
    require_choice("form", form, FORMS)
    require_integer("starts", starts, at_least=1, at_most=10**4)
    require_integer("seed", seed, at_least=0, at_most=2**32 - 1)
    low, high = _box(form)
    drawn = np.random.default_rng(seed).uniform(low, high, (starts, len(low)))
    found = [refit(table, form, start) for start in drawn]
    return sorted(found, key=lambda each: each.error)


def refit(table: Table, form: Form, start: Sequence[float] | np.ndarray) -> Fit:
    """The law that one start leads to, see `fit`."""
    logs = np.log(table.sizes), np.log(table.times)

    def solved(inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _projected(form, _columns(form, inner, *logs), table.losses)

    low, high = _box(form)
    at = np.clip(start, low + 1e-6, high - 1e-6)
    told = least_squares(lambda inner: solved(inner)[1], at, bounds=(low, high), max_nfev=300, x_scale="jac")
    amplitudes, left = solved(told.x)
    return Fit(form, amplitudes, told.x, float(np.sqrt(np.mean(left**2))))


def resampled(table: Table, best: Fit, draws: int, seed: int = 0) -> list[Fit]:
    """The law refitted, from where it is best, to rows drawn with replacement.

    Args:
      table: as it was fitted to.
      best: of `fit`.
      draws: how many.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(table.losses), (draws, len(table.losses)))
    return [refit(table.kept(some), best.form, best.inner) for some in rows]


def explained(predict: Callable[[Any, Any], np.ndarray], table: Table) -> float:
    """R^2 of ln L: 1 less the squared errors over those of the mean. Predictions not above 0 count as next to 0."""
    told = np.maximum(predict(table.sizes, table.times), float(table.losses.min()) * 1e-3)
    logs = np.log(table.losses)
    return float(1 - np.sum((np.log(told) - logs) ** 2) / np.sum((logs - logs.mean()) ** 2))


def turn_of(predict: Callable[[Any, Any], np.ndarray], size: float, times: Points, least: float = 0.01) -> float:
    """D of the least predicted loss of a size, among times; NaN where it is not above that by 1 % at the last one."""
    told = np.asarray(predict(size, times))
    best = int(np.argmin(told))
    rises = bool(np.isfinite(told).all()) and told[-1] - told[best] > least * abs(float(told[best]))
    return float(times[best]) if rises else np.nan


def _box(form: Form) -> tuple[np.ndarray, np.ndarray]:
    if form == "chinchilla":
        return np.full(2, 0.01), np.full(2, 4.0)
    return np.array([0.0, 0.05, 0.0, 0.0, -12.0, -12.0, -12.0]), np.array([2.0, 5.0, 5.0, 5.0, 12.0, 12.0, 12.0])


def _columns(form: Form, inner: np.ndarray, sizes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What amplitudes multiply, from logarithms of sizes and times."""
    if form == "chinchilla":
        return np.stack([np.ones_like(sizes), np.exp(-inner[0] * sizes), np.exp(-inner[1] * times)], axis=1)
    alpha, beta, gamma, delta, c, d, e = inner
    parts = np.stack([c + gamma * (sizes + times), d + delta * times, np.full_like(times, e)])
    noise = np.logaddexp.reduce(parts, axis=0)
    capacity = np.exp(alpha * sizes) * np.logaddexp(0.0, beta * times - noise) / np.log(2)
    return np.stack([np.ones_like(capacity), -capacity], axis=1)


def _projected(form: Form, columns: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes of least squares, and what is left at them."""
    if form == "capacity-exponential":
        goal = np.log(losses)
        centred = columns[:, 1] - columns[:, 1].mean()
        spread = float(centred @ centred)
        slope = max(float(centred @ (goal - goal.mean())) / spread, 0.0) if spread > _FLAT else 0.0
        amplitudes = np.array([goal.mean() - slope * columns[:, 1].mean(), slope])
        return amplitudes, columns @ amplitudes - goal
    scaled = columns / losses[:, None]
    sizes = np.sqrt(np.sum(scaled**2, axis=0))
    found, _ = nnls(scaled / sizes, np.ones(len(losses)))
    return found / sizes, scaled @ (found / sizes) - 1
