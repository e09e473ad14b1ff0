"""The folder of a result: links are followed, what is somebody else's is never removed, and nothing is ever wedged."""

import os

import pytest
import xarray as xr
import zarr

from linsim.errors import InvalidInput
from linsim.storage import store
from linsim.storage.leases import lease
from linsim.storage.places import prepare
from tests.storage.test_store import DATA


def again(out):
    """One more run that replaces what is there."""
    with lease(out, {}, {}, overwrite=True) as leased:
        leased.saved = store.save(DATA + 1, out)
    xr.testing.assert_equal(store.load(out), DATA + 1)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("there", [True, False])
def test_a_result_behind_a_link_is_replaced_where_it_lies(tmp_path, there):
    out, disk = tmp_path / "out", tmp_path / "disk"
    out.mkdir()
    disk.mkdir()
    if there:
        store.save(DATA, disk)
    (out / "data.zarr").symlink_to(disk / "data.zarr")
    for _ in range(3):
        again(out)
        assert (out / "data.zarr").is_symlink()
        assert (os.listdir(out), os.listdir(disk)) == (["data.zarr"], ["data.zarr"])


def test_a_link_that_leads_to_nowhere_is_one_line_before_any_work(tmp_path):
    for name, target in (("none", tmp_path / "gone" / "store"), ("itself", tmp_path / "itself" / "data.zarr")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.zarr").symlink_to(target)
        with pytest.raises(
            InvalidInput, match=r"out: got .*data.zarr -> .*; allowed: a link (into a folder|that leads)"
        ):
            prepare(tmp_path / name, overwrite=True)


def a_store_of_another_tool(path):
    zarr.create_group(path, attributes={"config": "mine"}).create_array("x", shape=(3,), dtype="f8")[:] = 1.0


def a_store_of_the_older_format(path):
    zarr.create_group(path, zarr_format=2).create_array("x", shape=(3,), dtype="f8")[:] = 1.0


def a_folder_of_files(path):
    path.mkdir()
    (path / "thesis.tex").write_text("mine")


def a_file(path):
    path.write_text("mine")


def a_link_to_a_folder_of_files(path):
    a_folder_of_files(path.with_name("documents"))
    path.symlink_to(path.with_name("documents"))


@pytest.mark.parametrize(
    "foreign",
    [a_store_of_another_tool, a_store_of_the_older_format, a_folder_of_files, a_file, a_link_to_a_folder_of_files],
)
@pytest.mark.parametrize("flag", ["overwrite", "resume"])
def test_what_is_called_like_a_result_and_is_none_is_never_removed(tmp_path, foreign, flag):
    foreign(tmp_path / "data.zarr")
    before = files_of(tmp_path)
    with (
        pytest.raises(
            InvalidInput, match=r"out: got .*; allowed: a result of linsim to replace, and this is something"
        ),
        lease(tmp_path, {}, {}, **{flag: True}),
    ):
        pass
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["chart.zarr", ".lock", ".unfinished/theirs", "notes/data.zarr"])
def test_what_lies_beside_a_result_stays(tmp_path, name):
    file = tmp_path / name / "zarr.json"
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    if name.startswith(".unfinished"):
        with pytest.raises(InvalidInput, match="nothing in .unfinished but an unfinished run"):
            prepare(tmp_path, overwrite=True)
    else:
        again(tmp_path)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("damage", ["", "{", "[]", "[" * 100_000, None])
def test_a_damaged_result_is_replaced_all_the_same(tmp_path, damage):
    head = store.save(DATA, tmp_path) / "zarr.json"
    head.unlink() if damage is None else head.write_text(damage)
    with pytest.raises(InvalidInput, match="allowed: a complete data.zarr"):
        store.load(tmp_path)
    again(tmp_path)


def test_a_read_only_result_is_refused_before_any_work(tmp_path, monkeypatch):
    store.save(DATA, tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "loss")  # as where permissions bind
    with pytest.raises(InvalidInput, match=r"out: got .*loss; allowed: a result that can be replaced.*read-only"):
        prepare(tmp_path, overwrite=True)


def test_an_older_result_that_could_not_be_removed_is_named_and_wedges_nothing(tmp_path, monkeypatch):
    store.save(DATA, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("linsim.storage.places.shutil.rmtree", lambda *_, **__: None)
        again(tmp_path)
        with pytest.raises(InvalidInput, match=r"a folder without .*\.data\.zarr\.replaced, which cannot be removed"):
            prepare(tmp_path, overwrite=True)
    again(tmp_path)
    assert os.listdir(tmp_path) == ["data.zarr"]
