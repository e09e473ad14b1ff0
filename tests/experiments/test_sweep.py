"""Sweeps of a chart with further axes: against a plain loop, in flow time, and what is refused."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.sweep import Config, experiment, main, run
from experiments.sweep.axes import axes_of
from experiments.sweep.collapse import Collapsed, _cubic, collapsed, flow_time
from experiments.sweep.effects import moved, quantiles_along
from linsim.commands.config import FinetuneConfig, PretrainConfig, TaskConfig
from linsim.errors import InvalidInput
from linsim.finding import Finding
from tests.computed import computed

STEPS = 100
ALSO = ("momentum=0,0.5", "pretrain_learning_rate=0.005:0.01:2")


def config(**changes):
    """Three modes, of which all but the first are rescaled; rates a factor of 2 apart, four budgets to it."""
    tuning = FinetuneConfig(steps=STEPS, rates=6, lowest_rate=1e-4, highest_rate=3.2e-3, regularizations=(0.0, 2.0))
    training = PretrainConfig(steps=2560, first=10, budgets=33)
    chosen = {"dim": 3, "also": ALSO, "pretrain": training, "finetune": tuning, "task": TaskConfig(decay=0.5)}
    return Config(**chosen | changes)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, config())


def descend(weights, target, anchor, rate, momentum, penalty, steps, keep=()):
    """Heavy ball on ||P - A||^2 + lambda ||P - P_0||^2 with two full matrices; the weights after the steps to keep."""
    first, second = weights
    away = anchor[1] @ anchor[0]
    speed, kept = [np.zeros_like(first), np.zeros_like(second)], []
    for step in range(1, steps + 1):
        product = second @ first
        pull = 2 * (product - target) + 2 * penalty * (product - away)
        speed = [momentum * v + g for v, g in zip(speed, (second.T @ pull, pull @ first.T), strict=True)]
        first, second = first - rate * speed[0], second - rate * speed[1]
        if step in keep:
            kept.append((first, second))
    return kept or [(first, second)]


def loss(weights, target):
    return float(np.sum((weights[1] @ weights[0] - target) ** 2))


def test_every_cell_is_what_a_plain_loop_makes(result):
    pretrain, finetune = result["pretrain_target"].values, result["finetune_target"].values
    start = tuple(result[f"initial_weights_{layer}"].values[0] for layer in (1, 2))
    budgets = result["pretrain_steps"].values
    for cell in ((3, 1, 1, 1), (5, 0, 1, 0), (2, 1, 0, 1)):
        there = dict(zip(("learning_rate", "product_penalty", "momentum", "pretrain_learning_rate"), cell, strict=True))
        at = result.isel(seed=0, **there)
        eta = float(at["pretrain_learning_rate"])
        kept = descend(start, pretrain, start, eta, 0.0, 0.0, int(budgets[-1]), set(budgets.tolist()))
        settings = (float(at["learning_rate"]), float(at["momentum"]), float(at["product_penalty"]), STEPS)
        after = [loss(descend(point, finetune, point, *settings)[0], pretrain) for point in kept]
        # 2,660 stable steps of rounding, and what the saddles at e^-5 make of it.
        np.testing.assert_allclose(at["pretrain_loss_after"], after, rtol=1e-9)
        np.testing.assert_allclose(at["harm"], after[-1] / min(after) - 1, rtol=1e-9)


def test_a_result_has_its_axes_in_their_order_and_its_configuration(result):
    axes = ("learning_rate", "product_penalty", "momentum", "pretrain_learning_rate")
    assert result["harm"].dims == (*axes, "seed")
    assert result["pretrain_loss_after"].dims == ("pretrain_steps", *axes, "seed")
    assert list(map(str, result["axis"].values)) == list(axes)
    np.testing.assert_allclose(result["pretrain_learning_rate"], [0.005, 0.01])
    assert json.loads(result.attrs["config"])["also"] == list(ALSO)


@pytest.mark.parametrize(
    ("also", "values"),
    [
        ("rotate_degrees=0:90:7", [0, 15, 30, 45, 60, 75, 90]),
        ("depth=2,3,4", [2, 3, 4]),
        ("hidden=2:16:4", [2, 4, 8, 16]),
        ("rank=1:3:9", [1, 2, 3]),
        ("scale=1:4:3", [1.0, 2.0, 4.0]),
    ],
)
def test_numbers_of_tasks_and_shapes_are_evenly_spaced_and_whole_where_they_count(also, values):
    wanted = axes_of(config(also=(also,)))
    (name, found), *_ = wanted.along.items()
    np.testing.assert_allclose(found, values, rtol=1e-12)
    assert name not in wanted.swept and all(type(value) is type(found[0]) for value in found)


def test_depths_and_angles_are_axes_beside_swept_numbers():
    training = PretrainConfig(steps=640, first=10, budgets=4)
    tuning = dataclasses.replace(config().finetune, rates=2, strengths=1, regularizations=None)
    small = config(also=("depth=1,3", "rotate_degrees=0:90:3", "momentum=0,0.5"), pretrain=training, finetune=tuning)
    result = run(small)
    assert result["harm"].dims == (
        *("depth", "rotate_degrees", "learning_rate", "product_penalty", "momentum", "seed"),
    )
    assert list(map(str, result["axis"].values)) == [
        *("learning_rate", "product_penalty", "momentum", "depth", "rotate_degrees"),
    ]
    turned = dataclasses.replace(small.shift, rotate_degrees=45.0)
    alone = run(dataclasses.replace(small, also=("momentum=0,0.5",), depth=3, shift=turned))
    here = result.sel(depth=3, rotate_degrees=45.0)
    for name in ("pretrain_loss_after", "finetune_loss_after", "harm", "inflection_steps", "finetune_target"):
        np.testing.assert_array_equal(here[name], alone[name])
    assert all("long_name" in result[name].attrs for name in result["harm"].dims)


def test_flow_time_is_how_far_heavy_ball_goes_down_a_constant_slope():
    place = speed = 0.0
    for _ in range(30):
        speed = 0.8 * speed + 1.0
        place += 0.01 * speed
    np.testing.assert_allclose(flow_time(0.01, 0.8, 30), place, rtol=1e-12)  # 30 additions
    assert flow_time(0.01, 0.0, 30) == pytest.approx(0.3)


def test_at_equal_flow_time_a_plain_loop_with_momentum_does_the_same_harm():
    # One mode 1 -> 3 beside one that stays at 2, from checkpoints of growing strength.
    pretrain, finetune, momentum, steps = np.diag([2.0, 1.0]), np.diag([2.0, 3.0]), 0.6, 400
    points = [tuple(np.diag(np.sqrt([2.0, s])) for _ in range(2)) for s in (0.2, 0.4, 1.0)]

    def harm(rate, m):
        after = [loss(descend(point, finetune, point, rate, m, 0.0, steps)[0], pretrain) for point in points]
        return after[-1] / min(after) - 1

    plain, rate = harm(1e-4, 0.0), flow_time(1e-4, 0.0, steps) / flow_time(1.0, momentum, steps)
    # The first neglected order is rate x curvature x m / (1 - m)^2 = 4e-5 x 12 x 4 of a flow time of 0.04 x 12.
    assert harm(rate, momentum) == pytest.approx(plain, rel=2e-3)
    assert harm(1e-4, momentum) > 1.5 * plain


def test_cells_of_equal_flow_time_agree_the_better_the_smaller_the_rates(result):
    found = {(law.axes, law.what): law.pairs for law in collapsed(result)}
    assert set(found) == {
        (("pretrain_learning_rate",), "inflection"),
        (("momentum",), "harm"),
        (("momentum",), "inflection"),
    }
    turns = found[("pretrain_learning_rate",), "inflection"]
    assert len(turns.apart) >= 10
    # Of first order in rate x curvature: 0.01 x 8 while the strongest mode is learned, less for the others.
    assert np.median(turns.apart) < 0.01 and np.max(turns.apart) < 0.1  # where it turns flatly
    np.testing.assert_allclose(np.median(turns.plain), 0.5, atol=0.01)  # twice the rate, half the steps
    for what in ("harm", "inflection"):
        pairs = found[("momentum",), what]
        slow = pairs.rates <= 1e-3
        assert np.count_nonzero(slow) >= 4 and np.median(pairs.plain[slow]) > 0.1
        # Of first order in rate x curvature = 8e-4 x 4 sigma (1 + lambda) = 0.02; harm goes about as its square.
        assert np.max(pairs.apart[slow]) < 0.05
        assert np.median(pairs.apart[slow]) < np.median(pairs.apart[~slow])


def test_the_finding_names_the_axis_that_moves_harm_most(result):
    found = Finding.of(result)
    moves = result["harm_moved"].values
    assert (found.verdict, int(np.argmax(moves))) == ("seen", 0)
    assert found.sentence.startswith("The fine-tuning learning rate moves the harm of longer pre-training most, from ")
    median = result["harm"].median(["product_penalty", "momentum", "pretrain_learning_rate", "seed"])
    assert found.numbers["lowest median"] == float(median.min())
    assert found.numbers["highest median"] == float(median.max())
    moved_by = {f"moved by {axis}": move for axis, move in zip(result["axis"].values, moves, strict=True)}
    assert moved_by.items() <= found.numbers.items()


def test_rates_at_which_no_run_is_stable_are_told():
    tuning = dataclasses.replace(config().finetune, highest_rate=10.0)
    fast = run(config(finetune=tuning))
    lost = fast["harm"].isnull().all(["product_penalty", "momentum", "pretrain_learning_rate", "seed"])
    assert not lost[0] and lost[-1] and Finding.of(fast).verdict == "seen"
    told = " ".join(Finding.of(fast).details)
    assert f"; no run is stable at {int(lost.sum())} of its 6 values" in told


def test_below_it_harm_along_axes_and_agreement_in_flow_time_are_told(result):
    told = " ".join(" ".join(Finding.of(result).details).split())
    median = np.median(result["harm"].isel(momentum=1))
    assert f"% at 0, {100 * median:.0f} % at 0.5 (24 cells)" in told
    turned = int(result["inflection_steps"].notnull().sum())
    assert f"{turned} of 48 cells turn" in told
    assert "At equal flow time of pre-training (pretrain_learning_rate) inflection points of" in told
    assert "; 50 % in steps; budgets are 19 % apart), at most by" in told  # a factor of 2 every four budgets
    assert "At equal flow time of fine-tuning (momentum) harms above 1 % of" in told


def test_interpolation_is_exact_on_cubics_and_knows_what_a_quadratic_misses():
    knots, at = np.array([0.0, 1.0, 2.5, 3.0, 4.0, 6.0]), np.array([-0.1, 0.4, 2.5, 3.3, 5.9, 6.1])
    values = np.stack([knots**3 - knots, 2 * knots**2, np.where(knots == 6, np.nan, knots)], axis=1)
    found, error = _cubic(knots, values, at)
    inside = slice(1, 5)
    np.testing.assert_allclose(found[inside, 0], (at**3 - at)[inside], rtol=1e-12)
    assert np.all(error[[1, 3, 4], 0] > 0.05)
    np.testing.assert_allclose(error[inside, 1], 0, atol=1e-12)
    assert np.isnan(found[[0, 5]]).all() and np.isnan(error[[0, 5]]).all()
    assert np.isnan(found[3:5, 2]).all() and not np.isnan(found[1:3, 2]).any()  # one of the four knots is missing


def test_turns_outside_the_budgets_of_either_run_are_not_compared(result):
    steps = result["inflection_steps"].copy(data=np.full(result["inflection_steps"].shape, np.nan))
    # Rates 0.005 and 0.01 over 10 to 2560 steps: the flow times of both are 0.1 to 12.8.
    pairs = {(2000.0, 1000.0): 1, (2000.0, 1270.0): 1, (2000.0, 1281.0): 0, (12.0, 11.0): 0, (22.0, 10.0): 0}
    for (slow, fast), count in pairs.items():
        steps[0, 0, 0, :, 0] = [slow, fast]
        (law,) = collapsed(result.assign(inflection_steps=steps).isel(momentum=[0]))
        assert len(law.pairs.apart) == count
        if count:
            np.testing.assert_allclose(law.pairs.apart, abs(2 * fast / slow - 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"optimizer": "adam"}, "adam is no gradient flow"),
        ({"batch_size": 8}, "minibatches add noise"),
        ({"schedule": "cosine"}, "the rate is no constant"),
    ],
)
def test_what_is_no_gradient_flow_is_not_compared(result, change, reason):
    phases = {name: phase | change for name, phase in json.loads(result.attrs["training"]).items()}
    laws = collapsed(result.assign_attrs(training=json.dumps(phases)))
    assert [law.endswith(reason) for law in laws] == [True, True]


def test_without_jumps_rates_or_axes_there_is_nothing_to_compare(result):
    idealised = collapsed(result.assign_attrs(idealised_checkpoints="True"))
    assert "change in jumps" in idealised[0] and isinstance(idealised[1], Collapsed)
    assert "fewer than four learning rates" in collapsed(result.isel(learning_rate=slice(3)))[1]
    assert collapsed(result.isel(momentum=[0], pretrain_learning_rate=[1])) == []


def test_quantiles_count_the_same_cells_at_every_value():
    harm = np.array([[1.0, 2.0, np.nan, 3.0], [5.0, np.inf, 7.0, 6.0], [np.nan] * 4])
    values, cells = quantiles_along(xr.DataArray(harm, dims=("x", "y")), "x")
    assert cells == 3
    np.testing.assert_allclose(values[0], [1, 1.5, 2, 2.5, 3])
    np.testing.assert_allclose(values[1], [5, 5.5, 6, np.inf, np.inf])
    assert np.isnan(values[2]).all()
    assert moved(values) == pytest.approx(np.log(7 / 3))
    assert np.isnan(moved(values[:1]))
    none, cells = quantiles_along(xr.DataArray([[1.0, np.nan], [np.nan, 2.0]], dims=("x", "y")), "x")
    np.testing.assert_allclose(none[:, 2], [1, 2])  # no cell has both: each is told by what there is
    assert cells == 2


@pytest.mark.parametrize(
    ("also", "changes", "message"),
    [
        (("momentum",), {}, "also: got momentum; allowed: NAME=V1"),
        (("momentum=",), {}, "also: got momentum=; allowed: NAME=V1"),
        (("momentum=a",), {}, "also: got momentum=a; allowed: NAME=V1"),
        (("momentum=0.1:0.9",), {}, "also: got momentum=0.1:0.9; allowed: NAME=V1"),
        (("momentum=0.9:0:3",), {}, "also: got momentum=0.9:0:3; allowed: LOW < HIGH, both finite"),
        (("momentum=0.1:0.9:2.5",), {}, "allowed: a COUNT that is an integer from 2"),
        (("momentum=0.1:0.9:1",), {}, "allowed: a COUNT that is an integer from 2"),
        (("momentum=0.5,0.1",), {}, "also momentum: got .*; allowed: strictly increasing"),
        (("momentum=0,1",), {}, "also momentum: got 1.0; allowed: a finite number < 1"),
        (("momentum=nan",), {}, "also momentum: got nan"),
        (("pretrain_learning_rate=0,0.1",), {}, "also pretrain_learning_rate: got 0.0; allowed: .* > 0"),
        (("pretrain_learning_rate=1e7",), {}, "also pretrain_learning_rate: got 10000000.0; allowed: .* <= 1e"),
        (("steps=2,3",), {}, "also: got steps=2,3; allowed: an axis of learning_rate, product_penalty"),
        (("depth=2,2.5",), {}, "also: got depth=2,2.5; allowed: integers: depth counts"),
        (("depth=2,2",), {}, "also: got depth=2,2; allowed: every value once"),
        (("depth=nan",), {}, "also depth: got nan"),
        (("tau=4,5", "tau=6"), {}, "also: got tau=6; allowed: every axis once"),
        (("learning_rate=0.1",), {}, "axes beside the chart's own, learning_rate and product_penalty"),
        (("product_penalty=0.1",), {}, "axes beside the chart's own"),
        (("momentum=0", "momentum=0.5"), {}, "also: got momentum=0.5; allowed: every axis once"),
        (("momentum=0,0.5",), {"optimizer": "adam"}, "no momentum beside --finetune.optimizer adam"),
        (("momentum=0,0.5",), {"momentum": 0.3}, "finetune.momentum: got 0.3; allowed: its default 0.0 where"),
        (("weight_decay=0,1",), {"weight_decay": 0.3}, "finetune.weight_decay: got 0.3; allowed: its default"),
    ],
)
def test_what_is_no_axis_or_contradicts_is_refused(also, changes, message):
    tuning = dataclasses.replace(config().finetune, **changes)
    with pytest.raises(InvalidInput, match=message):
        axes_of(config(also=also, finetune=tuning))


def test_what_the_chart_sets_itself_is_no_axis_of_it():
    with pytest.raises(InvalidInput, match=r"depth: got 3; allowed: its default 2 where --also makes it an axis"):
        run(config(depth=3, also=("depth=2,3",)))
    with pytest.raises(InvalidInput, match=r"depth: got 0"):
        run(config(also=("depth=0,3",)))


def test_what_pretraining_sets_itself_is_no_axis_of_it():
    training = dataclasses.replace(config().pretrain, learning_rate=0.01)
    with pytest.raises(InvalidInput, match=r"pretrain.learning_rate: got 0.01; allowed: its default 0.005"):
        run(config(pretrain=training))


def test_a_bad_axis_is_told_in_one_line_and_leaves_nothing(tmp_path, capsys):
    many = [f"{name}=1:2:10000" for name in ("weight_penalty", "weight_decay")]
    for bad, said in ((["momentum=2"], "also momentum: got 2"), (many, "lanes in all; allowed: at most 10000000000")):
        assert main(["--also", *bad, "--out", str(tmp_path / "result")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
        assert not (tmp_path / "result").exists()


PARTS = """
import linsim as ls
from linsim.losses import end_to_end

