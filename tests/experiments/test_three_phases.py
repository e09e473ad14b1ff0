"""Three phases: against NumPy and the iterated closed form, and what is concluded of choices."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.three_phases import Config, experiment, main
from experiments.three_phases.finding import find
from experiments.three_phases.phases import LOSSES
from experiments.words import percent
from linsim.spectra import power_law
from tests.computed import computed

CONFIG = Config(dim=4, seeds=2, steps=1500, budgets=20, rates=(5e-4, 2e-3))
VERDICTS = {
    "strong modes multiplied next": (CONFIG, "seen"),
    "hardly any first fine-tuning, and none after": (
        replace(CONFIG, rates=(1e-9,), second_rate=1e-9),
        "not seen",
    ),
    "one seed, which has no interval": (replace(CONFIG, seeds=1), "cannot tell"),
    "rates that diverge": (replace(CONFIG, rates=(5.0,)), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    same = replace(config, seeds=CONFIG.seeds) == CONFIG
    finding = find(small.isel(seed=slice(config.seeds)) if same else experiment.run(config))
    assert finding.verdict == verdict, finding.sentence
    assert len(finding.sentence) <= 160


def descended(weights, target, rate, steps):
    first, second = weights
    for _ in range(steps):
        back = 2 * (second @ first - target)
        first, second = first - rate * second.T @ back, second - rate * back @ first.T
    return first, second


@pytest.mark.parametrize("second", ["back", "head"])
def test_aligned_phases_are_those_of_a_script_in_numpy(small, second):
    sigma = np.diag(power_law(4))
    first, strong = sigma.copy(), sigma.copy()
    first[1:] *= CONFIG.factor
    strong[:1] *= CONFIG.factor
    cell = small.sel(bases="aligned", second=second, seed=0, learning_rate=2e-3)
    for budget in (int(small["pretrain_steps"][at]) for at in (4, -1)):
        weights = descended((np.exp(-3) * np.eye(4),) * 2, sigma, CONFIG.learning_rate, budget)
        told = []
        for target, rate in ((first, 2e-3), ({"back": sigma, "head": strong}[second], CONFIG.second_rate)):
            weights = descended(weights, target, rate, 100)
            told.append(np.sum((weights[1] @ weights[0] - sigma) ** 2) / np.sum(sigma**2))
        there = cell.sel(pretrain_steps=budget)
        np.testing.assert_allclose(there["pretrain_loss_after"], told[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(there["pretrain_loss_later"], told[1], rtol=1e-9, atol=1e-12)


def test_the_mode_solution_iterated_is_right_to_first_order_in_the_rate(small):
    halved = experiment.run(
        replace(
            CONFIG,
            **{"seeds": 1, "steps": 3000, "first": 20, "learning_rate": 0.005, "rates": (1e-3,), "first_steps": 200},
            **{"second_rate": 1e-3, "second_steps": 200},
        )
    )
    errors = []
    for result, rate in ((small, 2e-3), (halved, 1e-3)):
        cell = result.sel(bases="aligned", seed=0, learning_rate=rate, second=["back", "head"])
        off = [float(abs(cell[name] - cell[f"predicted_{name}"]).max()) for name in LOSSES]
        errors.append(max(off))
    assert errors[1] < 0.6 * errors[0] < 0.1 * 6  # half of it, and what budgets between steps leave


def test_a_choice_costs_what_curves_say(small):
    cell = small.sel(bases="random", second="back", learning_rate=2e-3)
    for seed in cell["seed"].values:
        after, later = (cell[f"pretrain_loss_{name}"].sel(seed=seed).values for name in ("after", "later"))
        costs = later[np.argmin(after)] / later.min() - 1
        np.testing.assert_allclose(cell["regret"].sel(seed=seed), costs, rtol=1e-12)
        assert int(cell["best_steps"].sel(seed=seed)) == int(small["pretrain_steps"][np.argmin(later)])


def test_cases_have_intervals_and_costs_are_medians_or_bounds(small):
    finding = find(small)
    random = small.sel(bases="random")
    assert finding.numbers["cells"] == len(CONFIG.rates) * 3
    middle = random["regret"].median("seed").max("learning_rate")
    for second in ("back", "head", "random"):
        assert finding.numbers[f"most_{second}"] == pytest.approx(float(middle.sel(second=second)))
    assert "or more" not in finding.sentence
    bound = small.copy(deep=True)
    bound["best_steps"].loc[{"bases": "random", "second": "head"}] = CONFIG.first
    assert "or more (strong modes)" in find(bound).sentence
    assert len(find(bound).sentence) <= 160
    # Whatever the one run in aligned bases says is no case.
    worse = small.copy(deep=True)
    worse["regret"].loc[{"bases": "aligned"}] = 50.0
    assert find(worse).sentence == finding.sentence
    assert any(
        "Aligned bases, one run each, which has no interval: costs up to 5000 %" in each for each in find(worse).details
    )
    single = float(random["regret"].sel(second="back").max())
    assert any(f"single seeds up to {percent(single)}; " in each for each in finding.details)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--factor", "1"], "factor: got 1.0; allowed: a number but 1"),
        (["--rates", "0.1", "0.01"], "rates: got (0.1, 0.01); allowed: strictly increasing values"),
        (["--depth", "1"], "depth: got 1"),
        (["--first", "3000"], "first: got 3000"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused):
    assert told in refused(main, flags)
