"""Sweeps along what changes shapes or tasks: each is what it is on its own, and all are one labelled result."""

import dataclasses
import doctest
import sys
from functools import partial

import numpy as np
import pytest
import xarray as xr

from linsim.commands.building import build_problem, learning_rates
from linsim.commands.config import ChartConfig, FinetuneConfig, NetworkConfig, PretrainConfig, ShiftConfig
from linsim.commands.transfers import build_transfer
from linsim.errors import InvalidInput
from linsim.storage import store
from linsim.sweeping.along import along
from linsim.sweeping.running import running
from linsim.sweeping.sweep import chart, sweep

SMALL = ChartConfig(
    dim=3,
    pretrain=PretrainConfig(steps=2000, budgets=4),
    finetune=FinetuneConfig(steps=50, rates=2, strengths=1),
)
RATES = learning_rates(SMALL.finetune)
KINDS = {
    "plain": SMALL,
    "turned": dataclasses.replace(SMALL, shift=ShiftConfig(rotate_degrees=30.0)),
    "heavy": dataclasses.replace(SMALL, finetune=dataclasses.replace(SMALL.finetune, momentum=0.5)),
}


def problem(config):
    return build_problem(config, build_transfer(config))


def charted(config):
    return partial(chart, problem(config), RATES, np.zeros(1), tolerance=None)


@pytest.fixture(scope="module")
def joined():
    return along({"shift": [*KINDS]}, lambda shift: charted(KINDS[shift]))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("label", ["turned", "plain", "heavy"])
def test_a_chart_is_what_it_is_on_its_own(joined, label):
    alone, here = charted(KINDS[label])(), joined.sel(shift=label)
    for name in ("pretrain_loss_after", "finetune_loss_after", "inflection_steps", "harm", "finetune_target"):
        np.testing.assert_array_equal(here[name], alone[name])
        assert here[name].attrs == alone[name].attrs


def test_what_all_charts_share_comes_once_and_what_they_lack_is_nan(joined):
    assert "shift" not in joined["pretrain_target"].dims
    assert joined["predicted_pretrain_loss_after"].sel(shift=["plain", "turned"]).notnull().all()
    assert joined["predicted_pretrain_loss_after"].sel(shift="heavy").isnull().all()
    assert joined.attrs["regularizer"] == "product_penalty"
    assert "heavy: none: fine-tuning is not plain gradient descent" in joined.attrs["prediction"]
    assert all("long_name" in variable.attrs for variable in joined.variables.values())


def test_a_result_along_text_can_be_stored(joined, tmp_path):
    store.save(joined, tmp_path)
    xr.testing.assert_identical(store.load(tmp_path)["harm"].drop_vars("shift"), joined["harm"].drop_vars("shift"))
    assert store.load(tmp_path)["shift"].values.tolist() == ["plain", "turned", "heavy"]


def test_weights_that_differ_in_shape_keep_their_own_and_progress_only_grows():
    heard = []
    joined = along(
        {"depth": (1, 3)},
        lambda depth: charted(dataclasses.replace(SMALL, depth=depth)),
        lambda done, total: heard.append((done, total)),
    )
    assert joined["pretrain_loss_after"].dims[0] == "depth"
    assert joined["depth"].values.tolist() == [1, 3]
    for depth in (1, 3):
        layers = [name for name in joined if name.startswith("initial_weights") and name.endswith(f"_of_{depth}")]
        assert len(layers) == depth
        assert all(joined[layer].dims[0] == "seed" for layer in layers)  # which all places share
    assert heard == sorted(heard)
    assert heard[-1] == (2000, 2000)


def test_several_axes_make_up_every_combination_of_a_sweep_too():
    def prepare(tau, shift):
        config = dataclasses.replace(KINDS[shift], network=NetworkConfig(tau=tau))
        return partial(sweep, problem(config), {"learning_rate": RATES, "momentum": [0.0, 0.5]})

    with running(recheck=6):
        joined = along({"tau": [4.0, 5.0], "shift": ["plain", "turned"]}, prepare)
    assert joined.attrs["recheck_lanes"] == 8  # 6 shared by four, rounded up
    assert joined["harm"].dims == ("tau", "shift", "learning_rate", "momentum", "seed")
    for tau in (4.0, 5.0):
        alone = prepare(tau, "turned")()
        np.testing.assert_array_equal(joined["harm"].sel(tau=tau, shift="turned"), alone["harm"])
    assert joined["initial_weights_1"].dims[:2] == ("tau", "shift")
    assert "tau" not in joined["finetune_target"].dims and "shift" in joined["finetune_target"].dims


def test_the_example_of_its_docstring_runs():
    assert doctest.testmod(sys.modules["linsim.sweeping.along"])[0] == 0


def told(**changes):
    checked = {"recheck_lanes": 9, "recheck_deviation": 1e-9, "recheck_by": "dense", "recheck_trusted": 1}
    return checked | {"recheck_apart": 0, "recheck_worst": "seed = 0"} | changes


def test_of_the_samples_computed_again_the_worst_is_told_of_all_lanes():
    wrong = told(recheck_deviation=1e-12, recheck_trusted=0, recheck_apart=2)  # other lanes diverged
    attributes = [told(), wrong, told(recheck_lanes=3), {}]
    joined = along(
        {"width": [1, 2, 4, 8]},
        lambda width: lambda report: xr.Dataset(attrs=attributes[[1, 2, 4, 8].index(width)]),
    )
    assert joined.attrs == told(
        recheck_lanes=21,
        recheck_deviation=1e-12,
        recheck_trusted=0,
        recheck_apart=2,
        recheck_worst="width = 2, seed = 0",
    )


def test_places_of_which_none_was_computed_again_stand_beside_others():
    rows = {"a": [told(recheck_lanes=0), {}], "b": [told(), {}]}
    joined = along(
        {"row": ["a", "b"], "width": [1, 2]},
        lambda row, width: lambda report: xr.Dataset(attrs=rows[row][width - 1]),
    )
    assert joined.attrs == told(recheck_worst="row = b, width = 1, seed = 0")


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"depth": []}, r"axes\['depth'\]: got \[\]; allowed: labels, all numbers or all text"),
        ({"depth": [2, "three"]}, r"axes\['depth'\]: got \[2, 'three'\]; allowed: labels"),
        ({"depth": [2, 2]}, r"axes\['depth'\]: got \[2, 2\]; allowed: every label once"),
        ({"depth": [2, 0]}, "depth: got 0"),
    ],
)
def test_bad_labels_are_one_line_and_refused_before_anything_is_computed(axes, said):
    computed = []

    def prepare(depth):
        ready = charted(dataclasses.replace(SMALL, depth=depth))
        return lambda report: computed.append(ready(report=report))

    with pytest.raises(InvalidInput, match=said):
        along(axes, prepare)
    assert computed == []


def test_sweeps_of_other_axes_at_other_labels_are_refused_in_one_line():
    with pytest.raises(InvalidInput, match=r"axes\['depth'\]: got \[1, 2\]; allowed: sweeps of the same axes") as bad:
        along({"depth": [1, 2]}, lambda depth: partial(sweep, problem(SMALL), {"learning_rate": [1e-3 * depth]}))
    assert "\n" not in str(bad.value)


def test_a_sweep_names_this_way_where_an_axis_would_change_shapes():
    with pytest.raises(InvalidInput, match=r"axes: got depth; allowed: one of learning_rate, .*linsim\.along"):
        sweep(problem(SMALL), {"depth": [2, 3]})
