"""Whether a phase is stepped by a kernel or by a program of XLA, and in words why.

What a kernel does not name goes to XLA, which does all there is on every device and is the reference of the tests.
LINSIM_KERNELS=off leaves all to it.
"""

from __future__ import annotations

import logging
import os
from functools import cache

import jax
import numpy as np

from linsim.dynamics.handling import said
from linsim.dynamics.kernels import host
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.solver import Solver, State, Target
from linsim.phase import Phase

VARIABLE = "LINSIM_KERNELS"
DEPTHS = range(2, 9)
LARGEST = 2 << 20
"""Bytes of the weights of a lane: what a core has in its own caches, more or less."""

_OFF = ("off", "0", "no", "none", "false")
_HANDLED = {
    "learning_rate",
    "product_penalty",
    "weight_penalty",
    "weight_decay",
    "momentum",
    "nesterov",
}
_failures: list[str] = []


def refusal(solver: Solver, states: State, target: Target, phase: Phase) -> str | None:
    """Why XLA takes the steps; None where a kernel does.

    Args:
      solver: whose coordinates these are.
      states: arrays in them, lanes first.
      target: the task of the phase.
      phase: of plain numbers or of arrays.
    """
    if os.environ.get(VARIABLE, "").lower() in _OFF:
        return f"{VARIABLE} is off"
    if _failures:
        return _failures[0]
    if jax.default_backend() != "cpu":
        return "kernels are for CPUs"
    if type(solver) not in (Modes, Dense, Gram):
        return f"there is no kernel for the solver {solver.name}"
    if further := sorted({*said(phase, Phase)} - _HANDLED):
        return f"kernels do not know {further[0]}"
    if not isinstance(solver, Modes) and target.own_loss is not None:
        return "kernels know squared error alone"
    depth = len(states) if isinstance(states, tuple) else states.shape[1]
    if depth not in DEPTHS:
        return f"kernels are for {DEPTHS[0]} to {DEPTHS[-1]} layers"
    leaves = jax.tree.leaves(states)
    if (
        not isinstance(solver, Modes)
        and sum(np.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in leaves) > LARGEST
    ):
        return "weights are larger than the caches of a core"
    return no_vectors()


@cache
def no_vectors() -> str | None:
    """Why there are no kernels on this machine, said once where it is; None where there are."""
    try:
        if host.bits() is not None:
            return None
        reason = "kernels need vectors of 256 bits, which this processor has not"
    except (ImportError, OSError) as error:
        reason = f"kernels need llvmlite ({error})"
    if host.ours():
        say(f"{reason}: XLA steps in their place, more slowly")
    return reason


def failed(error: Exception) -> None:
    """From now on XLA takes all steps of this process."""
    reason = f"kernels failed: {type(error).__name__}: {error}"
    say(f"{reason}; XLA steps in their place")
    _failures.append(reason)


def say(message: str) -> None:
    """To whoever listens to linsim."""
    logging.getLogger("linsim").warning("%s", message)


def told(solver: Solver, states: State, target: Target, phase: Phase) -> str:
    """In words, what takes the steps of a phase."""
    why = refusal(solver, states, target, phase)
    return f"kernels, vectors of {host.bits()} bits" if why is None else f"XLA: {why}"
