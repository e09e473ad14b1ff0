"""Charts: the contract, chunks, devices, precision, divergence, compilation."""

import json
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import pytest
import xarray as xr

import linsim.sweeping.lanes
import linsim.sweeping.plan
from linsim.errors import InvalidInput
from linsim.measures.built_in import LEARNED_SHARE
from linsim.phase import Phase
from linsim.sweeping.refining import with_turns
from linsim.sweeping.results import TURNS
from linsim.sweeping.sweep import chart, sweep
from linsim.theory.turns import Criteria
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

RATES, STRENGTHS = np.asarray([1e-3, 4e-3, 1e-2]), np.asarray([0.0, 0.5])


def test_a_chart_has_the_axes_and_variables_of_the_contract():
    result = chart(gaussian_problem(3), RATES, STRENGTHS, tolerance=None)
    axes = ("pretrain_steps", "learning_rate", "regularization", "seed")
    expected = {
        "pretrain_loss_before": ("pretrain_steps", "seed"),
        **dict.fromkeys(("pretrain_loss_after", "finetune_loss_after", "forgetting", "diverged", "unstable"), axes),
        **dict.fromkeys((*TURNS, *(f"finetune_{name}" for name in TURNS), "predicted_inflection_steps"), axes[1:]),
        "pretrain_target": ("output", "input"),
        "finetune_target": ("output", "input"),
        "input_covariance": ("input", "input_"),
    }
    for name, dims in expected.items():
        assert result[name].dims == dims
    for layer in (1, 2, 3):
        assert result[f"initial_weights_{layer}"].dims[0] == "seed"
    assert tuple(result["pretrain_loss_after"].shape) == (3, 3, 2, 2)
    assert all(axis in result.coords for axis in axes)
    for name in ("versions", "device", "precision", "solver", "solver_reason", "git_revision", "loss_convention"):
        assert isinstance(result.attrs[name], str)
    assert result.attrs["seed"] == 0
    assert result.attrs["pretrain_label_noise"] == 0.1
    assert {"jax", "linsim", "python"} <= set(json.loads(result.attrs["versions"]))
    xr.testing.assert_allclose(result["forgetting"], result["pretrain_loss_after"] - result["pretrain_loss_before"])
    assert all("long_name" in variable.attrs for variable in result.variables.values())


def test_without_a_step_of_fine_tuning_a_sweep_is_pretraining_alone():
    problem = aligned_problem(budgets=(5, 40, 300), pretrain=Phase(0.01))
    tuned = sweep(problem, {}, [LEARNED_SHARE], rechecked=0)
    heard = []
    alone = sweep(replace(problem, finetune_steps=0), {}, [LEARNED_SHARE], report=lambda *told: heard.append(told))
    for name in ("pretrain_loss_before", "learned_share"):
        np.testing.assert_array_equal(alone[name], tuned[name])
    np.testing.assert_array_equal(alone["pretrain_loss_after"], alone["pretrain_loss_before"])
    assert alone["inflection_steps"].isnull().all()
    assert heard[-1] == (600, 600)


def test_chunks_do_not_change_the_numbers(monkeypatch):
    problem = gaussian_problem()
    whole = chart(problem, RATES, STRENGTHS)
    monkeypatch.setattr(linsim.sweeping.plan, "CACHED", 10 * 2 * 36 * 8)  # ten lanes: the last bite is padded
    pieces = chart(problem, RATES, STRENGTHS)
    for name in ("pretrain_loss_after", "finetune_loss_after"):
        # Batched products may be summed in another order: a few roundings over 300 stable steps.
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-11)


def test_one_device_and_two_give_the_same_numbers(monkeypatch):
    assert len(jax.devices()) == 2
    problem = aligned_problem()
    two = chart(problem, RATES, STRENGTHS)
    first = jax.devices()[:1]
    monkeypatch.setattr(linsim.sweeping.lanes.jax, "local_devices", lambda: first)
    one = chart(problem, RATES, STRENGTHS)
    np.testing.assert_allclose(one["pretrain_loss_after"], two["pretrain_loss_after"], rtol=1e-13)


