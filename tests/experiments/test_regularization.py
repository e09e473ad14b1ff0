"""Regularisers: limits and thresholds against descent, fronts against brute force, and what the conclusion says."""

import numpy as np
import pytest

from experiments.regularization import Config, experiment, family, main, run
from experiments.regularization.finding import find
from experiments.regularization.fronts import limits, matched, threshold
from linsim.commands.config import FinetuneConfig, NetworkConfig, PretrainConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed

PRETRAINING = PretrainConfig(steps=8000, budgets=24)
STRENGTHS = (0.0, 0.5, 1.9, 2.1, 12.0)


def config(**changes):
    """Four modes, of which the later ones are rescaled by 4."""
    tuning = FinetuneConfig(steps=400, rates=13, highest_rate=1e-2, regularizations=STRENGTHS)
    return Config(**{"dim": 4, "drawn": 8, "pretrain": PRETRAINING, "finetune": tuning} | changes)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def descend(start, target, regularizer, strength, steps=4000):
    """Two balanced layers of one mode, W_1 = W_2 = w, in plain Python."""
    first = w = np.sqrt(start)
    eta = 0.1 / (1 + strength) / max(start, target, 1.0)
    for _ in range(steps):
        pull = {
            "product_penalty": 2 * strength * w * (w**2 - start),
            "weight_penalty": strength * (w - first),
            "weight_decay": strength * w,
        }[regularizer]
        w = w - eta * (2 * w * (w**2 - target) + pull)
    return w**2


@pytest.mark.parametrize("regularizer", ["product_penalty", "weight_penalty", "weight_decay"])
def test_limits_are_where_descent_ends(regularizer):
    pretrain, finetune = np.array([2.0, 0.5, 0.3, 1.0]), np.array([2.0, 2.0, 0.1, -0.5])
    for strength in (0.3, 1.0, 5.0):
        ends = [descend(a, b, regularizer, strength) for a, b in zip(pretrain, finetune, strict=True)]
        # At these strengths no mode decays more slowly than e^(-0.01) a step, except those whose limit is 0.
        np.testing.assert_allclose(limits(regularizer, pretrain, finetune, strength), ends, atol=1e-6)
    assert limits(regularizer, np.zeros(1), np.ones(1), 1.0) == 0


@pytest.mark.parametrize("regularizer", ["product_penalty", "weight_penalty", "weight_decay"])
def test_a_limit_is_twice_the_strength_at_the_threshold(regularizer):
    pretrain, finetune = np.array([2.0, 0.5]), np.array([2.0, 1.7])
    at = threshold(regularizer, pretrain, finetune)
    np.testing.assert_allclose(limits(regularizer, pretrain, finetune, at)[1], 1.0, rtol=1e-12)
    assert threshold(regularizer, pretrain, pretrain) == 0


def test_fronts_are_the_least_losses_that_any_pair_of_neighbours_spans():
    rng = np.random.default_rng(0)
    after, tuned = rng.uniform(0.1, 1, (2, 5, 4, 1))
    after[1, 2] = np.nan
    targets = np.array([[0.05], [0.3], [0.6]])
    share = np.linspace(0, 1, 20_001)
    best = []
    for target in targets[:, 0]:
        heights = [np.inf]
        for i, j in np.ndindex(5, 4):
            for k, l in ((i + 1, j), (i, j + 1)):
                if k < 5 and l < 4:
                    x, y = ((1 - share) * np.sqrt(z[i, j, 0]) + share * np.sqrt(z[k, l, 0]) for z in (tuned, after))
                    inside = x**2 <= target
                    heights += [np.nanmin(y[inside] ** 2, initial=np.inf)]
        best.append(min(heights))
    ours = matched(after, tuned, targets)[:, 0]
    # A chord through 20,000 points is known to a slope of at most 20 x 1/20,000.
    np.testing.assert_allclose(ours, np.where(np.isfinite(best), best, np.nan), atol=2e-3)


def test_simulation_is_the_closed_form_where_it_has_converged(result):
    for kind in ("pretrain", "finetune"):
        after = result[f"{kind}_loss_after"][-1, :, -1, -1, :, 0]
        limit = result[f"limit_{kind}_loss"][:, :, -1]
        near = result["converged"].values[:, -1]
        assert near.mean() > 0.6
        off = np.abs(np.sqrt(after.values) - np.sqrt(limit.values))[near]
        assert np.all(off <= 0.01 * np.sqrt(result.attrs["untuned_finetune_loss"]))  # what counts as converged
    assert not result["converged"].values[:, 0].any()  # rate x steps = 0.04 is far too short


