"""The league of mitigations: losses at matched fine-tuning loss against NumPy, both rulers, and what is concluded."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import spearmanr

from experiments.mitigations import Config, experiment, main
from experiments.mitigations.changes import pretrained
from experiments.mitigations.experiment import _place
from experiments.mitigations.families import FAMILIES, drawn
from experiments.mitigations.finding import _over, find, table
from experiments.mitigations.finetuning import batched_elastic, elastic
from experiments.mitigations.method import Method
from experiments.mitigations.methods import ALONE, METHODS
from experiments.mitigations.reading import (
    at_hardest,
    at_matched_loss,
    choose,
    correlations,
    least_pretrain_loss,
    ranks,
)
from experiments.mitigations.rulers import _ruled
from experiments.mitigations.running import checkpoints
from experiments.mitigations.running import losses as losses_of
from linsim.dynamics.seen import SeenTask
from linsim.tasks import LinearTask, Transfer
from tests.computed import computed

PENALTY, MIXED, MUON = "product penalty", "interpolated weights", "Muon"
CONFIG = Config(
    dim=4,
    seeds=2,
    methods=(ALONE, PENALTY, MIXED, "constant rate", MUON),
    steps=300,
    finetune_steps=60,
    rates=14,
    lowest_rate=1e-3,
)
VERDICTS = {
    "what hardly moves wins at the fixed recipe": (replace(CONFIG, families=("random",)), "seen"),
    "the fixed recipe picks the nearest": (replace(CONFIG, methods=(MIXED,)), "not seen"),
    "one transfer": (replace(CONFIG, seeds=1, families=("tail",)), "cannot tell"),
}


@pytest.fixture(scope="module")
def small():
    return computed(experiment, CONFIG)


def put(dataset, methods):
    """What a configuration of fewer methods has of the same result."""
    return dataset.isel(mitigation=[at for at, name in enumerate(dataset["mitigation"].values) if str(name) in methods])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(small, name):
    config, verdict = VERDICTS[name]
    found = put(small, {ALONE, *config.methods}).isel(seed=slice(config.seeds)).sel(family=list(config.families))
    finding = find(found.assign_attrs(small.attrs))
    assert finding.verdict == verdict, finding.sentence


def test_intervals_draw_families_and_seeds_and_exceptions_are_told(small):
    """Copies of a family are no more transfers; a family in which another method is nearer is counted and named."""
    phi = CONFIG.levels[0]

    def widths(dataset):
        return _over(dataset["ratio"].sel(level=phi, mitigation=PENALTY)).ends

    low, high = widths(small)
    values = small["ratio"].sel(level=phi, mitigation=PENALTY).median("seed").values
    assert low <= values.min() * (1 + 1e-12) or high >= values.max() * (1 - 1e-12)
    alone = xr.DataArray(np.random.default_rng(0).normal(size=(1, 9)), dims=("family", "seed"))
    assert _over(alone.isel(family=[0] * 8)).ends == _over(alone).ends
    one = find(small.isel(seed=[0]))
    assert (one.verdict, "two seeds" in one.sentence) == ("cannot tell", True)
    worse = small.isel(family=[0, 0, 0]).assign_coords(family=["tail", "head", "removed"]).copy(deep=True)
    worse["ratio"].loc[{"family": "removed", "mitigation": ALONE}] = 1.0
    finding = find(worse)
    assert "nearest in 2 of 3 families: " in finding.sentence
    assert any(f"not the nearest everywhere: {ALONE} (removed)" in line for line in finding.details)


def descended(layers, target, rate, steps, penalty):
    """Gradient descent of two layers on ||P - A||^2 + penalty ||P - P_0||^2, in NumPy alone."""
    first, second = layers
    began = second @ first
    for _ in range(steps):
        product = second @ first
        slope = 2 * (product - target) + 2 * penalty * (product - began)
        first, second = first - rate * second.T @ slope, second - rate * slope @ first.T
    return first, second


@pytest.mark.parametrize("family", ["tail", "random"])
def test_the_product_penalty_at_matched_loss_is_that_of_a_script_in_numpy(small, family):
    cell = small.sel(family=family, mitigation=PENALTY)
    weights = [cell[f"checkpoint_{layer}"].isel(seed=0).values for layer in (1, 2)]
    before, after = (
        small[f"{phase}_target"].sel(family=family).isel(seed=0).values for phase in ("pretrain", "finetune")
    )
    distance = np.sum((before - after) ** 2)
    np.testing.assert_allclose(cell["distance"].isel(seed=0), distance, rtol=1e-12)
    for phi in CONFIG.levels:
        strength = float(small["value"].sel(mitigation=PENALTY)[int(cell["chosen"].sel(level=phi))])

        def losses(rate, strength=strength):
            first, second = descended(weights, after, rate, CONFIG.finetune_steps, strength)
            return [np.sum((second @ first - target) ** 2) / distance for target in (before, after)]

        rate = brentq(lambda rate, phi=phi: losses(rate)[1] - phi, CONFIG.lowest_rate, 0.03)
        told = cell["ratio"].sel(level=phi).isel(seed=0) * (1 - np.sqrt(phi)) ** 2
        # Read between rates a factor of 1.7 apart, of which both losses are smooth functions.
        np.testing.assert_allclose(told, losses(rate)[0], rtol=0.02)


def test_the_least_possible_loss_is_that_of_one_covariance_and_of_a_search():
    rng = np.random.default_rng(0)
    pair = [rng.standard_normal((3, 3)) for _ in "ab"]
    one = Transfer(*(LinearTask.from_target(target) for target in pair))
    for phi in (0.01, 0.1, 0.5, 0.9):
        told = least_pretrain_loss(one, phi * one.learned_loss) / one.learned_loss
        np.testing.assert_allclose(told, (1 - np.sqrt(phi)) ** 2, rtol=1e-9)
    covariances = [np.diag([1.0, 0.3, 0.1]), np.diag([0.2, 0.5, 1.0])]
    two = Transfer(*(LinearTask.from_target(a, s) for a, s in zip(pair, covariances, strict=True)))
    least = least_pretrain_loss(two, 0.3 * two.learned_loss)
    best = np.inf
    for weight in np.geomspace(1e-3, 1e3, 2001):  # along the front itself, solved for each weight
        inverse = np.linalg.inv(covariances[0] + weight * covariances[1])
        product = (pair[0] @ covariances[0] + weight * pair[1] @ covariances[1]) @ inverse
        if two.finetune.loss_of(product) <= 0.3 * two.learned_loss:
            best = min(best, two.pretrain.loss_of(product))
    np.testing.assert_allclose(least, best, rtol=1e-2)  # weights 0.7 % apart
    assert least <= best * (1 + 1e-12)


def test_nothing_is_below_the_bound(small):
    smooth = small.isel(mitigation=np.flatnonzero(small["mitigation"].values != MUON))
    assert float(smooth["ratio"].min()) >= 1 - 1e-3  # what interpolation between rates may add


def test_what_is_told_of_unreached_targets_and_ends_of_ranges():
    rates = np.geomspace(0.1, 1.0, 6)
    falls = np.geomspace(1.0, 0.01, 6)
    before = np.linspace(0.1, 0.6, 6)
    told = at_matched_loss(rates, np.stack([before] * 3), np.stack([falls, falls + 0.2, falls / 100]), 0.1)
    assert np.isfinite(told[0])
    assert np.isnan(told[1:]).all()
    ratios = np.array([[1.3, 1.4], [1.2, 1.3], [1.1, np.nan]])
    assert choose(ratios, bounded=False)[1:] == (1, "")
    assert choose(ratios[1:], bounded=False)[1:] == (0, "lowest")
    assert choose(ratios[:2], bounded=False)[1:] == (1, "highest")
    assert choose(ratios[:2], bounded=True)[1:] == (1, "")
    assert choose(np.full((2, 2), np.nan), bounded=False)[1:] == (-1, "")


@pytest.mark.filterwarnings("error")
def test_where_no_method_ends_at_all_nothing_is_told_and_nothing_warned_of():
    lost = np.full((2, 3, 1, 4), np.nan)
    found = at_hardest(lost, lost)
    assert np.isnan(found.level).all() and np.isnan(found.losses).all()
    transfer = Transfer(LinearTask.create([2.0, 1.0]), LinearTask.create([2.0, 4.0]))
    assert np.isnan(least_pretrain_loss(transfer, float(found.level[0])))


def test_ranks_and_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 7, 3))
    told = correlations(first, second)
    np.testing.assert_allclose(told, [spearmanr(first[:, at], second[:, at])[0] for at in range(3)], rtol=1e-12)
    assert ranks(np.array([[2.0], [np.nan], [1.0], [np.nan]])).ravel().tolist() == [2, 3.5, 1, 3.5]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_elastic_weights_are_by_the_squares_of_the_jacobian(depth):
    rng = np.random.default_rng(depth)
    weights = tuple(jnp.asarray(rng.standard_normal((3, 3))) for _ in range(depth))
    moved = tuple(weight + jnp.asarray(rng.standard_normal((3, 3))) for weight in weights)
    spread = rng.standard_normal((3, 3))
    with jax.enable_x64(True):
        weights, moved = ([jnp.asarray(np.asarray(each), float) for each in layers] for layers in (weights, moved))
        task = SeenTask.of(LinearTask.from_target(np.eye(3), spread @ spread.T), np.float64)
        told = float(elastic(moved, tuple(weights), task, task))
        root, expected = np.linalg.cholesky(spread @ spread.T), 0.0
        for inputs in root.T:  # sum of x x' over them is S

            def outputs(layers, inputs=inputs):
                for layer in layers:
                    inputs = layer @ inputs
                return inputs

            for rows, now, began in zip(jax.jacobian(outputs)(list(weights)), moved, weights, strict=True):
                expected += 0.5 * np.sum(np.asarray(rows) ** 2 * np.asarray(now - began) ** 2)
    np.testing.assert_allclose(told, expected, rtol=1e-9)


def test_batched_elastic_weights_are_by_squares_of_gradients_of_drawn_minibatches():
    rng, batch, count = np.random.default_rng(0), 8, 40_000
    weights = [rng.standard_normal((3, 3)) for _ in range(2)]
    moved = [weight + 0.3 * rng.standard_normal((3, 3)) for weight in weights]
    spread = rng.standard_normal((3, 3)) / 2 + np.eye(3)
    product = weights[1] @ weights[0]
    task = LinearTask.from_target(product + 0.2 * rng.standard_normal((3, 3)), spread @ spread.T, label_noise=0.7)
    inputs = rng.standard_normal((count, batch, 3)) @ spread.T
    errors = inputs @ (task.target - product).T + 0.7 * rng.standard_normal((count, batch, 3))
    grams = np.einsum("nbo,nbi->noi", errors, inputs) / batch
    squares = [np.mean(each**2, axis=0) for each in (weights[1].T @ grams, grams @ weights[0].T)]
    expected = sum(
        0.5 * batch * np.sum(square * (now - began) ** 2)
        for square, now, began in zip(squares, moved, weights, strict=True)
    )
    with jax.enable_x64(True):
        seen = SeenTask.of(task, np.float64)
        layers = [tuple(jnp.asarray(each, float) for each in part) for part in (moved, weights)]
        told = float(batched_elastic(*layers, seen, seen))
    np.testing.assert_allclose(told, expected, rtol=0.03)  # of 40,000 draws of fourth powers


def test_the_rule_of_watts_is_at_the_level_that_the_worst_method_reaches():
    finetune = np.array([[[[0.9, 0.4, 0.1]]], [[[0.8, 0.5, np.nan]]], [[[0.7, 0.3, 0.01]]]])
    pretrain = np.array([[[[0.0, 0.2, 0.6]]], [[[0.1, 0.3, np.nan]]], [[[0.0, 0.1, 0.9]]]])
    told = at_hardest(pretrain, finetune)
    assert told.level.tolist() == [0.5]
    assert told.losses[1, 0] == pytest.approx(0.3)
    # Between rates of 0.9 and 0.4 distances to both tasks are on a chord.
    share = (np.sqrt(0.9) - np.sqrt(0.5)) / (np.sqrt(0.9) - np.sqrt(0.4))
    assert told.losses[0, 0] == pytest.approx((share * np.sqrt(0.2)) ** 2)


def test_rules_choose_one_strength_for_all_targets_by_losses_before_or_by_the_recipe():
    losses = np.array([[0.4, 0.2, 0.3], [0.5, 0.4, 0.1], [0.6, 0.1, 0.2]])
    assert _ruled("base", losses, losses[:, ::-1]) == 1
    assert _ruled("rehearsal", losses[:, [1, 0, 2]], losses) == 1
    assert _ruled("base", np.where(losses == 0.4, np.nan, losses), losses) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_families_differ_as_they_say(family):
    pair = drawn(family, 8, 4.0, 0.5, (0, 1))
    assert pair.pretrain.label_noise == 0.5
    assert pair.learned_loss > 0
    before, after = pair.pretrain.strengths, pair.finetune.strengths
    if family == "digits":
        assert pair.pretrain.target.shape == (10, 8)
        root = np.linalg.cholesky(pair.pretrain.input_covariance)
        assert np.linalg.norm(pair.pretrain.target @ root, 2) == pytest.approx(2)
        assert not np.allclose(pair.finetune.input_covariance, pair.pretrain.input_covariance)
        return
    factors = {"tail": [1, 1, *[4] * 6], "head": [4, 4, *[1] * 6], "removed": [1, 0] * 4, "amplified": [2] * 8}
    np.testing.assert_allclose(after, np.asarray(factors.get(family, [1] * 8)) * before)
    turned = {"rotated_inputs": (False, True), "rotated_both": (True, True), "random": (True, True)}
    found = tuple(
        not np.allclose(getattr(pair.pretrain, side), getattr(pair.finetune, side)) for side in ("left", "right")
    )
    assert found == turned.get(family, (False, False))


def test_pretraining_that_diverges_at_one_strength_is_data():
    place = _place(replace(CONFIG, steps=50), "tail", 0)
    method = Method(
        "large rates", "pretrain", pretrained(schedule=None), axis="pretrain_learning_rate", strengths=(0.01, 5.0)
    )
    begun = checkpoints(method, place.problem)
    assert not np.isfinite(begun[0][1]).all()
    told = losses_of(method, place, np.array([0.004, 0.01]), 3, begun)
    for losses in told.values():
        assert np.isfinite(losses[0]).all()
        assert np.isnan(losses[1]).all()


def test_weights_merged_along_the_way_are_the_mean_of_descent():
    place = _place(replace(CONFIG, steps=50), "tail", 0)
    found = losses_of(METHODS["merged along the way"], place, np.array([0.004, 0.01]), 1, None)
    weights = [layer[0] for layer in place.standard]
    after, before = (getattr(place.problem.transfer, name).target for name in ("finetune", "pretrain"))
    for number, start in enumerate((0, 15, 30, 45)):
        passed = []
        first, second = weights
        for _ in range(CONFIG.finetune_steps):
            slope = 2 * (second @ first - after)
            first, second = first - 0.01 * second.T @ slope, second - 0.01 * slope @ first.T
            passed.append((first, second))
        first, second = (np.mean([pair[at] for pair in passed[start:]], axis=0) for at in (0, 1))
        np.testing.assert_allclose(
            found["pretrain_loss_after"][number, 1], np.sum((second @ first - before) ** 2), rtol=1e-9
        )


def test_the_table_has_a_row_for_each_method_the_nearest_first(small):
    lines = table(small)
    assert len(lines) == 1 + small.sizes["mitigation"]
    mean = small["rank"].mean(("level", "family", "seed"))
    assert MIXED in lines[1] or float(mean.sel(mitigation=MIXED)) > float(mean.min())


FEW = ["--dim", "2", "--steps", "20", "--seeds", "1", "--families", "tail", "--methods", "rate and steps alone"]
OWN = """
from experiments.mitigations.method import Method
from experiments.mitigations.changes import finetuned

slow = Method("momentum", "finetune", finetuned(momentum=0.9), rate=0.1)
wrong = Method("momentum", "before", finetuned(momentum=0.9))
none = Method("nothing", "finetune", lambda problem, strength: None)
axis = Method("bogus axis", "finetune", axis="bogus", strengths=(0.1, 1.0))
"""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--levels", "0.5", "1"], "levels: got 1.0; allowed: "),
        (["--methods", "hope"], "methods: got ('hope',); allowed: some of rate and steps alone"),
        (["--withheld", "pre-training data"], "methods: got EWC; allowed: methods that do without pre-training data"),
        (["--own", "own_method:nothing"], "own: got own_method:nothing; allowed: a name in"),
        (["--own", "own_method:wrong"], "own own_method:wrong.side: got before; allowed: "),
        (
            ["--own", "own_method:none", *FEW],
            "own nothing: of: got None; allowed: a function that gives a linsim.Problem",
        ),
        (["--own", "own_method:axis", *FEW], "own bogus axis: axes: got bogus; allowed: "),
        (["--rates", "3"], "rates: got 3"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(flags, told, refused, tmp_path, monkeypatch):
    (tmp_path / "own_method.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert told in refused(main, flags)
