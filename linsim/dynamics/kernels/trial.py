"""Whether kernels are faster than programs of XLA on this processor: a short trial, once."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linsim.dynamics.kernels.descending import descended
from linsim.dynamics.kernels.vectors import Registers
from linsim.dynamics.matrices.dense import Dense
from linsim.dynamics.modes.descent_modes import Modes
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.spectra import power_law
from linsim.tasks import LinearTask, Transfer

kept: MutableMapping[str, float] | None = None
"""What was found on this processor, if somebody keeps it: `linsim.storage.compiled` does."""

_ROUNDS = 3
_WORK = {"modes": (64, 2000, 1024), "dense": (32, 500, 16)}
"""Modes, or rows and columns, steps, and lanes: some ten milliseconds of what most sweeps are made of."""


def ratio(solver: str, registers: Registers) -> float | None:
    """Times that kernels are faster, as it was found once; None where nobody keeps it: then nothing is tried."""
    if kept is None:
        return None
    name = f"{solver}, {registers.dtype}, {registers.bits} bits"
    if name not in kept:
        kept[name] = tried(solver, registers)
    return kept[name]


def tried(solver: str, registers: Registers) -> float:
    """The same, found now: seconds of XLA over those of kernels, each the least of some rounds that alternate.

    They are the processor's, which a machine that has other work to do does not stretch for one more than the other.
    """
    seconds = np.full((2, _ROUNDS + 1), np.inf)
    contenders = _contenders(solver, registers)
    for turn in range(_ROUNDS + 1):
        for which, run in enumerate(contenders):
            started = time.process_time()
            jax.block_until_ready(run())
            seconds[which, turn] = time.process_time() - started
    xla, kernels = seconds[:, 1:].min(axis=1).tolist()
    return float(xla / kernels)


def _contenders(name: str, registers: Registers) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """A program of XLA and a kernel, of the same lanes."""
    size, steps, lanes = _WORK[name]
    dtype = np.dtype(registers.dtype)
    task = LinearTask.create(power_law(size))
    phase, solver = Phase(dtype.type(1e-3)), Modes() if name == "modes" else Dense()
    rates = {"learning_rate": jnp.linspace(1e-4, 1e-3, lanes, dtype=dtype)}
    target = solver.encode(_problem(task, name), dtype).finetune
    states = solver.encode(_problem(task, name), dtype).initial
    begun = jax.vmap(lambda _: solver.begin(jax.tree.map(lambda leaf: leaf[0], states), phase))(rates["learning_rate"])
    advance = jax.jit(
        jax.vmap(
            lambda carry, swept, count: solver.advance(carry, target, phase.put(swept), count, None), (0, 0, None)
        ),
        compiler_options={"xla_cpu_prefer_vector_width": 512},
    )
    return (
        lambda: advance(begun, rates, np.int32(steps)),
        lambda: descended(registers, solver, begun, target, phase, rates, steps),
    )


def _problem(task: LinearTask, name: str) -> Problem:
    size = len(task.strengths)
    layers = (np.eye(size), np.eye(size)) if name == "modes" else gaussian((size,) * 3, 0.5, jax.random.key(0))
    return Problem(Transfer(task, task), stack_seeds([layers]), Phase(1e-3), Phase(1e-3), np.asarray([1]), 1)
