"""Size, budget and data: models of all sizes against networks of their width, both optima, turns, and the verdicts."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from experiments.goldilocks import Config, experiment, main, optima
from experiments.goldilocks.config import MatricesConfig
from experiments.goldilocks.finding import find, table
from experiments.goldilocks.modes import Models, read
from experiments.goldilocks.optima import best_of, costs_within, grown, line
from experiments.goldilocks.rows import ROWS, cells
from experiments.goldilocks.spectra import power
from experiments.goldilocks.turning import order, slope
from linsim.theory.scaling.laws import loss
from tests.computed import computed

CONFIG = Config(
    **{"exponents": (1.0,), "digits": False, "modes": 32, "sizes": (3, 7, 15, 30), "depths": (1, 2)},
    **{"learning_rate": 0.05, "last": 300.0, "budgets": 40, "times": (4.0,), "finetune_steps": 80},
    **{"compute": (100.0, 150.0), "utilities": (0.0, 1.0), "inference": (0.0, 5.0), "fits": 2},
    matrices=MatricesConfig(
        **{"dim": 8, "widths": (2, 5), "seeds": 2, "last": 60.0, "budgets": 8, "finetune_steps": 40},
        **{"bits": (4,), "examples": (32,)},
    ),
)
ALONE = replace(CONFIG, matrices=MatricesConfig(dim=0), fits=0, depths=(2,))
VERDICTS = {
    "a use of two losses": (CONFIG, "not seen"),
    "what was learned first alone, at one compute": (replace(ALONE, utilities=(0.0,), compute=(500.0, 600.0)), "seen"),
    "compute for larger models than there are": (replace(ALONE, compute=(4000.0, 5000.0)), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    config, verdict = VERDICTS[name]
    finding = find(computed(experiment, config))
    assert finding.verdict == verdict, finding.sentence
    assert len(finding.sentence) <= 160


def descended(width, target, rate, steps, start):
    """Gradient descent of two layers in NumPy alone, from the share of each of the first modes."""
    strengths = np.diag(target)[:width]
    first = np.eye(width, len(target)) * np.sqrt(start * strengths)[:, None]
    second = first.T.copy()
    for _ in range(steps):
        slope = 2 * (second @ first - target)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


@pytest.mark.parametrize("width", [3, 15])
def test_a_model_of_some_modes_is_a_network_of_their_number(small, width):
    target = np.diag(1 / np.arange(1, CONFIG.modes + 1.0))
    at = 18
    steps = int(small["pretrain_steps"][at])
    beyond = np.sum(1 / np.arange(CONFIG.modes + 1, 10**6) ** 2.0) + 1 / (10**6 - 0.5)
    first, second = descended(width, target, CONFIG.learning_rate, steps, CONFIG.start)
    told = small.isel(task=0, pretrain_steps=at).sel(size=width)
    assert float(told["base_loss"]) == pytest.approx(np.sum((second @ first - target) ** 2) + beyond, rel=1e-9)
    goal = target * np.where(np.arange(1, CONFIG.modes + 1) >= CONFIG.shifted_from, CONFIG.factor, 1.0)
    for _ in range(CONFIG.finetune_steps):
        slope = 2 * (second @ first - goal)
        rate = CONFIG.times[0] / CONFIG.finetune_steps
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    after = told.isel(finetune_time=0)
    assert float(after["pretrain_after"]) == pytest.approx(np.sum((second @ first - target) ** 2) + beyond, rel=1e-9)
    wanted = np.sum((second @ first - goal) ** 2) + CONFIG.factor**2 * beyond
    assert float(after["finetune_after"]) == pytest.approx(wanted, rel=1e-9)


def test_the_narrow_network_is_trained_as_one_of_its_width(small):
    """Units at 0 stay there: loss and noise are those of a network that never had them."""
    import jax

    from linsim.network import gaussian

    own = CONFIG.matrices
    with jax.enable_x64(True):
        first, second = map(np.asarray, gaussian((8, 2, 8), own.initial_scale, jax.random.key(2000)))
    target = np.diag(1 / np.arange(1, 9.0))
    for _ in range(int(small["matrix_steps"][4])):
        slope = 2 * (second @ first - target)
        first, second = (
            first - own.learning_rate * second.T @ slope,
            second - own.learning_rate * slope @ first.T,
        )
    cell = small.isel(matrix_steps=4, seed=0).sel(width=2)
    base = np.sum((second @ first - target) ** 2)
    assert float(cell["matrix_base_loss"]) == pytest.approx(base, rel=1e-9)
    variance = CONFIG.price / 16
    noisy = base + variance * 8 * (np.sum(first**2) + np.sum(second**2)) + variance**2 * 8 * 2 * 8
    assert float(cell["matrix_noisy_loss"]) == pytest.approx(noisy, rel=1e-9)


def test_curves_are_read_between_budgets():
    times = np.geomspace(0.3, 300, 60)
    law = power(1.0, 40, 1e-3)
    clock = times[:, None] * law.strengths
    models = Models(law, times, law.strengths * (1 - law.law.missing(clock)))
    sizes = np.array([2, 10, 40])
    exact = np.array([loss(law.law, [size], [120 / size]).item() for size in sizes])
    np.testing.assert_allclose(models.at_cost(models.base, 120.0)[sizes - 1], exact, rtol=2e-3)
    assert np.isnan(read(times, models.base, np.full(40, 301.0))).all()
    np.testing.assert_allclose(line(models, np.array([4, 9])), 1.538 * np.array([4, 9]), rtol=1e-3)


def test_the_best_of_losses_says_where_it_is_at_an_end():
    assert best_of(np.array([3.0, 1.0, 2.0]), 12.0)[:3] == (2.0, 6.0, 1.0)
    assert best_of(np.array([3.0, 2.0, 1.0]), 12.0).edge == 1
    assert best_of(np.array([np.nan, 1.0, 2.0]), 12.0, 1.0) == (2.0, 5.0, 1.0, -1)
    assert np.isnan(best_of(np.full(3, np.nan), 12.0).size)


def test_orders_and_slopes_are_told_of_what_is_brittle():
    assert order(np.array([0.0, 0.001, 0.0])) == "none"
    assert order(np.array([0.0, 0.1, 0.3])) == "rises"
    assert order(np.array([0.3, 0.1, 0.0])) == "falls"
    assert order(np.array([0.0, 0.3, 0.1])) == "mixed"
    assert slope(np.array([np.nan, 4.0, 8.0]), np.array([1.0, 2.0, 4.0])) == pytest.approx(1)
    assert np.isnan(slope(np.array([4.0]), np.array([1.0])))


def test_rows_can_come_out_the_other_way(small):
    told = {row.says: row for row in ROWS}
    task = small.isel(task=0)
    sizes = task["size"].values.astype(float)

    def row(says, **changed):
        return told[says].of(task.assign(changed)).held

    harm = task["harm"].copy(data=np.broadcast_to(1 / sizes, task["harm"].shape))
    assert row("smaller models are more brittle", harm=harm) == "holds"
    assert row("smaller models are more brittle") == "contradicted"
    both = harm.copy()
    both[0] = both[0, ::-1].values
    assert row("smaller models are more brittle", harm=both) == "mixed"
    assert row("smaller models are more brittle", harm=0 * harm) == "undefined"
    time = task["turn_time"].copy(data=np.broadcast_to(30 * sizes, task["turn_time"].shape))
    assert row("the ratio is what is critical", turn_time=time) == "holds"
    assert row("the ratio is what is critical", turn_time=np.nan * time) == "undefined"
    assert row("brittle above 50 x", turn_ratio=xr.full_like(task["turn_ratio"], 60.0)) == "holds"
    assert row("brittle above 50 x", turn_ratio=xr.full_like(task["turn_ratio"], 30.0)) == "contradicted"
    some = xr.full_like(task["turn_ratio"], 60.0).where(task["size"] < 30)
    assert row("brittle above 50 x", turn_ratio=some) == "undefined"  # N = 30 was trained for 7 times
    assert row("brittle above 50 x", turn_ratio=some, flow_time=10 * task["flow_time"]) == "contradicted"
    trace = task["matrix_fisher_trace"].copy()
    trace[{"matrix_steps": 3}] = 2 * float(trace.max())
    assert row("the Fisher trace spikes", matrix_fisher_trace=trace) == "holds"
    assert row("the Fisher trace spikes") == "contradicted"
    assert told["the Fisher trace spikes"].of(task.drop_vars("matrix_fisher_trace")).held == "undefined"
    assert told["the Fisher trace spikes"].of(task.assign_attrs(matrix_exponent=2.0)).held == "undefined"
    grown = {name: xr.full_like(small[name], 0.3) for name in ("grown", "grown_low", "grown_high")}
    assert row("compute-optimal at one ratio", **grown) == "contradicted"
    served = {name: xr.full_like(task["inference_ratio"], 6.0) for name in ("inference_ratio", "inference_size")}
    assert row("inference pays for 5 x", **served) == "undefined"  # of six modes
    assert row("inference pays for 5 x", **served | {"inference_size": 2 * served["inference_size"]}) == "holds"
    assert row("best for use at 5 to 20 x", utility_ratio=xr.full_like(task["utility_ratio"], 9.0)) == "holds"


def test_a_zone_on_some_tasks_alone_is_no_verdict(small):
    """One u has its best model in the zone at every compute on one of two tasks."""
    other = "a = 1, 1 layer"
    two = xr.concat(
        [small, small.assign_coords(task=[other])], "task", data_vars="minimal", coords="minimal", compat="override"
    )
    ratio = two["utility_ratio"].where(two["task"] == other, 1.0)
    ratio = ratio.where((two["task"] != other) | (two["utility"] > 0), 9.0)
    finding = find(two.assign(utility_ratio=ratio, utility_edge=0 * ratio))
    assert finding.verdict == "cannot tell"
    assert "at all C of 100 to 150 in 1 of 4 cases" in finding.sentence
    assert find(two.assign(utility_ratio=0 * ratio + 1, utility_edge=0 * ratio)).verdict == "not seen"


def test_sizes_for_less_than_a_decade_of_compute_tell_no_exponent():
    times = np.geomspace(0.3, 3000, 60)
    for modes, told in ((61, False), (200, True)):
        law = power(1.0, modes, 1e-3)
        models = Models(law, times, law.strengths * (1 - law.law.missing(times[:, None] * law.strengths)))
        assert np.isfinite(costs_within(models)).all() == told


def test_exponents_are_told_with_the_range_of_shifted_grids(small, monkeypatch):
    cell = small.sel(quantity="size", line="a = 1").isel(density=-1)
    assert not np.isfinite(float(cell["grown"]))  # 32 modes are too few
    law = power(1.0, 200, 1e-3)
    times = np.geomspace(0.3, 3000, 60)
    models = Models(law, times, law.strengths * (1 - law.law.missing(times[:, None] * law.strengths)))
    told = grown(models, costs_within(models), 4)
    assert told.low[0] < 0.5077 < told.high[0]
    assert told.high[0] - told.low[0] < 0.006
    monkeypatch.setattr(optima, "GRIDS", 1)
    alone = grown(models, costs_within(models), 4)  # the first grid, which is one of the five
    assert alone.low[0] == alone.high[0] == alone.mean[0]
    assert told.low[0] <= alone.mean[0] <= told.high[0]


def test_fits_say_how_many_resamples_turn(small):
    seen = small["fit_turn_seen"]
    assert (seen.sel(law="chinchilla") == 0).all()  # has no turn
    assert ((seen >= 0) & (seen <= small.attrs["fit_draws"])).all()
    told = find(small.assign(fit_turn_seen=seen * 0 + 7, fit_turn_low=seen * 0 + 20.0, fit_turn_high=seen * 0 + 30.0))
    assert f"(20 to 30 in the 7 of {small.attrs['fit_draws']} resamples that turn)" in " ".join(told.details)


def test_the_table_has_a_row_for_each_statement_and_a_column_for_each_task(small):
    lines = table(small)
    assert len(lines) == 2 + len(cells(small))
    assert "a = 1" in lines[0]
    assert all(line.rstrip().endswith(("+", "-", "~", "?")) for line in lines[1:-1])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--exponents", "0.5"], "exponents: got 0.5; allowed: a finite number > 0.5"),
        (["--sizes", "3", "300"], "sizes: got 300; allowed: an integer >= 1 and <= 256"),
        (["--sizes", "3", "64"], "sizes: got 64; allowed: sizes up to the rank of every task, 61 of digits"),
        (["--utilities", "-1"], "utilities: got -1.0; allowed: a finite number >= 0"),
        (["--compute", "0.5"], "compute: got 0.5; allowed: compute for two sizes, >= 0.6"),
        (["--compute", "10", "30", "100"], "compute: got (10.0, 30.0, 100.0); allowed: 200.6 at least as the largest"),
        (
            ["--compute", "10", "100", "--inference", "0", "60"],
            "inference: got (0.0, 60.0); allowed: 0 first, and at most",
        ),
        (
            ["--times", "1000"],
            "times: got 1000.0; allowed: times < 200, at which 400 steps of fine-tuning settle, of a",
        ),
        (["--times", "1e9"], "times: got 1000000000.0; allowed: times < 200, at which"),
        (["--inference", "1"], "inference: got (1.0,); allowed: 0 first"),
        (["--depths", "1"], "depths: got (1,); allowed: depths with 2 among them"),
        (["--matrices.widths", "40"], "matrices.widths: got 40; allowed: an integer >= 1 and <= 32"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
