"""Charts side by side, and pre-training alone."""

import dataclasses
import functools

import numpy as np
import pytest
import xarray as xr

from experiments.charts import Chart, charts_along
from experiments.trajectory import pretrained
from linsim.commands.building import build_chart
from linsim.commands.config import (
    ChartConfig,
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    ShiftConfig,
    TaskConfig,
    chart_of,
)
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput
from linsim.storage import store

SMALL = ChartConfig(
    dim=3,
    pretrain=PretrainConfig(steps=2000, budgets=4),
    finetune=FinetuneConfig(steps=50, rates=2, strengths=1),
)


def members(**configs):
    return {label: Chart(config, build_transfer(config)) for label, config in configs.items()}


@pytest.fixture(scope="module")
def shifts():
    turned = dataclasses.replace(SMALL, shift=ShiftConfig(rotate_degrees=30.0))
    momentum = dataclasses.replace(SMALL, finetune=dataclasses.replace(SMALL.finetune, momentum=0.5))
    return members(plain=SMALL, turned=turned, heavy=momentum)


@pytest.fixture(scope="module")
def joined(shifts):
    return charts_along("shift", shifts, SMALL)


def test_every_chart_is_what_it_is_on_its_own(shifts, joined):
    for label, chart in shifts.items():
        alone, here = build_chart(chart.config, chart.transfer), joined.sel(shift=label)
        for name in ("pretrain_loss_after", "finetune_loss_after", "inflection_steps", "harm", "finetune_target"):
            np.testing.assert_array_equal(here[name], alone[name])
            assert here[name].attrs == alone[name].attrs


def test_what_all_charts_share_comes_once_and_what_they_lack_is_nan(joined):
    assert "shift" not in joined["pretrain_target"].dims
    assert joined["predicted_pretrain_loss_after"].sel(shift=["plain", "turned"]).notnull().all()
    assert joined["predicted_pretrain_loss_after"].sel(shift="heavy").isnull().all()
    assert joined.attrs["regularizer"] == "product_penalty"
    assert "heavy: none: fine-tuning is not plain gradient descent" in joined.attrs["prediction"]
    assert joined.attrs["config"] == SMALL.to_json()


def test_a_result_along_text_can_be_stored(joined, tmp_path):
    store.save(joined, tmp_path)
    xr.testing.assert_identical(store.load(tmp_path)["harm"].drop_vars("shift"), joined["harm"].drop_vars("shift"))
    assert store.load(tmp_path)["shift"].values.tolist() == ["plain", "turned", "heavy"]


def test_weights_that_differ_in_shape_keep_their_own():
    depths = {depth: dataclasses.replace(SMALL, depth=depth) for depth in (1, 3)}
    charts = {depth: Chart(config, build_transfer(config)) for depth, config in depths.items()}
    heard = []
    joined = charts_along("depth", charts, SMALL, lambda done, total: heard.append((done, total)))
    assert joined["pretrain_loss_after"].dims[0] == "depth"
    assert joined["depth"].values.tolist() == [1, 3]
    for depth in (1, 3):
        layers = [name for name in joined if name.startswith("initial_weights") and name.endswith(f"_of_{depth}")]
        assert len(layers) == depth
    assert heard == sorted(heard)
    assert heard[-1] == (2000, 2000)


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
