"""The gradient flow of two layers in closed form against numerical integration, and charts by `flow` against `dense`.

    python -m benchmarks.flow [--json FILE] [--quick]

Problems are targets without common singular vectors, each with balanced weights in bases of its own, followed to one
time at which the last mode is learned. The peer is diffrax: Dopri8, adaptive steps, rtol = 1e-8 and atol = 1e-10,
compiled and vmapped over the problems, of which it integrates the first few. A chart by `flow` is timed with its
prediction left out, as is that by `dense`: budgets x rates x strengths.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from benchmarks.racing import Row, main, race
from linsim import (
    LinearTask,
    Phase,
    Problem,
    Rescale,
    Rotate,
    balanced,
    chart,
    power_law,
    random_basis,
    shifted,
    stack_seeds,
)
from linsim.dynamics.choosing import SolverName
from linsim.dynamics.matrices.eigenbasis import spectrum
from linsim.dynamics.matrices.factor_flow import factor_flow

Arrays = tuple[np.ndarray, ...]


def problems(dim: int, count: int) -> Arrays:
    """(U, sigma, V^T, W_1, W_2) of every problem; det P has the sign of det A, so that every mode can be learned."""
    rng = np.random.default_rng(0)

    def bases() -> np.ndarray:
        return np.linalg.qr(rng.normal(size=(count, dim, dim)))[0]

    left, right, inner, middle, outer = (bases() for _ in range(5))
    strengths, scale = np.broadcast_to(power_law(dim), (count, dim)), np.exp(-4)
    flipped = np.prod([np.linalg.det(basis) for basis in (left, right, inner, outer)], axis=0) < 0
    outer[:, :, 0] *= np.where(flipped, -1, 1)[:, None]
    return left, strengths, right.mT, scale * middle @ inner.mT, scale * outer @ middle.mT


def closed_form(given: Arrays, time: float) -> Callable[[], jax.Array]:
    """P(t) of every problem; A is factorised within, as it would be by a user who has it as a matrix."""

    @jax.jit
    def run(targets: Any, first: Any, second: Any) -> jax.Array:
        left, strengths, right = jnp.linalg.svd(targets)

        def one(left: Any, strengths: Any, right: Any, first: Any, second: Any) -> jax.Array:
            modes = spectrum(left, strengths, right.T, jnp.zeros(()))
            factor = factor_flow(modes, jnp.concatenate([first.T, second]), jnp.asarray(time), jnp.zeros(()))
            return factor[len(right) :] @ factor[: len(right)].T

        return jax.vmap(one)(left, strengths, right, first, second)

    left, strengths, right, first, second = given
    arrays = [jnp.asarray(values) for values in ((left * strengths[:, None, :]) @ right, first, second)]
    return lambda: run(*arrays)


def integrated(given: Arrays, time: float, rtol: float) -> Callable[[], tuple[jax.Array, jax.Array]]:
    """P(t) of every problem by diffrax, and the number of its steps."""
    left, strengths, right, first, second = given
    targets = jnp.asarray((left * strengths[:, None, :]) @ right)

    def one(target: Any, first: Any, second: Any) -> tuple[jax.Array, jax.Array]:
        def slope(_: Any, weights: Any, goal: Any) -> Any:
            first, second = weights
            pull = 2 * (goal - second @ first)
            return second.T @ pull, pull @ first.T

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri8(),
            t0=0.0,
            t1=time,
            dt0=None,
            y0=(first, second),
            args=target,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=1e-2 * rtol),
            max_steps=100_000,
            adjoint=diffrax.ForwardMode(),
        )
        later_first, later_second = solution.ys
        return later_second[-1] @ later_first[-1], solution.stats["num_steps"]

    run = jax.jit(jax.vmap(one))
    start = jnp.asarray(first), jnp.asarray(second)
    return lambda: run(targets, *start)


def build(dim: int, longer: int) -> Problem:
    """A chart's problem; `longer` stretches the horizon and the number of fine-tuning steps."""
    rng = np.random.default_rng(0)
    task = LinearTask.create(power_law(dim), left=random_basis(dim, rng), right=random_basis(dim, rng))
    weights = balanced((dim, dim, dim), float(np.exp(-4)), jax.random.key(0))
    return Problem(
        transfer=shifted(task, Rescale(range(dim // 4 + 1, dim + 1), factor=4.0), Rotate(20.0)),
        initial=stack_seeds([weights]),
        pretrain=Phase(1e-3),
        finetune=Phase(1e-3),
        budgets=np.unique(np.geomspace(100, 10_000 * longer, 20).astype(int)),
        finetune_steps=250 * longer,
    )


def charted(problem: Problem, solver: SolverName, rates: int) -> Callable[[], xr.Dataset]:
    """A chart of a problem."""
    axes = np.geomspace(1e-5, 2e-3, rates), np.asarray([0.0, 0.5, 2.0])
    return lambda: chart(problem, *axes, solver=solver, predicted=False)


def rows(quick: bool) -> Iterator[Row]:
    """Against integration, at two tolerances of the peer; charts of two horizons against `dense`."""
    dim, count, few, rounds = (4, 8, 2, 1) if quick else (32, 1000, 32, 3)
    with jax.enable_x64(True):
        given, time = problems(dim, count), 4.0 * dim  # a mode starts at e^-8 and is half learned before 2 / sigma
        ours = closed_form(given, time)
        peer = integrated(tuple(values[:few] for values in given), time, 1e-8)
        ends, steps = peer()
        targets = (given[0] * given[1][:, None, :]) @ given[2]
        exact = np.asarray(ours())
        apart = np.max(np.abs(exact[:few] - np.asarray(ends)))
        left = np.max(np.abs(exact - targets))
        note = (
            f"{few} problems of the peer, {int(np.mean(steps))} steps each; P apart by {apart:.0e}, from A {left:.0e}"
        )
        name = f"diffrax, Dopri8, rtol 1e-8, d = {dim}, t = {time:g}"
        yield race(name, count, "problems", ours, peer, rounds=rounds, peer_work=few, note=note)
        for longer in (1,) if quick else (1, 8):
            problem, rates = build(4 if quick else 16, longer), 2 if quick else 8
            charts = charted(problem, "flow", rates), charted(problem, "dense", rates)
            losses = [np.asarray(run()["pretrain_loss_after"]) for run in charts]
            between = np.max(np.abs(losses[0] - losses[1])) / np.max(losses[1])
            total = f"{problem.budgets[-1]} + {problem.finetune_steps} steps"
            name, work = f"chart by dense, d = {problem.widths[0]}, {total}", losses[0].size
            note = f"losses apart by {between:.0e} of the largest, as descent is from flow"
            yield race(name, work, "lanes", *charts, rounds=rounds, note=note)


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