rehearsal = ls.Term("rehearsal", lambda weights, checkpoint, pretrain, finetune: pretrain.loss(end_to_end(weights)))
average = ls.ExponentialAverage(0.9)
other = ls.TailAverage(3)
size = ls.Measure("size", of=lambda seen: (seen.product**2).sum())
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A folder with parts of a phase in its module `sweep_parts`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("sweep_parts.py").write_text(PARTS)
    yield "sweep_parts:rehearsal", "sweep_parts:average"
    sys.modules.pop("sweep_parts", None)


def test_numbers_of_a_users_own_parts_are_axes(parts):
    few = dataclasses.replace(config().pretrain, budgets=4)
    also = ("rehearsal=0,1e3", "averaging_decay=0,0.5", "pretrain_averaging_decay=0,0.9", "momentum=0,0.5")
    swept = run(config(also=also, finetune_parts=parts, pretrain_parts=parts[1:], pretrain=few))
    assert swept["harm"].dims[2:-1] == ("rehearsal", "averaging_decay", "pretrain_averaging_decay", "momentum")
    assert "fine-tuning flow time (momentum): it has averaging of its own" in str(collapsed(swept))
    # At the smallest rate, where 1e3 times the pre-training loss is still stable, that is all that is learned.
    slow = swept.isel(learning_rate=0, product_penalty=0, averaging_decay=0, momentum=0, pretrain_averaging_decay=0)
    pulled, free = slow["forgetting"][-1, :, 0].values[::-1]
    assert abs(pulled) < 0.01 * abs(free)


