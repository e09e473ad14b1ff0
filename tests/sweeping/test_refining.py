"""A chart does not depend on the budgets it starts from, and says where it is not resolved."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from linsim import network, shifts, spectra
from linsim.errors import InvalidInput
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.sweeping import keeping
from linsim.sweeping.running import running
from linsim.sweeping.sweep import chart, sweep
from linsim.tasks import LinearTask, Transfer

RATES, STRENGTHS = np.array([3e-4, 1e-3, 3e-3]), np.array([0.0, 4.0])


def problem(count, modes=3, **changes):
    transfer = shifts.shifted(LinearTask.create(spectra.power_law(modes)), shifts.Rescale([2, 3], 4.0))
    initial = stack_seeds([network.identity((modes,) * 3, 4.0)])
    budgets = np.unique(np.geomspace(20, 20_000, count).round().astype(int))
    return replace(Problem(transfer, initial, Phase(0.005), Phase(0.001), budgets, 300), **changes)


def charted(problem, **how):
    return chart(problem, RATES, STRENGTHS, rechecked=0, predicted=False, **how)


@pytest.fixture(scope="module")
def few():
    return charted(problem(12))


def test_twelve_budgets_say_what_three_hundred_say(few):
    many = charted(problem(300), tolerance=None)
    assert few["resolved"].all() and few["finetune_resolved"].all()
    assert few.attrs["budgets_added"] == len(few["pretrain_steps"]) - 12 > 0
    np.testing.assert_array_equal(few["inflection_steps"].notnull(), many["inflection_steps"].notnull())
    assert few["inflection_steps"].notnull().any()
    for name in ("harm", "excess"):  # the tolerance, and of excess what does not count
        np.testing.assert_allclose(few[name], many[name], rtol=0.02, atol=2e-5)
    assert (few["lowest_steps"] >= 0.98 * many["inflection_low"]).all()
    assert (few["lowest_steps"] <= 1.02 * many["inflection_high"]).all()


def test_added_budgets_are_computed_as_the_first_ones(few):
    whole = replace(problem(12), budgets=few["pretrain_steps"].values)
    again = charted(whole, tolerance=None)
    for name, values in again.data_vars.items():
        assert values.dims == few[name].dims
        np.testing.assert_array_equal(values, few[name], err_msg=str(name))


def test_what_is_too_large_to_be_joined_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping.room.psutil, "virtual_memory", lambda: SimpleNamespace(available=4000))
    with running(keep=tmp_path, memory=2**28):
        with pytest.raises(InvalidInput, match=r"lanes: got 72; allowed: at most .* tolerance=None, adds none"):
            charted(problem(12))
        assert not list(tmp_path.iterdir())
        assert charted(problem(12), tolerance=None).sizes["pretrain_steps"] == 12


def test_without_a_tolerance_budgets_stay_and_what_is_not_resolved_says_so():
    coarse = charted(problem(5), tolerance=None)
    assert coarse.sizes["pretrain_steps"] == 5
    assert not coarse["resolved"].any()
    assert "refining" not in coarse.attrs


def test_what_no_budget_resolves_is_not_refined(tmp_path, monkeypatch):
    monkeypatch.setattr(
        keeping.room.psutil, "virtual_memory", lambda: SimpleNamespace(available=4000)
    )  # nothing is joined
    with running(keep=tmp_path, memory=2**28):
        rough = charted(problem(12, finetune=Phase(0.001, batch_size=4)))
    assert rough.attrs["refining"] == "none: minibatches make curves rough from step to step"
    assert rough.sizes["pretrain_steps"] == 12


def test_finished_rounds_are_kept_and_not_computed_again(few, tmp_path):
    counts = []
    for _ in range(2):
        computed = []
        with running(keep=tmp_path, watcher=lambda done, total, lanes, told=computed: told.append(lanes)):
            kept = charted(problem(12))
        np.testing.assert_array_equal(kept["harm"], few["harm"])
        counts.append(sum(computed))
    assert counts[0] > 0 == counts[1]


def test_both_losses_have_their_turns_and_their_units(few):
    alike = sweep(problem(12), {"learning_rate": RATES}, rechecked=0)
    for dataset in (few, alike):
        for prefix in ("", "finetune_"):
            assert dataset[f"{prefix}inflection_steps"].attrs["units"] == "steps"
            assert dataset[f"{prefix}harm"].dims == dataset["diverged"].dims[1:]
    # Fine-tuning from the task itself: what is lost on one is lost on the other.
    task = problem(12).transfer.pretrain
    told = charted(problem(12, transfer=Transfer(task, task)))
    assert told["inflection_steps"].isnull().all() and told["finetune_inflection_steps"].isnull().all()
    np.testing.assert_array_equal(told["harm"], told["finetune_harm"])


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"least_harm": -1.0}, "least_harm"),
        ({"least_excess": 2.0}, "least_excess"),
    ],
)
def test_criteria_out_of_range_are_refused_in_one_line(how, field):
    with pytest.raises(InvalidInput, match=f"{field}: got"):
        charted(problem(12), **how)
