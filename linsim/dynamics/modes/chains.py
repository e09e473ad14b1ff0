"""Coordinates of aligned problems: for each singular mode a scalar chain w_1 ... w_L, at any depth.

A problem is aligned when both targets are diagonal in one pair of bases (U, V), the input covariances do not couple
the modes, and there are orthonormal hidden bases with  W_l u_{l-1,i} = w_{l,i} u_{l,i}  (u_0 = v, u_L = u). Gradient
descent and flow then keep this form, and  L = sum_i lambda_i (w_{1,i} ... w_{L,i} - sigma_i)^2  with
lambda_i = v_i^T S v_i.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim import losses
from linsim.dynamics.handling import Solving
from linsim.dynamics.modes.frame import Frame, Misaligned, find_frame
from linsim.dynamics.solver import Encoded
from linsim.errors import InvalidInput
from linsim.losses import Scalar, SeedWeights, Weights
from linsim.problem import Problem

Chain = Float[Array, "layers modes"]
"""w_{l,i}; where weights reach outside the modes, one more column a layer carries the size of that part."""


class Target(NamedTuple):
    """A task as its strengths and the input variances of its modes."""

    strengths: Float[Array, " modes"]
    variances: Float[Array, " modes"]


class Bases(NamedTuple):
    """The bases in which the weights of a network are chains: W_l = B_l diag(w_l) B_{l-1}^T + r_l R_l."""

    each: tuple[Float[Array, "_ modes"], ...]
    """B_0 = V, hidden bases, B_L = U."""
    remainders: tuple[Float[Array, "_ _"], ...] | None
    """R_l, orthogonal to all modes, so that P has no part of them; None where no weight reaches outside the modes."""
    others: Array | None = None
    """None where these are the pre-training task's own bases, so that its modes are the chains."""


class Chains(Solving):
    """What every solver on scalar chains shares."""

    rotates: bool = False

    def cost(self, problem: Problem) -> float:
        """A few products a mode and layer."""
        return 6.0 * problem.depth * min(problem.widths[0], problem.widths[-1])

    def misfit(self, problem: Problem) -> str | None:
        """Which of the assumptions above fails, and by how much."""
        frame = find_frame(problem)
        if isinstance(frame, Misaligned):
            return frame.reason
        if problem.idealised and not frame.of_pretraining:
            return "idealised checkpoints need the pre-training task's own bases, and the common ones are others"
        return None

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """Chains of shape (seed, layers, modes); `InvalidInput` where the problem is not aligned."""
        frame = _frame(problem)
        chains = frame.chains
        extra = chains.shape[-1] - len(frame.pretrain_strengths)

        def target(*values: np.ndarray) -> Target:
            return Target(*(jnp.asarray(np.pad(value, (0, extra)), dtype) for value in values))

        return Encoded(
            jnp.asarray(chains, dtype),
            target(frame.pretrain_strengths, frame.pretrain_variances),
            target(frame.finetune_strengths, frame.finetune_variances),
        )

    def product(self, state: Chain) -> Float[Array, " modes"]:
        """s_i = w_{1,i} ... w_{L,i}."""
        product = state[0]
        for layer in state[1:]:
            product = product * layer
        return product

    def loss(self, state: Chain, target: Target) -> Scalar:
        """sum_i lambda_i (s_i - sigma_i)^2."""
        residual = self.product(state) - target.strengths
        return losses.quadratic(residual, target.variances * residual)

    def learned(self, state: Chain, target: Target) -> Float[Array, " modes"]:
        """s_i / sigma_i."""
        present = target.strengths != 0
        return jnp.where(present, self.product(state) / jnp.where(present, target.strengths, 1), 0)

    def idealise(self, state: Chain, target: Target) -> Chain:
        """w_{l,i} = |sigma_i|^(1/L) on the modes at least half learned, sign on the last layer, 0 elsewhere."""
        kept = jnp.where(self.learned(state, target) >= 0.5, target.strengths, 0)
        share = jnp.abs(kept) ** (1 / state.shape[0])
        chain = jnp.broadcast_to(share, state.shape)
        return chain.at[-1].multiply(jnp.where(kept < 0, -1, 1))

    def coordinates(self, problem: Problem, dtype: Any) -> Bases:
        """The bases of every seed."""
        frame = _frame(problem)

        def stacked(parts: Iterable[tuple[np.ndarray, ...]]) -> tuple[Array, ...]:
            return tuple(jnp.asarray(np.stack(seeds), dtype) for seeds in zip(*parts, strict=True))

        reaching = frame.chains.shape[-1] > len(frame.pretrain_strengths)
        remainders = stacked(seed.remainders for seed in frame.seeds) if reaching else None
        others = None if frame.of_pretraining else jnp.ones(len(frame.seeds), dtype)
        return Bases(stacked(seed.bases for seed in frame.seeds), remainders, others)

    def end_to_end(self, state: Chain, coordinates: Bases) -> Float[Array, "d_out d_in"]:
        """P = sum_i s_i u_i v_i^T."""
        inner, outer = coordinates.each[0], coordinates.each[-1]
        return losses.matmul(outer * self.product(state)[None, : outer.shape[1]], inner.T)

    def strengths_of(self, state: Chain, coordinates: Bases, task: Any) -> Float[Array, " modes"]:
        """The chains themselves where the pre-training task has their bases: no matrix is formed."""
        if coordinates.others is not None:
            return super().strengths_of(state, coordinates, task)
        return self.product(state)[: coordinates.each[0].shape[-1]]

    def layers(self, state: Chain, coordinates: Bases) -> Weights:
        """W_l = sum_i w_{l,i} u_{l,i} u_{l-1,i}^T, plus what lies outside the modes."""
        pairs = itertools.pairwise(coordinates.each)
        modes = coordinates.each[0].shape[1]
        weights = [
            losses.matmul(outer * chain[None, :modes], inner.T)
            for chain, (inner, outer) in zip(state, pairs, strict=True)
        ]
        if coordinates.remainders is not None:
            sizes = (state[layer, modes + layer] for layer in range(len(weights)))
            outside = zip(sizes, coordinates.remainders, strict=True)
            weights = [weight + size * rest for weight, (size, rest) in zip(weights, outside, strict=True)]
        return tuple(weights)

    def weights(self, problem: Problem, states: Float[Array, "seeds layers modes"]) -> SeedWeights:
        """The weights of states with a seed axis."""
        return jax.vmap(self.layers)(jnp.asarray(states), self.coordinates(problem, states.dtype))


def _frame(problem: Problem) -> Frame:
    frame = find_frame(problem)
    if isinstance(frame, Misaligned):
        raise InvalidInput("solver", "scalar chains", f"an aligned problem; here {frame.reason}")
    return frame
