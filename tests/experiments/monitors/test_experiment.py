"""The family is what it says it is, readings are exact, and the finding follows the data."""

import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.monitors.account import HARMFUL, HARMLESS, LOST, REHEARSED, UNRESOLVED, _outcomes, _ring, account
from experiments.monitors.experiment import Config, experiment, run
from experiments.monitors.family import LABEL_NOISE, LANES, RATE_SHARES, SHIFTS, SPECTRA, STRENGTHS, family, member
from experiments.monitors.finding import find, table, task_aware, timing
from experiments.monitors.judging import _family, judge
from experiments.monitors.values import MONITORS, measures, read_monitors
from linsim.errors import InvalidInput
from linsim.finding import Finding
from linsim.measure import Measure
from linsim.measures.curvature import loss_hessian, top_curvature
from linsim.monitoring.alarm import Alarm
from linsim.storage import store
from linsim.sweeping.running import running
from linsim.sweeping.sweep import chart
from linsim.theory.rises import flow_time
from tests.computed import computed

SMALL = Config(transfers=5, lanes=("random-2",), resamples=20)


@pytest.fixture(scope="module")
def result():
    return computed(experiment, SMALL)


# The family


def same(one, other):
    problems = one.problem, other.problem
    arrays = [(problem.transfer.finetune.target, problem.initial[0], problem.budgets) for problem in problems]
    return all(np.array_equal(*pair) for pair in zip(*arrays, strict=True)) and np.array_equal(one.rates, other.rates)


def test_a_longer_family_begins_with_the_shorter_one():
    assert all(same(*pair) for pair in zip(family(9, 3), family(15, 3), strict=False))


def test_a_member_does_not_depend_on_the_other_lanes():
    assert same(family(15, 3)[9], family(2, 3, ("random-2",))[1])


def test_another_seed_draws_other_transfers():
    assert not any(same(*pair) for pair in zip(family(9, 0), family(9, 1), strict=True))


def test_lanes_draw_for_themselves():
    tops = [member(lane, 0, 0).problem.transfer.pretrain.strengths[0] for lane in LANES]
    assert len(set(tops)) == len(LANES)


@pytest.mark.thorough("by test_each_shift_does_what_its_name_says")
def test_the_default_family_has_every_lane_with_every_spectrum_and_shift_once():
    members = family(Config().transfers, 0)
    kinds = [(one.lane, one.spectrum, one.shift) for one in members]
    assert sorted(kinds) == sorted(itertools.product(LANES, SPECTRA, SHIFTS))
    noises = np.asarray([one.problem.transfer.pretrain.label_noise for one in members])
    assert all(np.sum(noises == noise) > 60 for noise in LABEL_NOISE)
    assert {one.problem.depth for one in members} == {1, 2, 3, 4}


def test_budgets_span_all_modes_and_rates_are_stable():
    for one in family(20, 0):
        problem, sigma = one.problem, one.problem.transfer.pretrain.strengths
        assert len(np.unique(problem.budgets)) == len(problem.budgets) == 40
        sizes = np.abs(sigma[sigma != 0])
        times = np.nan_to_num(flow_time(problem.depth, np.asarray(np.exp(-problem.depth * one.tau)), sizes / 2, sizes))
        assert problem.budgets[-1] * problem.pretrain.learning_rate > 1.5 * times.max()
        assert problem.budgets[0] <= max(0.1 * times.min() / problem.pretrain.learning_rate, 1) + 1
        for task in (problem.transfer.pretrain, problem.transfer.finetune):
            sharpest = float(top_curvature(task.strengths, problem.depth))
            assert problem.pretrain.learning_rate * float(top_curvature(sigma, problem.depth)) < 0.11
            assert one.rates[-1] * sharpest * (1 + STRENGTHS[-1]) < 2


def test_each_shift_does_what_its_name_says():
    for number, shift in enumerate(SHIFTS):
        one = member("aligned-2", number, 0)
        first, second = one.problem.transfer.pretrain, one.problem.transfer.finetune
        assert one.shift == shift
        a, b = np.diag(first.target), np.diag(second.target)
        match shift:
            case "weaker tail":
                assert (b <= a).all() and (b < a).any()
            case "stronger tail":
                assert (b >= a).all() and (b > 1.4 * a).any()
            case "permuted":
                assert np.array_equal(np.sort(a), np.sort(b)) and not np.array_equal(a, b)
            case "new modes":
                assert ((a == 0) & (b > 0)).sum() >= 2 and np.array_equal(a[a > 0], b[a > 0])
            case "zeroed modes":
                assert ((a > 0) & (b == 0)).any() and np.array_equal(a[b > 0], b[b > 0])
            case _:
                assert not np.allclose(second.target, np.diag(b))