def test_solvers_that_decompose_matrices_stay_on_one_cpu_device(monkeypatch):
    # Two CPU devices at it wait for each other's threads for ever: 18,000 lanes a device did.
    used = []
    put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda value, place: used.append(len(place.device_set)) or put(value, place))
    problem = balanced_problem()
    chart(problem, RATES, STRENGTHS, solver="flow", tolerance=None)
    chart(problem, RATES, STRENGTHS, solver="dense", tolerance=None)
    assert (used[0], {*used[1:]}) == (1, {2})


@pytest.mark.sampled(1)
@pytest.mark.parametrize("solver", ["modes", "gram", "flow"])
def test_a_chart_by_any_solver_says_which_and_predicts_the_same(solver):
    problem = aligned_problem(2, pretrain=Phase(0.01))
    by_name, by_dense = (chart(problem, RATES, STRENGTHS, solver=name) for name in (solver, "dense"))
    assert by_name.attrs["solver"] == solver
    assert by_name.attrs["solver_reason"].startswith(f"{solver}: chosen by name")
    np.testing.assert_array_equal(by_name["predicted_harm"], by_dense["predicted_harm"])
    # Flow is descent up to the first order in rate x curvature, at most 0.1 here.
    np.testing.assert_allclose(
        by_name["pretrain_loss_after"], by_dense["pretrain_loss_after"], rtol=0.15 if solver == "flow" else 1e-9
    )


def test_a_regulariser_that_flow_cannot_have_is_refused_when_it_is_swept():
    with pytest.raises(InvalidInput, match="penalty in weight space of fine-tuning"):
        chart(aligned_problem(2), RATES, STRENGTHS, "weight_penalty", solver="flow")


