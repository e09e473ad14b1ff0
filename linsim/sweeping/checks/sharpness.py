"""Whether the Hessian of the objective that descent follows has too large an eigenvalue, over whatever moves."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from linsim.dynamics import descent
from linsim.dynamics.matrices.dense import Dense, Target
from linsim.dynamics.modes.chains import Bases, Chain, Chains
from linsim.dynamics.runs import Swept
from linsim.dynamics.seen import Surroundings
from linsim.dynamics.solver import Carry, Solver, State
from linsim.losses import Weights, matmul
from linsim.measures.largest import exceeds

_DENSE = Dense()
PRODUCTS = 32
"""With the Hessian, for each look: values are then right to some percent where eigenvalues crowd, else to rounding."""


@partial(jax.jit, static_argnames="solver")
def sharper(
    solver: Solver, carry: Carry, target: Target, around: Surroundings, seeds: Any, swept: Swept, most: Any
) -> Bool[Array, " runs"]:
    """Which runs are where the objective has more curvature than that, over all that moves; or nowhere, if not finite.

    The Hessian is the derivative of the gradient that descent itself follows.

    Args:
      solver: of chains or of full matrices, as `tells` says.
      carry: runs on their way through a phase, along the first axis.
      target: the task of the phase, as full matrices.
      around: of all seeds.
      seeds: of each run.
      swept: values of each run.
      most: curvature, of each run.
    """

    def one(carry: Carry, seed: Any, swept: dict[str, Any], most: Any) -> Array:
        run = around.of_run(seed, swept)
        moving, anchor = _moving(solver, carry, run.coordinates)
        slopes = _DENSE.slopes(anchor, target, run.phase, None)
        followed = descent.gradient(slopes, anchor, run.phase, None)
        product = jax.linearize(lambda at: followed(at, 0), moving)[1]
        lost = [~jnp.isfinite(jnp.sum(leaf)) for leaf in jax.tree.leaves(moving)]
        return exceeds(product, moving, most, PRODUCTS) | jnp.any(jnp.stack(lost))

    return jax.vmap(one)(carry, seeds, swept, jnp.asarray(most))


@partial(jax.jit, static_argnames="solver")
def matrices(
    solver: Solver, states: State, coordinates: Any, seeds: Any
) -> tuple[Float[Array, "budgets trajectories _ _"], ...]:
    """Weights of states with leading axes (budget, trajectory): as narrow as they can be with the same singular values.

    Args:
      solver: as in `sharper`.
      states: in its coordinates.
      coordinates: of all seeds.
      seeds: of each trajectory.
    """

    def one(state: State, seed: Any) -> Weights:
        return _narrow(solver, state, jax.tree.map(lambda leaf: leaf[seed], coordinates))

    return jax.vmap(jax.vmap(one), in_axes=(0, None))(states, seeds)


def tells(solver: Solver) -> bool:
    """Whether the weights on their way are known here."""
    return solver.stepping and isinstance(solver, Chains | Dense)


def narrow_widths(solver: Solver, widths: tuple[int, ...]) -> tuple[int, ...]:
    """(d_in, h_1, ..., d_out) of `matrices`, at most."""
    inputs, *hidden, outputs = widths
    if isinstance(solver, Chains):
        return (inputs, *(min(inputs, outputs) for _ in hidden), outputs)
    return widths if type(solver) is Dense else (inputs, *(min(width, inputs + outputs) for width in hidden), outputs)


def _moving(solver: Solver, carry: Any, coordinates: Any) -> tuple[Any, Weights]:
    """What moves, and the weights at the beginning of the phase."""
    if isinstance(carry, descent.Carry):
        moving, anchor = carry.moving, carry.anchor
    else:
        moving = solver.state(carry)
        anchor = moving if carry.anchor is None else carry.anchor
    if isinstance(solver, Chains):
        return _narrow(solver, moving, coordinates), _narrow(solver, anchor, coordinates)
    return moving, anchor


def _narrow(solver: Solver, state: State, coordinates: Any) -> Weights:
    """Chains as matrices with a hidden unit a mode, other solvers' weights as they are.

    A hidden unit that no mode uses has +-2 ||M|| for its largest curvature, M half the gradient in P, and one that is
    used no less: what it has besides is positive. Weights outside the modes stay outside, where only penalties act.
    """
    return _of_chain(state, coordinates) if isinstance(solver, Chains) else state


def _of_chain(chain: Chain, bases: Bases) -> Weights:
    inner, outer = bases.each[0], bases.each[-1]
    diagonals = [jnp.diag(layer) for layer in chain[:, : inner.shape[1]]]
    if len(diagonals) == 1:
        return (matmul(outer * jnp.diag(diagonals[0])[None, :], inner.T),)
    first, *between, last = diagonals
    return matmul(first, inner.T), *between, matmul(outer, last)
