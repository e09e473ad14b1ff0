"""Gradient flow of one singular mode of any number of balanced layers.

Time is an explicit function of the mode, s(t) its inverse. In units of the target, x = s / |sigma|, the flow is
dx/dT = x^(2 - 2/L) (k - x) with T = 2 L |sigma|^(2 - 2/L) t and k = 1, or -1 where the target has the other sign.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics.modes.mode_flow import Values, expm1_ratio, mode_flow, require_flow
from linsim.errors import require_integer
from linsim.precision import in_float64

_DEEPEST = 1000  # layers, over whose roots of unity sums are taken
_HALVINGS = 12  # of a bracket of at most 105: Newton's method then starts within 0.03, and squares that four times
_NEWTON = 4
_LEARNED = 45.0  # |logarithm of the remaining distance| beyond which x is k to the last bit
_ABSENT = 1e-100  # of the start, below which the mode falls as if towards 0
_GONE = 1500.0  # logarithm of the odds against a decaying mode beyond which it is below the smallest number


@in_float64
def deep_mode_flow(start: Values, drive: Values, stiffness: Values, time: Values, depth: int) -> Float[Array, "..."]:
    """s(t) of a mode of L balanced layers, ds/dt = 2 L |s|^(2 - 2/L) (a - b s), at flow times t. [Saxe et al. 2014]

    L = 1 and L = 2 are an exponential and a logistic curve. Derivatives of s(t) are those of the flow, exactly, save
    the one in b at b = 0 from L = 3 on, which is 0.

    Args:
      start: s(0), of either sign; from L = 2 on it keeps its sign, and stays 0 if it is 0.
      drive: a, the gradient of the loss at s = 0, halved and reversed; see `mode_flow`.
      stiffness: b >= 0.
      time: t >= 0, finite. All four broadcast.
      depth: L >= 1.

    Returns:
      s(t), to a few rounding errors of t, infinite where b = 0 and nothing holds it; cost independent of t.

    Example:
      >>> np.asarray(ls.deep_mode_flow(0.01, 2.0, 1.0, np.array([0.0, 1.0, 5.0]), depth=3)).round(3)
      array([0.01 , 1.068, 2.   ])
    """
    require_integer("depth", depth, at_least=1, at_most=_DEEPEST)
    require_flow(start, drive, stiffness, time)
    return _flow(start, drive, stiffness, time, depth)


@partial(jax.jit, static_argnames="depth")
def _flow(start: Values, drive: Values, stiffness: Values, time: Values, depth: int) -> Float[Array, "..."]:
    dtype = jnp.result_type(float)
    start, drive, stiffness, time = jnp.broadcast_arrays(
        *(jnp.asarray(value, dtype) for value in (start, drive, stiffness, time))
    )
    if depth == 2:
        return mode_flow(start, drive, stiffness, time)
    rigid = stiffness == 0
    if depth == 1:
        fading = -2 * stiffness * time
        early = fading > -0.5
        brief = start + 2 * (drive - stiffness * start) * time * expm1_ratio(jnp.where(early, fading, 0.0))
        limit = drive / jnp.where(early, 1.0, stiffness)
        return jnp.where(early, brief, limit + (start - limit) * jnp.exp(fading))
    sign = jnp.where(start < 0, -1.0, 1.0)
    target = sign * drive / jnp.where(rigid, 1.0, stiffness)
    size, still = sign * start, start == 0
    absent = jnp.abs(target) <= _ABSENT * size
    scale = jnp.where(absent | still, 1.0, jnp.abs(target))
    share = jnp.where(absent | still, 1.0, size / scale)
    clock = 2 * depth * stiffness * scale ** (2 - 2 / depth) * time
    moved = scale * _share(depth, share, jnp.where(target < 0, -1.0, 1.0), clock)
    # Towards 0, and without a restoring force, the flow is a power law.
    order = 2 - 2 / depth
    decayed = _power_law(size, 2 * depth * stiffness * time, order)
    felt = (1 - (decayed / jnp.where(still, 1.0, size)) ** (order + 1)) / jnp.where(rigid, 1.0, stiffness) / (order + 1)
    decayed = decayed + sign * drive * jax.lax.stop_gradient(felt)  # a = 0 here, yet the mode does depend on it
    loose = rigid & ~still
    growth = 2 * depth * sign * jnp.where(loose, drive, 0.0)
    free = _power_law(jnp.where(loose, size, 1.0), -growth * time, order - 1)
    later = sign * jnp.where(rigid, free, jnp.where(absent, decayed, moved))
    exact = jax.lax.stop_gradient(jnp.where(time == 0, start - later, 0.0))  # the slope at t = 0 stays that of the flow
    return jnp.where(still, start, later + exact)


def _power_law(start: Array, clock: Array, order: float) -> Array:
    """s(T) > 0 of ds/dT = -s^(order + 1), infinite from where it escapes."""
    return start * jnp.maximum(1 + order * start**order * clock, 0.0) ** (-1 / order)


def _along(values: np.ndarray, points: Any) -> np.ndarray:
    """Values along a last axis beside those of the points."""
    return np.expand_dims(values, tuple(range(np.ndim(points))))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _share(depth: int, start: Array, toward: Array, clock: Array) -> Array:
    """x(T) from x(0) > 0, through q with e^q = x / |k - x|, or its inverse at k = -1, so that dq/dT = x^(1 - 2/L) > 0.

    A falling x may start at q near 0, and is looked for in log q. T is concave in the one and convex in the other, so
    that after bisection Newton's method from the right end of the bracket does not overshoot.
    """
    rises = (toward > 0) & (start < 1)
    arrived = (toward > 0) & (start == 1)
    begin = jnp.where(arrived, 0.5, start)
    rising_odds = jnp.log(jnp.where(rises, begin, 0.5)) - jnp.log1p(-jnp.where(rises, begin, 0.5))
    falling_odds = -toward * jnp.log1p(jnp.where(rises | arrived, -0.5, -toward / begin))
    fastest = jnp.where(rises, 1.0, begin ** (1 - 2 / depth)) * clock
    first = jnp.where(rises, rising_odds, jnp.log(falling_odds))
    last = jnp.where(
        rises,
        jnp.minimum(rising_odds + fastest, _LEARNED),
        jnp.log(jnp.minimum(falling_odds + fastest, jnp.where(toward > 0, _LEARNED, _GONE))),
    )

    def place(q: Array) -> tuple[Array, Array]:
        """x and log |1 - x| at a point of the bracket."""
        odds = jnp.where(rises, q, jnp.exp(q))
        up, down = jax.nn.sigmoid(odds), -toward / jnp.expm1(jnp.where(rises, -1.0, -toward * odds))
        return jnp.where(rises, up, down), jnp.where(rises, -jax.nn.softplus(odds), -jnp.log(jnp.expm1(odds)))

    origin = _position(depth, toward, *place(first))

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        early = _position(depth, toward, *place(middle)) - origin < clock
        return jnp.where(early, middle, low), jnp.where(early, high, middle)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (first, jnp.maximum(first, last)))

    def polish(_: Any, q: Array) -> Array:
        x, log_gap = place(q)
        slope = x ** (2 / depth - 1) * jnp.where(rises, 1.0, jnp.exp(q))
        return jnp.clip(q + (clock - (_position(depth, toward, x, log_gap) - origin)) / slope, low, high)

    q = jax.lax.fori_loop(0, _NEWTON, polish, jnp.where(rises, low, high))
    return jnp.where(arrived | (clock == 0), start, place(q)[0])


@_share.defjvp
def _share_jvp(depth: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """dx(T)/dT = f(x), dx(T)/dx(0) = f(x(T)) / f(x(0)) for dx/dT = f(x)."""
    start, toward, clock = primals
    later = _share(depth, start, toward, clock)
    order = 2 - 2 / depth
    speed = later**order * (toward - later)
    at_start = start**order * (toward - start)
    ratio = jnp.where(at_start == 0, jnp.exp(-clock), speed / jnp.where(at_start == 0, 1.0, at_start))
    return later, ratio * tangents[0] + speed * tangents[2]


def _position(depth: int, toward: Array, x: Array, log_gap: Array) -> Array:
    """T along the flow, from an arbitrary origin: with y = x^(1/L), the integral of L y^(1-L) / (k - y^L).

    Below x = 4 by partial fractions over the roots of y^L = k; above, where these cancel, by the series in 1/x.
    """
    far = x > 4
    near, distant = jnp.where(far, 1.0, x) ** (1 / depth), jnp.where(far, x, 4.0) ** (1 / depth)
    # log |1 - y| from log |1 - x|, which is known where x is 1 to the last bit.
    gap = log_gap - jnp.log(jnp.sum(near[..., None] ** _along(np.arange(depth), near), axis=-1))
    edge = np.float64(4.0 ** (1 / depth))
    at_edge = [float(_far(depth, k, edge) - _near(depth, k, edge, np.log(edge - 1), np)) for k in (1, -1)]
    above, below = (_near(depth, k, near, gap) + offset for k, offset in zip((1, -1), at_edge, strict=True))
    return depth * jnp.where(far, _far(depth, toward, distant), jnp.where(toward > 0, above, below))


def _near(depth: int, k: int, y: Any, log_gap: Any, xp: Any = jnp) -> Any:
    """The antiderivative of y^(1-L) / (k - y^L), with log_gap = log |1 - y|."""
    # Of the complex roots those above the real axis, for their conjugates too, and half of the real one at -1.
    turns_of_pi = _along(np.arange(2 if k > 0 else 1, depth + 1, 2) / depth, y)
    angles, halves = np.pi * turns_of_pi, np.where(turns_of_pi == 1, 0.5, 1.0)
    cosines, sines = np.cos(angles), np.sin(angles)
    logarithms = xp.log((y[..., None] - cosines) ** 2 + sines**2)
    turns = xp.arctan2(sines, y[..., None] - cosines)
    pairs = xp.sum(halves * (np.cos(2 * angles) * logarithms + 2 * np.sin(2 * angles) * turns), axis=-1)
    return -(y ** (2 - depth)) / (depth - 2) * k - (pairs + (log_gap if k > 0 else 0.0)) / depth


def _far(depth: int, k: Any, y: Any) -> Any:
    """The integral of y^(1-L) / (y^L - k) from y > 1 to infinity, in powers of y^-L."""
    first, step = 2 * depth - 2, k * y**-depth
    total = 0.0
    for term in reversed(range(28)):  # 4^(-27) is lost beside 1
        total = total * step + 1 / (first + term * depth)
    return total * y**-first
