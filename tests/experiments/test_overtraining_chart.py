"""The figures that the default chart must show, and the same chart without alignment."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.overtraining_chart import Config, experiment, find, run, table
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, TaskConfig
from linsim.finding import Finding


@pytest.fixture(scope="module")
def default():
    return run(Config())


def test_the_default_chart_is_the_confirmed_problem(default):
    assert dict(default.sizes)["pretrain_steps"] == 60
    assert default["pretrain_loss_after"].shape == (60, 30, 20, 1)
    assert default.attrs["solver"] == "modes"
    assert not default["diverged"].any()


def test_closed_form_and_simulation_agree_on_the_smallest_loss_at_small_rates(default):
    small = default.sel(learning_rate=slice(None, 3e-4))
    simulated, closed = (
        small[name].min("pretrain_steps") for name in ("pretrain_loss_after", "predicted_pretrain_loss_after")
    )
    assert float(np.abs(simulated / closed - 1).max()) < 2e-3


def test_along_the_whole_curve_they_differ_by_the_lag_of_gradient_descent(default):
    # A finding: 0.2 % holds at the minimum, not on the rise of the first mode, where a step of eta sigma = 0.01 delays
    # descent by 1 % of the time, and the loss falls by a factor e^(-8 sigma t) meanwhile.
    small = default.sel(learning_rate=slice(None, 3e-4))
    error = np.abs(small["pretrain_loss_after"] / small["predicted_pretrain_loss_after"] - 1)
    assert 0.01 < float(error.max()) < 0.04
    assert float(error.median()) < 1e-3


def test_the_best_budget_is_the_same_on_99_percent_of_the_cells(default):
    described = default["predicted_harm"].notnull()
    closed = default["predicted_pretrain_loss_after"].fillna(np.inf).argmin("pretrain_steps")
    same = default["pretrain_loss_after"].argmin("pretrain_steps") == closed
    assert float(same.where(described).mean()) >= 0.995
    assert float((same & described).mean()) >= 0.99  # a cell without a prediction counted as a difference


def test_only_cells_where_descent_is_unstable_have_no_prediction(default):
    # The penalty makes the curvature of the strongest mode 4 (1 + lambda) sigma_1.
    step = default["learning_rate"] * 4 * (1 + default["regularization"]) * 2.0
    np.testing.assert_array_equal(default["predicted_harm"].isnull().values[..., 0], step.values > 2)
    assert int((step > 2).sum()) == 4


def test_refined_inflection_points_are_as_predicted(default):
    ratio = (default["inflection_steps"] / default["predicted_inflection_steps"]).values
    # Worse only on the one cell whose curve has two minima of nearly equal depth.
    assert np.nanquantile(np.abs(ratio - 1), 0.99) < 0.02
    assert np.sum(np.abs(ratio - 1) > 0.05) <= 1
    described = default["predicted_harm"].notnull().values
    turns = [default[name].notnull().values[described] for name in ("inflection_steps", "predicted_inflection_steps")]
    np.testing.assert_array_equal(*turns)


def test_harm_spans_two_orders_of_magnitude(default):
    harm = default["harm"].where(default["inflection_steps"].notnull())
    assert float(harm.quantile(0.02)) < 0.015
    assert 10 < float(harm.max()) < 20


def test_gaussian_start_in_random_bases_runs_dense_with_a_spread_over_seeds():
    config = Config(
        dim=8,
        seeds=3,
        task=TaskConfig(bases="random"),
        network=NetworkConfig(init="gaussian"),
        pretrain=PretrainConfig(steps=8000, budgets=12),
        finetune=FinetuneConfig(steps=100, rates=4, strengths=2),
    )
    result = run(config)
    assert result.attrs["solver"] == "dense"
    assert "not modes" in result.attrs["solver_reason"]
    assert float(result["pretrain_loss_after"].std("seed").max()) > 0
    assert result["predicted_inflection_steps"].isnull().all()
    assert "overlapping" in result.attrs["prediction"]
    more = run(dataclasses.replace(config, seeds=4))
    np.testing.assert_allclose(more["harm"].isel(seed=slice(3)), result["harm"], rtol=1e-9)


def test_run_is_pure_and_repeatable():
    config = Config(dim=4, pretrain=PretrainConfig(steps=500, budgets=5), finetune=FinetuneConfig(rates=2, strengths=2))
    first, second = run(config), run(config)
    assert first.identical(second)
    assert json.loads(first.attrs["config"])["dim"] == 4


def test_the_finding_counts_cells_and_names_the_worst(default):
    found = Finding.of(default)
    assert (found.verdict, found.trust) == ("seen", "")
    harm = default["harm"].isel(seed=0).where(default["inflection_steps"].isel(seed=0).notnull())
    assert found.numbers["cells"] == 600
    assert found.numbers["turned"] == int(harm.notnull().sum())
    assert found.numbers["harmful"] == int((harm >= 0.1).sum())
    assert found.numbers["harm"] == float(harm.max())
    worst = {name: found.numbers[name] for name in ("learning_rate", "regularization")}
    assert float(harm.sel(worst)) == found.numbers["harm"]
    assert any("have the same best budget on 99." in line for line in found.details)


def test_what_the_data_do_not_say_is_not_found(default):
    calm = default.assign(inflection_steps=default["inflection_steps"] * np.nan)
    assert (find(calm).verdict, find(calm).numbers["turned"]) == ("not seen", 0)
    slight = find(default.assign(harm=default["harm"] * 1e-4))
    assert slight.verdict == "not seen" and slight.numbers["turned"] == Finding.of(default).numbers["turned"]
    assert find(default.isel(pretrain_steps=[0, -1])).verdict == "cannot tell"
    assert find(default.assign(diverged=~default["diverged"])).verdict == "cannot tell"
    beyond = find(default.assign(harm=default["harm"] + np.inf))
    assert beyond.verdict == "seen" and beyond.numbers["harmful"] == beyond.numbers["turned"]
    distrusted = default.assign_attrs(recheck_lanes=9, recheck_trusted=0, recheck_apart=2, recheck_worst="seed = 0")
    assert find(distrusted.assign_attrs(recheck_by="dense", recheck_deviation=0.1)).trust.startswith("DO NOT TRUST")


def test_the_table_is_a_dozen_lines_and_what_is_told_fits_a_terminal(default):
    assert 8 <= len(table(default)) <= 14
    lines = experiment.tell(default).splitlines()
    assert lines[0].startswith(Finding.of(default).sentence[:80])
    assert max(map(len, lines[:-1])) <= 120  # the last one says why this solver
