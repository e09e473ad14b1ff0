"""Who takes the steps of a phase, a kernel or a program of XLA, and in words why.

What kernels do not name goes to XLA, which does all there is on every device, and is the reference of the tests.
LINSIM_KERNELS=off leaves everything to it.
"""

from __future__ import annotations

import logging
import math
from functools import cache
from os import environ
from typing import Any

import jax

from linsim.dynamics import descent
from linsim.dynamics.handling import said
from linsim.dynamics.kernels import descending, host, trial
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.matrices.gram import Gram
from linsim.dynamics.modes import descent_modes
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.solver import Solver, State, Target
from linsim.phase import REGULARIZERS, Phase

VARIABLE = "LINSIM_KERNELS"
DEPTHS = range(2, 9)
LARGEST = 1 << 20
"""Bytes of the weights of a lane: about what one core has in caches of its own."""

_OFF = ("off", "0", "no", "none", "false")
_HANDLED = {"learning_rate", *REGULARIZERS, "momentum", "nesterov"}
_TRIED = {Modes: "modes", Dense: "dense", Gram: "dense"}
_failures: list[str] = []


def descended(solver: Solver, carry: Any, target: Target, phase: Phase, swept: Any, steps: Any) -> Any | None:
    """Where all lanes are after some steps, by a kernel; None where they are XLA's to take."""
    if not isinstance(carry, descent.Carry | descent_modes.Carry):
        return None
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((carry, target, phase, swept, steps))):
        return None
    states: Any = carry.moving if isinstance(carry, descent.Carry) else carry.moving.layers
    if refusal(solver, states, target, phase) is not None:
        return None
    try:
        registers = host.registers(states[0].dtype.name, host.bits() or 0)
        return descending.descended(registers, solver, carry, target, phase, swept, int(steps))
    except Exception as error:
        _failures.append(f"kernels failed: {type(error).__name__}: {error}")
        _say(f"{_failures[-1]}; XLA takes all further steps")
        return None


def told(solver: Solver, states: State, target: Target, phase: Phase) -> str:
    """In words, who takes the steps of a phase."""
    why = refusal(solver, states, target, phase)
    return f"kernels, vectors of {host.bits()} bits" if why is None else f"XLA: {why}"


def refusal(solver: Solver, states: State, target: Target, phase: Phase) -> str | None:
    """Why XLA takes the steps; None where a kernel does.

    Args:
      solver: whose coordinates these are.
      states: arrays in them, lanes or seeds first.
      target: the task of the phase.
      phase: of numbers or of arrays.
    """
    if environ.get(VARIABLE, "").lower() in _OFF:
        return f"{VARIABLE} is off"
    if _failures:
        return _failures[0]
    if jax.default_backend() != "cpu":
        return "kernels are for CPUs"
    if type(solver) not in _TRIED:
        return f"there is no kernel for the solver {solver.name}"
    if further := sorted({*said(phase, Phase)} - _HANDLED):
        return f"kernels do not know {further[0]}"
    if getattr(target, "own_loss", None) is not None:
        return "kernels know squared error alone"
    layers = states if isinstance(states, tuple) else tuple(states[0])
    if len(layers) not in DEPTHS:
        return f"kernels are for {DEPTHS[0]} to {DEPTHS[-1]} layers"
    dtype = layers[0].dtype
    if sum(math.prod(layer.shape[1:]) for layer in layers) * dtype.itemsize > LARGEST:
        return "the weights of a lane are more than the caches of a core hold"
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        return "numbers of 64 bits are switched off in JAX"
    return _of_machine() or _slower(_TRIED[type(solver)], dtype.name)


@cache
def _of_machine() -> str | None:
    """Why there are no kernels on this machine, said once where it is unexpected."""
    try:
        if host.bits() is not None:
            return None
        reason = "kernels need vectors of 256 bits, which this processor has not"
    except (ImportError, OSError) as error:
        reason = f"kernels need llvmlite: {error}"
    if host.ours():
        _say(f"{reason}; XLA takes the steps, more slowly")
    return reason


@cache
def _slower(solver: str, dtype: Any) -> str | None:
    ratio = trial.ratio(solver, host.registers(dtype, host.bits() or 0))
    if ratio is None or ratio >= 1:
        return None
    return f"on this processor kernels are slower, at {ratio:.2g} of its speed"


def _say(message: str) -> None:
    logging.getLogger("linsim").warning("%s", message)
