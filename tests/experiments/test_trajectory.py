"""Pre-training alone, and configurations that share fields."""

import dataclasses
import functools

import numpy as np
import pytest

from experiments.trajectory import pretrained
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    TaskConfig,
    chart_of,
)
from linsim.errors import InvalidInput

SMALL = ChartConfig(
    dim=3,
    pretrain=PretrainConfig(steps=2000, budgets=4),
    finetune=FinetuneConfig(steps=50, rates=2, strengths=1),
)


def test_the_fields_that_two_configurations_share_are_taken_over():
    @dataclasses.dataclass(frozen=True)
    class Other:
        dim: int = 5
        depth: tuple[int, ...] = (1, 2)
        task: TaskConfig = dataclasses.field(default_factory=lambda: TaskConfig(scale=3.0))
        unknown: str = "not a field of a chart"

    chart = chart_of(Other(), depth=2)
    assert (chart.dim, chart.depth, chart.task.scale) == (5, 2, 3.0)
    assert chart.pretrain == PretrainConfig()


def product_of(weights, inputs):
    """W_L ... W_1, and the identity of no weights."""
    return functools.reduce(lambda product, weight: weight @ product, weights, np.eye(inputs))


@pytest.mark.parametrize("depth", [1, 3])
def test_a_trajectory_is_gradient_descent(depth):
    config = dataclasses.replace(
        SMALL,
        depth=depth,
        seeds=2,
        task=TaskConfig(bases="random", outputs=4),
        network=NetworkConfig(init="gaussian", tau=1.0),
        pretrain=PretrainConfig(steps=60, first=20, budgets=2),
    )
    trajectory = pretrained(config)
    target, eta = trajectory.transfer.pretrain.target, config.pretrain.learning_rate
    for seed in range(2):
        weights = [layer[seed] for layer in trajectory.initial]
        for step in range(1, 61):
            error = 2 * (product_of(weights, 3) - target)
            gradients = [
                product_of(weights[layer + 1 :], weight.shape[0]).T @ error @ product_of(weights[:layer], 3).T
                for layer, weight in enumerate(weights)
            ]
            weights = [weight - eta * gradient for weight, gradient in zip(weights, gradients, strict=True)]
            if step in (20, 60):
                position = list(trajectory.budgets).index(step)
                for layer, weight in enumerate(weights):  # rounding of 60 steps
                    np.testing.assert_allclose(trajectory.weights[layer][position, seed], weight, atol=1e-13)
    product = trajectory.products[-1, 0]
    task = trajectory.transfer.pretrain
    np.testing.assert_allclose(trajectory.losses[-1, 0], np.sum((product - target) ** 2), rtol=1e-12)
    np.testing.assert_allclose(trajectory.learned()[-1, 0], np.diag(task.left.T @ product @ task.right), atol=1e-14)


def test_a_trajectory_refuses_a_solver_that_is_not_exact():
    with pytest.raises(InvalidInput, match="solver: got modes"):
        pretrained(dataclasses.replace(SMALL, solver="modes", network=NetworkConfig(init="gaussian")))
