"""Lanes beyond the edge of stability, held against dense Hessians at every step, in NumPy by hand."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import optax
import pytest

from experiments.words import diverged, rechecked
from linsim.dynamics.moving.ascent import SharpnessAware
from linsim.dynamics.moving.averages import ExponentialAverage
from linsim.dynamics.moving.parameters import Layers, LowRank, Masked
from linsim.phase import Phase, Term
from linsim.problem import Problem
from linsim.spectra import power_covariance
from linsim.sweeping.checks import again, bound, stability
from linsim.sweeping.checks.bound import MARGIN, Rule, Start, reach
from linsim.sweeping.checks.edge import started
from linsim.sweeping.sweep import chart, sweep
from linsim.tasks import LinearTask, Transfer, random_basis
from tests.problems import aligned_problem, gaussian_problem

# --- by hand ---------------------------------------------------------------------------------------------------------


def product(weights):
    found = weights[0]
    for weight in weights[1:]:
        found = weight @ found
    return found


def gradient(weights, anchor, task, phase):
    """Of ||P - A||_S^2 + lambda ||P - P_0||^2 + (mu/2) ||W - W_0||^2 + (beta/2) ||W||^2."""
    pull = 2 * force(weights, anchor, task, phase)
    slopes = []
    for layer, weight in enumerate(weights):
        before = product(weights[:layer]) if layer else np.eye(weight.shape[1])
        after = product(weights[layer + 1 :]) if layer + 1 < len(weights) else np.eye(weight.shape[0])
        mu, beta = phase.weight_penalty or 0.0, phase.weight_decay or 0.0
        slopes.append(after.T @ pull @ before.T + mu * (weight - anchor[layer]) + beta * weight)
    return slopes


def force(weights, anchor, task, phase):
    """M = (P - A) S + lambda (P - P_0)."""
    now = product(weights)
    return (now - task.target) @ task.input_covariance + (phase.product_penalty or 0.0) * (now - product(anchor))


def hessian(weights, anchor, task, phase):
    """Column by column: the derivative of P along each entry, and of M's part in it along each pair."""
    entries = [(l, i, j) for l, w in enumerate(weights) for i in range(w.shape[0]) for j in range(w.shape[1])]

    def moved(*which):
        """P with some layers replaced by a single entry."""
        layers = list(weights)
        for l, i, j in which:
            layers[l] = np.zeros_like(weights[l])
            layers[l][i, j] = 1.0
        return product(layers)

    penalty, pull = phase.product_penalty or 0.0, force(weights, anchor, task, phase)
    along = [moved(entry) for entry in entries]
    weighted = [2 * (each @ task.input_covariance + penalty * each) for each in along]
    found = np.array([[np.sum(a * b) for b in along] for a in weighted])
    for (a, one), (b, other) in itertools.combinations(enumerate(entries), 2):
        if one[0] != other[0]:
            found[a, b] += 2 * np.sum(pull * moved(one, other))
            found[b, a] = found[a, b]
    return found + ((phase.weight_penalty or 0.0) + (phase.weight_decay or 0.0)) * np.eye(len(entries))


def descended(weights, task, phase, rate, steps, free=None):
    """Weights at every step, and the top eigenvalue there over what is free."""
    anchor, tops, states = list(weights), [], []
    velocity, momentum = [np.zeros_like(w) for w in weights], phase.momentum or 0.0
    mask = np.concatenate(
        [np.ones(w.size) if free is None else np.full(w.size, free[l]) for l, w in enumerate(weights)]
    )
    for step in range(steps):
        factor = 1.0 if phase.schedule is None else float(phase.schedule(step))
        curvature = hessian(weights, anchor, task, phase)
        tops.append(factor * np.linalg.eigvalsh(curvature * mask * mask[:, None])[-1])
        states.append(weights)
        slopes = gradient(weights, anchor, task, phase)
        velocity = [g + momentum * v for g, v in zip(slopes, velocity, strict=True)]
        ahead = [g + momentum * v for g, v in zip(slopes, velocity, strict=True)] if phase.nesterov else velocity
        moves = [1.0] * len(weights) if free is None else free
        weights = [w - rate * factor * m * v for w, m, v in zip(weights, moves, ahead, strict=True)]
        if not all(np.isfinite(w).all() and np.max(np.abs(w)) < 1e3 for w in weights):
            return states, np.array([*tops, np.inf]), weights
    return [*states, weights], np.array(tops), weights


