"""Pairs of checkpoints, one pre-trained longer: how they are found, what they do, and what is said of them."""

import dataclasses

import numpy as np
import pytest

from experiments.checkpoint_pair import Config, experiment, main, partners, run, with_pairs
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig, ShiftConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed

SMALL = Config(
    dim=4,
    seeds=2,
    network=NetworkConfig(init="identity", tau=3.0),
    pretrain=PretrainConfig(learning_rate=0.005, steps=4000, first=20, budgets=61),  # 1.0923 from one to the next
    finetune=FinetuneConfig(steps=400, learning_rates=(1e-7, 1e-3, 3e-3), strengths=1),
)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


def test_partners_are_the_nearest_budgets_in_the_logarithm():
    np.testing.assert_array_equal(partners(np.asarray([100, 130, 169, 220]), 1.3), [1, 2, 3, np.nan])
    np.testing.assert_array_equal(partners(np.asarray([100, 120, 150, 400]), 1.3), [1, 2, np.nan, np.nan])
    # The last one is within half a step of 1.3 x 1000, no more than that of 1.3 x 1100.
    np.testing.assert_array_equal(partners(np.asarray([1000, 1100, 1250]), 1.3), [2, np.nan, np.nan])
    np.testing.assert_array_equal(partners(np.asarray([500]), 1.3), [np.nan])


def test_a_pair_is_what_descent_in_numpy_makes_of_it(result):
    at = int(np.flatnonzero(result["behaves"].values[:, 1, 0, 0])[3])
    first, later = int(result["pretrain_steps"][at]), int(result["later_steps"][at])
    sigma = 2 / np.arange(1, 5)
    goal = sigma * np.where(np.arange(4) >= 1, 4.0, 1.0)

    def descend(w, target, rate, steps):
        for _ in range(steps):
            w = w - 2 * rate * w * (w**2 - target)
        return w

    base = [descend(np.full(4, np.exp(-3.0)), sigma, 0.005, steps) for steps in (first, later)]
    tuned = [descend(w, goal, 1e-3, 400) for w in base]
    # Some thousand steps in float64, of losses far above rounding.
    for name, weights, target in (
        ("base_change", base, sigma),
        ("result_change", tuned, sigma),
        ("finetune_change", tuned, goal),
    ):
        one, other = (np.sum((w**2 - target) ** 2) for w in weights)
        cell = result[name].isel(pretrain_steps=at, seed=0)
        value = cell if name == "base_change" else cell.isel(learning_rate=1, regularization=0)
        np.testing.assert_allclose(value, other / one - 1, rtol=1e-9)


def test_pairs_behave_where_the_base_is_better_and_the_result_worse_by_more_than_the_margin(result):
    behaves = result["behaves"].isel(regularization=0)
    after = result["pretrain_loss_after"].isel(regularization=0).values
    later = np.searchsorted(result["pretrain_steps"], result["later_steps"].fillna(20).values)
    counted = (after[later] > 1.02 * after) & (after[later] - after > 0.001 * np.sum((2 / np.arange(1, 5)) ** 2))
    counted &= (result["base_change"] < 0).values[:, None]
    np.testing.assert_array_equal(behaves, counted)
    pairs = int(result["later_steps"].notnull().sum())
    np.testing.assert_allclose(result["share"].values[:, 0], behaves.all("seed").sum("pretrain_steps") / pairs)
    assert result["share"].values[0, 0] == 0 < result["share"].values[1, 0]


def test_a_pair_counts_in_the_share_only_where_every_seed_behaves(result):
    flat = result["pretrain_loss_after"].where(result["seed"] == 0, 1.0)
    changed = with_pairs(result.assign(pretrain_loss_after=flat), 1.3, 1.09, 0.02, 0.001)
    assert changed["behaves"].sel(seed=0).any()
    assert not changed["share"].any()


def test_the_closed_form_has_the_same_pairs(result):
    """Above the margin or not by the flow; at a rate x curvature of 0.02 they differ on pairs at the margin alone."""
    chart = result.isel(regularization=0, learning_rate=1, seed=0)
    flow, at = chart["predicted_pretrain_loss_after"].values, np.flatnonzero(chart["later_steps"].notnull())
    partner = np.searchsorted(chart["pretrain_steps"], chart["later_steps"].values[at])
    change = flow[partner] / flow[at] - 1
    clear = np.abs(change - 0.02) > 0.02
    assert clear.sum() > 30
    np.testing.assert_array_equal((change > 0.02)[clear], chart["behaves"].values[at][clear])


