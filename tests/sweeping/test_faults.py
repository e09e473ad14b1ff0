"""Full disks, damaged stores and sweeps that are too large: one line each, and what is done is kept."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import zarr

from linsim.errors import InvalidInput, RunFailed
from linsim.storage.leases import lease
from linsim.sweeping.keeping import InMemory, OnDisk
from linsim.sweeping.plan import Plan
from linsim.sweeping.results import Layout
from linsim.sweeping.work import Work
from tests.sweeping.chunked import CUTS, chunks_of, cut_small, same_bits, swept


@pytest.fixture(autouse=True)
def cuts(monkeypatch):
    cut_small(monkeypatch)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """All chunks of a sweep on disk, and its result; to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        return folder, swept(folder)


@pytest.fixture
def kept(begun, tmp_path):
    return shutil.copytree(begun[0], tmp_path / "kept")


BROKEN = ["", "{", "[]", '{"zarr_format": 3, "node_type": "group", "attributes": {}}']


@pytest.mark.parametrize("content", BROKEN)
def test_a_damaged_plan_is_one_line(kept, content):
    folder = chunks_of(kept)
    (folder / "zarr.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"resume: got .*; allowed: chunks with a readable plan .*--overwrite"):
        swept(kept)


@pytest.mark.parametrize(
    "part", [{"chunk": [2, 1, 2]}, {"bite": 0}, {"shape": [2, 3, 3, 4]}, {"chunk": [2, 0, 2, 2]}], ids=str
)
def test_a_plan_that_is_none_is_one_line(kept, part):
    folder = chunks_of(kept)
    told = json.loads((folder / "zarr.json").read_text())
    told["attributes"]["plan"] = json.dumps(CUTS.as_dict() | part)
    (folder / "zarr.json").write_text(json.dumps(told))
    with pytest.raises(InvalidInput, match=r"resume: got .*; allowed: chunks with a readable plan"):
        swept(kept)


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_damaged_description_of_an_array_is_one_line(kept, content):
    (path,) = kept.glob("*/forgetting/zarr.json")
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(InvalidInput, match=r"resume: got .*--overwrite"):
        swept(kept)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_in_the_middle_is_one_line_and_costs_one_chunk(begun, tmp_path, monkeypatch):
    ran, run = [], Work.run
    monkeypatch.setattr(Work, "run", lambda self, box, report=None: ran.append(box) or run(self, box, report))
    put, count = zarr.storage._local._put, [0]

    def filling(path, *rest, **more):
        count[0] += "c" in path.parts
        return full() if count[0] > 30 else put(path, *rest, **more)

    monkeypatch.setattr(zarr.storage._local, "_put", filling)
    with pytest.raises(RunFailed, match="out: .* could not be written .No space left on device"):
        swept(tmp_path)
    computed = len(ran)
    monkeypatch.setattr(zarr.storage._local, "_put", put)
    same_bits(swept(tmp_path), begun[1])
    assert 1 < computed < 12
    assert len(ran) == 12 + 1


def test_a_disk_that_is_full_from_the_start_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr.storage._local, "_put", full)
    with pytest.raises(RunFailed, match="could not be written .No space left on device"):
        swept(tmp_path)
    assert not list(tmp_path.glob("**/zarr.json"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_more_lanes_than_there_is_room_for_are_one_line(tmp_path, monkeypatch, on_disk):
    cuts = Plan((10**4, 10**4, 10**4), (10**4, 10, 10), (10**4,) * 3, 10)
    layouts = {"loss": Layout(("a", "b", "c"), np.dtype(np.float64), {})}
    where = "on the disk" if on_disk else "in memory; --out, or out=, keeps them on disk"
    with pytest.raises(InvalidInput, match=rf"lanes: got 1e\+12; allowed: at most .*: 8e\+03 GB, of .* {where}"):
        _ = (
            OnDisk(tmp_path / "x", layouts, ("a", "b", "c"), cuts)
            if on_disk
            else InMemory(layouts, ("a", "b", "c"), cuts)
        )
    assert list(tmp_path.iterdir()) == []


def test_room_on_the_disk_is_that_for_the_chunks_and_for_the_saved_result(tmp_path, monkeypatch):
    cuts, layouts = Plan((100,), (100,), (100,), 10), {"loss": Layout(("a",), np.dtype(np.float64), {})}
    for free, fits in ((900, False), (1600, False), (1800, True)):  # 800 bytes, twice, of nine tenths of what is free
        monkeypatch.setattr("linsim.storage.room.disk_left", lambda _, free=free: free)
        if fits:
            OnDisk(tmp_path / "x", layouts, ("a",), cuts)
        else:
            with pytest.raises(InvalidInput, match="lanes: got 100; allowed: .* for one of two copies on the disk"):
                OnDisk(tmp_path / "x", layouts, ("a",), cuts)


def test_nothing_is_said_to_be_kept_before_the_first_chunk_is(tmp_path):
    with lease(tmp_path, {}, {}) as leased:
        (leased.chunks / "sweep" / "forgetting" / "c" / "0").mkdir(parents=True)
        assert not leased.kept
        (leased.chunks / "sweep" / "forgetting" / "c" / "0" / "0").write_bytes(b"whole")
        assert leased.kept
        shutil.rmtree(leased.chunks / "sweep")