def small(depth, seed, finetune, *, aligned=False, pretrain=None, budgets=(3, 20), steps=25):
    """Widths of 2 and 3, anything else at random."""
    rng = np.random.default_rng(seed)
    widths = [3, *rng.integers(2, 4, size=depth - 1), 3] if not aligned else [3] * (depth + 1)
    left, right = random_basis(3, rng), random_basis(3, rng)
    covariance = None if aligned else power_covariance(random_basis(3, rng), 0.5)
    strengths = np.sort(rng.uniform(0.3, 2.0, size=3))[::-1]
    make = partial(LinearTask.create, input_covariance=covariance)
    task = make(strengths, left=left, right=right)
    sides = (left, right) if aligned else (random_basis(3, rng), random_basis(3, rng))
    other = make(rng.uniform(0.3, 2.0, size=3), left=sides[0], right=sides[1])
    if aligned:
        chain = [np.diag(rng.uniform(0.3, 0.8, size=3)) for _ in range(depth)]
        chain[0], chain[-1] = chain[0] @ right.T, left @ chain[-1]
    else:
        chain = [0.5 * rng.normal(size=(widths[l + 1], widths[l])) for l in range(depth)]
    weights = tuple(layer[None] for layer in chain)
    return Problem(Transfer(task, other), weights, pretrain or Phase(0.05), finetune, np.asarray(budgets), steps)


def by_hand(problem, rates, free=None):
    """Largest rate x curvature / limit of every lane (budget, rate), pre-training as far as its budget included."""
    phase, transfer = problem.finetune, problem.transfer
    momentum = phase.momentum or 0.0
    limit = 2 * (1 + momentum) / (1 + 2 * momentum * phase.nesterov)
    rate, begun = float(problem.pretrain.learning_rate), [layer[0] for layer in problem.initial]
    states, tops, _ = descended(begun, transfer.pretrain, problem.pretrain, rate, int(problem.budgets[-1]))
    found = np.zeros((len(problem.budgets), len(rates)))
    for at, budget in enumerate(problem.budgets):
        for number, tuned in enumerate(rates):
            if budget >= len(states):  # pre-training diverged
                found[at, number] = np.inf
                continue
            _, curve, _ = descended(states[budget], transfer.finetune, phase, tuned, problem.finetune_steps, free)
            found[at, number] = max(tuned * np.max(curve) / limit, rate * np.max(tops[:budget]) / 2)
    return found


def told(problem, rates, **how):
    result = sweep(problem, {"learning_rate": rates}, rechecked=0, **how)
    return result["unstable"].isel(seed=0).values


RATES = [0.01, 0.06, 0.12, 0.2, 0.35]
PHASES = {
    "plain": Phase(0.1),
    "penalty": Phase(0.1, product_penalty=2.0),
    "pull": Phase(0.1, weight_penalty=2.0),
    "decay": Phase(0.1, weight_decay=0.5),
    "momentum": Phase(0.1, momentum=0.5),
    "nesterov": Phase(0.1, momentum=0.8, nesterov=True),
    "schedule": Phase(0.1, schedule=optax.linear_schedule(0.3, 1.5, 20)),
}


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "depth", "aligned"),
    [
        *(("plain", 1, False), ("plain", 3, True), ("penalty", 2, True), ("penalty", 3, False), ("pull", 2, False)),
        *(("decay", 3, False), ("momentum", 2, True), ("nesterov", 2, False), ("schedule", 2, True)),
    ],
)
def test_lanes_are_unstable_where_dense_hessians_at_every_step_say_so(name, depth, aligned):
    problem = small(depth, 3 + depth, PHASES[name], aligned=aligned)
    ratio = by_hand(problem, RATES)
    found = told(problem, RATES)
    # Looked at are 17 of 25 steps; none of these lanes is beyond the edge between two of them alone.
    np.testing.assert_array_equal(found, ratio > 1)
    assert found.any() or name == "schedule" or depth == 1
    assert not found.all()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("solver", ["modes", "gram", "dense"])
