"""The limit of lazy networks, two phases of linear dynamics: against matrices that are moved by hand."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from linsim import network
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.tasks import LinearTask, Transfer
from linsim.theory.laziness import LazyLimit

BALANCE = 20.0
RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=(3, 3))
TASKS = [LinearTask.from_target(target) for target in (TARGET, 2 * TARGET + RNG.normal(size=(3, 3)))]
STARTS = [network.lambda_balanced((3, 3, 3), 0.5, BALANCE, jax.random.key(seed)) for seed in range(4)]
PROBLEM = Problem(
    Transfer(*TASKS), stack_seeds(STARTS), Phase(1e-3), Phase(1e-3), np.array([1, 10, 10_000]), finetune_steps=1
)


def test_losses_are_those_of_linear_dynamics():
    limit = LazyLimit.of(PROBLEM)
    kept = np.array([0.9, 0.2])
    for seed, (first, second) in enumerate(STARTS):
        start = np.asarray(second) @ np.asarray(first)
        speed = np.linalg.eigvalsh(np.asarray(second).T @ second + first @ np.asarray(first).T).max()
        assert speed == pytest.approx(BALANCE, rel=0.01)  # sqrt(l^2 + 4 s^2) of s = 1/4
        for budget, steps in enumerate(PROBLEM.budgets):
            learned = TASKS[0].target + (start - TASKS[0].target) * np.exp(-2 * speed * 1e-3 * steps)
            for number, share in enumerate(kept):
                tuned = TASKS[1].target + (learned - TASKS[1].target) * share
                loss = np.sum((tuned - TASKS[0].target) ** 2)
                assert limit.losses(kept)[number, seed, budget] == pytest.approx(loss, rel=1e-12)


def test_no_curve_has_more_harm_than_the_limit_and_one_through_its_lowest_point_has_it():
    limit = LazyLimit.of(replace(PROBLEM, budgets=np.arange(1, 2000)))
    harm = [loss[:, -1] / loss.min(axis=1) - 1 for loss in limit.losses(np.linspace(0.01, 0.99, 60))]
    # The parabola is read at steps of 4 % of what is left, near its lowest point.
    np.testing.assert_allclose(np.max(harm, axis=0), limit.harm, rtol=1e-2)
    assert bool((np.max(harm, axis=0) <= limit.harm * (1 + 1e-9)).all())
    assert limit.harm.min() > 0


REFUSED = {
    "whitened": {"transfer": Transfer(*(replace(task, input_covariance=2 * np.eye(3)) for task in TASKS))},
    "two layers": {"initial": (np.eye(3)[None],)},
    "plain gradient descent": {"pretrain": Phase(1e-3, momentum=0.5)},
    "regulariser": {"finetune": Phase(1e-3, product_penalty=1.0)},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_it_is_said_why_there_is_no_limit(reason):
    assert reason in LazyLimit.of(replace(PROBLEM, **REFUSED[reason]))
