"""The runs that a sweep is made of, as arrays: which there are, and what they leave behind."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from linsim.dynamics.seen import PRETRAIN_LOSS_BEFORE, Measured
from linsim.dynamics.solver import State

Swept = dict[str, Float[Array, " runs"]]
"""Fields of a phase whose values differ from run to run: name -> value of every run."""


class Trajectories(NamedTuple):
    """Pre-training runs: from which initial weights, and with which swept values."""

    seed: Int[Array, " trajectories"]
    swept: Swept


class Checkpoints(NamedTuple):
    """What pre-training leaves behind."""

    states: State
    """States in the solver's coordinates; every leaf has leading axes (budget, trajectory)."""
    measured: Measured
    """What was measured of each, with the same leading axes."""
    seed: Int[Array, " trajectories"]
    """Seed of each trajectory."""

    @property
    def losses(self) -> Float[Array, "budgets trajectories"]:
        """Pre-training loss of each."""
        return self.measured[PRETRAIN_LOSS_BEFORE.name]


class Lanes(NamedTuple):
    """Fine-tuning runs, one a lane: where each starts and with which swept values."""

    budget: Int[Array, " lanes"]
    """Position of its checkpoint among the budgets."""
    trajectory: Int[Array, " lanes"]
    """Position of its checkpoint among the trajectories: the seed, unless pre-training is swept."""
    swept: Swept


class Finetuned(NamedTuple):
    """Where fine-tuning lanes end, and what was measured on their way."""

    pretrain_loss: Float[Array, " lanes"]
    finetune_loss: Float[Array, " lanes"]
    diverged: Bool[Array, " lanes"]
    measured: Measured = MappingProxyType({})
    """All that was measured at the end, both losses among it, lanes along the first axis."""
    along: Measured = MappingProxyType({})
    """On the way, with a second axis over the points."""
