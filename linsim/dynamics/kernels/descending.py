"""A phase of descent by kernels: carries of a solver as arrays, and back, as a program of XLA would leave them."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linsim.dynamics import descent
from linsim.dynamics.kernels import threads
from linsim.dynamics.kernels.matrix_kernel import MatrixKernel
from linsim.dynamics.kernels.mode_kernel import ModeKernel
from linsim.dynamics.kernels.vectors import Registers
from linsim.dynamics.modes import descent_modes
from linsim.dynamics.modes.mode_steps import Constants
from linsim.dynamics.solver import Solver, Target
from linsim.phase import Phase


def descended(
    registers: Registers, solver: Solver, carry: Any, target: Any, phase: Phase, swept: Any, steps: int
) -> Any:
    """Where all lanes are after some steps, of what `linsim.dynamics.kernels.paths` does not refuse.

    Args:
      registers: of the processor.
      solver: whose carries these are.
      carry: of all lanes, lanes first in every array.
      target: what is learned.
      phase: how.
      swept: name of a field -> its value in every lane.
      steps: how many.
    """
    if isinstance(carry, descent_modes.Carry):
        constants, begun = _begun(solver, carry, target, phase, swept)
        return modes_descended(registers, constants, begun, steps, phase.nesterov)
    return matrices_descended(registers, carry, target, phase.put(swept), steps)


def matrices_descended(
    registers: Registers, carry: descent.Carry, target: Any, phase: Phase, steps: int
) -> descent.Carry:
    """All steps of all lanes, of `Dense` and `Gram`; numbers of the phase are one for all lanes, or one for each."""
    weights, velocity = carry.moving, jax.tree.leaves(carry.optimizer)
    lanes = len(weights[0])
    parts = ("product_penalty", "weight_penalty", "weight_decay", "momentum")
    kernel = MatrixKernel(
        registers,
        widths=(weights[0].shape[2], *(layer.shape[1] for layer in weights)),
        covariance=target.covariance is not None,
        nesterov=phase.nesterov,
        **{name: getattr(phase, name) is not None for name in parts},
    )
    given = {"target": target.matrix, "covariance": target.covariance}
    moved = {}
    for number, layer in enumerate(weights):
        moved[f"weights{number}"] = np.array(layer, order="C")
        given[f"anchor{number}"] = carry.anchor[number]
        if velocity:
            moved[f"velocity{number}"] = np.array(velocity[number], order="C")
    given |= moved

    def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
        values = np.asarray(given[name] if shape else getattr(phase, name), registers.dtype)
        return np.ascontiguousarray(values if shape else np.broadcast_to(values, lanes))

    threads.run(kernel, [array(*each) for each in kernel.arrays.items()], lanes, steps)
    after = [_back(moved[f"weights{number}"], layer) for number, layer in enumerate(weights)]
    memory = [_back(moved[f"velocity{number}"], layer) for number, layer in enumerate(velocity)]
    return carry._replace(
        moving=tuple(after),
        optimizer=jax.tree.unflatten(jax.tree.structure(carry.optimizer), memory),
        step=carry.step + np.int32(steps),
    )


def modes_descended(
    registers: Registers, constants: Constants, carry: descent_modes.Carry, steps: int, nesterov: bool
) -> descent_modes.Carry:
    """All steps of all modes of all lanes, of `Modes`, from what `Modes.in_own_unit` gives."""
    fixed, moving = jax.tree.leaves(constants), jax.tree.leaves(carry.moving)
    names = [name for name, values in constants._asdict().items() for _ in jax.tree.leaves(values)]
    momentum = carry.moving.velocity is not None
    kernel = ModeKernel(registers, len(carry.moving.layers), tuple(names), momentum, nesterov)
    shape = moving[0].shape
    count = int(np.prod(shape))
    units = -(-count // kernel.modes)
    arrays = threads.empty((len(fixed) + len(moving), units * kernel.modes), np.dtype(registers.dtype))
    arrays[:, count:] = 0
    for row, values in zip(arrays, [*fixed, *moving], strict=True):
        row[:count] = np.asarray(values).ravel()
    threads.run(kernel, list(arrays), units, steps)
    ended = [_back(row[:count].reshape(shape), like) for row, like in zip(arrays[len(fixed) :], moving, strict=True)]
    return carry._replace(moving=jax.tree.unflatten(jax.tree.structure(carry.moving), ended))


@partial(jax.jit, static_argnames="solver")
def _begun(solver: Any, carry: Any, target: Target, phase: Phase, swept: Any) -> tuple[Constants, Any]:
    return jax.vmap(lambda one, values: solver.in_own_unit(one, target, phase.put(values)))(carry, swept)


def _back(values: np.ndarray, like: jax.Array) -> jax.Array:
    """On the devices where it was."""
    placed: jax.Array = jax.device_put(values, like.sharding) if like.committed else jnp.asarray(values)
    return placed