def test_progress_is_reported_up_to_the_total():
    seen = []
    told = {"report": lambda done, total: seen.append((done, total))}
    chart(aligned_problem(), RATES, STRENGTHS, **told)  # with budgets that are added, whose number nobody knows before
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
    seen.clear()
    chart(aligned_problem(), RATES, STRENGTHS, tolerance=None, **told)
    done = [steps for steps, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (2 * 2000 + 36 * 300, 2 * 2000 + 36 * 300)


def test_float32_is_checked_in_float64():
    result = chart(aligned_problem(), RATES, STRENGTHS, precision="float32")
    # 2,300 stable steps of rounding at 6e-8, relative to the loss of the zero network: at most 1.4e-4.
    assert 0 < result.attrs["recheck_deviation"] < 1e-4
    assert result["pretrain_loss_after"].dtype == np.float32


def test_diverged_lanes_are_flagged_and_leave_the_others_alone():
    problem = gaussian_problem()
    calm, wild = np.asarray([1e-3]), np.asarray([1e-3, 5.0])
    both, alone = chart(problem, wild, STRENGTHS), chart(problem, calm, STRENGTHS)
    assert both["diverged"].values[:, 1].all()
    assert not both["diverged"].values[:, 0].any()
    assert np.isnan(both["inflection_steps"].values[1]).all()
    assert np.isnan(both["harm"].values[1]).all()
    np.testing.assert_allclose(
        both["pretrain_loss_after"].values[:, 0], alone["pretrain_loss_after"].values[:, 0], rtol=1e-12
    )


def test_a_lane_on_its_way_to_infinity_is_flagged_before_it_gets_there():
    problem = gaussian_problem(finetune_steps=6)
    result = chart(problem, np.asarray([1e-3, 0.4, 5.0]), STRENGTHS)
    after = result["pretrain_loss_after"].values
    huge = np.isfinite(after) & (after > 1e6 * problem.transfer.pretrain.zero_loss)
    assert huge.any()
    assert result["diverged"].values[huge].all()
    assert result["diverged"].values[~np.isfinite(after)].all()
    assert not result["diverged"].values[:, 0].any()


def test_changing_swept_values_compiles_nothing_new():
    jax.clear_caches()
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    chart(aligned_problem(), RATES, STRENGTHS)
    before = len(compiled)
    assert before > 0  # the listener does count
    other = aligned_problem(
        pretrain=Phase(0.007, weight_decay=0.02), finetune=Phase(0.02), budgets=(30, 500, 1500), finetune_steps=200
    )
    chart(other, RATES * 1.3, STRENGTHS + 0.1)
    assert len(compiled) == before
    chart(aligned_problem(3), RATES, STRENGTHS)
    assert len(compiled) > before


@pytest.mark.parametrize(
    ("rates", "strengths", "message"),
    [
        ([], [0.0], "learning_rates: got .*at least one"),
        ([-1e-3], [0.0], "learning_rates: got -0.001; allowed: a finite number > 0"),
        ([np.nan], [0.0], "learning_rates: got nan"),
        ([2e-3, 1e-3], [0.0], "learning_rates: got .*strictly increasing"),
        ([1e-3], [-1.0], "strengths: got -1.0"),
    ],
)
def test_bad_axes_are_refused(rates, strengths, message):
    with pytest.raises(InvalidInput, match=message):
        chart(aligned_problem(), np.asarray(rates, float), np.asarray(strengths, float))


def test_an_idealised_chart_starts_from_low_rank_checkpoints():
    problem = aligned_problem(idealised=True, random_bases=False)
    before = chart(problem, RATES, STRENGTHS)["pretrain_loss_before"].values[:, 0]
    tails = np.cumsum((problem.transfer.pretrain.strengths**2)[::-1])[::-1]
    possible = np.concatenate([tails, [0.0]])  # the losses of the rank-n truncations
    assert np.min(np.abs(before[:, None] - possible), axis=1).max() < 1e-12
    assert before[0] > before[-1]


def test_losses_are_large_against_the_initial_network_when_that_is_larger():
    # With all targets 0, or a start far above them, "above the zero network's loss" would flag every lane.
    problem = gaussian_problem(scale=100.0, dim=3, budgets=np.asarray([1]), finetune_steps=1)
    problem = replace(problem, pretrain=Phase(1e-12), finetune=Phase(1e-12))
    result = chart(problem, np.asarray([1e-12]), np.asarray([0.0]), precision="float32")
    assert not result["diverged"].any()
    assert result.attrs["recheck_deviation"] < 1e-5


def test_phases_are_described_by_name():
    problem = gaussian_problem(
        pretrain=Phase(0.01, optimizer=partial(optax.adamw, weight_decay=0.0)),
        finetune=Phase(0.01, schedule=optax.cosine_decay_schedule(1.0, 300)),
    )
    phases = json.loads(chart(problem, RATES, STRENGTHS).attrs["training"])
    assert phases["pretrain"]["optimizer"] == "adamw(weight_decay=0.0)"
    assert phases["finetune"]["schedule"] == "cosine_decay_schedule"


def test_curves_that_are_nothing_but_rounding_show_no_inflection():
    # As long training of a task without shift leaves them; the exact numbers depend on the order of sums.
    problem = gaussian_problem(seeds=1)
    after = np.asarray([1e-2, 2e-31, 5e-30])
    lanes = ("pretrain_steps", "seed")
    losses = {f"{task}_loss_after": (lanes, after[:, None]) for task in ("pretrain", "finetune")}
    dataset = xr.Dataset({**losses, "diverged": (lanes, np.zeros((3, 1), bool))})
    result = with_turns(dataset, problem, Criteria(least_harm=0.0, least_excess=0.0))
    assert float(result["harm"].max()) == 0
    assert np.isnan(result["inflection_steps"]).all()
