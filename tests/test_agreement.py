"""Results of two commits held against each other: what agrees, what is told, and what is not overlooked."""

import numpy as np
import pytest
import xarray as xr

from benchmarks.agreement import compare, main
from linsim.storage import store

BUDGETS, RATES = 4, 3


@pytest.fixture
def chart():
    """A small chart, the last rate of which diverged at the last budget."""
    dims = ("pretrain_steps", "learning_rate")
    rng = np.random.default_rng(0)
    diverged = np.zeros((BUDGETS, RATES), dtype=bool)
    diverged[-1, -1] = True
    return xr.Dataset(
        {
            "pretrain_loss_before": ("pretrain_steps", rng.random(BUDGETS)),
            "pretrain_loss_after": (dims, rng.random((BUDGETS, RATES))),
            "predicted_harm": ("learning_rate", rng.random(RATES)),
            "harm": ("learning_rate", [np.nan, np.inf, 2.0]),
            "diverged": (dims, diverged),
            "seed_count": 5,
        },
        {"pretrain_steps": [1, 2, 5, 10], "learning_rate": [0.1, 0.2, 0.4], "kind": kinds("a", "b", "c")},
    )


def kinds(*names):
    return "learning_rate", np.array(names, dtype=np.dtypes.StringDType())


def moved(chart, name, place, by):
    """The chart with one number of a variable moved."""
    values = chart[name].values.copy()
    values[place] += by
    return chart.assign({name: (chart[name].dims, values)})


def faults(old, new):
    return " | ".join(compare(old, new).faults)


def test_a_result_agrees_with_itself(chart):
    found = compare(chart, chart)
    assert len(found.deviations) == len(chart.variables)
    assert not found.faults
    assert not found.changes
    assert found.worst.absolute == 0


def test_a_deviation_counts_relative_to_the_largest_size_of_its_variable(chart):
    large = chart.assign(pretrain_loss_after=chart["pretrain_loss_after"] * 1e6)
    size = float(large["pretrain_loss_after"].max())
    for share, agrees in ((5e-11, True), (2e-10, False)):
        found = compare(large, moved(large, "pretrain_loss_after", (1, 0), share * size))
        assert found.worst.name == "pretrain_loss_after"
        assert found.worst.relative == pytest.approx(share, rel=1e-3)
        assert found.worst.absolute == pytest.approx(share * size, rel=1e-3)
        assert found.worst.place == "pretrain_steps=2, learning_rate=0.1"
        assert (not found.faults) is agrees


def test_single_precision_on_either_side_has_its_own_tolerance(chart):
    single = chart.assign(pretrain_loss_after=chart["pretrain_loss_after"].astype(np.float32))
    assert not faults(chart, single)
    assert compare(chart, single).changes == ["pretrain_loss_after: float32, was float64"]
    assert "pretrain_loss_after" in faults(chart, moved(single, "pretrain_loss_after", (0, 0), 1e-4))


def test_lanes_beyond_the_edge_are_compared_in_their_flags_only(chart):
    for name, place in (("pretrain_loss_after", (-1, -1)), ("harm", -1)):
        found = compare(chart, moved(chart, name, place, 1.0))
        assert not found.faults
        assert found.left_out == 2  # the lane, and the harm that has it
    assert "pretrain_loss_after" in faults(chart, moved(chart, "pretrain_loss_after", (-1, 0), 1.0))
    flags = chart["diverged"].copy()
    flags[0, 0] = True
    assert "diverged: 1 of 12 are others" in faults(chart, chart.assign(diverged=flags))
    unstable = xr.zeros_like(chart["diverged"])
    unstable[0, 0] = True
    new = moved(chart, "pretrain_loss_after", (0, 0), 1.0).assign(unstable=unstable)
    assert not faults(chart, new)


def test_a_closed_form_and_the_loss_before_know_no_lanes(chart):
    for name in ("predicted_harm", "pretrain_loss_before"):
        assert name in faults(chart, moved(chart, name, -1, 1e-3))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1.0])
def test_nan_and_infinity_stand_where_they_stood(chart, value):
    for place in (0, 1):
        if not np.array_equal(chart["harm"].values[place], value, equal_nan=True):
            harm = chart["harm"].copy()
            harm[place] = value
            assert "harm: 1 of 3 are NaN or infinite" in faults(chart, chart.assign(harm=harm))


def test_names_and_whole_numbers_agree_exactly(chart):
    assert "kind: 1 of 3 are others" in faults(chart, chart.assign_coords(kind=kinds("a", "b", "d")))
    assert "seed_count" in faults(chart, chart.assign(seed_count=6))


def test_what_is_new_gone_or_renamed_is_told_and_not_wrong(chart):
    other = chart.rename(pretrain_loss_before="base_loss").drop_vars("seed_count").assign(excess=0.0)
    found = compare(chart, other)
    assert not found.faults
    assert found.changes == ["gone: seed_count", "new: excess", "renamed: pretrain_loss_before -> base_loss"]
    twisted = other.assign(base_loss=other["base_loss"] * 2)
    assert "gone: pretrain_loss_before, seed_count" in compare(chart, twisted).changes


def test_axes_in_another_order_are_told_and_other_lengths_are_wrong(chart):
    turned = chart.transpose("learning_rate", "pretrain_steps")
    found = compare(chart, turned)
    assert not found.faults
    assert "pretrain_loss_after: over learning_rate, pretrain_steps; was over pretrain_steps, learning_rate" in (
        found.changes
    )
    assert "harm: shape (2,), was (3,)" in faults(chart, chart.isel(learning_rate=slice(2)))


def test_folders_are_compared_from_the_command_line(chart, tmp_path, capsys):
    for side, results in (("old", ("a", "b", "c")), ("new", ("a", "b"))):
        for name in results:
            shift = 1e-6 * (side == "new" and name == "b")
            store.save(moved(chart, "predicted_harm", 0, shift), tmp_path / side / name)
    folders = [str(tmp_path / side) for side in ("old", "new")]
    assert main([*folders, "a"]) == 0
    assert "1 of 1 agree" in capsys.readouterr().out
    assert main(folders) == 1
    out = capsys.readouterr().out
    assert "1 of 3 agree" in out
    assert "no result in" in out
    assert main([folders[0], str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
