"""Descent of scalar chains, as a sweep does it, against a parallel SIMD loop in Numba and autograd loops in PyTorch.

    python -m benchmarks.modes [--json FILE] [--quick]

Ours is `Session.finetune` of the lanes of one bite: 8 budgets, log-spaced rates and, where told, strengths, in float32.
Numba gets the same initial chains and computes the same final losses, lanes on its threads, modes in vectors, several
steps with the numbers in registers; of all such loops the fastest in a trial is raced. PyTorch trains one lane after
another with full matrices, as most people would. A mode-step is one update of all layers of a mode.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.numba_modes import PASSES, contenders
from benchmarks.racing import Row, main, race
from benchmarks.roofline import flops_of_mode_step, peak
from linsim import LinearTask, Phase, Problem, Rescale, aligned, power_law, shifted, stack_seeds
from linsim.dynamics.modes.descent_modes import Modes
from linsim.dynamics.runs import Checkpoints, Lanes
from linsim.dynamics.training import Session

STEPS_OF_TORCH = 200
LANES_OF_TORCH = 2


@dataclass(frozen=True)
class Bite:
    """Lanes that step together, and what their peers need to know of them."""

    session: Session
    checkpoints: Checkpoints
    lanes: Lanes

    @property
    def initial(self) -> np.ndarray:
        """Chains at the beginning, (lane, layer, mode)."""
        return np.asarray(self.checkpoints.states)[np.asarray(self.lanes.budget), 0]

    @property
    def swept(self) -> tuple[np.ndarray, np.ndarray]:
        """Rate and strength of every lane."""
        rates = np.asarray(self.lanes.swept["learning_rate"])
        return rates, np.asarray(self.lanes.swept.get("product_penalty", np.zeros_like(rates)))

    def losses(self) -> np.ndarray:
        """Final losses on both tasks by linsim, (task, lane)."""
        with jax.enable_x64(True):
            return np.stack([np.asarray(loss) for loss in self.session.finetune(self.checkpoints, self.lanes)[:2]])


def build(lanes: int, modes: int, steps: int, depth: int = 2, penalised: bool = True) -> Bite:
    """A problem whose modes are learned one after another, pre-trained, and lanes of all budgets and rates."""
    with jax.enable_x64(True):
        task = LinearTask.create(power_law(modes))
        start = aligned((modes,) * (depth + 1), task, np.full(modes, 0.05))
        problem = Problem(
            shifted(task, Rescale(range(modes // 4 + 1, modes + 1), factor=2.0)),
            stack_seeds([start]),
            Phase(2e-2),
            Phase(1e-2),
            np.unique(np.geomspace(10, 1000, 8).astype(int)),
            steps,
        )
        session = Session.open(problem, Modes(), np.float32)
        number = np.arange(lanes)
        swept = {"learning_rate": np.geomspace(1e-4, 3e-2, lanes)}
        if penalised:
            swept["product_penalty"] = (number % 16) / 16
        budgets = jnp.asarray(number % len(problem.budgets), jnp.int32)
        values = {name: jnp.asarray(value, jnp.float32) for name, value in swept.items()}
        return Bite(session, session.pretrain(), Lanes(budgets, jnp.zeros(lanes, jnp.int32), values))


def numba_loops(bite: Bite, passes: Sequence[int]) -> dict[str, Callable[[], np.ndarray]]:
    """Name -> a run that returns final losses on both tasks, (task, lane)."""
    tasks = (bite.session.encoded.pretrain, bite.session.encoded.finetune)
    arrays = [np.ascontiguousarray(part) for task in tasks for part in task]
    steps, initial = bite.session.problem.finetune_steps, bite.initial
    rates, strengths = bite.swept
    depth = initial.shape[1]
    return {
        name: lambda loop=loop: loop(initial, rates, strengths, *arrays, steps)  # type: ignore[misc]
        for name, loop in contenders(depth, passes).items()
    }


def torch_loop(bite: Bite) -> Callable[[], np.ndarray]:
    """Final losses of the first lanes, trained one after another by autograd and SGD on full matrices."""
    import torch

    transfer, penalty = bite.session.problem.transfer, bite.swept[1]
    targets = [torch.tensor(task.target, dtype=torch.float32) for task in (transfer.pretrain, transfer.finetune)]

    def end_to_end(weights: list[Any]) -> Any:
        product = weights[0]
        for weight in weights[1:]:
            product = weight @ product
        return product

    def train(lane: int) -> list[float]:
        weights = [torch.diag(torch.tensor(layer)).requires_grad_() for layer in bite.initial[lane]]
        optimizer = torch.optim.SGD(weights, lr=float(bite.swept[0][lane]))
        anchor = end_to_end(weights).detach()
        for _ in range(bite.session.problem.finetune_steps):
            optimizer.zero_grad()
            product = end_to_end(weights)
            loss = ((product - targets[1]) ** 2).sum() + float(penalty[lane]) * ((product - anchor) ** 2).sum()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return [float(((end_to_end(weights) - target) ** 2).sum()) for target in targets]

    return lambda: np.asarray([train(lane) for lane in range(LANES_OF_TORCH)]).T


def apart(ours: np.ndarray, theirs: np.ndarray) -> str:
    """How far final losses are from each other; of the largest of a task, since learned modes leave only rounding."""
    return (
        f"final losses apart by {np.max(np.abs(ours - theirs) / theirs.max(axis=1, keepdims=True)):.0e} of the largest"
    )


def rows(quick: bool) -> Iterable[Row]:
    """All races."""
    rounds = 1 if quick else 7
    sizes = [(64, 32, 50)] if quick else [(8192, 64, 2000), (16_384, 32, 1000)]
    cases = [(*sizes[0], 2, True), (*sizes[-1], 2, True), (*sizes[0], 2, False), (*sizes[0], 3, True)]
    for lanes, modes, steps, depth, penalised in cases[1::2] if quick else cases:
        bite = build(lanes, modes, steps, depth, penalised)
        size = f"{lanes} x {modes}, depth {depth}, {'penalty' if penalised else 'plain'}"
        ours, work = bite.losses(), float(lanes * modes * steps)
        most = peak(flops_of_mode_step(depth), "float32")
        loops = numba_loops(bite, PASSES[2:3] if quick else PASSES)
        for own_unit in (False, True):
            name = _fastest({key: run for key, run in loops.items() if ("own unit" in key) == own_unit})
            note = f"{apart(ours, loops[name]())}; Numba: {name}"
            title = f"Numba{', own unit' if own_unit else ''}: {size}"
            yield race(title, work, "mode-steps", bite.losses, loops[name], rounds=rounds, peak=most, note=note)
    lanes, modes, steps = sizes[0]
    bite = build(lanes, modes, steps)
    few = 5 if quick else STEPS_OF_TORCH
    short = replace(bite, session=replace(bite.session, problem=replace(bite.session.problem, finetune_steps=few)))
    run = torch_loop(short)
    work, peer_work = float(lanes * modes * steps), float(LANES_OF_TORCH * modes * few)
    note = f"{apart(short.losses()[:, :LANES_OF_TORCH], run())}; {LANES_OF_TORCH} lanes and {few} steps of theirs"
    title = f"PyTorch, a lane at a time: {lanes} x {modes}"
    yield race(title, work, "mode-steps", bite.losses, run, rounds=rounds, peer_work=peer_work, note=note)


def _fastest(runs: dict[str, Callable[[], np.ndarray]]) -> str:
    """By one run each, after one that compiles."""
    seconds = {}
    for name, run in runs.items():
        run()
        started = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - started
    return min(seconds, key=lambda name: seconds[name])


if __name__ == "__main__":
    sys.exit(main(rows, __doc__))