def test_over_idealised_stages_harm_ends_where_it_must(result):
    shown = result["harm"][-1, :, -1, :, 0].values
    np.testing.assert_allclose(result["threshold"], [2.0, 6.82842712 * 2, 4.0])  # 2 sigma_2 = 2
    np.testing.assert_allclose(shown, result["limit_harm"].values, rtol=0.05, atol=1e-3)  # converged within 1 %
    assert np.all(shown[0, :3] > 0.05) and np.all(shown[0, 3:] < 1e-6)


def test_no_front_passes_the_bound_and_the_product_penalty_is_on_it(result):
    ratio = result["matched_pretrain_loss"] / result["bound_pretrain_loss"]
    assert float(ratio.min()) > 1 - 1e-12
    last = ratio[1, 1:, 0, -1, 0].values  # the largest strength, 12, does not hold it at the first target
    assert np.nanmax(last) < 1.001  # e^(-4 sigma eta K) = e^(-8) is left of the way to the limits


def told(found):
    return "\n".join(found.details)


def test_the_finding_is_harm_at_a_fixed_rate_and_curves_at_equal_loss(result):
    found = Finding.of(result)
    harm = result["harm"].isel(checkpoints=0, regularizer=0, regularization=0, seed=0)
    assert (found.verdict, found.numbers["harm at a fixed rate"]) == ("seen", float(harm.max()))
    assert found.numbers["curves"] == int(result["matched_pretrain_loss"].notnull().all("pretrain_steps").sum())
    assert found.numbers["turn up"] == 0
    assert "it is the best for every method, and lowest with the product penalty" in found.sentence


def test_where_features_are_removed_a_smaller_rate_alone_turns_and_where_they_are_amplified_nothing_does(result):
    harm = result["family_harm"] > 0.01
    assert harm.sel(family="amplified").sum() == 0 and harm.sel(family_method="any strength").sum() == 0
    found = Finding.of(result)
    assert found.numbers["removed turn"] == int(harm.sum()) >= 2 and found.numbers["amplified turn"] == 0
    assert "where some are removed" in found.sentence and found.sentence.endswith("by rate alone")


def test_where_the_second_kind_removes_nothing_the_longest_budget_is_the_best():
    small = FinetuneConfig(steps=50, learning_rates=(3e-3,), regularizations=(0.0, 1.0))
    few = {"finetune": small, "pretrain": PretrainConfig(steps=2000, budgets=3), "checkpoints": ("real",)}
    found = Finding.of(run(config(removed=2.0, regularizers=("product_penalty",), **few)))
    assert (found.numbers["removed turn"], found.numbers["removed curves"]) == (0, 48)
    assert "so it is in all 96 curves of drawn tasks" in found.sentence


def test_a_drawn_task_turns_in_numpy_as_well(result):
    rng = np.random.default_rng([0, 7])
    sigma, ratio = rng.uniform(0.3, 1, 4), rng.uniform(1.5, 4, 4)
    ratio[rng.permutation(4)[: rng.integers(1, 4)]] = 0.0
    goal, ends = ratio * sigma, []
    for budget in np.unique(np.round(np.geomspace(50, 20_000, 24)).astype(int)):
        start = sigma / (1 + (sigma * np.exp(10.0) - 1) * np.exp(-4 * sigma * 0.01 * budget))
        times = np.linspace(0, 10, 40_001)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            grown = goal / (1 + (goal / start - 1) * np.exp(-4 * goal * times))
        modes = np.where(goal > 0, grown, start / (1 + 4 * start * times))
        tuned = np.sum((modes - goal) ** 2, axis=1)
        first = np.argmax(tuned <= 0.1 * np.sum((goal - sigma) ** 2))
        ends.append(np.sum((modes[first] - sigma) ** 2))
    told = float(result["family_harm"].sel(family="removed too", family_method="rate alone", family_target=0.1)[7])
    # Between rates a fifth apart both losses are read off chords; steps of 0.02 x curvature 8 lag the flow.
    assert told == pytest.approx(ends[-1] / min(ends) - 1, abs=0.015) and told > 0.04


