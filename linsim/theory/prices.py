"""Noise as a price: what it charges for each unit of a mode's strength, which modes are worth it, and until when."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from linsim.errors import require_integer
from linsim.measures.sensitivity import Values, require_not_negative
from linsim.precision import in_float64


@in_float64
def noise_price(scale: Values, d_in: int, d_out: int) -> Float[Array, "..."]:
    """G = gamma^2 (d_in + d_out), what noise charges for one unit of a mode's strength.

    For two aligned balanced layers and S = I. In a square network of any weights it acts as weight decay G.
    [re-derived]

    Example:
      >>> round(float(ls.noise_price(0.1, d_in=16, d_out=16)), 6)
      0.32
    """
    require_not_negative("scale", scale)
    _require_sizes(d_in, d_out)
    return jnp.asarray(scale) ** 2 * (d_in + d_out)


def label_noise_price(rate: Values, label_noise: Values, batch_size: int, d_in: int, d_out: int) -> Float[Array, "..."]:
    """G = 2 eta sy^2 sqrt(d_in d_out) / B, what label noise in minibatches charges for a mode's strength.

    At a constant rate eta the weights scatter with variance gamma^2 = eta sy^2 / B, as under L + (gamma^2 / 2) tr H.
    Each mode of P is then `soft_threshold(strengths, G)` on average: for d_in = d_out = d, where G is
    `noise_price`(gamma), lower by eta sy^2 d / B. Otherwise the scatter unbalances the layers, in flow time
    1 / (gamma^2 |d_in - d_out|), to where noise costs the geometric mean of both sides. To first order in eta, for two
    layers, S = I, and squared residuals well below sy^2. Average P, not the weights: their hidden basis drifts, so
    their product is too small.

    Args:
      rate: eta >= 0.
      label_noise: sy >= 0, standard deviation of the noise on each output.
      batch_size: B, examples a step, drawn afresh.
      d_in: number of inputs.
      d_out: number of outputs.

    Raises:
      InvalidInput: a number outside its domain.

    Source: re-derived.
    """
    require_not_negative("rate", rate)
    require_not_negative("label_noise", label_noise)
    require_integer("batch_size", batch_size, at_least=1)
    _require_sizes(d_in, d_out)
    return jnp.asarray(rate) * jnp.asarray(label_noise) ** 2 * (2 * math.sqrt(d_in * d_out) / batch_size)


def modes_loss(
    learned: Float[ArrayLike, "*batch modes"], strengths: Float[ArrayLike, "#*batch modes"], price: Values
) -> Float[Array, "..."]:
    """sum_i (sigma_i - s_i)^2 + G |s_i|: the expected loss of aligned balanced modes, less the quartic constant.

    That constant, gamma^4 d_out h d_in, is the same for every checkpoint (`two_layer_increase`). [re-derived]

    Args:
      learned: s_i, modes along the last axis.
      strengths: sigma_i, likewise.
      price: G >= 0 from `noise_price`, a scalar.
    """
    require_not_negative("price", price)
    learned = jnp.asarray(learned)
    return jnp.sum((jnp.asarray(strengths) - learned) ** 2 + jnp.asarray(price) * jnp.abs(learned), axis=-1)


def soft_threshold(strengths: Values, price: Values) -> Float[Array, "..."]:
    """sign(sigma) (|sigma| - G/2)_+, the strength at which a mode's loss under noise is least among balanced layers.

    Among all layers the threshold is gamma^2 sqrt(d_in d_out), which is G/2 where d_in = d_out. [re-derived]

    Args:
      strengths: sigma, of either sign.
      price: G >= 0. The two broadcast.
    """
    require_not_negative("price", price)
    strengths = jnp.asarray(strengths)
    return jnp.sign(strengths) * jnp.maximum(jnp.abs(strengths) - jnp.asarray(price) / 2, 0)


def useful_modes(strengths: Float[ArrayLike, "... modes"], price: Values) -> Int[Array, "..."]:
    """n* = #{i : |sigma_i| > G}, the modes that are worth learning in full, along the last axis. [re-derived]

    Among the idealised checkpoints of strengths in decreasing order, stage n* has the least loss under noise.
    """
    require_not_negative("price", price)
    return jnp.sum(jnp.abs(jnp.asarray(strengths)) > jnp.asarray(price), axis=-1)


class NoiseCost(NamedTuple):
    """G N + q N^2 + c, N = sum_i s_i: what noise adds to the loss of two aligned balanced layers on whitened inputs."""

    price: float
    """G, of each unit of strength."""
    collective: float
    """q, by which every learned mode raises the price of all."""
    constant: float
    """c, which no strengths change."""

    @classmethod
    @in_float64
    def absolute(cls, scale: float, d_in: int, hidden: int, d_out: int) -> NoiseCost:
        """Of noise gamma on every weight: G = gamma^2 (d_in + d_out), c = gamma^4 d_out h d_in. [re-derived]"""
        return cls(float(noise_price(scale, d_in, d_out)), 0.0, scale**4 * d_out * hidden * d_in)

    @classmethod
    def relative(cls, scale: float, hidden: int) -> NoiseCost:
        """Of noise of r root mean square entries of each layer: q = r^2 (2 + r^2) / h. [re-derived]

        These are N / (h d_in) and N / (d_out h), squared, so that both orders of the noise are of order N^2.
        """
        require_not_negative("scale", scale)
        return cls(0.0, scale**2 * (2 + scale**2) / hidden, 0.0)

    def of(self, size: Any) -> Any:
        """All of it at sizes N."""
        return self.price * size + self.collective * size**2 + self.constant

    def marginal(self, size: float) -> float:
        """G + 2 q N, of the next unit of strength."""
        return self.price + 2 * self.collective * size

    def best_strengths(self, strengths: Float[np.ndarray, " modes"]) -> Float[np.ndarray, " modes"]:
        """(sigma_i - G/2 - q N)_+, of least loss under the noise: without q the `soft_threshold`. [re-derived]

        Args:
          strengths: sigma_i >= 0, in any order.
        """
        order = np.sort(strengths)[::-1] - self.price / 2
        kept = np.arange(1, len(order) + 1)
        sizes = np.cumsum(order) / (1 + kept * self.collective)  # N if so many modes are kept
        count = int(np.max(kept, where=order > self.collective * sizes, initial=0))
        threshold = self.price / 2 + self.collective * (sizes[count - 1] if count else 0.0)
        return np.maximum(strengths - threshold, 0)

    def best_stage(self, strengths: Float[np.ndarray, " modes"]) -> int:
        """n of the idealised checkpoint of least loss under the noise, strongest modes first: without q `useful_modes`.

        Args:
          strengths: sigma_i >= 0, in any order.
        """
        order = np.sort(strengths)[::-1]
        missing = np.append(np.cumsum(order[::-1] ** 2)[::-1], 0)
        return int(np.argmin(missing + self.of(np.append(0, np.cumsum(order)))))


def turning_time(strengths: Values, starts: Values, price: Values) -> Float[Array, "..."]:
    """t* = ln[(sigma/s0 - 1) (sigma - G/2) / (G/2)] / (4 sigma), when a mode's loss under noise is least.

    From then on the mode is closer to its target than G/2, and learning it further costs more than it gives. The mode
    follows the gradient flow of two balanced layers on a whitened task. Never NaN for finite arguments:
      0 where the mode adds loss from the start, |sigma| - G/2 <= |s0| < |sigma|, be sigma above G/2 or not;
      infinity where it never turns: no noise (G = 0), or a mode that does not rise (|s0| >= |sigma|), cannot leave
      zero (s0 = 0), or has the other sign and vanishes.

    Args:
      strengths: sigma, of either sign.
      starts: s0, the mode at the beginning.
      price: G >= 0. All three broadcast.

    Returns:
      t* in flow time, learning rate x steps.

    Source: re-derived from Saxe et al. 2014.
    """
    require_not_negative("price", price)
    strengths, starts, half = jnp.asarray(strengths), jnp.asarray(starts), jnp.asarray(price) / 2
    size, start = jnp.abs(strengths), jnp.sign(strengths) * starts
    turns = (start > 0) & (start < size) & (half > 0)
    later = turns & (start < size - half)

    def log(value: Array) -> Array:
        return jnp.log(jnp.where(later, value, 1.0))  # branches not taken must not make NaN, in derivatives either

    time = (log(size - start) - log(start) + log(size - half) - log(half)) / (4 * jnp.where(later, size, 1.0))
    return jnp.where(later, time, jnp.where(turns, 0.0, jnp.inf))


def _require_sizes(d_in: int, d_out: int) -> None:
    for name, size in (("d_in", d_in), ("d_out", d_out)):
        require_integer(name, size, at_least=1, at_most=10**9)