def test_all_solvers_say_the_same(solver):
    problem = small(2, 1, PHASES["penalty"], aligned=True)
    np.testing.assert_array_equal(told(problem, RATES, solver=solver), by_hand(problem, RATES) > 1)


def test_frozen_layers_and_entries_have_no_curvature():
    frozen = small(2, 0, Phase(0.1, moves=Layers((1,))))
    ratio = by_hand(frozen, RATES, free=[1.0, 0.0])
    assert np.any((by_hand(replace(frozen, finetune=Phase(0.1)), RATES) > 1) != (ratio > 1))
    np.testing.assert_array_equal(told(frozen, RATES), ratio > 1)
    masks = tuple(np.full(layer.shape[1:], number == 0) for number, layer in enumerate(frozen.initial))
    np.testing.assert_array_equal(told(replace(frozen, finetune=Phase(0.1, moves=Masked(masks))), RATES), ratio > 1)


def test_additions_of_low_rank_have_a_curvature_of_their_own():
    problem = small(2, 0, Phase(0.1, moves=LowRank(1, scale=1.0)))
    plain, scaled = (told(replace(problem, finetune=Phase(0.1, moves=LowRank(1, scale=s))), RATES) for s in (1.0, 4.0))
    # At the beginning B = 0, and the curvature over B is that over W on one input direction, times the scale squared.
    assert plain.sum() < scaled.sum()
    assert not plain[:, 0].any()


def test_a_term_of_ones_own_counts():
    size = Term("size", lambda weights, *_: sum((weight**2).sum() for weight in weights), 5.0)
    problem = small(2, 1, Phase(0.1))
    with_term = told(replace(problem, finetune=Phase(0.1, terms=(size,))), RATES)
    ratio = by_hand(replace(problem, finetune=Phase(0.1, weight_decay=10.0)), RATES)
    np.testing.assert_array_equal(with_term, ratio > 1)
    assert with_term.sum() > told(problem, RATES).sum()


def test_an_average_is_not_what_moves():
    problem = small(2, 1, Phase(0.1))
    averaged = replace(problem, finetune=Phase(0.1, averaging=ExponentialAverage(0.99)))
    np.testing.assert_array_equal(told(averaged, RATES), told(problem, RATES))


def test_unstable_pre_training_leaves_no_stable_lane_behind():
    problem = small(2, 1, Phase(0.1), pretrain=Phase(0.35), budgets=(1, 2, 5, 20))
    problem = replace(problem, initial=tuple(0.3 * layer for layer in problem.initial))
    rates = [1e-3, 1e-2]
    ratio = by_hand(problem, rates)
    assert (ratio[2:] > 1).all()  # sharper as features are learned
    assert not (ratio[:2] > 1).any()
    np.testing.assert_array_equal(told(problem, rates), ratio > 1)


@pytest.mark.parametrize("size", [1e8, 1e200, np.inf, np.nan])
def test_the_bound_acquits_nothing_that_begins_with_diverged_weights(size):
    problem = small(3, 1, Phase(0.1))
    weights = tuple(np.concatenate([layer, size * np.ones_like(layer)]) for layer in problem.initial)
    begun = started(weights, problem.transfer.finetune)
    assert all(np.isfinite(each[0]) and np.isinf(each[1]) for each in begun)


def test_swept_pre_training_and_seeds_keep_their_places(monkeypatch):
    one = small(2, 1, Phase(0.1), budgets=(2, 20))
    many = replace(one, initial=tuple(np.concatenate([layer, 0.1 * layer, 2 * layer]) for layer in one.initial))
    axes = {"pretrain_learning_rate": [0.02, 0.5], "learning_rate": RATES}
    whole = sweep(many, axes, rechecked=0)["unstable"]
    for seed, rate in itertools.product(range(3), axes["pretrain_learning_rate"]):
        alone = replace(one, initial=tuple(layer[seed : seed + 1] for layer in many.initial), pretrain=Phase(rate))
        here = whole.sel(pretrain_learning_rate=rate).isel(seed=seed)
        np.testing.assert_array_equal(here.values, by_hand(alone, RATES) > 1)
    monkeypatch.setattr(again, "_MEMORY", 2**10)  # a trajectory at a time, and a lane
    np.testing.assert_array_equal(sweep(many, axes, rechecked=0)["unstable"], whole)


