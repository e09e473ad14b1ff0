"""Pre-training alone from a configuration, and configurations that share fields."""

import dataclasses
import functools

import numpy as np
import pytest

from linsim.commands.building import build_pretraining
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    RefinedConfig,
    TaskConfig,
    chart_of,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.measures.built_in import LEARNED
from linsim.sweeping.sweep import sweep

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
    assert chart.pretrain == RefinedConfig(tolerance=None)


def product_of(weights, inputs):
    """W_L ... W_1, and the identity of no weights."""
    return functools.reduce(lambda product, weight: weight @ product, weights, np.eye(inputs))


def weights_of(layer):
    return Measure(
        f"weights_{layer}",
        dims=(f"rows_{layer}", f"columns_{layer}"),
        at="checkpoint",
        of=lambda seen: seen.weights[layer],
    )


@pytest.mark.parametrize("depth", [1, 3])
def test_pretraining_alone_is_gradient_descent(depth):
    config = dataclasses.replace(
        SMALL,
        depth=depth,
        seeds=2,
        task=TaskConfig(bases="random", outputs=4),
        network=NetworkConfig(init="gaussian", tau=1.0),
        pretrain=PretrainConfig(steps=60, first=20, budgets=2),
    )
    task = build_transfer(config).pretrain
    problem = build_pretraining(config, task)
    found = sweep(problem, {}, [LEARNED, *map(weights_of, range(depth))])
    target, eta = task.target, config.pretrain.learning_rate
    for seed in range(2):
        weights = [layer[seed] for layer in problem.initial]
        for step in range(1, 61):
            error = 2 * (product_of(weights, 3) - target)
            gradients = [
                product_of(weights[layer + 1 :], weight.shape[0]).T @ error @ product_of(weights[:layer], 3).T
                for layer, weight in enumerate(weights)
            ]
            weights = [weight - eta * gradient for weight, gradient in zip(weights, gradients, strict=True)]
            if step in (20, 60):
                here = found.sel(pretrain_steps=step, seed=seed)
                for layer, weight in enumerate(weights):  # rounding of 60 steps
                    np.testing.assert_allclose(here[f"weights_{layer}"], weight, atol=1e-13)
                product = product_of(weights, 3)
                np.testing.assert_allclose(here["pretrain_loss_before"], np.sum((product - target) ** 2), rtol=1e-12)
                learned = np.diag(task.left.T @ product @ task.right)
                np.testing.assert_allclose(here["learned"], learned, atol=1e-13)


def test_pretraining_alone_refuses_a_solver_that_is_not_exact():
    config = dataclasses.replace(SMALL, network=NetworkConfig(init="gaussian"))
    problem = build_pretraining(config, build_transfer(config).pretrain)
    with pytest.raises(InvalidInput, match="solver: got modes"):
        sweep(problem, {}, solver="modes")
