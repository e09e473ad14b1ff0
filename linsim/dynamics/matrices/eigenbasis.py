"""The eigenbasis of F = [[-(l + beta)/2 I, A^T], [A, (l - beta)/2 I]], the matrix that drives the flow of two layers.

A mode of A has a pair of eigenvectors, (x v, y u) growing and (y v, -x u) decaying, so a product with all eigenvectors
is one with the singular vectors of each side, and a mixture of two rows: half the work of a full matrix, and what
cancels between the two layers in exact bases cancels to the last digit.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from linsim.losses import Scalar, matmul

Factor = Float[Array, "sides hidden"]
"""Q = [W_1^T; W_2] with d_in + d_out rows, up to a rotation of the hidden layer."""


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of F without decay, those of the modes first."""

    rates: Float[Array, " sides"]
    """f, growth per u = 2 t: those that grow, those that decay, what remains of the input and of the output side."""
    inputs: Float[Array, "d_in d_in"]
    """v, in columns."""
    outputs: Float[Array, "d_out d_out"]
    """u, in columns, those of negative sigma turned round."""
    shares: tuple[Float[Array, " modes"], Float[Array, " modes"]]
    """x, y: the larger is 1."""


def spectrum(
    left: Float[Array, "d_out d_out"],
    strengths: Float[Array, " modes"],
    right: Float[Array, "d_in d_in"],
    balance: Scalar,
) -> Spectrum:
    """Eigenpairs of F from a singular value decomposition A = U diag(sigma) V^T with full bases, without decay.

    A mode has f = +-r, r = sqrt(l^2/4 + sigma^2), along (x v, y u) and (y v, -x u); what remains of the larger side has
    f = -l/2 on the input side and +l/2 on the output side.
    """
    inputs, outputs, modes = right.shape[0], left.shape[0], strengths.shape[0]
    size = jnp.abs(strengths)
    rate = jnp.where(balance == 0, size, jnp.sqrt(balance**2 / 4 + size**2))
    # Of x and y the larger is 1, and both are where balanced: of W_1 = -W_2, in exact bases, nothing is left to grow.
    sum_of_rates = rate + jnp.abs(balance) / 2
    ratio = jnp.where(balance == 0, 1.0, size / jnp.where(sum_of_rates == 0, 1.0, sum_of_rates))
    shares = jnp.where(balance > 0, ratio, 1.0), jnp.where(balance > 0, 1.0, ratio)
    signs = jnp.concatenate([jnp.where(strengths < 0, -1.0, 1.0), jnp.ones(outputs - modes, strengths.dtype)])
    rates = [rate, -rate, jnp.full(inputs - modes, -balance / 2), jnp.full(outputs - modes, balance / 2)]
    return Spectrum(jnp.concatenate(rates), right, left * signs[None, :], shares)


def into_eigenbasis(modes: Spectrum, factor: Factor) -> Factor:
    """The rows of Q in the eigenbasis of F: what grows as e^(f u)."""
    inputs, (x, y) = modes.inputs.shape[0], (share[:, None] for share in modes.shares)
    of_inputs = matmul(modes.inputs.T, factor[:inputs])
    of_outputs = matmul(modes.outputs.T, factor[inputs:])
    count, length = len(x), jnp.sqrt(x**2 + y**2)
    first, second = of_inputs[:count], of_outputs[:count]
    pairs = [(first * x + second * y) / length, (first * y - second * x) / length]
    return jnp.concatenate([*pairs, of_inputs[count:], of_outputs[count:]])


def out_of_eigenbasis(modes: Spectrum, rows: Factor) -> Factor:
    """Q from its rows in the eigenbasis of F."""
    inputs, (x, y) = modes.inputs.shape[0], (share[:, None] for share in modes.shares)
    count, length = len(x), jnp.sqrt(x**2 + y**2)
    grow, decay = rows[:count] / length, rows[count : 2 * count] / length
    rest = inputs + count  # where those of the output side begin
    of_inputs = jnp.concatenate([grow * x + decay * y, rows[2 * count : rest]])
    of_outputs = jnp.concatenate([grow * y - decay * x, rows[rest:]])
    return jnp.concatenate([matmul(modes.inputs, of_inputs), matmul(modes.outputs, of_outputs)])
