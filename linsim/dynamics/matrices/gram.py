"""Solver `gram`: discrete descent of two layers at a cost that does not depend on the width.

Only W_1^T W_1, W_2 W_2^T and P = W_2 W_1 matter to the loss, and their updates close (`gram_step`). That recursion
squares the weights: beside entries of size 1 it rounds a mode to 1e-16, while weights, its square roots, hold small
modes better; and what rounding adds to it, directions beyond the rank of a narrow layer or negative eigenvalues, grows
as a mode does where descent passes a saddle. The solver therefore steps the narrowest weights with the same products
instead, which costs no more and follows `dense` to rounding, also with momentum, penalties towards the checkpoint, and
minibatches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.dynamics.handling import Handles
from linsim.dynamics.matrices.dense import Dense, descent_cost
from linsim.dynamics.matrices.width import Narrowed, narrowed
from linsim.dynamics.solver import Encoded
from linsim.losses import Scalar, SeedWeights, Weights, matmul
from linsim.problem import Problem


@dataclass(frozen=True)
class Gram(Dense):
    """Full matrices in a basis of the hidden vectors in use: at most d_in + d_out of them, at any width."""

    handles: ClassVar = Handles(
        phase=(
            *("learning_rate", "product_penalty", "weight_penalty", "weight_decay"),
            *("momentum", "nesterov", "schedule", "batch_size"),
        ),
        because={"optimizer": "the optimizer of {where} is not known to commute with a rotation of the hidden layer"},
    )
    name: str = "gram"
    summary: str = (
        "steps two layers in a basis of the at most d_in + d_out hidden vectors that descent can reach, which is "
        "exact at any width"
    )

    def misfit(self, problem: Problem) -> str | None:
        """Two layers."""
        if problem.depth != 2:
            return f"hidden vectors of {problem.depth} layers do not stay in a common small space"
        return None

    def cost(self, problem: Problem) -> float:
        """As `dense` at the reduced width."""
        inputs, *hidden, outputs = problem.widths
        return descent_cost((inputs, *(min(width, inputs + outputs) for width in hidden), outputs))

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """Narrow weights of every seed."""
        narrow = _narrow(problem)
        initial = tuple(jnp.asarray(np.stack(layer), dtype) for layer in list(zip(*narrow, strict=True))[:2])
        return Encoded(initial, *super().encode(problem, dtype)[1:])

    def coordinates(self, problem: Problem, dtype: Any) -> Float[Array, "seeds h k"]:
        """B, the basis of the hidden vectors of every seed."""
        return jnp.asarray(np.stack([seed.basis for seed in _narrow(problem)]), dtype)

    def layers(self, state: Weights, coordinates: Float[Array, "h k"]) -> Weights:
        """The wide weights, W_1 = B w_1 and W_2 = w_2 B^T."""
        first, second = state
        return matmul(coordinates, first), matmul(second, coordinates.T)

    def weights(self, problem: Problem, states: SeedWeights) -> SeedWeights:
        """The wide weights."""
        return jax.vmap(self.layers)(states, self.coordinates(problem, states[0].dtype))


class Grams(NamedTuple):
    """All that a loss can see of two layers."""

    product: Float[Array, "d_out d_in"]
    """P = W_2 W_1."""
    inner: Float[Array, "d_in d_in"]
    """G_1 = W_1^T W_1."""
    outer: Float[Array, "d_out d_out"]
    """G_2 = W_2 W_2^T."""


def gram_step(grams: Grams, pull: Float[Array, "d_out d_in"], learning_rate: Scalar, weight_decay: Scalar) -> Grams:
    """One step of gradient descent on any loss of P, for any widths and initial weights. [re-derived]

    With M = pull, half the gradient of the loss in P, and c = 1 - eta beta:

        P   <- c^2 P   - 2 c eta (M G_1 + G_2 M)     + 4 eta^2 M P^T M
        G_1 <- c^2 G_1 - 2 c eta (P^T M + M^T P)     + 4 eta^2 M^T G_2 M
        G_2 <- c^2 G_2 - 2 c eta (P M^T + M P^T)     + 4 eta^2 M G_1 M^T

    Args:
      grams: P, G_1 and G_2.
      pull: M = (P - A) S on a task, plus lambda (P - P_0) with the product-space penalty.
      learning_rate: eta.
      weight_decay: beta of (beta / 2) (||W_1||^2 + ||W_2||^2).
    """
    product, inner, outer = grams
    keep = 1 - learning_rate * weight_decay
    first, second = 2 * keep * learning_rate, 4 * learning_rate**2
    backward = matmul(product.T, pull)
    outward = matmul(pull, product.T)
    return Grams(
        keep**2 * product - first * (matmul(pull, inner) + matmul(outer, pull)) + second * matmul(outward, pull),
        keep**2 * inner - first * (backward + backward.T) + second * matmul(pull.T, matmul(outer, pull)),
        keep**2 * outer - first * (outward + outward.T) + second * matmul(pull, matmul(inner, pull.T)),
    )


def _narrow(problem: Problem) -> list[Narrowed]:
    return [narrowed(first, second) for first, second in zip(*problem.initial, strict=True)]
