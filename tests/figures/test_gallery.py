"""The gallery page, its pictures and their results belong together; results that are there are not computed again."""

import subprocess
import sys
from pathlib import Path

import pytest

from figures import __main__ as command
from figures.gallery import GALLERY, Entry

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "figures/README.md").read_text()


@pytest.mark.parametrize("entry", GALLERY, ids=lambda entry: entry.name)
def test_every_picture_is_on_the_page_with_its_command(entry):
    for kind in ("png", "svg"):
        assert (ROOT / f"figures/gallery/{entry.name}.{kind}").is_file()
    assert f"](gallery/{entry.name}.png)" in PAGE
    assert f"python -m {' '.join(entry.command)}" in PAGE


def test_there_are_no_other_pictures():
    kept = {path.stem for path in (ROOT / "figures/gallery").iterdir()}
    assert kept == {entry.name for entry in GALLERY}


def test_missing_results_are_computed_once_and_a_failure_stops_no_other_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    few = ("--dim", "2", "--pretrain.budgets", "3", "--finetune.rates", "1", "--finetune.strengths", "1")
    entries = Entry("failing", "overtraining_chart", ("--dim", "0")), Entry("small", "overtraining_chart", few)
    monkeypatch.setattr(command, "GALLERY", entries)
    assert command.main([]) == 3
    failing, small, together = capsys.readouterr().out.splitlines()
    assert failing.startswith("failing")
    assert "status 2 (dim: got 0" in failing
    assert small.startswith("small")
    assert "result computed in" in small
    assert together.startswith("1 of 2 pictures")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in (tmp_path / "figures/gallery").iterdir()} == {"small.png", "small.svg"}
    assert command.main(["small"]) == 0
    assert "result in results/small kept; picture the same" in capsys.readouterr().out
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_an_unknown_picture_is_refused_in_one_line():
    done = subprocess.run([sys.executable, "-m", "figures", "no_such"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("NAME: got no_such; allowed: one of overtraining_chart")
    assert done.stderr.count("\n") == 1