@pytest.mark.parametrize(
    "changes",
    [
        *({"transfers": 0}, {"lanes": ()}, {"lanes": ("aligned-9",)}, {"lanes": ("aligned-2", "aligned-2")}),
        *({"seed": -1}, {"harmful": 0.0}, {"resamples": 0}, {"noise": 0.0}, {"relative_noise": -1.0}),
    ],
)
def test_a_bad_field_is_named(changes):
    with pytest.raises(InvalidInput) as error:
        run(dataclasses.replace(SMALL, **changes))
    assert error.value.field == next(iter(changes))


# What the monitors read


LAYERS = tuple(
    Measure(f"layer_{at}", dims=("row", "column"), at="checkpoint", of=lambda seen, at=at: seen.weights[at])
    for at in (0, 1)
)


@pytest.fixture(scope="module")
def one_step():
    """A transfer whose fine-tuning is a single step, its checkpoints' weights, and what is read."""
    one = member("random-2", 1, 0)
    problem = dataclasses.replace(one.problem, finetune_steps=1, budgets=one.problem.budgets[::8])
    done = chart(problem, one.rates, np.asarray(STRENGTHS), measures=(*LAYERS, *measures(0.2, 0.1)))
    weights = tuple(done[measure.name].values[:, 0] for measure in LAYERS)
    return one, problem, done, weights, read_monitors(problem, done)


def test_predicted_forgetting_is_that_of_one_small_step(one_step):
    one, _, done, _, values = one_step
    measured = done["forgetting"].values[:, 0, 0, 0]
    # The next order is smaller by the step, 2e-3 of the stability limit.
    np.testing.assert_allclose(values["predicted_forgetting"][0], measured, rtol=0.02, atol=1e-9)
    assert values["predicted_forgetting"].shape == (len(one.rates), len(measured))


def test_readings_agree_with_dense_curvature_and_with_noise(one_step):
    _, problem, done, weights, values = one_step
    task, tuned = problem.transfer.pretrain, problem.transfer.finetune
    layered = [tuple(map(jnp.asarray, at)) for at in zip(*weights, strict=True)]
    curvature = np.stack([loss_hessian(at, task.target, task.input_covariance) for at in layered])
    np.testing.assert_allclose(values["fisher_trace"][0], np.trace(curvature, axis1=1, axis2=2) / 2, rtol=1e-12)
    np.testing.assert_allclose(values["top_eigenvalue"][0], np.linalg.eigvalsh(curvature)[:, -1], rtol=1e-8)
    inner, outer = layers = [np.asarray(weight[3]) for weight in weights]
    error, other = (outer @ inner - one.target for one in (task, tuned))
    gradient, along = (np.append(2 * outer.T @ rest, 2 * rest @ inner.T) for rest in (error, other))
    np.testing.assert_allclose(values["gradient_square"][0, 3], gradient @ gradient, rtol=1e-10)
    np.testing.assert_allclose(values["finetuning_curvature"][0, 3], along @ curvature[3] @ along / (along @ along))
    rng, draws = np.random.default_rng(0), 4000
    relative = [0.1 * np.sqrt(np.mean(layer**2)) for layer in layers]
    for name, scales in (("absolute_noise", (0.2, 0.2)), ("relative_noise", relative)):
        first, second = (
            layer + scale * rng.standard_normal((draws, 8, 8)) for layer, scale in zip(layers, scales, strict=True)
        )
        rises = np.sum((second @ first - task.target) ** 2, axis=(1, 2)) - np.sum(error**2)
        assert abs(values[name][0, 3] - rises.mean()) < 4 * rises.std() / np.sqrt(draws)
    np.testing.assert_allclose(1 / values["inverse_loss"][0], done["pretrain_loss_before"].values[:, 0], rtol=1e-15)
    ratio = np.sum(other**2) / np.sum(error**2)  # of losses, before fine-tuning
    np.testing.assert_allclose(values["loss_ratio"][0, 3], ratio, rtol=1e-10)
    np.testing.assert_array_equal(values["clock"][0], problem.budgets)


def test_a_ratio_rings_where_it_first_crosses_its_line():
    rows = np.array([[1.0, 3.0, 5.0, 9.0], [1.0, 2.0, 3.0, 3.9]])
    told = [_ring("line", row[None], None, None, Alarm(), np.zeros(2), 0.01) for row in rows]
    assert [first.tolist() for first, _ in told] == [[[2, 2]], [[4, 4]]]
    assert [peak.item() for _, peak in told] == pytest.approx([np.log(9.0), np.log(3.9)])


