"""What every solver can do: put a problem into its coordinates and move a state along a phase."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float

from linsim.dynamics.handling import Handles
from linsim.losses import Scalar, SeedWeights, Weights
from linsim.phase import Phase
from linsim.problem import Problem

State = Any
"""A solver's weights: a pytree of arrays in its coordinates."""

Carry = Any
"""A state on its way through a phase: the state and whatever the update rule remembers."""

Target = Any
"""A task in a solver's coordinates."""

Coordinates = Any
"""What leads from a solver's coordinates back to those of the problem: a pytree of arrays, for one seed."""


class Encoded(NamedTuple):
    """A problem in the coordinates of a solver."""

    initial: State
    """Initial states, every leaf with a leading seed axis."""
    pretrain: Target
    finetune: Target


@runtime_checkable
class Solver(Protocol):
    """One signature for all solvers; from `begin` on all but `coordinates` and `weights` is pure JAX, for one lane."""

    @property
    def name(self) -> str:
        """What a user calls it."""
        ...

    @property
    def summary(self) -> str:
        """In words: why it is exact."""
        ...

    @property
    def stepping(self) -> bool:
        """Whether it takes steps: False where any time, fractions of a step included, is reached at once."""
        ...

    @property
    def factorises(self) -> bool:
        """Whether it decomposes matrices while it moves, which CPU devices of one process cannot do side by side."""
        ...

    @property
    def handles(self) -> Handles:
        """The fields of phases, tasks and problems that it takes into account."""
        ...

    def refusal(self, problem: Problem) -> str | None:
        """What the problem sets that this solver does not name, or the assumption it breaks; None where it is exact."""
        ...

    def cost(self, problem: Problem) -> float:
        """Multiplications a step, roughly."""
        ...

    def encode(self, problem: Problem, dtype: Any) -> Encoded:
        """The problem in this solver's coordinates."""
        ...

    def begin(self, state: State, phase: Phase, key: Any = None) -> Carry:
        """Enter a phase: the state becomes the checkpoint of the penalties. The key is for what is drawn then."""
        ...

    def advance(self, carry: Carry, target: Target, phase: Phase, steps: Any, key: Any) -> Carry:
        """Train for a number of steps, which may be traced; advancing a, then b, is advancing a + b."""
        ...

    def state(self, carry: Carry) -> State:
        """The state that a carry has reached."""
        ...

    def loss(self, state: State, target: Target) -> Scalar:
        """Population loss L of a state on a task."""
        ...

    def learned(self, state: State, target: Target) -> Float[Array, " modes"]:
        """u_i^T P v_i / sigma_i, how much of each mode of the task is in the network; 0 for absent modes."""
        ...

    def idealise(self, state: State, target: Target) -> State:
        """The rank-n checkpoint next to a state: modes at least half learned at their target, the others 0."""
        ...

    @property
    def rotates(self) -> bool:
        """Whether it knows weights up to a rotation of the hidden layer only."""
        ...

    def coordinates(self, problem: Problem, dtype: Any) -> Coordinates:
        """What `end_to_end` and `layers` need beside a state, every leaf with a leading seed axis."""
        ...

    def end_to_end(self, state: State, coordinates: Coordinates) -> Float[Array, "d_out d_in"]:
        """P in the coordinates of the problem."""
        ...

    def strengths_of(self, state: State, coordinates: Coordinates, task: Any) -> Float[Array, " modes"]:
        """u_i^T P v_i of the pre-training task, as a measure sees it: at less cost than P where there is a way."""
        ...

    def layers(self, state: State, coordinates: Coordinates) -> Weights:
        """(W_1, ..., W_L) in the coordinates of the problem, up to a rotation where the solver `rotates`."""
        ...

    def weights(self, problem: Problem, states: State) -> SeedWeights:
        """Weights (W_1, ..., W_L) of states with a leading seed axis, each W_l of shape (seed, rows, columns)."""
        ...


@runtime_checkable
class Unrotated(Solver, Protocol):
    """A solver that `rotates`, and can tell the rotation afterwards, at a cost of its own."""

    def finetuned_initial(self, problem: Problem) -> SeedWeights:
        """Weights in their own coordinates after fine-tuning the initial ones, each W_l with a leading seed axis."""
        ...
