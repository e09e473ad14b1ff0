"""Pre-training alone: the weights at every budget, for experiments that look at checkpoints instead of tuning them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from linsim.commands.building import build_problem
from linsim.commands.config import ChartConfig
from linsim.commands.transfers import build_transfer
from linsim.dynamics.choosing import choose
from linsim.dynamics.training import Session
from linsim.losses import LOSS_CONVENTION
from linsim.progress.showing import Progress
from linsim.storage.provenance import provenance
from linsim.tasks import Transfer


class Trajectory(NamedTuple):
    """What pre-training leaves behind."""

    transfer: Transfer
    budgets: Int[np.ndarray, " budgets"]
    weights: tuple[Float[np.ndarray, "budgets seeds _ _"], ...]
    """(W_1, ..., W_L) at every budget of every seed, in float64."""
    initial: tuple[Float[np.ndarray, "seeds _ _"], ...]
    """(W_1, ..., W_L) at step 0."""
    losses: Float[np.ndarray, "budgets seeds"]
    """Pre-training loss."""
    attributes: dict[str, Any]
    """Solver and reason, precision, versions, device, revision and loss convention, for the attributes of a result."""

    @property
    def products(self) -> Float[np.ndarray, "budgets seeds d_out d_in"]:
        """P = W_L ... W_1."""
        product = self.weights[0]
        for weight in self.weights[1:]:
            product = weight @ product
        return product

    def learned(self) -> Float[np.ndarray, "budgets seeds modes"]:
        """s_i = u_i^T P v_i, the strength of every mode of the pre-training task, in output per input."""
        task = self.transfer.pretrain
        modes = len(task.strengths)
        return np.einsum("oi,bsod,di->bsi", task.left[:, :modes], self.products, task.right[:, :modes])


def pretrained(config: ChartConfig, report: Progress | None = None) -> Trajectory:
    """Pre-train to every budget of a configuration, with the cheapest exact solver unless it names one.

    Args:
      config: its fields for fine-tuning and the shift do not matter.
      report: called with (training steps done, training steps in all).

    Raises:
      InvalidInput: a field outside its domain, or a solver that does not apply.
    """
    transfer = build_transfer(config)
    alone = Transfer(transfer.pretrain, transfer.pretrain)  # fine-tuning must not decide which solver applies
    problem = build_problem(config, alone)
    with jax.enable_x64(True):
        choice = choose(problem, config.solver)
        session = Session.open(problem, choice.solver, np.dtype(config.precision).type)
        checkpoints = session.pretrain(report)
        weights = tuple(np.asarray(layer, np.float64) for layer in session.weights(checkpoints.states))
    attributes = {
        "solver": choice.solver.name,
        "solver_reason": choice.reason,
        "precision": config.precision,
        "loss_convention": LOSS_CONVENTION,
        **provenance(),
    }
    losses = np.asarray(checkpoints.losses, np.float64)
    return Trajectory(transfer, problem.budgets, weights, problem.initial, losses, attributes)