def test_the_matched_pair_has_its_inflection_where_asked(result):
    cell = result.isel(learning_rate=1, regularization=0)
    ratio = float(cell["inflection_steps"].median("seed") / cell["matched_steps"])
    # The nearest of budgets 9.2 % apart: within half a step, and rounding to whole steps.
    assert abs(np.log(ratio / 1.09)) < 0.5 * np.log(1.0923) + 0.01


def test_a_curve_that_rises_from_the_first_budget_has_no_matched_pair(result):
    rising = result["pretrain_steps"] * (result["pretrain_loss_after"] * 0 + 1.0)
    flat = result.assign(pretrain_loss_after=rising, inflection_steps=result["harm"] * 0 + 20)
    assert np.isnan(with_pairs(flat, 1.3, 1.09, 0.02, 0.001)["matched_steps"]).all()


def found(dataset, **changes):
    """What is found in a result whose variables are others than they were."""
    return Finding.of(experiment.found(with_pairs(dataset.assign(changes), 1.3, 1.09, 0.02, 0.001)))


def test_the_finding_is_of_the_rate_at_which_most_pairs_behave_so(result):
    finding, share = Finding.of(result), result["share"].values[:, 0]
    behaves = result["behaves"].isel(regularization=0).all("seed")
    assert finding.verdict == "seen"
    assert finding.numbers["share"] == share.max()
    assert finding.numbers["learning_rate"] == float(result["learning_rate"][share.argmax()])
    assert finding.numbers["behaving"] == int(behaves.sum())
    assert finding.numbers["worse on fine-tuning"] == 0
    there = behaves.isel(learning_rate=share.argmax())
    first, last = result["pretrain_steps"].values[there][[0, -1]]
    assert f"for all pairs from {first} to {last} steps" in finding.sentence


def test_pairs_with_a_gap_are_told_by_their_share(result):
    behaves, best = result["behaves"].copy(), int(result["share"].values[:, 0].argmax())
    behaves[np.flatnonzero(behaves.all("seed").values[:, best, 0])[2], best] = False
    finding = experiment.find(result.assign(behaves=behaves))
    assert f"for {100 * float(result['share'].max()):.2g} % of the pairs" in finding.sentence


def test_a_terminal_is_told_in_a_dozen_lines(result):
    lines = [line for line in experiment.tell(result).splitlines() if line]
    solver = next(at for at, line in enumerate(lines) if line.startswith("The claims"))
    assert solver <= 12 and max(map(len, lines[:solver])) <= 120


def test_an_easier_task_has_no_such_pair_and_says_so():
    easier = run(dataclasses.replace(SMALL, shift=ShiftConfig(rescale_factor=0.5)))
    assert Finding.of(easier).verdict == "not seen"
    assert easier["matched_steps"].isnull().all()


@pytest.mark.parametrize("how", ["diverged", "unstable"])
def test_a_pair_with_a_run_that_tells_nothing_does_not_count(result, how):
    lost = result[how].copy()
    lost[40] = True
    changed = with_pairs(result.assign({how: lost}), 1.3, 1.09, 0.02, 0.001)
    assert result["result_change"].notnull().values[[37, 40], 0, 0].all()
    assert changed["result_change"].isnull().values[[37, 40], 0, 0].all()
    assert not changed["behaves"].values[[37, 40], 0, 0].any()
    assert np.isnan(changed["share"]).sum() == 0


def test_the_factor_and_the_turn_are_those_reached(result):
    coarse = found(result.isel(pretrain_steps=slice(0, 61, 5)))
    assert coarse.sentence.startswith("1.5 to 1.6 times the pre-training")
    cell = result.isel(learning_rate=1, regularization=0)
    reached = float(cell["inflection_steps"].median("seed") / cell["matched_steps"])
    assert f"{reached:.3g}" in experiment.tell(result)


def test_no_pair_is_matched_whose_inflection_is_before_its_earlier_budget(result):
    coarse = result.isel(pretrain_steps=slice(0, 61, 5))
    budget = float(coarse["pretrain_steps"][4])
    early = with_pairs(coarse.assign(inflection_steps=result["harm"] * 0 + 0.99 * budget), 1.3, 1.09, 0.02, 0.001)
    assert early["matched_steps"].isnull().all()


def test_balanced_starts_need_two_layers():
    network = NetworkConfig(init="lambda_balanced", balance=1e-4)
    with pytest.raises(InvalidInput, match="^depth: got 3"):
        run(dataclasses.replace(SMALL, depth=3, network=network))


@pytest.mark.parametrize(("field", "value"), [("factor", 1.0), ("turn", -1.0), ("margin", -0.1)])
def test_a_bad_field_is_named(field, value):
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        run(dataclasses.replace(SMALL, **{field: value}))


def test_several_strengths_are_refused_in_one_line(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "x"), "--finetune.strengths", "3"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("finetune.regularizations: got") and error.count("\n") == 1