def test_the_top_eigenvalue_is_exact_where_others_crowd_it():
    one = member("aligned-2", 27, 0)
    problem = dataclasses.replace(one.problem, finetune_steps=1, budgets=one.problem.budgets[[5]])
    done = chart(problem, one.rates[:1], np.zeros(1), measures=(*LAYERS, *measures(0.2, 0.1)), solver="dense")
    weights = tuple(jnp.asarray(done[measure.name].values[0, 0]) for measure in LAYERS)
    hessian = loss_hessian(weights, problem.transfer.pretrain.target, problem.transfer.pretrain.input_covariance)
    top = read_monitors(problem, done)["top_eigenvalue"]
    np.testing.assert_allclose(top, [[np.linalg.eigvalsh(hessian)[-1]]], rtol=1e-12)


def test_harm_within_the_error_of_minibatch_runs_is_unresolved():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 2, 6))
    noise -= noise.mean(axis=-1, keepdims=True)
    curve = np.ones((2, 2, 2, 6))
    curve[1] = 1.5 + np.array([[0.01], [3.0]])[..., None] * noise
    dataset = chart_like(curve)
    outcome = _outcomes(dataset, np.full((2, 2), 0.5), np.zeros((2, 2), bool), 0.01)
    np.testing.assert_array_equal(outcome, [[HARMFUL, HARMFUL], [REHEARSED, UNRESOLVED]])


def test_cells_with_a_run_beyond_the_edge_of_stability_are_lost():
    one = member("random-2", 0, 0)
    # The largest is 0.7 of the edge without a penalty, which takes it to 0.7 (1 + lambda).
    fast = dataclasses.replace(one, rates=one.rates * 0.7 / RATE_SHARES[-1])
    with running(recheck=0):
        found = account(fast, Alarm(), np.ones(1), 0.01, measures(0.1, 0.1))
    assert np.isfinite(found.loss_after[:, -1, 1]).all()  # nor has it diverged
    np.testing.assert_array_equal(found.outcome[-1], [HARMLESS, LOST, LOST])


def chart_like(curve):
    axes = ("pretrain_steps", "learning_rate", "regularization", "seed")
    return xr.Dataset({"pretrain_loss_after": (axes, curve)})


# A small run


def test_a_run_describes_itself_and_can_be_stored(result, tmp_path):
    assert dict(result.sizes) | {"monitor": 13, "transfer": 5, "checkpoint": 40, "rate": 5} == dict(result.sizes)
    assert json.loads(result.attrs["config"])["alarm"]["window"] == 5
    assert {"versions", "git_revision", "loss_convention"} <= result.attrs.keys()
    assert all("long_name" in variable.attrs for variable in result.data_vars.values())
    store.save(result, tmp_path)
    again = store.load(tmp_path)
    assert list(again["label"].values) == [monitor.label for monitor in MONITORS.values()]
    assert experiment.tell(again) == experiment.tell(result)


def test_recorded_alarms_are_those_of_the_recorded_values(result):
    one = result.isel(transfer=1).sel(monitor="fisher_trace", threshold=1.0)
    first = Alarm().watch(one["budget"].values, one["value"].values[0]).first
    assert first is not None and (one["alarm"].values == first).all()
    turned = result["inflection"].values[result["outcome"].values == HARMFUL]
    clock = result["alarm"].sel(monitor="clock").values[:, 0, 0]
    for budgets, at in zip(result["budget"].values, clock, strict=True):
        assert at == np.count_nonzero(budgets < np.median(turned))


def test_the_rehearsed_cell_is_not_scored(result):
    assert (result["outcome"].values[:, 2, 0] == REHEARSED).all()
    assert np.count_nonzero(result["outcome"].values == REHEARSED) == 5
    assert {HARMLESS, HARMFUL} <= set(np.unique(result["outcome"].values))


def test_cells_that_are_neither_harmful_nor_harmless_are_left_out(result):
    scored = _family(result)
    assert [np.sum(scored.harmless), np.sum(scored.harmful)] == [np.sum(result["outcome"] == kind) for kind in (0, 1)]
    fewer = result.copy(deep=True)
    fewer["outcome"].values[fewer["outcome"].values == HARMLESS] = UNRESOLVED
    assert not _family(fewer).harmless.any()


def test_a_terminal_is_told_in_a_dozen_lines(result):
    told = [line for line in experiment.tell(result).splitlines() if line]
    assert len(told) <= 12
    assert all(len(line) <= 120 for line in told)
    row = next(line for line in table(result) if "squared mean gradient" in line)
    assert row.endswith(f"{float(at(result, 'correlation_along', 'gradient_square')):+.2f}")


def at(result, score, monitor):
    """The estimate of a score at the alarm's own threshold, where it has one."""
    chosen = result[score].sel(monitor=monitor, statistic="estimate")
    return chosen.sel(threshold=result.attrs["threshold"]) if "threshold" in chosen.dims else chosen


