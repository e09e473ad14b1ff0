"""Frames of aligned problems: found once, no more bases tried than it takes, and what measures see through them."""

import numpy as np
import pytest

import linsim as ls
from linsim.dynamics.modes import frame
from linsim.measures.built_in import LEARNED, PRODUCT

STRENGTHS = np.array([2.0, 1.0, 0.5])


def problem_of(pretrain, finetune, start):
    weights = ls.stack_seeds([ls.aligned((3, 3, 3), start, np.array([0.3, 0.1, 0.2]))])
    budgets = np.array([3, 10])
    return ls.Problem(ls.Transfer(pretrain, finetune), weights, ls.Phase(0.02), ls.Phase(0.02), budgets, 5)


def test_the_first_bases_that_fit_are_the_last_ones_tried(monkeypatch):
    task, tried = ls.LinearTask.create(STRENGTHS), []
    found = frame._try_bases
    monkeypatch.setattr(frame, "_try_bases", lambda *given: tried.append(given) or found(*given))
    problem = problem_of(task, task, task)
    first = frame.find_frame(problem)
    assert frame.find_frame(problem) is first
    assert len(tried) == 1


def test_a_frame_goes_with_its_problem():
    task = ls.LinearTask.create(STRENGTHS)
    problem = problem_of(task, task, task)
    frame.find_frame(problem)
    known = len(frame._FOUND)
    del problem
    assert len(frame._FOUND) < known


@pytest.mark.parametrize("equal", [False, True])
def test_strengths_along_the_modes_are_those_of_the_product(equal):
    """Where the pre-training task repeats a strength, its own bases need not be the common ones."""
    basis = ls.random_basis(3, np.random.default_rng(0))
    common = ls.LinearTask.create(STRENGTHS, left=basis, right=basis)
    pretrain = ls.LinearTask.create(np.ones(3)) if equal else common
    problem = problem_of(pretrain, common, common)
    assert frame.find_frame(problem).of_pretraining is not equal
    found = ls.sweep(problem, {}, [LEARNED, PRODUCT.taken("checkpoint")], solver="modes", rechecked=0)
    for budget in range(2):
        told = found.isel(pretrain_steps=budget, seed=0)
        expected = np.diag(pretrain.left.T @ told["product"].transpose("output", "input").values @ pretrain.right)
        np.testing.assert_allclose(told["learned"], expected, atol=1e-14)


def test_the_target_of_a_task_is_formed_once_and_cannot_be_written():
    task = ls.LinearTask.create(STRENGTHS)
    assert task.target is task.target
    with pytest.raises(ValueError, match="read-only"):
        task.target[0, 0] = 5.0
