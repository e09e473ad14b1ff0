"""The gallery page, its pictures and their results belong together; results that are there are not computed again."""

import html
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from figures import __main__ as command
from figures.gallery import GALLERY, Entry, quoted
from figures.picture import title
from linsim.storage import store

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "figures/README.md").read_text()


@pytest.mark.parametrize("entry", GALLERY, ids=lambda entry: entry.name)
def test_every_picture_is_on_the_page_with_its_command(entry):
    for kind in ("png", "svg"):
        assert (ROOT / f"figures/gallery/{entry.name}.{kind}").is_file()
    assert f"](gallery/{entry.name}.png)" in PAGE
    assert f"python -m {' '.join(entry.command)}" in PAGE


@pytest.mark.parametrize("entry", GALLERY, ids=lambda entry: entry.name)
def test_below_every_picture_the_page_quotes_what_the_picture_says(entry):
    lines = iter(PAGE.split(f"](gallery/{entry.name}.png)\n\n", 1)[1].splitlines())
    quotation = " ".join(line.removeprefix("> ") for line in itertools.takewhile(lambda line: line[:2] == "> ", lines))
    drawn = (ROOT / f"figures/gallery/{entry.name}.svg").read_text()
    said = html.unescape(" ".join(re.findall(r"<!-- (.*?) -->", drawn)))  # its texts: letters are drawn as outlines
    assert quotation
    assert quotation in said.replace("\N{NO-BREAK SPACE}", " ").replace(r"$\lambda$", "λ")


def test_a_quotation_is_replaced_and_nothing_else():
    page = "# All\n\n![one > two](gallery/one.png)\n\nText.\n\n> Aside.\n\n![two](gallery/two.png)\n\n* Point.\n"
    first = quoted(page, "one", "Harm of 5 % " * 20)
    assert max(map(len, first.splitlines())) <= 122
    assert first.count("\n> ") > 2
    second = quoted(first, "one", r"Less than \1")
    assert second == page.replace("one.png)\n", "one.png)\n\n> Less than \\1\n")
    assert quoted(second, "one", r"Less than \1") == second
    assert quoted(page, "three", "Nothing of this") == page
    both = quoted(second, "two", "More")
    assert both == second.replace("two.png)\n", "two.png)\n\n> More\n")


def test_there_are_no_other_pictures():
    kept = {path.stem for path in (ROOT / "figures/gallery").iterdir()}
    assert kept == {entry.name for entry in GALLERY}


def test_missing_results_are_computed_once_and_a_failure_stops_no_other_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    few = ("--dim", "2", "--pretrain.budgets", "3", "--finetune.rates", "1", "--finetune.strengths", "1")
    entries = Entry("failing", "overtraining_chart", ("--dim", "0")), Entry("small", "overtraining_chart", few)
    monkeypatch.setattr(command, "GALLERY", entries)
    Path("figures").mkdir()
    Path("figures/README.md").write_text("![small](gallery/small.png)\n")
    assert command.main([]) == 3
    found = store.load(Path("results/small"))
    assert Path("figures/README.md").read_text().startswith(f"![small](gallery/small.png)\n\n> {title(found)[:60]}")
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
