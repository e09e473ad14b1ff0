"""Chunks on disk: whole or not there, sound or computed again, and the numbers are those of a run never stopped."""

import shutil
from itertools import product

import jax
import numpy as np
import pytest
import xarray as xr
import zarr

import linsim.sweeping.computing
from linsim.phase import Phase
from linsim.storage import store
from linsim.sweeping.keeping import OnDisk
from linsim.sweeping.results import Layout
from linsim.sweeping.running import running
from linsim.sweeping.sweep import chart, sweep
from linsim.sweeping.work import Work
from tests.sweeping.chunked import (
    AXES,
    CUTS,
    DAMAGES,
    PROBLEM,
    VARIABLES,
    chunk_files,
    chunks_of,
    cut_small,
    delete,
    flip,
    same_bits,
    swept,
)


@pytest.fixture(autouse=True)
def cuts(monkeypatch):
    cut_small(monkeypatch)


@pytest.fixture
def ran(monkeypatch):
    """Boxes that were computed, in their order."""
    boxes, run = [], Work.run

    def noted(self, box, report=None):
        boxes.append(box)
        return run(self, box, report)

    monkeypatch.setattr(Work, "run", noted)
    return boxes


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """All chunks of a sweep on disk, and its result; to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        result = swept(folder)
    return folder, result


@pytest.fixture
def kept(begun, tmp_path):
    return shutil.copytree(begun[0], tmp_path / "kept")


def test_all_variables_of_a_sweep_are_kept_in_chunks_of_their_own(begun):
    folder, result = begun
    assert {name for name in VARIABLES if chunk_files(folder, name)} == set(VARIABLES)
    assert set(VARIABLES) <= set(result.data_vars)
    # Budgets are in one piece; momentum 3, rates 2, seeds 2.
    assert len(chunk_files(folder, "pretrain_loss_after")) == len(chunk_files(folder, "forgetting")) == 12
    assert len(chunk_files(folder, "pretrain_loss_before")) == 6


def test_chunks_on_disk_are_those_in_memory(begun):
    with running(recheck=0):
        same_bits(sweep(PROBLEM, AXES), begun[1])


def test_what_is_finished_is_not_computed_again(begun, kept, ran):
    same_bits(swept(kept), begun[1])
    assert ran == []


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("damage", "name"), [*product([delete, flip], VARIABLES), *product(DAMAGES[1:-1], ["forgetting", "diverged"])]
)
def test_a_damaged_chunk_is_computed_again_and_no_other(begun, kept, ran, damage, name):
    files = chunk_files(kept, name)
    damage(files[-1])  # a short one at the end of every axis
    same_bits(swept(kept), begun[1])
    assert len(ran) == 1
    assert ran[0].stop == CUTS.shape or name == "pretrain_loss_before"


def swap(one, other):
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])


@pytest.mark.parametrize("others", ["of the same variable", "of another variable"])
def test_a_chunk_in_the_place_of_another_is_computed_again(begun, kept, ran, others):
    first, second, *_ = chunk_files(kept, "forgetting")
    other = second if others == "of the same variable" else chunk_files(kept, "pretrain_loss_after")[0]
    swap(first, other)
    same_bits(swept(kept), begun[1])
    assert len(ran) == (2 if other == second else 1)


@pytest.mark.parametrize(
    "left", ["", "{", '\n{"start": [0]}\n', "[" * 100_000], ids=["nothing", "half", "less", "deep"]
)
def test_chunks_of_which_nothing_is_written_down_are_computed_again(begun, kept, ran, left):
    (book,) = kept.glob("*.chunks")
    whole = book.read_text()
    book.write_text(whole[: whole.rindex('{"start"')] + left)
    same_bits(swept(kept), begun[1])
    assert len(ran) == 1
    same_bits(swept(kept), begun[1])
    assert len(ran) == 1


def test_every_single_bit_of_a_chunk_is_watched(kept):
    # Of the file's bits each in turn; the sweep itself need not run for that.
    path = chunk_files(kept, "forgetting")[0]
    content, folder = path.read_bytes(), chunks_of(kept)
    layouts = {
        "forgetting": Layout(("pretrain_steps", "pretrain_momentum", "learning_rate", "seed"), np.dtype(np.float64), {})
    }
    opened = OnDisk(folder, layouts, ("pretrain_steps", "pretrain_momentum", "learning_rate", "seed"), CUTS)
    first = CUTS.boxes()[0]
    assert opened.finished(first)
    for bit in range(8 * len(content)):
        flip(path, bit)
        assert not opened.finished(first), bit
        path.write_bytes(content)


def test_chunks_of_one_block_that_are_missing_are_pre_trained_once(begun, kept, ran):
    told = []
    for path in chunk_files(kept, "forgetting"):
        if path.parts[-3:-2] == ("2",):
            path.unlink()
    with running(keep=kept, recheck=0):
        same_bits(sweep(PROBLEM, AXES, report=lambda *steps: told.append(steps)).load(), begun[1])
    assert len(ran) == 4
    assert len({CUTS.block_of(box) for box in ran}) == 1
    done, total = zip(*told, strict=True)
    assert len(set(total)) == 1
    assert done == tuple(sorted(done))
    assert done[-1] == total[0] == 54 * 30 + 8 * 40  # the pre-training of the other block is not done and not counted


@pytest.mark.sampled(3)
@pytest.mark.parametrize("when", range(0, 13, 3))
def test_stopped_after_any_chunk_it_goes_on_to_the_same_bits(begun, tmp_path, when, monkeypatch, ran):
    keep = OnDisk.keep

    def stop(self, box, values):
        if len(ran) > when:
            partial = next(tmp_path.glob("*/forgetting")) / "c" / "0.half.partial"
            partial.parent.mkdir(exist_ok=True)
            partial.write_bytes(b"half")
            raise KeyboardInterrupt
        keep(self, box, values)

    monkeypatch.setattr(OnDisk, "keep", stop)
    if when < 12:
        with pytest.raises(KeyboardInterrupt):
            swept(tmp_path)
    monkeypatch.setattr(OnDisk, "keep", keep)
    same_bits(swept(tmp_path), begun[1])
    assert len(ran) == 12 + (when < 12)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_chunk_of_which_only_some_variables_were_written_is_computed_again(begun, kept, ran):
    for name in VARIABLES[3:]:
        chunk_files(kept, name)[0].unlink()
    same_bits(swept(kept), begun[1])
    assert len(ran) == 1


def test_the_cuts_of_what_is_kept_stay_whatever_the_machine_is_now(begun, kept, monkeypatch):
    monkeypatch.setattr(linsim.sweeping.computing, "cut", lambda *_: pytest.fail("cut again"))
    same_bits(swept(kept), begun[1])


@pytest.mark.parametrize(
    "changes",
    [{"budgets": np.asarray((5, 41))}, {"seed": 1}, {"pretrain": Phase(0.02, momentum=0.1)}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_sweep_takes_no_chunks_of_this_one(begun, kept, ran, changes):
    swept(kept, **changes)
    assert len(ran) == 12
    assert sum(path.is_dir() for path in kept.iterdir()) == 2


def test_another_precision_or_solver_takes_no_chunks_of_this_one(kept, ran):
    with running(keep=kept, recheck=0):
        sweep(PROBLEM, AXES, precision="float32")
        sweep(PROBLEM, AXES, solver="dense")
    assert len(ran) == 24


def test_the_same_axes_in_another_order_are_another_sweep(tmp_path, monkeypatch):
    monkeypatch.undo()
    axes = {"learning_rate": [2e-3, 9e-3], "product_penalty": [0.0, 1.0]}
    with running(keep=tmp_path, recheck=0):
        forth = sweep(PROBLEM, axes).load()
        back = sweep(PROBLEM, dict(reversed(axes.items()))).load()
        named = chart(PROBLEM, *map(np.asarray, axes.values()), predicted=False)
    assert back["harm"].dims == ("product_penalty", "learning_rate", "seed")
    assert named["harm"].dims == ("learning_rate", "regularization", "seed")
    xr.testing.assert_equal(back.transpose(*forth["pretrain_loss_after"].dims, ...), forth)


def test_saved_from_chunks_it_has_chunks_and_no_byte_is_changed(begun, kept, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with running(keep=kept, recheck=0):
        store.save(sweep(PROBLEM, AXES), out)
    same_bits(store.load(out), begun[1])
    assert zarr.open_group(out / "data.zarr")["pretrain_loss_after"].chunks == CUTS.chunk


def test_chunks_do_not_depend_on_what_was_computed_before_them(begun, tmp_path):
    # Hands may come in any order and in any process.
    class Backwards:
        def compute(self, work, boxes, report):
            for box in reversed(list(boxes)):
                with jax.enable_x64(True):
                    yield box, work.cut(work.plan).run(box, report)

    with running(keep=tmp_path, recheck=0, hands=Backwards()):
        same_bits(sweep(PROBLEM, AXES).load(), begun[1])
