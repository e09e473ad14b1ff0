"""The compiled programs of both phases, each mapped over runs: pre-training trajectories, or lanes of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from linsim.dynamics.kernels.paths import descended
from linsim.dynamics.runs import Lanes, Trajectories
from linsim.dynamics.seen import FINETUNE_LOSS_AFTER, PRETRAIN_LOSS_AFTER, Measured, Surroundings, observe
from linsim.dynamics.solver import Solver, State, Target
from linsim.measure import Measure
from linsim.phase import Phase


def _many_steps(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """Compile a program that spends its time in loops over lanes, for where no kernel takes its place.

    On a CPU with vectors of 512 bits: XLA's 256 leave the units waiting on chains of multiplications, at 0.6 of the
    speed (`python -m benchmarks.modes`). Processors without such vectors take them in two halves.
    """
    anywhere = jax.jit(function, **settings)
    on_cpu = jax.jit(function, compiler_options={"xla_cpu_prefer_vector_width": 512}, **settings)

    @wraps(function)
    def run(*arguments: Any) -> Any:
        return (on_cpu if jax.default_backend() == "cpu" else anywhere)(*arguments)

    run.lower = on_cpu.lower  # type: ignore[attr-defined] # to look at the program, as of any jitted function
    return run


@jax.jit
def chosen(keys: Any, seeds: Any) -> Any:
    """The keys of runs, by their seeds."""
    return keys[seeds]


@partial(jax.jit, static_argnames="solver")
def begin(solver: Solver, initial: State, phase: Phase, keys: Any, trajectories: Trajectories) -> Any:
    """Enter pre-training at the initial weights of every trajectory."""

    def begin(run: Trajectories) -> Any:
        state = jax.tree.map(lambda leaf: leaf[run.seed], initial)
        return solver.begin(state, phase.put(run.swept), keys[run.seed])

    return jax.vmap(begin)(trajectories)


def advance(
    solver: Solver, carry: Any, target: Target, phase: Phase, steps: Any, keys: Any, trajectories: Trajectories
) -> Any:
    """Pre-train every trajectory for a number of steps."""
    by_kernel = descended(solver, carry, target, phase, trajectories.swept, steps)
    return advanced(solver, carry, target, phase, steps, keys, trajectories) if by_kernel is None else by_kernel


@partial(_many_steps, static_argnames="solver")
def advanced(
    solver: Solver, carry: Any, target: Target, phase: Phase, steps: Any, keys: Any, trajectories: Trajectories
) -> Any:
    """The same by XLA."""

    def advance(one: Any, run: Trajectories) -> Any:
        return solver.advance(one, target, phase.put(run.swept), steps, keys[run.seed])

    return jax.vmap(advance)(carry, trajectories)


@partial(jax.jit, static_argnames=("solver", "idealised", "measures"))
def record(
    solver: Solver,
    carry: Any,
    world: Surroundings,
    trajectories: Trajectories,
    steps: Any,
    idealised: bool,
    measures: tuple[Measure, ...],
) -> tuple[State, Measured]:
    """The checkpoint of every trajectory, and what is measured there."""

    def record(one: Any, run: Trajectories) -> tuple[State, Measured]:
        state = solver.idealise(solver.state(one), world.targets[0]) if idealised else solver.state(one)
        return state, observe(measures, solver, state, world.of_run(run.seed, run.swept), None, steps)

    return jax.vmap(record)(carry, trajectories)


@partial(jax.jit, static_argnames="solver")
def branch(solver: Solver, states: State, phase: Phase, keys: Any, lanes: Lanes) -> Any:
    """Enter fine-tuning at the checkpoint of every lane."""

    def branch(lane: Lanes) -> Any:
        checkpoint = jax.tree.map(lambda leaf: leaf[lane.budget, lane.trajectory], states)
        return solver.begin(checkpoint, phase.put(lane.swept), keys[lane.trajectory])

    return jax.vmap(branch)(lanes)


def continued(solver: Solver, carry: Any, target: Target, phase: Phase, lanes: Lanes, steps: Any, keys: Any) -> Any:
    """Fine-tune every lane for a number of steps."""
    by_kernel = descended(solver, carry, target, phase, lanes.swept, steps)
    return tuned(solver, carry, target, phase, lanes, steps, keys) if by_kernel is None else by_kernel


@partial(_many_steps, static_argnames="solver", donate_argnames="carry")
def tuned(solver: Solver, carry: Any, target: Target, phase: Phase, lanes: Lanes, steps: Any, keys: Any) -> Any:
    """The same by XLA."""

    def advance(one: Any, lane: Lanes) -> Any:
        return solver.advance(one, target, phase.put(lane.swept), steps, keys[lane.trajectory])

    return jax.vmap(advance)(carry, lanes)


@partial(jax.jit, static_argnames="solver")
def states(solver: Solver, carry: Any) -> State:
    """States of all runs."""
    return jax.vmap(solver.state)(carry)


@partial(jax.jit, static_argnames=("solver", "measures"))
def observed(
    solver: Solver,
    carry: Any,
    world: Surroundings,
    checkpoints: State,
    seeds: Any,
    lanes: Lanes,
    steps: Any,
    measures: tuple[Measure, ...],
) -> Measured:
    """What is measured of every lane where it is."""

    def measure(one: Any, lane: Lanes) -> Measured:
        began = jax.tree.map(lambda leaf: leaf[lane.budget, lane.trajectory], checkpoints)
        around = world.of_run(seeds[lane.trajectory], lane.swept)
        return observe(measures, solver, solver.state(one), around, began, steps)

    return jax.vmap(measure)(carry, lanes)


@partial(jax.jit, static_argnames=("solver", "measures"))
def ended(
    solver: Solver,
    carry: Any,
    world: Surroundings,
    checkpoints: State,
    seeds: Any,
    lanes: Lanes,
    steps: Any,
    measures: tuple[Measure, ...],
    ceiling: Any,
) -> tuple[Measured, Array]:
    """What is measured of every lane at its end, both losses among it, and whether it has diverged."""
    measured = observed(solver, carry, world, checkpoints, seeds, lanes, steps, measures)
    worst = jnp.maximum(measured[PRETRAIN_LOSS_AFTER.name], measured[FINETUNE_LOSS_AFTER.name])
    return measured, ~(jnp.isfinite(worst) & (worst <= ceiling))
