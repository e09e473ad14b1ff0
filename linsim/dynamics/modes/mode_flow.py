"""Gradient flow of one singular mode of two layers in closed form, whatever their balance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from linsim.errors import LARGEST, numbers, require_together
from linsim.precision import in_float64

Values = Float[ArrayLike, "..."]

_EARLY = 1 / 16  # (R t)^2 below which the hyperbolic functions are summed as series


@in_float64
def mode_flow(
    start: Values, drive: Values, stiffness: Values, time: Values, balance: Values = 0.0
) -> Float[Array, "..."]:
    """s(t) of a mode s = w_1 w_2, ds/dt = 2 sqrt(l^2 + 4 s^2) (a - b s), at flow times t = learning rate * steps.

    l = w_2^2 - w_1^2 is conserved. y = (w_1 + w_2)^2 obeys dy/dt = 4 a y - b (y^2 - l^2); with E = exp(-2 R t) and
    R = sqrt(4 a^2 + b^2 l^2),

        y(t) = [y_0 ((R + 2a) + (R - 2a) E) + b l^2 (1 - E)] / [b y_0 (1 - E) + (R - 2a) + (R + 2a) E],

    and s = (y - l^2 / y) / 4. At l = 0 this is the logistic curve of ds/dt = 4 |s| (a - b s). Pre-training on a
    whitened task is a = sigma, b = 1 [Saxe et al. 2014; with a balance, Domine et al. 2025]; an input variance v
    multiplies both by v [Gidel et al. 2019]; the product-space penalty adds lambda s_0 to a and lambda to b, weight
    decay beta takes beta / 2 from |a| and needs l = 0 [both re-derived]. Loss without 1/2.

    Args:
      start: s(0), of either sign; at l = 0 it keeps its sign, and stays 0 if it is 0.
      drive: a, the gradient of the loss at s = 0, halved and reversed.
      stiffness: b >= 0.
      time: t >= 0, finite.
      balance: l. All five broadcast.

    Returns:
      s(t), without overflow for any t, but infinite where b = 0 and nothing holds it; cost independent of t.

    Raises:
      InvalidInput: what is no finite number, or b or t below 0.

    Example:
      >>> np.asarray(ls.mode_flow(start=0.01, drive=2.0, stiffness=1.0, time=np.array([0.0, 0.5, 5.0]))).round(3)
      array([0.01 , 0.431, 2.   ])
    """
    require_flow(start, drive, stiffness, time, balance)
    start, drive, stiffness, time, balance = (
        jnp.asarray(value, jnp.result_type(float)) for value in (start, drive, stiffness, time, balance)
    )
    # In the sign of the start y_0 is a sum of positive terms; reversing w_1 and the target reverses s.
    sign = jnp.where(start < 0, -1.0, 1.0)
    size, a = sign * start, sign * drive
    l = jnp.where(balance == 0, 0.0, jnp.abs(balance))  # s is even in l, and so has derivative 0 at 0
    pull = stiffness * l
    still = (size == 0) & (l == 0)
    # y_0 = l + excess. In units of y_0, so that nothing underflows, and y - l apart from y, so that s keeps its digits.
    both = jnp.where(still, 1.0, l + _hypotenuse(l, 2 * size))
    excess = 2 * size * (1 + _over(2 * size, both))
    y = jnp.where(still, 1.0, l + excess)
    rich, lazy = _over(excess, y), _over(l, y)
    square = (2 * a * time) ** 2 + (pull * time) ** 2
    # Early on, both sides over e^(-R t) are even in R: smooth through R = 0 in its square.
    early = square < _EARLY
    brief, phase = jnp.where(early, time, 0.0), jnp.where(early, square, 0.0)
    cosh, sinh = _series(phase, 0), brief * _series(phase, 1)
    # Later, in units of R and R - 2|a| without cancellation: then every term of the fraction is positive.
    rate = jnp.where(early, 1.0, _hypotenuse(2 * jnp.abs(a), pull))
    larger = 1 + 2 * jnp.abs(a) / rate
    smaller = (pull / rate) ** 2 / larger
    rising, falling = jnp.where(a < 0, smaller, larger), jnp.where(a < 0, larger, smaller)
    lasting = 2 * a / rate * (rising + pull / rate) / (1 + pull / rate)  # rising - pull / rate
    left = jnp.where(early, 1.0, jnp.exp(-2 * rate * time))
    spent = jnp.where(early, sinh, -jnp.expm1(-2 * rate * jnp.where(early, 1.0, time)) / rate)
    up = jnp.where(early, cosh + 2 * a * sinh, rising + falling * left)
    down = jnp.where(early, cosh - 2 * a * sinh, falling + rising * left)
    kept = jnp.where(early, cosh + (2 * a - pull) * sinh, lasting + (falling + pull / rate) * left)
    bottom = jnp.where(still, 1.0, down + stiffness * y * spent)
    above = _over(y, bottom) * (rich * kept + 4 * a * lazy * spent)  # y - l
    share = _over(lazy * bottom, jnp.where(l == 0, 1.0, up + lazy * pull * spent))  # l / y
    moved = sign * above * (1 + share) / 4
    exact = jax.lax.stop_gradient(jnp.where(time == 0, start - moved, 0.0))  # the slope at t = 0 stays that of the flow
    escaping = start * jnp.exp(jnp.clip(4 * a * time, -700.0, 700.0))  # 0 where it is taken, but with the flow's slope
    return jnp.where(still, escaping, moved + exact)


def require_flow(start: Values, drive: Values, stiffness: Values, time: Values, balance: Values = 0.0) -> None:
    """Raise `InvalidInput` for what is no flow of a mode; what is within a compiled program passes."""
    for name, value in (("start", start), ("drive", drive), ("balance", balance)):
        numbers(name, value, most=LARGEST)
    for name, value in (("stiffness", stiffness), ("time", time)):
        numbers(name, value, at_least=0, most=LARGEST)
    require_together(start=start, drive=drive, stiffness=stiffness, time=time, balance=balance)


@in_float64
def mode_layers(product: Values, balance: Values) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(|w_1|, |w_2|) of a mode from s = w_1 w_2 and l = w_2^2 - w_1^2, the smaller one free of cancellation.

    To the last bit the same where l = 0: by the least difference a flow would leave 0 on the other side, in the end.
    """
    product, balance = jnp.asarray(product), jnp.asarray(balance)
    larger = _root((_hypotenuse(jnp.abs(balance), 2 * jnp.abs(product)) + jnp.abs(balance)) / 2)
    smaller = jnp.where(balance == 0, larger, jnp.abs(product) / jnp.where(larger == 0, 1.0, larger))
    return jnp.where(balance > 0, smaller, larger), jnp.where(balance > 0, larger, smaller)


