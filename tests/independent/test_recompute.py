"""Stored charts agree with a NumPy script that knows neither linsim nor JAX."""

import ast
from pathlib import Path

import pytest

from experiments import digits, overtraining_chart
from tests.independent import recompute

CHART = ["--pretrain.steps", "800", "--pretrain.budgets", "5", "--finetune.steps", "60", "--finetune.rates", "3"]
CHART += ["--finetune.strengths", "2", "--no-figure", "--dim", "6", "--pretrain.tolerance", "None"]
GAUSSIAN = ["--network.init", "gaussian", "--network.tau", "2", "--task.bases", "random", "--seeds", "2"]

CHARTS = {
    "aligned, with budgets added": (overtraining_chart, CHART[:-2]),
    "gaussian": (overtraining_chart, [*CHART, *GAUSSIAN]),
    "depth 3": (overtraining_chart, [*CHART, "--depth", "3", "--network.tau", "1"]),
    "depth 4, gaussian": (overtraining_chart, [*CHART, *GAUSSIAN, "--depth", "4", "--network.tau", "0.5"]),
    "rectangular, input covariance": (
        overtraining_chart,
        [*CHART, *GAUSSIAN, "--task.outputs", "4", "--network.hidden", "7", "--task.covariance", "random"],
    ),
    "weight penalty": (overtraining_chart, [*CHART, "--finetune.regularizer", "weight_penalty"]),
    "weight decay": (overtraining_chart, [*CHART, *GAUSSIAN, "--finetune.regularizer", "weight_decay"]),
    "momentum and decay": (
        overtraining_chart,
        [*CHART, "--pretrain.momentum", "0.5", "--pretrain.weight-decay", "0.05"],
    ),
    "digits": (digits, [*CHART[:-4], *CHART[-2:], "--seeds", "1"]),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CHARTS)
def test_random_lanes_are_recomputed_from_what_is_stored(tmp_path, name):
    module, flags = CHARTS[name]
    assert module.main([*flags, "--out", str(tmp_path)]) == 0
    # Two float64 programs that sum in different orders, over 860 stable steps: 1e-16 a step, added up linearly.
    assert recompute.deviation(tmp_path, lanes=3) < 1e-12


def test_the_script_would_notice_a_wrong_regularizer(tmp_path):
    import zarr

    assert overtraining_chart.main([*CHART, "--out", str(tmp_path)]) == 0
    zarr.open(tmp_path / "data.zarr").attrs["regularizer"] = "weight_penalty"
    assert recompute.deviation(tmp_path, lanes=9) > 1e-6


def test_the_script_is_independent():
    tree = ast.parse(Path(recompute.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"json", "sys", "functools", "numpy", "xarray"}