# --- what is told, and what not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pretrain", "finetune", "words"),
    [
        (Phase(0.01), Phase(0.01), "told"),
        (Phase(0.01, optimizer=optax.adam), Phase(0.01, optimizer=optax.adam), "not told: adam"),
        (Phase(0.01, batch_size=2), Phase(0.01), "told, but not of pre-training: minibatches"),
        (
            Phase(0.01),
            Phase(0.01, gradient_at=SharpnessAware(0.1)),
            "told, but not of fine-tuning: a gradient that is taken elsewhere (SharpnessAware)",
        ),
    ],
)
def test_it_says_of_what_nothing_is_told(pretrain, finetune, words):
    problem = replace(
        gaussian_problem(budgets=np.asarray([2, 5]), finetune_steps=5), pretrain=pretrain, finetune=finetune
    )
    result = sweep(problem, {"learning_rate": [1e-3, 50.0]}, rechecked=0)
    assert result.attrs["stability"] == words
    assert result["unstable"].dims == ("pretrain_steps", "learning_rate", "seed")
    assert bool(result["unstable"].sel(learning_rate=50.0).all()) == (
        "fine-tuning" not in words and "not told" not in words
    )


def test_a_flow_is_never_unstable():
    result = sweep(aligned_problem(), {"learning_rate": [1e-3, 50.0]}, solver="flow", rechecked=0)
    assert not result["unstable"].any()
    assert result.attrs["stability"].startswith("told: a flow takes no steps")


def test_what_would_take_too_long_is_not_told_and_counted(monkeypatch):
    problem = small(2, 1, Phase(0.1))
    monkeypatch.setattr(again, "_AFFORDABLE", 1.0)
    result = sweep(problem, {"learning_rate": RATES}, rechecked=0)
    assert result.attrs["stability"].startswith("told, but not of ")
    assert "lanes: to run them again would take too long" in result.attrs["stability"]


def test_programs_are_no_larger_than_what_is_affordable(monkeypatch):
    sizes, judged = [], again.Again._unstable

    def watched(self, sample, checkpoints):
        sizes.append(len(sample.trajectory))
        return judged(self, sample, checkpoints)

    monkeypatch.setattr(again.Again, "_unstable", watched)
    monkeypatch.setattr(again.Again, "_cost", lambda *_: 1.0)
    monkeypatch.setattr(again, "_AFFORDABLE", 3.0)
    result = sweep(small(2, 1, Phase(0.01), budgets=(2, 20)), {"learning_rate": RATES}, rechecked=0)
    assert sizes == [3]
    assert "lanes: to run them again would take too long" in result.attrs["stability"]


def test_lanes_far_from_the_edge_are_acquitted_without_a_run(monkeypatch):
    def refuse(*_):
        raise AssertionError("a lane runs again")

    monkeypatch.setattr(stability.Again, "judge", refuse)
    result = sweep(aligned_problem(), {"learning_rate": [1e-3, 1e-2]}, rechecked=0)
    assert not result["unstable"].any()
    with pytest.raises(AssertionError, match="a lane runs again"):
        sweep(aligned_problem(), {"learning_rate": [1e-3, 0.2]}, rechecked=0)


def test_the_recheck_leaves_unstable_lanes_out_and_says_how_many():
    # Chaotic at the largest rates: two solvers that agree to 1e-15 elsewhere end anywhere.
    problem = aligned_problem(budgets=(50, 2000), finetune_steps=400, pretrain=Phase(0.01))
    result = chart(problem, np.asarray([1e-3, 0.15]), np.asarray([0.0, 2.0]))
    unstable = result["unstable"]
    assert unstable.any()
    assert not unstable.sel(learning_rate=1e-3).any()
    assert result.attrs["recheck_trusted"] == 1
    left_out = result.attrs["recheck_unstable"]
    assert 0 < left_out < result.attrs["recheck_lanes"]
    assert f"({left_out} beyond the edge of stability left out)" in rechecked(result)[0]
    assert diverged(result)