@in_float64
def rise_time(strength: Values, start: Values) -> Float[Array, "..."]:
    """Flow time at which two balanced layers have learned half of a mode: ln(sigma / s_0 - 1) / (4 sigma).

    About tau / (2 sigma) for s_0 = e^(-2 tau); negative where more than half is there at the start, minus infinite
    where all is, NaN where more is. [Saxe et al. 2014]

    Args:
      strength: sigma > 0.
      start: s_0 > 0; the two broadcast.

    Raises:
      InvalidInput: what is no finite number above 0.

    Example:
      >>> round(float(ls.rise_time(strength=2.0, start=0.01)), 3)
      0.662
    """
    numbers("strength", strength, above=0)
    numbers("start", start, above=0)
    require_together(strength=strength, start=start)
    strength, start = jnp.asarray(strength), jnp.asarray(start)
    return jnp.log(strength / start - 1) / (4 * strength)


def expm1_ratio(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^x - 1) / x, which is 1 at x = 0, with a finite derivative there."""
    small = jnp.abs(x) < 1e-5
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1 + x / 2 + x**2 / 6, jnp.expm1(safe) / safe)


def _series(square: Float[Array, "..."], odd: int) -> Float[Array, "..."]:
    """cosh(x), or sinh(x) / x where odd, from x^2 <= 1/16, to the last bit."""
    total, term = jnp.ones_like(square), jnp.ones_like(square)
    for order in range(2 + odd, 14 + odd, 2):
        term = term * square / (order * (order - 1))
        total = total + term
    return total


def _hypotenuse(p: Float[Array, "..."], q: Float[Array, "..."]) -> Float[Array, "..."]:
    """sqrt(p^2 + q^2) for p, q >= 0, at any scale, with a finite derivative at 0."""
    larger, smaller = jnp.maximum(p, q), jnp.minimum(p, q)
    return larger * jnp.sqrt(1 + _over(smaller, jnp.where(larger == 0, 1.0, larger)) ** 2)


@jax.custom_jvp
def _over(p: Float[Array, "..."], q: Float[Array, "..."]) -> Float[Array, "..."]:
    """p / q, whose derivative does not form 1 / q^2: that overflows at q = 1e-155."""
    return p / q


@_over.defjvp
def _over_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    ratio = primals[0] / primals[1]
    return ratio, tangents[0] / primals[1] - ratio * (tangents[1] / primals[1])


def _root(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sqrt(x), with derivative 0 at 0."""
    return jnp.where(x == 0, 0.0, jnp.sqrt(jnp.where(x == 0, 1.0, x)))
