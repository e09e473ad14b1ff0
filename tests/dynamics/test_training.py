"""Weights along pre-training and after fine-tuning, for measures that take weights."""

import jax
import numpy as np
import pytest

from linsim.dynamics.choosing import SOLVERS
from linsim.dynamics.runs import Lanes
from linsim.dynamics.training import Session
from linsim.losses import population_loss
from linsim.measures.forgetting import exact_forgetting, forgetting_by_mode
from linsim.phase import Phase
from tests.problems import aligned_problem

RATE, STRENGTH = 0.01, 0.5


def over_checkpoints(function):
    """A function of weights (and of weights after fine-tuning) at every budget of every seed."""
    return jax.vmap(jax.vmap(function))


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_weights_have_the_losses_that_are_told(solver):
    problem = aligned_problem(pretrain=Phase(0.01), finetune=Phase(0.01, weight_decay=0.05))
    refused = solver.refusal(problem)
    assert refused is None, refused
    session = Session.open(problem, solver, np.float64)
    checkpoints = session.pretrain()
    before = session.weights(checkpoints.states)
    after = session.weights(session.tuned(checkpoints, "product_penalty", RATE, STRENGTH))
    shape = len(problem.budgets), problem.seeds
    assert [layer.shape for layer in before] == [(*shape, 7, 6), (*shape, 5, 7)]
    pretrain, finetune = (
        jax.numpy.asarray(task.target) for task in (problem.transfer.pretrain, problem.transfer.finetune)
    )
    budget, seed = (np.ravel(index).astype(np.int32) for index in np.indices(shape))
    swept = {"learning_rate": np.full(budget.size, RATE), "product_penalty": np.full(budget.size, STRENGTH)}
    lanes = Lanes(jax.numpy.asarray(budget), jax.numpy.asarray(seed), swept)
    told = session.finetune(checkpoints, lanes)
    for weights, target, losses in (
        (before, pretrain, checkpoints.losses),
        (after, pretrain, told.pretrain_loss),
        (after, finetune, told.finetune_loss),
    ):
        found = over_checkpoints(lambda layers, target=target: population_loss(layers, target))(weights)
        # The same numbers in other coordinates; the smallest loss is 1e-9 of the largest.
        np.testing.assert_allclose(found, np.reshape(losses, shape), rtol=1e-9, atol=1e-13)


def test_forgetting_along_pretraining_is_told_mode_by_mode():
    problem = aligned_problem(pretrain=Phase(0.01), finetune=Phase(0.01))
    session = Session.open(problem, SOLVERS[0], np.float64)
    checkpoints = session.pretrain()
    before = session.weights(checkpoints.states)
    after = session.weights(session.tuned(checkpoints, "product_penalty", RATE, 0.0))
    task = problem.transfer.pretrain
    modes = over_checkpoints(lambda old, new: forgetting_by_mode(old, new, task).total)(before, after)
    whole = over_checkpoints(lambda old, new: exact_forgetting(old, new, task.target))(before, after)
    np.testing.assert_allclose(modes.sum(axis=-1), whole, rtol=1e-10, atol=1e-12)
    late = np.asarray(modes[-1])  # modes 3 to 5 are wanted at four times their strength
    assert np.all(late[:, 2] > 0.1 * np.asarray(whole[-1]))