# --- the bound -------------------------------------------------------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["plain", "penalty", "pull", "decay", "momentum"])
def test_descent_stays_within_the_bound_wherever_it_acquits(depth, name):
    acquitted = 0
    for seed, scale in enumerate((0.2, 1.0)):
        problem = small(depth, seed, PHASES[name], aligned=seed % 2 == 1)
        task, phase = problem.transfer.finetune, problem.finetune
        weights = [scale * layer[0] for layer in problem.initial]
        begun = Start(*(each[0] for each in started(tuple(layer[None] for layer in weights), task)))
        numbers = (getattr(phase, each) or 0.0 for each in ("product_penalty", "weight_penalty", "weight_decay"))
        penalties = [np.asarray(number) for number in numbers]
        momentum = np.asarray(phase.momentum or 0.0)
        for rate in np.geomspace(1e-5, 0.3, 10):
            rule = Rule(np.asarray(rate), *penalties, momentum, 15)
            found = reach(begun, rule, task, problem.widths)
            if not found.acquitted:
                continue
            acquitted += 1
            states, tops, _ = descended(weights, task, phase, rate, 15)
            assert rate * np.max(tops) <= rate * found.curvature * (1 + 1e-12) < 2 * MARGIN
            for at in states:
                assert max(np.linalg.norm(layer, 2) for layer in at) <= found.layer * (1 + 1e-12)
                assert np.linalg.norm(product(at), 2) <= found.product * (1 + 1e-12)
                off = [b.T @ b - a @ a.T for a, b in itertools.pairwise(at)]
                assert max((np.linalg.norm(each, 2) for each in off), default=0) <= found.imbalance + 1e-12
            # Neither a memory nor a pull back conserves any balance: none is claimed.
            assert np.isinf(found.imbalance) == (name in ("pull", "momentum"))
    assert acquitted >= 6


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_no_layer_is_larger_than_product_and_imbalance_allow(depth):
    rng = np.random.default_rng(depth)
    tight = []
    for scale in np.geomspace(1e-3, 1, 40):
        weights = [np.diag([1.5, 0.5, 0.2]) + scale * rng.normal(size=(3, 3)) for _ in range(depth)]
        off = max(np.linalg.norm(b.T @ b - a @ a.T, 2) for a, b in itertools.pairwise(weights))
        most = bound._layer(np.linalg.norm(product(weights), 2), off, depth)
        largest = max(np.linalg.norm(layer, 2) for layer in weights)
        assert largest <= most * (1 + 1e-12)
        tight.append(most / largest)
    assert tight[0] < 1.03  # w (1 + c L / 2 w^2) with c = 3e-3 x 4 x 1.5 or so


def test_the_bound_of_one_layer_is_the_curvature():
    problem = small(1, 2, Phase(0.1, product_penalty=0.5))
    task = problem.transfer.finetune
    begun = Start(*(each[0] for each in started(problem.initial, task)))
    zero = np.asarray(0.0)
    found = reach(begun, Rule(np.asarray(0.1), np.asarray(0.5), zero, zero, zero, 10), task, problem.widths)
    weights = [problem.initial[0][0]]
    np.testing.assert_allclose(
        found.curvature, np.linalg.eigvalsh(hessian(weights, weights, task, problem.finetune))[-1]
    )


def test_the_limits_of_momentum_are_those_of_a_quadratic():
    # One number on (h/2) w^2 with h = 1: it shrinks just below the limit and grows just above.
    for momentum, nesterov in itertools.product([0.0, 0.3, 0.9], [False, True]):
        limit = 2 * (1 + momentum) / (1 + 2 * momentum * nesterov)
        for rate, grows in ((0.99 * limit, False), (1.01 * limit, True)):
            weight, velocity = 1.0, 0.0
            for _ in range(3000):
                velocity = weight + momentum * velocity
                weight -= rate * (weight + momentum * velocity if nesterov else velocity)
            assert (abs(weight) > 1) == grows