def test_one_measure_of_a_users_own_is_told_at_two_places(parts):
    few = {"also": (), "pretrain": dataclasses.replace(config().pretrain, budgets=2)}
    told = run(config(measure=("sweep_parts:size", "sweep_parts:size@checkpoint=begun"), **few))
    assert told["size"].dims == told["pretrain_loss_after"].dims
    assert told["begun"].dims == ("pretrain_steps", "seed")
    with pytest.raises(InvalidInput, match="measure: got sweep_parts:size@end; allowed: MODULE:NAME, MODULE:NAME@P"):
        run(config(measure=("sweep_parts:size@end",), **few))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "also: got rehearsal=0,1; allowed: an axis of learning_rate"),
        ({"pretrain_parts": ("sweep_parts:rehearsal",)}, "also: got rehearsal=0,1; allowed: .*pretrain_rehearsal"),
        ({"finetune_parts": ("sweep_parts:nothing",)}, "finetune_parts: got sweep_parts:nothing; allowed: a name in"),
        ({"finetune_parts": ("sweep_parts:ls",)}, "finetune_parts: got sweep_parts:ls; allowed: a linsim.Term, or"),
        (
            {"finetune_parts": ("sweep_parts:average", "sweep_parts:other")},
            "finetune_parts: got sweep_parts:other; allowed: one part for averaging",
        ),
    ],
)
def test_parts_that_are_none_are_refused(parts, given, message):
    with pytest.raises(InvalidInput, match=message):
        axes_of(config(also=("rehearsal=0,1",), **given))
