"""Every command and code block of the README is run, section by section and in order, as a reader would."""

import re
import shutil

import pytest

from tests.pages import BLOCK, ROOT, commands, read, sections

README = (ROOT / "README.md").read_text()
SECTIONS = sections(README)
SAID = {
    "The paper's findings, one by one": ["1 \\+ lambda/2"],
    "Bring your own data": ["Extra pre-training was harmful"],
    # A falling trace rings no alarm while training, nor when the checkpoints are watched.
    "Watch a training run of your own": ["^2000 .*", "The alarm on fisher does not ring"],
}
LEFT = {
    "From command to picture": [
        "results/overtraining_chart/data.zarr",
        "results/overtraining_chart/overtraining_chart.png",
        "figures/gallery/overtraining_chart.svg",
    ],
}


@pytest.fixture
def reader(tmp_path):
    """A folder in which the reader works: the checkout, without results."""
    for name in ("linsim", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "figures").mkdir()
    for file in (ROOT / "figures").iterdir():
        if file.name == "README.md":  # which `python -m figures` writes into
            shutil.copy(file, tmp_path / "figures")
        elif file.name != "gallery":
            (tmp_path / "figures" / file.name).symlink_to(file)
    return tmp_path


@pytest.mark.parametrize("title", SECTIONS)
def test_every_block_of_a_section_runs(reader, title):
    told = read(SECTIONS[title], reader)
    for said in SAID.get(title, []):
        assert re.search(said, told, flags=re.MULTILINE), said
    assert all((reader / path).exists() for path in LEFT.get(title, []))


def test_all_blocks_are_in_sections_but_those_of_make():
    # `make test` is what runs this; the recipe of `make run` is compared below.
    outside = [text for _, text in BLOCK.findall(README.partition("\n## ")[0])]
    assert all(line.startswith("make ") for text in outside for line in text.splitlines())
    assert len(BLOCK.findall(README)) == len(outside) + sum(map(len, SECTIONS.values()))
    assert sum(len(commands(blocks)) for blocks in SECTIONS.values()) >= 12
    assert {*SAID, *LEFT} <= set(SECTIONS)


def test_make_run_is_the_documented_command():
    recipe = re.search(r"^run:.*\n\t\$\(RUN\) (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert f"python {recipe.group(1)}\n" in README


@pytest.mark.parametrize(
    "page", ["README.md", "figures/README.md", "paper_notes.md", "CONTRIBUTING.md", "docs/extending.md"]
)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE) if heading else []
        assert not heading or heading in [title.lower().replace(" ", "-") for title in headings], target


def test_tests_named_in_the_notes_exist():
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / "paper_notes.md").read_text()):
        assert f"def {name}(" in code, name
    for path in re.findall(r"`((?:tests|experiments)/[\w/]+(?:\.py|/))`", (ROOT / "paper_notes.md").read_text()):
        assert (ROOT / path).exists(), path
