"""Results on disk are whole or not there."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from linsim.errors import InvalidInput, RunFailed
from linsim.storage import store
from linsim.storage.places import prepare
from tests.sweeping.chunked import DAMAGES, flip

DATA = xr.Dataset({"loss": (("step",), np.arange(5.0))}, attrs={"config": "{}"})


def test_what_is_saved_is_loaded(tmp_path):
    store.save(DATA, tmp_path)
    xr.testing.assert_identical(store.load(tmp_path), DATA)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.zarr"]


def test_a_new_result_replaces_an_old_one(tmp_path):
    store.save(DATA, tmp_path)
    store.save(DATA + 1, tmp_path)
    np.testing.assert_array_equal(store.load(tmp_path)["loss"], DATA["loss"] + 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.zarr"]


def test_a_folder_with_something_in_it_needs_overwrite(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="out: got .*new or empty, or --overwrite"):
        prepare(tmp_path, overwrite=False)
    prepare(tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_killed_run_left_behind_is_in_nobodys_way(tmp_path):
    (tmp_path / ".data.zarr.partial").mkdir()
    prepare(tmp_path, overwrite=False)
    store.save(DATA, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.zarr"]


def test_a_file_or_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInput, match="out: got"):
            prepare(path, overwrite=False)


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(InvalidInput, match="out: got .*a folder that can be written"):
        prepare(Path("/proc/linsim"), overwrite=False)


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_no_half_result_and_keeps_the_old_one(tmp_path, monkeypatch, existing):
    if existing:
        store.save(DATA, tmp_path)

    def full(self, path, **_):
        path.mkdir()
        (path / "zarr.json").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(xr.Dataset, "to_zarr", full)
    with pytest.raises(RunFailed, match="No space left on device"):
        store.save(DATA + 1, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == (["data.zarr"] if existing else [])
    if existing:
        xr.testing.assert_identical(store.load(tmp_path), DATA)


def test_a_write_that_really_fails_is_reported(tmp_path):
    # A limit on file sizes makes the operating system refuse the write of real chunks, as a full disk does.
    script = (
        "import sys, resource, signal, pathlib, numpy as np, xarray as xr\n"
        "from linsim.storage import store\n"
        "from linsim.errors import RunFailed\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "data = xr.Dataset({'loss': ('step', np.random.default_rng(0).standard_normal(100_000))})\n"
        "try:\n    store.save(data, pathlib.Path(sys.argv[1]))\n"
        "except RunFailed as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written (File too large)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_loading_what_is_not_a_result_is_one_line(tmp_path):
    with pytest.raises(InvalidInput, match=r"folder: got .*a folder with a data.zarr inside"):
        store.load(tmp_path)
    (tmp_path / "data.zarr").mkdir()
    with pytest.raises(InvalidInput, match="a complete data.zarr"):
        store.load(tmp_path)


def test_an_interrupt_leaves_no_half_result_and_keeps_the_old_one(tmp_path, monkeypatch):
    store.save(DATA, tmp_path)

    def stop(self, path, **_):
        path.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_zarr", stop)
    with pytest.raises(KeyboardInterrupt):
        store.save(DATA + 1, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.zarr"]


def test_a_result_hidden_by_a_kill_while_it_was_replaced_comes_back(tmp_path):
    store.save(DATA, tmp_path)
    (tmp_path / "data.zarr").rename(tmp_path / ".data.zarr.replaced")
    with pytest.raises(InvalidInput, match="--overwrite"):
        prepare(tmp_path, overwrite=False)
    xr.testing.assert_identical(store.load(tmp_path), DATA)


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_store_is_one_line(tmp_path, content):
    store.save(DATA, tmp_path)
    (tmp_path / "data.zarr" / "zarr.json").write_text(content)
    with pytest.raises(InvalidInput, match="a complete data.zarr"):
        store.load(tmp_path)


def test_numbers_of_which_nothing_says_what_they_are_are_not_passed_over(tmp_path):
    store.save(DATA, tmp_path)
    (tmp_path / "data.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    lost = str(next(iter(DATA.data_vars)))
    (tmp_path / "data.zarr" / lost / "zarr.json").unlink()
    with pytest.raises(InvalidInput, match=rf"a complete data.zarr \({lost} does not say what it is\)"):
        store.load(tmp_path)


CHUNKED = xr.Dataset(
    {
        "loss": (("rate", "seed"), np.arange(35.0).reshape(5, 7), {}, {"chunks": (2, 3)}),
        "nothing": (("rate", "seed"), np.zeros((5, 7), bool), {}, {"chunks": (2, 3)}),
        "weights": (("seed", "unit"), np.zeros((7, 4))),
    },
    coords={"seed": np.arange(7)},
)


def test_chunks_stay_as_they_are_and_are_all_written(tmp_path):
    store.save(CHUNKED, tmp_path)
    assert len([path for path in (tmp_path / "data.zarr" / "loss" / "c").rglob("*") if path.is_file()]) == 9
    assert len([path for path in (tmp_path / "data.zarr" / "nothing" / "c").rglob("*") if path.is_file()]) == 9
    xr.testing.assert_identical(store.load(tmp_path), CHUNKED)


@pytest.mark.parametrize("name", ["loss", "nothing", "weights", "seed"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_missing_chunk_is_refused_and_never_believed(tmp_path, name, damage):
    store.save(CHUNKED, tmp_path)
    damage(max(path for path in (tmp_path / "data.zarr" / name / "c").rglob("*") if path.is_file()))
    with pytest.raises(InvalidInput, match="folder: got .*a complete data.zarr"):
        store.load(tmp_path)


def test_a_chunk_that_is_damaged_while_it_is_copied_leaves_no_half_result(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    for folder in (source, out):
        folder.mkdir()
    store.save(CHUNKED, source)
    viewed = store.view(source)
    flip(source / "data.zarr" / "loss" / "c" / "2" / "1")
    with pytest.raises(ValueError, match="checksum"):
        store.save(viewed, out)
    assert list(out.iterdir()) == []


GRID = xr.Dataset(
    {name: (("row", "column"), np.arange(12.0).reshape(4, 3) + shift) for name, shift in (("a", 0), ("b", 50))},
    attrs={"config": '{"seed": 0}', "seed": 0},
)


@pytest.fixture
def grid(tmp_path):
    """A result in chunks of a row."""
    GRID.to_zarr(tmp_path / "made", encoding={name: {"chunks": (1, 3)} for name in GRID}, consolidated=False)
    return store.save(xr.open_zarr(tmp_path / "made", consolidated=False, chunks=None), tmp_path)


def swap(one, other):
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


MOVED = {
    "chunks of an array": lambda path: swap(path / "a" / "c" / "0", path / "a" / "c" / "1"),
    "chunks of two arrays": lambda path: swap(path / "a" / "c" / "0", path / "b" / "c" / "0"),
    "arrays": lambda path: swap(path / "a", path / "b"),
    "names of dimensions": lambda path: (path / "a" / "zarr.json").write_text(
        (path / "a" / "zarr.json").read_text().replace('"column"', '"colour"')
    ),
}


@pytest.mark.parametrize("what", MOVED)
def test_what_is_whole_but_not_where_it_was_written_is_refused(grid, what):
    xr.testing.assert_identical(store.load(grid.parent), GRID)
    MOVED[what](grid)
    for read in (store.load, store.verify):
        with pytest.raises(InvalidInput, match="not as, or where, they were written"):
            read(grid.parent)


def test_an_array_of_another_result_is_refused_on_resume(grid, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    theirs = GRID + 1
    for name in theirs:
        theirs[name].encoding["chunks"] = (1, 3)
    store.save(theirs, other)
    swap(grid / "a", other / "data.zarr" / "a")
    with pytest.raises(InvalidInput, match="an array changed after it was saved"):
        store.verify(grid.parent)


def test_attributes_have_a_seal_which_others_may_add_to(grid):
    group = zarr.open_group(grid, mode="r+")
    group.attrs["note"] = "mine"
    store.verify(grid.parent)
    group.attrs["seed"] = 1
    with pytest.raises(InvalidInput, match="the attribute seed changed after it was saved"):
        store.verify(grid.parent)
    assert store.load(grid.parent).attrs["seed"] == 1  # whoever changed it may read it
    del group.attrs["seal"]
    with pytest.raises(InvalidInput, match="its seal changed after it was saved"):
        store.verify(grid.parent)


def test_what_is_made_of_a_result_has_no_seal_of_it(grid, tmp_path):
    plain = xr.open_zarr(grid, consolidated=False)
    assert "seal" in plain.attrs and "seal" not in store.view(grid.parent).attrs
    (plain + 1).assign_attrs(plain.attrs).to_zarr(tmp_path / "theirs" / "data.zarr", consolidated=False)
    xr.testing.assert_equal(store.load(tmp_path / "theirs"), GRID + 1)
    store.save(plain.load(), tmp_path / "theirs")
    store.verify(tmp_path / "theirs")


@pytest.mark.parametrize("free", [100, 80])
def test_more_than_there_is_memory_for_is_refused_before_it_is_read(tmp_path, monkeypatch, free):
    store.save(xr.Dataset({"a": ("x", np.zeros(6)), "b": ("x", np.zeros(6))}), tmp_path)
    monkeypatch.setattr(store, "memory_left", lambda: free)
    if free < 96:
        with pytest.raises(InvalidInput, match=r"folder: got .* GB of numbers; allowed: at most .* which are free"):
            store.load(tmp_path)
    else:
        store.load(tmp_path)
    monkeypatch.setattr(store, "memory_left", lambda: 40)
    with pytest.raises(InvalidInput, match="a chunk of . takes .* GB, more than is free"):
        store.view(tmp_path)


def test_plain_xarray_opens_a_result_without_a_word(tmp_path):
    store.save(xr.Dataset({"loss": ("steps", np.arange(3.0))}, coords={"steps": [1, 2, 4]}), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert xr.open_zarr(tmp_path / store.DATA).sizes == {"steps": 3}
