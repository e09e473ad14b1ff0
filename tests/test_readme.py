"""Every command and code block of the README is run, section by section and in order, as a reader would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.users import as_users

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", flags=re.DOTALL)
# Blocks use what earlier ones of their own section left behind, and nothing else: sections can run side by side.
SECTIONS = {
    title: BLOCK.findall(text)
    for title, text in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)
    if BLOCK.search(text)
}
SAID = {
    "The paper's findings, one by one": ["1 \\+ lambda/2"],
    "Bring your own data": ["Extra pre-training was harmful"],
    # A falling trace rings no alarm while training, nor when the checkpoints are watched.
    "Watch a training run of your own": ["^2000 .*", "fisher: the alarm does not ring"],
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
        if file.name != "gallery":
            (tmp_path / "figures" / file.name).symlink_to(file)
    return tmp_path


def files(blocks):
    """Name -> text of the blocks that begin with the name of a file, which a later command runs."""
    return {name[1]: text for _, text in blocks if (name := re.match(r"# (\w+\.py)\n", text))}


def commands(blocks):
    """What Python is given, command by command."""
    given = []
    for language, text in blocks:
        if language == "console":
            lines = [shlex.split(line, comments=True) for line in text.splitlines()]
            assert all(program == "python" for program, *_ in filter(None, lines))
            given += [arguments for _, *arguments in filter(None, lines)]
        elif text not in files(blocks).values():
            assert language == "python"
            given.append(["-c", text])
    return given


@pytest.mark.parametrize("title", SECTIONS)
def test_every_block_of_a_section_runs(reader, title):
    for name, text in files(SECTIONS[title]).items():
        (reader / name).write_text(text)
    told = ""
    for arguments in commands(SECTIONS[title]):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=reader, env=as_users(), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        told += done.stdout
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


@pytest.mark.parametrize("page", ["README.md", "figures/README.md", "paper_notes.md", "CONTRIBUTING.md"])
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
