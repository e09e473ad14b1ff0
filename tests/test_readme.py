"""Every command and code block of the README is run, in order, as a reader would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A folder in which the reader works: the checkout, without results."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("linsim", "experiments", "figures"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "figures").unlink()
    (folder / "figures").mkdir()
    for file in (ROOT / "figures").iterdir():
        if file.name != "gallery":
            (folder / "figures" / file.name).symlink_to(file)
    return folder


def run(folder, arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_runs(reader):
    ran = 0
    for language, text in BLOCKS:
        if language == "python" and (name := re.match(r"# (\w+\.py)\n", text)):
            (reader / name[1]).write_text(text)  # a file that a later command runs
            continue
        if language == "python":
            run(reader, ["-c", text])
            ran += 1
            continue
        for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
            program, *arguments = shlex.split(line)
            if program == "make":
                continue  # make test is what runs this; the recipe of make run is compared below
            assert program == "python"
            output = run(reader, arguments)
            ran += 1
            if arguments[-1] == "experiments.digits":
                assert "Extra pre-training was harmful" in output
            if arguments[0] == "digits_training.py":
                assert re.search(r"^2000 .*", output, flags=re.MULTILINE)  # a falling trace rings no alarm
            if "experiments.watch" in arguments:
                assert "fisher: the alarm does not ring" in output
    assert ran >= 12
    assert (reader / "results/overtraining_chart/data.zarr").is_dir()
    assert (reader / "results/overtraining_chart/overtraining_chart.png").is_file()
    assert (reader / "figures/gallery/overtraining_chart.svg").is_file()


def test_make_run_is_the_documented_command():
    recipe = re.search(r"^run:.*\n\t\$\(RUN\) (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert f"python {recipe.group(1)}\n" in README


def test_every_name_of_the_package_can_be_imported():
    import linsim

    assert all(getattr(linsim, name) is not None for name in linsim._HOME)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = linsim.absent


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
