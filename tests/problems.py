"""Small problems shared by the tests."""

from dataclasses import replace

import jax
import numpy as np

from linsim import network, shifts, spectra
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.spectra import power_covariance
from linsim.tasks import LinearTask, random_basis

STRENGTHS = spectra.power_law(5)


def aligned_problem(
    depth=2,
    *,
    inputs=6,
    outputs=5,
    hidden=7,
    random_bases=True,
    coloured=False,
    seeds=2,
    pretrain=None,
    finetune=None,
    budgets=(50, 400, 2000),
    finetune_steps=300,
    idealised=False,
):
    """Rectangular, aligned, with random bases everywhere, hidden layers included; seeds differ in their scale."""
    rng = np.random.default_rng(0)
    basis = (lambda size: random_basis(size, rng)) if random_bases else np.eye
    left, right = basis(outputs), basis(inputs)
    covariance = power_covariance(right, 0.5) if coloured else None
    modes = min(inputs, outputs)
    task = LinearTask.create(
        STRENGTHS[:modes], outputs=outputs, inputs=inputs, left=left, right=right, input_covariance=covariance
    )
    transfer = shifts.shifted(
        task, shifts.Rescale(range(3, modes + 1), 4.0), shifts.Permute((2, 1, *range(3, modes + 1)))
    )
    widths = (inputs, *([hidden] * (depth - 1)), outputs)
    small = np.linspace(0.1, 0.02, modes) ** (depth / 2) * (np.arange(modes) < min(widths))
    turns = [np.eye(inputs), *(basis(hidden) for _ in range(depth - 1)), np.eye(outputs)]
    drawn = []
    for seed in range(seeds):
        weights = network.aligned(widths, task, small * 1.5**seed)
        drawn.append([turns[l + 1] @ np.asarray(weight) @ turns[l].T for l, weight in enumerate(weights)])
    return Problem(
        transfer,
        stack_seeds(drawn),
        pretrain or Phase(0.01, weight_decay=0.01),
        finetune or Phase(0.01),
        np.asarray(budgets),
        finetune_steps,
        idealised,
    )


def gaussian_problem(depth=2, *, dim=6, seeds=2, scale=0.05, **changes):
    """Nothing shared between targets, covariances and initial weights."""
    rng = np.random.default_rng(1)
    task = LinearTask.create(
        spectra.power_law(dim),
        left=random_basis(dim, rng),
        right=random_basis(dim, rng),
        input_covariance=power_covariance(random_basis(dim, rng), 0.5),
        label_noise=0.1,
    )
    transfer = shifts.shifted(task, shifts.Rescale(range(2, dim + 1), 4.0), shifts.Rotate(20.0))
    keys = jax.random.split(jax.random.key(0), seeds)
    drawn = [network.gaussian((dim,) * (depth + 1), scale, key) for key in keys]
    problem = Problem(transfer, stack_seeds(drawn), Phase(0.01), Phase(0.01), np.asarray((50, 400, 2000)), 300)
    return replace(problem, **changes)


def balanced_problem(balance=0.0, *, inputs=5, outputs=4, hidden=3, seeds=2, variance=1.0, **changes):
    """Two lambda-balanced layers in random bases, and targets whose singular vectors differ."""
    rng = np.random.default_rng(2)
    task = LinearTask.create(
        spectra.power_law(min(inputs, outputs)),
        outputs=outputs,
        inputs=inputs,
        left=random_basis(outputs, rng),
        right=random_basis(inputs, rng),
        input_covariance=variance * np.eye(inputs),
    )
    transfer = shifts.shifted(task, shifts.Rescale(range(3, min(inputs, outputs) + 1), 3.0), shifts.Rotate(25.0))
    keys = jax.random.split(jax.random.key(0), seeds)
    drawn = [network.lambda_balanced((inputs, hidden, outputs), 0.2, balance, key) for key in keys]
    problem = Problem(transfer, stack_seeds(drawn), Phase(0.01), Phase(0.01), np.asarray((50, 400, 2000)), 300)
    return replace(problem, **changes)
