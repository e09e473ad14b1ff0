"""docs/extending.md: every value that linsim is made of, one more of its kind, shown whole and run."""

import re
import shutil

import pytest

from tests.pages import ROOT, files, read, sections

SECTIONS = sections((ROOT / "docs/extending.md").read_text())
SAID = {
    "A term of the objective": r"\[.*\]",
    "An optimiser with averaged weights": r"\[.*\]",
    "A solver": r"apart by \d(\.\d+)?e-1[3-9]\nsolver: got powers; allowed: .*momentum",
    "A claim": "zero-loss",
    "An experiment": r"The loss after fine-tuning differs between random starts by \d+",
}
FILES = {"A measure": 1, "A shift": 1, "A solver": 1, "An experiment": 2}


@pytest.fixture
def reader(tmp_path):
    """A folder in which the reader works: the library, and copies of what experiments and figures are added to."""
    (tmp_path / "linsim").symlink_to(ROOT / "linsim")
    for name in ("experiments", "figures"):
        ignored = shutil.ignore_patterns("gallery", "stored", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


@pytest.mark.parametrize("title", SECTIONS)
def test_one_more_of_a_kind_works_as_it_is_shown(reader, title):
    told = read(SECTIONS[title], reader)
    assert re.search(SAID.get(title, ""), told), told


def test_one_more_of_a_kind_is_one_short_file():
    assert len(SECTIONS) == 7
    for title, blocks in SECTIONS.items():
        assert len(files(blocks)) == FILES.get(title, 0), title
