"""Whether the Hessian of the objective that descent follows has too large an eigenvalue, over whatever moves.

Of chains exactly, by `linsim.sweeping.checks.chain_curvature`; of matrices by products with the Hessian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from linsim.dynamics import descent, programs
from linsim.dynamics.matrices.dense import Dense, Target, descent_cost
from linsim.dynamics.modes.chains import Chains
from linsim.dynamics.runs import Swept
from linsim.dynamics.seen import Surroundings
from linsim.dynamics.solver import Carry, Solver, State
from linsim.dynamics.training import Session
from linsim.measures.largest import exceeds
from linsim.phase import REGULARIZERS
from linsim.sweeping.checks.bound import Start
from linsim.sweeping.checks.chain_curvature import ChainTask, Penalties
from linsim.sweeping.checks.edge import Edge, Positions, started

_DENSE = Dense()
_PRODUCTS = 32
"""With the Hessian, for each look: values are then right to some percent where eigenvalues crowd, else to rounding."""


@runtime_checkable
class Sharpness(Protocol):
    """The curvature of a phase of a sweep, on its way."""

    def start(self, states: State) -> Start:
        """What the bound on curvature begins with, at states with any leading axes."""
        ...

    def exceeds(self, carry: Carry, step: int, seeds: Any, swept: Swept, at: Positions) -> Bool[np.ndarray, " runs"]:
        """Which runs have more curvature than the next step is stable with, or are not finite.

        Args:
          carry: runs on their way through the phase, along the first axis.
          step: how many they have done.
          seeds: of each run.
          swept: values of each run.
          at: where each is on the axes.
        """
        ...


def sharpness(session: Session, edge: Edge) -> Sharpness:
    """Of the phase whose edge that is, for a solver that `tells`."""
    of = _OfChains if isinstance(session.solver, Chains) else _OfMatrices
    return of.opened(session, edge)


def tells(solver: Solver) -> bool:
    """Whether the weights on their way are known here."""
    return solver.stepping and isinstance(solver, Chains | Dense)


def look_cost(solver: Solver, widths: tuple[int, ...]) -> float:
    """Multiplications of `exceeds` for one run."""
    inputs, *hidden, outputs = widths
    if isinstance(solver, Chains):
        return min(inputs, outputs) ** 2 / 2 * (2 * (len(hidden) + 1)) ** 3 / 3
    narrow = hidden if type(solver) is Dense else [min(width, inputs + outputs) for width in hidden]
    return _PRODUCTS * 2 * descent_cost((inputs, *narrow, outputs))


@dataclass(frozen=True, eq=False)
class _OfChains:
    solver: Solver
    edge: Edge
    task: ChainTask

    @classmethod
    def opened(cls, session: Session, edge: Edge) -> _OfChains:
        around = session.surroundings(edge.phase)
        target = around.targets[0 if edge.task is session.problem.transfer.pretrain else 1]
        return cls(session.solver, edge, ChainTask.of(edge.task, target, around.coordinates))

    def start(self, states: State) -> Start:
        return self.task.start(np.asarray(states))

    def exceeds(self, carry: Carry, step: int, seeds: Any, swept: Swept, at: Positions) -> Bool[np.ndarray, " runs"]:
        chains = np.asarray(programs.states(self.solver, carry))
        anchor = chains if carry.anchor is None else np.asarray(carry.anchor)
        most, runs = self.edge.curvature(step, at), chains.shape[:1]
        penalties = Penalties(*(np.broadcast_to(self.edge.number(name, at), runs) for name in REGULARIZERS))
        return self.task.exceeds(chains, anchor, np.asarray(seeds), penalties, most)


@dataclass(frozen=True, eq=False)
class _OfMatrices:
    solver: Solver
    edge: Edge
    target: Target
    around: Surroundings

    @classmethod
    def opened(cls, session: Session, edge: Edge) -> _OfMatrices:
        full = _DENSE.encode(session.problem, np.float64)
        target = full.pretrain if edge.task is session.problem.transfer.pretrain else full.finetune
        return cls(session.solver, edge, target, session.surroundings(edge.phase))

    def start(self, states: State) -> Start:
        return started(tuple(map(np.asarray, states)), self.edge.task)

    def exceeds(self, carry: Carry, step: int, seeds: Any, swept: Swept, at: Positions) -> Bool[np.ndarray, " runs"]:
        most = self.edge.curvature(step, at)
        return np.asarray(_sharper(carry, self.target, self.around, jnp.asarray(seeds), swept, jnp.asarray(most)))


@jax.jit
def _sharper(
    carry: descent.Carry, target: Target, around: Surroundings, seeds: Any, swept: Swept, most: Any
) -> Bool[Array, " runs"]:
    """The Hessian is the derivative of the gradient that descent itself follows, of full matrices."""

    def one(carry: descent.Carry, seed: Any, swept: dict[str, Any], most: Any) -> Array:
        run = around.of_run(seed, swept)
        slopes = _DENSE.slopes(carry.anchor, target, run.phase, None)
        followed = descent.gradient(slopes, carry.anchor, run.phase, None)
        product = jax.linearize(lambda at: followed(at, 0), carry.moving)[1]
        lost = [~jnp.isfinite(jnp.sum(leaf)) for leaf in jax.tree.leaves(carry.moving)]
        return exceeds(product, carry.moving, most, _PRODUCTS) | jnp.any(jnp.stack(lost))

    return jax.vmap(one)(carry, seeds, swept, most)