def test_below_it_harm_price_and_who_is_best_are_told(result):
    lines = told(Finding.of(result))
    assert "product penalty: " in lines and "none from 2.1 on" in lines and "net harm from 2 on" in lines
    assert "regularisers create harm" in lines
    assert "At equal fine-tuning loss 0 of" in lines and "the longest budget is the best" in lines


def test_only_curves_known_at_every_budget_are_counted(result):
    partly = result.copy(deep=True)
    partly["matched_pretrain_loss"][0, :, 0, 0] = np.nan  # the first method, from the first budget
    known = int(np.isfinite(result["matched_pretrain_loss"]).all("pretrain_steps").sum())
    lost = int(np.isfinite(result["matched_pretrain_loss"][0, :, 0]).all("pretrain_steps").sum())
    assert lost > 0 and find(partly).numbers["curves"] == known - lost
    assert "reached from some budgets only, are not counted" in told(find(partly))


def test_harm_on_a_coarse_grid_of_rates_is_doubted(result):
    harmful = result.assign(matched_harm=result["matched_harm"] * 0 + 0.5)
    found, coarse = find(harmful), find(harmful.isel(learning_rate=slice(4)))
    assert found.numbers["turn up"] == found.numbers["curves"] == coarse.numbers["turn up"]
    assert "the largest 50 %" in told(found) and "coarse" not in told(found) + found.sentence
    assert "4 rates are too coarse a grid" in coarse.sentence
    assert "this coarse (4 rates) shows harm that is not there" in told(coarse)


def test_two_budgets_are_too_few_to_tell(result):
    found = find(result.isel(pretrain_steps=slice(-2, None)))
    assert found.verdict == "cannot tell"
    assert "too few budgets to tell" in told(found) and "longest budget is the best" not in told(found)


def test_a_random_start_has_no_limits_its_seeds_differ_and_its_rates_stay_below_the_edge_of_stability():
    tuning = FinetuneConfig(steps=50, learning_rates=(3e-3, 0.127), regularizations=(0.0, 0.1))  # the edge is at 0.125
    chosen = {"regularizers": ("product_penalty",), "checkpoints": ("real",), "seeds": 2}
    pretrain = PretrainConfig(steps=2000, budgets=3)
    random = run(config(network=NetworkConfig(init="gaussian"), finetune=tuning, pretrain=pretrain, **chosen))
    assert random["limit_harm"].isnull().all() and "limits in closed form: none" in told(Finding.of(random))
    assert random["matched_pretrain_loss"].sizes["seed"] == 2
    beyond = random.sel(learning_rate=0.127)
    assert beyond["unstable"].all() and not beyond["diverged"].any()
    assert random.attrs["converged_rate"] == 3e-3
    # 50 steps of 3e-3 end far from the limits: the last target is reached at the larger rate alone, which is out.
    assert random["matched_pretrain_loss"].isel(target=-1).isnull().all()


def test_drawn_tasks_are_compared_over_stable_runs(monkeypatch):
    compared = []
    for name, few in (("_RATES", [0.01, 0.3]), ("_STRENGTHS", [0.0]), ("_BUDGETS", [500, 5000])):
        monkeypatch.setattr(family, name, np.array(few))
    monkeypatch.setattr(family, "matched", lambda after, *_: compared.append(after) or np.ones((3, 2)))
    family.family(1, 0.0, 0, None)
    slow, fast = np.stack(compared, axis=1)
    # The largest strength of both drawn tasks is above 1.67 = 2 / (4 x 0.3), where the edge is.
    assert np.isfinite(slow).all() and np.isnan(fast).all()


def test_bad_input_is_one_line(tmp_path, capsys):
    for flags, said in (
        (["--targets", "0"], "targets: got 0"),
        (["--regularizers"], "regularizers: got ()"),
        (["--finetune.regularizer", "weight_decay"], "finetune.regularizer: got weight_decay"),
        (["--finetune.weight-decay", "1"], "finetune.weight_decay: got 1.0"),
        (["--shift.rescale-factor", "1"], "shift: got two tasks without a difference"),
    ):
        assert main([*flags, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    with pytest.raises(InvalidInput, match="checkpoints: got "):
        run(config(checkpoints=("real", "real")))
