"""A user's measure is a variable like the losses: in every solver, after a resume, on a cluster, rechecked."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import linsim.sweeping.plan
from linsim.dynamics.measuring import Measuring
from linsim.errors import InvalidInput
from linsim.measure import Measure
from linsim.measures.built_in import BUILT_IN, built_in, rise_under_noise
from linsim.phase import Phase
from linsim.spectra import power_covariance
from linsim.sweeping import cluster
from linsim.sweeping.plan import Machine, Measured, cut
from linsim.sweeping.running import running
from linsim.sweeping.sweep import chart, sweep
from linsim.sweeping.work import Work
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

ROOT = Path(__file__).parent.parent.parent
RATES = {"learning_rate": [1e-3, 5e-3]}
CHART = np.asarray([1e-3, 5e-3]), np.asarray([0.0, 0.5])
PROBLEM = aligned_problem(budgets=(20, 200), finetune_steps=30, seeds=2)


def size_of_the_product():
    """Made anew at every call, as another process makes it."""
    return Measure(
        "size",
        dims=(),
        long_name="squared size of the product",
        units="squared output",
        at="tuned",
        of=lambda seen: jnp.sum(seen.product**2),
    )


size = size_of_the_product()
norms = Measure("norms", dims=("layer",), at="along", of=lambda seen: jnp.stack([jnp.sum(w**2) for w in seen.weights]))
begun = size.taken("checkpoint", "begun")
MEASURES = [size, norms, begun]


def descended(problem, seed, budget, rate, points):
    """Weights at a budget, and at points along fine-tuning from there, by NumPy."""

    def stepped(weights, task, phase, eta):
        errors = 2 * (weights[1] @ weights[0] - task.target) @ task.input_covariance
        decay = phase.weight_decay or 0.0
        slopes = weights[1].T @ errors, errors @ weights[0].T
        return [w - eta * (slope + decay * w) for w, slope in zip(weights, slopes, strict=True)]

    weights = [layer[seed] for layer in problem.initial]
    for _ in range(budget):
        weights = stepped(weights, problem.transfer.pretrain, problem.pretrain, problem.pretrain.learning_rate)
    start, found = weights, []
    for step in range(points[-1] + 1):
        if step in points:
            found.append(weights)
        weights = stepped(weights, problem.transfer.finetune, problem.finetune, rate)
    return start, found


@pytest.mark.parametrize("solver", ["modes", "gram", "dense"])
def test_a_measure_is_that_of_weights_stepped_by_hand(solver):
    points = [0, 1, 7, 30]
    result = sweep(PROBLEM, RATES, measures=MEASURES, finetune_points=points, solver=solver, rechecked=0)
    assert result["size"].dims == ("pretrain_steps", "learning_rate", "seed")
    assert result["begun"].dims == ("pretrain_steps", "seed")
    assert result["norms"].dims == ("pretrain_steps", "learning_rate", "seed", "finetune_steps", "layer")
    assert result["finetune_steps"].values.tolist() == points
    assert result["size"].attrs == {"long_name": "squared size of the product", "units": "squared output"}
    start, ends = descended(PROBLEM, 1, 200, 5e-3, points)
    lane = {"pretrain_steps": 1, "seed": 1}
    # 230 steps of rounding, 1e-16 each, and a start that grows a hundredfold.
    np.testing.assert_allclose(result["begun"].isel(lane), np.sum((start[1] @ start[0]) ** 2), rtol=1e-11)
    np.testing.assert_allclose(
        result["size"].isel(lane | {"learning_rate": 1}), np.sum((ends[-1][1] @ ends[-1][0]) ** 2), rtol=1e-11
    )
    expected = [[np.sum(w**2) for w in weights] for weights in ends]
    np.testing.assert_allclose(result["norms"].isel(lane | {"learning_rate": 1}), expected, rtol=1e-11)


def test_flow_gives_measures_too_and_tends_to_descent():
    plain = replace(PROBLEM, pretrain=Phase(0.01))
    flow, descent = (
        sweep(plain, RATES, measures=[size, begun], solver=name, rechecked=0) for name in ("flow", "dense")
    )
    for name in ("size", "begun"):
        np.testing.assert_allclose(flow[name], descent[name], rtol=0.1)


def test_seen_tells_tasks_checkpoint_phase_and_steps_in_the_coordinates_of_the_problem():
    told = {
        "goal": (("output", "input"), lambda seen: seen.finetune.target),
        "spread": (("input", "input_"), lambda seen: seen.pretrain.input_covariance),
        "same": ((), lambda seen: seen.pretrain.loss(seen.product) - seen.pretrain_loss),
        "moved": ((), lambda seen: seen.steps * seen.phase.learning_rate),
        "before": ((), lambda seen: jnp.sum(seen.checkpoint.product**2)),
    }
    measures = [Measure(name, dims=dims, of=of) for name, (dims, of) in told.items()]
    problem = gaussian_problem(budgets=np.asarray([20, 200]), finetune_steps=30)
    result = sweep(problem, RATES, measures=[*measures, begun], rechecked=0)
    lane = {"pretrain_steps": 0, "learning_rate": 1, "seed": 0}
    np.testing.assert_allclose(result["goal"].isel(lane), problem.transfer.finetune.target)
    np.testing.assert_allclose(result["spread"].isel(lane), problem.transfer.pretrain.input_covariance)
    np.testing.assert_allclose(result["same"], 0, atol=1e-13)
    np.testing.assert_allclose(result["moved"].isel(lane), 30 * 5e-3)
    np.testing.assert_allclose(
        result["before"], np.broadcast_to(result["begun"].values[:, None], result["before"].shape), rtol=1e-13
    )


def test_a_measure_leaves_every_other_number_as_it_is():
    with_measures = chart(PROBLEM, *CHART, measures=MEASURES, rechecked=0)
    without = chart(PROBLEM, *CHART, rechecked=0)
    for name in without.data_vars:
        np.testing.assert_array_equal(with_measures[name], without[name], err_msg=name)


def test_a_resumed_sweep_computes_only_what_is_missing_and_has_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setitem(linsim.sweeping.plan.CHUNK_LANES, "cpu", 4)
    boxes, run = [], Work.run

    def interrupted(self, box, report=None):
        boxes.append(box)
        if len(boxes) == 2:
            raise KeyboardInterrupt
        return run(self, box, report)

    monkeypatch.setattr(Work, "run", interrupted)
    with pytest.raises(KeyboardInterrupt), running(keep=tmp_path, recheck=0):
        sweep(PROBLEM, RATES, measures=MEASURES)
    with running(keep=tmp_path, recheck=0):
        resumed = sweep(PROBLEM, RATES, measures=[size_of_the_product(), norms, begun]).load()
    assert len(boxes) == 3  # two chunks in all, of which the second was begun twice
    whole = sweep(PROBLEM, RATES, measures=MEASURES, rechecked=0)
    for name in whole.data_vars:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_another_measure_is_another_sweep(tmp_path):
    other = replace(size, of=lambda seen: jnp.sum(seen.product**4))
    with running(keep=tmp_path, recheck=0):
        for measures in ([], [size], [other], [size.taken("checkpoint")], [size, begun]):
            sweep(PROBLEM, RATES, measures=measures)
        sweep(PROBLEM, RATES, measures=[size])
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 5


def test_workers_of_a_cluster_measure_the_same_bits(monkeypatch):
    monkeypatch.setitem(linsim.sweeping.plan.CHUNK_LANES, "cpu", 4)
    scale = 3.0  # a measure may close over numbers
    mine = Measure("mine", of=lambda seen: scale * jnp.sum(seen.weights[0] ** 2))
    here = sweep(PROBLEM, RATES, measures=[*MEASURES, mine], rechecked=0)
    one_device = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    monkeypatch.setenv("XLA_FLAGS", one_device)
    with cluster.hands(None, 1) as hands, running(hands=hands):
        there = sweep(PROBLEM, RATES, measures=[*MEASURES, mine], rechecked=0)
    for name in here.data_vars:
        np.testing.assert_array_equal(there[name], here[name], err_msg=name)


def test_weights_that_a_solver_knows_up_to_a_rotation_are_for_measures_that_do_not_mind_it():
    alone = Measure("alone", of=lambda seen: seen.weights[0][0, 0])
    problem = balanced_problem()
    with pytest.raises(InvalidInput, match=r"measure alone: got seen.weights; allowed: .*rotation of the hidden layer"):
        sweep(problem, RATES, measures=[alone], solver="flow")
    invariant = replace(alone, of=lambda seen: jnp.sum(seen.weights[0] ** 2), up_to_rotation=True)
    flow, dense = (
        sweep(problem, RATES, measures=[invariant], solver=name, rechecked=0)["alone"] for name in ("flow", "dense")
    )
    np.testing.assert_allclose(flow, dense, rtol=0.1)


def test_an_unlearned_checkpoint_that_is_idealised_is_seen_as_such():
    problem = aligned_problem(idealised=True, random_bases=False, budgets=(400, 2000), finetune_steps=10)
    result = sweep(problem, RATES, measures=[begun], rechecked=0)
    strengths = problem.transfer.pretrain.strengths
    sums = np.cumsum(np.sort(strengths**2)[::-1])
    for value in result["begun"].values.ravel():
        assert np.min(np.abs(np.append(sums, 0.0) - value)) < 1e-12


def infinite(seen):
    return jnp.where(seen.steps > 0, jnp.inf, 0.0)


BAD = {
    "measures: got size; allowed: every name once": [size, size],
    "measures: got pretrain_loss_after; allowed: every name once": [replace(size, name="pretrain_loss_after")],
    "measures: got harm; allowed: names that no other variable or dimension has": [replace(size, name="harm")],
    "measures: got seed; allowed: names that no other variable or dimension has": [replace(size, name="seed")],
    r"measure wide: got an array of shape \(5, 6\); allowed: one number": [
        Measure("wide", of=lambda seen: seen.product)
    ],
    r"measure flat: got an array of shape \(\); allowed: 1 dimensions, layer": [
        Measure("flat", dims=("layer",), of=lambda seen: seen.pretrain_loss)
    ],
    r"measure wide.dims: got seed; allowed: other dimensions than the sweep's": [
        Measure("wide", dims=("seed", "input"), of=lambda seen: seen.product)
    ],
    "measure other: got 6 along layer; allowed: 2, as along layer of another variable": [
        replace(norms, at="tuned"),
        Measure("other", dims=("layer",), of=lambda seen: seen.product[0]),
    ],
    "measures: got input_covariance; allowed: names that no other variable": [replace(size, name="input_covariance")],
    "measures: got input; allowed: names that no other variable": [replace(size, name="input")],
    "measures: got layer; allowed: names that no other variable": [replace(norms, name="layer")],
    "measure own.dims: got harm; allowed: .*no variables": [
        Measure("own", dims=("harm",), of=lambda seen: seen.product[0])
    ],
    r"measure b.coords: got array\(\[0.2\]\); allowed: the coordinates of absolute_noise elsewhere: \[0.1\]": [
        rise_under_noise([0.1]),
        rise_under_noise([0.2]).taken("tuned", "b"),
    ],
    "measure few: got 6 along input; allowed: 2, as many as coordinates": [
        Measure("few", dims=("input",), coords={"input": [1, 2]}, of=lambda seen: seen.product[0])
    ],
    "measure broken: got AttributeError: .*; allowed: a function of what is seen that does not fail": [
        Measure("broken", of=lambda seen: seen.nothing)
    ],
    "measure word: got word; allowed: an array of real numbers": [Measure("word", of=lambda seen: "word")],
    "measure complex: got an array of complex128; allowed: an array of real": [
        Measure("complex", of=lambda seen: 1j * seen.pretrain_loss)
    ],
    "measure far: got inf at pretrain_steps = 20, learning_rate = 0.001, seed = 0; allowed: finite numbers": [
        Measure("far", of=infinite)
    ],
}


@pytest.mark.parametrize("message", BAD)
def test_a_measure_that_is_none_is_told_in_one_line(message):
    with pytest.raises(InvalidInput, match=message) as told:
        sweep(PROBLEM, RATES, measures=BAD[message], rechecked=0)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "two words"}, "measure: got two words; allowed: a name of one word"),
        ({"dims": ("a", "a")}, "measure size.dims: .*names, each once"),
        ({"coords": {"b": [1]}}, r"measure size.coords: got \['b'\]; allowed: coordinates of its dims"),
    ],
)
def test_a_measure_cannot_be_made_of_nonsense(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        replace(size, **arguments)


WITHOUT_TYPES = """
from tests.sweeping.test_measures import PROBLEM, RATES, norms, size, replace, sweep, InvalidInput
for wrong in (
    lambda: replace(size, at="end"),
    lambda: replace(size, of=3),
    lambda: sweep(PROBLEM, RATES, measures=["size"]),
    lambda: sweep(PROBLEM, RATES, measures=[norms], finetune_points=[0.5]),
):
    try:
        wrong()
    except InvalidInput as error:
        print(error)
