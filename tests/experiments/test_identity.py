"""What a result is known by: everything that decided its numbers changes it, and nothing else does."""

import shutil
import sys

import numpy as np
import pytest

from experiments import overtraining_chart, watch
from linsim.commands.config import ChartConfig, TaskConfig
from linsim.storage.identity import Identity, content

LOSS = """import numpy as np
from their_helper import factor
SCALE = np.load("scale.npy")
def batches():
    yield np.load("batch.npy")
def loss(params, batch):
    return factor() * SCALE * (params["w"] * batch).sum()
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A repository of a user, who watches checkpoints and has a file of data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_loss.py").write_text(LOSS)
    (tmp_path / "their_helper.py").write_text("def factor():\n    return 1.0\n")
    for name in ("README.md", "their_other.py", "test_theirs.py"):
        (tmp_path / name).write_text("")
    np.save("scale.npy", np.asarray(2.0))
    np.save("batch.npy", np.arange(3.0))
    (tmp_path / "checkpoints").mkdir()
    for step in (10, 20):
        np.savez(tmp_path / "checkpoints" / f"step_{step}.npz", w=np.full(3, float(step)))
    np.savez("data.npz", X=np.eye(2), Y=np.eye(2), X_ft=np.eye(2), Y_ft=np.eye(2))
    yield tmp_path
    forget()


def forget():
    for name in ("their_loss", "their_helper"):
        sys.modules.pop(name, None)


def fields(**changes):
    """Of the watched folder, in a process that has imported nothing of it yet."""
    forget()
    named = {"loss": "their_loss:loss", "batches": "their_loss:batches"}
    return watch.experiment.identity(watch.Config(**named | changes)).fields


def edited(name, text):
    return lambda folder: (folder / name).write_text(text)


CHANGES = {
    "README": (edited("README.md", "more"), set()),
    "a test": (edited("test_theirs.py", "more = 1"), set()),
    "a module that nothing imports": (edited("their_other.py", "more = 1"), set()),
    "a file beside the checkpoints": (edited("checkpoints/notes.txt", "mine"), set()),
    "the loss": (
        edited("their_loss.py", LOSS.replace("sum", "mean")),
        {"source.their_loss", "config.named.their_loss:loss"},
    ),
    "what the loss imports": (
        edited("their_helper.py", "def factor():\n    return 2.0\n"),
        {"source.their_helper"},
    ),
    "data of the loss": (lambda _: np.save("scale.npy", np.asarray(3.0)), {"config.named.their_loss:loss"}),
    "data of the batches": (lambda _: np.save("batch.npy", np.ones(3)), {"config.batches"}),
    "a checkpoint": (
        lambda folder: np.savez(folder / "checkpoints" / "step_20.npz", w=np.ones(3)),
        {"config.folder.step_20.npz"},
    ),
    "a checkpoint more": (
        lambda folder: np.savez(folder / "checkpoints" / "step_30.npz", w=np.ones(3)),
        {"config.folder.step_30.npz"},
    ),
    "a checkpoint less": (
        lambda folder: (folder / "checkpoints" / "step_10.npz").unlink(),
        {"config.folder.step_10.npz"},
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_decides_changes_what_a_record_is_known_by(theirs, case):
    change, expected = CHANGES[case]
    before = fields()
    assert fields() == before
    change(theirs)
    after = fields()
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == expected


def test_where_a_file_lies_and_what_it_is_called_decides_nothing(theirs):
    def chart(path):
        return overtraining_chart.experiment.identity(ChartConfig(task=TaskConfig(data=path))).fields

    shutil.copytree("checkpoints", theirs / "elsewhere")
    assert fields(folder=theirs / "elsewhere") == fields()
    before = chart(theirs / "data.npz")
    shutil.move("data.npz", "renamed.npz")
    assert chart(theirs / "renamed.npz") == before
    np.savez("renamed.npz", X=np.eye(2), Y=np.eye(2), X_ft=np.eye(2), Y_ft=2 * np.eye(2))
    after = chart(theirs / "renamed.npz")
    assert [name for name in before if before[name] != after[name]] == ["config.task.data"]
    assert chart(theirs / "gone.npz")["config.task.data"] == "content not readable (No such file or directory)"


def test_a_result_tells_what_it_is_of(theirs):
    made = watch.experiment.identity(watch.Config(loss="their_loss:loss"))
    versions = {"versions": '{"jax": "0", "linsim": "1"}'}
    told = Identity.of_attrs(made.attrs | versions)
    assert (told.config, told.inputs, told.source) == (made.config, made.inputs, made.source)
    assert told.versions["jax"] == "0" != made.versions["jax"]
    for name in (*made.attrs, "versions"):
        for damaged in ("", "[" * 100_000, None, 3):
            attrs = {
                key: value for key, value in (made.attrs | versions | {name: damaged}).items() if value is not None
            }
            if name != "experiment" or damaged in (None, 3):
                with pytest.raises(ValueError, match="JSON|Expecting|it does not tell"):
                    Identity.of_attrs(attrs)


def test_the_content_of_a_folder_is_that_of_its_files_with_their_names(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("x" if name != "c" else "y")).write_text("1")
    assert content(tmp_path / "a") == content(tmp_path / "b") != content(tmp_path / "c")
