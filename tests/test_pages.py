"""README and the pages of docs/: every block is run as a reader would, links lead somewhere, what is said stands."""

import re
import subprocess
import sys

import pytest

from tests.pages import LANGUAGES, NOT_RUN, NOTEBOOKS, PAGES, ROOT, SMALL, blocks, steps
from tests.users import as_users

SAID = {
    "README.md": "inflection",
    "docs/how-to/question.md": "modes: ",
    "docs/how-to/data.md": "saved .*: results/digits/data.zarr",
    "docs/how-to/watch.md": r"(?s)\n1000 .*The alarm on fisher does not ring",
    "docs/how-to/claim.md": "strong-first",
    "docs/extending.md": r"(?s)apart by \d(\.\d+)?e-1[3-9]\nsolver: got powers; allowed: .*momentum.*zero-loss.*"
    r"The loss after fine-tuning differs between random starts by \d+",
    "docs/theory/fine-tuning.md": "lambda 2: harmful .False False False",
    "docs/theory/learning.md": r"loss before 0\.\d+, after",
}
"""What a page prints, where that could be wrong although nothing fails."""
RUN = [page for page in PAGES if steps(page) and page not in NOTEBOOKS]
ALONE = ("README.md", "docs/extending.md")
"""The first is compiled as for users, the others as these tests are (tests/conftest.py), which is quicker; the second
adds files to packages that a process imports once."""
CELLS = [page for page in RUN if any(step.kind == "cell" for step in steps(page))]
HOW_TO = [page for page in RUN if page not in (*CELLS, *ALONE)]
TOGETHER = [*([page] for page in ALONE), CELLS, HOW_TO[::2], HOW_TO[1::2]]


BESIDE = pytest.mark.thorough("by README; make pages, which every change has to pass, runs them")
GROUPS = [pytest.param(pages, marks=[BESIDE] * (pages != ["README.md"])) for pages in TOGETHER]


@pytest.mark.parametrize("pages", GROUPS, ids=" ".join)
def test_every_block_of_a_page_runs(tmp_path, pages):
    environment = as_users() | {"PYTHONPATH": str(ROOT)}
    if pages != ["README.md"]:
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    command = [sys.executable, "-m", "tests.reading", *pages]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in pages:
        assert re.search(SAID.get(page, ""), done.stdout), done.stdout
    print(done.stderr)


def test_all_code_of_a_page_is_run_or_said_not_to_be():
    for page in PAGES:
        for language, _ in blocks(page):
            assert language in LANGUAGES | set(NOT_RUN) or language in ("{toctree}", "{glossary}"), (page, language)
        for step in steps(page):
            assert step.kind != "command" or step.text.split()[0] in ("linsim", "python"), (page, step.text)
    assert set(SAID) <= set(RUN)


def test_flags_that_make_commands_small_are_of_commands_that_pages_show():
    shown = {step.text.split()[1] for page in PAGES for step in steps(page) if step.text.startswith("linsim ")}
    assert set(SMALL) <= shown


def test_one_more_of_a_kind_is_one_short_file():
    files = [step.name for step in steps("docs/extending.md") if step.kind == "file"]
    assert len(files) == 6
    assert all(len(step.text.splitlines()) < 60 for step in steps("docs/extending.md") if step.kind == "file")


def test_the_readme_is_short_and_make_run_is_its_command():
    readme = (ROOT / "README.md").read_text()
    assert len(readme) <= 8000
    recipe = re.search(
        r"^run:.*\n\t\$\(RUN\) -m experiments.(.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE
    )
    assert f"linsim {recipe[1].replace('_', '-')}" in readme


LINKED = [*PAGES, "figures/README.md", "paper_notes.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        file, _, heading = target.partition("#")
        if target.startswith("https://") or "generated/" in file:  # those `make docs` checks
            continue
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE) if heading else []
        assert not heading or heading in map(_anchor, headings), target


def _anchor(title):
    return re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")


def test_tests_named_in_the_notes_exist():
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    notes = (ROOT / "paper_notes.md").read_text()
    for name in re.findall(r"`(test_\w+)`", notes):
        assert f"def {name}(" in code, name
    for path in re.findall(r"`((?:tests|experiments)/[\w/]+(?:\.py|/))`", notes):
        assert (ROOT / path).exists(), path
