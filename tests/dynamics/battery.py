"""A battery of problems, with the solvers that refuse each; `python -m tests.dynamics.battery` prints the table."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import optax

from linsim import network
from linsim.dynamics.choosing import choose
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.phase import Phase
from linsim.problem import stack_seeds
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

NAMES = ("modes", "gram", "flow")

# Rounding of one step is 1e-16 relative and the dynamics are stable, so errors add up along the 2,300 steps at most
# linearly, to 2e-13; escape from the small initial scale, a growth by 1e2, may multiply that. 1e-10 is what we promise;
# gram does the operations of dense in another basis, without that growth, and is held to 1e-11.
AGREEMENT = {"modes": 1e-10, "gram": 1e-11}


class Case(NamedTuple):
    """A problem, what is swept in it, and the solvers that refuse it with the assumption that fails."""

    problem: object
    refusals: Mapping[str, str] = MappingProxyType({})
    regularizer: str = "product_penalty"


NOT_TWO = {"gram": "hidden vectors of .* layers"}
NOT_PLAIN = {"flow": "not plain gradient descent"}


def wide(problem, hidden=60):
    """The same transfer from Gaussian weights of a hidden layer far wider than both sides."""
    inputs, outputs = problem.widths[0], problem.widths[-1]
    drawn = [network.gaussian((inputs, hidden, outputs), 0.05, key) for key in jax.random.split(jax.random.key(1), 2)]
    return replace(problem, initial=stack_seeds(drawn))


def battery():
    """Name -> case."""
    momentum = Phase(0.004, momentum=0.8)
    nesterov = Phase(0.004, momentum=0.8, nesterov=True)
    cosine = Phase(0.01, schedule=optax.cosine_decay_schedule(1.0, 2000))
    noisy = Phase(0.01, batch_size=4)
    plain = Phase(0.01)
    one = aligned_problem(1, pretrain=plain, coloured=True)
    return {
        "aligned, depth 1": Case(one, NOT_TWO),
        "aligned, depth 2": Case(aligned_problem(2, pretrain=plain, coloured=True)),
        "aligned, depth 3": Case(aligned_problem(3, pretrain=plain, coloured=True), NOT_TWO),
        "aligned, depth 4": Case(aligned_problem(4, pretrain=plain), NOT_TWO),
        "aligned, weight decay": Case(aligned_problem(2, coloured=True), regularizer="weight_decay"),
        "aligned, depth 3, weight decay": Case(
            aligned_problem(3), NOT_TWO | {"flow": "weight decay of more than two layers"}
        ),
        "aligned, pull in weight space": Case(
            aligned_problem(2, finetune=Phase(0.01, weight_penalty=0.1)), {"flow": "penalty in weight space"}
        ),
        "aligned, sweep in weight space": Case(
            aligned_problem(2), {"flow": "penalty in weight space"}, "weight_penalty"
        ),
        "aligned, momentum": Case(aligned_problem(2, pretrain=momentum, finetune=momentum), NOT_PLAIN),
        "aligned, Nesterov": Case(aligned_problem(2, pretrain=nesterov, finetune=nesterov), NOT_PLAIN),
        "aligned, cosine schedule": Case(aligned_problem(2, pretrain=cosine), {"flow": "rate .* is not constant"}),
        "aligned, idealised": Case(aligned_problem(2, random_bases=False, idealised=True, pretrain=plain)),
        "aligned, narrow": Case(aligned_problem(2, inputs=5, hidden=2, outputs=6, pretrain=plain)),
        "balanced, random bases": Case(balanced_problem(), {"modes": "not diagonal"}),
        "balanced, weight decay": Case(balanced_problem(), {"modes": "not diagonal"}, "weight_decay"),
        "balanced, wide": Case(balanced_problem(hidden=12, variance=0.5), {"modes": "not diagonal"}),
        "balance 0.7": Case(balanced_problem(0.7), {"modes": "not diagonal"}),
        "balance -1.3": Case(balanced_problem(-1.3, inputs=3, outputs=6), {"modes": "not diagonal"}),
        "balance 0.7, weight decay": Case(
            balanced_problem(0.7, pretrain=Phase(0.01, weight_decay=0.1)),
            {"modes": "not diagonal", "flow": "weight decay .* l = 0.7"},
        ),
        "Gaussian start": Case(
            gaussian_problem(), {"modes": "couples the modes", "flow": "couples the modes.*no multiple of the identity"}
        ),
        "Gaussian start, depth 1": Case(gaussian_problem(1), {"modes": "couples the modes"} | NOT_TWO),
        "Gaussian start, depth 1, pull in weight space": Case(
            gaussian_problem(1), {"modes": "couples the modes"} | NOT_TWO, "weight_penalty"
        ),
        "Gaussian start, wide": Case(
            wide(aligned_problem(2)), {"modes": "overlapping directions", "flow": "not lambda-balanced: balance off by"}
        ),
        "wide, momentum and pull": Case(
            wide(gaussian_problem(pretrain=momentum, finetune=replace(nesterov, weight_penalty=0.2))),
            {"modes": "couples the modes"} | NOT_PLAIN,
        ),
        "minibatches": Case(
            wide(gaussian_problem(pretrain=noisy, finetune=noisy)), {"modes": "minibatches", "flow": "minibatches"}
        ),
        "Adam": Case(
            aligned_problem(2, finetune=Phase(1e-4, optimizer=optax.adam)),
            {"modes": "the optimizer", "gram": "the optimizer of fine-tuning"} | NOT_PLAIN,
        ),
        "Gaussian start, depth 3": Case(
            gaussian_problem(3),
            {"modes": "couples the modes", "flow": "couples the modes.*two layers, not 3"} | NOT_TWO,
        ),
    }


def outcomes(problem, name, regularizer, refinement=1):
    """Losses and products of the weights over a whole pre-training and fine-tuning, by one solver.

    With a refinement, as many times the steps at as much smaller rates: the same flow times.
    """
    solver = choose(problem.tuned(0.008, regularizer, 0.5), name).solver
    fine = replace(
        problem,
        budgets=problem.budgets * refinement,
        finetune_steps=problem.finetune_steps * refinement,
        pretrain=replace(problem.pretrain, learning_rate=problem.pretrain.learning_rate / refinement),
    )
    session = Session.open(fine, solver, np.float64)
    checkpoints = session.pretrain()
    budget, rate = (values.ravel() for values in np.meshgrid(np.arange(3), np.asarray([0.002, 0.008]) / refinement))
    lanes = Lanes(
        budget.astype(np.int32),
        budget.astype(np.int32) % problem.seeds,
        {"learning_rate": rate, regularizer: np.full(6, 0.5)},
    )
    finetuned = session.finetune(checkpoints, lanes)
    assert not np.any(finetuned.diverged)
    last = jax.tree.map(lambda leaf: leaf[-1], checkpoints.states)
    weights = [np.asarray(weight) for weight in solver.weights(problem, last)]
    products = [np.swapaxes(weights[0], 1, 2) @ weights[0], weights[-1] @ np.swapaxes(weights[-1], 1, 2)]
    # The hidden rotation that the matrix flow leaves open is the only thing not compared for flow.
    return [np.asarray(checkpoints.losses), *map(np.asarray, finetuned[:2]), *(weights if name != "flow" else products)]


def deviation(ours, theirs):
    """Largest difference, relative to the largest entry of each outcome."""
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(ours, theirs, strict=True))


def distance_to_dense(case, name):
    """Largest deviation of a stepping solver from dense."""
    return deviation(*(outcomes(case.problem, solver, case.regularizer) for solver in (name, "dense")))


def approach_to_flow(case):
    """Distances from the flow: of dense at a half and a quarter of the rates, and of the extrapolation from both.

    Descent differs from the flow by a series in the rate; twice the outcome at the smaller rate minus the one at the
    larger loses its first term.
    """
    flow = outcomes(case.problem, "flow", case.regularizer)
    full, half = (_as_flow(case, refinement) for refinement in (2, 4))
    extrapolated = [2 * b - a for a, b in zip(full, half, strict=True)]
    return tuple(deviation(steps, flow) for steps in (full, half, extrapolated))


def _as_flow(case, refinement):
    losses_and_weights = outcomes(case.problem, "dense", case.regularizer, refinement)
    losses, weights = losses_and_weights[:3], losses_and_weights[3:]
    return [*losses, np.swapaxes(weights[0], 1, 2) @ weights[0], weights[-1] @ np.swapaxes(weights[-1], 1, 2)]


def main():
    """Print the table."""
    print("Deviation from dense in float64, relative; for flow, of dense at a half, a quarter, and extrapolated.\n")
    print("| problem | auto | " + " | ".join(NAMES) + " |\n|" + "---|" * (len(NAMES) + 2))
    for title, case in battery().items():
        cells = [choose(case.problem.tuned(0.008, case.regularizer, 0.5)).solver.name]
        for name in NAMES:
            if name in case.refusals:
                cells.append("refused: " + case.refusals[name].replace(".*", "..."))
            elif name == "flow":
                cells.append(", ".join(f"{distance:.0e}" for distance in approach_to_flow(case)))
            else:
                cells.append(f"{distance_to_dense(case, name):.0e}")
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
