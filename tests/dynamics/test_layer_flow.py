"""One layer on two tasks that share nothing: both phases against matrix exponentials, and their prediction."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from linsim.phase import Phase
from linsim.shifts import Rotate
from linsim.spectra import power_covariance
from linsim.sweeping.sweep import chart
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.problems import gaussian_problem

RATES, STRENGTHS = np.asarray([0.002, 0.02]), np.asarray([0.0, 0.7])


def two_tasks():
    """Other singular vectors and another covariance in fine-tuning."""
    first = gaussian_problem(1).transfer.pretrain
    other = power_covariance(random_basis(6, np.random.default_rng(9)), 1.0)
    turned = Rotate(70.0)(first)
    return Transfer(
        first, LinearTask.create(turned.strengths, left=turned.left, right=turned.right, input_covariance=other)
    )


def flowed(start, task, time, pull=0.0, decay=0.0):
    """W at a time: from W_inf M = A S + pull W_0 with M = S + pull + decay / 2, by e^(-2 M t)."""
    system = task.input_covariance + (pull + decay / 2) * np.eye(6)
    limit = (task.target @ task.input_covariance + pull * start) @ np.linalg.inv(system)
    return limit + (start - limit) @ expm(-2 * time * system)


def loss(weight, task):
    residual = weight - task.target
    return np.trace(residual @ task.input_covariance @ residual.T)


@pytest.mark.parametrize("regularizer", ["product_penalty", "weight_penalty", "weight_decay"])
def test_both_phases_are_matrix_exponentials(regularizer):
    phase = Phase(0.01, weight_decay=0.1)
    problem = replace(gaussian_problem(1, seeds=2), transfer=two_tasks(), pretrain=phase)
    found = chart(problem, RATES, STRENGTHS, regularizer, solver="flow", predicted=False, rechecked=0, tolerance=None)
    first, then = problem.transfer.pretrain, problem.transfer.finetune
    for seed in range(2):
        for at, budget in enumerate(problem.budgets):
            checkpoint = flowed(problem.initial[0][seed], first, 0.01 * budget, decay=0.1)
            for rate in RATES:
                for strength in STRENGTHS:
                    named = {"learning_rate": rate, "regularization": strength, "seed": seed}
                    pull = {"product_penalty": strength, "weight_penalty": strength / 2}.get(regularizer, 0.0)
                    decay = strength if regularizer == "weight_decay" else 0.0
                    tuned = flowed(checkpoint, then, 300 * rate, pull, decay)
                    told = found.isel(pretrain_steps=at).sel(named)
                    # Two exponentials, each right to some rounding errors of a loss of 1.
                    np.testing.assert_allclose(told["finetune_loss_after"], loss(tuned, then), rtol=1e-12, atol=1e-14)
                    np.testing.assert_allclose(told["pretrain_loss_after"], loss(tuned, first), rtol=1e-12, atol=1e-14)


def test_one_layer_is_predicted_whatever_the_tasks():
    problem = replace(gaussian_problem(1, seeds=1), transfer=two_tasks())
    found = chart(problem, RATES, STRENGTHS, solver="flow", rechecked=0)
    assert found.attrs["prediction"].startswith("gradient flow of one layer")
    np.testing.assert_allclose(found["predicted_pretrain_loss_after"], found["pretrain_loss_after"], rtol=1e-10)
