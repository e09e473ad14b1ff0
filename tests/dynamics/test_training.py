"""Weights along pre-training and after fine-tuning, as measures see them."""

import jax
import numpy as np
import pytest

from linsim.dynamics.choosing import SOLVERS
from linsim.dynamics.matrices.layer_flow import FlowLayer
from linsim.losses import population_loss
from linsim.measure import Measure
from linsim.measures.forgetting import exact_forgetting, forgetting_by_mode
from linsim.phase import Phase
from linsim.sweeping.sweep import sweep
from tests.problems import aligned_problem

WEIGHTS = {
    at: [
        Measure(f"{at}_{layer}", dims=(f"row_{layer}", f"column_{layer}"), at=at, of=of, up_to_rotation=True)
        for layer, of in enumerate((lambda seen: seen.weights[0], lambda seen: seen.weights[1]))
    ]
    for at in ("checkpoint", "tuned")
}


def weights_of(problem, penalty, solver):
    """A sweep of one rate and strength, the losses it tells, and (W_1, W_2) by place: (budget, seed, rows, columns)."""
    axes = {"learning_rate": [0.01], "product_penalty": [penalty]}
    measures = [measure for each in WEIGHTS.values() for measure in each]
    told = sweep(problem, axes, measures, solver=solver, rechecked=0).isel(learning_rate=0, product_penalty=0)
    return told, *(tuple(told[measure.name].values for measure in each) for each in WEIGHTS.values())


def over_checkpoints(function):
    """A function of weights (and of weights after fine-tuning) at every budget of every seed."""
    return jax.vmap(jax.vmap(function))


OF_TWO_LAYERS = [solver for solver in SOLVERS if not isinstance(solver, FlowLayer)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("solver", OF_TWO_LAYERS, ids=lambda solver: type(solver).__name__)
def test_weights_have_the_losses_that_are_told(solver):
    problem = aligned_problem(pretrain=Phase(0.01), finetune=Phase(0.01, weight_decay=0.05))
    refused = solver.refusal(problem)
    assert refused is None, refused
    told, before, after = weights_of(problem, 0.5, solver)
    shape = len(problem.budgets), problem.seeds
    assert [layer.shape for layer in before] == [(*shape, 7, 6), (*shape, 5, 7)]
    pretrain, finetune = (
        jax.numpy.asarray(task.target) for task in (problem.transfer.pretrain, problem.transfer.finetune)
    )
    for weights, target, losses in (
        (before, pretrain, told["pretrain_loss_before"]),
        (after, pretrain, told["pretrain_loss_after"]),
        (after, finetune, told["finetune_loss_after"]),
    ):
        found = over_checkpoints(lambda layers, target=target: population_loss(layers, target))(weights)
        # The same numbers in other coordinates; the smallest loss is 1e-9 of the largest.
        np.testing.assert_allclose(found, losses, rtol=1e-9, atol=1e-13)


def test_forgetting_along_pretraining_is_told_mode_by_mode():
    problem = aligned_problem(pretrain=Phase(0.01), finetune=Phase(0.01))
    _, before, after = weights_of(problem, 0.0, SOLVERS[0])
    task = problem.transfer.pretrain
    modes = over_checkpoints(lambda old, new: forgetting_by_mode(old, new, task).total)(before, after)
    whole = over_checkpoints(lambda old, new: exact_forgetting(old, new, task.target))(before, after)
    np.testing.assert_allclose(modes.sum(axis=-1), whole, rtol=1e-10, atol=1e-12)
    late = np.asarray(modes[-1])  # modes 3 to 5 are wanted at four times their strength
    assert np.all(late[:, 2] > 0.1 * np.asarray(whole[-1]))
