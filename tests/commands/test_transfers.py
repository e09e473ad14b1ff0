"""Tasks from data: arrays and tables, and one line for those that are not understood."""

import numpy as np
import pytest

from linsim.commands.config import ChartConfig, TaskConfig
from linsim.commands.transfers import build_transfer, load_transfer
from linsim.errors import InvalidInput
from linsim.sweeping.running import running


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


GOOD = {"X": np.ones((3, 2)), "Y": np.ones((3, 1)), "X_ft": np.eye(2), "Y_ft": np.ones((2, 1))}


def test_tasks_are_read_from_a_file(tmp_path):
    transfer = load_transfer(save(tmp_path / "data.npz", **GOOD))
    np.testing.assert_allclose(transfer.finetune.target, [[1.0, 1.0]], atol=1e-14)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**GOOD, "X_ft": None}, r"task.data: got .*"),
        (
            {k: v for k, v in GOOD.items() if k not in ("Y", "Y_ft")},
            "task.data: got .*without Y, Y_ft; allowed: a .npz",
        ),
        ({**GOOD, "X": np.full((3, 2), np.nan)}, "task.data.X: got nan; allowed: a matrix of finite numbers"),
        ({**GOOD, "Y_ft": np.ones(2)}, "task.data.Y_ft: got .*; allowed: a matrix of finite numbers"),
        ({**GOOD, "Y": np.ones((4, 1))}, "task.data.Y: got 4 rows"),
        ({**GOOD, "X_ft": np.eye(3), "Y_ft": np.ones((3, 1))}, "task.data: got .*second task"),
        ({**GOOD, "X": np.asarray([[{}]])}, "task.data: got .*numbers only"),
        ({**GOOD, "X": np.asarray([["a", "b"]] * 3)}, "task.data.X: got <U1 "),
    ],
)
def test_bad_data_files_are_refused_in_one_line(tmp_path, arrays, message):
    path = save(tmp_path / "data.npz", **arrays)
    with pytest.raises(InvalidInput, match=message) as error:
        load_transfer(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InvalidInput, match="task.data: got"):
        load_transfer(tmp_path / "data.npz")
    with pytest.raises(InvalidInput, match="task.data: got"):
        load_transfer(tmp_path / "absent.npz")
    with pytest.raises(InvalidInput, match="task.data: got"):
        load_transfer(tmp_path)


TABLE = "phase,x1,x2,y\npretrain,1,0,2\npretrain,0,1,3\nfinetune,1,0,4\nfinetune,0,1e0,5\n"


def test_tasks_are_read_from_a_table(tmp_path):
    (tmp_path / "data.csv").write_text(TABLE)
    transfer = load_transfer(tmp_path / "data.csv")
    np.testing.assert_allclose(transfer.pretrain.target, [[2, 3]], atol=1e-14)
    np.testing.assert_allclose(transfer.finetune.target, [[4, 5]], atol=1e-14)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "task.data: got columns none in "),
        (
            TABLE.replace("phase", "task"),
            "task.data: got columns task, x1, x2, y in ",
        ),
        (TABLE.replace("1e0", "one"), "task.data: got one in column x2, line 5 of "),
        (TABLE.replace("1e0", ""), "task.data: got nothing in column x2, line 5 of "),
        (TABLE.replace("finetune,1", "tune,1"), "task.data: got phase tune in line 4 of "),
        (TABLE.replace(",3", ",3,4"), "task.data: got line 3 of "),
        (TABLE.replace(",3", ""), "task.data: got nothing in column y, line 3 of "),
        (TABLE.replace(",3", ",inf"), "task.data.Y: got entries above 1e+50"),
        (TABLE.replace("finetune", "pretrain"), "task.data.X_ft: got float64 (0, 2)"),
        (b"\xff\xfe\x00", "allowed: a .csv file with columns"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_in_one_line(tmp_path, content, said):
    (tmp_path / "data.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as error:
        load_transfer(tmp_path / "data.csv")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def zeros(path, rows, memory):
    """A data file of good samples that unpacks to many times its size, read where there is so much memory."""
    np.savez_compressed(path, **{name: np.zeros((rows, 2), np.float32) for name in GOOD})
    with running(memory=memory):
        return load_transfer(path)


def test_what_a_data_file_unpacks_to_must_have_room(tmp_path, monkeypatch):
    with pytest.raises(
        InvalidInput, match=r"task.data: got 1.28 MB for all arrays of .*; allowed: at most 1.049 MB, --memory"
    ):
        zeros(tmp_path / "data.npz", 40_000, 2**20)
    monkeypatch.setattr("linsim.commands.transfers.memory_left", lambda: 2**20)
    with pytest.raises(InvalidInput, match=r"got 0.64 MB for all .*; allowed: at most 0.5243 MB, half of what is free"):
        zeros(tmp_path / "data.npz", 20_000, None)
    wide = {"X": np.ones((1, 300)), "Y": np.ones((1, 1)), "X_ft": np.ones((1, 300)), "Y_ft": np.ones((1, 1))}
    with pytest.raises(InvalidInput, match=r"got 0.72 MB for the covariance of 300 inputs"):
        load_transfer(save(tmp_path / "data.npz", **wide))
    monkeypatch.setattr("linsim.commands.transfers._LINES", 5)
    monkeypatch.setattr("linsim.commands.transfers.memory_left", lambda: 2 * len(TABLE))
    (tmp_path / "data.csv").write_text(TABLE)
    with pytest.raises(InvalidInput, match=r"MB for 5 lines of .*; allowed: at most"):
        load_transfer(tmp_path / "data.csv")


def test_a_bare_array_in_place_of_an_archive_is_refused(tmp_path):
    np.save(tmp_path / "data.npy", np.ones(3))
    with pytest.raises(InvalidInput, match="task.data: got"):
        load_transfer(tmp_path / "data.npy")


def test_data_bring_their_own_dimensions(tmp_path):
    config = ChartConfig(dim=4, task=TaskConfig(data=save(tmp_path / "data.npz", **GOOD)))
    with pytest.raises(InvalidInput, match="dim: got 4; allowed: nothing beside --task.data"):
        build_transfer(config)
