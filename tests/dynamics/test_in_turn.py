"""Training alone: the numbers of sweeps and of NumPy, tasks in turn, heads, measures on the way, weights back."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import linsim as ls
from linsim.dynamics.in_turn import train
from linsim.dynamics.moving.averages import ExponentialAverage
from linsim.dynamics.moving.parameters import Layers, LowRank, Masked
from linsim.errors import InvalidInput, RunFailed
from linsim.measure import Measure
from linsim.phase import Phase, Term
from linsim.sweeping.sweep import sweep
from linsim.tasks import LinearTask
from tests.dynamics.by_hand import loss, slopes, stepped
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

PLAIN = Phase(0.02)
PROBLEM = gaussian_problem(dim=4, scale=0.8, seeds=2, budgets=np.asarray((5, 16)), finetune_steps=12, finetune=PLAIN)
FIRST, SECOND = PROBLEM.transfer.pretrain, PROBLEM.transfer.finetune
START = tuple(weight[0] for weight in PROBLEM.initial)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("solver", ["modes", "dense", "gram", "flow"])
def test_training_by_any_solver_is_what_sweeps_pre_train(solver):
    problem = balanced_problem(budgets=np.asarray((5, 40)))
    problem = aligned_problem(budgets=(5, 40), pretrain=Phase(0.01)) if solver == "modes" else problem
    expected = sweep(replace(problem, finetune_steps=1), {}, solver=solver, rechecked=0)
    trained = train(problem.initial, problem.transfer.pretrain, problem.pretrain, 40, points=[5, 40], solver=solver)
    assert trained.along["loss"].dims == ("steps", "seed", "task")
    assert trained.along.attrs["solver"] == solver
    ours = trained.along["loss"].sel(task=0, drop=True)
    np.testing.assert_allclose(ours, expected["pretrain_loss_before"], rtol=1e-9)


def test_tasks_in_turn_are_trained_each_from_where_the_one_before_ended():
    parts = [(FIRST, PLAIN, 9), (SECOND, Phase(0.01, momentum=0.5), 6), (FIRST, PLAIN, 4)]
    trained = train(START, parts, points=[0, 9, 10, 15, 19])
    weights, told = list(START), [START]
    for step in range(1, 20):
        task, rate = (SECOND, 0.01) if 9 < step <= 15 else (FIRST, 0.02)
        if step in (1, 10, 16):
            velocity = [np.zeros_like(weight) for weight in weights]
        keep = 0.5 if task is SECOND else 0.0
        velocity = [keep * v + g for v, g in zip(velocity, slopes(weights, task), strict=True)]
        weights = stepped(weights, rate, velocity)
        if step in (9, 10, 15, 19):
            told.append(weights)
    expected = [[loss(each, task) for task in (FIRST, SECOND)] for each in told]
    np.testing.assert_allclose(trained.along["loss"].transpose("steps", "task"), expected, rtol=1e-10)
    assert trained.along["trained_task"].values.tolist() == [0, 0, 1, 1, 0]
    for ours, theirs in zip(trained.weights, weights, strict=True):
        assert type(ours) is np.ndarray and ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_weights_are_ready_for_the_next_task():
    whole = train(PROBLEM.initial, [(FIRST, PLAIN, 9), (SECOND, PLAIN, 6)])
    first = train(PROBLEM.initial, FIRST, PLAIN, np.int64(9))
    second = train(first.weights, SECOND, PLAIN, 6)
    for one, other in zip(whole.weights, second.weights, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape[0] == 2  # seeds


def test_terms_and_penalties_refer_to_where_the_task_begins_and_to_the_task_before():
    def rehearsed(weights, checkpoint, pretrain, finetune):
        distance = sum(jnp.sum((w - home) ** 2) for w, home in zip(weights, checkpoint, strict=True))
        return pretrain.loss(weights[1] @ weights[0]) + distance

    pulled = Phase(0.02, terms=(Term("rehearsed", rehearsed, 0.5),))
    trained = train(START, [(FIRST, PLAIN, 9), (SECOND, pulled, 6)])
    weights = list(START)
    for _ in range(9):
        weights = stepped(weights, 0.02, slopes(weights, FIRST))
    anchor = weights
    for _ in range(6):
        parts = zip(slopes(weights, SECOND), slopes(weights, FIRST), weights, anchor, strict=True)
        weights = stepped(weights, 0.02, [a + 0.5 * (b + 2 * (w - home)) for a, b, w, home in parts])
    for ours, theirs in zip(trained.weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_heads_share_their_input_layers_and_move_or_stay():
    rng = np.random.default_rng(0)
    wide = LinearTask.from_target(rng.standard_normal((3, 4)))
    shared, heads = (
        (rng.standard_normal((5, 4)) / 2,),
        [rng.standard_normal((4, 5)) / 2, rng.standard_normal((3, 5)) / 2],
    )
    stages = [
        (FIRST, PLAIN, 5),
        (wide, PLAIN, 4),
        (FIRST, replace(PLAIN, moves=Layers((1,))), 3),
        (wide, replace(PLAIN, moves=Layers((2,))), 2),
    ]
    trained = train(shared, stages, heads=heads, points=[0, 5, 9, 12, 14])
    trunk, last = shared[0], list(heads)
    told = [[loss((trunk, last[0]), FIRST), loss((trunk, last[1]), wide)]]
    for task, phase, steps in stages:
        number = 0 if task is FIRST else 1
        moving = (1, 2) if phase.moves is None else phase.moves.layers
        for _ in range(steps):
            below, above = slopes((trunk, last[number]), task)
            trunk = trunk - 0.02 * below if 1 in moving else trunk
            last[number] = last[number] - 0.02 * above if 2 in moving else last[number]
        told.append([loss((trunk, last[0]), FIRST), loss((trunk, last[1]), wide)])
    np.testing.assert_allclose(trained.along["loss"], told, rtol=1e-10)
    np.testing.assert_allclose(trained.weights[0], trunk, rtol=1e-10)
    for ours, theirs in zip(trained.heads, last, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    again = train(trained.weights, [(FIRST, PLAIN, 1), (wide, PLAIN, 1)], heads=trained.heads)
    assert [head.shape for head in again.heads] == [(4, 5), (3, 5)]


def test_measures_are_taken_on_the_way_wherever_else_they_may_be():
    moved = Measure(
        "moved", at="checkpoint", of=lambda seen: jnp.sum((seen.weights[0] - seen.checkpoint.weights[0]) ** 2)
    )
    entries = Measure("entries", dims=("row", "column"), of=lambda seen: seen.product, coords={"row": [1, 2, 3, 4]})
    target = Measure("target", of=lambda seen: seen.pretrain.target[0, 0] - seen.finetune.target[0, 0])
    stages = [(FIRST, PLAIN, 4), (SECOND, PLAIN, 2)]
    along = train(PROBLEM.initial, stages, measures=[moved, entries, target], points=[0, 4, 6]).along
    assert along["entries"].dims == ("steps", "seed", "row", "column")
    assert along["row"].values.tolist() == [1, 2, 3, 4]
    before = train(PROBLEM.initial, FIRST, PLAIN, 4).weights
    after = train(before, SECOND, PLAIN, 2).weights
    np.testing.assert_allclose(along["moved"][-1], np.sum((after[0] - before[0]) ** 2, axis=(1, 2)), rtol=1e-10)
    np.testing.assert_allclose(along["entries"][-1], after[1] @ after[0], rtol=1e-10)
    assert along["moved"][0].values.tolist() == [0, 0]
    difference = FIRST.target[0, 0] - SECOND.target[0, 0]
    np.testing.assert_allclose(along["target"][:, 0], [0, 0, difference], rtol=1e-12)


def test_what_phases_evaluate_is_what_is_told_and_handed_on():
    averaged = Phase(0.02, averaging=ExponentialAverage(0.7))
    trained = train(START, FIRST, averaged, 8)
    weights = average = list(START)
    for _ in range(8):
        weights = stepped(weights, 0.02, slopes(weights, FIRST))
        average = [0.7 * mean + 0.3 * weight for mean, weight in zip(average, weights, strict=True)]
    for ours, theirs in zip(trained.weights, average, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_draws_follow_the_seed_and_differ_between_tasks_and_networks():
    noisy = Phase(0.02, batch_size=3)
    same = tuple(np.stack([weight[0]] * 2) for weight in PROBLEM.initial)
    one = train(same, FIRST, noisy, 5, seed=1).along["loss"]
    np.testing.assert_array_equal(one, train(same, FIRST, noisy, 5, seed=1).along["loss"])
    assert np.all(one[1:] != train(same, FIRST, noisy, 5, seed=2).along["loss"][1:])
    assert np.all(one[1:, 0] != one[1:, 1])
    in_turn = train(START, [(FIRST, Phase(1e-9, batch_size=3), 5), (FIRST, noisy, 5)], points=[5, 10]).along["loss"]
    assert abs(float(in_turn[-1, 0] - one[-1, 0, 0])) > 1e-6


def test_it_computes_in_its_own_precision_whatever_jax_is_set_to():
    expected = train(START, FIRST, PLAIN, 5)
    with jax.enable_x64(False):
        found = train([jnp.asarray(weight, jnp.float32) for weight in START], FIRST, PLAIN, 5)
        again = train(START, FIRST, PLAIN, 5)
    np.testing.assert_array_equal(again.weights[0], expected.weights[0])
    assert found.weights[0].dtype == np.float64
    single = train(START, FIRST, PLAIN, 5, precision="float32")
    assert single.weights[0].dtype == np.float32
    np.testing.assert_allclose(single.weights[0], expected.weights[0], rtol=1e-5)


def test_points_are_spaced_within_each_task_and_progress_is_told():
    told = []
    stages = [(FIRST, PLAIN, 300), (SECOND, PLAIN, 20)]
    along = ls.train(START, stages, report=lambda done, total: told.append((done, total))).along
    steps = along["steps"].values
    assert steps[0] == 0 and 300 in steps and steps[-1] == 320 and np.all(np.diff(steps) > 0)
    assert told[-1] == (320, 320) and all(a[0] <= b[0] for a, b in itertools.pairwise(told))


FIT = (np.eye(4), np.eye(4))
BAD = {
    "weights: got .*at least one": (lambda: train((), FIRST, PLAIN, 1)),
    "weights: got .*matrices of numbers": (lambda: train("abc", FIRST, PLAIN, 1)),
    "weights: got 3 inputs and 4 outputs; allowed: .*of task 0": lambda: train((np.ones((4, 3)),), FIRST, PLAIN, 1),
    "weights: got .*shapes that chain": lambda: train((np.ones((3, 4)), np.eye(4)), FIRST, PLAIN, 1),
    "weights: got NaN": lambda: train((np.full((4, 4), np.nan),), FIRST, PLAIN, 1),
    "weights: got .*as many seeds": lambda: train((np.ones((2, 4, 4)), np.ones((3, 4, 4))), FIRST, PLAIN, 1),
    "phase: got None; allowed: a linsim.Phase": lambda: train(FIT, FIRST),
    "steps: got 0": lambda: train(FIT, FIRST, PLAIN, 0),
    "^phase: got .*nothing beside a list": lambda: train(FIT, [(FIRST, PLAIN, 1)], PLAIN),
    "^task: got .*a list of": lambda: train(FIT, []),
    r"^task\[0\]: got .*\(task, phase, steps\)": lambda: train(FIT, [(FIRST, PLAIN)]),
    r"^task\[1\].steps: got 1.5": lambda: train(FIT, [(FIRST, PLAIN, 1), (FIRST, PLAIN, 1.5)]),
    r"^task\[1\].phase.optimizer: got lbfgs": lambda: train(
        FIT, [(FIRST, PLAIN, 1), (FIRST, Phase(0.1, optimizer=optax.lbfgs), 1)]
    ),
    "^phase.rank: got None": lambda: train(FIT, FIRST, Phase(0.1, moves=LowRank()), 1),
    "^heads: got 1 of them; allowed: 2": lambda: train(
        FIT[:1], [(FIRST, PLAIN, 1), (SECOND, PLAIN, 1)], heads=[np.eye(4)]
    ),
    "solver: got flow; allowed: a solver that knows": lambda: train(
        FIT[:1], whitened(), Phase(0.1), 1, heads=[np.eye(4)], solver="flow"
    ),
    "solver: got modes.*couples the modes": lambda: train(FIT, FIRST, PLAIN, 1, solver="modes"),
    "points: got .*from 0 to 5": lambda: train(FIT, FIRST, PLAIN, 5, points=[0, 6]),
    "weights: got complex numbers; allowed: matrices of real": lambda: train((1j * np.eye(4),), FIRST, PLAIN, 1),
    "^steps: got 3; allowed: nothing beside a list": lambda: train(FIT, [(FIRST, PLAIN, 1)], steps=3),
    "solver: got flow; .*here training is not plain": lambda: train(
        FIT, FIRST, Phase(0.1, momentum=0.5), 1, solver="flow"
    ),
    r"solver: got gram; .*the optimizer of task\[1\] is not": lambda: train(
        FIT, [(FIRST, PLAIN, 1), (FIRST, Phase(0.1, optimizer=optax.adam), 1)], solver="gram"
    ),
    r"^phase.moves.masks: got None; allowed: one for every layer": lambda: train(
        FIT, FIRST, Phase(0.1, moves=Masked(None)), 1
    ),
    r"^phase.learning_rate: got \[0.1\]": lambda: train(FIT, FIRST, Phase(np.array([0.1])), 1),
    "measure long: got 3 along k; allowed: 2, as along k of another variable": lambda: train(
        FIT,
        FIRST,
        PLAIN,
        5,
        measures=[
            Measure("short", dims=("k",), of=lambda seen: seen.product[0, :2]),
            Measure("long", dims=("k",), of=lambda seen: seen.product[0, :3]),
        ],
    ),
    "precision: got float16": lambda: train(FIT, FIRST, PLAIN, 5, precision="float16"),
    "measure loss: got .*nothing else": lambda: train(
        FIT, FIRST, PLAIN, 5, measures=[Measure("loss", of=lambda seen: seen.finetune_loss)]
    ),
    "measure broken: got .*ZeroDivisionError": lambda: train(
        FIT, FIRST, PLAIN, 5, measures=[Measure("broken", of=lambda seen: 1 / 0)]
    ),
}


def whitened():
    turned = balanced_problem(inputs=4, outputs=4).transfer.pretrain
    return LinearTask.from_target(turned.target)


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_trained_is_one_line(unchecked, message):
    with pytest.raises(InvalidInput, match=message) as told:
        BAD[message]()
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_an_array_of_one_number_is_a_number(array):
    given = Phase(array(0.0625), weight_decay=array(0.5))  # exact in single precision
    expected = train(START, FIRST, Phase(0.0625, weight_decay=0.5), 20).weights
    for ours, theirs in zip(train(START, FIRST, given, 20).weights, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_that_diverged_are_data_but_no_beginning():
    wild = Phase(1e3)
    assert not np.isfinite(train(START, FIRST, wild, 50).along["loss"][-1, 0])
    with pytest.raises(RunFailed, match=r"weights have diverged where task\[1\].phase is to begin"):
        train(START, [(FIRST, wild, 50), (SECOND, PLAIN, 5)])
