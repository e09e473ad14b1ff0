"""The figures that the default chart must show, and the same chart without alignment."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.experiment import LINES
from experiments.overtraining_chart import Config, experiment, run, table
from linsim.commands.config import (
    FinetuneConfig,
    NetworkConfig,
    PretrainConfig,
    RefinedConfig,
    ShiftConfig,
    TaskConfig,
)
from linsim.finding import Finding


@pytest.fixture(scope="module")
def default():
    return run(Config())


def test_the_default_chart_is_the_confirmed_problem(default):
    first = np.unique(np.geomspace(20, 40_000, 60).round().astype(int))
    assert np.isin(first, default["pretrain_steps"]).all() and len(first) == 60
    assert default.sizes["pretrain_steps"] == 60 + default.attrs["budgets_added"]
    assert default["pretrain_loss_after"].shape[1:] == (30, 20, 1)
    assert default.attrs["solver"] == "modes"
    assert not default["diverged"].any()


def test_all_cells_are_resolved_but_four_beyond_the_edge_of_stability(default):
    beyond = default["unstable"].any("pretrain_steps")
    assert int(beyond.sum()) == 4 and default.attrs["stability"] == "told"
    np.testing.assert_array_equal(default["resolved"], ~beyond)
    np.testing.assert_array_equal(default["harm"].isnull(), beyond)
    assert default["finetune_inflection_steps"].isnull().all()


def test_closed_form_and_simulation_agree_on_the_smallest_loss_at_small_rates(default):
    small = default.sel(learning_rate=slice(None, 3e-4))
    simulated, closed = (
        small[name].min("pretrain_steps") for name in ("pretrain_loss_after", "predicted_pretrain_loss_after")
    )
    assert float(np.abs(simulated / closed - 1).max()) < 2e-3


def test_along_the_whole_curve_they_differ_by_the_lag_of_gradient_descent(default):
    # A finding: 0.2 % holds at the minimum, not on the rise of the first mode, where a step of eta sigma = 0.01 delays
    # descent by 1 % of the time, and the loss falls by a factor e^(-8 sigma t) meanwhile.
    first = np.unique(np.geomspace(20, 40_000, 60).round().astype(int))  # more stand where curves turn
    small = default.sel(learning_rate=slice(None, 3e-4), pretrain_steps=first)
    error = np.abs(small["pretrain_loss_after"] / small["predicted_pretrain_loss_after"] - 1)
    assert 0.01 < float(error.max()) < 0.04
    assert float(error.median()) < 1e-3


def test_only_cells_where_descent_is_unstable_have_no_prediction(default):
    # The penalty makes the curvature of the strongest mode 4 (1 + lambda) sigma_1.
    step = default["learning_rate"] * 4 * (1 + default["regularization"]) * 2.0
    np.testing.assert_array_equal(default["predicted_harm"].isnull().values[..., 0], step.values > 2)
    assert int((step > 2).sum()) == 4


def test_refined_inflection_points_are_as_predicted(default):
    ratio = (default["inflection_steps"] / default["predicted_inflection_steps"]).values
    assert np.nanquantile(np.abs(ratio - 1), 0.99) < 0.02
    inside = (default["predicted_inflection_steps"] >= 0.98 * default["inflection_low"]) & (
        default["predicted_inflection_steps"] <= 1.02 * default["inflection_high"]
    )
    assert inside.values[default["predicted_inflection_steps"].notnull().values].all()
    described = default["predicted_harm"].notnull().values
    turns = [default[name].notnull().values[described] for name in ("inflection_steps", "predicted_inflection_steps")]
    np.testing.assert_array_equal(*turns)


def test_harm_spans_two_orders_of_magnitude(default):
    harm = default["harm"].where(default["inflection_steps"].notnull())
    assert float(harm.quantile(0.02)) < 0.1
    assert 10 < float(harm.max()) < 30


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
    assert found.numbers["cells"] == 596
    assert found.numbers["turned"] == int(harm.notnull().sum())
    assert found.numbers["harmful"] == int((harm >= 0.1).sum())
    excess = default["excess"].isel(seed=0).where(harm.notnull())
    assert found.numbers["excess"] == float(excess.max())
    worst = {name: found.numbers[name] for name in ("learning_rate", "regularization")}
    assert float(excess.sel(worst)) == found.numbers["excess"]
    assert "from 15 % to 80 % of the zero network's loss" in found.sentence
    assert any("turn alike" in line and "on 100.0 %" in line for line in found.details)


SMALL = Config(
    dim=4,
    pretrain=RefinedConfig(steps=2000, budgets=8),
    finetune=FinetuneConfig(learning_rates=(1e-4, 2e-3, 0.025), regularizations=(0.0, 16.0)),
)


def found_with(**changes):
    result = run(dataclasses.replace(SMALL, **changes))
    return result, Finding.of(result)


def test_without_a_shift_nothing_turns_and_steps_beyond_the_edge_are_no_turn():
    result, found = found_with(shift=ShiftConfig(rescale_factor=1.0))
    assert (found.verdict, found.trust) == ("not seen", "")
    assert result["unstable"].sel(learning_rate=0.025, regularization=16.0).any()
    assert result["harm"].isnull().sel(learning_rate=0.025, regularization=16.0).all()
    assert found.numbers["turned"] == 0 and found.numbers["cells"] == 5
    assert not any("nan" in line or "inf" in line for line in (found.sentence, *found.details))


def test_several_seeds_have_bootstrap_intervals():
    _, found = found_with(seeds=4, network=NetworkConfig(init="gaussian"))
    assert found.verdict == "seen"
    assert "of 4 seeds turn" in found.details[0] and "bootstrap interval" in found.details[0]


def test_the_table_is_a_dozen_lines_and_what_is_told_fits_a_terminal(default):
    assert 5 <= len(table(default)) <= 8
    lines = experiment.tell(default, LINES).splitlines()
    assert len(lines) <= LINES
    assert lines[0].startswith(Finding.of(default).sentence[:80])
    assert max(map(len, lines[:-1])) <= 120  # the last one says why this solver