"""


def test_what_a_type_checker_would_find_is_told_in_one_line_as_well():
    told = subprocess.run([sys.executable, "-c", WITHOUT_TYPES], capture_output=True, text=True, cwd=ROOT).stdout
    assert told.splitlines() == [
        "measure size.at: got end; allowed: one of checkpoint, tuned, along",
        "measure size.of: got 3; allowed: a function of what is seen",
        "measures: got size; allowed: values of linsim.Measure",
        "finetune_points: got 0.5; allowed: an integer >= 0 and <= 30",
    ]


@pytest.mark.parametrize("points", [[5, 5], [-1], [31], []])
def test_points_along_fine_tuning_increase_up_to_its_end(points):
    with pytest.raises(InvalidInput, match="finetune_points"):
        sweep(PROBLEM, RATES, measures=[norms], finetune_points=points)


def test_points_without_a_measure_along_fine_tuning_are_refused():
    with pytest.raises(InvalidInput, match="finetune_points: .*none where no measure is taken along fine-tuning"):
        sweep(PROBLEM, RATES, measures=[size], finetune_points=[1])


def test_where_a_lane_diverges_a_measure_may_be_anything():
    rates = {"learning_rate": [1e-3, 50.0]}
    result = sweep(PROBLEM, rates, measures=[size], rechecked=16)
    assert bool(result["diverged"].isel(learning_rate=1).all()) and not bool(
        result["diverged"].isel(learning_rate=0).any()
    )
    assert np.isfinite(result["size"].isel(learning_rate=0)).all() and result.attrs["recheck_trusted"]


def test_measures_that_take_memory_make_bites_and_chunks_smaller():
    shape, machine = (4, 50, 1), Machine(2**22, 1)
    plain = cut(shape, (2,), 1000, machine)
    wide = cut(shape, (2,), 1000, machine, Measured(formed=10**5))
    told = cut(shape, (2,), 1000, machine, Measured(lane=10**5))
    assert wide.bite < plain.bite and told.chunk < plain.chunk
    assert wide.bite * 10**5 <= machine.memory // 2
    with pytest.raises(InvalidInput, match="memory"):
        cut(shape, (2,), 1000, machine, Measured(formed=2**22))


def test_losses_are_measures_like_any_other():
    taken = Measuring.of([size], 30)
    assert [measure.name for measure in taken.all] == [
        *("pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "forgetting", "size")
    ]
    assert taken.own == (size,)
    coloured = aligned_problem(coloured=True, budgets=(20, 200), finetune_steps=30)
    assert not np.array_equal(coloured.transfer.pretrain.input_covariance, power_covariance(np.eye(6), 0.0))
    copied = Measure("copied", of=lambda seen: seen.finetune.loss(seen.product))
    result = sweep(coloured, RATES, measures=[copied], rechecked=0)
    np.testing.assert_allclose(result["copied"], result["finetune_loss_after"], rtol=1e-11)


def test_every_built_in_measure_is_of_the_precision_of_the_sweep():
    measures = [built_in(name, PROBLEM.transfer) for name in BUILT_IN]
    single, double = (
        sweep(PROBLEM, RATES, measures=measures, precision=precision, rechecked=0)
        for precision in ("float32", "float64")
    )
    for measure in measures:
        assert single[measure.name].dtype == np.float32, measure
        # 230 steps of rounding by 6e-8; rounding to few bits may fall on either side of a half.
        largest = float(abs(double[measure.name]).max())
        apart = float(abs(single[measure.name] - double[measure.name]).max())
        assert measure.name == "rise_under_rounding" or apart <= 1e-4 * max(largest, 1e-2), measure


def test_without_steps_of_fine_tuning_points_are_its_beginning():
    assert Measuring.of([norms], 0).points == (0,)
