"""All steps of all chains in one kernel: each thread keeps its modes in registers from the first step to the last."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from linsim.dynamics.modes.mode_steps import Constants, Moving, loop, step

_BLOCK = 256  # modes of a program of the kernel
_WARPS = 4  # of 32 threads, so that a thread has two modes and one hides the latency of the other


def descend(constants: Constants, moving: Moving, steps: Any, nesterov: bool) -> Moving:
    """Many steps: one kernel where the program is lowered for an NVIDIA GPU, a loop of passes over memory elsewhere.

    Lanes of a vmap are further modes of the same kernel. The number of steps is one for all of them.
    """
    run = custom_vmap(partial(_descend, nesterov=nesterov))

    @run.def_vmap
    def _(axis_size: int, batched: Any, constants: Constants, moving: Moving, steps: Any) -> tuple[Moving, Moving]:
        *where, counted = batched
        assert not counted, "lanes that step together take the same number of steps"

        def spread(leaf: Any, has_lanes: bool) -> Any:
            return leaf if has_lanes else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        fixed, begun = jax.tree.map(spread, (constants, moving), tuple(where))
        return descend(fixed, begun, steps, nesterov), jax.tree.map(lambda _: True, moving)

    result: Moving = run(constants, moving, jnp.asarray(steps, "int32"))
    return result


def _descend(constants: Constants, moving: Moving, steps: Any, nesterov: bool) -> Moving:
    if not _on_gpu():  # nothing is traced, or imported, for a device that is not there
        return loop(constants, moving, steps, nesterov)
    result: Moving = lax.platform_dependent(
        constants,
        moving,
        steps,
        cuda=partial(in_one_kernel, nesterov=nesterov),
        default=partial(loop, nesterov=nesterov),
    )
    return result


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def in_one_kernel(
    constants: Constants, moving: Moving, steps: Any, nesterov: bool = False, interpret: bool = False
) -> Moving:
    """`loop` as one Triton kernel over blocks of modes, of lanes and modes alike.

    Args:
      constants: arrays of one shape.
      moving: arrays of the same shape.
      steps: how many; may be traced.
      nesterov: Nesterov's form of the momentum.
      interpret: run by the interpreter of Pallas, on any device.
    """
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    shape = moving.layers[0].shape
    count = math.prod(shape)
    blocks = pallas.cdiv(count, _BLOCK)
    inputs, structure = jax.tree.flatten((constants, moving))
    outputs, moves = jax.tree.flatten(moving)

    def kernel(steps_ref: Any, *refs: Any) -> None:
        fixed, begun = jax.tree.unflatten(structure, [ref[...] for ref in refs[: len(inputs)]])
        ended = lax.fori_loop(0, steps_ref[0], lambda _, here: step(fixed, here, nesterov), begun)
        for ref, values in zip(refs[len(inputs) :], jax.tree.leaves(ended), strict=True):
            ref[...] = values

    def flat(values: Any) -> Any:
        return jnp.pad(values.reshape(count), (0, blocks * _BLOCK - count))

    block = pallas.BlockSpec((_BLOCK,), lambda number: (number,))
    run = pallas.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct((blocks * _BLOCK,), values.dtype) for values in outputs],
        grid=(blocks,),
        in_specs=[pallas.BlockSpec((1,), lambda number: (0,)), *[block] * len(inputs)],
        out_specs=[block] * len(outputs),
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=interpret,
        name="descent_of_modes",
    )
    ended = run(jnp.reshape(jnp.asarray(steps, "int32"), (1,)), *map(flat, inputs))
    result: Moving = jax.tree.unflatten(moves, [values[:count].reshape(shape) for values in ended])
    return result
