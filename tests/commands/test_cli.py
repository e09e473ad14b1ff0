"""The command line: exit statuses, one-line errors, and full disks."""

import contextlib
import io
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.overtraining_chart import main
from figures.overtraining_chart import draw
from linsim.storage import store
from tests.figures.pictures import words

ROOT = Path(__file__).parent.parent.parent
SMALL = ["--dim", "3", "--pretrain.steps", "500", "--pretrain.budgets", "6", "--finetune.steps", "20"]
SMALL += ["--finetune.rates", "3", "--finetune.strengths", "2", "--recheck", "0", "--no-figure"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run with its picture, and what it told."""
    folder, told = tmp_path_factory.mktemp("made") / "new", io.StringIO()
    with contextlib.redirect_stdout(told):
        assert main([*SMALL[:-1], "--verbose", "--out", str(folder)]) == 0
    return folder, told.getvalue()


def test_a_run_tells_its_message_and_where_the_files_are(made):
    folder, told = made
    assert "Steps after which more harm" in told
    assert "modes: the tasks, input covariances and initial weights are diagonal" in told
    assert str(folder / "data.zarr") in told
    assert store.load(folder).attrs["config"]


def test_the_picture_is_drawn_beside_the_data(made):
    kinds = ("png", "svg", "html")
    assert {"data.zarr", *(f"overtraining_chart.{kind}" for kind in kinds)} == {p.name for p in made[0].iterdir()}


BAD = [
    (["--dim", "x"], ["dim: got x", "an integer"]),
    (["--dim", "0"], ["dim: got 0", "an integer >= 1"]),
    (["--depth", "-2"], ["depth: got -2"]),
    (["--solver", "magic"], ["solver: got magic", "one of auto, modes, dense"]),
    (["--precision", "float16"], ["precision: got float16", "one of float32, float64"]),
    (["--nonsense", "3"], ["--nonsense: no such flag"]),
    (["--finetune.learning-rates", "nan"], ["finetune.learning_rates: got nan", "a finite number > 0"]),
    (["--finetune.learning-rates", "-1e-3"], ["finetune.learning_rates: got -0.001"]),
    (["--finetune.learning-rates", "2e-3", "1e-3"], ["strictly increasing"]),
    (["--pretrain.first", "0"], ["pretrain.first: got 0"]),
    (["--task.data", "absent.npz", "--dim", "None"], ["task.data: got absent.npz", "X, Y, X_ft, Y_ft"]),
    (["--network.init", "gaussian", "--solver", "modes"], ["solver: got modes", "overlapping directions"]),
]


@pytest.mark.parametrize(("flags", "said"), BAD, ids=[" ".join(flags) for flags, _ in BAD])
def test_a_bad_argument_is_one_line_and_exit_status_2(tmp_path, capsys, flags, said):
    assert main([*SMALL, "--out", str(tmp_path / "out"), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert all(part in captured.err for part in said), captured.err
    assert not (tmp_path / "out").exists()


def test_an_existing_result_is_not_overwritten_unasked_nor_outlived_by_its_picture(made, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(made[0], folder)
    assert main([*SMALL, "--out", str(folder), "--seed", "5"]) == 2
    assert capsys.readouterr().err == f"out: got {folder}; allowed: a folder that is new or empty, or --overwrite\n"
    assert store.load(folder).identical(store.load(made[0]))
    assert main([*SMALL, "--out", str(folder), "--seed", "5", "--overwrite"]) == 0
    assert store.load(folder).attrs["config"] != store.load(made[0]).attrs["config"]
    assert [entry.name for entry in folder.iterdir()] == ["data.zarr"]


def test_a_write_that_fails_exits_3_and_leaves_nothing(tmp_path):
    script = (
        "import resource, signal, sys\nfrom experiments.overtraining_chart import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", script, *SMALL, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("run not completed: out: ")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 9 TiB"), jax.errors.JaxRuntimeError("FULL\nmore")])
def test_a_run_that_needs_too_much_memory_exits_3_in_one_line(tmp_path, capsys, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("linsim.commands.building.chart", fail)
    assert main([*SMALL, "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err == f"run not completed: {str(error).splitlines()[0]}; nothing was kept\n"
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_exits_3_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("linsim.commands.building.chart", stop)
    assert main([*SMALL, "--out", str(tmp_path)]) == 3
    assert "interrupted; nothing was kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_interrupted_while_drawing_keeps_its_data(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("figures.overtraining_chart.save", stop)
    assert main([*SMALL[:-1], "--out", str(tmp_path)]) == 3
    assert "data.zarr is whole" in capsys.readouterr().err
    assert store.load(tmp_path).attrs["config"]


UGLY = [
    ["--pretrain.learning-rate", "1e6", "--task.scale", "1e6"],
    ["--network.tau", "-5", "--depth", "64", "--pretrain.tolerance", "None"],
    ["--task.decay", "1000", "--task.scale", "1e6"],
    ["--task.rank", "0"],
    ["--shift.zero", "1", "2", "3", "--precision", "float32"],
    ["--pretrain.optimizer", "adamw", "--pretrain.schedule", "cosine", "--pretrain.batch-size", "4"],
    ["--finetune.optimizer", "lion", "--finetune.schedule", "stable_decay", "--checkpoints", "idealised"],
    ["--task.outputs", "1", "--network.hidden", "1", "--depth", "1", "--finetune.learning-rates", "1e5"],
    ["--pretrain.steps", "1", "--pretrain.first", "1", "--finetune.regularizations", "1e12"],
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("flags", UGLY, ids=" ".join)
def test_extreme_but_legal_values_give_a_result_and_a_picture_without_a_warning(tmp_path, flags):
    assert main([*SMALL[:-1], "--out", str(tmp_path), *flags]) == 0
    assert (tmp_path / "overtraining_chart.svg").is_file()


@pytest.mark.parametrize(
    "flags",
    [
        ["--shift.zero", "99999999999999999999"],
        ["--task.spectrum", "blocks", "--task.values", "1", "--task.sizes", "99999999999999999999"],
        ["--pretrain.batch-size", "99999999999999999999"],
        ["--finetune.learning-rates"],
        ["--out", "a\0b"],
        ["--out", "a" * 300],
        ["--task.data", "x.npz", "--dim", "None", "--task.rank", "2"],
    ],
)
def test_values_beyond_all_bounds_are_one_line_too(tmp_path, capsys, flags):
    assert main([*SMALL, "--out", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "; allowed: " in error


def test_a_float32_chart_that_cannot_be_trusted_says_so_loudly_on_its_picture_too(tmp_path, capsys):
    # e^-150 is 0 in float32: nothing is ever learned there.
    flags = ["--network.tau", "150", "--precision", "float32", "--pretrain.steps", "40000", "--out", str(tmp_path)]
    assert main([*SMALL, "--recheck", "8", *flags]) == 4
    assert capsys.readouterr().out.splitlines()[1].startswith("DO NOT TRUST THIS RESULT")
    assert "DO NOT TRUST THIS RESULT" in words(draw(store.load(tmp_path)))