@pytest.fixture(scope="module")
def foreseen(result):
    """Records in which the squared gradient rings before every inflection, and nothing else at all."""
    derived = [name for name, variable in result.data_vars.items() if "statistic" in variable.dims]
    derived += ["cell_correlation", "reachable", "regret_of_going_on_if_harmful"]
    fake = result.drop_vars([*derived, "statistic"]).copy(deep=True)
    bad = np.arange(5) < 3
    fake["outcome"].values[...] = np.where(bad, HARMFUL, HARMLESS)[:, None, None]
    fake["inflection"].values[...] = fake["budget"].values[:, 30, None, None]
    fake["alarm"].values[...] = 40
    fake["peak"].values[...] = 0
    fake["alarm"].loc["gradient_square"].values[bad] = 29
    fake["peak"].loc["gradient_square"].values[bad] = 1
    forgetting = fake["loss_after"].values[..., 0] - fake["loss_before"].values[..., None]
    fake["value"].loc["gradient_square"] = np.moveaxis(forgetting, 1, 2)
    return fake.merge(judge(fake, 20, 0)).assign_attrs(result.attrs)


def test_an_alarm_that_foresees_harm_is_found(foreseen):
    found = find(foreseen)
    assert found.verdict == "seen" and found.sentence.endswith("(squared mean gradient)")
    told = {"harmful": 45, "harmless": 30, "informedness": 1, "low": 1, "high": 1}
    assert told.items() <= found.numbers.items()
    assert int(foreseen["reachable"].sum()) == 45 and "; 0 turn before" in found.details[0]
    own = [at(foreseen, name, "gradient_square") for name in ("in_time", "false_alarm", "separation")]
    assert own == [1, 0, 1] and at(foreseen, "correlation_along", "gradient_square") > 0.1
    assert "often enough" in timing(foreseen.sel(threshold=1.0))
    assert "separates no better" in task_aware(foreseen.sel(threshold=1.0))


@pytest.mark.parametrize(
    ("informedness", "of_reachable", "verdict"),
    [(-0.2, 0.05, "not seen"), (-0.2, -0.1, "not seen"), (0.0, 0.3, "seen"), (0.3, np.nan, "seen")],
)
def test_the_verdict_is_by_the_interval_that_begins_highest(foreseen, informedness, of_reachable, verdict):
    told = foreseen.copy(deep=True)
    told["informedness"].values[...], told["informedness_of_reachable"].values[...] = informedness, of_reachable
    found = find(told)
    assert (found.verdict, found.numbers["low"]) == (verdict, np.nanmax([informedness, of_reachable]))
    assert found.sentence.startswith("No alarm") == (found.numbers["low"] <= 0)


VERDICTS = {
    "an impatient alarm on gross harm": ({"transfers": 3, "harmful": 0.5, "alarm": Alarm(3, consecutive=1)}, "seen"),
    "the alarm as it is": ({"transfers": 2}, "not seen"),
    "nothing counts as harm": ({"transfers": 1, "harmful": 1e9}, "cannot tell"),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", VERDICTS)
def test_every_verdict_has_a_configuration(name):
    changes, verdict = VERDICTS[name]
    with running(recheck=0):
        found = Finding.of(judged := run(dataclasses.replace(SMALL, **changes)))
    assert found.verdict == verdict
    if verdict == "cannot tell":
        assert found.numbers == {"harmful": 0, "harmless": 14}  # of 15 cells, one of which is rehearsed
        assert not found.details and not table(judged)


def test_a_chart_whose_own_check_fails_is_told(monkeypatch):
    monkeypatch.setattr("experiments.monitors.account.distrust", lambda result: "DO NOT TRUST THIS RESULT.")
    with running(recheck=0):
        doubtful = run(dataclasses.replace(SMALL, transfers=1))
    said = "The charts of 1 of 1 transfers fail their own check; transfer = 0: DO NOT TRUST THIS RESULT."
    assert Finding.of(doubtful).trust == said


def test_the_base_loss_is_outdone_only_by_a_paired_interval_below_0(result):
    told = result.sel(threshold=1.0).copy(deep=True)
    told["missed"].values[...] = 0
    told["spread_above_halved"].values[...] = [-0.1, -0.2, 0.01]
    assert timing(told).startswith("None times")
    told["spread_above_halved"].loc["relative_noise"] = [-0.1, -0.2, -0.01]
    assert timing(told).startswith("loss increase, relative noise times")


def test_reach_is_that_of_the_alarm(result):
    harmful = result["outcome"].values == HARMFUL
    first = result["budget"].values[:, Alarm().needs - 1]
    reachable = harmful & (result["inflection"].values >= first[:, None, None])
    np.testing.assert_array_equal(result["reachable"].values, reachable)
    out = np.count_nonzero(harmful & ~reachable)
    assert f"; {out} turn before" in Finding.of(result).details[0]
